"""Whether true values are in the units that everything here takes them for: radians, whole numbers of categories."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from citris_cli.data.variables import Variable
from citris_cli.errors import InputError
from citris_cli.wording import enumerated

if TYPE_CHECKING:
    from citris_cli.data.datasets import IndependentData, SequenceData, TripletData

#: More categories than this are numbers of another kind.
MOST_CATEGORIES = 1000
#: Share of a float's size by which an angle may lie beyond a turn.
_ROUNDING = 1e-4


def check_true_values(data: SequenceData | IndependentData | TripletData) -> tuple[str, ...]:
    """Refuse true values that are not of their factors' kinds.

    Args:
        data: frames, perhaps with true values.

    Returns:
        Sentences on angles that may be in another unit: all within −1 … 1, which is a turn's or a scaled one's range.

    Raises:
        InputError: an angle beyond a turn, or categories that are no whole numbers from 0 on.
    """
    if data.truth is None or data.factors is None:
        return ()
    values = data.truth.reshape(-1, data.truth.shape[-1]).numpy()
    return check_values(
        values, tuple(data.factors), data.label, "say with --vars that it is not one (…,{}:continuous,…)"
    )


def check_values(
    values: np.ndarray[Any, Any], factors: Sequence[Variable], label: str, otherwise: str
) -> tuple[str, ...]:
    """The same of values alone.

    Args:
        values: [N, F], N at least 1.
        factors: F of them.
        label: what messages call the values.
        otherwise: what to do if the factor's kind is another, with ``{}`` for its name.

    Returns:
        As :func:`check_true_values`.

    Raises:
        InputError: as :func:`check_true_values`.
    """
    narrow: dict[str, list[str]] = {}  # names of angles by what their values lie within
    for factor, column in zip(factors, values.T, strict=True):
        low, high = float(column.min()), float(column.max())
        _check(factor, column, label, otherwise.format(factor.name))
        if factor.kind == "angle" and -1 <= low < high <= 1:
            narrow.setdefault("0 … 1" if low >= 0 else "−1 … 1", []).append(factor.name)
    return tuple(_unlike_radians(label, names, within) for within, names in narrow.items())


def _unlike_radians(label: str, names: Sequence[str], within: str) -> str:
    one = len(names) == 1
    return (
        f"{label}: {enumerated(names)} {'is an angle' if one else 'are angles'}, read in radians, and all "
        f"{'its' if one else 'their'} values lie within {within}; if that is a whole turn, multiply them by "
        f"{'2π' if within.startswith('0') else 'π'}"
    )


def _check(factor: Variable, values: np.ndarray[Any, Any], where: str, otherwise: str) -> None:
    low, high = float(values.min()), float(values.max())
    if factor.kind == "angle" and max(-low, high) > 2 * math.pi * (1 + _ROUNDING):
        raise InputError(
            f"{where}: {factor.name} is an angle and holds {high if high > -low else low:g}; save radians, "
            f"or {otherwise}"
        )
    if factor.kind == "categorical" and (low < 0 or high >= MOST_CATEGORIES or bool((values != values.round()).any())):
        raise InputError(
            f"{where}: {factor.name} is categorical and holds {low:g} … {high:g}; save whole numbers from 0 to "
            f"{MOST_CATEGORIES - 1}, or {otherwise}"
        )
