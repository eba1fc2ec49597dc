"""Diagonal Gaussians: what is compared with a transition prior, and drawn from it."""

from __future__ import annotations

from torch import Tensor


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
