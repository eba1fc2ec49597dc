"""Batch normalisation and the SiLU after it as one operation on a CUDA device, for training.

A feature map is read once for its moments and once to be normalised, and in the backward pass twice with the gradient;
what is in between is computed again rather than kept. PyTorch's operations go over it thirteen times instead of eight,
which is what such layers take their time for.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from citris_cli.core.ops import library

#: Values of a tile, at most; programs that share a sum, at most; channels and programs that are added up at a time.
TILE, PROGRAMS, WIDTH, CHUNK = 4096, 1024, 16, 64
MOST_CHANNELS = 1024


def norm_silu(
    x: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor, momentum: float, eps: float
) -> Tensor:
    """``SiLU((x - mean) / sqrt(variance + eps) weight + bias)`` with the batch's own statistics.

    Args:
        x: feature map [B, C, H, W], more than one pixel a channel.
        weight, bias: float32 [C].
        running_mean, running_var: float32 [C]; they move as those of ``nn.BatchNorm2d`` do.
        momentum: by how much of the way.
        eps: added to the variance.

    Returns:
        Of x's type and memory format.
    """
    if usable(x):
        return _NormSiLU.apply(x, weight, bias, running_mean, running_var, momentum, eps)
    return norm_silu_reference(x, weight, bias, running_mean, running_var, momentum, eps)


def norm_silu_reference(
    x: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor, momentum: float, eps: float
) -> Tensor:
    """:func:`norm_silu` by PyTorch."""
    return functional.silu(functional.batch_norm(x, running_mean, running_var, weight, bias, True, momentum, eps))


def usable(x: Tensor) -> bool:
    """Whether Triton's form takes a feature map [B, C, H, W] here: on a CUDA device, channels last."""
    if not x.is_cuda or x.dim() != 4 or x.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return False
    fits = x.shape[1] <= MOST_CHANNELS and x.is_contiguous(memory_format=torch.channels_last)
    return fits and not library.switched_off() and _works(x.device)


@lru_cache
def _works(device: torch.device) -> bool:
    """Whether Triton is there and can compile here, for which it wants a C compiler."""
    if find_spec("triton") is None:
        return False
    x = torch.arange(16.0, device=device).view(1, 8, 1, 2).contiguous(memory_format=torch.channels_last)
    weight, bias, mean, variance = torch.ones(4, 8, device=device).unbind()
    try:
        with torch.enable_grad():
            _NormSiLU.apply(x.requires_grad_(), weight, bias, mean, variance, 0.1, 1e-5).sum().backward()
    except Exception:  # whatever a compiler, a driver or another version of Triton says: PyTorch computes then
        return False
    return True


class _Plan:
    """Who takes which rows of a feature map.

    Args:
        x: [B, C, H, W].
    """

    def __init__(self, x: Tensor) -> None:
        self.channels = x.shape[1]
        self.rows = x.numel() // self.channels
        self.padded = 1 << (self.channels - 1).bit_length()
        self.tile = max(1, TILE // self.padded)
        self.all_tiles = -(-self.rows // self.tile)
        self.tiles = -(-self.all_tiles // PROGRAMS)
        self.programs = -(-self.all_tiles // self.tiles)

    @property
    def shape(self) -> dict[str, int]:
        """Of the tiles of a program."""
        return {"channels": self.channels, "padded": self.padded, "tile": self.tile}

    @property
    def adding(self) -> tuple[tuple[int], dict[str, int]]:
        """Programs that add up the sums of others, and the shape of what each of them adds."""
        shape = {"programs": self.programs, "channels": self.channels, "width": WIDTH, "chunk": CHUNK}
        return (-(-self.channels // WIDTH),), shape


class _NormSiLU(torch.autograd.Function):
    """See :func:`norm_silu`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        eps: float,
    ) -> Tensor:
        from citris_cli.core.ops import norm_silu_triton as kernels

        plan = _Plan(x)
        parts = weight.new_empty(plan.programs, 2, plan.channels)
        mean, deviation = torch.empty_like(weight), torch.empty_like(weight)
        kernels.moments[(plan.programs,)](x, parts, plan.rows, **plan.shape, tiles=plan.tiles, num_warps=8)
        grid, shape = plan.adding
        moving = running_mean, running_var, float(plan.rows), momentum, eps
        kernels.statistics[grid](x, parts, mean, deviation, *moving, **shape)
        y = torch.empty_like(x)
        kernels.apply[(plan.all_tiles,)](x, y, mean, deviation, weight, bias, plan.rows, **plan.shape, num_warps=8)
        ctx.save_for_backward(x, weight, bias, mean, deviation)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from citris_cli.core.ops import norm_silu_triton as kernels

        x, weight, bias, mean, deviation = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        plan = _Plan(x)
        parts = weight.new_empty(plan.programs, 2, plan.channels)
        of_bias, of_weight, of_x = torch.empty_like(bias), torch.empty_like(weight), torch.empty_like(x)
        known = mean, deviation, weight, bias
        kernels.slopes[(plan.programs,)](
            x, gradient, parts, *known, plan.rows, **plan.shape, tiles=plan.tiles, num_warps=8
        )
        grid, shape = plan.adding
        kernels.totals[grid](parts, of_bias, of_weight, **shape)
        kernels.gradients[(plan.all_tiles,)](
            x, gradient, of_x, *known, of_bias, of_weight, plan.rows, float(plan.rows), **plan.shape, num_warps=8
        )
        return of_x, of_weight, of_bias, None, None, None, None
