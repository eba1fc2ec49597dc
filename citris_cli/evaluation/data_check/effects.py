"""What targets explain of the changes, against chance: one regression on the targets at all lags.

All lags stand in one regression, so that targets that follow each other, or that always sum to one, do not lend the
effect of one row to another. Chance is what the same regression explains with the targets shifted in time as a whole,
which keeps whatever order they have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from citris_cli.evaluation.data_check.features import Features

Array = np.ndarray[Any, Any]

#: Shifts that chance is learnt from: at most, and the least of them to learn it from.
SHIFTS, LEAST_SHIFTS = 300, 40
#: Multiplications that all shifts together may take, about.
_WORK = 1e10
#: Shifts of fewer steps may still see what an intervention leads to.
_NEAR = 10
#: A shift is none if so much of the targets is foretold by the shifted ones, as a correlation beyond that of chance:
#: targets that come round repeat themselves, and what repeats is no chance.
_REPEATS = 0.6
#: There are at least so many steps for each column of the regression.
STEPS_A_COLUMN = 4
# A column that others explain but for this part of its variance follows from them.
_COLLINEAR = 1e-6
# One that others explain but for this part says nothing of its own: the ends of episodes alone may leave as much.
_LEAST_OWN = 0.01


@dataclass(frozen=True)
class Effect:
    """What some columns explain that no other column does.

    Attributes:
        share: of the features' variance, above what chance explains: the largest of all families; not negative.
        p: probability of explaining as much by chance, 0 … 1.
        own: part of a single column's variance that no other column tells, 0 … 1; of groups 1.
    """

    share: float
    p: float
    own: float = 1.0


def effects(features: Features, groups: Sequence[Array], targets: Array) -> list[Effect | None]:
    """What each of several groups of columns explains beyond all other columns.

    Args:
        features: of S steps.
        groups: float [S, K] each, with mean about 0.
        targets: float [S, any], likewise: all that were set in these steps, at one lag.

    Returns:
        For each group, and None where its columns say nothing of their own, there are too few steps, or the targets
        come round in so short a time that chance cannot be learnt from shifting them.
    """
    everything = np.concatenate(groups, axis=1)
    shifts = _shifts(features, everything, targets)
    if not len(shifts):
        return [None] * len(groups)
    basis = _orthonormal(everything, everything)
    own: list[Array] = []  # of each group in terms of the basis, [q, k]
    for index, group in enumerate(groups):
        rest = np.concatenate([group[:, :0], *(other for i, other in enumerate(groups) if i != index)], axis=1)
        others = _orthonormal(rest, rest)
        own.append(basis.T @ _orthonormal(group - others @ (others.T @ group), group, _LEAST_OWN))
    return _tested(features, basis, own, shifts)


def effects_of_each(features: Features, columns: Array, others: Array) -> list[Effect | None]:
    """What each single column explains beyond the other columns and some others besides.

    Args:
        features: of S steps.
        columns: float [S, K], with mean about 0.
        others: float [S, any], likewise.

    Returns:
        For each column, and None where it follows from others or chance cannot be learnt, as of :func:`effects`.
    """
    everything = np.concatenate([columns, others], axis=1)
    shifts = _shifts(features, everything, columns)
    if not len(shifts):
        return [None] * columns.shape[1]
    each = own_parts(everything.T @ everything)
    basis = _orthonormal(everything, everything)
    parts = basis.T @ (everything @ each.coefficients[:, : columns.shape[1]])
    lengths = np.sqrt((parts**2).sum(0))
    left = each.left[: columns.shape[1]]
    told = (left > _LEAST_OWN) & (lengths > 0)
    own = [parts[:, k : k + 1] / lengths[k] if told[k] else parts[:, :0] for k in range(columns.shape[1])]
    tested = _tested(features, basis, own, shifts)
    return [one and replace(one, own=float(part)) for one, part in zip(tested, left, strict=True)]


@dataclass(frozen=True)
class OwnParts:
    """What of each of q columns the others do not tell.

    Attributes:
        coefficients: float64 [q, q]; the columns times column k of these are what is left of column k.
        left: float64 [q], share of column k's sum of squares that is left; 0 where it follows from others.
    """

    coefficients: Array
    left: Array


def own_parts(products: Array) -> OwnParts:
    """The own parts of columns, by their products X'X: float64 [q, q]."""
    scale = np.sqrt(np.maximum(np.diag(products), 1e-12))
    variances, directions = np.linalg.eigh(products / np.outer(scale, scale))
    kept = variances > _COLLINEAR * max(float(variances.max(initial=0)), 1e-12)
    inverse = (directions[:, kept] / variances[kept]) @ directions[:, kept].T
    diagonal = np.maximum(np.diag(inverse), 1e-12)
    free = (directions[:, kept] ** 2).sum(1) > 1 - 1e-6  # no part of it is among what follows from others
    return OwnParts(inverse / diagonal * scale / scale[:, None], np.where(free, 1 / diagonal, 0.0))


