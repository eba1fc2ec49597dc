"""What a check of a dataset found, as plain numbers and pictures; commands, pages and trainings read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from citris_cli.data.identifiability import Finding
from citris_cli.evaluation.data_check.within_step import Condition

#: How far targets are moved against frames, in steps. At lag l the targets are read l rows earlier than they stand, so
#: that rows which stand l steps late fit best at lag l; 0 is the data as they are.
LAGS = (-2, -1, 0, 1, 2)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class VariableCheck:
    """What the frames show of the interventions on one variable.

    Attributes:
        name: of the variable.
        interventions: steps with its target.
        alone: of these, the steps with no other variable's target.
        ratio: mean absolute change of the frame in steps with its target (alone, where there are enough of these),
            divided by that in steps with none; None where there are too few steps of either.
        shows: whether its interventions change the frame; None where it cannot be told.
        heat: float32 [H, W], by how much more a pixel changes in steps with its target than in steps with none, mean
            over channels, intensities 0 … 1; not negative. None where `ratio` is.
        depends: whether values after an intervention still depend on the frame before; None where it cannot be told.
    """

    name: str
    interventions: int
    alone: int
    ratio: float | None
    shows: bool | None
    heat: Array | None
    depends: bool | None


@dataclass(frozen=True)
class Alignment:
    """Whether rows of targets and frames belong together as they stand.

    Attributes:
        ratios: for each of :data:`LAGS`, the mean absolute change in steps with any target by that in steps with none
            (or what stands for it where every step has one); None where it cannot be computed.
        lag: the lag at which they fit; 0 where they are aligned; None where it cannot be told.
        confidence: 0 … 1, how sure it is of `lag`; None without one.
        sentence: the verdict in one sentence, with what to do where the lag is not 0.
    """

    ratios: tuple[float | None, ...]
    lag: int | None
    confidence: float | None
    sentence: str


@dataclass(frozen=True)
class Pictures:
    """Faults of the frames themselves. Places are indices of frames, counted over all files in order.

    Attributes:
        frozen: frames that are equal to the one before them, in the same episode.
        duplicates: frames that are equal to an earlier one that is not the one before.
        cuts: frames at which the picture changes as a whole, inside an episode.
        flicker: share of the frame's variation over time that is brightness of the whole frame, in steps without an
            intervention, 0 … 1.
        flickers: whether that is a fault; None where too few steps without an intervention follow each other.
    """

    frozen: tuple[int, ...]
    duplicates: tuple[int, ...]
    cuts: tuple[int, ...]
    flicker: float
    flickers: bool | None


@dataclass(frozen=True, eq=False)
class DataCheck:
    """All that a check found.

    Attributes:
        data: what the data are called: the path as the user gave it.
        frames: number of frames.
        steps: number of steps from one frame to the next.
        episodes: number of recordings that no step leads out of.
        size: height and width of a frame in pixels.
        channels: of a frame.
        without: steps with no target at all.
        variables: one for each variable that is intervened on.
        together: int64 [K, K], steps in which both variables have their target; on the diagonal the interventions.
        findings: what the targets can tell apart and what not.
        within_step: what telling effects within a step needs, and whether the data have it.
        latents_needed: the least number of latents that a model of these data needs.
        alignment: of rows and frames.
        pictures: faults of the frames.
        sheet: uint8 [S, H, W, C], the first frames of the first episode with a step, for a contact sheet.
        sheet_targets: bool [S, K], row i: the step into frame i of the sheet; the first row is False.
        problems: one sentence for each thing that is wrong, the gravest first; empty where nothing is.
        hints: sentences that are worth knowing where nothing is wrong, such as a setting to use.
        unchecked: sentences on what could not be checked, and why.
    """

    data: str
    frames: int
    steps: int
    episodes: int
    size: tuple[int, int]
    channels: int
    without: int
    variables: tuple[VariableCheck, ...]
    together: Array
    findings: tuple[Finding, ...]
    within_step: tuple[Condition, ...]
    latents_needed: int
    alignment: Alignment
    pictures: Pictures
    sheet: Array
    sheet_targets: Array
    problems: tuple[str, ...]
    hints: tuple[str, ...]
    unchecked: tuple[str, ...]
