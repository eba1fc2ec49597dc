"""Diagonal Gaussians: what the transition prior scores with, compares and draws from."""

from __future__ import annotations

import math

from torch import Tensor

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def gaussian_nll_over_sample_pairs(mean: Tensor, log_std: Tensor, z: Tensor) -> Tensor:
    """Gaussian NLL averaged over all S x S pairs of a parameter sample and a scored sample.

    The average over the scored samples enters only through their first two moments:
    ``mean_s' (z_s' - mean)^2 = var(z) + (mean(z) - mean)^2``, so S terms do the work of S^2, and the centred
    variance keeps the digits that a difference of raw moments would lose.

    Args:
        mean: means of the Gaussians [..., S, M] (or [..., 1, M] where they do not depend on the sample).
        log_std: their log standard deviations, same shape.
        z: scored samples [..., S, M].

    Returns:
        Negative log-likelihood [..., M].
    """
    return gaussian_nll(mean, log_std, *moments_over_samples(z)).mean(-2)


def moments_over_samples(z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance, both [..., 1, M], of samples [..., S, M]."""
    mean = z.mean(-2, keepdim=True)
    return mean, (z - mean).square().mean(-2, keepdim=True)


def gaussian_nll(mean: Tensor, log_std: Tensor, z_mean: Tensor, z_var: Tensor) -> Tensor:
    """Gaussian NLL averaged over samples of which two moments are known, elementwise.

    Args:
        mean, log_std: of the Gaussians, any shapes that broadcast with each other and with the samples'.
        z_mean, z_var: mean and variance of the samples.
    """
    return 0.5 * (z_var + (z_mean - mean).square()) * (-2 * log_std).exp() + log_std + HALF_LOG_2PI


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
