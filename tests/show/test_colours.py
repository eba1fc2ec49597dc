"""Colours of variables: distinguishable on both backgrounds, by everybody; measured, not believed."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from citris_cli.show.colours import (
    DARK,
    GREY_DARK,
    GREY_LIGHT,
    LIGHT,
    PAPER_DARK,
    PAPER_LIGHT,
    TEXT_DARK,
    TEXT_LIGHT,
    mixed,
    rgb,
    variable_colours,
)

THEMES = {
    "light": (LIGHT, GREY_LIGHT, PAPER_LIGHT, TEXT_LIGHT),
    "dark": (DARK, GREY_DARK, PAPER_DARK, TEXT_DARK),
}
#: Machado, Oliveira and Fernandes, 2009, severity 1, on linear RGB.
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
#: Least CIEDE2000 difference of two colours of a theme; about 2 is just seen side by side.
LEAST = {"normal": 16.0, "protanopia": 9.0, "deuteranopia": 9.0, "tritanopia": 8.0}


def linear(colours: list[str]) -> np.ndarray:
    values = np.array([rgb(colour) for colour in colours]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG 2.1's contrast ratio."""
    bright, dark = sorted(linear([one, other]) @ [0.2126, 0.7152, 0.0722], reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_bars_stand_out_from_the_background_and_text_more(theme: str) -> None:
    colours, grey, paper, text = THEMES[theme]
    assert min(contrast(colour, paper) for colour in (*colours, grey)) >= 3
    assert contrast(text, paper) >= 7


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("theme", THEMES)
def test_no_two_colours_look_alike(theme: str, sight: str) -> None:
    colours, grey, _, _ = THEMES[theme]
    seen = np.clip(linear([*colours, grey]) @ np.transpose(SIGHTS[sight]), 0, 1)
    lab = rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))
    first, second = np.triu_indices(len(lab), 1)
    assert deltaE_ciede2000(lab[first], lab[second]).min() >= LEAST[sight]


def test_colours_repeat_only_after_twelve() -> None:
    assert len(set(variable_colours(12))) == 12
    assert variable_colours(14)[12:] == variable_colours(2)
    assert rgb("#0a10ff") == (10, 16, 255)
    assert mixed("#000000", "#ffffff", 0) == (255, 255, 255)
    assert mixed("#000064", "#ffffc8", 0.25) == (191, 191, 175)
