"""iCITRIS's target classifier: as :mod:`citris_cli.core.target_classifier`, where parents may be seen.

A variable that acts on another in the same step leaves its target's mark on it. So of variable k the classifier sees
the latents of k and of its parents; whether it can tell the parents' targets then counts neither way, and of every
other target it should know no more than what the targets of k and its parents tell (Lippe et al., iCITRIS, 2023,
appendix C).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from citris_cli.core.initialisation import shapes_only
from citris_cli.core.ops import shares
from citris_cli.core.target_classifier import reader_of_targets

#: Joint targets that are counted apart, or rows that are kept where there are more of them.
MOST_PATTERNS = 1024
#: So many joint targets are all gone through; of more, one is drawn, which leaves the loss's expectation as it is.
ALL_PATTERNS = 64


class TargetCounts(nn.Module):
    """How often the variables' targets occurred together; from this follow conditionals p(I_j | I_U = u) for any U.

    For up to :data:`MOST_PATTERNS` joint targets (K up to 10) all are counted. Of more variables the last
    :data:`MOST_PATTERNS` rows are kept and counted, and the means of single targets over all rows.

    Args:
        variables: number of variables K.
    """

    patterns: Tensor
    counts: Tensor
    mean: Tensor
    rows: Tensor

    def __init__(self, variables: int) -> None:
        super().__init__()
        self.all = 2**variables <= MOST_PATTERNS
        number = 2**variables if self.all else MOST_PATTERNS
        patterns = torch.zeros(number, variables)
        if self.all and not shapes_only():
            patterns = (torch.arange(number).unsqueeze(1) >> torch.arange(variables - 1, -1, -1) & 1).float()
        self.register_buffer("patterns", patterns, persistent=not self.all)
        self.register_buffer("counts", torch.zeros(number, dtype=torch.int64))
        self.register_buffer("mean", torch.full((variables,), 0.5))
        self.register_buffer("rows", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def add(self, targets: Tensor) -> None:
        """Count more rows [R, K]."""
        number, capacity = len(targets), len(self.counts)
        self.rows += number
        self.mean += (targets.mean(0) - self.mean) * (number / self.rows)
        if self.all:
            code = self._codes(targets)
            self.counts.index_add_(0, code, torch.ones_like(code))
        elif number >= capacity:
            self.patterns.copy_(targets[-capacity:])
            self.counts.fill_(1)
        else:
            self.patterns.copy_(torch.cat([self.patterns[number:], targets]))
            self.counts.copy_(torch.cat([self.counts[number:], torch.ones_like(self.counts[:number])]))

    def expected(self, known: Tensor, told: Tensor, generator: torch.Generator | None) -> Tensor:
        """``E_u p(I_j = 1 | I_U = u)``, u by what is told of the targets in U, these being independent of each other.

        What never occurred together tells nothing: p(I_j = 1) stands for it. Where there are more than
        :data:`ALL_PATTERNS` joint targets, one u is drawn: the loss is linear in what this gives.

        Args:
            known: which targets are in U, 0 or 1 [R, K].
            told: probability of I_i = 1 [R, K].
            generator: source of the draws.

        Returns:
            [R, K].
        """
        if len(self.counts) > ALL_PATTERNS:
            uniform = shares.noise(torch.rand, told.shape, told, generator)
            u = (uniform < told).to(told.dtype)
            number, ones = self._matching(known, u)
            return torch.where(number > 0, ones / number.clamp_min(1), self.mean)
        # So few targets have few sets U as well: every joint target is the code of one.
        number, ones = self._matching(self.patterns.unsqueeze(1), self.patterns)  # [U, P, 1], [U, P, K]
        # Of the patterns that agree on U, all have the same conditionals, and their shares of the counts add up to 1.
        share = (self.counts.to(number.dtype).unsqueeze(-1) / number.clamp_min(1)) * (number > 0)
        conditional = share * ones / number.clamp_min(1)
        table = torch.cat([conditional, share], dim=-1)[self._codes(known)]  # [R, P, K + 1]
        logs = told.clamp(1e-20, 1).log(), (1 - told).clamp(1e-20, 1).log()
        likely = ((known * logs[0]) @ self.patterns.T + (known * logs[1]) @ (1 - self.patterns).T).exp()  # [R, P]
        found = torch.einsum("rp,rpk->rk", likely, table)
        return found[:, :-1] + (1 - found[:, -1:]).clamp_min(0) * self.mean

    @staticmethod
    def _codes(targets: Tensor) -> Tensor:
        """Joint targets [R, K] as numbers [R]; the first variable is the highest bit."""
        bits = 2 ** torch.arange(targets.shape[1] - 1, -1, -1, device=targets.device)
        return (targets.long() * bits).sum(1)

    def _matching(self, known: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Counts of what agrees with u on U [..., 1], and of I_j = 1 among it [..., K]."""
        unlike = (known * u) @ (1 - self.patterns).T + (known * (1 - u)) @ self.patterns.T
        agreeing = (unlike < 0.5).to(u.dtype) * self.counts
        return agreeing.sum(-1, keepdim=True), agreeing @ self.patterns


