"""Pictures of frames beside bars: pixels where the numbers say, and nothing that moves but what changed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageFont

from citris_cli.show.colours import rgb
from citris_cli.show.latent_bars import BARS, MARGIN, SIDE, TALL, LatentBars, picture_height, shortened, widest, wrapped
from citris_cli.show.latents import latent_groups
from tests.show.sequences import sequence


def pixels_of(picture: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """Where a picture has a colour: bool [H, W]."""
    return (np.asarray(picture) == colour).all(axis=2)


@pytest.mark.parametrize("width", [32, 64, 128])
def test_the_frame_is_enlarged_without_smoothing(width: int) -> None:
    shown = sequence(2, width)
    picture = LatentBars(shown).picture(1)
    found = np.asarray(picture)[MARGIN : MARGIN + SIDE, MARGIN : MARGIN + SIDE]
    np.testing.assert_array_equal(found, shown.images[1].repeat(SIDE // width, 0).repeat(SIDE // width, 1))


def test_a_frame_that_does_not_fit_a_whole_number_of_times_is_smoothed() -> None:
    shown = sequence(2, 48)
    found = np.asarray(LatentBars(shown).picture(1))[MARGIN : MARGIN + SIDE, MARGIN : MARGIN + SIDE]
    back = np.asarray(Image.fromarray(found).resize((48, 48), Image.Resampling.BOX)).astype(int)
    assert np.abs(back - shown.images[1]).mean() < 40  # noise, of which smoothing takes some
    assert len(np.unique(found.reshape(-1, 3), axis=0)) > len(np.unique(shown.images[1].reshape(-1, 3), axis=0))


def test_bars_are_as_long_as_the_latents_on_an_axis_that_stays() -> None:
    shown = sequence(6)
    bars = LatentBars(shown)
    low, high = shown.limits
    for number in (0, 3, 5):
        picture = bars.picture(number)
        assert picture.size == bars.size
        for group, latents in ((0, [0, 3]), (1, [2])):
            where = pixels_of(picture, rgb(shown.groups[group].light))
            rows = np.flatnonzero(where.any(axis=1))
            lengths = [
                where[block].sum(axis=1).max() for block in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
            ]
            expected = [abs(float(shown.z[number, latent])) / (high - low) * (BARS - 1) for latent in latents]
            assert lengths == pytest.approx(expected, abs=2)


def test_of_two_pictures_only_what_changed_differs() -> None:
    shown = sequence(5)
    still = dataclasses.replace(
        shown, images=shown.images[[0] * 5], z=shown.z[[4] * 5], intervened=((), ("box",), (), (), ())
    )
    bars = LatentBars(still)
    plain, marked = (np.asarray(bars.picture(number)).astype(int) for number in (0, 1))
    changed = np.flatnonzero((plain != marked).any(axis=(1, 2)))
    left = 2 * MARGIN + SIDE
    inside = np.flatnonzero((plain[:, left:] != marked[:, left:]).any(axis=(1, 2)))
    box = np.flatnonzero(pixels_of(bars.picture(0), rgb(still.groups[1].light)).any(axis=1))
    # The mark is around the block of the box; all else that changed is the text below the frame.
    assert box[0] - 8 < inside[0] < box[0]
    assert box[-1] < inside[-1] < box[-1] + 8
    assert set(changed) - set(inside) <= set(range(MARGIN + SIDE, plain.shape[0]))


def test_a_variable_without_latents_is_said_to_have_none() -> None:
    shown = sequence(2)
    full = dataclasses.replace(shown, groups=latent_groups(("ball_y", "box", "lamp"), np.array([0, 3, 1, 2])))
    left = 2 * MARGIN + SIDE
    empty, filled = (np.asarray(LatentBars(one).picture(0))[:, left:] for one in (shown, full))
    faint = tuple(round(255 + 0.22 * (value - 255)) for value in rgb(shown.groups[2].light))
    assert not (empty == faint).all(axis=2).any()
    assert (filled == faint).all(axis=2).any()


@pytest.mark.parametrize("latents", [1, 16, 64, 200])
def test_pictures_stay_small_and_even_and_lose_no_latent(latents: int) -> None:
    shown = sequence(2)
    groups = latent_groups([f"variable_{i}_of_a_long_name_{'x' * 30}" for i in range(12)], np.arange(latents) % 13)
    rng = np.random.default_rng(0)
    z = rng.uniform(1, 2, (2, latents)).astype(np.float32)
    bars = LatentBars(dataclasses.replace(shown, groups=groups, z=z, intervened=(None, ())))
    width, height = bars.size
    assert (width % 2, height % 2) == (0, 0)
    assert width <= widest(SIDE)
    assert height == picture_height(groups, SIDE)
    assert height <= max(TALL + 2 * MARGIN, 3 * latents + 250)
    picture = bars.picture(1)
    for group in groups:
        lines = int(pixels_of(picture, rgb(group.light)).any(axis=1).sum())
        assert lines >= len(group.latents)


def test_exact_colours_are_all_that_the_bars_need() -> None:
    shown = sequence(3)
    bars = LatentBars(shown)
    panel = np.asarray(bars.picture(1))[:, 2 * MARGIN + SIDE :].reshape(-1, 3)
    colours, counts = np.unique(panel, axis=0, return_counts=True)
    exact = set(bars.exact_colours)
    assert len(exact) < 128
    # What remains are the edges of letters and of the mark.
    assert counts[[tuple(colour) not in exact for colour in colours.tolist()]].sum() < 0.02 * len(panel)


def test_long_texts_are_cut_or_broken() -> None:
    font = ImageFont.load_default(13)
    assert shortened("box", font, 100) == "box"
    cut = shortened("a" * 64, font, 100)
    assert cut.endswith("a…")
    assert 80 < font.getlength(cut) <= 100
    lines = wrapped("intervened on: " + ", ".join(f"variable_{i}" for i in range(9)), font, 256)
    assert len(lines) > 2
    assert all(font.getlength(line) <= 256 for line in lines)
    assert " ".join(lines).endswith("variable_7, variable_8")
    assert wrapped("no intervention", font, 256) == ["no intervention"]


def test_names_beyond_ascii_and_many_interventions_can_be_drawn() -> None:
    shown = sequence(2, names=("θ", "größe", "灯"))
    crowd = tuple(f"column_{i}" for i in range(60))
    bars = LatentBars(dataclasses.replace(shown, intervened=(None, crowd)))
    assert [picture.size for picture in bars] == [bars.size] * 2
