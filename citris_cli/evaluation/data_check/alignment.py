"""Do rows of targets and frames belong together as they stand? A frame cannot change before the intervention.

Nor is the change of the first frame after an intervention its last: the system goes on from where it was put. So the
lag at which the targets explain most is not looked for, but the one at which, read as early as possible, they still
explain something of their own. At lag l step i reads row i + l; so this is the greatest such lag.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from citris_cli.evaluation.data_check.changes import Changes
from citris_cli.evaluation.data_check.effects import STEPS_A_COLUMN, Effect, effects
from citris_cli.evaluation.data_check.features import Features
from citris_cli.evaluation.data_check.report import LAGS
from citris_cli.evaluation.data_check.rows import Rows

Array = np.ndarray[Any, Any]

#: Lags of the regression: one more on each side, where rows that are further off would show.
ALL_LAGS = (LAGS[0] - 1, *LAGS, LAGS[-1] + 1)
#: An effect is there if chance makes one as large less often than this, over all that is tried; rows are called shifted
#: if it does less often than the second.
SURE, SURE_OF_SHIFT = 1e-3, 1e-5
#: A lag that may have an effect is one that chance explains less often than this.
DOUBTFUL = 0.05
#: The effect is at least this part of the largest one's; of rows that are called shifted, the second.
SHARE, SHARE_OF_SHIFT = 0.25, 0.8
#: Beside an effect, this part of it is none.
NEGLIGIBLE = 0.1
#: No sentence says that it is surer than this.
MOST_CONFIDENT = 0.9999
#: More variables than this are looked at in groups.
MOST_VARIABLES = 50
#: Fewer steps with an intervention than this tell nothing.
FEW_STEPS = 12


@dataclass(frozen=True)
class Verdict:
    """The lag at which rows and frames fit, or why it cannot be told.

    Attributes:
        lag: of :data:`LAGS`; None where it cannot be told.
        confidence: 0 … 1 without a lag 0.
        why: a clause where it cannot be told.
    """

    lag: int | None
    confidence: float = 0.0
    why: str = ""


def ratios_by_lag(found: Changes, rows: Rows) -> tuple[float | None, ...]:
    """Mean change in steps with any target by that in steps with none, for each of :data:`LAGS`.

    Where hardly any step has none, the largest over the variables of the mean change in steps with its target by that
    in steps without. None where there are too few steps of either.
    """
    return tuple(_ratio(found.change, *rows.at(found.starts, lag)) for lag in LAGS)


def _ratio(change: Array, targets: Array, there: Array) -> float | None:
    change, targets = change[there], targets[there]
    any_target = targets.any(1)
    columns = [any_target] if (~any_target).sum() >= FEW_STEPS else list(targets.T)
    ratios = [
        float(change[column].mean() / change[~column].mean())
        for column in columns
        if min(column.sum(), (~column).sum()) >= FEW_STEPS // 2 and change[~column].mean() > 0
    ]
    return max(ratios, default=None)


def verdict(features: Features, found: Changes, rows: Rows) -> Verdict:
    """The lag at which rows and frames fit.

    Args:
        features: of the sample's steps.
        found: whose sample that is.
        rows: of targets.
    """
    sample = found.sample
    targets, _ = rows.at(sample, 0)
    if targets.any(1).sum() < FEW_STEPS:
        return Verdict(None, why="there are too few interventions")
    if not features.families:
        return Verdict(None, why="the frames hardly change")
    if not any(rows.at(sample, lag)[1].any() for lag in LAGS if lag):
        return Verdict(None, why="no step follows another")
    columns = [rows.centred(sample, lag) for lag in ALL_LAGS]
    # By variable, which sees most, or by some variables together where that is too much; and by all together.
    most = min(MOST_VARIABLES, len(sample) // (len(ALL_LAGS) * STEPS_A_COLUMN))
    numbers = [most, 1] if min(most, targets.shape[1]) > 1 else [1]
    forms = [[_merged(column, number) for column in columns] for number in numbers]
    verdicts = [_judged(effects(features, form, form[ALL_LAGS.index(0)]), len(forms)) for form in forms]
    told = [one for one in verdicts if one.lag is not None]
    if len({one.lag for one in told}) > 1:
        return Verdict(None, why="the effects of different variables speak for different lags")
    return max(told, key=lambda one: one.confidence) if told else verdicts[0]


def _merged(columns: Array, most: int) -> Array:
    """Columns [S, K] added up to at most so many."""
    return np.stack([columns[:, first::most].sum(1) for first in range(min(most, columns.shape[1]))], axis=1)


def _judged(by_lag: Sequence[Effect | None], forms: int) -> Verdict:
    """The verdict on effects at :data:`ALL_LAGS`, of one of several forms of the targets."""
    if all(one is None for one in by_lag):
        return Verdict(None, why="there are too few steps, or the interventions follow a fixed schedule")
    if any(one is None for one in by_lag):
        cause = "as in a fixed schedule or in very short episodes"
        return Verdict(None, why=f"the targets of one step follow from those of its neighbours, {cause}")
    tried = forms * len(ALL_LAGS)
    effect = {lag: one for lag, one in zip(ALL_LAGS, by_lag, strict=True) if one is not None}
    p = {lag: min(1.0, one.p * tried) for lag, one in effect.items()}
    there = [lag for lag in ALL_LAGS if p[lag] < SURE]
    if not there:
        return Verdict(None, why="the interventions show too little, or not at all")
    most = max(effect[lag].share for lag in there)
    best = max((lag for lag in there if effect[lag].share >= SHARE * most), default=0)
    later = [lag for lag in ALL_LAGS if lag > best]
    if any(effect[lag].p < DOUBTFUL and effect[lag].share >= SHARE * most for lag in later):
        return Verdict(None, why="an effect before its intervention cannot be ruled out")
    if best not in LAGS:
        return Verdict(None, why=f"the targets look more than {LAGS[-1]} steps off")
    if best != 0:
        if p[best] >= SURE_OF_SHIFT or effect[best].share < SHARE_OF_SHIFT * most:
            return Verdict(None, why="the evidence of a shift is not clear")
        if best < 0 and any(p[lag] < SURE or effect[lag].share > NEGLIGIBLE * most for lag in later):
            return Verdict(None, why="some interventions show at once and more of them later")
    return Verdict(best, float(min(MOST_CONFIDENT, 1 - p[best])))
