"""Diagonal Gaussians and mixtures of them: what is compared with a transition prior, and drawn from it."""

from __future__ import annotations

import torch
from torch import Tensor

from citris_cli.core.ops.marginal_score import mixture_nll
from citris_cli.core.ops.sample_pairs import HALF_LOG_2PI


def gaussian_kl(mean: Tensor, log_std: Tensor, prior_mean: Tensor, prior_log_std: Tensor) -> Tensor:
    """``KL(N(mean, std^2) || N(prior_mean, prior_std^2))`` in nats, elementwise.

    Args:
        mean, log_std: posterior, any shapes that broadcast with each other and with the prior's.
        prior_mean, prior_log_std: prior.
    """
    ratio = log_std - prior_log_std
    distance = (mean - prior_mean).square() * (-2 * prior_log_std).exp()
    return 0.5 * ((2 * ratio).exp() + distance - 1) - ratio


def gaussian_draw(mean: Tensor, log_std: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """``mean + temperature std noise``."""
    return mean + temperature * log_std.exp() * noise


def mixture_kl(mean: Tensor, log_std: Tensor, mixtures: Tensor, z: Tensor) -> Tensor:
    """An unbiased estimate of ``KL(N(mean, std^2) || sum_c w_c N(mean_c, std_c^2))`` in nats from one sample.

    The entropy of the Gaussian is exact. The divergence has no closed form.

    Args:
        mean, log_std: posterior.
        mixtures: prior [..., C, 3], see :func:`mixture_nll`.
        z: a sample of the posterior, of the posterior's shape.
    """
    return mixture_nll(mixtures, z) - (0.5 + HALF_LOG_2PI + log_std)


def mixture_component(mixtures: Tensor, uniform: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and log standard deviation of a component of each mixture, drawn by weight, or of the likeliest.

    Args:
        mixtures: [..., C, 3], see :func:`mixture_nll`.
        uniform: random numbers from 0 to 1, of the mixtures' shape without its last two dimensions; None for the
            likeliest component.
    """
    mean, log_std, logit = mixtures.unbind(-1)
    if uniform is None:
        chosen = logit.argmax(-1, keepdim=True)
    else:
        reached = logit.softmax(-1).cumsum(-1)[..., :-1] <= uniform.unsqueeze(-1)
        chosen = reached.sum(-1, keepdim=True)
    return torch.gather(mean, -1, chosen).squeeze(-1), torch.gather(log_std, -1, chosen).squeeze(-1)


def matched_gaussians(mixtures: Tensor) -> Tensor:
    """Mean and log standard deviation [..., 2] of mixtures [..., C, 3], see :func:`mixture_nll`.

    Of all Gaussians, the one with these is the nearest: that with the least ``KL(mixture || Gaussian)``.
    """
    mean, log_std, logit = mixtures.unbind(-1)
    weight = logit.softmax(-1)
    centre = (weight * mean).sum(-1, keepdim=True)
    variance = (weight * ((2 * log_std).exp() + (mean - centre).square())).sum(-1)
    return torch.stack([centre.squeeze(-1), 0.5 * variance.log()], dim=-1)
