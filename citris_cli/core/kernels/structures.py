"""Linear maps of which every output sees some neighbouring inputs, as the functions of kernels.c take them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from citris_cli.core.kernels import library


class Map(ctypes.Structure):
    """``map`` of kernels.c."""

    _fields_ = (
        ("w", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("lo", ctypes.c_void_p),
        ("hi", ctypes.c_void_p),
        ("panels", ctypes.c_void_p),
        ("panels_back", ctypes.c_void_p),
        ("packed", ctypes.c_void_p),
        ("packed_back", ctypes.c_void_p),
        ("ldw", ctypes.c_int64),
        ("own", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("count", ctypes.c_int64),
        ("count_back", ctypes.c_int64),
    )


class Structure:
    """Which inputs each output of a linear map sees: neighbouring ones, the same or later ones for every next output.

    Args:
        ranges: the first input that an output sees, and the one after the last, output by output.
        inputs: number of inputs.
        own: 0, or of how many neighbouring outputs each equally many inputs are seen that no other output sees: a row
            of the weight then holds only these. Otherwise it has a column for every input.
    """

    def __init__(self, ranges: Sequence[tuple[int, int]], inputs: int, own: int = 0) -> None:
        self.outputs, self.inputs, self.own = len(ranges), inputs, own
        self.low, self.high = torch.tensor(ranges, dtype=torch.int32).T.contiguous().unbind(0)
        every = torch.arange(inputs, dtype=torch.int32)
        # Both ends never go down: an input is seen from the first output that ends behind it to the last that begins
        # at or before it.
        seen_by = list(
            zip(
                torch.searchsorted(self.high, every, right=True).tolist(),
                torch.searchsorted(self.low, every, right=True).tolist(),
                strict=True,
            )
        )
        width = library.panel_width()
        #: Of the products with W^T and with W: ``panel`` of kernels.c [P, 6].
        self.panels = _panels(ranges, width), _panels(seen_by, width)
        #: Numbers that the panels hold when they are packed.
        self.packed = tuple(width * int((panels[:, 5] - panels[:, 2]).sum()) for panels in self.panels)
        row = ranges[0][1] - ranges[0][0] if own else inputs
        #: Numbers of the weight.
        self.size = self.outputs * row
        self._described = Map(
            lo=self.low.data_ptr(), hi=self.high.data_ptr(), own=own, ldw=row, outputs=self.outputs, inputs=inputs,
            panels=self.panels[0].data_ptr(), panels_back=self.panels[1].data_ptr(),
            count=len(self.panels[0]), count_back=len(self.panels[1]),
        )  # fmt: skip

    def described(self, weight: int, bias: int, packed: int) -> Map:
        """A map of this structure for the functions of kernels.c.

        Args:
            weight: address of the weight, contiguous; what no output sees is not looked at.
            bias: address of the bias.
            packed: address of memory for ``sum(packed)`` numbers.
        """
        one = Map.from_buffer_copy(self._described)
        one.w, one.bias, one.packed, one.packed_back = weight, bias, packed, packed + 4 * self.packed[0]
        return one


def _panels(ranges: Sequence[tuple[int, int]], width: int) -> Tensor:
    panels = []
    for column in range(0, len(ranges), width):
        halves = ranges[column : column + width // 2], ranges[column + width // 2 : column + width]
        (first, stop), (later, end) = (_union(half) for half in halves)
        if later >= end:
            later = end = stop
        if first >= stop:
            first = stop = later
        # A gap between the two is summed over as well, where it is all zeros.
        panels.append((column, min(width, len(ranges) - column), first, min(later, stop), stop, end))
    return torch.tensor(panels, dtype=torch.int32)


def _union(ranges: Sequence[tuple[int, int]]) -> tuple[int, int]:
    seen = [(low, high) for low, high in ranges if high > low]
    return min((low for low, _ in seen), default=0), max((high for _, high in seen), default=0)


@lru_cache
def autoregressive(outputs: int, inputs: int, variables: int, strict: bool) -> Structure:
    """A masked map between blocks of ``inputs`` and of ``outputs`` a variable, weight [M outputs, M inputs].

    A block sees those of earlier variables and, unless ``strict``, its own variable's.
    """
    ranges = [(0, (i + (not strict)) * inputs) for i in range(variables) for _ in range(outputs)]
    return Structure(ranges, inputs * variables)


@lru_cache
def separate(outputs: int, inputs: int, number: int) -> Structure:
    """Maps side by side, each from inputs to outputs of its own: weight [number, outputs, inputs]."""
    ranges = [(i * inputs, (i + 1) * inputs) for i in range(number) for _ in range(outputs)]
    return Structure(ranges, inputs * number, own=outputs)


@lru_cache
def full(outputs: int, inputs: int) -> Structure:
    """A map of which all outputs see all inputs: weight [outputs, inputs], or of more dimensions in the same order."""
    return Structure([(0, inputs)] * outputs, inputs)
