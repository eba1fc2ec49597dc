"""Convolution 3x3 with a quarter of its multiplications, by Winograd's minimal filtering F(4x4, 3x3).

Tiles of 4x4 pixels of the result need 6x6 of the input. Along one axis, with d six rows, g the kernel's three and y
four rows of the result, ``y = A^T [(G g) * (B^T d)]``; along both, a tile is six times six products instead of nine
times sixteen, each a matrix product over channels. Lavin and Gray, "Fast Algorithms for Convolutional Neural
Networks", CVPR 2016.

B^T, G and A^T interpolate polynomials: B^T d and G g are values at the points 0, a, -a, b, -b and infinity, A^T leads
back. With a = 3/4 and b = 3/2 their entries are of one magnitude, and the rounding is twice that of the direct sum in
float32; with the usual 1 and 2 it is four times (all root mean squares). The transforms of images are C functions.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from citris_cli.core.ops import library
from citris_cli.core.ops.threads import parts_of, side_by_side

#: Side of a tile of the result, and of the window of the input that it needs.
TILE, WINDOW = 4, 6
#: Points a and b.
A, B = 3 / 4, 3 / 2
#: Pixels of a chunk of images: its transforms lie in the cache.
CHUNK = 1024
#: Fewer channels, a smaller grid, or fewer tiles in the batch leave the matrix products too small to gain.
LEAST_CHANNELS, LEAST_WIDTH, LEAST_TILES = 64, 8, 64
#: Part of the tiles that must lie within the grid: those at its end reach beyond a side that is no multiple of theirs.
LEAST_WITHIN = 0.6


def conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolution of stride 1 with zeros around.

    Args:
        x: feature map [B, I, H, W].
        weight: kernel [O, I, 3, 3].
        bias: [O], or None.

    Returns:
        Feature map [B, O, H, W].
    """
    if _gains(x, weight):
        return _Convolution.apply(x.contiguous(memory_format=torch.channels_last), weight, bias)
    return conv3x3_reference(x, weight, bias)


