"""Averages over pairs of samples by two moments against the pairs themselves, and against PyTorch's distributions."""

import math

import pytest
import torch
from torch.distributions import Normal

from citris_cli.core.ops.sample_pairs import (
    gaussian_nll,
    gaussian_nll_over_sample_pairs,
    gaussian_nll_over_sample_pairs_reference,
    moments_over_samples,
)
from tests.core.ops.exact import require_exact, seeded

BATCH, LATENTS = 3, 4


@pytest.mark.parametrize("independent", [False, True])
def test_the_average_over_sample_pairs_is_that_of_brute_force(independent: bool) -> None:
    samples = 6
    mean, log_std = torch.randn(
        2, BATCH, 1 if independent else samples, LATENTS, generator=seeded(), dtype=torch.float64
    ).unbind(0)
    z = torch.randn(BATCH, samples, LATENTS, generator=seeded(1), dtype=torch.float64)
    pairs = -Normal(mean.unsqueeze(2), log_std.exp().unsqueeze(2)).log_prob(z.unsqueeze(1))  # [B, S, S', M]
    torch.testing.assert_close(gaussian_nll_over_sample_pairs(mean, log_std, z), pairs.mean((1, 2)))
    torch.testing.assert_close(gaussian_nll_over_sample_pairs_reference(mean, log_std, z), pairs.mean((1, 2)))


@pytest.mark.parametrize("samples", [1, 2, 8])
@pytest.mark.parametrize("leading", [(), (BATCH,), (BATCH, 2)])
def test_moments_give_the_values_and_gradients_of_the_pairs(leading: tuple[int, ...], samples: int) -> None:
    shape = *leading, samples, LATENTS
    learned = [torch.randn(shape, generator=seeded(seed)) for seed in range(3)]
    require_exact(gaussian_nll_over_sample_pairs, gaussian_nll_over_sample_pairs_reference, learned)


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
    one = gaussian_nll(torch.tensor(1.0), torch.tensor(0.0), *moments_over_samples(torch.full((1, 1), 2.0)))
    assert one.item() == pytest.approx(0.5 + 0.5 * math.log(2 * math.pi))
