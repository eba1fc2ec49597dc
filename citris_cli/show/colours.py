"""Colours of variables that people can tell apart, also those who see colours differently."""

from __future__ import annotations

#: Twelve colours on a light and on a dark background, in the same order and of like hue, most distinct first. They
#: stand out from their background by 3:1 or more (WCAG 2.1, 1.4.11), and differ from each other and from the grey to
#: normal sight and to protanopes, deuteranopes and tritanopes (simulated as in Machado et al., 2009).
LIGHT = (
    "#5f7913", "#671e56", "#17a1a7", "#575a91", "#2106b5", "#8f393f",
    "#a59401", "#9385e2", "#e04a57", "#304901", "#448e62", "#dc669e",
)  # fmt: skip
DARK = (
    "#95b00e", "#b5528e", "#58fdf9", "#8349fa", "#8bb2fb", "#f88c81",
    "#fae1a0", "#8380bc", "#e60108", "#cdfd27", "#418c4d", "#e3a3c6",
)  # fmt: skip
#: Of psi(0), on a light and on a dark background.
GREY_LIGHT, GREY_DARK = "#787878", "#969696"
#: Backgrounds that all of these were chosen for, and text on them.
PAPER_LIGHT, PAPER_DARK = "#ffffff", "#14181f"
TEXT_LIGHT, TEXT_DARK = "#14181f", "#e8ebf0"


def variable_colours(count: int) -> list[tuple[str, str]]:
    """Colours of the variables of a model, as ``#rrggbb``: on a light and on a dark background.

    Args:
        count: number of variables; from the thirteenth on the colours repeat, and only the names tell them apart.
    """
    return [(LIGHT[i % len(LIGHT)], DARK[i % len(DARK)]) for i in range(count)]


def rgb(colour: str) -> tuple[int, int, int]:
    """``#rrggbb`` as three values 0 … 255."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def mixed(colour: str, background: str, share: float) -> tuple[int, int, int]:
    """A colour laid thinly over a background.

    Args:
        colour, background: ``#rrggbb``.
        share: how much of it covers, 0 … 1.

    Returns:
        RGB 0 … 255.
    """
    red, green, blue = (
        round(low + share * (high - low)) for low, high in zip(rgb(background), rgb(colour), strict=True)
    )
    return red, green, blue
