"""Colours of matrices whose entries lie between 0 and 1."""

from __future__ import annotations

import math

#: Colour of 0 and of 1, RGB 0 … 255: from a light grey to a deep blue, told apart by lightness alone too.
LOW, HIGH = (242, 244, 247), (20, 80, 160)


def heat(value: float) -> tuple[int, int, int]:
    """Background of a cell; values outside 0 … 1 take the nearer end, NaN that of 0."""
    share = 0.0 if math.isnan(value) else min(max(value, 0.0), 1.0)
    red, green, blue = (round(low + share * (high - low)) for low, high in zip(LOW, HIGH, strict=True))
    return red, green, blue


def ink(value: float) -> tuple[int, int, int]:
    """Text on that background, with a contrast of 4.5 or more: black where it is light, white where it is dark."""
    return (255, 255, 255) if not math.isnan(value) and value > 0.76 else (0, 0, 0)
