"""Shapes on a grid of pixels: their area, where they lie, and how they are laid over each other."""

from __future__ import annotations

import numpy as np

from citris_cli.worlds.antialiasing import blend, convex_cover, disc_cover, levels, window_of


def test_a_disc_has_its_area_and_its_centre() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(5, 27, (2, 200))
    top, left, window = window_of(x, y, 2.0, 32)
    cover = disc_cover(x, y, 2.0, top, left, window) / 256
    np.testing.assert_allclose(cover.sum((1, 2)), np.pi * 4, rtol=0.01)
    middle = np.arange(window) + 0.5
    total = cover.sum((1, 2))
    np.testing.assert_allclose(left + (cover.sum(1) * middle).sum(1) / total, x, atol=0.02)
    np.testing.assert_allclose(top + (cover.sum(2) * middle).sum(1) / total, y, atol=0.02)


def test_the_window_of_a_disc_stays_in_the_frame_and_holds_what_is_in_it() -> None:
    x, y = np.array([-3.0, 0.3, 31.9, 40.0]), np.array([16.0, 31.5, 0.2, -9.0])
    top, left, window = window_of(x, y, 1.5, 32)
    assert min(top.min(), left.min()) >= 0
    assert max(top.max(), left.max()) + window <= 32
    everywhere = disc_cover(x, y, 1.5, np.zeros(4, int), np.zeros(4, int), 32)
    np.testing.assert_array_equal(disc_cover(x, y, 1.5, top, left, window).sum((1, 2)), everywhere.sum((1, 2)))
    assert everywhere.any((1, 2)).tolist() == [False, True, True, False]


def test_a_convex_shape_covers_its_area() -> None:
    # A triangle with corners (3, 3), (19, 3) and (3, 15).
    normals, offsets = np.array([(-1, 0), (0, -1), (12, 16)]), np.array([-3, -3, 12 * 3 + 16 * 15])
    share = convex_cover(normals, offsets, 32)
    assert abs(share.sum() - 16 * 12 / 2) < 0.01
    assert (share[:3] == 0).all()
    assert (share[3:10, 3:8] == 1).all()
    assert 0 < share[7, 12] < 1  # the slope goes through it
    # Nothing is inside of lines that leave nothing.
    assert not convex_cover(np.array([(1, 0), (-1, 0)]), np.array([3, -4]), 32).any()


def test_covers_are_whole_256ths_and_the_whole_of_a_pixel_is_255() -> None:
    assert levels(np.array([0, 0.5, 0.999, 1])).tolist() == [0, 128, 255, 255]


def test_a_colour_covers_what_it_covers_and_mixes_between() -> None:
    under = np.arange(0, 256, 5)
    np.testing.assert_array_equal(blend(under, 77, np.array(0)), under)
    np.testing.assert_array_equal(blend(under, 77, np.array(255)), np.full_like(under, 77))
    for cover in (1, 64, 200):
        np.testing.assert_allclose(blend(under, 77, np.array(cover)), under + (77 - under) * cover / 255, atol=1.5)
