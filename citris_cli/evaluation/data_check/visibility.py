"""Do interventions show? What the frame changes by in steps with a variable's target, against steps without any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from citris_cli.evaluation.data_check.changes import Changes, Steps
from citris_cli.evaluation.data_check.effects import STEPS_A_COLUMN, Effect, effects
from citris_cli.evaluation.data_check.features import Features, principal
from citris_cli.evaluation.data_check.report import LAGS
from citris_cli.evaluation.data_check.rows import Rows
from citris_cli.wording import enumerated

Array = np.ndarray[Any, Any]

#: Steps of a kind that a mean is taken of, at the least.
FEW_STEPS = 5
#: So many interventions that change nothing are not by chance too few to see; fewer, where little else happens: where
#: what is not foretold in steps without any is less than this part of the frames' variance.
ENOUGH, ENOUGH_IN_STILL, STILL = 300, 30, 0.05
#: What is not foretold is noise if so many directions hold less than this part of it.
NOISE_DIRECTIONS, NOISE = 8, 0.2
#: An effect is there if chance makes one less often, over all variables; it is not if it does more often than the
#: second.
SURE, CHANCE = 0.01, 0.05
# Part of a column that others have to leave, so that its own effect can be told.
_COLLINEAR = 0.05


@dataclass(frozen=True, eq=False)
class Contrast:
    """Two weighted means over P steps whose difference is what interventions on a variable change.

    Attributes:
        intervened, other: float64 [P], weights that sum to 1 each.
        how: what the second mean is of: "none" (steps with no target, the first of steps with this one alone),
            "adjusted" (all steps, less what a regression on all targets gives to this one) or "without" (steps without
            this target).
    """

    intervened: Array
    other: Array
    how: str


def contrasts(targets: Array, there: Array) -> list[Contrast | None]:
    """One for each variable; None where there are too few steps.

    Args:
        targets: bool [P, K].
        there: bool [P], which steps count.
    """
    counted = targets[there].sum(1)
    none = there & ~targets.any(1)
    alone = [there & targets[:, k] & (targets.sum(1) == 1) for k in range(targets.shape[1])]
    enough = none.sum() >= FEW_STEPS and all(one.sum() >= FEW_STEPS for one in alone)
    slopes = None if enough or not len(counted) else _slopes(targets[there].astype(np.float64))
    found: list[Contrast | None] = []
    for k, single in enumerate(alone):
        with_it = there & targets[:, k]
        without = there & ~targets[:, k]
        if min(with_it.sum(), without.sum()) < FEW_STEPS:
            found.append(None)
        elif none.sum() >= FEW_STEPS and single.sum() >= FEW_STEPS:
            found.append(Contrast(single / single.sum(), none / none.sum(), "none"))
        elif slopes is not None and slopes[k] is not None:
            own = np.zeros(len(there))
            own[there] = slopes[k]
            other = there / there.sum() - with_it.sum() / there.sum() * own
            found.append(Contrast(other + own, other, "adjusted"))
        else:
            found.append(Contrast(with_it / with_it.sum(), without / without.sum(), "without"))
    return found


def _slopes(columns: Array) -> list[Array | None]:
    """Weights [P] that give each column's coefficient in a regression with intercept; None of one that others tell."""
    centred = columns - columns.mean(0)
    found: list[Array | None] = []
    for k in range(columns.shape[1]):
        rest = np.delete(centred, k, axis=1)
        own = centred[:, k] - rest @ np.linalg.lstsq(rest, centred[:, k], rcond=1e-6)[0]
        left, whole = float(own @ own), float(centred[:, k] @ centred[:, k])
        found.append(own / left if left > _COLLINEAR * whole else None)
    return found


