"""Rows of targets beside steps, as they stand and moved in time, without crossing from one episode into another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from citris_cli.data.datasets import SequenceData
from citris_cli.evaluation.data_check.changes import runs_of

Array = np.ndarray[Any, Any]

#: Rows that become numbers at a time, so that many of them take no memory to speak of.
ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True, eq=False)
class Rows:
    """Targets of sequences by the frame before their step.

    Attributes:
        targets: bool [N, K], see :class:`~citris_cli.data.datasets.SequenceData`.
        episodes: int64 [N], the number of the run of steps that a frame begins a step of; -1 of frames that begin none.
    """

    targets: Array
    episodes: Array

    @classmethod
    def of(cls, data: SequenceData) -> Rows:
        """Those of some data."""
        starts = data.starts.numpy()
        episodes = np.full(len(data.frames), -1, np.int64)
        episodes[starts] = runs_of(starts)
        return cls(data.targets.numpy().astype(bool), episodes)

    def at(self, starts: Array, lag: int) -> tuple[Array, Array]:
        """The rows that steps [P] read at a lag, by the frames before them: bool [P, K]; and which have one: [P]."""
        asked = starts + lag
        inside = np.clip(asked, 0, len(self.targets) - 1)
        there = (asked == inside) & (self.episodes[inside] == self.episodes[starts])
        return self.targets[inside] & there[:, None], there

    def idle(self, starts: Array, lag: int) -> Array:
        """Steps that read a row without any target: bool [P]."""
        rows, there = self.at(starts, lag)
        none: Array = there & ~rows.any(1)
        return none

    def centred(self, starts: Array, lag: int) -> Array:
        """The same as columns of a regression, float64 [P, K]: with mean 0, and 0 where there is no row."""
        rows, there = self.at(starts, lag)
        mean = rows[there].mean(0) if there.any() else np.zeros(rows.shape[1])
        return np.where(there[:, None], rows - mean, 0.0)


def joint_counts(targets: Array) -> Array:
    """In how many rows [P, K] two targets are both set: int64 [K, K]."""
    counts = np.zeros((targets.shape[1], targets.shape[1]), np.int64)
    for start in range(0, len(targets), ROWS_AT_ONCE):
        rows = targets[start : start + ROWS_AT_ONCE].astype(np.float32)
        counts += (rows.T @ rows).astype(np.int64)
    return counts
