"""Averages over sample pairs against brute force, and the divergence against PyTorch's own."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from citris_cli.core.gaussians import gaussian_draw, gaussian_kl, gaussian_nll_over_sample_pairs

BATCH, LATENTS = 3, 4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("independent", [False, True])
def test_the_average_over_sample_pairs_is_that_of_brute_force(independent: bool) -> None:
    samples = 6
    mean, log_std = torch.randn(
        2, BATCH, 1 if independent else samples, LATENTS, generator=seeded(), dtype=torch.float64
    )
    z = torch.randn(BATCH, samples, LATENTS, generator=seeded(1), dtype=torch.float64)
    pairs = -Normal(mean.unsqueeze(2), log_std.exp().unsqueeze(2)).log_prob(z.unsqueeze(1))  # [B, S, S', M]
    torch.testing.assert_close(gaussian_nll_over_sample_pairs(mean, log_std, z), pairs.mean((1, 2)))


def test_samples_far_from_zero_keep_their_digits() -> None:
    z = 1000 + 0.05 * torch.randn(1, 8, 3, generator=seeded())
    mean, log_std = torch.full_like(z, 1000), torch.full_like(z, -3.0)
    single = gaussian_nll_over_sample_pairs(mean, log_std, z)
    double = gaussian_nll_over_sample_pairs(mean.double(), log_std.double(), z.double())
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


def test_a_standard_normal_costs_what_it_should() -> None:
    zero = torch.zeros(1, 1, 1)
    nll = gaussian_nll_over_sample_pairs(zero, zero, torch.full((1, 1, 1), 2.0))
    assert nll.item() == pytest.approx(2 + 0.5 * math.log(2 * math.pi))


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
