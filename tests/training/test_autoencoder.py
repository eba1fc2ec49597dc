"""Training of the autoencoder: colours in random order, sizes by frame width."""

from __future__ import annotations

import dataclasses
from itertools import permutations

import numpy as np
import pytest
import torch

from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.config import WIDTHS, AutoencoderConfig
from citris_cli.data.frames import Frames, as_model_input
from citris_cli.training.autoencoder import AutoencoderTask, balancing_weights, mostly_still, with_permuted_colours
from citris_cli.training.config import AutoencoderTrainingConfig
from citris_cli.training.presets import AUTOENCODER, autoencoder_preset
from tests.training.tasks import loss_at


def test_every_frame_has_its_colours_in_one_of_all_orders() -> None:
    frames = torch.arange(600 * 2 * 2 * 3).remainder(251).to(torch.uint8).reshape(600, 2, 2, 3)
    before = frames.clone()
    shown = with_permuted_colours(frames, torch.Generator().manual_seed(0))
    assert torch.equal(frames, before)
    counts = {
        order: sum(torch.equal(one, other[..., list(order)]) for one, other in zip(shown, frames, strict=True))
        for order in permutations(range(3))
    }
    assert sum(counts.values()) == 600
    assert all(60 < count < 140 for count in counts.values())
    assert torch.equal(shown, with_permuted_colours(frames, torch.Generator().manual_seed(0)))
    assert not torch.equal(shown, with_permuted_colours(frames, torch.Generator().manual_seed(1)))


def test_only_colours_are_permuted() -> None:
    frames = torch.arange(40 * 2 * 2 * 5).remainder(251).to(torch.uint8).reshape(40, 2, 2, 5)
    shown = with_permuted_colours(frames, torch.Generator().manual_seed(0))
    assert torch.equal(shown[..., 3:], frames[..., 3:])
    assert torch.equal(shown[..., :3].sort(-1)[0], frames[..., :3].sort(-1)[0])
    assert not torch.equal(shown, frames)
    for grey in (frames[..., :1], frames[..., :2]):
        assert with_permuted_colours(grey, torch.Generator().manual_seed(0)) is grey


@pytest.mark.parametrize("permute", [False, True])
def test_colours_are_permuted_in_training_only_where_it_is_asked_for(permute: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
    model = Autoencoder(AutoencoderConfig(32, 3, 4, 1, patch=2), torch.Generator().manual_seed(0))
    config = AutoencoderTrainingConfig(steps=1, batch_size=16, lr=1e-3, clip=1.0, permute_colours=permute)
    task = AutoencoderTask(model, Frames([pixels]), Frames([pixels]), config)
    seen: list[torch.Tensor] = []
    encode = model.encode
    model.encode = lambda images: (seen.append(images), encode(images))[1]  # type: ignore[func-returns-value, method-assign]
    loss_at(task, 0)
    task.validate()
    originals = as_model_input(torch.from_numpy(pixels))
    trained, measured = seen[0], torch.cat(seen[1:])
    assert torch.equal(measured, originals)
    matched = [any(torch.equal(image, other) for other in originals) for image in trained]
    assert all(matched) != permute
    # Whatever the order, no pixel is darker or lighter.
    sums = {round(float(image.double().sum()), 3) for image in originals}
    assert all(min(abs(float(image.double().sum()) - value) for value in sums) < 2e-3 for image in trained)


def a_dot_beside_a_lamp() -> Frames:
    """Frames whose left half flickers as a whole, in the right half of which a single pixel is lit."""
    pixels = np.zeros((512, 32, 32, 4), np.uint8)
    random = np.random.default_rng(0)
    pixels[:, :, :8] = random.integers(0, 2, (512, 1, 1, 1)) * 255
    pixels[np.arange(512), random.integers(0, 32, 512), random.integers(16, 32, 512), 3] = 255
    return Frames([pixels])


def test_a_balanced_error_counts_pixels_that_seldom_change_like_those_that_often_do() -> None:
    frames = a_dot_beside_a_lamp()
    variance = as_model_input(frames.gather(torch.arange(512))).var(0, correction=0)
    plain, half, full = (balancing_weights(frames, balance) for balance in (0.0, 0.5, 1.0))
    assert torch.equal(plain, torch.ones(4, 32, 32))
    expected = 1 / (variance / variance.mean() + 0.1)
    for weights, shape in ((full, expected), (half, expected.sqrt())):
        torch.testing.assert_close(weights / weights.mean(), shape / shape.mean())
        # The mean picture costs what it costs without: no less is to be gained by an encoding.
        torch.testing.assert_close((weights * variance).mean(), variance.mean())
    lamp, dot = (slice(None), slice(None), slice(0, 8)), (3, slice(None), slice(16, 32))

    def share(weights: torch.Tensor) -> float:
        return float((weights * variance)[dot].sum() / (weights * variance)[lamp].sum())

    assert share(full) > 4 * share(plain)
    assert share(full) > share(half) > share(plain)
    assert torch.equal(balancing_weights(Frames([np.ones((3, 32, 32, 3), np.uint8)]), 1.0), torch.ones(3, 32, 32))


def test_frames_are_mostly_still_where_few_pixels_change_much() -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (2000, 32, 32, 3), dtype=np.uint8)
    dot = np.full_like(noise, 90)
    dot[:, :4, :4] = 255
    dot = np.stack([np.roll(one, random.integers(0, 32, 2), (0, 1)) for one in dot])
    walled = np.where(np.arange(32)[None, :, None, None] < 20, 90, noise).astype(np.uint8)
    assert not mostly_still(Frames([noise]))
    assert mostly_still(Frames([walled]))
    assert not mostly_still(Frames([dot])), "a dot that is everywhere equally often leaves nothing to balance"
    assert not mostly_still(Frames([np.full((3, 32, 32, 3), 7, np.uint8)]))


