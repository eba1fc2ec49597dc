"""A flow's layers one after the other, and the inverse of an autoregressive affine map.

Compiled, all layers are one call each way: ActNorms and linear maps are folded into one matrix, and every thread takes
some of the rows through all layers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from citris_cli.core.ops import library
from citris_cli.core.ops.c_types import LAYER_LEARNED, LAYER_OWN, Layer, Network, OfLayer
from citris_cli.core.ops.networks import LinearMap, Structure, describe, follow, full, packed_size, point, row_width

#: Parameters of a network: W1, b1, W2, b2, W3, b3.
A_NETWORK = 6
#: Points of a thread up to which the compiled inverse, one point after the other, is faster than PyTorch's products.
MOST_POINTS = 256


class Transform(Protocol):
    """An invertible map."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [N, M] -> z [N, M] and ldj = -log|det dz/dx| [N]."""


class FlowLayer(NamedTuple):
    """What a layer of a flow learns, with the permutation and the signs; contiguous float32 on the CPU.

    ``u = (x + bias) exp(log_scale) W``, |log_scale| clamped to 3, with ``W = P L (U + diag(sign exp(log_diagonal)))``,
    or the identity where these five are None; then ``y = (u + t) exp(s)``, where t and r, interleaved, are a network's
    of u, and ``s = c tanh(r / max(c, 1))``, ``c = 3 tanh(exp(scaling) / 3)``.

    Attributes:
        own: bias, log_scale and scaling [M], lower and upper [M, M], log_diagonal [M], permutation [M, M], sign [M].
        network: W1, b1, W2, b2, W3, b3 of the network, as in :class:`~citris_cli.core.ops.networks.Networks`.
    """

    own: Sequence[Tensor | None]
    network: Sequence[Tensor]

    @classmethod
    def flat(cls, tensors: Sequence[Tensor | None]) -> list[FlowLayer]:
        """Layers from all their tensors one after the other."""
        each = len(LAYER_OWN) + A_NETWORK
        starts = range(0, len(tensors), each)
        return [cls(tensors[i : i + each - A_NETWORK], tensors[i + each - A_NETWORK : i + each]) for i in starts]  # type: ignore[arg-type]


def composed(
    x: Tensor,
    transforms: Sequence[Transform],
    described: Callable[[], tuple[Sequence[Structure], Sequence[FlowLayer]]],
) -> tuple[Tensor, Tensor]:
    """Transforms one after the other: x [N, M] -> z [N, M] and the sum of their ldj = -log|det dz/dx| [N].

    Args:
        x: rows.
        transforms: the maps.
        described: the same as layers of which each is an ActNorm, an invertible linear map or none, and an
            autoregressive affine map; with the structures of the three maps of every network, which are alike.
    """
    if not transforms or x.dim() != 2 or not library.usable(x):
        return composed_reference(x, transforms)
    structures, layers = described()
    if not library.usable(layers[0].network[0]) or 2 * x.shape[-1] != layers[0].network[-1].numel():
        return composed_reference(x, transforms)
    return _Composed.apply(x, structures, *[one for layer in layers for one in (*layer.own, *layer.network)])


def composed_reference(x: Tensor, transforms: Sequence[Transform]) -> tuple[Tensor, Tensor]:
    """:func:`composed` by PyTorch."""
    total = x.new_zeros(len(x))
    for transform in transforms:
        x, ldj = transform(x)
        total = total + ldj
    return x, total


def affine_inverse(z: Tensor, maps: Sequence[LinearMap], bound: Tensor) -> Tensor:
    """The inverse of ``z = (x + t) exp(s)``: ``t_i`` and ``s_i`` are a masked network's of x_1 … x_{i-1}; no gradient.

    The network's outputs are interleaved ``[t_0, r_0, t_1, r_1, …]`` and ``s = c tanh(r / max(c, 1))``.

    Args:
        z: rows [N, M].
        maps: the network's three maps, the first of them strictly autoregressive.
        bound: c [M].

    Returns:
        x [N, M].
    """
    few = z.dim() == 2 and len(z) <= MOST_POINTS * torch.get_num_threads()
    if few and library.usable(z, bound) and bound.shape == z.shape[1:] and follow(len(bound), maps):
        return _compiled_affine_inverse(z.contiguous(), maps, bound.contiguous())
    return affine_inverse_reference(z, maps, bound)


