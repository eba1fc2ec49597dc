"""SlowVAE, what CITRIS is compared with: a VAE under a prior of sparse changes.

It knows no causal assignment; which latents belong to which variable is found out after the training, with labels
(Lippe et al., 2022, section 6.1).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from citris_cli.core.config import SlowPriorConfig
from citris_cli.core.gaussians import gaussian_kl
from citris_cli.core.priors.base import WITHOUT_ASSIGNMENT, Given, Score, TransitionPrior
from citris_cli.core.priors.registry import register

#: Rate of the Laplace distribution and weight of its divergence, as published.
SLOW_RATE, SLOW_WEIGHT = 6.0, 10.0


@register
class SlowPrior(TransitionPrior):
    """SlowVAE: latents change rarely, ``p(z^{t+1} | z^t) = Laplace(z^t, 1 / 6)``, and lie around 0, ``N(0, 1)``.

    Klindt et al., "Towards Nonlinear Disentanglement in Natural Data with Temporal Sparse Coding", ICLR 2021. Its
    objective has one term for each, the sparse one ten times; it knows nothing of interventions.

    Args:
        latents, variables, hidden, config, generator: as every prior takes them; it has no parameters.
    """

    Config = SlowPriorConfig
    title = "SlowVAE"
    models = ("citris_vae",)
    assigns = False
    foretells = False
    preset = WITHOUT_ASSIGNMENT

    def __init__(
        self,
        latents: int = 0,
        variables: int = 0,
        hidden: int = 0,
        config: SlowPriorConfig | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()

    def nll(self, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        """That of the Laplace distribution; see :meth:`TransitionPrior.nll`, of which it takes the samples alone."""
        change = (z_t1.unsqueeze(1) - z_t.unsqueeze(2)).abs().mean((1, 2))  # over pairs of samples
        return Score((SLOW_RATE * change - math.log(SLOW_RATE / 2)).sum(-1))

    def kl(self, mean: Tensor, log_std: Tensor, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        """``10 KL(q || Laplace(z^t, 1/6)) + KL(q || N(0, 1))``; see :meth:`TransitionPrior.kl`.

        Of a Gaussian, ``E|z - c| = s sqrt(2/pi) exp(-d^2 / 2 s^2) + d erf(d / (s sqrt 2))`` with d = mean - c.
        """
        std = log_std.exp()
        distance = mean - z_t
        ratio = distance / (math.sqrt(2) * std)
        change = std * math.sqrt(2 / math.pi) * (-ratio.square()).exp() + distance * torch.erf(ratio)
        entropy = log_std + 0.5 * math.log(2 * math.pi * math.e)
        slow = SLOW_RATE * change - math.log(SLOW_RATE / 2) - entropy
        normal = gaussian_kl(mean, log_std, torch.zeros_like(mean), torch.zeros_like(log_std))
        return Score((SLOW_WEIGHT * slow + normal).sum(-1))

    def sample(
        self,
        z_t: Tensor,
        targets: Tensor,
        assignment: Tensor,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Draw z^{t+1} around z^t, whatever the targets; see :meth:`TransitionPrior.sample`."""
        uniform = torch.rand(z_t.shape, generator=generator).to(z_t) - 0.5
        step = -uniform.sign() * torch.log1p(-2 * uniform.abs().clamp(max=0.5 - 1e-7)) / SLOW_RATE
        return z_t + temperature * step
