"""Transition prior of diagonal Gaussians for imperfect interventions: what was intervened on still sees the past."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from citris_cli.core.assignment import with_psi_0
from citris_cli.core.config import MLPPriorConfig
from citris_cli.core.gaussians import gaussian_draw, gaussian_kl
from citris_cli.core.ops.sample_pairs import gaussian_nll_over_sample_pairs
from citris_cli.core.priors.base import Given, Score
from citris_cli.core.priors.per_latent import PerLatentMLP


class ImperfectMLPTransitionPrior(PerLatentMLP):
    """An MLP a latent that also sees the target of the latent's variable.

    It sees a vector of K+1 entries: the 0 or 1 of the assigned variable in its place and -1 in every other; a latent of
    psi(0), which is never intervened on, has a 0 in the last.

    Args:
        latents: number of latents M.
        variables: number of intervened causal variables K.
        hidden: hidden width c of every latent's network.
        config: its configuration.
        generator: source of the random start.
    """

    Config = MLPPriorConfig

    def __init__(
        self,
        latents: int,
        variables: int,
        hidden: int,
        config: MLPPriorConfig | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        settled = config or MLPPriorConfig(imperfect_interventions=True)
        super().__init__(latents, 1 + variables + 1, hidden, settled, generator)

    def gaussians(self, z_t: Tensor, targets: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation under given assignments.

        Args:
            z_t: causal latents of the earlier frame [B, A, M].
            targets: intervention targets, 0 or 1, [B, K].
            psi: assignments, one-hot [B, V, M, K+1] or [1, V, M, K+1]; A or V is 1.

        Returns:
            Two tensors [B, max(A, V), M].
        """
        latents, hidden, _ = self.own.weight.shape
        batch = len(z_t)
        weight = self.own.weight[..., 1:]
        # psi I - (1 - psi) = psi (1 + I) - 1: the -1 of every column is one more bias.
        shown = psi * (1 + with_psi_0(targets.to(z_t.dtype)))[:, None, None]  # [B, V, M, K+1]
        columns = shown.permute(2, 3, 0, 1).flatten(2)
        of_targets = torch.baddbmm(-weight.sum(-1, keepdim=True), weight, columns)
        of_targets = of_targets.view(latents, hidden, batch, -1)
        past, bias = self.of_past()
        rows = z_t.reshape(-1, latents).T.contiguous()  # as the product for its gradient is faster, too
        first = torch.addmm(bias.view(-1, 1), past.flatten(0, 1), rows)
        first = (first.view(latents, hidden, batch, -1) + of_targets).flatten(2)
        out = self.out(functional.silu(self.middle(functional.silu(first))))  # [M, 2, B max(A, V)]
        mean, log_std = out.view(latents, 2, batch, -1).permute(1, 2, 3, 0).contiguous()
        return mean, log_std

    def nll(self, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        """``sum_m NLL[m]`` under a sample of the assignment, in training mode with the pull into psi(0).

        See :meth:`~citris_cli.core.priors.base.TransitionPrior.nll`.
        """
        gaussians = self.gaussians(z_t, given.targets, given.psi.unsqueeze(1))
        return Score(self.pulled(gaussian_nll_over_sample_pairs(*gaussians, z_t1).sum(-1), given))

    def kl(self, mean: Tensor, log_std: Tensor, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        """``sum_m sum_k p[m,k] KL[m,k]``, the prior once for each of the K+1 assignments, psi(0) times 1 - lambda.

        See :meth:`~citris_cli.core.priors.base.TransitionPrior.kl`; ``z_t1`` and a sampled psi are not looked at.
        """
        latents, variables = given.probabilities.shape
        every = torch.eye(variables, device=mean.device, dtype=mean.dtype)[None, :, None].expand(-1, -1, latents, -1)
        gaussians = self.gaussians(z_t.unsqueeze(1), given.targets, every)
        kl = gaussian_kl(mean.unsqueeze(1), log_std.unsqueeze(1), *gaussians)  # [B, K+1, M]
        return Score(self.divergence(kl, given))

    def sample(
        self,
        z_t: Tensor,
        targets: Tensor,
        assignment: Tensor,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Draw z^{t+1}; see :meth:`~citris_cli.core.priors.base.TransitionPrior.sample`."""
        psi = functional.one_hot(assignment, targets.shape[1] + 1).to(z_t.dtype)
        mean, log_std = self.gaussians(z_t.unsqueeze(1), targets, psi[None, None])
        noise = torch.randn(z_t.shape, generator=generator).to(z_t)
        return gaussian_draw(mean.squeeze(1), log_std.squeeze(1), noise, temperature)
