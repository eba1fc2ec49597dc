"""The production autoencoder against its plain form: loss, every gradient, running statistics, evaluation."""

import pytest
import torch

from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.config import AutoencoderConfig
from tests.benchmarks.plain_autoencoder import PlainAutoencoder


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "config",
    [AutoencoderConfig(decoder_blocks=1), AutoencoderConfig(width=32, channels=8, latents=6), AutoencoderConfig(
        channels=16, latents=6, decoder_blocks=1, patch=2)],
)  # fmt: skip
@pytest.mark.parametrize("channels_last", [True, False])
def test_a_step_is_that_of_the_plain_form(config: AutoencoderConfig, channels_last: bool) -> None:
    model = Autoencoder(config, seeded())
    plain = PlainAutoencoder(model)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    images = torch.rand(4, 3, config.width, config.width, generator=seeded(1)) * 2 - 1
    loss, _ = model.loss(images, seeded(2))
    expected = plain.loss(images, seeded(2))
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    loss.backward()
    expected.backward()
    for (name, mine), theirs in zip(model.named_parameters(), plain.parameters(), strict=True):
        # Gradients of a few images sum to almost nothing in places: their errors are those of the largest.
        assert mine.grad is not None, name
        assert (mine.grad - theirs.grad).norm() < 1e-3 * theirs.grad.norm() + 1e-6, name
    for (name, mine), theirs in zip(model.state_dict().items(), plain.state_dict().values(), strict=True):
        if "running" in name:
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    model.eval()
    plain.eval()
    with torch.no_grad():
        torch.testing.assert_close(model.encode(images), plain.encoder(images), rtol=1e-4, atol=1e-4)