def affine_inverse_reference(z: Tensor, maps: Sequence[LinearMap], bound: Tensor) -> Tensor:
    """:func:`affine_inverse` by PyTorch: sequential in the variables, for about the cost of one masked forward pass.

    Variable i needs only the hidden units of variables up to i, and these never change again once x_1 … x_{i-1} are
    known: each step computes one new block of units in each layer from the blocks that are there already. Everything is
    held transposed, [units, N], so that a block is a contiguous slice of rows.
    """
    if z.dim() != 2 or bound.shape != z.shape[1:]:
        raise ValueError(f"rows [N, {len(bound)}] are needed, and these are {list(z.shape)}")
    rows, latents = z.shape
    width = len(maps[0].bias) // latents
    (w1, b1), (w2, b2), (w3, b3) = ((_masked(one), one.bias.clone()) for one in maps)
    # Signs and the division inside the tanh are folded into the last layer, which then gives -t and -s: with few
    # points, what costs is the number of operations a step.
    w3.neg_()
    b3.neg_()
    w3[1::2] /= bound.clamp_min(1.0)[:, None]
    b3[1::2] /= bound.clamp_min(1.0)
    x = z.new_empty(latents, rows)
    first, middle = z.new_empty(2, latents * width, rows)
    columns = z.T.contiguous()
    for i, c in enumerate(bound.tolist()):
        own, seen, two = slice(i * width, (i + 1) * width), slice((i + 1) * width), slice(2 * i, 2 * i + 2)
        torch.addmm(b1[own, None], w1[own, :i], x[:i], out=first[own])
        functional.silu(first[own], inplace=True)
        torch.addmm(b2[own, None], w2[own, seen], first[seen], out=middle[own])
        functional.silu(middle[own], inplace=True)
        shift, log_scale = torch.addmm(b3[two, None], w3[two, seen], middle[seen]).unbind(0)
        torch.addcmul(shift, columns[i], log_scale.tanh_().mul_(c).exp_(), out=x[i])
    return x.T.contiguous()


def _masked(one: LinearMap) -> Tensor:
    """A copy of its weight, zero where it is masked."""
    return one.weight.clone() if one.mask is None else one.weight * one.mask


def _compiled_affine_inverse(z: Tensor, maps: Sequence[LinearMap], bound: Tensor) -> Tensor:
    structures = [one.structure() for one in maps]
    parameters = [part.contiguous() for one in maps for part in (one.weight, one.bias)]
    net, x = Network(), torch.empty_like(z)
    describe(net, structures, [part.data_ptr() for part in parameters], 0, 0, 0)
    parts, each = library.number_of_parts(len(z)), structures[0].outputs + structures[1].outputs
    room = z.new_empty(parts * each)
    library.call(
        "affine_inverse", parts, ctypes.byref(net), bound.data_ptr(), len(z), z.data_ptr(), x.data_ptr(),
        room.data_ptr(), each,
    )  # fmt: skip
    return x


class _Composed(torch.autograd.Function):
    """The compiled :func:`composed`, and its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, structures: Sequence[Structure], *learned: Tensor | None) -> tuple[Tensor, Tensor]:
        x = x.contiguous()
        layers = FlowLayer.flat([None if one is None else one.contiguous() for one in learned])
        ctx.flow = Flow(structures, layers, len(x))
        ctx.save_for_backward(x, *learned)
        return ctx.flow.forward(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_ldj: Tensor) -> tuple[Tensor | None, ...]:
        library.require_unchanged(ctx)
        of_x, layers = ctx.flow.backward(of_z.contiguous(), of_ldj.contiguous())
        return of_x, None, *[one for layer in layers for one in (*layer.own, None, None, *layer.network)]


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
        self._parts = library.number_of_parts(samples)
        self._layers = (Layer * len(layers))()
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
            for name, place in zip(LAYER_OWN, library.addresses(layer.own), strict=True):
                setattr(one, name, place)
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
                [None if one is None else torch.empty_like(one) for one in layer.own[:LAYER_LEARNED]],
                library.like(layer.network),
            )
            for layer in layers
        ]
        of_layers = (OfLayer * (self._parts * len(layers)))()
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
                for name, place in zip(LAYER_OWN, library.addresses(first[number].own), strict=False):
                    setattr(one, name, place)
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
