"""Parts of a long sequence, and its rows moved in time."""

from __future__ import annotations

from dataclasses import replace

import torch

from citris_cli.data.datasets import SequenceData
from citris_cli.data.frames import Frames
from citris_cli.evaluation.data_check.changes import MOST_STEPS, Changes, changes, spread_over


def part(data: SequenceData, first: int, frames: int) -> SequenceData:
    """Some frames of one long sequence, with their targets; only the variables that are still intervened on count."""
    targets = data.targets[first : first + frames].clone()
    targets[-1] = 0
    return replace(
        data,
        frames=Frames([data.frames.slice(first, first + frames).contiguous().numpy()]),
        starts=torch.arange(frames - 1),
        targets=targets,
    )


def shifted(data: SequenceData, lag: int) -> SequenceData:
    """The same with rows that stand so many steps late (negative: early), and zeros where none came from."""
    rows, count = torch.zeros_like(data.targets), len(data.targets)
    rows[max(lag, 0) : count + min(lag, 0)] = data.targets[max(-lag, 0) : count - max(lag, 0)]
    rows[-1] = 0
    return replace(data, targets=rows)


def looked_at(data: SequenceData) -> Changes:
    """What the check finds in one pass, without maps."""
    starts = data.starts.numpy()
    return changes(data, starts, spread_over(starts, MOST_STEPS))
