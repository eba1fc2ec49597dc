"""The digits that the published worlds show: five rows of three squares."""

from __future__ import annotations

from typing import Any

import numpy as np

_ROWS = (
    "111101101101111",
    "010010010010010",
    "111001111100111",
    "111001111001111",
    "101101111001001",
    "111100111001111",
    "111100111101111",
    "111001001001001",
    "111101111101111",
    "111101111001111",
)


def digit(number: int) -> np.ndarray[Any, Any]:
    """Which squares of a digit are drawn: bool [5, 3], from the top and from the left."""
    return np.array([*_ROWS[number]]).reshape(5, 3) == "1"
