"""One batch computed by several processes: which rows are this one's, and what has to be known of all of them.

A loss is a mean over the rows of a batch, and nearly everything in a model looks at one row at a time: that is right
for a share of the batch as it is for the whole. What is not is noise, which is drawn for the whole batch, and what a
batch's statistics decide. They ask here. Where one process computes whole batches, nothing is asked of anyone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Share:
    """Rows ``start`` … ``stop - 1`` of a batch, at least one; the other processes have the others.

    Attributes:
        start, stop: first row and the row after the last.
        total: rows of the whole batch.
    """

    start: int
    stop: int
    total: int

    @classmethod
    def of(cls, total: int, number: int, processes: int) -> Share:
        """The share of one of several processes: neighbouring rows; shares differ by one row at most.

        Args:
            total: rows of the whole batch, at least one for each process.
            number: of the process, from 0.
            processes: how many there are.

        Raises:
            ValueError: fewer rows than processes.
        """
        if total < processes:
            raise ValueError(f"{total} rows are too few for {processes} processes")
        return cls(number * total // processes, (number + 1) * total // processes, total)

    @property
    def weight(self) -> float:
        """Part of the whole batch: the weight of a mean over this share in the mean over all rows."""
        return (self.stop - self.start) / self.total

    def rows(self, whole: int) -> slice:
        """This share of ``whole`` rows, the batch's or a multiple of it where each of its rows became as many."""
        each = whole // self.total
        return slice(self.start * each, self.stop * each)

    def whole(self, own: int) -> int:
        """Rows of all shares together where this one has ``own``."""
        return own // (self.stop - self.start) * self.total


_current: Share | None = None


@contextmanager
def computing(share: Share | None) -> Iterator[None]:
    """Inside the ``with`` block, every batch is this share of a whole one; None: it is the whole one."""
    global _current
    earlier, _current = _current, share
    try:
        yield
    finally:
        _current = earlier


def current() -> Share | None:
    """The share that is being computed, or None where it is the whole batch."""
    return _current


def own(values: Tensor) -> Tensor:
    """This process's rows of a whole batch [B, …] that every process has."""
    return values if _current is None else values[_current.rows(len(values))]


def whole(values: Tensor) -> Tensor:
    """The rows of all processes [B, …], in order, where each has its own; no gradient."""
    if _current is None:
        return values
    gathered = values.new_zeros(_current.whole(len(values)), *values.shape[1:])
    gathered[_current.rows(len(gathered))] = values.detach()
    return total(gathered)


def total(values: Tensor) -> Tensor:
    """The sum over all processes of a tensor that each of them has; in place, no gradient."""
    if _current is not None:
        distributed.all_reduce(values)
    return values


def noise(draw: Callable[..., Tensor], shape: Sequence[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Noise of a shape for this process's rows, cut out of what is drawn for the whole batch.

    So the generators of all processes are in one state at any time, that of one process alone; a run of several has
    the noise of a run of one, and either can go on with the other's state. Drawing is cheap beside what is computed
    with what was drawn.

    Args:
        draw: ``torch.randn`` or ``torch.rand``.
        shape: of the result, rows first.
        like: has the device and the type of the result.
        generator: source of the noise; the default generator if None.
    """
    rows = shape[0] if _current is None else _current.whole(shape[0])
    drawn = draw((rows, *shape[1:]), generator=generator, device=like.device, dtype=like.dtype)
    return own(drawn)
