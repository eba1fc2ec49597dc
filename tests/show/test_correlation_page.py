"""The page of correlation matrices: self-contained, complete, and safe with any name."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import ImageFont

from citris_cli.show.correlation_page import correlation_page
from citris_cli.show.heat import HIGH, LOW, heat, ink

ROWS, FACTORS = ("box", "<b>&", "psi(0)"), ("x", "<b>&", "box")
MATRIX = np.array([[0.1, -0.2, 0.987], [np.nan, 1.0, 0.0], [0.5, 0.25, 0.75]])


@pytest.fixture
def page() -> str:
    matrices = {"R²: a <title>": MATRIX, "Spearman": MATRIX}
    return correlation_page(ROWS, FACTORS, (None, 1, 0), matrices, {"model": "a<b>\u202e\x1b.safetensors"})


def test_nothing_is_fetched_and_names_are_text(page: str) -> None:
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert "<script" not in page
    assert "<b>" not in page
    assert page.count("&lt;b&gt;&amp;") >= 4
    assert r"a&lt;b&gt;\u202e\x1b.safetensors" in page


def test_every_value_is_there_and_own_factors_are_framed(page: str) -> None:
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        root = ElementTree.fromstring(svg)
        space = {"s": "http://www.w3.org/2000/svg"}
        shown = [cell.findtext("s:text", namespaces=space) for cell in root.findall("s:g", space)]
        assert shown == ["0.10", "-0.20", "0.99", "–", "1.00", "0.00", "0.50", "0.25", "0.75"]
        assert len([rect for rect in root.iter() if rect.get("class") == "own"]) == 2  # psi(0) has no factor of its own


def test_wide_matrices_scroll_with_the_keyboard_too(page: str) -> None:
    regions = re.findall(r'role="region" tabindex="0" aria-label="(.*?)"', page)
    assert regions == ["R²: a &lt;title&gt;", "Spearman"]


def test_there_is_room_for_every_name() -> None:
    names = ["paddle_right_y", "灯の色", "temperature_of_the_inlet_of_the_second_of_both_reactors_in_kelvin"]
    page = correlation_page(names, names, (0, 1, 2), {"R²": MATRIX}, {})
    root = ElementTree.fromstring(re.findall(r"<svg.*?</svg>", page, re.DOTALL)[0])
    width, height = (float(root.get(side, "0")) for side in ("width", "height"))
    font = ImageFont.load_default(13)
    for label in root.iter("{http://www.w3.org/2000/svg}text"):
        if label.get("class") == "label" and label.text in (names[0], names[2]):
            length = font.getlength(label.text)
            if label.get("text-anchor") == "end":
                assert float(label.get("x", "0")) - length > 0
            else:
                x, y = map(float, re.findall(r"translate\((\S+) (\S+)\)", label.get("transform", ""))[0])
                assert x + length * 0.71 < width
                assert 0 < y - length * 0.71 < height


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.3, 0.5, 0.69, 0.755, 0.765, 1.0, 2.0, float("nan")])
def test_text_is_readable_on_its_cell(value: float) -> None:
    def luminance(colour: tuple[int, int, int]) -> float:
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
        return float(np.dot((0.2126, 0.7152, 0.0722), linear))

    darker, lighter = sorted((luminance(heat(value)), luminance(ink(value))))
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5  # the contrast that small text needs (WCAG 2.1, 1.4.3)


def test_ends_of_the_scale() -> None:
    assert heat(float("nan")) == heat(0) == heat(-3) == LOW
    assert heat(1) == heat(7) == HIGH
