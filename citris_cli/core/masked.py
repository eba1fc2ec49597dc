"""Linear maps between per-variable blocks that keep an order: no variable sees a later one.

After Germain et al., "MADE", 2015. Their weights are block lower triangular. On a CPU the products leave most of the
empty half out.
"""

from __future__ import annotations

import math
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
        if x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return torch.addmm(self.bias.unsqueeze(1), self.masked_weight(), x)
        return _BlockedProduct.apply(self.weight, self.mask, self.bias, x, self.variables)


#: Rows or columns of a weight that make a block, where there are enough for more than two blocks: fewer would leave out
#: more zeros, but narrower products are slower.
BLOCK = 128


def _blocks(variables: int, outputs: int, inputs: int, split: int) -> list[tuple[slice, slice]]:
    """Blocks of neighbouring variables as the rows and the columns of each, [M * outputs] and [M * inputs].

    Args:
        variables: number of variables M.
        outputs, inputs: features a variable.
        split: which of the two, outputs or inputs, decides how many blocks there are.
    """
    number = min(variables, max(2, variables * split // BLOCK))
    bounds = [variables * i // number for i in range(number + 1)]
    return [
        (slice(first * outputs, last * outputs), slice(first * inputs, last * inputs))
        for first, last in pairwise(bounds)
    ]


class _BlockedProduct(torch.autograd.Function):
    """``(W * mask) x + b`` of a block lower triangular mask, by blocks of rows, each with the columns that it may see.

    Gradients are by blocks as well. With n blocks, (n + 1) / 2n of the dense work is left.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, mask: Tensor, bias: Tensor, x: Tensor, variables: int) -> Tensor:
        weight = weight * mask
        ctx.save_for_backward(weight, mask, x)
        ctx.sizes = outputs, inputs = len(weight) // variables, len(x) // variables
        ctx.variables = variables
        out = x.new_empty(len(weight), x.shape[1])
        column = bias.unsqueeze(1)
        for rows, own in _blocks(ctx.variables, outputs, inputs, outputs):
            torch.addmm(column[rows], weight[rows, : own.stop], x[: own.stop], out=out[rows])
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, mask, x = ctx.saved_tensors
        outputs, inputs = ctx.sizes
        of_weight = of_bias = of_x = None
        if ctx.needs_input_grad[0]:
            of_weight = torch.zeros_like(weight)
            for rows, own in _blocks(ctx.variables, outputs, inputs, inputs):
                torch.mm(gradient[rows.start :], x[own].T, out=of_weight[rows.start :, own])
            of_weight.mul_(mask)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(1)
        if ctx.needs_input_grad[3]:
            of_x = torch.empty_like(x)
            for rows, own in _blocks(ctx.variables, outputs, inputs, inputs):
                torch.mm(weight[rows.start :, own].T, gradient[rows.start :], out=of_x[own])
        return of_weight, None, of_bias, of_x, None
