"""Curves in panels: every value at its place, every curve in its colour."""

from __future__ import annotations

import numpy as np
import pytest

from citris_cli.show.colours import rgb, variable_colours
from citris_cli.show.curves import BOTTOM, HEIGHT, LEFT, MARGIN, RIGHT, TOP, WIDTH, Panel, curves_picture

EXPLAINED = {"a": "the first", "missing": "of none", "b": "the second"}
COLOURS = {name: rgb(light) for name, (light, _) in zip(EXPLAINED, variable_colours(3), strict=True)}


def drawn(*panels: Panel) -> np.ndarray:
    return np.asarray(curves_picture(panels, "steps", EXPLAINED)).astype(int)


def near(picture: np.ndarray, x: float, y: float, colour: tuple[int, int, int]) -> bool:
    window = picture[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3]
    return bool((np.abs(window - colour).sum(-1) < 40).any())


def test_curves_are_at_their_values() -> None:
    curves = {"a": np.array([0.0, 1.0, 2.0]), "b": np.array([2.0, 2.0, 0.0])}
    picture = drawn(Panel("one", curves))
    right, bottom, top = WIDTH - RIGHT, HEIGHT - BOTTOM, 2.0 * 1.08
    for name, values in curves.items():
        for step, value in enumerate(values):
            x = MARGIN + LEFT + step / 2 * (right - LEFT)
            y = MARGIN + bottom - value / top * (bottom - TOP)
            assert near(picture, x, y, COLOURS[name]), (name, step)
    assert not (np.abs(picture - COLOURS["missing"]).sum(-1) < 10).any()


@pytest.mark.parametrize("values", [np.zeros(4), np.ones(1), np.full(300, 1e-9)])
def test_any_values_can_be_drawn(values: np.ndarray) -> None:
    picture = drawn(*[Panel(f"panel {number}", {"a": values, "b": values / 2}) for number in range(4)])
    assert picture.shape[1] == 3 * WIDTH + 2 * MARGIN  # three in a row, and one below
    assert picture.shape[0] > 2 * HEIGHT
    assert (np.abs(picture - COLOURS["a"]).sum(-1) < 10).any()
