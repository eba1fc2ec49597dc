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
from citris_cli.training.autoencoder import AutoencoderTask, with_permuted_colours
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
