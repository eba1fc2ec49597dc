"""Bilinear upsampling that gives the same bytes every time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def enlarge(x: Tensor, width: int) -> Tensor:
    """Bilinear upsampling, corners aligned: [B, C, W, W] -> [B, C, V, V].

    Args:
        x: feature map.
        width: V.
    """
    return _Enlarged.apply(x, width) if x.is_cuda else enlarge_reference(x, width)


def enlarge_reference(x: Tensor, width: int) -> Tensor:
    """:func:`enlarge` by PyTorch."""
    return functional.interpolate(x, size=(width, width), mode="bilinear", align_corners=True)


class _Enlarged(torch.autograd.Function):
    """The same with a gradient that is two matrix products.

    PyTorch's own adds up on a CUDA device in whatever order its threads arrive, to other bytes every time.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, width: int) -> Tensor:
        ctx.width = x.shape[-1]
        with torch.autocast(x.device.type, enabled=False):  # it would make float32 of bfloat16, here and from here on
            return enlarge_reference(x, width)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # Row j: how much of input j is in every output along one axis, [W, V].
        shares = torch.eye(ctx.width, device=gradient.device)[None]
        size = gradient.shape[-1]
        shares = functional.interpolate(shares, size=size, mode="linear", align_corners=True)[0].to(gradient.dtype)
        pixels = gradient.permute(0, 2, 3, 1)  # [B, V, V, C]
        rows = (shares @ pixels.flatten(2)).unflatten(2, pixels.shape[2:])  # [B, W, V, C]
        return (shares @ rows).permute(0, 3, 1, 2), None
