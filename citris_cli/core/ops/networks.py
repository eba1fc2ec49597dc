"""Networks ``W3 SiLU(W2 SiLU(W1 x + b1) + b2) + b3`` whose maps are masked, or separate for every latent.

Libraries multiply by the zeros of such maps, or take their blocks one by one; the compiled form sums over what every
output sees. Of a network's activations it keeps one and computes the others again for the gradients.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from citris_cli.core.ops import library
from citris_cli.core.ops.c_types import Map, Network, OfNetwork

#: Numbers left free after each row of activations: rows that lie a power of two apart take each other's cache lines.
GAP = 16
#: Separate networks that are computed together, at most: what they compute stays in a second-level cache.
TOGETHER = 8


class Blocks(NamedTuple):
    """A masked map between blocks of neighbouring features, one block a variable.

    Attributes:
        outputs, inputs: features of a block.
        variables: number of blocks M.
        strict: whether a block sees those of earlier variables alone, or its own variable's too.
    """

    outputs: int
    inputs: int
    variables: int
    strict: bool


class LinearMap(NamedTuple):
    """A linear map; of three of them, with SiLU in between, a network is made.

    Attributes:
        weight: [outputs, inputs].
        bias: [outputs].
        mask: 0 or 1 like the weight, or None where every output sees every input.
        blocks: what the mask says; None without one.
    """

    weight: Tensor
    bias: Tensor
    mask: Tensor | None = None
    blocks: Blocks | None = None

    def structure(self) -> Structure:
        """The same for the compiled functions."""
        return full(*self.weight.shape) if self.blocks is None else autoregressive(*self.blocks)


def network(x: Tensor, maps: Sequence[LinearMap]) -> Tensor:
    """``W3 SiLU(W2 SiLU(W1 x + b1) + b2) + b3``, with masked weights where there are masks.

    Args:
        x: rows [..., inputs].
        maps: the three maps.

    Returns:
        [..., outputs].
    """
    parameters = [part for one in maps for part in (one.weight, one.bias)]
    if not (library.usable(x, *parameters) and x.dim() > 0 and follow(x.shape[-1], maps)):
        return network_reference(x, maps)
    structures = [one.structure() for one in maps]
    return _Network.apply(x.reshape(-1, x.shape[-1]), structures, *parameters).view(*x.shape[:-1], -1)


def network_reference(x: Tensor, maps: Sequence[LinearMap]) -> Tensor:
    """:func:`network` by PyTorch."""
    for number, one in enumerate(maps):
        weight = one.weight if one.mask is None else one.weight * one.mask
        x = functional.linear(functional.silu(x) if number else x, weight, one.bias)
    return x


def follow(inputs: int, maps: Sequence[LinearMap]) -> bool:
    """Whether maps follow one on the other from so many inputs on, with weights as large as their blocks say."""
    for one in maps:
        structure = one.structure()
        if one.weight.shape != (structure.outputs, inputs) or structure.inputs != inputs:
            return False
        inputs = structure.outputs
        if one.bias.shape != (inputs,):
            return False
    return True


def separate_networks(x: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """M networks of the same rows, each with weights of its own.

    Args:
        x: rows [..., inputs].
        parameters: W1 [M, c, inputs], b1 [M, c], W2 [M, c, c], b2 [M, c], W3 [M, outputs, c], b3 [M, outputs].

    Returns:
        [..., M, outputs].
    """
    (number, hidden), outputs = parameters[1].shape, parameters[5].shape[-1]
    shapes = [(number, hidden, x.shape[-1]), (number, hidden), (number, hidden, hidden), (number, hidden)]
    shapes += [(number, outputs, hidden), (number, outputs)]
    if not library.usable(x, *parameters) or [one.shape for one in parameters] != shapes:
        return separate_networks_reference(x, parameters)
    values = _SeparateNetworks.apply(x.reshape(-1, x.shape[-1]), *parameters)
    return values.view(*x.shape[:-1], number, outputs)


def separate_networks_reference(x: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """:func:`separate_networks` by PyTorch."""
    w1, b1, w2, b2, w3, b3 = parameters
    # Samples come last, so that every product is a wide one and nothing is rearranged in between; the copy makes the
    # product for the columns' gradient faster, too.
    columns = x.reshape(-1, x.shape[-1]).T.contiguous()
    first = torch.addmm(b1.reshape(-1, 1), w1.flatten(0, 1), columns).view(*b1.shape, -1)
    middle = torch.baddbmm(b2.unsqueeze(2), w2, functional.silu(first))
    out = torch.baddbmm(b3.unsqueeze(2), w3, functional.silu(middle))  # [M, outputs, N]
    return out.permute(2, 0, 1).reshape(*x.shape[:-1], *b3.shape)


class _Network(torch.autograd.Function):
    """The compiled :func:`network` of rows [N, inputs], and its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, structures: Sequence[Structure], *parameters: Tensor) -> Tensor:
        x = x.contiguous()
        out = x.new_empty(len(x), structures[2].outputs)
        ctx.networks = Networks([structures], [one.contiguous() for one in parameters], len(x))
        ctx.networks.forward(x, out)
        ctx.save_for_backward(x, *parameters)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_out: Tensor) -> tuple[Tensor | None, ...]:
        x, *parameters = ctx.saved_tensors
        gradients = library.like(parameters)
        return ctx.networks.backward(x, of_out.contiguous(), gradients), None, *gradients


class _SeparateNetworks(torch.autograd.Function):
    """The compiled :func:`separate_networks` of rows [N, inputs], one beside the other, and its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        x = x.contiguous()
        number, hidden, inputs = parameters[0].shape
        outputs = parameters[4].shape[1]
        out = x.new_empty(len(x), number * outputs)
        threads = torch.get_num_threads()
        pieces = threads * -(-number // (threads * TOGETHER))  # as many for every thread
        size = -(-number // pieces)
        structures = [
            (full(some * hidden, inputs), separate(hidden, hidden, some), separate(outputs, hidden, some))
            for some in (min(size, number - first) for first in range(0, number, size))
        ]
        ctx.networks = Networks(structures, [one.contiguous() for one in parameters], len(x))
        ctx.networks.forward(x, out)
        ctx.save_for_backward(x, *parameters)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_out: Tensor) -> tuple[Tensor, ...]:
        x, *parameters = ctx.saved_tensors
        gradients = library.like(parameters)
        return ctx.networks.backward(x, of_out.contiguous(), gradients), *gradients


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
        self._parts = library.number_of_parts(samples) if count == 1 else 1
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
