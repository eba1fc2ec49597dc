"""Do interventions show? What the frame changes by in steps with a variable's target, against steps without any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from citris_cli.evaluation.data_check.changes import Changes
from citris_cli.evaluation.data_check.effects import STEPS_A_COLUMN, Effect, effects, effects_of_each, own_parts
from citris_cli.evaluation.data_check.features import Features, principal
from citris_cli.evaluation.data_check.report import LAGS
from citris_cli.evaluation.data_check.rows import ROWS_AT_ONCE, Rows, joint_counts
from citris_cli.wording import enumerated

Array = np.ndarray[Any, Any]

#: Steps of a kind that a mean is taken of, at the least.
FEW_STEPS = 5
#: So many interventions that change nothing are not by chance too few to see; fewer, where little else happens: where
#: what is not foretold in steps without any is less than this part of the frames' variance.
ENOUGH, ENOUGH_IN_STILL, STILL = 300, 30, 0.05
#: Of more variables than this each has a smaller part in what happens, and takes more interventions to be seen.
FEW_VARIABLES = 4
#: What is not foretold is noise if so many directions hold less than this part of it.
NOISE_DIRECTIONS, NOISE = 8, 0.2
#: An effect is there if chance makes one less often, over all variables; it is not if it does more often than the
#: second.
SURE, CHANCE = 0.01, 0.05
#: With more columns than this, the rows at other lags are left out of the regression.
MOST_COLUMNS = 400
# Part of a column that others have to leave, so that its own effect can be told.
_COLLINEAR = 0.05


@dataclass(frozen=True, eq=False)
class Contrast:
    """Two weighted means over steps whose difference is what interventions on a variable change.

    Attributes:
        variable: its number k.
        how: what the second mean is of: "none" (steps with no target, the first of steps with this one alone),
            "adjusted" (all steps, less what a regression on all targets gives to this one) or "without" (steps without
            this target).
        counts: how many steps the two means are of, both of all steps where it is adjusted.
        means: float64 [K], mean of each target.
        slopes: float64 [K], what each target, less its mean, counts in this one's coefficient of the regression.
    """

    variable: int
    how: str
    counts: tuple[int, int]
    means: Array
    slopes: Array

    def weights(self, targets: Array, there: Array) -> tuple[Array, Array]:
        """What some steps count in the two means: float64 [P] each, of which all steps' sum to 1.

        Args:
            targets: bool [P, K].
            there: bool [P], which steps count.
        """
        first, second = self.counts
        with_it = there & targets[:, self.variable]
        if self.how == "without":
            return with_it / first, (there & ~with_it) / second
        if self.how == "none":
            return (with_it & (targets.sum(1) == 1)) / first, (there & ~targets.any(1)) / second
        own = np.where(there, (targets - self.means) @ self.slopes, 0.0)
        other = there / second - self.means[self.variable] * own
        return other + own, other


def contrasts(targets: Array, there: Array) -> list[Contrast | None]:
    """One for each variable; None where there are too few steps.

    Args:
        targets: bool [P, K].
        there: bool [P], which steps count.
    """
    count, variables = int(there.sum()), targets.shape[1]
    if not count:
        return [None] * variables
    number = targets.sum(1)
    none = int((there & (number == 0)).sum())
    together = joint_counts(targets[there])
    with_it = np.diag(together)
    alone = targets[there & (number == 1)].sum(0)
    means = with_it / count
    products = together - count * np.outer(means, means)
    parts = own_parts(products)
    found: list[Contrast | None] = []
    for k in range(variables):
        slopes = np.zeros(variables)
        if min(with_it[k], count - with_it[k]) < FEW_STEPS:
            found.append(None)
            continue
        if min(none, alone[k]) >= FEW_STEPS:
            how, counts = "none", (int(alone[k]), none)
        elif parts.left[k] > _COLLINEAR:
            how, counts = "adjusted", (count, count)
            slopes = parts.coefficients[:, k] / (parts.left[k] * products[k, k])
        else:
            how, counts = "without", (int(with_it[k]), int(count - with_it[k]))
        found.append(Contrast(k, how, counts, means, slopes))
    return found


def map_weights(found: Sequence[Contrast | None], rows: Rows, lag: int) -> Callable[[Array], Array]:
    """What steps count in maps of change, one for each variable: the difference of its means; zeros without a contrast.

    Args:
        found: one for each variable.
        rows: of targets.
        lag: at which they are read.

    Returns:
        Of steps, by the frames before them [n], the weights float32 [K, n].
    """

    def weights(starts: Array) -> Array:
        targets, there = rows.at(starts, lag)
        each = np.zeros((len(found), len(starts)), np.float32)
        for k, one in enumerate(found):
            if one is not None:
                first, second = one.weights(targets, there)
                each[k] = first - second
        return each

    return weights


def ratio(contrast: Contrast | None, change: Array, targets: Array, there: Array) -> float | None:
    """The two means of a change [P], the first by the second; None without a contrast, or if nothing else changes."""
    if contrast is None:
        return None
    one, other = 0.0, 0.0
    for start in range(0, len(change), ROWS_AT_ONCE):
        some = slice(start, start + ROWS_AT_ONCE)
        first, second = contrast.weights(targets[some], there[some])
        one, other = one + float(first @ change[some]), other + float(second @ change[some])
    return max(0.0, one) / other if other > 0 else None


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
    enough: float = ENOUGH
    if _still(features, found, rows.idle(sample, lag)):
        enough = min(enough, ENOUGH_IN_STILL * max(1.0, targets.shape[1] / FEW_VARIABLES))
    if not features.families:  # nothing ever changes
        return [False if targets[:, k].sum() >= enough else None for k in range(targets.shape[1])]
    columns = rows.centred(sample, lag)
    others = np.concatenate([rows.centred(sample, one) for one in LAGS if one != lag], axis=1)
    together = columns.shape[1] + others.shape[1]
    if together > MOST_COLUMNS or together * STEPS_A_COLUMN > len(sample):
        others = others[:, :0]
    each = effects_of_each(features, columns, others)
    return [
        # What goes together with others tells of the few steps alone in which it does not.
        _decided(one, count * one.own >= enough, len(each))
        if one is not None
        else _by_itself(features, rows, found, lag, k, count >= enough)
        for k, (one, count) in enumerate(zip(each, targets.sum(0).tolist(), strict=True))
    ]


def _by_itself(features: Features, rows: Rows, found: Changes, lag: int, k: int, enough: bool) -> bool | None:
    """Whether interventions on a variable change the frame that has no part of its own, whatever others have in it.

    Others have the same targets, it is one too many for so few steps, or its rows come round: then those of one lag are
    those of another, and that the frame does not change at this one may mean that rows are late.
    """
    for at in (lag, *(one for one in LAGS if one != lag)):
        columns = rows.centred(found.sample, at)
        shows = _decided(effects(features, [columns[:, k : k + 1]], columns)[0], enough, columns.shape[1])
        if shows is not False:
            return shows if at == lag else None
    return False


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
        said.append(f"{enumerated(lacking)}: too few steps with or without interventions to measure what they change")
    return tuple(said)
