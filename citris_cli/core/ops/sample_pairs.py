"""Gaussian scores over all pairs of samples, S terms for S^2 pairs.

A pair is a sample that gave a Gaussian's parameters and a sample that is scored with them. The average over the scored
ones enters only through their first two moments:

``mean_s' (z_s' - mean)^2 = var(z) + (mean(z) - mean)^2``.

The variance is of centred values: a difference of raw moments would lose its digits.
"""

from __future__ import annotations

import math

from torch import Tensor

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def gaussian_nll_over_sample_pairs(mean: Tensor, log_std: Tensor, z: Tensor) -> Tensor:
    """Gaussian NLL averaged over all S x S pairs of a parameter sample and a scored sample.

    Args:
        mean: means of the Gaussians [..., S, M] (or [..., 1, M] where they do not depend on the sample).
        log_std: their log standard deviations, same shape.
        z: scored samples [..., S, M].

    Returns:
        Negative log-likelihood in nats [..., M].
    """
    return gaussian_nll(mean, log_std, *moments_over_samples(z)).mean(-2)


def gaussian_nll_over_sample_pairs_reference(mean: Tensor, log_std: Tensor, z: Tensor) -> Tensor:
    """:func:`gaussian_nll_over_sample_pairs` pair by pair."""
    distance = (z.unsqueeze(-2) - mean.unsqueeze(-3)) * (-log_std).exp().unsqueeze(-3)  # [..., S', S, M]
    return (0.5 * distance.square() + log_std.unsqueeze(-3) + HALF_LOG_2PI).mean((-3, -2))


def moments_over_samples(z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance, both [..., 1, M], of samples [..., S, M]."""
    mean = z.mean(-2, keepdim=True)
    return mean, (z - mean).square().mean(-2, keepdim=True)


def gaussian_nll(mean: Tensor, log_std: Tensor, z_mean: Tensor, z_var: Tensor) -> Tensor:
    """Gaussian NLL in nats averaged over samples of which two moments are known, elementwise.

    Args:
        mean, log_std: of the Gaussians, any shapes that broadcast with each other and with the samples'.
        z_mean, z_var: mean and variance of the samples.
    """
    return 0.5 * (z_var + (z_mean - mean).square()) * (-2 * log_std).exp() + log_std + HALF_LOG_2PI
