"""Target classifier: what of the targets can be read from a part of the latents (Lippe et al., 2022, section 4.3).

The latents of variable k should tell I_k and, beyond what I_k itself tells, nothing of the other targets. A classifier
learns to read targets from each variable's latents; the latents and the assignment learn to give it only that.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from citris_cli.core import kernels, shares
from citris_cli.core.networks import initialise


class TargetClassifier(nn.Module):
    """MLP ``[z^t, z^{t+1} * m, m]`` (3M) -> 2c -> … -> K over K+2 masks m: each psi_k, psi_0, and all ones.

    Args:
        latents: number of latents M.
        variables: number of intervened causal variables K.
        hidden: width c; the first hidden layer has 2c units, every further one c.
        layers: number of hidden layers, at least 1.
        momentum: of the frozen copy that L_z reads, in [0, 1); 0 reads the classifier as it is.
        conditional: whether a variable's latents may carry p(I_i | I_k) (targets that depend on each other) instead
            of p(I_i) alone.
        generator: source of the random start.
    """

    mean: Tensor
    conditional_mean: Tensor
    count: Tensor
    conditional_count: Tensor

    def __init__(
        self,
        latents: int,
        variables: int,
        hidden: int,
        layers: int = 1,
        momentum: float = 0.0,
        conditional: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.momentum = momentum
        self.conditional = conditional
        widths = [3 * latents, 2 * hidden, *[hidden] * (layers - 1)]
        modules: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            modules += [nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.SiLU()]
        last = nn.Linear(widths[-1], variables)
        self.network = initialise(nn.Sequential(*modules, last), generator)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.frozen = copy.deepcopy(self.network).requires_grad_(False)
        # Running means of I_i, and of I_i given I_j = v as [j, v, i].
        self.register_buffer("mean", torch.full((variables,), 0.5))
        self.register_buffer("conditional_mean", torch.full((variables, 2, variables), 0.5))
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("conditional_count", torch.zeros(variables, 2))

    def forward(self, z: Tensor, targets: Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
        """The two losses of a batch of windows; in training mode the running means and the frozen copy move first.

        Args:
            z: causal latents [B, T, M].
            targets: intervention targets of each step, 0 or 1, [B, T-1, K].
            sample: straight-through samples of the assignment, one-hot [B, M, K+1].

        Returns:
            ``L_model`` (gradient to the classifier alone) and ``L_z`` (gradient to z and psi alone), scalars.
        """
        steps, variables = targets.shape[1:]
        targets = targets.to(z.dtype)
        if self.training:
            self._update(shares.whole(targets))
        scale = (variables + 2) * steps
        if torch.is_grad_enabled() and kernels.usable(z, sample, next(self.parameters())):
            told = targets, self.mean, self.conditional_mean if self.conditional else None
            frozen = None if self.training and self.momentum == 0 else list(self.frozen.parameters())
            factor = 1 / (len(z) * variables)  # of sums over logits, which are as many times scale
            return _Losses.apply(z, sample, factor, told, frozen, *self.network.parameters())
        masks = torch.cat([sample.transpose(1, 2), torch.ones_like(sample[:, None, :, 0])], dim=1)  # [B, K+2, M]
        masks = masks.unsqueeze(1).expand(-1, steps, -1, -1)
        before = z[:, :-1].unsqueeze(2).expand_as(masks)
        inputs = torch.cat([before, z[:, 1:].unsqueeze(2) * masks, masks], dim=-1)  # [B, T-1, K+2, 3M]
        truth = targets.unsqueeze(2).expand(-1, -1, variables + 2, -1)
        desired, own = self._desired(targets)
        logits = self.network(inputs.detach())
        loss_model = scale * functional.binary_cross_entropy_with_logits(logits, truth)
        terms = functional.binary_cross_entropy_with_logits(self.frozen(inputs), desired, reduction="none")
        return loss_model, scale * (terms * (1 + (variables - 1) * own)).mean()

    def _desired(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """What each mask's latents should tell of the targets [B, T-1, K+2, K], and which are its own [K+2, K]."""
        variables = targets.shape[-1]
        # Made where it is used: a copy from the host would make a GPU wait.
        own = torch.eye(variables + 2, variables, dtype=targets.dtype, device=targets.device)
        own[-1] = 1
        other = self.mean.expand(*targets.shape[:-1], variables + 2, variables)
        if self.conditional:
            given = torch.lerp(self.conditional_mean[:, 0], self.conditional_mean[:, 1], targets.unsqueeze(-1))
            other = torch.cat([given, other[..., variables:, :]], dim=-2)
        return torch.where(own.bool(), targets.unsqueeze(-2), other), own

    @torch.no_grad()
    def _update(self, targets: Tensor) -> None:
        rows = targets.flatten(0, -2)  # [N, K]
        if kernels.usable(rows, self.mean):
            state = self.count, self.mean, self.conditional_count, self.conditional_mean
            kernels.target_means(rows.contiguous(), *state)
        else:
            self._update_means(rows)
        torch._foreach_lerp_(list(self.frozen.parameters()), list(self.network.parameters()), 1 - self.momentum)

    def _update_means(self, rows: Tensor) -> None:
        self.count += len(rows)
        self.mean += (rows.mean(0) - self.mean) * (len(rows) / self.count)
        # Of I_j = v: how often it is the case, [j, v], and in how many of these rows I_i is 1, [j, v, i].
        together, ones = rows.T @ rows, rows.sum(0)
        number = torch.stack([len(rows) - ones, ones], dim=-1)
        both = torch.stack([ones - together, together], dim=1)
        self.conditional_count += number
        difference = both - number.unsqueeze(-1) * self.conditional_mean
        self.conditional_mean += difference / self.conditional_count.clamp_min(1).unsqueeze(-1)


class _Losses(torch.autograd.Function):
    """Both losses with their gradients by :func:`citris_cli.core.kernels.classifier`."""

    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        sample: Tensor,
        factor: float,
        told: tuple[Tensor, Tensor, Tensor | None],
        frozen: Sequence[Tensor] | None,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The losses.

        Args:
            ctx: what the backward pass needs.
            z: causal latents [B, T, M].
            sample: sampled assignment [B, M, K+1].
            factor: of the sums over logits.
            told: targets [B, T-1, K], their means [K] and, where these may be told, conditional means [K, 2, K].
            frozen: parameters of the frozen network; None: it is the network, which then sees its inputs once only.
            parameters: of the network.
        """
        targets, means, conditional = told
        seen = z.contiguous(), sample.contiguous(), targets.contiguous(), means, conditional
        if frozen is None:
            losses, of_seen, of_parameters = kernels.classifier(*seen, parameters, factor, 3)
        else:
            losses, _, of_parameters = kernels.classifier(*seen, parameters, factor, 1)
            others, of_seen, _ = kernels.classifier(*seen, frozen, factor, 2)
            losses = losses + others
        ctx.save_for_backward(*of_seen, *of_parameters)
        ctx.set_materialize_grads(False)
        loss_model, loss_z = losses.unbind()
        return loss_model.clone(), loss_z.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_model: Tensor | None, of_z: Tensor | None) -> tuple[Tensor | None, ...]:
        """Gradients of z, the assignment and the parameters; None for a loss that nobody asks about."""
        to_seen, to_parameters = ctx.saved_tensors[:2], ctx.saved_tensors[2:]
        seen = [None] * 2 if of_z is None else torch._foreach_mul(to_seen, of_z)
        learned = [None] * len(to_parameters) if of_model is None else torch._foreach_mul(to_parameters, of_model)
        return *seen, None, None, None, *learned