def map_weights(rows: Rows, steps: Steps) -> tuple[Array, dict[int, list[Contrast | None]]]:
    """What each step counts in maps of change: for each of :data:`LAGS` and each variable, the contrast's difference.

    Returns:
        float32 [lags · K, P] and the contrasts by lag; zeros where there is none.
    """
    by_lag = {lag: contrasts(*rows.at(steps, lag)) for lag in LAGS}
    weights = [
        np.zeros(len(steps)) if one is None else one.intervened - one.other for lag in LAGS for one in by_lag[lag]
    ]
    return np.array(weights, np.float32).reshape(len(weights), len(steps)), by_lag


def ratio(contrast: Contrast | None, change: Array) -> float | None:
    """The two means of a change [P], the first by the second; None without a contrast, or if nothing else changes."""
    if contrast is None:
        return None
    other = float(contrast.other @ change)
    return max(0.0, float(contrast.intervened @ change)) / other if other > 0 else None


def shown(features: Features, rows: Rows, found: Changes, lag: int) -> list[bool | None]:
    """Whether each variable's interventions change the frame; None where it cannot be told.

    Args:
        features: of the sample's steps.
        rows: of targets.
        found: whose sample that is.
        lag: at which the rows are read.
    """
    sample = found.sample
    targets, _ = rows.at(sample, lag)
    enough = ENOUGH_IN_STILL if _still(features, found, rows.idle(sample, lag)) else ENOUGH
    if not features.families:  # nothing ever changes
        return [False if targets[:, k].sum() >= enough else None for k in range(targets.shape[1])]
    columns = rows.centred(sample, lag)
    others = np.concatenate([rows.centred(sample, one) for one in LAGS if one != lag], axis=1)
    single = [columns[:, k : k + 1] for k in range(columns.shape[1])]
    groups = [*single, others]
    if sum(one.shape[1] for one in groups) * STEPS_A_COLUMN > len(sample):
        groups = single
    each = effects(features, groups)[: len(single)]
    for k, one in enumerate(each):
        if one is None:  # others have the same targets, or it is one too many for so few steps
            each[k] = effects(features, single[k : k + 1])[0]
    counts = targets.sum(0).tolist()
    return [_decided(one, count >= enough, len(each)) for one, count in zip(each, counts, strict=True)]


def _still(features: Features, found: Changes, idle: Array) -> bool:
    """Whether little happens without interventions that is not foretold, or only noise."""
    variance = float(found.after.var(0).mean())
    if variance == 0 or not idle.any():
        return variance == 0
    left = features.innovations[idle]
    power = float((left**2).mean())
    if power < STILL * variance:
        return True
    # Noise of a camera is spread over all directions; what moves has a few.
    moves = left @ principal(left, NOISE_DIRECTIONS)
    return float((moves**2).sum()) < NOISE * power * left.size


def _decided(effect: Effect | None, enough: bool, variables: int) -> bool | None:
    if effect is None:
        return None
    if effect.p * variables < SURE:
        return True
    return False if effect.p > CHANCE and enough else None


def heat(difference: Array) -> Array:
    """A map of change, float32 [H, W], as what is shown of it: not negative."""
    return np.maximum(difference, 0).astype(np.float32)


def told_otherwise(contrasts: Sequence[Contrast | None], names: Sequence[str]) -> tuple[str, ...]:
    """Sentences on what stands for steps with a variable alone and with none, where there are too few of these."""
    adjusted = [name for name, one in zip(names, contrasts, strict=True) if one is not None and one.how == "adjusted"]
    without = [name for name, one in zip(names, contrasts, strict=True) if one is not None and one.how == "without"]
    lacking = [name for name, one in zip(names, contrasts, strict=True) if one is None]
    said = []
    if adjusted:
        said.append(
            f"{enumerated(adjusted)}: too few steps with the target alone or with none to compare; their ratios come "
            "from a regression of the change on all targets"
        )
    if without:
        said.append(
            f"{enumerated(without)}: too few steps with the target alone or with none to compare; their ratios compare "
            "steps with the target and all others"
        )
    if lacking:
        said.append(f"{enumerated(lacking)}: too few steps with or without the target to measure what it changes")
    return tuple(said)
