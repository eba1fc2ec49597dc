"""Parts of one computation side by side, each in a thread of PyTorch's that computes alone.

PyTorch shares out every single operation, and its threads meet after each. Where operations are small, meeting takes
longer than they do; parts that go through a whole chain of them on their own meet once, at its end. The threads are
PyTorch's, by OpenMP: after an operation they wait busily for the next one, and threads of our own would have to share
the cores with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from citris_cli.core.ops import library

Part = TypeVar("Part")
Result = TypeVar("Result")


def parts_of(size: int, least: int) -> list[slice]:
    """Neighbouring parts of ``size`` things, alike in size: one a thread, but none of fewer than ``least`` things."""
    number = library.number_of_parts(size, least)
    return [slice(size * i // number, size * (i + 1) // number) for i in range(number)]


def side_by_side(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """What ``work`` gives for each part, computed without gradients, all at the same time.

    What PyTorch computes in them it computes without further threads. Several parts need the compiled functions.
    """
    done: dict[int, Result] = {}
    errors: list[BaseException] = []

    def one(number: int) -> None:
        try:
            with torch.no_grad():
                done[number] = work(parts[number])
        except BaseException as error:  # which has no way through a thread that is not Python's
            errors.append(error)

    if len(parts) == 1:
        one(0)
    else:
        library.functions().side_by_side(len(parts), library.PART(one))
    if errors:
        raise errors[0]
    return [done[number] for number in range(len(parts))]
