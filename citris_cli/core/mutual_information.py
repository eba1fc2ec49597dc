"""Mutual information under interventions: a variable that was set should tell nothing of its past and its parents.

A perfect intervention makes a variable independent of z^t and of its instantaneous parents. A network learns to tell
recorded latents from ones in which those of the variable were shuffled among steps that set it; the latents learn to
leave it nothing to tell (Lippe et al., iCITRIS, 2023, section 4 and appendix C).
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from citris_cli.core.initialisation import initialise
from citris_cli.core.ops import shares

#: Momentum of the frozen copy, and weight of what keeps the scores near 0.
MOMENTUM, SCORE_WEIGHT = 0.9, 1e-3


class Groups(NamedTuple):
    """Steps by the variable that was set, one entry for each (step, variable): a step may set several.

    Attributes:
        step: which step [N].
        variable: which variable [N].
        other: another step that set the same variable, a random permutation of those that did, [N].
        weight: 1, or 0 of an entry whose variable was not set, [N].
    """

    step: Tensor
    variable: Tensor
    other: Tensor
    weight: Tensor


def intervened_groups(targets: Tensor, generator: torch.Generator | None) -> Groups:
    """The steps that set each variable, shuffled among themselves.

    There is an entry for every step and variable, those of variables that were not set with weight 0: so all is of the
    same size in every batch, which a recorded step asks for.

    Args:
        targets: 0 or 1 [B, K].
        generator: source of the permutations.
    """
    batch, variables = targets.shape
    columns = targets.T.to(torch.float32)  # [K, B]
    order = shares.noise(torch.rand, (batch, variables), columns, generator).T
    # Sorted so, the steps that set a variable come first, in their own order and in a random one.
    own = (1 - columns).argsort(dim=1, stable=True)
    shuffled = (order + (1 - columns)).argsort(dim=1)
    other = torch.empty_like(own).scatter_(1, own, shuffled)
    step = torch.arange(batch, device=targets.device).expand(variables, -1)
    variable = torch.arange(variables, device=targets.device).unsqueeze(1).expand(-1, batch)
    return Groups(*(one.flatten() for one in (step, variable, other, columns)))


class MutualInformationEstimator(nn.Module):
    """A network that scores how much a variable's latents look as recorded beside z^t and its parents' latents.

    ``s(z^t, z |r|, r, onehot_k)``: 3M + K -> 2c -> 2c -> 1 with LayerNorm and SiLU, one network for all variables k;
    r in {-1, 0, 1}^M is -1 for k's own latents and 1 for those of its parents.

    Args:
        latents: number of latents M.
        variables: number of intervened causal variables K.
        hidden: width c.
        generator: source of the random start.
    """

    def __init__(self, latents: int, variables: int, hidden: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        width = 2 * hidden
        last = nn.Linear(width, 1, bias=False)
        self.network = initialise(
            nn.Sequential(
                nn.Linear(3 * latents + variables, width),
                nn.LayerNorm(width),
                nn.SiLU(),
                nn.Linear(width, width),
                nn.LayerNorm(width),
                nn.SiLU(),
                last,
            ),
            generator,
        )
        nn.init.zeros_(last.weight)
        self.frozen = copy.deepcopy(self.network).requires_grad_(False)
        self.variables = variables

    def forward(self, z_t: Tensor, z_t1: Tensor, psi: Tensor, graphs: Tensor, groups: Groups) -> tuple[Tensor, Tensor]:
        """The two losses of a batch; in training mode the frozen copy moves first.

        With s+ the score of what was recorded and s- that of the shuffled: ``L_model = mean(log(e^s+ + e^s-) - s+) +
        0.001 mean(s^2)`` and ``L_z = mean(log(e^s+ + e^s-) - s-)``, by the copy; log 2 where there is nothing to tell.

        Args:
            z_t: causal latents of the earlier frame [B, M].
            z_t1: causal latents of the later frame [B, M].
            psi: samples of the assignment, one-hot [B, M, N]; the first K of the N nodes are variables.
            graphs: which node is whose parent, for every step, 0 or 1 [B, N, N].
            groups: the steps by the variable that was set.

        Returns:
            L_model (gradient to the network alone) and L_z (gradient to the latents and psi alone), scalars; 0 where no
            variable was set.
        """
        if self.training:
            with torch.no_grad():
                torch._foreach_lerp_(list(self.frozen.parameters()), list(self.network.parameters()), 1 - MOMENTUM)
        own = psi.mT[groups.step, groups.variable]  # [N, M]
        seen = torch.einsum("bmi,bik->bkm", psi, graphs)[groups.step, groups.variable]
        kind = torch.eye(self.variables, dtype=z_t1.dtype, device=z_t1.device)[groups.variable]
        recorded = z_t1[groups.step]
        # Of a shuffled pair, k's own latents are another step's, all others stay.
        shuffled = recorded + own * (z_t1[groups.other] - recorded)
        both = torch.stack([recorded, shuffled])  # [2, N, M]
        shown = (own + seen).unsqueeze(0)
        common = [part.expand(2, -1, -1) for part in (seen - own, kind)]
        inputs = torch.cat([z_t[groups.step].expand(2, -1, -1), both * shown, *common], dim=-1)
        weight, count = groups.weight, groups.weight.sum().clamp_min(1)

        def mean(values: Tensor) -> Tensor:
            return (values * weight).sum(-1) / count

        scores = self.network(inputs.detach()).squeeze(-1)
        loss_model = mean(scores.logsumexp(0) - scores[0]) + SCORE_WEIGHT * mean(scores.square()).mean()
        theirs = self.frozen(inputs).squeeze(-1)
        return loss_model, mean(theirs.logsumexp(0) - theirs[1])
