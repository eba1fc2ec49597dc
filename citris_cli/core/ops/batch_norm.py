"""Batch normalisation whose statistics are those of the whole batch, also where several processes compute it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from citris_cli.core.ops import shares
from citris_cli.core.ops.norm_silu import norm_silu


class BatchNorm(nn.BatchNorm2d):
    """``nn.BatchNorm2d``; on a share of a batch (:mod:`citris_cli.core.ops.shares`) with sums over all shares.

    ``nn.SyncBatchNorm`` does that on CUDA devices alone.
    """

    # PyTorch's can be built without these.
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        share = shares.current()
        if not self.training or share is None:
            return super().forward(x)
        count = share.whole(len(x)) * x[0, 0].numel()
        mean, variance = whole_statistics(x, count)
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        return _Normalised.apply(x, self.weight, self.bias, mean, variance, count, self.eps)

    def with_silu(self, x: Tensor) -> Tensor:
        """SiLU of the result, [B, C, H, W] -> [B, C, H, W], in one operation where there is one for it."""
        if not self.training or shares.current() is not None:
            return functional.silu(self(x))
        self.num_batches_tracked += 1
        return norm_silu(x, self.weight, self.bias, self.running_mean, self.running_var, self.momentum, self.eps)


def whole_statistics(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of every channel over the whole batch of which x [B, C, H, W] is a share.

    Args:
        x: this process's rows.
        count: values of a channel in the whole batch.

    Returns:
        Mean and variance, float32 [C] each.
    """
    mean, variance = (value.double() for value in torch.batch_norm_update_stats(x.detach().float(), None, None, 0.0))
    # In double precision a difference of raw moments keeps the digits that matter, and one reduction is enough.
    own = len(x) * x[0, 0].numel()
    mean, square = shares.total(own * torch.stack([mean, variance + mean.square()])) / count
    return mean.float(), (square - mean.square()).clamp_min(0).float()


class _Normalised(torch.autograd.Function):
    """``(x - mean) / sqrt(variance + eps) * weight + bias``, where mean and variance depend on x in all processes."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, count: int, eps: float
    ) -> Tensor:
        normalised, *saved = torch.native_batch_norm(x, weight, bias, mean, variance, False, 0.0, eps)
        ctx.save_for_backward(x, weight, mean, variance, *saved)
        ctx.count, ctx.eps, ctx.share = count, eps, shares.current()
        return normalised

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, *saved = ctx.saved_tensors
        # As if mean and variance were given; then what goes through them: -(sum(g) + x_hat sum(g x_hat)) w / (std n).
        direct, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, mean, variance, *saved, False, ctx.eps, [True, True, True]
        )
        with shares.computing(ctx.share):
            sum_x_hat, sum_plain = shares.total(torch.stack([of_weight, of_bias])) / ctx.count
        deviation = (variance + ctx.eps).rsqrt()
        slope = weight * deviation.square() * sum_x_hat
        offset = weight * deviation * sum_plain - slope * mean
        through = direct.float().addcmul_(x.float(), -slope[:, None, None]).sub_(offset[:, None, None])
        return through.to(x.dtype), of_weight, of_bias, None, None, None, None
