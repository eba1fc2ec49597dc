"""Frames a second: encoded by the small and the published encoder, and drawn by Ball-in-Boxes."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.config import AutoencoderConfig
from citris_cli.data.frames import Frames
from citris_cli.training.encodings import encode_frames
from citris_cli.training.presets import autoencoder_preset
from citris_cli.worlds.ball_in_boxes import BallInBoxes
from tests.benchmarks.measure import Effort, Row, Target, counted, interleaved, matrix_product, product_rate
from tests.benchmarks.plain_autoencoder import PlainAutoencoder, as_images

ENCODED, DRAWN = 512, 2048


def encode(effort: Effort) -> list[Row]:
    """Encodings of 512 frames against the plain encoder, 256 at a time both; floor: the convolutions' products."""
    rows = []
    device = torch.device("cpu")
    for name, sizes in (("paper", AutoencoderConfig()), ("small", autoencoder_preset("small", 64)[0])):
        pixels = np.random.default_rng(0).integers(0, 256, (ENCODED, sizes.width, sizes.width, 3), dtype=np.uint8)
        model = Autoencoder(sizes, torch.Generator().manual_seed(0)).eval()
        encoder = PlainAutoencoder(model).eval().encoder
        frames = torch.from_numpy(pixels)

        @torch.no_grad()
        def plain(encoder: torch.nn.Module = encoder, frames: torch.Tensor = frames) -> torch.Tensor:
            return torch.cat([encoder(as_images(chunk)) for chunk in frames.split(256)])

        ours = partial(encode_frames, model.encode, Frames([pixels]), device)
        torch.testing.assert_close(ours(), plain(), rtol=1e-3, atol=1e-4)
        with counted() as counter:
            ours()
        taken = interleaved({"ours": ours, "plain": plain, "product": matrix_product()}, effort)
        floor = ENCODED * product_rate(taken["product"]) / counter.get_total_flops()
        what = f"encode, {name} ({sizes.width}x{sizes.width}, c {sizes.channels})"
        rows.append(Row(what, "frames/s", ENCODED / taken["ours"], ENCODED / taken["plain"], floor))
    return rows


def render(effort: Effort) -> list[Row]:
    """Ball-in-Boxes drawn many frames at a time against one frame at a time, every pixel's distance measured."""
    world = BallInBoxes()
    latents = world.independent(DRAWN, np.random.default_rng(0))
    empty = _boxes(world)

    def plain() -> np.ndarray:
        return np.stack([_frame(world, empty, *state) for state in latents])

    # Rounding at a half may fall either way.
    assert np.abs(world.render(latents).astype(int) - plain().astype(int)).max() <= 1
    taken = interleaved({"ours": partial(world.render, latents), "plain": plain}, effort)
    rates = DRAWN / taken["ours"], DRAWN / taken["plain"]
    return [Row("render Ball-in-Boxes (32x32)", "frames/s", *rates, target=Target("ours", 5000))]


def _boxes(world: BallInBoxes) -> np.ndarray:
    frame = np.empty((world.size, world.size, 3), np.float32)
    for row in range(world.size):
        for column in range(world.size):
            inner = column % (world.size // 2)
            inside = world.border <= row < world.size - world.border
            inside &= world.border <= inner < world.size // 2 - world.border
            frame[row, column] = world.background if inside else world.wall
    return frame


def _frame(world: BallInBoxes, empty: np.ndarray, x: float, y: float, box: float) -> np.ndarray:
    centres = np.arange(world.size, dtype=np.float32) + 0.5
    distance = np.hypot(centres - (x + box * world.size / 2), (centres - y)[:, None])
    cover = np.clip(world.radius + 0.5 - distance, 0, 1)[..., None]
    return np.rint(empty * (1 - cover) + np.array(world.ball, np.float32) * cover).astype(np.uint8)
