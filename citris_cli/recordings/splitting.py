"""What is held out of recordings: whole episodes at the end where these fit, else the end of a long one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from citris_cli.errors import InputError
from citris_cli.wording import counted

#: An episode's end is taken instead of the share that was asked for if it is no farther away than this part of it.
_NEAR = 0.5


@dataclass(frozen=True)
class Split:
    """Some of all frames that are kept, in order.

    Attributes:
        name: ``train``, ``val`` or ``test``.
        start, stop: the first frame and the one after the last.
        lengths: frames of each episode in it.
        said: a sentence on how it was chosen; "" where there was nothing to choose.
    """

    name: str
    start: int
    stop: int
    lengths: tuple[int, ...]
    said: str = ""

    def steps(self) -> np.ndarray[Any, Any]:
        """Bool [stop-start], whether a step leads out of the frame."""
        inside = np.ones(self.stop - self.start, bool)
        inside[np.cumsum(self.lengths) - 1] = False
        return inside


def split(lengths: Sequence[int], val: float, test: float) -> list[Split]:
    """The splits of episodes, ``train`` first; those of no share are left out.

    Args:
        lengths: frames of each episode, in order.
        val, test: shares 0 … 1 of all frames.

    Raises:
        InputError: the shares leave nothing, or one of the splits would have no step.
    """
    total, ends = sum(lengths), list(accumulate(lengths))
    if val + test >= 1:
        raise InputError(f"--val {val:g} --test {test:g}: nothing is left to train on; choose smaller shares")
    bounds, stop = [], total
    for name, share in (("test", test), ("val", val)):
        if share > 0:
            wanted = share * total
            near = min(ends, key=lambda end: abs(end - (stop - wanted)))
            start = near if abs(near - (stop - wanted)) <= _NEAR * wanted and 0 < near < stop else round(stop - wanted)
            bounds.append((name, start, stop))
            stop = start
    bounds.append(("train", 0, stop))
    made = [Split(name, first, last, _lengths(ends, first, last)) for name, first, last in reversed(bounds)]
    for one in made:
        if max(one.lengths, default=0) < 2:
            raise InputError(
                f"{counted(total, 'frame')} are too few for --val {val:g} --test {test:g}: {one.name} would have no "
                "step; "
                "record more, or give other shares"
            )
    return [_described(one, total, ends) if len(made) > 1 else one for one in made]


def _lengths(ends: Sequence[int], start: int, stop: int) -> tuple[int, ...]:
    inside = [start, *(end for end in ends if start < end < stop), stop]
    return tuple(later - earlier for earlier, later in pairwise(inside))


def _described(one: Split, total: int, ends: Sequence[int]) -> Split:
    frames = one.stop - one.start
    whole = all(place in (0, *ends) for place in (one.start, one.stop))
    how = counted(len(one.lengths), "whole episode") if whole else f"frames {one.start:,} to {one.stop - 1:,}"
    said = f"{one.name}: {counted(frames, 'frame')} of {total:,} ({frames / total:.0%}), {how}"
    return Split(one.name, one.start, one.stop, one.lengths, said)
