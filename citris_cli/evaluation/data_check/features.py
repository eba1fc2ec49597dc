"""What of a step's change an intervention would show in: seen whole, block by block, and beyond what was to be expected.

Where everything moves in every step anyway, the change itself tells little. An intervention makes the next frame one
that the last did not lead one to expect; so the change is also measured beyond what a linear prediction foretells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from citris_cli.evaluation.data_check.changes import Changes

Array = np.ndarray[Any, Any]

#: Principal components of the coarse frames that the next frame is predicted from, and of what was not foretold.
COMPONENTS, INNOVATIONS = 64, 32
#: Of the variance, what a ridge adds to that of every component, so that few frames do not foretell by heart.
_RIDGE = 1e-3
#: Components with less than this part of the largest's variance are rounding.
_ROUNDING = 1e-7


@dataclass(frozen=True, eq=False)
class Features:
    """Families of features of S steps, each standardised: mean 0, sum of squares S.

    Attributes:
        families: float32 [S, P] each, P ≥ 1; none where nothing ever changes.
        innovations: float32 [S, D], the coarse frame after each step less what was foretold of it.
    """

    families: tuple[Array, ...]
    innovations: Array


def principal(values: Array, most: int) -> Array:
    """The first principal directions of rows [S, D] that have variance: float32 [D, at most ``most``]."""
    centred = values - values.mean(0)
    variances, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    order = np.argsort(variances)[::-1][:most]
    kept = order[variances[order] > max(_ROUNDING * variances[order[0]], 1e-12)]
    return directions[:, kept].astype(np.float32)


def foretold(before: Array, after: Array) -> Array:
    """A ridge regression of the change on the principal components of the frames before: float32 [S, D]."""
    centred = before - before.mean(0)
    directions = principal(before, min(COMPONENTS, max(1, len(before) // 8)))
    known = centred @ directions
    moved = after - before
    mean = moved.mean(0)
    products = (known.T @ known).astype(np.float64)
    ridge = _RIDGE * np.trace(products) / max(len(products), 1)
    slopes = np.linalg.solve(products + (ridge + 1e-12) * np.eye(len(products)), known.T @ (moved - mean))
    return before + mean + (known @ slopes).astype(np.float32)


def features(found: Changes) -> Features:
    """The features of the sample's steps, at least 2 of them."""
    moved = found.after - found.before
    innovations = found.after - foretold(found.before, found.after)
    surprise = np.abs(innovations)
    families = [
        np.abs(moved).mean(1, keepdims=True),
        surprise.mean(1, keepdims=True),
        np.sqrt(_blocks(np.abs(moved), found.grid)),
        np.sqrt(_blocks(surprise, found.grid)),
        np.sqrt(np.abs(innovations @ principal(innovations, INNOVATIONS))),
    ]
    standardised = [_standardised(family) for family in families]
    return Features(tuple(family for family in standardised if family.shape[1]), innovations)


def _blocks(values: Array, grid: int) -> Array:
    """[S, grid·grid·C] as means over channels and 2×2 blocks: [S, grid²/4]."""
    half = grid // 2
    return values.reshape(len(values), half, 2, half, 2, -1).mean((2, 4, 5))


def _standardised(values: Array) -> Array:
    centred = values - values.mean(0)
    spread = centred.std(0)
    kept = spread > max(1e-3 * float(spread.max(initial=0)), 1e-7)
    return np.ascontiguousarray(centred[:, kept] / spread[kept], np.float32)
