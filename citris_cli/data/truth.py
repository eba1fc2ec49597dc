"""Whether true values are in the units that everything here takes them for: radians, whole numbers of categories."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from citris_cli.data.datasets import IndependentData, SequenceData, TripletData
from citris_cli.data.variables import Variable
from citris_cli.errors import InputError

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
    values = data.truth.reshape(-1, data.truth.shape[-1])
    notes = []
    for factor, column in zip(data.factors, values.unbind(1), strict=True):
        low, high = float(column.min()), float(column.max())
        _check(factor, column, low, high, data.label)
        if factor.kind == "angle" and -1 <= low < high <= 1:
            shown = "0 … 1" if low >= 0 else "−1 … 1"
            factor_of = "2π" if low >= 0 else "π"
            notes.append(
                f"{data.label}: {factor.name} is an angle, read in radians, and all its values lie within {shown}; "
                f"if that is a whole turn, multiply them by {factor_of}"
            )
    return tuple(notes)


def _check(factor: Variable, values: Tensor, low: float, high: float, where: str) -> None:
    if factor.kind == "angle" and max(-low, high) > 2 * math.pi * (1 + _ROUNDING):
        raise InputError(
            f"{where}: {factor.name} is an angle and holds {high if high > -low else low:g}; save radians, "
            f"or say with --vars that it is none (…,{factor.name}:continuous,…)"
        )
    if factor.kind == "categorical" and (low < 0 or high >= MOST_CATEGORIES or not torch.equal(values, values.round())):
        raise InputError(
            f"{where}: {factor.name} is categorical and holds {low:g} … {high:g}; save whole numbers from 0 to "
            f"{MOST_CATEGORIES - 1}, or say with --vars that it is none (…,{factor.name}:continuous,…)"
        )
