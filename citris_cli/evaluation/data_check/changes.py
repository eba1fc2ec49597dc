"""How the frame changes from step to step, in numbers few enough to compute with: one pass over the frames.

Frames may be larger than memory. What grows with them here are a few bytes a frame; what costs more is kept of at most
:data:`MOST_STEPS` steps, in runs of consecutive ones that are spread over the whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from citris_cli.data.datasets import SequenceData

Array = np.ndarray[Any, Any]

#: Rows and columns of the coarse frames, and how many channels these can have before they are half as fine.
GRID, FEW_CHANNELS = 16, 4
#: Steps of which the coarse frames are kept, and how many of these follow each other in a run at least.
MOST_STEPS, LEAST_RUN = 8_000, 250
# Bytes of frames at a time.
_CHUNK = 8 << 20


@dataclass(frozen=True, eq=False)
class Changes:
    """What one pass over the frames found; P steps, F frames that these lie between, S of the steps in the sample.

    Attributes:
        frames: int64 [F], numbers of the frames that were looked at, in order.
        starts: int64 [P], the frame before each of the steps between them.
        change: float64 [P], mean absolute change of each step, intensities 0 … 1.
        spread: float32 [P], share of the pixels that changed by more than :data:`VISIBLE`.
        brightness: float64 [F], mean of each frame, 0 … 1.
        digests: uint64 [F], equal for equal frames.
        maps: float32 [R, H, W], sums over the steps of absolute changes (mean over channels, 0 … 1), each weighted with
            one of R rows of weights.
        sample: int64 [S], the frame before each step whose coarse frames are kept.
        before, after: float32 [S, D], the coarse frames before and after each of these, 0 … 1: D is
            grid · grid · channels, channels last.
        grid: rows and columns of the coarse frames.
    """

    frames: Array
    starts: Array
    change: Array
    spread: Array
    brightness: Array
    digests: Array
    maps: Array
    sample: Array
    before: Array
    after: Array
    grid: int


#: A pixel whose mean over channels changes by more than this is seen to change, of intensities 0 … 1.
VISIBLE = 0.1


def runs_of(starts: Array) -> Array:
    """The number, from 0 on, of the run without a gap that each of some steps [P] belongs to, by the frames before."""
    numbers: Array = np.cumsum(np.diff(starts, prepend=starts[:1] - 1) != 1)
    return numbers


def spread_over(starts: Array, most: int) -> Array:
    """At most so many of some steps [P], in consecutive runs at even distances over all of them; no randomness."""
    if len(starts) <= most:
        return starts
    pieces = max(1, most // LEAST_RUN)
    length = most // pieces
    firsts = np.linspace(0, len(starts) - length, pieces).astype(np.int64)
    chosen: Array = starts[np.unique((firsts[:, None] + np.arange(length)).reshape(-1))]
    return chosen


def changes(
    data: SequenceData, starts: Array, sample: Array, weights: Callable[[Array], Array] | None = None
) -> Changes:
    """Look at the frames that some steps lie between, each once.

    Args:
        data: sequences.
        starts: int64 [P], the frame before each step that is looked at, in order; if these are all of the data's steps,
            so are frames that belong to none of them.
        sample: int64 [S], steps among these whose coarse frames are kept.
        weights: of some steps, what the change of each counts in each of R maps: float32 [R, steps]; None for no maps.

    Raises:
        ChangedDataError: the frames changed meanwhile.
    """
    frames, height, width = data.frames, data.frames.height, data.frames.width
    count = len(starts)
    numbers = np.arange(len(frames)) if count == len(data.starts) else np.unique((starts, starts + 1))
    place = np.full(len(frames), -1, np.int64)  # of a step in `starts`
    place[starts] = np.arange(count)
    kept = np.full(len(frames), -1, np.int64)  # of a step in `sample`
    kept[sample] = np.arange(len(sample))
    grid = GRID if frames.channels <= FEW_CHANNELS else GRID // 2
    size = grid * grid * frames.channels
    before, after = (np.zeros((len(sample), size), np.float32) for _ in range(2))
    change, spread = np.zeros(count), np.zeros(count, np.float32)
    brightness, digests = np.zeros(len(numbers)), np.zeros(len(numbers), np.uint64)
    maps = np.zeros((0 if weights is None else len(weights(starts[:1])), height * width))
    rows = max(2, _CHUNK // (height * width * frames.channels))
    last: torch.Tensor | None = None
    for begin in range(0, len(numbers), rows):
        index = numbers[begin : begin + rows]
        chunk = frames.gather(torch.from_numpy(index)).contiguous()
        pixels = chunk.numpy()
        brightness[begin : begin + len(index)] = pixels.mean((1, 2, 3), dtype=np.float64) / 255
        digests[begin : begin + len(index)] = [_digest(frame) for frame in pixels]
        # The frame before the chunk closes the step into it.
        joined = chunk if last is None else torch.cat([last, chunk])
        firsts = index if last is None else np.concatenate([numbers[begin - 1 : begin], index])
        last = chunk[-1:]
        inside = np.flatnonzero((place[firsts[:-1]] >= 0) & (np.diff(firsts) == 1))
        if not len(inside):
            continue
        steps_here = place[firsts[inside]]
        values = joined.numpy()
        one, two = values[inside], values[inside + 1]
        moved = (np.maximum(one, two) - np.minimum(one, two)).mean(-1, dtype=np.float32).reshape(len(inside), -1) / 255
        change[steps_here] = moved.mean(1, dtype=np.float64)
        spread[steps_here] = (moved > VISIBLE).mean(1)
        if weights is not None:
            maps += weights(firsts[inside]) @ moved
        if (kept[firsts[inside]] >= 0).any():
            coarse = _coarse(joined, grid)
            here = kept[firsts[inside]] >= 0
            before[kept[firsts[inside][here]]] = coarse[inside[here]]
            after[kept[firsts[inside][here]]] = coarse[inside[here] + 1]
    frames.require_unchanged()
    return Changes(
        frames=numbers,
        starts=starts,
        change=change,
        spread=spread,
        brightness=brightness,
        digests=digests,
        maps=maps.reshape(-1, height, width).astype(np.float32),
        sample=sample,
        before=before,
        after=after,
        grid=grid,
    )


def _coarse(frames: torch.Tensor, grid: int) -> Array:
    """Frames uint8 [n, H, W, C] as means of blocks: float32 [n, grid·grid·C], intensities 0 … 1."""
    planes = frames.permute(0, 3, 1, 2).float()
    pooled = F.adaptive_avg_pool2d(planes, grid).permute(0, 2, 3, 1)
    return pooled.reshape(len(frames), -1).div(255).numpy()


def _digest(frame: Array) -> int:
    return int.from_bytes(hashlib.blake2b(frame.data, digest_size=8).digest(), "little")
