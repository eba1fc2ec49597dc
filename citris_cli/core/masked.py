"""Linear maps between per-variable blocks that keep an order: no variable sees a later one.

After Germain et al., "MADE", 2015. Their weights are block lower triangular.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from citris_cli.core.initialisation import shapes_only
from citris_cli.core.ops.networks import Blocks, LinearMap


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
        self.inputs, self.outputs, self.variables, self.strict = inputs, outputs, variables, strict
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

    def as_map(self) -> LinearMap:
        """The same map as a part of :func:`citris_cli.core.ops.networks.network`."""
        blocks = Blocks(self.outputs, self.inputs, self.variables, self.strict)
        return LinearMap(self.weight, self.bias, self.mask, blocks)
