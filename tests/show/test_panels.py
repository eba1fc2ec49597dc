"""Frames of any number of channels as pictures: nothing that a frame holds is left out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from citris_cli.show.grids import EDGE, PADDING, image_grid, reconstruction_grid, triplet_grid
from citris_cli.show.latent_animation import animation_bytes, frames_that_fit
from citris_cli.show.latent_bars import MARGIN, SIDE, LatentBars
from citris_cli.show.panels import BETWEEN, PAPER, panel_count, panels, tile_columns, tiled, tiled_size
from tests.show.sequences import sequence


def frames(channels: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, channels), dtype=np.uint8)


@pytest.mark.parametrize(("channels", "count"), [(1, 1), (2, 2), (3, 1), (4, 2), (8, 6)])
def test_every_channel_is_shown_once(channels: int, count: int) -> None:
    images = frames(channels)
    shown = panels(images)
    assert panel_count(channels) == count
    assert shown.shape == (3, 32 * count, 32, 3)
    colours = 3 if channels >= 3 else 0
    np.testing.assert_array_equal(shown[:, :32, :, :colours], images[..., :colours])
    for panel, channel in enumerate(range(colours, channels), start=1 if colours else 0):
        grey = shown[:, 32 * panel : 32 * (panel + 1)]
        np.testing.assert_array_equal(grey, images[..., channel, None].repeat(3, -1))


def test_grids_show_panels_with_an_edge() -> None:
    images = frames(4)
    picture = np.asarray(image_grid([list(images)], cell=32))
    np.testing.assert_array_equal(picture[PADDING : PADDING + 64, PADDING : PADDING + 32], panels(images[0]))
    assert (picture[PADDING - 1, PADDING : PADDING + 32] == EDGE).all()
    for channels in (1, 2, 3, 4):
        one = frames(channels, 6)
        assert reconstruction_grid(one[:2], one[2:4]).height > 3 * 32 * panel_count(channels)
        assert triplet_grid(one.reshape(2, 3, 32, 32, channels), one[:2], np.ones((2, 1)), ["x"]).mode == "RGB"


@pytest.mark.parametrize("channels", [1, 4])
def test_latents_stand_beside_frames_of_any_channels(channels: int) -> None:
    shown = dataclasses.replace(sequence(3), images=frames(channels))
    picture = np.asarray(LatentBars(shown).picture(1))
    height = SIDE * panel_count(channels)
    found = picture[MARGIN : MARGIN + height, MARGIN : MARGIN + SIDE]
    np.testing.assert_array_equal(found, panels(shown.images[1]).repeat(SIDE // 32, 0).repeat(SIDE // 32, 1))
    assert picture.shape[0] % 2 == 0
    for kind in (".gif", ".html"):
        assert frames_that_fit(kind, 32, shown.groups, channels) >= 3
        assert animation_bytes(kind, shown, 5.0)
    assert frames_that_fit(".html", 32, shown.groups, 4) < frames_that_fit(".html", 32, shown.groups, 3)


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (3, 3, 1), (4, 4, 1), (5, 3, 2), (12, 4, 3)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tiles_stand_side_by_side(count: int, columns: int, rows: int, channels: int) -> None:
    frames = np.random.default_rng(0).integers(0, 160, (count, 2, 8, 8, channels), dtype=np.uint8)
    whole, shown = tiled(frames), panels(frames)
    assert tile_columns(count) == columns
    height = shown.shape[2]
    assert whole.shape == (2, *tiled_size(count, channels, 8), 3) == (2, rows * (height + 1) + 1, columns * 9 + 1, 3)
    left = whole.copy()
    for number in range(count):
        top, start = number // columns * (height + 1) + 1, number % columns * 9 + 1
        np.testing.assert_array_equal(whole[:, top : top + height, start : start + 8], shown[number])
        left[:, top : top + height, start : start + 8] = BETWEEN
    assert set(np.unique(left)) <= {BETWEEN, PAPER}
    assert (left == PAPER).any() == (rows * columns > count)
