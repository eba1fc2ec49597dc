"""Linear maps between per-variable blocks that keep an order: no variable sees a later one.

After Germain et al., "MADE", 2015. Their weights are block lower triangular. On a CPU the products leave most of the
empty half out.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from citris_cli.core.networks import shapes_only


def autoregressive_mask(outputs: int, inputs: int, variables: int, strict: bool) -> Tensor:
    """Mask [variables * outputs, variables * inputs] of a linear map between per-variable blocks.

    Entry 1 where the output block's variable i may see the input block's variable j: j < i if ``strict``, else j <= i.
    """
    order = torch.ones(variables, variables)
    if not shapes_only():
        order = order.tril(-1 if strict else 0)
    return order.repeat_interleave(outputs, 0).repeat_interleave(inputs, 1)


class MaskedLinear(nn.Module):
    """``y = x (W * mask)^T + b``: a linear map between per-variable blocks that keeps the autoregressive order.

    Args:
        inputs: features a variable in the input.
        outputs: features a variable in the output.
        variables: number of variables M.
        strict: whether a variable must not see itself (the first layer of an autoregressive network).
        generator: source of the random start (uniform, Kaiming's bound for the full fan-in, as nn.Linear).
    """

    mask: Tensor

    def __init__(
        self, inputs: int, outputs: int, variables: int, strict: bool, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.variables = variables
        fan_in = inputs * variables
        bound = 1 / math.sqrt(fan_in)
        self.weight = nn.Parameter(
            torch.empty(outputs * variables, fan_in).uniform_(-bound, bound, generator=generator)
        )
        self.bias = nn.Parameter(torch.empty(outputs * variables).uniform_(-bound, bound, generator=generator))
        self.register_buffer("mask", autoregressive_mask(outputs, inputs, variables, strict), persistent=False)

    def masked_weight(self) -> Tensor:
        """W * mask [variables * outputs, variables * inputs]."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        """[..., variables * inputs] -> [..., variables * outputs]."""
        return functional.linear(x, self.masked_weight(), self.bias)

    def columns(self, x: Tensor) -> Tensor:
        """The same with samples last: [variables * inputs, N] -> [variables * outputs, N].

        On a CPU, most of the products with zeros are left out, in both directions. Elsewhere a single large product
        takes no longer and is one launch.
        """
        if dense(x):
            return torch.addmm(self.bias.unsqueeze(1), self.masked_weight(), x)
        return _BlockedProduct.apply(self.weight, self.mask, self.bias, x, self.variables)


def dense(x: Tensor) -> bool:
    """Whether masked products of x are single dense ones, for PyTorch to differentiate; else they go by blocks."""
    return x.device.type != "cpu" or torch.is_autocast_enabled("cpu")


#: Side of a block on the diagonal for each thread (of a square one; others have as many entries), where that makes more
#: than two blocks: smaller ones would leave out more zeros, but narrower products are slower, and threads have to meet
#: after each.
BLOCK = 64
#: Numbers left free between rows of samples: a cache line. Rows that lie a power of two apart, as those of a usual
#: batch would, take each other's places in the cache.
GAP = 16


def rows_of_samples(like: Tensor, rows: int, samples: int) -> Tensor:
    """Memory for [rows, samples], with a gap after each row.

    Args:
        like: has the device and the type of the result.
        rows, samples: its shape.
    """
    return like.new_empty(rows, samples + GAP)[:, :samples]


@lru_cache
def _blocks(variables: int, outputs: int, inputs: int, side: int) -> list[tuple[slice, slice]]:
    """Blocks of neighbouring variables as the rows and the columns of each, [M * outputs] and [M * inputs].

    With n blocks, (n + 1) / 2n of the dense work is left.

    Args:
        variables: number of variables M.
        outputs, inputs: features a variable.
        side: of a block, if it is square.
    """
    number = min(variables, max(2, round(variables * math.sqrt(outputs * inputs) / side)))
    bounds = [variables * i // number for i in range(number + 1)]
    return [
        (slice(first * outputs, last * outputs), slice(first * inputs, last * inputs))
        for first, last in pairwise(bounds)
    ]


def blocked_product(weight: Tensor, bias: Tensor, x: Tensor, variables: int) -> Tensor:
    """``W x + b`` by blocks of rows, each with the columns that it may see.

    Args:
        weight: W [M outputs, M inputs], 0 where the mask of an order of the variables is.
        bias: b [M outputs].
        x: [M inputs, N].
        variables: number of variables M.
    """
    outputs, inputs = len(weight) // variables, len(x) // variables
    out = rows_of_samples(x, len(weight), x.shape[1])
    column = bias.unsqueeze(1)
    for rows, own in _blocks(variables, outputs, inputs, BLOCK * torch.get_num_threads()):
        torch.addmm(column[rows], weight[rows, : own.stop], x[: own.stop], out=out[rows])
    return out


def gradient_of_weight(gradient: Tensor, x: Tensor, mask: Tensor, variables: int) -> Tensor:
    """``(g x^T) * mask`` by blocks of columns, for a gradient g [M outputs, N] of :func:`blocked_product`."""
    outputs, inputs = len(gradient) // variables, len(x) // variables
    of_weight = torch.zeros_like(mask)
    for rows, own in _blocks(variables, outputs, inputs, BLOCK * torch.get_num_threads()):
        torch.mm(gradient[rows.start :], x[own].T, out=of_weight[rows.start :, own])
    return of_weight.mul_(mask)


def gradient_of_input(weight: Tensor, gradient: Tensor, variables: int) -> Tensor:
    """``W^T g`` by blocks of rows of the result, for a gradient g [M outputs, N] of :func:`blocked_product`."""
    outputs, inputs = (side // variables for side in weight.shape)
    of_x = rows_of_samples(gradient, weight.shape[1], gradient.shape[1])
    for rows, own in _blocks(variables, outputs, inputs, BLOCK * torch.get_num_threads()):
        torch.mm(weight[rows.start :, own].T, gradient[rows.start :], out=of_x[own])
    return of_x


class _BlockedProduct(torch.autograd.Function):
    """``(W * mask) x + b`` of a block lower triangular mask and its gradients, by blocks."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, mask: Tensor, bias: Tensor, x: Tensor, variables: int) -> Tensor:
        weight = weight * mask
        ctx.save_for_backward(weight, mask, x)
        ctx.variables = variables
        return blocked_product(weight, bias, x, variables)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, mask, x = ctx.saved_tensors
        of_weight = of_bias = of_x = None
        if ctx.needs_input_grad[0]:
            of_weight = gradient_of_weight(gradient, x, mask, ctx.variables)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(1)
        if ctx.needs_input_grad[3]:
            of_x = gradient_of_input(weight, gradient, ctx.variables)
        return of_weight, None, of_bias, of_x, None
