"""Transition prior of diagonal Gaussians for perfect interventions: latents are independent given the past."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from citris_cli.core.assignment import with_psi_0
from citris_cli.core.config import MLPPriorConfig
from citris_cli.core.gaussians import gaussian_draw, gaussian_kl
from citris_cli.core.initialisation import shapes_only
from citris_cli.core.ops.marginal_score import marginal, marginal_nll
from citris_cli.core.ops.networks import separate_networks
from citris_cli.core.priors.base import Given, Score, TransitionPrior
from citris_cli.core.priors.imperfect_mlp import ImperfectMLPTransitionPrior
from citris_cli.core.priors.per_latent import PerLatentMLP
from citris_cli.core.priors.registry import register


@register
class MLPTransitionPrior(PerLatentMLP):
    """An MLP a latent without, a learned Gaussian a (latent, variable) under intervention.

    Where interventions on any variable are imperfect it is an :class:`ImperfectMLPTransitionPrior`.

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
        super().__init__(latents, 1, hidden, config or MLPPriorConfig(), generator)
        shape = latents, variables, 2
        start = torch.empty(shape) if shapes_only() else 0.5 * torch.randn(shape, generator=generator)
        self.intervened = nn.Parameter(start)

    @classmethod
    def build(
        cls, latents: int, variables: int, hidden: int, config: Any, generator: torch.Generator | None = None
    ) -> TransitionPrior:
        """The form for perfect or for imperfect interventions; see :meth:`TransitionPrior.build`."""
        form = cls if all(config.perfect(variables)) else ImperfectMLPTransitionPrior
        return form(latents, variables, hidden, config, generator)

    def observational(self, z_t: Tensor) -> Tensor:
        """Mean and log standard deviation without intervention.

        Args:
            z_t: causal latents of the earlier frame [..., M].

        Returns:
            [..., M, 2].
        """
        layers = *self.of_past(), self.middle.weight, self.middle.bias, self.out.weight, self.out.bias
        return separate_networks(z_t, layers)

    def nll(self, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        """-log p(z^{t+1} | z^t, I^{t+1}), marginalised over the soft assignment and averaged over sample pairs.

        ``sum_m sum_k p[m,k] I_k NLL_intv[m,k] + NLL_obs[m] (1 - sum_k p[m,k] I_k - lambda p[m,0])``. The
        interventional parameters learn from ``sum_m sum_k I_k NLL_intv[m,k]`` alone, so that every latent knows what
        it would look like under every intervention before it is assigned; the value is unchanged by that.
        In training mode with the pull into psi(0). See :meth:`TransitionPrior.nll`; a sampled psi is not looked at.
        """
        lam, p = self.regulariser(given), given.probabilities
        return Score(marginal_nll(self.observational(z_t), z_t1, given.targets, p, self.intervened, lam, self.training))

    def kl(self, mean: Tensor, log_std: Tensor, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        """Divergences in the places of the NLLs in :meth:`nll`, interventional parameters as there.

        See :meth:`TransitionPrior.kl`; ``z_t1`` and a sampled psi are not looked at.
        """
        observational = gaussian_kl(mean, log_std, *self.observational(z_t).unbind(-1))  # [B, M]
        q = mean.unsqueeze(-1), log_std.unsqueeze(-1)
        intervened = gaussian_kl(*q, *self.intervened.detach().unbind(-1))  # [B, M, K]
        taught = gaussian_kl(q[0].detach(), q[1].detach(), *self.intervened.unbind(-1)) if self.training else None
        lam = self.regulariser(given)
        return Score(marginal(observational, intervened, taught, given.targets, given.probabilities, lam))

    def sample(
        self,
        z_t: Tensor,
        targets: Tensor,
        assignment: Tensor,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Draw z^{t+1}; see :meth:`TransitionPrior.sample`."""
        mean, log_std = self.observational(z_t).unbind(-1)
        # psi(0) is never intervened on: a column of zeros stands for it.
        parameters = torch.cat([self.intervened, torch.zeros_like(self.intervened[:, :1])], dim=1)
        own = parameters[torch.arange(len(assignment), device=assignment.device), assignment]  # [M, 2]
        hit = with_psi_0(targets)[:, assignment].bool()
        mean, log_std = torch.where(hit, own[:, 0], mean), torch.where(hit, own[:, 1], log_std)
        return gaussian_draw(mean, log_std, torch.randn(z_t.shape, generator=generator).to(z_t), temperature)
