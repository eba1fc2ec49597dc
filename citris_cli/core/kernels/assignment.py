"""Straight-through samples of an assignment."""

from __future__ import annotations

import torch
from torch import Tensor

from citris_cli.core.kernels import library


def gumbel(logits: Tensor, uniform: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Gumbel-softmax samples of logits [M, C] from uniform noise in (0, 1) [B, M, C], contiguous.

    Returns:
        Soft samples and the one-hot form of each, [B, M, C].
    """
    soft, hard = torch.empty_like(uniform), torch.empty_like(uniform)
    library.call(
        "gumbel",
        *uniform.shape,
        logits.data_ptr(),
        uniform.data_ptr(),
        temperature,
        soft.data_ptr(),
        hard.data_ptr(),
    )
    return soft, hard


def gumbel_backward(soft: Tensor, of_soft: Tensor, temperature: float) -> Tensor:
    """The gradient of the logits [M, C] for that of the soft samples [B, M, C], contiguous."""
    of_logits = soft.new_empty(soft.shape[1:])
    addresses = soft.data_ptr(), of_soft.data_ptr()
    library.call("gumbel_backward", *soft.shape, *addresses, temperature, of_logits.data_ptr())
    return of_logits
