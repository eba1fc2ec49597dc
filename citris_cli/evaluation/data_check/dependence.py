"""Could interventions be imperfect? Whether what follows one still depends on the frame before it.

What persists in a frame is for the most part of other variables, and depends on the past whatever is done to this one.
So only directions of the frame are asked in which an intervention moves it about as far as it ever goes: there, this
variable is what is seen. If the frame before foretells such a direction after an intervention too, the new value
depends on the old one, as that of a switch that is flipped does. Small steps from the old value cannot be told from
what persists of other variables, and are left open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from citris_cli.evaluation.data_check.changes import Changes
from citris_cli.evaluation.data_check.features import Features, principal
from citris_cli.evaluation.data_check.rows import Rows

Array = np.ndarray[Any, Any]

#: Steps of a kind to fit on, at the least and at most.
FEW_STEPS, MOST_STEPS = 40, 1_000
#: Principal components of the innovations, of the frame before, and the directions that are asked.
_COMPONENTS, _KNOWN, _DIRECTIONS = 24, 12, 3
#: In a direction of this variable, an intervention moves the frame by this part of its variance at least.
_MOVED = 0.8
#: R² of what follows an intervention from the frame before: from the first on it depends, below the second it does not,
#: where without an intervention it is foretold by the third.
_DEPENDS, _FREE, _PERSISTS = 0.6, 0.3, 0.5
_FOLDS, _RIDGE = 5, 1.0


def depends_on_past(
    found: Changes, seen_in: Features, rows: Rows, lag: int, shows: Sequence[bool | None]
) -> list[bool | None]:
    """Whether values after interventions on each variable depend on the frame before; None where it cannot be told.

    Args:
        found: of the data.
        seen_in: features of the sample's steps.
        rows: of targets.
        lag: at which the rows are read.
        shows: whether each variable's interventions show.
    """
    targets, there = rows.at(found.sample, lag)
    none = _spread(np.flatnonzero(there & ~targets.any(1)))
    decided: list[bool | None] = []
    for k, visible in enumerate(shows):
        alone = np.flatnonzero(targets[:, k] & (targets.sum(1) == 1))
        enough = visible and min(len(alone), len(none)) >= FEW_STEPS
        decided.append(_depends(found, seen_in.innovations, _spread(alone), none) if enough else None)
    return decided


def _spread(steps: Array) -> Array:
    """At most :data:`MOST_STEPS` of them, at even distances."""
    if len(steps) <= MOST_STEPS:
        return steps
    return steps[np.linspace(0, len(steps) - 1, MOST_STEPS).astype(np.int64)]


def _depends(found: Changes, innovations: Array, alone: Array, none: Array) -> bool | None:
    free = False
    for usual, after_intervention, moved in _directions(found, innovations, alone, none):
        if moved < _MOVED:
            continue
        if after_intervention >= _DEPENDS:
            return True
        free |= after_intervention < _FREE and usual >= _PERSISTS
    return False if free else None


def _directions(found: Changes, innovations: Array, alone: Array, none: Array) -> Iterator[tuple[float, float, float]]:
    """Directions in which interventions surprise most beside what else does, where they show and over the whole frame.

    Yields:
        R² of the direction's next value from the frame before, without and with an intervention; and the mean square of
        what an intervention moves it by, in units of its variance after one.
    """
    surprise = np.abs(innovations)
    where = np.maximum(surprise[alone].mean(0) - surprise[none].mean(0), 0)
    for weights in (where / max(float(where.max()), 1e-12), np.ones_like(where)):
        chosen = np.concatenate([alone, none])
        before, after = (values[chosen] * weights for values in (found.before, found.after))
        moved = innovations[chosen] * weights
        components = principal(moved, _COMPONENTS)
        if not components.shape[1]:
            continue
        directions = components @ _distinguishing(moved @ components, len(alone))
        known = before @ principal(before, _KNOWN)
        known = (known - known.mean(0)) / np.maximum(known.std(0), 1e-9)
        columns = np.concatenate([np.ones((len(known), 1)), known, known**2], axis=1)
        for values in (after @ directions).T:
            one, other = columns[: len(alone)], columns[len(alone) :]
            intervened, usual = values[: len(alone)], values[len(alone) :]
            variance = float(intervened.var())
            if variance <= 0 or usual.var() <= 0:
                continue
            step = float(((intervened - one @ _slopes(other, usual)) ** 2).mean()) / variance
            yield _score(other, usual), _score(one, intervened), step


def _distinguishing(moved: Array, count: int) -> Array:
    """Directions [q, up to 3] in which the first ``count`` rows [n, q] vary most beside the others."""
    from scipy.linalg import eigh

    with_it, without = (np.atleast_2d(np.cov(part.T.astype(np.float64))) for part in (moved[:count], moved[count:]))
    floor = 1e-2 * (np.trace(without) + 1e-2 * np.trace(with_it)) / len(without)
    directions: Array = eigh(with_it, without + floor * np.eye(len(without)))[1][:, ::-1][:, :_DIRECTIONS]
    return directions


def _slopes(columns: Array, values: Array) -> Array:
    products = columns.T @ columns + _RIDGE * np.eye(columns.shape[1])
    return np.linalg.solve(products, columns.T @ values)


def _score(columns: Array, values: Array) -> float:
    """R² of values [n] from columns [n, q], each predicted from the others than its own stretch of time."""
    fold = np.arange(len(values)) * _FOLDS // len(values)
    predicted = np.empty(len(values))
    for one in range(_FOLDS):
        held_out = fold == one
        predicted[held_out] = columns[held_out] @ _slopes(columns[~held_out], values[~held_out])
    return 1 - float(((values - predicted) ** 2).mean() / values.var())
