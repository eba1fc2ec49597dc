"""Target classifier: what of the targets can be read from a part of the latents (Lippe et al., 2022, section 4.3).

The latents of variable k should tell I_k and, beyond what I_k itself tells, nothing of the other targets. A classifier
learns to read targets from each variable's latents; the latents and the assignment learn to give it only that.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from citris_cli.core import shares
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
        masks = torch.cat([sample.transpose(1, 2), torch.ones_like(sample[:, None, :, 0])], dim=1)  # [B, K+2, M]
        masks = masks.unsqueeze(1).expand(-1, steps, -1, -1)
        before = z[:, :-1].unsqueeze(2).expand_as(masks)
        inputs = torch.cat([before, z[:, 1:].unsqueeze(2) * masks, masks], dim=-1)  # [B, T-1, K+2, 3M]
        scale = (variables + 2) * steps

        truth = targets.unsqueeze(2).expand(-1, -1, variables + 2, -1)
        logits = self.network(inputs.detach())
        loss_model = scale * functional.binary_cross_entropy_with_logits(logits, truth)

        desired, own = self._desired(targets)
        terms = functional.binary_cross_entropy_with_logits(self.frozen(inputs), desired, reduction="none")
        loss_z = scale * (terms * (1 + (variables - 1) * own)).mean()
        return loss_model, loss_z

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
        self.count += len(rows)
        self.mean += (rows.mean(0) - self.mean) * (len(rows) / self.count)
        cases = torch.stack([1 - rows, rows], dim=-1)  # [N, K, 2]: I_j = 0, I_j = 1
        number = cases.sum(0)
        self.conditional_count += number
        difference = torch.einsum("njv,ni->jvi", cases, rows) - number.unsqueeze(-1) * self.conditional_mean
        self.conditional_mean += difference / self.conditional_count.clamp_min(1).unsqueeze(-1)
        for frozen, current in zip(self.frozen.parameters(), self.network.parameters(), strict=True):
            frozen.lerp_(current, 1 - self.momentum)
