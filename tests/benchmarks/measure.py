"""How everything here is measured: several forms of one thing in turn, in one process, so that ratios hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

#: Side of the square matrices whose product gives the machine's rate.
PRODUCT_SIDE = 1024

#: Seconds for which a form that takes less is called again and again before the next one's turn: what one call beside
#: a slow form says is mostly how cold that form left the caches, and a training's steps follow one another.
TURN = 0.1

#: What times calls. Beside other work ``time.process_time`` says more, of one thread: when others had the processor is
#: not counted.
clock: Callable[[], float] = time.perf_counter


@dataclass(frozen=True)
class Effort:
    """How long one comparison is repeated: at least ``rounds`` times, and for about ``seconds``."""

    rounds: int = 5
    seconds: float = 5.0


QUICK = Effort(rounds=3, seconds=1.0)


@dataclass(frozen=True)
class Target:
    """A bound that a number should keep.

    Attributes:
        of: ``ratio`` (to the plain form), ``ours``, or ``floor``: how many times the floor ours is.
        bound: the number itself, for ``ours`` in the row's unit.
        least: whether it is the least that is wanted; else the most.
    """

    of: str
    bound: float
    least: bool = True


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: what was measured, with its sizes.
        unit: ``s``, ``frames/s`` or ``GB``.
        ours: the production form.
        plain: the plain form of the same thing, or None.
        floor: what no form of it could beat on this machine, or None.
        target: the bound it should keep, or None.
    """

    what: str
    unit: str
    ours: float
    plain: float | None = None
    floor: float | None = None
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        """How many times better ours is than the plain form."""
        if self.plain is None:
            return None
        return self.ours / self.plain if self.unit.endswith("/s") else self.plain / self.ours

    @property
    def above_floor(self) -> float | None:
        """How many times worse ours is than the floor."""
        if self.floor is None:
            return None
        return self.floor / self.ours if self.unit.endswith("/s") else self.ours / self.floor

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        value = {"ratio": self.ratio, "ours": self.ours, "floor": self.above_floor}[self.target.of]
        assert value is not None
        return value >= self.target.bound if self.target.least else value <= self.target.bound


def interleaved(forms: Mapping[str, Callable[[], object]], effort: Effort) -> dict[str, float]:
    """Median seconds of a call of every form: each is called once to warm up, then all take turns of ``TURN`` seconds.

    Args:
        forms: functions by name.
        effort: how often.
    """
    for call in forms.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in forms}
    started = time.perf_counter()
    rounds = 0
    while rounds < effort.rounds or time.perf_counter() - started < effort.seconds:
        for name, call in forms.items():
            turn = before = clock()
            while before < turn + TURN:
                call()
                after = clock()
                times[name].append(after - before)
                before = after
        rounds += 1
    return {name: median(taken) for name, taken in times.items()}


def matrix_product() -> Callable[[], object]:
    """A product of float32 matrices, to be timed beside other forms; see :func:`product_rate`."""
    one, other = torch.randn(2, PRODUCT_SIDE, PRODUCT_SIDE, generator=torch.Generator().manual_seed(0))
    out = torch.empty_like(one)
    return lambda: torch.mm(one, other, out=out)


def product_rate(seconds: float) -> float:
    """Floating-point operations a second, given the seconds that :func:`matrix_product` takes."""
    return 2 * PRODUCT_SIDE**3 / seconds


@contextmanager
def counted() -> Iterator[FlopCounterMode]:
    """Counts the floating-point operations of the products inside; on one thread, since those of others go unseen."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with FlopCounterMode(display=False) as counter:
            yield counter
    finally:
        torch.set_num_threads(threads)
