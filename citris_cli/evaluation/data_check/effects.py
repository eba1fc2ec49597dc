"""What targets explain of the changes, against chance: one regression on the targets at all lags.

All lags stand in one regression, so that targets that follow each other, or that always sum to one, do not lend the
effect of one row to another. Chance is what the same regression explains with the targets shifted in time as a whole,
which keeps whatever order they have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
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
#: There are at least so many steps for each column of the regression.
STEPS_A_COLUMN = 4
# A column that others explain but for this part of it says nothing of its own.
_COLLINEAR = 1e-3


@dataclass(frozen=True)
class Effect:
    """What some columns explain that no other column does.

    Attributes:
        share: of the features' variance, above what chance explains: the largest of all families; not negative.
        p: probability of explaining as much by chance, 0 … 1.
    """

    share: float
    p: float


def effects(features: Features, groups: Sequence[Array]) -> list[Effect | None]:
    """What each of several groups of columns explains beyond all other columns.

    Args:
        features: of S steps.
        groups: float [S, K] each, with mean about 0.

    Returns:
        For each group, and None where its columns say nothing of their own or there are too few steps.
    """
    steps = len(groups[0])
    everything = np.concatenate(groups, axis=1)
    width = sum(family.shape[1] for family in features.families)
    most = _WORK / max(1, everything.shape[1] * width * steps)
    shifts = _shifts(steps, int(np.clip(most, LEAST_SHIFTS, SHIFTS)))
    if everything.shape[1] * STEPS_A_COLUMN > steps or len(shifts) < LEAST_SHIFTS or not features.families:
        return [None] * len(groups)
    basis = _orthonormal(everything, everything)
    own: list[Array] = []  # of each group in terms of the basis [q, k]
    for index, group in enumerate(groups):
        rest = np.concatenate([group[:, :0], *(other for i, other in enumerate(groups) if i != index)], axis=1)
        others = _orthonormal(rest, rest)
        own.append(basis.T @ _orthonormal(group - others @ (others.T @ group), group))
    values = np.concatenate(features.families, axis=1)
    basis32 = np.ascontiguousarray(basis.T, np.float32)
    explained = np.stack([_explained(basis32, values, shift, own) for shift in (0, *shifts)])  # [1 + shifts, G, P]
    edges = np.cumsum([0, *(family.shape[1] for family in features.families)])
    found: list[Effect | None] = []
    for index, columns in enumerate(own):
        if not columns.shape[1]:
            found.append(None)
            continue
        several = [explained[:, index, a:b].mean(1) for a, b in pairwise(edges)]
        found.append(_against_chance(np.stack(several, axis=1)))
    return found


def _shifts(steps: int, most: int) -> Array:
    """At most so many distinct shifts of so many steps, drawn as always: the same for the same numbers."""
    near = min(_NEAR, steps // 20)
    possible = np.arange(near + 1, steps - near)
    if len(possible) <= most:
        return possible
    return np.sort(np.random.default_rng(0).choice(possible, most, replace=False))


def _orthonormal(columns: Array, of: Array) -> Array:
    """An orthonormal basis [S, q] of columns; what is small beside the largest column of ``of`` is none."""
    if not columns.shape[1]:
        return columns
    scale = float(np.sqrt((of**2).sum(0).max(initial=0)))
    # Of many rows and few columns, by the products of the columns.
    lengths, turned = np.linalg.eigh(columns.T @ columns)
    kept = lengths > max((_COLLINEAR * scale) ** 2, 1e-12)
    basis: Array = columns @ (turned[:, kept] / np.sqrt(lengths[kept]))
    return basis


def _explained(basis: Array, values: Array, shift: int, own: Sequence[Array]) -> Array:
    """Share of each feature's variance that each group explains by itself, beside what nothing explains: [G, P]."""
    products = (basis @ (np.roll(values, shift, axis=0) if shift else values)).astype(np.float64)  # [q, P]
    left = np.maximum(len(values) - (products**2).sum(0), 1e-9 * len(values))
    return np.stack([((columns.T @ products) ** 2).sum(0) / left for columns in own])


def _against_chance(several: Array) -> Effect:
    """The effect that is behind what several families explain [1 + shifts, families], the first unshifted."""
    from scipy.special import gammaincc

    chance = several[1:]
    mean, variance = chance.mean(0), np.maximum(chance.var(0), 1e-30)
    # What chance explains is much like a sum of squares: a gamma distribution with that mean and variance.
    p = gammaincc(mean**2 / variance, several[0] * mean / variance)
    return Effect(float(np.max(several[0] - mean, initial=0)), float(min(1.0, len(p) * np.min(p))))
