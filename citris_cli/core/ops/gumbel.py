"""Straight-through Gumbel-softmax samples (Jang et al., 2017): one-hot forward, soft backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from citris_cli.core.ops import library


def gumbel_softmax(logits: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """Samples from uniform noise u: ``onehot(argmax(y))`` with the gradient of ``softmax(y)``.

    ``y = (logits - log(-log u)) / temperature``.

    Args:
        logits: unnormalised log-probabilities [M, C].
        uniform: noise in (0, 1) [B, M, C]; it may be overwritten.
        temperature: softmax temperature, > 0.

    Returns:
        One-hot float tensor [B, M, C].
    """
    if library.usable(logits, uniform) and uniform.dim() == 3 and uniform.shape[1:] == logits.shape:
        return _GumbelSoftmax.apply(logits, uniform, temperature)
    return gumbel_softmax_reference(logits, uniform, temperature)


def gumbel_softmax_reference(logits: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """:func:`gumbel_softmax` by PyTorch."""
    less_gumbel = uniform.log_().neg_().log_()
    # Classes before latents: on a CPU, softmax over a short last dimension takes twenty times as long.
    soft = ((logits - less_gumbel) / temperature).mT.contiguous().softmax(-2)
    hard = torch.zeros_like(soft).scatter_(-2, soft.max(-2, keepdim=True).indices, 1.0)
    return (hard + soft - soft.detach()).mT


class _GumbelSoftmax(torch.autograd.Function):
    """The compiled :func:`gumbel_softmax`, and its gradient."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, uniform: Tensor, temperature: float) -> Tensor:
        logits, uniform = logits.contiguous(), uniform.contiguous()
        soft, hard = torch.empty_like(uniform), torch.empty_like(uniform)
        addresses = logits.data_ptr(), uniform.data_ptr()
        library.call("gumbel", *uniform.shape, *addresses, temperature, soft.data_ptr(), hard.data_ptr())
        ctx.save_for_backward(soft)
        ctx.temperature = temperature
        return hard

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_samples: Tensor) -> tuple[Tensor, None, None]:
        (soft,), of_samples = ctx.saved_tensors, of_samples.contiguous()
        of_logits = soft.new_empty(soft.shape[1:])
        addresses = soft.data_ptr(), of_samples.data_ptr()
        library.call("gumbel_backward", *soft.shape, *addresses, ctx.temperature, of_logits.data_ptr())
        return of_logits, None, None
