"""Networks of three structured maps with SiLU between them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from citris_cli.core.kernels import library
from citris_cli.core.kernels.structures import Map, Structure

#: Numbers left free after each row of activations: rows that lie a power of two apart take each other's cache lines.
GAP = 16


class Network(ctypes.Structure):
    """``network`` of kernels.c."""

    _fields_ = (
        ("maps", Map * 3),
        ("middle", ctypes.c_void_p),
        ("ld", ctypes.c_int64),
    )


class OfNetwork(ctypes.Structure):
    """``of_network`` of kernels.c."""

    _fields_ = (("weights", ctypes.c_void_p * 3), ("biases", ctypes.c_void_p * 3))


class Networks:
    """Some networks ``W3 SiLU(W2 SiLU(W1 x + b1) + b2) + b3`` of the same rows x, and the gradients.

    Every thread has some of the networks, or, of a single one, some of the rows.

    Args:
        structures: of each network's three maps.
        parameters: W1, b1, W2, b2, W3, b3, each of one network after the other; contiguous float32 on the CPU.
        samples: number of rows N.
    """

    def __init__(self, structures: Sequence[Sequence[Structure]], parameters: Sequence[Tensor], samples: int) -> None:
        count, self._threads = len(structures), torch.get_num_threads()
        self._parts = library.parts_of(samples) if count == 1 else 1
        self._structures, self._width = structures, max(row_width(maps) for maps in structures)
        self._nets = (Network * count)()
        rows = parameters[0].new_empty(count, samples, self._width)
        packed = parameters[0].new_empty(sum(packed_size(maps) for maps in structures))
        self._kept = parameters, rows, packed
        at = packed.data_ptr()
        for number, (net, maps, own) in enumerate(
            zip(self._nets, structures, self._addresses(parameters), strict=True)
        ):
            describe(net, maps, own, rows[number].data_ptr(), self._width, at)
            at += 4 * packed_size(maps)

    def forward(self, x: Tensor, out: Tensor) -> None:
        """The values.

        Args:
            x: rows [N, inputs], contiguous.
            out: takes every network's value, one beside the other, [N, outputs of all], contiguous.
        """
        each = 2 * library.group_rows() * self._width
        room = x.new_empty(self._threads * each)
        library.call(
            "networks_forward", self._threads, self._parts, self._nets, len(self._nets), len(x), x.data_ptr(),
            self._columns(out), out.shape[1], room.data_ptr(), each,
        )  # fmt: skip

    def backward(self, x: Tensor, of_out: Tensor, gradients: Sequence[Tensor]) -> Tensor:
        """The gradient of the rows [N, inputs], and those of the parameters.

        Args:
            x: as in the forward pass.
            of_out: gradient of the values, as these there.
            gradients: take those of the parameters, like them.
        """
        count, n = len(self._nets), len(x)
        of_x = x.new_empty(count, *x.shape)
        others = [library.like(gradients) for _ in range(self._parts - 1)]  # of a single network's parts
        of_nets = (OfNetwork * (count * self._parts))()
        shares = [own for share in (gradients, *others) for own in self._addresses(share)]
        for of_net, own in zip(of_nets, shares, strict=True):
            point(of_net, own)
        each = -(-n // self._parts) * (2 * self._width + library.panel_width())
        room = x.new_empty(self._threads * each)
        library.call(
            "networks_backward", self._threads, self._parts, self._nets, of_nets, count, n, x.data_ptr(),
            self._columns(of_out), of_out.shape[1], of_x.data_ptr(), room.data_ptr(), each,
        )  # fmt: skip
        return of_x[0]

    def _addresses(self, parameters: Sequence[Tensor]) -> list[list[int]]:
        """Of every network, where its weights and biases lie in those of all."""
        at, each = [one.data_ptr() for one in parameters], []
        for maps in self._structures:
            each.append(at)
            sizes = [size for one in maps for size in (one.size, one.outputs)]
            at = [address + 4 * size for address, size in zip(at, sizes, strict=True)]
        return each

    def _columns(self, out: Tensor) -> Any:
        """Where every network's columns begin."""
        at, each = out.data_ptr(), []
        for maps in self._structures:
            each.append(at)
            at += 4 * maps[-1].outputs
        return (ctypes.c_void_p * len(each))(*each)


def row_width(structures: Sequence[Structure]) -> int:
    """Numbers from one row of a network's activations to the next."""
    return max(structures[0].outputs, structures[1].outputs) + GAP


def packed_size(structures: Sequence[Structure]) -> int:
    """Numbers of a network's packed maps."""
    return sum(sum(one.packed) for one in structures)


def describe(
    net: Any, structures: Sequence[Structure], parameters: Sequence[int], rows: int, width: int, at: int
) -> None:
    """Describe a network to the functions of kernels.c.

    Args:
        net: the description, a :class:`Network`.
        structures: of its maps.
        parameters: addresses of W1, b1, W2, b2, W3, b3.
        rows: address of memory for the activations that are kept.
        width: numbers from one row of these to the next.
        at: address of memory for ``packed_size(structures)`` numbers.
    """
    net.middle, net.ld = rows, width
    for number, structure in enumerate(structures):
        net.maps[number] = structure.described(parameters[2 * number], parameters[2 * number + 1], at)
        at += 4 * sum(structure.packed)


def point(gradient: Any, addresses: Sequence[int]) -> None:
    """Where a network's gradients go: in the order of its parameters."""
    gradient.weights[:] = addresses[0::2]
    gradient.biases[:] = addresses[1::2]