def _shifts(features: Features, columns: Array, targets: Array) -> Array:
    """Distinct shifts of the steps, the same for the same numbers; none where there are too few to learn from."""
    steps, count = columns.shape
    near = min(_NEAR, steps // 20)
    possible = np.arange(near + 1, steps - near)
    if count * STEPS_A_COLUMN > steps or len(possible) < LEAST_SHIFTS or not features.families:
        return possible[:0]
    width = sum(family.shape[1] for family in features.families)
    most = int(np.clip(_WORK / (max(count, 1) * width * steps), LEAST_SHIFTS, SHIFTS))
    if len(possible) > most:
        possible = np.sort(np.random.default_rng(0).choice(possible, most, replace=False))
    chance = possible[~_repeating(targets, possible)]
    return chance if len(chance) >= LEAST_SHIFTS else chance[:0]


def _repeating(targets: Array, shifts: Array) -> Array:
    """At which shifts targets [S, K] fall on others of them, or between them: bool, one for each shift."""
    basis = np.asarray(_orthonormal(targets, targets), np.float32)
    steps, size = basis.shape
    if not size:
        return np.zeros(len(shifts), bool)
    # The longer of two parts: what comes round is out of step with itself where the end meets the beginning.
    apart = np.minimum(shifts, steps - shifts)
    products = np.stack([basis[one:].T @ basis[: steps - one] for one in apart])
    lengths = np.linalg.norm(products, 2, axis=(1, 2)) * (steps / (steps - apart))
    repeating: Array = lengths > _REPEATS + 2 * np.sqrt(size / (steps - apart))
    return repeating


def _orthonormal(columns: Array, of: Array, least: float = _COLLINEAR) -> Array:
    """An orthonormal basis [S, q] of columns; what is less than a part of the largest column of ``of`` is none."""
    if not columns.shape[1]:
        return columns
    scale = float((of**2).sum(0).max(initial=0))
    # Of many rows and few columns, by the products of the columns.
    lengths, turned = np.linalg.eigh(columns.T @ columns)
    kept = lengths > max(least * scale, 1e-12)
    basis: Array = columns @ (turned[:, kept] / np.sqrt(lengths[kept]))
    return basis


def _tested(features: Features, basis: Array, own: Sequence[Array], shifts: Array) -> list[Effect | None]:
    """The effect of each group, by its part of an orthonormal basis [S, q]: orthonormal [q, k], or [q, 0] for none."""
    values = np.concatenate(features.families, axis=1)
    steps, twice = len(values), np.concatenate([values, values])  # of which every shift is a part
    told = [index for index, part in enumerate(own) if part.shape[1]]
    found: list[Effect | None] = [None] * len(own)
    if not told:
        return found
    together = np.concatenate([own[index] for index in told], axis=1).T
    firsts = np.cumsum([0, *(own[index].shape[1] for index in told)])[:-1]
    edges = np.cumsum([0, *(family.shape[1] for family in features.families)])[:-1]
    turned = np.ascontiguousarray(basis.T, np.float32)
    # Of every family the mean over its features: [1 + shifts, groups, families].
    explained = np.stack(
        [
            np.add.reduceat(
                _explained(turned, twice[steps - shift : 2 * steps - shift], together, firsts), edges, axis=1
            )
            for shift in (0, *shifts)
        ]
    ) / np.diff([*edges, values.shape[1]])
    for place, index in enumerate(told):
        found[index] = _against_chance(explained[:, place])
    return found


def _explained(basis: Array, values: Array, own: Array, firsts: Array) -> Array:
    """Share of each feature's variance that each group explains by itself, beside what nothing explains: [G, P]."""
    products = (basis @ values).astype(np.float64)  # [q, P]
    left = np.maximum(len(values) - (products**2).sum(0), 1e-9 * len(values))
    shares: Array = np.add.reduceat((own @ products) ** 2, firsts, axis=0) / left
    return shares


def _against_chance(several: Array) -> Effect:
    """The effect that is behind what several families explain [1 + shifts, families], the first unshifted."""
    from scipy.special import gammaincc

    chance = several[1:]
    mean, variance = chance.mean(0), np.maximum(chance.var(0), 1e-30)
    # What chance explains is much like a sum of squares: a gamma distribution with that mean and variance.
    p = gammaincc(mean**2 / variance, several[0] * mean / variance)
    return Effect(float(np.max(several[0] - mean, initial=0)), float(min(1.0, len(p) * np.min(p))))
