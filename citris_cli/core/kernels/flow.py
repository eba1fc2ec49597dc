"""A normalizing flow."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from citris_cli.core.kernels import library
from citris_cli.core.kernels.networks import Network, OfNetwork, describe, packed_size, point, row_width
from citris_cli.core.kernels.structures import Map, Structure, full


class FlowLayer(NamedTuple):
    """What a layer of a flow learns, with the permutation and the signs; contiguous float32 on the CPU.

    ``u = (x + bias) exp(log_scale) W``, |log_scale| clamped to 3, with ``W = P L (U + diag(sign exp(log_diagonal)))``,
    or the identity where these five are None; then ``y = (u + t) exp(s)``, where t and r, interleaved, are a network's
    of u, and ``s = c tanh(r / max(c, 1))``, ``c = 3 tanh(exp(scaling) / 3)``.

    Attributes:
        own: bias, log_scale and scaling [M], lower and upper [M, M], log_diagonal [M], permutation [M, M], sign [M].
        network: W1, b1, W2, b2, W3, b3 of the network, as in :class:`~citris_cli.core.kernels.networks.Networks`.
    """

    own: Sequence[Tensor | None]
    network: Sequence[Tensor]


#: What a layer has of its own, as :class:`FlowLayer` and ``layer`` of kernels.c name it; the first six are learned.
_OWN = ("bias", "log_scale", "scaling", "lower", "upper", "log_diagonal", "permutation", "sign")
LEARNED = 6


class _Layer(ctypes.Structure):
    """``layer`` of kernels.c."""

    _fields_ = (
        ("net", Network),
        ("linear", Map),
        *((name, ctypes.c_void_p) for name in _OWN),
        *((name, ctypes.c_void_p) for name in ("x", "bound", "weight", "room", "constant", "moved", "out", "y")),
    )


class _OfLayer(ctypes.Structure):
    """``of_layer`` of kernels.c."""

    _fields_ = (
        ("net", OfNetwork),
        *((name, ctypes.c_void_p) for name in _OWN[:LEARNED]),
        *((name, ctypes.c_void_p) for name in ("matrix", "shift", "bound")),
    )


class Flow:
    """Some :class:`FlowLayer` one after the other, and the gradients; every thread has some of the rows.

    Args:
        structures: of the three maps of every network, the last of which has 2 M outputs.
        layers: what they learn.
        samples: number of rows N.
    """

    def __init__(self, structures: Sequence[Structure], layers: Sequence[FlowLayer], samples: int) -> None:
        like = layers[0].network[0]
        latents = layers[0].network[-1].numel() // 2
        self._parts = library.parts_of(samples)
        self._layers = (_Layer * len(layers))()
        #: What goes into the network, what comes out of it, and y.
        self._rows = like.new_empty(len(layers), 4 * samples * latents)
        linear, width = full(latents, latents), row_width(structures)
        #: A, b, c, W, room for W, a constant, and A and the network's maps packed.
        sizes = [latents**2, latents, latents, latents**2, latents * (latents + 2), 1, sum(linear.packed)]
        folded = like.new_empty(len(layers), sum(sizes) + packed_size(structures))
        activations = like.new_empty(len(layers), samples * width)
        self._kept = layers, folded, activations
        for number, (one, layer) in enumerate(zip(self._layers, layers, strict=True)):
            at = list(accumulate((4 * size for size in sizes), initial=folded[number].data_ptr()))
            matrix, shift, one.bound, one.weight, one.room, one.constant, packed, networks_packed = at
            one.linear = linear.described(matrix, shift, packed)
            network = [tensor.data_ptr() for tensor in layer.network]
            describe(one.net, structures, network, activations[number].data_ptr(), width, networks_packed)
            for name, tensor in zip(_OWN, layer.own, strict=True):
                setattr(one, name, library.address(tensor))
            one.moved = self._rows[number].data_ptr()
            one.out = one.moved + 4 * samples * latents
            one.y = one.out + 8 * samples * latents

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [N, M], contiguous, which the gradients will need -> z [N, M] and ldj = -log|det dz/dx| [N]."""
        ldj = x.new_empty(len(x))
        for number, layer in enumerate(self._layers):
            layer.x = self._layers[number - 1].y if number else x.data_ptr()
        each = 2 * library.group_rows() * self._layers[0].net.ld
        room = x.new_empty(self._parts * each)
        library.call(
            "flow_forward", self._parts, self._layers, len(self._layers), len(x), ldj.data_ptr(), room.data_ptr(), each
        )
        return self._rows[-1][3 * x.numel() :].view_as(x), ldj

    def backward(self, of_z: Tensor, of_ldj: Tensor) -> tuple[Tensor, list[FlowLayer]]:
        """Gradients of x and of what the layers learn, without permutation and signs.

        Args:
            of_z, of_ldj: gradients of the values [N, M] and [N], contiguous.
        """
        (n, latents), layers = of_z.shape, self._kept[0]
        of_x = torch.empty_like(of_z)
        first = [
            FlowLayer(
                [None if one is None else torch.empty_like(one) for one in layer.own[:LEARNED]],
                library.like(layer.network),
            )
            for layer in layers
        ]
        of_layers = (_OfLayer * (self._parts * len(layers)))()
        sizes = [tensor.numel() for tensor in layers[0].network]
        #: Of A, b and c, for which nobody asks, and, of all parts but the first, of the networks.
        folded = of_z.new_empty(len(of_layers), latents**2 + 2 * latents)
        others = of_z.new_empty(len(of_layers) - len(layers), sum(sizes))
        for number, one in enumerate(of_layers):
            one.matrix = folded.data_ptr() + 4 * number * folded.shape[1]
            one.shift = one.matrix + 4 * latents**2
            one.bound = one.shift + 4 * latents
            if number < len(layers):
                point(one.net, [tensor.data_ptr() for tensor in first[number].network])
                for name, tensor in zip(_OWN, first[number].own, strict=False):
                    setattr(one, name, library.address(tensor))
            else:
                at = others.data_ptr() + 4 * (number - len(layers)) * others.shape[1]
                point(one.net, list(accumulate((4 * size for size in sizes[:-1]), initial=at)))
        each = -(-n // self._parts) * (5 * latents + 2 * self._layers[0].net.ld + library.panel_width())
        room = of_z.new_empty(self._parts * each)
        library.call(
            "flow_backward", self._parts, self._layers, of_layers, len(layers), n, of_z.data_ptr(), of_ldj.data_ptr(),
            of_x.data_ptr(), room.data_ptr(), each,
        )  # fmt: skip
        return of_x, first


def affine_inverse(structures: Sequence[Structure], network: Sequence[Tensor], bound: Tensor, y: Tensor) -> Tensor:
    """The inverse of ``y = (x + t) exp(s)``, with t and s as in :class:`FlowLayer`; all contiguous, no gradient.

    Args:
        structures: of the network's three maps, as ``structures.autoregressive`` gives them.
        network: W1, b1, W2, b2, W3, b3.
        bound: c [M].
        y: [N, M].

    Returns:
        x [N, M].
    """
    net, x = Network(), torch.empty_like(y)
    describe(net, structures, [tensor.data_ptr() for tensor in network], 0, 0, 0)
    parts, each = library.parts_of(len(y)), structures[0].outputs + structures[1].outputs
    room = y.new_empty(parts * each)
    library.call(
        "affine_inverse", parts, ctypes.byref(net), bound.data_ptr(), len(y), y.data_ptr(), x.data_ptr(),
        room.data_ptr(), each,
    )  # fmt: skip
    return x
