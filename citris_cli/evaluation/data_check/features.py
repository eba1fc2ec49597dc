"""What of a change an intervention would show in: seen whole, block by block, and beyond what was to be expected.

Where everything moves in every step anyway, the change itself tells little. An intervention makes the next frame one
that the last did not lead one to expect; so the change is also measured beyond what a linear prediction foretells.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from citris_cli.evaluation.data_check.changes import Changes

Array = np.ndarray[Any, Any]

#: Principal components of the coarse frames that the next frame is predicted from, and those of them whose products are
#: used as well: how one thing moves depends on where it is.
COMPONENTS, MULTIPLIED = 64, 16
#: Steps for each column of that prediction, at the least.
_STEPS_A_COLUMN = 8
#: Principal components of what was not foretold: the first of them, in which most of it lies, and all, in which subtle
#: effects show. The bands are means over some of them.
FIRST, ALL = 32, 128
_BANDS = (0, 4, 8, 16, 32, 64, 128)
# Of a component's variance, what is as good as nothing where logarithms are taken.
_LEAST = 0.05
#: Of the variance, what a ridge adds to that of every component, so that few frames do not foretell by heart.
_RIDGE = 1e-3
_OF_A_PRODUCT = 0.3
#: Components with less than this part of the largest's variance are rounding.
_ROUNDING = 1e-6
# More directions than are asked for make the last of these right; iterations.
_SPARE, _ITERATIONS = 16, 4


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
    """The first principal directions of rows [S, D] that have variance: float32 [D, at most ``most``].

    Of many dimensions by a few subspace iterations, which take a fraction of the time of all directions and find those
    that matter here; from a start that is always the same.
    """
    centred = np.asarray(values - values.mean(0), np.float32)
    squares = centred.T @ centred
    size = most + _SPARE
    if size * 2 > len(squares):
        subspace = np.eye(len(squares), dtype=np.float32)
    else:
        subspace = np.random.default_rng(0).standard_normal((len(squares), size), dtype=np.float32)
        for _ in range(_ITERATIONS):
            subspace = np.linalg.qr(squares @ subspace)[0]
    variances, directions = np.linalg.eigh((subspace.T @ squares @ subspace).astype(np.float64))
    order = np.argsort(variances)[::-1][:most]
    kept = order[variances[order] > max(_ROUNDING * variances[order[0]], 1e-9)]
    return subspace @ directions[:, kept].astype(np.float32)


def foretold(before: Array, after: Array) -> Array:
    """A ridge regression of the change on what the frames before show: float32 [S, D].

    Its columns are principal components of the frames before, and products of the first of these.
    """
    steps = len(before)
    known = (before - before.mean(0)) @ principal(before, min(COMPONENTS, max(1, steps // _STEPS_A_COLUMN)))
    if not known.shape[1]:
        return before + (after - before).mean(0)
    spread = known.std(0)
    few = min(MULTIPLIED, known.shape[1], max(1, int(np.sqrt(steps / _STEPS_A_COLUMN))))
    one, two = np.triu_indices(few)
    products = (known[:, one] / spread[one]) * (known[:, two] / spread[two])
    # The ridge weighs on a component the more the less it varies, and on all products alike.
    known = np.concatenate([known / spread[0], (products - products.mean(0)) * _OF_A_PRODUCT], axis=1)
    moved = after - before
    mean = moved.mean(0)
    squares = (known.T @ known).astype(np.float64)
    ridge = _RIDGE * np.trace(squares) / len(squares)
    slopes = np.linalg.solve(squares + (ridge + 1e-12) * np.eye(len(squares)), known.T @ (moved - mean))
    return before + mean + (known @ slopes).astype(np.float32)


def features(found: Changes) -> Features:
    """The features of the sample's steps, at least 2 of them."""
    innovations = found.after - foretold(found.before, found.after)
    surprise = np.abs(innovations)
    parts = innovations @ principal(innovations, ALL)
    power = np.log((parts / np.maximum(parts.std(0), 1e-9)) ** 2 + _LEAST)
    bands = [power[:, a:b].mean(1) for a, b in pairwise(_BANDS) if a < power.shape[1]]
    families = [
        np.abs(found.after - found.before).mean(1, keepdims=True),
        surprise.mean(1, keepdims=True),
        np.sqrt(_blocks(surprise, found.grid)),
        np.sqrt(np.abs(parts[:, :FIRST])),
        np.sqrt(np.abs(parts)),
        np.stack(bands, axis=1) if bands else power,
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
