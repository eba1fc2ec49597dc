"""What the true factors of a frame are, and how far two values of one are apart.

Angles are compared on the circle, categories by whether they are the same (Lippe et al., 2022, section 6.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Factor(Protocol):
    """One factor; :class:`citris_cli.data.variables.Variable` is one."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def kind(self) -> str:
        """``continuous``, ``angle`` (radians, periodic) or ``categorical`` (0 … categories - 1)."""

    @property
    def low(self) -> float | None:
        """Least value of a continuous factor, or None where it is not known."""

    @property
    def high(self) -> float | None:
        """Greatest value of a continuous factor, or None where it is not known."""

    @property
    def categories(self) -> int | None:
        """Number of categories of a categorical factor, or None where it is not known."""


def half_range(factor: Factor) -> float:
    """Half the length of a continuous factor's range, in its own units.

    Raises:
        ValueError: the range is not known, or is empty.
    """
    if factor.low is None or factor.high is None or not 0 < factor.high - factor.low < math.inf:
        raise ValueError(f"factor {factor.name} has the range {factor.low} … {factor.high}")
    return (factor.high - factor.low) / 2


def distances(values: Tensor, others: Tensor, factors: Sequence[Factor]) -> Tensor:
    """How far values are apart, factor by factor.

    Args:
        values, others: [..., F], predicted or true; angles in radians, categories as whole numbers.
        factors: names and kinds of the F columns.

    Returns:
        float [..., F], at least 0: ``|a - b|`` of a continuous factor in its own units; the short way around the
        circle of an angle, in degrees (0 … 180); 0 or 1 of a categorical one, whose mean is the error rate.
    """
    columns = []
    for index, factor in enumerate(factors):
        a, b = values[..., index], others[..., index]
        if factor.kind == "angle":
            columns.append(torch.rad2deg((torch.remainder(a - b + math.pi, 2 * math.pi) - math.pi).abs()))
        elif factor.kind == "categorical":
            columns.append((a != b).to(a.dtype))
        else:
            columns.append((a - b).abs())
    return torch.stack(columns, dim=-1)


def normalised(distance: Tensor, factors: Sequence[Factor]) -> Tensor:
    """Distances [..., F] of :func:`distances`, each divided by what makes factors of all kinds comparable.

    An angle's by 180 degrees, its largest, which is half of the circle; a continuous factor's by half of its range, as
    published, so that 1 is from the middle to an end and 2 from end to end; a categorical one's by 1.

    Raises:
        ValueError: the range of a continuous factor is not known.
    """
    units = {"angle": 180.0, "categorical": 1.0}
    scale = [units[factor.kind] if factor.kind in units else half_range(factor) for factor in factors]
    return distance / torch.tensor(scale, dtype=distance.dtype, device=distance.device)
