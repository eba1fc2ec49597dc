"""The divergence of Gaussians against PyTorch's own, and draws."""

import torch
from torch.distributions import Normal, kl_divergence

from citris_cli.core.gaussians import gaussian_draw, gaussian_kl

BATCH, LATENTS = 3, 4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_divergence_is_pytorchs() -> None:
    q_mean, q_log_std = torch.randn(2, BATCH, 1, LATENTS, generator=seeded(), dtype=torch.float64)
    p_mean, p_log_std = torch.randn(2, BATCH, 5, LATENTS, generator=seeded(1), dtype=torch.float64)
    expected = kl_divergence(Normal(q_mean, q_log_std.exp()), Normal(p_mean, p_log_std.exp()))
    torch.testing.assert_close(gaussian_kl(q_mean, q_log_std, p_mean, p_log_std), expected)
    assert (gaussian_kl(p_mean, p_log_std, p_mean, p_log_std) == 0).all()


def test_draws_have_the_mean_and_the_deviation() -> None:
    mean, log_std = torch.tensor([3.0, -1.0]), torch.tensor([0.5, -2.0])
    noise = torch.randn(20_000, 2, generator=seeded())
    draws = gaussian_draw(mean, log_std, noise, 2.0)
    torch.testing.assert_close(draws.mean(0), mean, rtol=0, atol=0.1)
    torch.testing.assert_close(draws.std(0), 2 * log_std.exp(), rtol=0.03, atol=0)
    assert torch.equal(gaussian_draw(mean, log_std, noise, 0.0), mean.expand(20_000, 2))