def test_where_colours_are_permuted_they_weigh_the_same() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 4), dtype=np.uint8) // np.array(
        [1, 2, 4, 8], np.uint8
    )
    weights = balancing_weights(Frames([pixels]), 1.0, permuted=True)
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])
    assert weights[3].mean() > 2 * weights[0].mean()


def test_the_error_is_balanced_where_it_is_asked_for_and_told_as_it_is() -> None:
    frames = a_dot_beside_a_lamp()
    losses, told = [], []
    for balance in (0.0, 1.0):
        model = Autoencoder(AutoencoderConfig(32, 3, 4, 1, patch=2, image_channels=4), torch.Generator().manual_seed(0))
        config = AutoencoderTrainingConfig(steps=1, batch_size=16, lr=1e-3, clip=1.0, balance=balance)
        loss, parts = loss_at(AutoencoderTask(model, frames, frames, config), 0)
        losses.append(float(loss.detach()))
        told.append(float(parts["mse"]))
    assert told[0] == told[1]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("preset", AUTOENCODER)
@pytest.mark.parametrize("width", WIDTHS)
def test_presets_fit_every_width(preset: str, width: int) -> None:
    config, _ = autoencoder_preset(preset, width)
    assert config.width == width
    with torch.device("meta"):
        model = Autoencoder(config)
        images = torch.empty(2, 3, width, width)
        assert model.decode(model.encode(images)).shape == images.shape
    assert sum(weight.numel() for weight in model.parameters()) < 7e6


def test_small_keeps_wide_frames_within_the_memory_of_a_laptop() -> None:
    """What the network of 256 pixels keeps of a frame for the backward pass is less than thrice that of 128."""
    kept = {}
    for width in (128, 256):
        total = 0

        def add(value: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += value.numel()
            return value

        with torch.device("meta"), torch.autograd.graph.saved_tensors_hooks(add, lambda value: value):
            model = Autoencoder(autoencoder_preset("small", width)[0])
            weights = sum(weight.numel() for weight in model.parameters())
            model.decode(model.encode(torch.empty(4, 3, width, width)))
        kept[width] = total - weights
    assert kept[128] < kept[256] < 3 * kept[128]


def test_the_small_preset_for_the_smallest_frames_is_the_one_of_the_table() -> None:
    config, training = AUTOENCODER["small"]
    assert autoencoder_preset("small", 32) == (dataclasses.replace(config, width=32), training)
    assert (config.latents, config.channels, config.decoder_blocks, config.patch, config.growth) == (16, 32, 1, 2, 1)
    assert autoencoder_preset("small", 64)[0].growth > 1