class GraphTargetClassifier(nn.Module):
    """MLP ``[z^t, z^{t+1} m, m]`` (3M) -> 4c -> … -> K over K+2 masks m.

    They are the latents of every variable and of the variables that are its parents, those of psi(0), or none where
    there is no psi(0), and all.

    Args:
        latents: number of latents M.
        variables: number of intervened causal variables K.
        hidden: width c; the first hidden layer has 4c units, every further one 2c.
        layers: number of hidden layers, at least 1.
        momentum: of the frozen copy that L_z reads, in [0, 1).
        generator: source of the random start.
    """

    def __init__(
        self,
        latents: int,
        variables: int,
        hidden: int,
        layers: int = 1,
        momentum: float = 0.9,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.momentum = momentum
        widths = [3 * latents, 4 * hidden, *[2 * hidden] * (layers - 1)]
        self.network = reader_of_targets(widths, variables, generator)
        self.frozen = copy.deepcopy(self.network).requires_grad_(False)
        self.seen = TargetCounts(variables)

    def forward(
        self, z: Tensor, targets: Tensor, psi: Tensor, graphs: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """The two losses of a batch of windows; in training mode the counts and the frozen copy move first.

        ``L_model`` is the BCE against all targets from all masks. ``L_z``, by the frozen copy: from the mask of k, I_k
        with weight K, nothing of parents, and of every other target its expectation given those of k and its parents,
        as the copy reads them; from the mask of psi(0) or nothing, the targets' means; from that of all latents, all
        targets with weight K. Both are means over steps, masks and targets times (K+2)(T-1).

        Args:
            z: causal latents [B, T, M].
            targets: intervention targets of each step, 0 or 1, [B, T-1, K].
            psi: straight-through samples of the assignment, one-hot [B, M, N], N = K or K+1 with psi(0).
            graphs: which node is whose parent, 0 or 1 [B, N, N].
            generator: source of draws where there are too many joint targets to go through.

        Returns:
            ``L_model`` (gradient to the classifier alone) and ``L_z`` (gradient to z and psi alone), scalars.
        """
        targets = targets.to(z.dtype)
        steps, variables = targets.shape[1:]
        if self.training:
            self.seen.add(shares.whole(targets).flatten(0, -2))
            with torch.no_grad():
                ours: list[Tensor] = list(self.frozen.parameters())
                theirs: list[Tensor] = list(self.network.parameters())
                torch._foreach_lerp_(ours, theirs, 1 - self.momentum)
        graphs = graphs.detach()
        # psi(0) is in no family, whatever it acts on: it has no target, and with its latents in sight, a variable that
        # is there could be read as if it were in a block of its own.
        among = graphs[:, :variables, :variables]
        families = among + torch.eye(variables, dtype=graphs.dtype, device=graphs.device)
        masks = torch.einsum("bmi,bik->bkm", psi[..., :variables], families)  # [B, K, M]
        alone = psi[..., -1] if psi.shape[-1] > variables else torch.zeros_like(psi[..., 0])
        masks = torch.cat([masks, alone.unsqueeze(1), torch.ones_like(alone).unsqueeze(1)], dim=1)
        masks = masks.unsqueeze(1).expand(-1, steps, -1, -1)  # [B, T-1, K+2, M]
        before = z[:, :-1].unsqueeze(2).expand_as(masks)
        x = torch.cat([before, z[:, 1:].unsqueeze(2) * masks, masks], dim=-1)
        truth = targets.unsqueeze(2).expand(-1, -1, variables + 2, -1)
        scale = (variables + 2) * steps
        loss_model = scale * functional.binary_cross_entropy_with_logits(self.network(x.detach()), truth)
        logits = self.frozen(x)
        parents = among.mT.unsqueeze(1).expand(-1, steps, -1, -1)  # [B, T-1, k, i]
        with torch.no_grad():
            own = torch.eye(variables, dtype=z.dtype, device=z.device).expand_as(parents)
            read = logits[:, :, :variables].sigmoid()
            known = (parents + own).flatten(0, 2)
            expected = self.seen.expected(known, read.flatten(0, 2), generator).view_as(read)
            told = torch.cat([torch.where(own > 0, truth[:, :, :variables], expected), truth[:, :, :2]], dim=2)
            told[:, :, variables] = self.seen.mean
            weight = torch.cat([(1 - parents) + (variables - 1) * own, torch.ones_like(truth[:, :, :2])], dim=2)
            weight[:, :, -1] = variables
        terms = functional.binary_cross_entropy_with_logits(logits, told, reduction="none")
        return loss_model, scale * (terms * weight).mean()
