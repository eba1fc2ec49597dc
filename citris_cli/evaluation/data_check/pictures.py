"""Faults of the frames themselves: a camera that hangs, frames written twice, cuts, a light that flickers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from citris_cli.evaluation.data_check.changes import Changes
from citris_cli.evaluation.data_check.report import Pictures
from citris_cli.wording import counted

Array = np.ndarray[Any, Any]

#: Frames that are written out in a sentence.
_LISTED = 5
#: Where more than this part of the steps without an intervention change nothing, or of all frames were there before,
#: that is how the system is and no fault.
_STILL = 0.5
#: A camera hung if a frame stands so many times in a row more, or if frames stand still more often than they almost do,
#: by this part of the median change.
_HUNG, _ALMOST = 5, 0.1
#: Where it never stands still at an intervention, and that this is chance is less likely than this, the system rests: a
#: camera hangs whatever is done to the system.
_CHANCE = 0.001
#: So many frames in a row that all were there before, in that order, are a recording that is there twice.
_REPEATED = 4
#: At a cut more than this part of the pixels changes, and the frame by so many times what it does in the 99th of 100
#: steps; in steps with an intervention, by so many times.
_WHOLE, _BEYOND, _FAR_BEYOND = 0.5, 1.5, 3.0
#: A light flickers if it makes more than this part of what changes, and goes back in the next step by this part of it.
_FLICKER, _BACK = 0.5, 0.25
#: Of the steps without an intervention those that change most are left out there: a cut is no flicker.
_USUAL = 0.95
#: Fewer steps than this tell nothing of a light.
_FEW = 20


def pictures(found: Changes, idle: Array) -> Pictures:
    """The faults of the frames that were looked at.

    Args:
        found: what one pass over them found.
        idle: bool [P], steps without an intervention: in others the frame may well change as a whole.
    """
    place = np.searchsorted(found.frames, found.starts)
    same = found.digests[place] == found.digests[place + 1]
    frozen = found.starts[same] + 1
    _, first, back = np.unique(found.digests, return_index=True, return_inverse=True)
    repeated = found.frames[first[back.reshape(-1)] != np.arange(len(found.frames))]
    calm = idle & (found.change <= np.quantile(found.change[idle], _USUAL)) if idle.any() else idle
    light, undone = _flicker(found, calm), _goes_back(found, calm)
    return Pictures(
        frozen=_listed(frozen),
        duplicates=_listed(np.setdiff1d(repeated, frozen)),
        cuts=_listed(_cuts(found, idle)),
        flicker=light or 0.0,
        flickers=None if light is None or undone is None else light > _FLICKER and undone,
    )


def _listed(numbers: Array) -> tuple[int, ...]:
    return tuple(map(int, numbers))


def _cuts(found: Changes, idle: Array) -> Array:
    """Frames at which a step's change is a whole other picture."""
    if len(found.starts) < _FEW:
        return np.empty(0, np.int64)
    usual = float(np.quantile(found.change, 0.99))
    beyond = found.change > np.where(idle, _BEYOND, _FAR_BEYOND) * usual
    return found.starts[beyond & (found.spread > _WHOLE)] + 1


def _flicker(found: Changes, calm: Array) -> float | None:
    """Share of the change that is one of the whole frame's brightness, over the sample's calm steps; None if few."""
    steps = calm[np.searchsorted(found.starts, found.sample)]
    if steps.sum() < _FEW:
        return None
    moved = (found.after[steps] - found.before[steps]).astype(np.float64)
    power = float((moved**2).mean())
    return float((moved.mean(1) ** 2).mean()) / power if power > 0 else 0.0


def _goes_back(found: Changes, calm: Array) -> bool | None:
    """Whether a change of brightness is undone in the next step, as a light's that flickers and no lamp's.

    Of steps without an intervention, since an intervention may well be one on the light; None if few follow each other.
    """
    place = np.searchsorted(found.frames, found.starts)
    change = found.brightness[place + 1] - found.brightness[place]
    follows = (np.diff(found.starts) == 1) & calm[:-1] & calm[1:]
    if follows.sum() < _FEW:
        return None
    one, two = change[:-1][follows], change[1:][follows]
    power = float((one**2).sum())
    return power > 0 and float((one * two).sum()) < -_BACK * power


def faults(seen: Pictures, found: Changes, idle: Array) -> tuple[list[str], list[str]]:
    """Sentences on what is wrong with the frames, and on what is worth knowing.

    Args:
        seen: the faults.
        found: what they were found in.
        idle: bool [P], steps without an intervention.
    """
    problems, hints = [], []
    if not found.change.any():
        return ["all frames are equal: there is nothing to learn from"], []
    if seen.cuts:
        problems.append(
            f"the picture changes as a whole at {_places(seen.cuts)}: looks like a cut "
            "between two recordings; mark it as the end of an episode"
        )
    still = found.change == 0
    if still[idle].sum() > _STILL * idle.sum():
        hints.append(f"nothing at all changes in {int(still.sum()):,} of {counted(len(still), 'step')}")
    elif seen.frozen and _hung(found, idle):
        problems.append(
            f"{_places(seen.frozen)} {'equals' if len(seen.frozen) == 1 else 'equal'} the frame before: a camera that "
            "froze, or frames that were saved twice; leave them out, with their rows"
        )
    again = _recorded_twice(found)
    if again:
        problems.append(
            f"{counted(len(again), 'frame')} from frame {again[0]:,} on repeat earlier ones in their order: a "
            "recording is in the data twice; leave one out"
        )
    if seen.flickers:
        problems.append(
            f"{seen.flicker:.0%} of what changes from frame to frame is the brightness of the whole frame, up and "
            "down: the light or the exposure flickers; fix the exposure, or even out the brightness of the frames"
        )
    return problems, hints


def _hung(found: Changes, idle: Array) -> bool:
    """Whether frames stand still otherwise than a system does that moves little, or not at all, now and then."""
    still = found.change == 0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], still.astype(np.int8), [0]])))
    # A run counts once: interventions may well come in runs, too.
    if idle[still].all() and idle.mean() ** (len(edges) // 2) < _CHANCE:
        return False
    longest = int((edges[1::2] - edges[::2]).max())
    almost = (found.change > 0) & (found.change < _ALMOST * np.median(found.change))
    return longest >= _HUNG or int(still.sum()) > max(2, int(almost.sum()))


def _places(frames: Sequence[int]) -> str:
    if len(frames) <= _LISTED:
        return f"frame {frames[0]:,}" if len(frames) == 1 else f"frames {', '.join(f'{one:,}' for one in frames)}"
    return f"{len(frames):,} frames ({', '.join(f'{one:,}' for one in frames[:_LISTED])}, …)"


def _recorded_twice(found: Changes) -> list[int]:
    """Frames of runs that repeat an earlier run; none where the system has so few states that it must come back."""
    _, first, back = np.unique(found.digests, return_index=True, return_inverse=True)
    earlier = first[back.reshape(-1)]
    if len(first) < _STILL * len(earlier):
        return []
    here = np.arange(len(earlier))
    # Whether frame i repeats one, and frame i + 1 the one after that.
    on = (earlier[:-1] < here[:-1]) & (np.diff(earlier) == 1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], on.astype(np.int8), [0]])))
    runs = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a + 1 >= _REPEATED]
    return [int(found.frames[i]) for a, b in runs for i in range(a, b + 1)]