def conv3x3_reference(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """:func:`conv3x3` by PyTorch."""
    return functional.conv2d(x, weight, bias, padding=1)


def _gains(x: Tensor, weight: Tensor) -> bool:
    if not library.usable(x, weight) or x.dim() != 4 or weight.shape[1:] != (x.shape[1], 3, 3):
        return False
    batch, _, height, width = x.shape
    channels, tiles = min(weight.shape[:2]), batch * _tiles(height, width)
    large = channels >= LEAST_CHANNELS and width >= LEAST_WIDTH and tiles >= LEAST_TILES
    return large and height * width >= LEAST_WITHIN * TILE**2 * _tiles(height, width)


def _tiles(height: int, width: int) -> int:
    """How many tiles cover a grid."""
    return -(-height // TILE) * -(-width // TILE)


@lru_cache
def _kernel_transform(dtype: torch.dtype) -> Tensor:
    """G along both axes [6 6, 3 3]."""
    points = [0.0, A, -A, B, -B]
    # Factors that save A^T multiplications: it has p^i / factor in the column of the point p.
    factors = [1.0, A**2, A**2, B, -B]
    rows = []
    for point, factor in zip(points, factors, strict=True):
        scale = factor / math.prod(point - other for other in points if other != point)
        rows.append([scale, scale * point, scale * point**2])
    one = torch.tensor([*rows, [0.0, 0.0, 1.0]], dtype=torch.float64)
    return torch.kron(one, one).to(dtype)


def _transform_kernel(weight: Tensor) -> Tensor:
    """Kernel [O, I, 3, 3] -> [36, I, O]: product, channels in and out."""
    outputs, inputs = weight.shape[:2]
    taps = weight.permute(2, 3, 1, 0).reshape(9, -1)
    return (_kernel_transform(weight.dtype) @ taps).view(-1, inputs, outputs)


class _Chunks:
    """Neighbouring pieces of a batch of images, each so small that its values lie in a second-level cache.

    Args:
        images: [N, H, W, …].
    """

    def __init__(self, images: Tensor) -> None:
        batch, height, width = images.shape[:3]
        rows = min(height, max(1, CHUNK // (TILE * width)) * TILE)
        size = max(1, CHUNK // (rows * width))
        #: Images of a piece, the first of its rows, and how many they are.
        self.places = [
            (slice(i, min(i + size, batch)), top, min(rows, height - top))
            for i in range(0, batch, size)
            for top in range(0, height, rows)
        ]
        self._most = min(size, batch) * _tiles(rows, width)

    def room(self, like: Tensor, channels: int) -> Tensor:
        """Memory for the values of a piece [36, tiles, channels], flat."""
        return like.new_empty(WINDOW**2 * self._most * channels)


def _values(room: Tensor, images: Tensor, rows: int) -> Tensor:
    """The part of the room that the values of some images' rows take: [36, tiles, C]."""
    count, _, width, channels = images.shape
    tiles = count * _tiles(rows, width)
    return room[: WINDOW**2 * tiles * channels].view(WINDOW**2, tiles, channels)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Feature map [B, I, H, W] by kernel [O, I, 3, 3], zeros around -> [B, O, H, W], both in channels-last memory."""
    kernel = _transform_kernel(weight)
    result = _map_like(x, len(weight))
    images, results = (one.permute(0, 2, 3, 1) for one in (x, result))
    chunks = _Chunks(images)

    def work(part: slice) -> None:
        windows_room, tiles_room = chunks.room(x, x.shape[1]), chunks.room(x, len(weight))
        for which, top, rows in chunks.places[part]:
            windows = _values(windows_room, images[which], rows)
            tiles = _values(tiles_room, results[which], rows)
            _windows(images[which], top, rows, windows)
            torch.bmm(windows, kernel, out=tiles)
            _gather(results[which], top, rows, tiles, bias)

    side_by_side(work, parts_of(len(chunks.places), 1))
    return result


def _gradients(x: Tensor, weight: Tensor, gradient: Tensor, of_x: bool, of_weight: bool) -> list[Tensor | None]:
    """Gradients of x [B, I, H, W] and of the kernel [O, I, 3, 3], from that of the result [B, O, H, W].

    Both come from windows of the result's gradient: x's by the turned kernel, and the kernel's as what tiles of x add
    to it. (With windows of x and tiles of the gradient it were as much again to transform.)
    """
    turned = _transform_kernel(weight.flip(2, 3).transpose(0, 1))
    to_x = _map_like(x, x.shape[1]) if of_x else None
    images, gradients = (one.permute(0, 2, 3, 1) for one in (x, gradient))
    results = None if to_x is None else to_x.permute(0, 2, 3, 1)
    chunks = _Chunks(images)

    def work(part: slice) -> Tensor:
        windows_room, tiles_room = chunks.room(x, len(weight)), chunks.room(x, x.shape[1])
        total = torch.zeros_like(turned)
        for which, top, rows in chunks.places[part]:
            windows = _values(windows_room, gradients[which], rows)
            tiles = _values(tiles_room, images[which], rows)
            _windows(gradients[which], top, rows, windows)
            if of_weight:
                _spread(images[which], top, rows, tiles)
                torch.baddbmm(total, windows.transpose(1, 2), tiles, out=total)
            if results is not None:
                torch.bmm(windows, turned, out=tiles)
                _gather(results[which], top, rows, tiles)
        return total

    total, *others = side_by_side(work, parts_of(len(chunks.places), 1))
    for other in others:
        total += other
    return [to_x, _kernel_of(total) if of_weight else None]


def _kernel_of(total: Tensor) -> Tensor:
    """Gradient [O, I, 3, 3] of a kernel from that of its transformed and turned form [36, O, I]."""
    taps = (_kernel_transform(total.dtype).t() @ total.flatten(1)).view(3, 3, *total.shape[1:])
    return taps.flip(0, 1).permute(2, 3, 0, 1).contiguous(memory_format=torch.channels_last)


def _map_like(x: Tensor, channels: int) -> Tensor:
    """Room for a feature map of the size of x [B, I, H, W], in channels-last memory."""
    shape = (len(x), channels, *x.shape[2:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


class _Convolution(torch.autograd.Function):
    """:func:`_convolve` and its gradients; x [B, I, H, W] in channels-last memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolve(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        to_x, to_weight = _gradients(x, weight, gradient, *ctx.needs_input_grad[:2])
        to_bias = None
        if ctx.needs_input_grad[2]:
            pixels = gradient.permute(0, 2, 3, 1).reshape(-1, gradient.shape[1])
            to_bias = pixels.new_ones(len(pixels)) @ pixels  # as a product, half the time of a sum over rows
        return to_x, to_weight, to_bias


def _windows(images: Tensor, top: int, rows: int, values: Tensor) -> None:
    """``B^T d B`` of the 6x6 windows around the 4x4 tiles of some rows.

    Args:
        images: [b, H, W, C], contiguous, with at least 16 channels.
        top, rows: the first of these rows, and how many they are, of all images.
        values: takes the values [36, tiles, C].
    """
    library.call("winograd_windows", *images.shape, images.data_ptr(), top, rows, values.data_ptr())


def _gather(images: Tensor, top: int, rows: int, values: Tensor, bias: Tensor | None = None) -> None:
    """``A^T m A`` of values, plus a bias [C], into the tiles of some rows; arguments as of :func:`_windows`."""
    (place,) = library.addresses([bias])
    library.call("winograd_gather", *images.shape, images.data_ptr(), top, rows, values.data_ptr(), place)


def _spread(images: Tensor, top: int, rows: int, values: Tensor) -> None:
    """``A y A^T`` of the tiles of some rows; arguments as of :func:`_windows`."""
    library.call("winograd_spread", *images.shape, images.data_ptr(), top, rows, values.data_ptr())
