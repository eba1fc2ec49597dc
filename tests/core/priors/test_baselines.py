"""The priors of iVAE* and SlowVAE: divergences against Monte Carlo, draws against their own likelihood."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Laplace, Normal

from citris_cli.core.priors import ConditionalPrior, Given, SlowPrior, TransitionPrior
from citris_cli.core.priors.slow import SLOW_RATE, SLOW_WEIGHT

LATENTS, VARIABLES, BATCH = 3, 2, 4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed))


def make(name: str) -> TransitionPrior:
    return SlowPrior() if name == "slow" else ConditionalPrior(LATENTS, VARIABLES, 4, generator=seeded())


TARGETS = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]])
GIVEN = Given(TARGETS, torch.full((LATENTS, VARIABLES + 1), 1 / 3), torch.zeros(BATCH, LATENTS, VARIABLES + 1))


def log_prior(prior: TransitionPrior, z_t: Tensor, z: Tensor) -> Tensor:
    """What the KL divergence is to, latent by latent; of SlowVAE's two terms, with their weights."""
    if isinstance(prior, ConditionalPrior):
        mean, log_std = prior.gaussians(z_t, TARGETS)
        return Normal(mean, log_std.exp()).log_prob(z)
    slow, around_0 = Laplace(z_t, 1 / SLOW_RATE).log_prob(z), Normal(0.0, 1.0).log_prob(z)
    return SLOW_WEIGHT * slow + around_0


@pytest.mark.parametrize("name", ["ivae", "slow"])
@torch.no_grad()
def test_the_divergence_is_that_of_many_samples(name: str) -> None:
    prior = make(name)
    mean, log_std = normal(BATCH, LATENTS, seed=1), 0.5 * normal(BATCH, LATENTS, seed=2) - 1
    z_t = normal(BATCH, LATENTS, seed=3)
    z = mean + log_std.exp() * normal(200_000, BATCH, LATENTS, seed=4)
    weight = SLOW_WEIGHT + 1 if name == "slow" else 1
    sampled = (weight * Normal(mean, log_std.exp()).log_prob(z) - log_prior(prior, z_t, z)).mean(0).sum(-1)
    exact = prior.kl(mean, log_std, z_t, z[0], GIVEN).value
    torch.testing.assert_close(exact, sampled, rtol=0.01, atol=0.02)


@pytest.mark.parametrize("name", ["ivae", "slow"])
@torch.no_grad()
def test_the_nll_is_the_mean_over_all_pairs_of_samples(name: str) -> None:
    prior = make(name)
    z_t, z_t1 = normal(BATCH, 3, LATENTS, seed=5), normal(BATCH, 3, LATENTS, seed=6)
    pairs = []
    for s in range(3):
        for other in range(3):
            if name == "slow":
                density = Laplace(z_t[:, s], 1 / SLOW_RATE).log_prob(z_t1[:, other])
            else:
                density = log_prior(prior, z_t[:, s], z_t1[:, other])
            pairs.append(-density.sum(-1))
    found = prior.nll(z_t, z_t1, GIVEN).value
    torch.testing.assert_close(found, torch.stack(pairs).mean(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["ivae", "slow"])
@torch.no_grad()
def test_draws_have_the_spread_that_the_prior_says(name: str) -> None:
    prior = make(name)
    z_t = normal(1, LATENTS, seed=7).expand(100_000, -1)
    targets = TARGETS[1].expand(100_000, -1)
    drawn = prior.sample(z_t, targets, torch.zeros(LATENTS, dtype=torch.long), seeded(8))
    if isinstance(prior, ConditionalPrior):
        mean, log_std = (value[0] for value in prior.gaussians(z_t[:1], targets[:1]))
        std = log_std.exp()
    else:
        mean, std = z_t[0], torch.full((LATENTS,), math.sqrt(2) / SLOW_RATE)
    torch.testing.assert_close(drawn.mean(0), mean, rtol=0, atol=0.02)
    torch.testing.assert_close(drawn.std(0), std, rtol=0.02, atol=0)
    assert torch.equal(prior.sample(z_t, targets, torch.zeros(LATENTS, dtype=torch.long), seeded(8)), drawn)
    means = prior.sample(z_t[:1], targets[:1], torch.zeros(LATENTS, dtype=torch.long), seeded(8), temperature=0.0)
    torch.testing.assert_close(means[0], mean)


def test_ivae_sees_the_targets_and_slowvae_does_not() -> None:
    z_t = normal(1, LATENTS, seed=9).expand(BATCH, -1)
    mean, _ = ConditionalPrior(LATENTS, VARIABLES, 4, generator=seeded()).gaussians(z_t, TARGETS)
    assert len({tuple(row.tolist()) for row in mean}) == BATCH
    slow = SlowPrior().kl(z_t, z_t - 1, z_t, z_t, GIVEN).value
    assert len(set(slow.tolist())) == 1
