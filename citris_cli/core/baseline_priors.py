"""Transition priors of what CITRIS is compared with: VAEs under priors that know no causal assignment.

Each is one more :class:`~citris_cli.core.transition_prior.TransitionPrior` and goes into the same VAE, without the
target classifier; which latents belong to which variable is found out after the training, with labels (Lippe et al.,
2022, section 6.1).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from citris_cli.core.gaussians import gaussian_draw, gaussian_kl, gaussian_nll_over_sample_pairs
from citris_cli.core.networks import initialise
from citris_cli.core.transition_prior import TransitionPrior

#: SlowVAE's rate of the Laplace distribution and weight of its divergence, as published.
SLOW_RATE, SLOW_WEIGHT = 6.0, 10.0


class ConditionalPrior(TransitionPrior):
    """iVAE*: ``p(z^{t+1} | z^t, I^{t+1}) = N(MLP([z^t, I^{t+1}]))``, every latent from every target.

    iVAE (Khemakhem et al., "Variational Autoencoders and Nonlinear ICA", AISTATS 2020) with the past and the targets
    as what it is conditioned on. Linear -> SiLU -> Linear -> SiLU -> Linear to (mean, log-std) of all latents.

    Args:
        latents: number of latents M.
        variables: number of intervened causal variables K.
        hidden: a quarter of the network's width.
        generator: source of the random start.
    """

    def __init__(self, latents: int, variables: int, hidden: int, generator: torch.Generator | None = None) -> None:
        super().__init__(regulariser=0.0)
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

    def nll(self, z_t: Tensor, z_t1: Tensor, targets: Tensor, probabilities: Tensor, psi: Tensor) -> Tensor:
        """See :meth:`TransitionPrior.nll`; ``probabilities`` and ``psi`` are not looked at."""
        return gaussian_nll_over_sample_pairs(*self.gaussians(z_t, targets.unsqueeze(1)), z_t1).sum(-1)

    def kl(
        self,
        mean: Tensor,
        log_std: Tensor,
        z_t: Tensor,
        z_t1: Tensor,
        targets: Tensor,
        probabilities: Tensor,
        psi: Tensor,
    ) -> Tensor:
        """See :meth:`TransitionPrior.kl`; ``z_t1``, ``probabilities`` and ``psi`` are not looked at."""
        return gaussian_kl(mean, log_std, *self.gaussians(z_t, targets)).sum(-1)

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


class SlowPrior(TransitionPrior):
    """SlowVAE: latents change rarely, ``p(z^{t+1} | z^t) = Laplace(z^t, 1 / 6)``, and lie around 0, ``N(0, 1)``.

    Klindt et al., "Towards Nonlinear Disentanglement in Natural Data with Temporal Sparse Coding", ICLR 2021. Its
    objective has one term for each, the sparse one ten times; it knows nothing of interventions.
    """

    def __init__(self) -> None:
        super().__init__(regulariser=0.0)

    def nll(self, z_t: Tensor, z_t1: Tensor, targets: Tensor, probabilities: Tensor, psi: Tensor) -> Tensor:
        """That of the Laplace distribution; see :meth:`TransitionPrior.nll`, of which it takes the samples alone."""
        change = (z_t1.unsqueeze(1) - z_t.unsqueeze(2)).abs().mean((1, 2))  # over pairs of samples
        return (SLOW_RATE * change - math.log(SLOW_RATE / 2)).sum(-1)

    def kl(
        self,
        mean: Tensor,
        log_std: Tensor,
        z_t: Tensor,
        z_t1: Tensor,
        targets: Tensor,
        probabilities: Tensor,
        psi: Tensor,
    ) -> Tensor:
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
        return (SLOW_WEIGHT * slow + normal).sum(-1)

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
