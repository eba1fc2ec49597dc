"""Parts of one computation side by side, each in a thread that computes alone.

PyTorch shares out every single operation, and its threads meet after each. Where operations are small, meeting takes
longer than they do; parts that go through a whole chain of them on their own meet once, at its end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


def parts_of(size: int, least: int) -> list[slice]:
    """Neighbouring parts of ``size`` things, alike in size: one a thread, but none of fewer than ``least`` things."""
    number = max(1, min(torch.get_num_threads(), size // least))
    return [slice(size * i // number, size * (i + 1) // number) for i in range(number)]


def side_by_side(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """What ``work`` gives for each part, computed without gradients, all at the same time."""

    def without_gradients(part: Part) -> Result:
        with torch.no_grad():
            return work(part)

    first, *others = parts
    if not others:
        return [without_gradients(first)]
    threads = torch.get_num_threads()
    each = max(1, threads // len(parts))
    pool = _pool(len(others), each)
    futures = [pool.submit(without_gradients, part) for part in others]
    torch.set_num_threads(each)
    try:
        own = without_gradients(first)
    finally:
        torch.set_num_threads(threads)
        wait(futures)
    return [own, *[future.result() for future in futures]]


@lru_cache
def _pool(number: int, each: int) -> ThreadPoolExecutor:
    """A number of threads beside the one that asks, each with so many of PyTorch's own."""
    started = threading.Barrier(number + 1)

    def begin() -> None:
        torch.set_num_threads(each)
        torch.get_num_threads()  # a thread that asks for the first time takes over the number that was set last
        started.wait()

    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(number, "citris", begin)
    for _ in range(number):
        pool.submit(int)
    started.wait()
    torch.set_num_threads(before)  # which is what a thread of somebody else's takes over that begins later
    return pool
