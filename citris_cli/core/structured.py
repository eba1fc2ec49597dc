"""Networks of three structured maps as functions that PyTorch can differentiate; see :mod:`citris_cli.core.kernels`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from citris_cli.core import kernels
from citris_cli.core.kernels import Network, Structure
from citris_cli.core.threads import parts_of, side_by_side

#: Rows that are worth a thread of their own.
LEAST_ROWS = 64
#: Separate networks that are computed together: few enough that what they compute stays in a second-level cache.
TOGETHER = 4


class StructuredNetwork(torch.autograd.Function):
    """``W3 SiLU(W2 SiLU(W1 x + b1) + b2) + b3``; every thread has some of the rows."""

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
        network = Network(structures, [one.contiguous() for one in parameters], len(x))
        out = x.new_empty(len(x), structures[2].outputs)
        network.pack(False)
        ctx.parts = parts_of(len(x), LEAST_ROWS)
        side_by_side(lambda part: network.forward(x[part], part, out[part]), ctx.parts)
        ctx.network = network
        ctx.save_for_backward(x, *parameters)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_out: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x and the parameters for that of the value [N, outputs]."""
        x, *parameters = ctx.saved_tensors
        of_out, of_x = of_out.contiguous(), torch.empty_like(x)
        ctx.network.pack(True)

        def work(part: slice) -> list[Tensor]:
            gradients = like(parameters)
            ctx.network.backward(x[part], part, of_out[part], of_x[part], gradients)
            return gradients

        return of_x, None, *total(side_by_side(work, ctx.parts))


class SeparateNetworks(torch.autograd.Function):
    """M such networks of the same x, with weights of their own each; every thread has some of the networks."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        """[N, inputs] -> [N, M outputs].

        Args:
            ctx: what the backward pass needs.
            x: rows, float32.
            parameters: W1 [M, c, inputs], b1 [M, c], W2 [M, c, c], b2 [M, c], W3 [M, outputs, c], b3 [M, outputs].
        """
        x, every = x.contiguous(), slice(0, len(x))
        parameters = tuple(one.contiguous() for one in parameters)
        number, hidden, inputs = parameters[0].shape
        outputs = parameters[4].shape[1]
        out = x.new_empty(len(x), number * outputs)
        ctx.networks = []
        for first in range(0, number, TOGETHER):
            some = slice(first, min(first + TOGETHER, number))
            size = some.stop - some.start
            structures = (
                kernels.full(size * hidden, inputs),
                kernels.separate(hidden, hidden, size),
                kernels.separate(outputs, hidden, size),
            )
            columns = slice(some.start * outputs, some.stop * outputs)
            ctx.networks.append((some, columns, Network(structures, [one[some] for one in parameters], len(x))))

        def work(part: slice) -> None:
            for _, columns, network in ctx.networks[part]:
                network.pack(False)
                network.forward(x, every, out[:, columns])

        ctx.parts = parts_of(len(ctx.networks), 1)
        side_by_side(work, ctx.parts)
        ctx.save_for_backward(x, *parameters)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_out: Tensor) -> tuple[Tensor, ...]:
        """Gradients of x and the parameters for that of the value [N, M outputs]."""
        x, *parameters = ctx.saved_tensors
        of_out, every = of_out.contiguous(), slice(0, len(x))
        gradients = like(parameters)

        def work(part: slice) -> Tensor:
            of_x, one = torch.zeros_like(x), torch.empty_like(x)
            for some, columns, network in ctx.networks[part]:
                network.pack(True)
                network.backward(x, every, of_out[:, columns], one, [gradient[some] for gradient in gradients])
                of_x += one
            return of_x

        of_x, *others = side_by_side(work, ctx.parts)
        for other in others:
            of_x += other
        return of_x, *gradients


def like(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Memory for the gradients of some tensors."""
    return [tensor.new_empty(tensor.shape) for tensor in tensors]


def total(shares: Sequence[Sequence[Tensor]]) -> Sequence[Tensor]:
    """The sum of several lists of tensors, in the memory of the first."""
    for share in shares[1:]:
        for mine, theirs in zip(shares[0], share, strict=True):
            mine += theirs
    return shares[0]
