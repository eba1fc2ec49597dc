"""Networks of the VAE: shapes, bounds on the log standard deviation, sizes that make no network."""

import math

import pytest
import torch
from torch import nn

from citris_cli.core.initialisation import initialise
from citris_cli.core.vae_networks import GaussianEncoder, vae_networks

LATENTS = 5


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(networks: str, width: int, patch: int = 1, seed: int = 0) -> tuple[GaussianEncoder, nn.Module]:
    encoder, decoder = vae_networks(networks, width, channels=4, latents=LATENTS, decoder_blocks=1, patch=patch)
    generator = seeded(seed)
    return initialise(encoder, generator), initialise(decoder, generator)


@pytest.mark.parametrize(
    ("networks", "width", "patch"), [("small", 32, 1), ("pyramid", 32, 1), ("pyramid", 64, 1), ("pyramid", 64, 2)]
)
def test_shapes_and_what_a_seed_decides(networks: str, width: int, patch: int) -> None:
    torch.manual_seed(1)
    encoder, decoder = make(networks, width, patch)
    images = torch.rand(3, 3, width, width, generator=seeded(1)) * 2 - 1
    mean, log_std = encoder(images)
    assert mean.shape == log_std.shape == (3, LATENTS)
    rendered = decoder(10 * mean)
    assert rendered.shape == images.shape
    assert 0 < rendered.abs().max() <= 1
    assert rendered[0].std() > 0
    torch.manual_seed(2)
    again, other = make(networks, width, patch), make(networks, width, patch, seed=1)
    assert torch.equal(again[0](images)[0], mean)
    assert torch.equal(again[1](10 * mean), rendered)
    assert not torch.equal(other[0](images)[0], mean)
    assert not torch.equal(other[1](10 * mean), rendered)


def test_the_small_pair_bounds_the_log_std_by_four() -> None:
    encoder, _ = make("small", 32)
    images = torch.zeros(1, 3, 32, 32)
    wanted = torch.tensor([-100.0, -1.0, 0.0, 1.0, 100.0])
    with torch.no_grad():
        encoder.network[-1].weight.zero_()
        encoder.network[-1].bias.copy_(torch.cat([torch.arange(5.0), wanted]))
    mean, log_std = encoder(images)
    assert mean[0].tolist() == [0, 1, 2, 3, 4]  # the means come first and have no bound
    torch.testing.assert_close(log_std[0], 4 * torch.tanh(wanted / 4))
    assert encoder.scale is None


def test_the_pyramid_learns_its_bound() -> None:
    encoder, _ = make("pyramid", 32)
    images = torch.rand(4, 3, 32, 32, generator=seeded())
    with torch.no_grad():
        encoder.network.head[-1].bias[LATENTS:] = 100.0
        encoder.scale.copy_(torch.tensor([-3.0, -1.0, 0.0, 1.0, 5.0]))
    _, log_std = encoder.eval()(images)
    torch.testing.assert_close(log_std, encoder.scale.exp().log1p().expand(4, -1))
    log_std.sum().backward()
    assert (encoder.scale.grad != 0).all()


@pytest.mark.parametrize("networks", ["small", "pyramid"])
def test_a_training_starts_with_narrow_posteriors(networks: str) -> None:
    encoder, _ = make(networks, 32)
    images = torch.rand(4, 3, 32, 32, generator=seeded()) * 2 - 1
    before, _ = encoder(images)
    mean, log_std = encoder.narrow()(images)
    assert torch.equal(mean, before)
    torch.testing.assert_close(log_std, torch.full((4, LATENTS), 4 * math.tanh(-3 / 4)))
    assert 0.07 < log_std.exp().mean() < 0.09


@pytest.mark.parametrize(
    ("networks", "width", "patch", "message"),
    [
        ("small", 64, 1, "for 32x32 frames with patch 1, not for width 64 with patch 1"),
        ("small", 32, 2, "for 32x32 frames with patch 1, not for width 32 with patch 2"),
        ("pyramid", 40, 1, "width is 40; it must be a multiple of 16 from 32 to 256"),
        ("large", 64, 1, "networks is 'large'; it can be pyramid or small"),
    ],
)
def test_sizes_that_make_no_networks_are_refused(networks: str, width: int, patch: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(networks, width, patch)
