"""iVAE*, what CITRIS is compared with: a VAE under a prior that sees all targets.

It knows no causal assignment; which latents belong to which variable is found out after the training, with labels
(Lippe et al., 2022, section 6.1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from citris_cli.core.config import IVAEPriorConfig
from citris_cli.core.gaussians import gaussian_draw, gaussian_kl
from citris_cli.core.initialisation import initialise
from citris_cli.core.ops.sample_pairs import gaussian_nll_over_sample_pairs
from citris_cli.core.priors.base import WITHOUT_ASSIGNMENT, Given, Score, TransitionPrior
from citris_cli.core.priors.registry import register


@register
class ConditionalPrior(TransitionPrior):
    """iVAE*: ``p(z^{t+1} | z^t, I^{t+1}) = N(MLP([z^t, I^{t+1}]))``, every latent from every target.

    iVAE (Khemakhem et al., "Variational Autoencoders and Nonlinear ICA", AISTATS 2020) with the past and the targets
    as what it is conditioned on. Linear -> SiLU -> Linear -> SiLU -> Linear to (mean, log-std) of all latents.

    Args:
        latents: number of latents M.
        variables: number of intervened causal variables K.
        hidden: a quarter of the network's width.
        config: there is nothing to configure.
        generator: source of the random start.
    """

    Config = IVAEPriorConfig
    title = "iVAE*"
    models = ("citris_vae",)
    assigns = False
    preset = WITHOUT_ASSIGNMENT

    def __init__(
        self,
        latents: int,
        variables: int,
        hidden: int,
        config: IVAEPriorConfig | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        width = 4 * hidden
        self.network = initialise(
            nn.Sequential(
                nn.Linear(latents + variables, width),
                nn.SiLU(),
                nn.Linear(width, width),
                nn.SiLU(),
                nn.Linear(width, 2 * latents),
            ),
            generator,
        )

    def gaussians(self, z_t: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation [..., M] after z^t [..., M] under targets that broadcast to [..., K]."""
        told = targets.to(z_t.dtype).expand(*z_t.shape[:-1], -1)
        mean, log_std = self.network(torch.cat([z_t, told], dim=-1)).chunk(2, dim=-1)
        return mean, log_std

    def nll(self, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        """See :meth:`TransitionPrior.nll`; the assignment is not looked at."""
        return Score(gaussian_nll_over_sample_pairs(*self.gaussians(z_t, given.targets.unsqueeze(1)), z_t1).sum(-1))

    def kl(self, mean: Tensor, log_std: Tensor, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        """See :meth:`TransitionPrior.kl`; ``z_t1`` and the assignment are not looked at."""
        return Score(gaussian_kl(mean, log_std, *self.gaussians(z_t, given.targets)).sum(-1))

    def sample(
        self,
        z_t: Tensor,
        targets: Tensor,
        assignment: Tensor,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Draw z^{t+1}; see :meth:`TransitionPrior.sample`. ``assignment`` is not looked at."""
        noise = torch.randn(z_t.shape, generator=generator).to(z_t)
        return gaussian_draw(*self.gaussians(z_t, targets), noise, temperature)
