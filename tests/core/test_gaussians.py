"""Divergences of Gaussians and scores of mixtures against PyTorch's own, and draws."""

import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal, kl_divergence

from citris_cli.core.gaussians import (
    gaussian_draw,
    gaussian_kl,
    matched_gaussians,
    mixture_component,
    mixture_kl,
    mixture_nll,
)

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


def mixtures() -> Tensor:
    """Of three components each, [4, 3, 3]."""
    return torch.randn(LATENTS, 3, 3, generator=seeded(2), dtype=torch.float64)


def pytorchs(mixture: Tensor) -> MixtureSameFamily:
    mean, log_std, logit = mixture.unbind(-1)
    return MixtureSameFamily(Categorical(logits=logit), Normal(mean, log_std.exp()))


def test_the_score_of_a_mixture_is_pytorchs() -> None:
    z = 3 * torch.randn(BATCH, LATENTS, generator=seeded(), dtype=torch.float64)
    torch.testing.assert_close(mixture_nll(mixtures(), z), -pytorchs(mixtures()).log_prob(z))
    one = mixtures()[:, :1]  # whatever the logit of the only one
    torch.testing.assert_close(mixture_nll(one, z), -Normal(one[:, 0, 0], one[:, 0, 1].exp()).log_prob(z))


def test_the_divergence_to_a_mixture_is_right_on_average() -> None:
    mean, log_std = torch.tensor(0.3, dtype=torch.float64), torch.tensor(-0.5, dtype=torch.float64)
    z = gaussian_draw(mean, log_std, torch.randn(200_000, generator=seeded(), dtype=torch.float64), 1.0)
    found = mixture_kl(mean, log_std, mixtures()[0], z).mean()
    place = torch.linspace(-8, 8, 20_001, dtype=torch.float64)
    q, p = Normal(mean, log_std.exp()).log_prob(place), pytorchs(mixtures()[0]).log_prob(place)
    torch.testing.assert_close(found, torch.trapezoid(q.exp() * (q - p), place), rtol=0, atol=0.01)


def test_components_are_drawn_by_weight_and_the_likeliest_without_chance() -> None:
    mixture = mixtures()
    uniform = torch.rand(50_000, LATENTS, generator=seeded(), dtype=torch.float64)
    mean, log_std = mixture_component(mixture.expand(50_000, -1, -1, -1), uniform)
    for m in range(LATENTS):
        for c, weight in enumerate(mixture[m, :, 2].softmax(-1)):
            drawn = mean[:, m] == mixture[m, c, 0]
            assert torch.equal(drawn, log_std[:, m] == mixture[m, c, 1])
            assert abs(drawn.double().mean() - weight) < 0.01
    best = mixture[:, :, 2].argmax(-1)
    found = torch.stack(mixture_component(mixture, None), -1)
    assert torch.equal(found, mixture[torch.arange(LATENTS), best, :2])
    last = mixture_component(mixture, torch.ones(LATENTS, dtype=torch.float64))  # rounding must not choose beyond it
    assert torch.equal(last[0], mixture[:, -1, 0])


def test_the_matched_gaussian_has_the_moments_of_the_mixture() -> None:
    mean, log_std = matched_gaussians(mixtures()).unbind(-1)
    torch.testing.assert_close(mean, pytorchs(mixtures()).mean)
    torch.testing.assert_close((2 * log_std).exp(), pytorchs(mixtures()).variance)
    one = mixtures()[:, :1]
    torch.testing.assert_close(matched_gaussians(one), one[:, 0, :2])
