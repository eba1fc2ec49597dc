"""Convolution 3x3 with half its multiplications, by Winograd's minimal filtering F(4, 3) along the rows of the image.

Four neighbouring rows of the result need six rows of the input. For every column tap they come from six products, not
twelve: ``y = A^T [(G g) * (B^T d)]``, with B^T, G and A^T as below, d six rows, g a column of the kernel, y four rows
and ``*`` a matrix product over channels. Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR
2016, there in two dimensions; one keeps float32's accuracy (about three times the rounding of the direct sum) and
leaves every operation long contiguous rows. The transforms are sums that stay in the cache, chunk by chunk of images.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

#: Rows of the result made at once, and rows of the input that they need.
ROWS, WINDOW = 4, 6
#: Pixels of a chunk of images: its transforms lie in a core's cache.
CHUNK = 4096
#: Fewer channels, or images narrower than this, leave the matrix products too small to gain.
LEAST_CHANNELS, LEAST_WIDTH = 64, 32


@lru_cache
def _kernel_transform(dtype: torch.dtype) -> Tensor:
    """G [6, 3]."""
    rows = [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6]]
    rows += [[1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]
    return torch.tensor(rows, dtype=dtype)


def _transform_kernel(weight: Tensor) -> Tensor:
    """Kernel [O, I, 3, 3] -> [3, 6, I, O]: column tap, product, channels in and out."""
    outputs, inputs = weight.shape[:2]
    columns = weight.permute(2, 3, 1, 0).reshape(3, -1)
    transformed = (_kernel_transform(weight.dtype) @ columns).view(WINDOW, 3, inputs, outputs)
    return transformed.transpose(0, 1).contiguous()


class _Chunk:
    """Buffers of one chunk of images, and the transforms between images and them.

    Args:
        like: images [B, H, W, C], of which the chunk takes some.
        images: number b of images in a chunk.
        taps: whether :meth:`tap` is wanted; without, the buffer is contiguous, which batched products into it need.
    """

    def __init__(self, like: Tensor, images: int, taps: bool) -> None:
        _, self.height, self.width, channels = like.shape
        self.tiles = self.height // ROWS
        # Between columns of zeros a tap is a view: all rows in one, read from its first, second or third pixel on.
        self.rows = images * self.tiles * (self.width + 2)
        self.padded = like.new_zeros(images if taps else 0, self.height + 2, self.width, channels)
        self.flat = like.new_zeros(WINDOW, self.rows + (2 if taps else 0), channels)
        grid = self.flat[:, : self.rows].view(WINDOW, images, self.tiles, self.width + 2, channels)
        self.inner, self.outer = grid[..., 1:-1, :], grid[..., :-2, :]
        self.one, self.other = like.new_empty(2, images, self.tiles, self.width, channels)

    def tap(self, column: int) -> Tensor:
        """The transformed rows, shifted by a column tap 0, 1 or 2: [6, n, C]."""
        return self.flat[:, column : column + self.rows]

    def window(self, images: Tensor) -> None:
        """``B^T d`` of images [b, H, W, C], within the columns of zeros."""
        self.padded[:, 1:-1] = images
        d0, d1, d2, d3, d4, d5 = (self.padded[:, row : self.height + row - 3 : ROWS] for row in range(WINDOW))
        v0, v1, v2, v3, v4, v5 = self.inner
        one, other = self.one, self.other
        torch.sub(d4, d2, alpha=4, out=one)
        torch.sub(d3, d1, alpha=4, out=other)
        torch.add(one, other, out=v1)
        torch.sub(one, other, out=v2)
        torch.sub(d4, d2, out=one)
        torch.sub(d3, d1, out=other)
        torch.add(one, other, alpha=2, out=v3)
        torch.sub(one, other, alpha=2, out=v4)
        torch.sub(d0, d2, out=v0)
        torch.add(one, v0, alpha=4, out=v0)
        torch.sub(d5, d3, out=v5)
        torch.sub(v5, other, alpha=4, out=v5)

    def spread(self, images: Tensor) -> None:
        """``A y`` of a gradient [b, H, W, C]; the columns that are no result's stay 0."""
        y0, y1, y2, y3 = (images[:, row::ROWS] for row in range(ROWS))
        m0, m1, m2, m3, m4, m5 = self.outer
        one, other = self.one, self.other
        torch.add(y0, y2, out=one)
        torch.add(y1, y3, out=other)
        torch.add(one, other, out=m1)
        torch.sub(one, other, out=m2)
        torch.add(y0, y2, alpha=4, out=one)
        torch.add(y1, y3, alpha=4, out=other)
        torch.add(one, other, alpha=2, out=m3)
        torch.sub(one, other, alpha=2, out=m4)
        m0.copy_(y0)
        m5.copy_(y3)

    def gather(self, images: Tensor) -> None:
        """``A^T m`` of what lies in the buffer, to images [b, H, W, C]."""
        m0, m1, m2, m3, m4, m5 = self.outer
        y0, y1, y2, y3 = (images[:, row::ROWS] for row in range(ROWS))
        one, other = self.one, self.other
        torch.add(m1, m2, out=one)
        torch.add(m3, m4, out=other)
        torch.add(one, other, alpha=4, out=y2)
        torch.add(one, other, out=y0)
        y0.add_(m0)
        torch.sub(m1, m2, out=one)
        torch.sub(m3, m4, out=other)
        torch.add(one, other, alpha=2, out=y1)
        torch.add(one, other, alpha=8, out=y3)
        y3.add_(m5)


