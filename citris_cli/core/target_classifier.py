"""Target classifier: what of the targets can be read from a part of the latents (Lippe et al., 2022, section 4.3).

The latents of variable k should tell I_k and, beyond what I_k itself tells, nothing of the other targets. A classifier
learns to read targets from each variable's latents; the latents and the assignment learn to give it only that.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from citris_cli.core.initialisation import initialise
from citris_cli.core.ops import shares
from citris_cli.core.ops.classifier import target_losses, update_target_means


def reader_of_targets(widths: Sequence[int], variables: int, generator: torch.Generator | None) -> nn.Sequential:
    """Linear -> LayerNorm -> SiLU from each width to the next, then Linear -> K logits, which start at 0."""
    modules: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        modules += [nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.SiLU()]
    last = nn.Linear(widths[-1], variables)
    network = initialise(nn.Sequential(*modules, last), generator)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return network


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
        self.network = reader_of_targets(widths, variables, generator)
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
        targets = targets.to(z.dtype)
        if self.training:
            self._update(shares.whole(targets))
        means = self.mean, self.conditional_mean if self.conditional else None
        alike = self.training and self.momentum == 0
        return target_losses(z, sample, targets, means, self.network, self.frozen, alike)

    @torch.no_grad()
    def _update(self, targets: Tensor) -> None:
        """Move the running means and the frozen copy on by a batch of targets [B, T-1, K]."""
        state = self.count, self.mean, self.conditional_count, self.conditional_mean
        update_target_means(targets.flatten(0, -2), *state)
        torch._foreach_lerp_(list(self.frozen.parameters()), list(self.network.parameters()), 1 - self.momentum)
