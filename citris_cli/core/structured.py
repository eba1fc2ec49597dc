"""Networks of structured maps as functions that PyTorch can differentiate; see :mod:`citris_cli.core.kernels`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from citris_cli.core import kernels
from citris_cli.core.kernels import Flow, FlowLayer, Networks, Structure

#: Separate networks that are computed together, at most: what they compute stays in a second-level cache.
TOGETHER = 8
#: Parameters of a network: W1, b1, W2, b2, W3, b3.
A_NETWORK = 6
#: Tensors of a layer of a flow, those of its network among them.
OF_A_LAYER = 8 + A_NETWORK


class StructuredNetwork(torch.autograd.Function):
    """``W3 SiLU(W2 SiLU(W1 x + b1) + b2) + b3``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, structures: Sequence[Structure], *parameters: Tensor) -> Tensor:
        """[N, inputs] -> [N, outputs].

        Args:
            ctx: what the backward pass needs.
            x: rows, float32.
            structures: of the three maps.
            parameters: W1, b1, W2, b2, W3, b3.
        """
        x = x.contiguous()
        out = x.new_empty(len(x), structures[2].outputs)
        ctx.networks = Networks([structures], [one.contiguous() for one in parameters], len(x))
        ctx.networks.forward(x, out)
        ctx.save_for_backward(x, *parameters)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_out: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x and the parameters for that of the value [N, outputs]."""
        x, *parameters = ctx.saved_tensors
        gradients = kernels.like(parameters)
        return ctx.networks.backward(x, of_out.contiguous(), gradients), None, *gradients


class SeparateNetworks(torch.autograd.Function):
    """M such networks of the same x, with weights of their own each."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        """[N, inputs] -> [N, M outputs].

        Args:
            ctx: what the backward pass needs.
            x: rows, float32.
            parameters: W1 [M, c, inputs], b1 [M, c], W2 [M, c, c], b2 [M, c], W3 [M, outputs, c], b3 [M, outputs].
        """
        x = x.contiguous()
        number, hidden, inputs = parameters[0].shape
        outputs = parameters[4].shape[1]
        out = x.new_empty(len(x), number * outputs)
        threads = torch.get_num_threads()
        pieces = threads * -(-number // (threads * TOGETHER))  # as many for every thread
        size = -(-number // pieces)
        structures = [
            (
                kernels.full(some * hidden, inputs),
                kernels.separate(hidden, hidden, some),
                kernels.separate(outputs, hidden, some),
            )
            for some in (min(size, number - first) for first in range(0, number, size))
        ]
        ctx.networks = Networks(structures, [one.contiguous() for one in parameters], len(x))
        ctx.networks.forward(x, out)
        ctx.save_for_backward(x, *parameters)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_out: Tensor) -> tuple[Tensor, ...]:
        """Gradients of x and the parameters for that of the value [N, M outputs]."""
        x, *parameters = ctx.saved_tensors
        gradients = kernels.like(parameters)
        return ctx.networks.backward(x, of_out.contiguous(), gradients), *gradients


class FlowPass(torch.autograd.Function):
    """A whole flow: layers as :class:`citris_cli.core.kernels.FlowLayer` describes them, one after the other."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, structures: Sequence[Structure], *learned: Tensor | None) -> tuple[Tensor, Tensor]:
        """x [N, M] -> z [N, M] and ldj = -log|det dz/dx| [N].

        Args:
            ctx: what the backward pass needs.
            x: rows, float32.
            structures: of the three maps of every network.
            learned: of every layer :data:`OF_A_LAYER` tensors, what it has of its own and then its network's.
        """
        x = x.contiguous()
        parts = [None if one is None else one.contiguous() for one in learned]
        layers = [parts[first : first + OF_A_LAYER] for first in range(0, len(parts), OF_A_LAYER)]
        described = [FlowLayer(layer[:-A_NETWORK], layer[-A_NETWORK:]) for layer in layers]  # type: ignore[arg-type]
        ctx.flow = Flow(structures, described, len(x))
        ctx.save_for_backward(x, *learned)
        return ctx.flow.forward(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_ldj: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x and of what is learned for those of z [N, M] and of the log-determinants [N]."""
        assert ctx.saved_tensors  # PyTorch raises an error where one of them was changed
        of_x, layers = ctx.flow.backward(of_z.contiguous(), of_ldj.contiguous())
        return of_x, None, *[one for layer in layers for one in (*layer.own, None, None, *layer.network)]