def _chunks(images: Tensor) -> list[slice]:
    """Chunks of images [B, H, W, C] of one size each, the largest that divides the batch and stays in the cache."""
    batch = len(images)
    most = max(1, CHUNK // (images.shape[1] * images.shape[2]))
    size = max(size for size in range(1, min(most, batch) + 1) if batch % size == 0)
    return [slice(start, start + size) for start in range(0, batch, size)]


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Feature map [B, I, H, W] by kernel [O, I, 3, 3], zeros around -> [B, O, H, W], both in channels-last memory."""
    kernel = _transform_kernel(weight)
    batch, _, height, width = x.shape
    result = torch.empty(
        (batch, len(weight), height, width), dtype=x.dtype, device=x.device, memory_format=torch.channels_last
    )
    images, results = x.permute(0, 2, 3, 1), result.permute(0, 2, 3, 1)
    chunks = _chunks(images)
    into, outof = _Chunk(images, chunks[0].stop, taps=True), _Chunk(results, chunks[0].stop, taps=False)
    products = outof.flat
    for chunk in chunks:
        into.window(images[chunk])
        torch.bmm(into.tap(0), kernel[0], out=products)
        products.baddbmm_(into.tap(1), kernel[1]).baddbmm_(into.tap(2), kernel[2])
        if bias is not None:
            products[1] += bias  # this product enters every row of the result once
        outof.gather(results[chunk])
    return result


def _kernel_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """Gradient [O, I, 3, 3] of the kernel, from x [B, I, H, W] and the result's gradient [B, O, H, W]."""
    images, gradients = x.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
    inputs, outputs = images.shape[-1], gradients.shape[-1]
    total = images.new_zeros(3, WINDOW, inputs, outputs)
    chunks = _chunks(images)
    into, outof = _Chunk(images, chunks[0].stop, taps=True), _Chunk(gradients, chunks[0].stop, taps=False)
    for chunk in chunks:
        into.window(images[chunk])
        outof.spread(gradients[chunk])
        for column in range(3):
            total[column].baddbmm_(into.tap(column).transpose(1, 2), outof.flat)
    columns = total.transpose(0, 1).reshape(WINDOW, -1)
    gradient = (_kernel_transform(images.dtype).t() @ columns).view(3, 3, inputs, outputs).permute(3, 2, 0, 1)
    return gradient.contiguous(memory_format=torch.channels_last)


class _Convolution(torch.autograd.Function):
    """:func:`_convolve` and its gradients; x [B, I, H, W] in channels-last memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolve(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = _convolve(gradient, weight.flip(2, 3).transpose(0, 1), None)
        if ctx.needs_input_grad[1]:
            to_weight = _kernel_gradient(x, gradient)
        if ctx.needs_input_grad[2]:
            pixels = gradient.permute(0, 2, 3, 1).reshape(-1, gradient.shape[1])
            to_bias = pixels.new_ones(len(pixels)) @ pixels  # as a product, half the time of a sum over rows
        return to_x, to_weight, to_bias


class Conv3x3(nn.Conv2d):
    """Convolution 3x3 of stride 1, zeros around: :class:`torch.nn.Conv2d`, on a CPU by Winograd's products.

    Args:
        inputs: channels I of the input.
        outputs: channels O of the result.
        bias: whether a bias is added.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map [B, I, H, W] -> [B, O, H, W]."""
        if self._gains(x):
            return _Convolution.apply(x.contiguous(memory_format=torch.channels_last), self.weight, self.bias)
        return super().forward(x)

    def _gains(self, x: Tensor) -> bool:
        if x.device.type != "cpu" or x.dtype != self.weight.dtype or torch.is_autocast_enabled("cpu"):
            return False
        height, width = x.shape[2:]
        channels = min(self.in_channels, self.out_channels)
        return channels >= LEAST_CHANNELS and width >= LEAST_WIDTH and height % ROWS == 0
