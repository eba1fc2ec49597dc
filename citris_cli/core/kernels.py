"""What PyTorch has no fast form of on a CPU, by the C functions of ``kernels.c``.

Networks of three structured maps, forward and backward, and the transforms of Winograd's convolution.

They are compiled when the package is installed, where there is a C compiler, for x86-64 processors with AVX2 or
AVX-512. Elsewhere :func:`usable` says no, and the same networks are PyTorch's to compute and to differentiate.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

#: Numbers left free after each row of activations: rows that lie a power of two apart take each other's cache lines.
GAP = 16
#: What kernels.c and this module have in common; a file compiled of another kernels.c is not used.
INTERFACE = 2


def usable(*tensors: Tensor) -> bool:
    """Whether there are functions for rows x and their weights: all in float32, on a CPU that has what it takes."""
    return (
        all(one.device.type == "cpu" and one.dtype == torch.float32 and one.numel() > 0 for one in tensors)
        and not torch.is_autocast_enabled("cpu")
        and level() > 0
    )


class Structure:
    """Which inputs each output of a linear map sees: neighbouring ones, the same or later ones for every next output.

    Args:
        ranges: the first input that an output sees, and the one after the last, output by output.
        inputs: number of inputs.
        own: whether a row of the weight holds only what its output sees; else it has a column for every input.
    """

    def __init__(self, ranges: Sequence[tuple[int, int]], inputs: int, own: bool = False) -> None:
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
        width = _library().panel_width(level())
        #: Of the products with W^T and with W: first column, number of columns, first and last + 1 of the sum [P, 4].
        self.panels = _panels(ranges, width), _panels(seen_by, width)
        #: Numbers that the panels hold when they are packed.
        self.packed = tuple(width * int((panels[:, 3] - panels[:, 2]).sum()) for panels in self.panels)


def _panels(ranges: Sequence[tuple[int, int]], width: int) -> Tensor:
    panels = []
    for column in range(0, len(ranges), width):
        part = [(low, high) for low, high in ranges[column : column + width] if high > low]
        first, stop = min((low for low, _ in part), default=0), max((high for _, high in part), default=0)
        panels.append((column, min(width, len(ranges) - column), first, stop))
    return torch.tensor(panels, dtype=torch.int32)


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
    return Structure(ranges, inputs * number, own=True)


@lru_cache
def full(outputs: int, inputs: int) -> Structure:
    """A map of which all outputs see all inputs: weight [outputs, inputs], or of more dimensions in the same order."""
    return Structure([(0, inputs)] * outputs, inputs)


class Network:
    """``W3 SiLU(W2 SiLU(W1 x + b1) + b2) + b3`` of a number of rows x, and the gradients.

    Parts of the rows may be computed at the same time. Before a pass, its weights have to be packed.

    Args:
        structures: of the three maps.
        parameters: W1, b1, W2, b2, W3, b3, contiguous float32 on the CPU.
        samples: number of rows of all parts together.
    """

    def __init__(self, structures: Sequence[Structure], parameters: Sequence[Tensor], samples: int) -> None:
        like = parameters[0]
        self._width = max(structures[0].outputs, structures[1].outputs) + GAP
        #: What goes into the two activations; the activations themselves are computed where they are read.
        self._first, self._middle = (like.new_empty(samples, self._width) for _ in range(2))
        self._kept = structures, parameters, like.new_empty(sum(sum(structure.packed) for structure in structures))
        self._maps = (_Map * 3)()
        at = self._kept[2].data_ptr()
        for one, structure, weight, bias in zip(
            self._maps, structures, parameters[0::2], parameters[1::2], strict=True
        ):
            one.w, one.bias, one.ldw, one.own = weight.data_ptr(), bias.data_ptr(), weight.stride(-2), structure.own
            one.lo, one.hi = structure.low.data_ptr(), structure.high.data_ptr()
            one.outputs, one.inputs = structure.outputs, structure.inputs
            one.panels, one.panels_back = (panels.data_ptr() for panels in structure.panels)
            one.count, one.count_back = (len(panels) for panels in structure.panels)
            one.packed, one.packed_back = at, at + 4 * structure.packed[0]
            at += 4 * sum(structure.packed)

    def pack(self, backward: bool) -> None:
        """Bring the weights into the order in which the forward or the backward pass reads them."""
        _library().pack(level(), self._maps, 3, backward)

    def forward(self, x: Tensor, part: slice, out: Tensor) -> None:
        """The value of some rows.

        Args:
            x: these rows [n, inputs], each contiguous.
            part: where they lie among all.
            out: takes the value [n, outputs], each row contiguous.
        """
        room = x.new_empty(_library().group_rows(level()) * self._width)
        _library().network_forward(
            level(), self._maps, len(x), *_at(x), self._first[part].data_ptr(), self._middle[part].data_ptr(),
            self._width, *_at(out), room.data_ptr(),
        )  # fmt: skip

    def backward(self, x: Tensor, part: slice, of_out: Tensor, of_x: Tensor, gradients: Sequence[Tensor]) -> None:
        """The gradients of the same rows and, these rows' share of them, of the parameters.

        Args:
            x, part: as in the forward pass.
            of_out: gradient of the value [n, outputs], each row contiguous.
            of_x: takes that of x [n, inputs], contiguous.
            gradients: take those of the parameters, like them.
        """
        n = len(x)
        room = x.new_empty(2 * n * self._width + n * _library().panel_width(level()))
        pointers = ctypes.c_void_p * 3
        _library().network_backward(
            level(), self._maps, n, *_at(x), self._first[part].data_ptr(), self._middle[part].data_ptr(), self._width,
            *_at(of_out), of_x.data_ptr(), pointers(*[one.data_ptr() for one in gradients[0::2]]),
            pointers(*[one.data_ptr() for one in gradients[1::2]]), room.data_ptr(),
        )  # fmt: skip


def affine(x: Tensor, net: Tensor, bound: Tensor, y: Tensor, ldj: Tensor) -> None:
    """``y = (x + t) exp(s)`` and ``ldj -= sum_i s_i`` with ``s = c tanh(r / max(c, 1))``, all contiguous.

    Args:
        x: [n, M].
        net: t and r, interleaved [n, 2 M].
        bound: c [M].
        y, ldj: take the results [n, M] and [n].
    """
    _library().affine(level(), *x.shape, x.data_ptr(), net.data_ptr(), bound.data_ptr(), y.data_ptr(), ldj.data_ptr())


def affine_backward(
    net: Tensor, bound: Tensor, y: Tensor, of_y: Tensor, of_ldj: Tensor, of_net: Tensor, of_x: Tensor, of_bound: Tensor
) -> None:
    """Gradients of :func:`affine` for those of y and ldj.

    With ``u = tanh(r / d)``, ``d = max(c, 1)`` and gradients marked by a star: ``t* = x* = y* exp(s)``,
    ``s* = y* y - ldj*``, ``r* = s* c (1 - u^2) / d``, ``c* = sum_n s* u - [c >= 1] r* r / d``.

    Args:
        net, bound, y: as there.
        of_y, of_ldj: [n, M] and [n], contiguous.
        of_net, of_x, of_bound: take the gradients; that of x without what flows through net.
    """
    tensors = net, bound, y, of_y, of_ldj, of_net, of_x, of_bound
    _library().affine_backward(level(), *y.shape, *[tensor.data_ptr() for tensor in tensors])


def winograd_windows(images: Tensor, top: int, rows: int, values: Tensor) -> None:
    """``B^T d B`` of the 6x6 windows around the 4x4 tiles of some rows; see :mod:`citris_cli.core.winograd`.

    Args:
        images: [b, H, W, C], contiguous, with at least 16 channels.
        top, rows: the first of these rows, and how many they are, of all images.
        values: takes the values [36, tiles, C].
    """
    _library().winograd_windows(level(), *images.shape, images.data_ptr(), top, rows, values.data_ptr())


def winograd_gather(images: Tensor, top: int, rows: int, values: Tensor, bias: Tensor | None = None) -> None:
    """``A^T m A`` of values, plus a bias [C], into the tiles of some rows; arguments as in the function above."""
    address = None if bias is None else bias.data_ptr()
    _library().winograd_gather(level(), *images.shape, images.data_ptr(), top, rows, values.data_ptr(), address)


def winograd_spread(images: Tensor, top: int, rows: int, values: Tensor) -> None:
    """``A y A^T`` of the tiles of some rows; arguments as in the functions above."""
    _library().winograd_spread(level(), *images.shape, images.data_ptr(), top, rows, values.data_ptr())


@lru_cache
def level() -> int:
    """2 with AVX-512, 1 with AVX2, 0 where nothing was compiled or the processor has neither."""
    return 0 if _library() is None else _library().level()


def _at(rows: Tensor) -> tuple[int, int]:
    """Address of a matrix and numbers from row to row."""
    return rows.data_ptr(), rows.stride(0)


class _Map(ctypes.Structure):
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


@lru_cache
def _library() -> Any:
    """The compiled functions, or None."""
    here = Path(__file__).parent
    path = next((path for suffix in EXTENSION_SUFFIXES if (path := here / f"_kernels{suffix}").exists()), None)
    if path is None:
        return None
    try:
        library: Any = ctypes.CDLL(str(path))
    except OSError:  # of another machine
        return None
    if getattr(library, f"interface_{INTERFACE}", None) is None:
        return None
    if library.level() == 0:
        return library
    whole, size, address, maps = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p, ctypes.POINTER(_Map)
    images = [whole, size, size, size, size, address, size, size]
    network = [whole, maps, size, address, size, address, address, size, address, size]
    for function, arguments in (
        (library.pack, [whole, maps, size, whole]),
        (library.network_forward, [*network, address]),
        (library.network_backward, [*network, *[address] * 4]),
        (library.affine, [whole, size, size, *[address] * 5]),
        (library.affine_backward, [whole, size, size, *[address] * 8]),
        (library.winograd_windows, [*images, address]),
        (library.winograd_gather, [*images, address, address]),
        (library.winograd_spread, [*images, address]),
    ):
        function.restype, function.argtypes = None, arguments
    for function in (library.panel_width, library.group_rows):
        function.restype, function.argtypes = size, [whole]
    return library
