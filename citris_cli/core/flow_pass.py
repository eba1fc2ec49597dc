"""A whole flow as one function that PyTorch can differentiate, for a CPU; see :mod:`citris_cli.core.kernels`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from citris_cli.core import kernels
from citris_cli.core.kernels import Network, Structure
from citris_cli.core.structured import LEAST_ROWS, like, total
from citris_cli.core.threads import parts_of, side_by_side

#: Parameters of a layer's network: W1, b1, W2, b2, W3, b3.
A_NETWORK = 6


class _Layer(NamedTuple):
    """One layer's parameters and what it computes."""

    matrix: Tensor
    bound: Tensor
    network: Network
    x: Tensor
    moved: Tensor
    net: Tensor
    y: Tensor


class FlowPass(torch.autograd.Function):
    """F layers of ``u = x A + b`` and ``y = (u + t) exp(s)``, every thread all layers of some rows.

    t and r, interleaved, are a masked network's of u, and ``s = c tanh(r / max(c, 1))``. Actnorms and the maps between
    them are in A and b; their constant log-determinants are not counted here.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        structures: Sequence[Structure],
        matrices: Tensor,
        shifts: Tensor,
        bounds: Tensor,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """x [N, M] -> z [N, M] and ``-sum s`` over all layers and variables [N].

        Args:
            ctx: what the backward pass needs.
            x: rows, float32.
            structures: of the three maps of every network.
            matrices, shifts, bounds: A [F, M, M], b [F, M] and c [F, M] of all layers.
            parameters: of all networks, :data:`A_NETWORK` each.
        """
        x = x.contiguous()
        rows, latents = x.shape
        ldj = x.new_zeros(rows)
        layers: list[_Layer] = []
        for number, (matrix, bound) in enumerate(zip(matrices, bounds.contiguous(), strict=True)):
            weights = [one.contiguous() for one in parameters[number * A_NETWORK : (number + 1) * A_NETWORK]]
            network = Network(structures, weights, rows)
            net = x.new_empty(rows, 2 * latents)
            before = layers[-1].y if layers else x
            layers.append(_Layer(matrix, bound, network, before, torch.empty_like(x), net, torch.empty_like(x)))

        def work(part: slice) -> None:
            for layer, shift in zip(layers, shifts, strict=True):
                torch.addmm(shift, layer.x[part], layer.matrix, out=layer.moved[part])
                layer.network.forward(layer.moved[part], part, layer.net[part])
                kernels.affine(layer.moved[part], layer.net[part], layer.bound, layer.y[part], ldj[part])

        _pack(layers, False)
        ctx.parts = parts_of(rows, LEAST_ROWS)
        side_by_side(work, ctx.parts)
        ctx.layers = layers
        ctx.save_for_backward(matrices, shifts, bounds, *parameters)
        return layers[-1].y.detach(), ldj  # not the tensor that is kept: it would keep itself alive by its own gradient

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_ldj: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x and the parameters for those of z [N, M] and of the log-determinants [N]."""
        parameters, layers = ctx.saved_tensors, ctx.layers
        of_z, of_ldj = of_z.contiguous(), of_ldj.contiguous()
        of_x = torch.empty_like(of_z)

        def work(part: slice) -> list[Tensor]:
            gradients = like(parameters)
            of_matrices, of_shifts, of_bounds, *of_networks = gradients
            of_y = of_z[part]
            of_net, of_moved, direct = of_y.new_empty(len(of_y), 2 * of_y.shape[1]), *like([of_y, of_y])
            for number, layer in reversed(list(enumerate(layers))):
                net, y = layer.net[part], layer.y[part]
                kernels.affine_backward(net, layer.bound, y, of_y, of_ldj[part], of_net, direct, of_bounds[number])
                of_network = of_networks[number * A_NETWORK : (number + 1) * A_NETWORK]
                layer.network.backward(layer.moved[part], part, of_net, of_moved, of_network)
                of_moved += direct
                torch.mm(layer.x[part].T, of_moved, out=of_matrices[number])
                torch.sum(of_moved, 0, out=of_shifts[number])
                of_y = torch.mm(of_moved, layer.matrix.T)
            of_x[part] = of_y
            return gradients

        _pack(layers, True)
        return of_x, None, *total(side_by_side(work, ctx.parts))


def _pack(layers: Sequence[_Layer], backward: bool) -> None:
    def work(part: slice) -> None:
        for layer in layers[part]:
            layer.network.pack(backward)

    side_by_side(work, parts_of(len(layers), 1))
