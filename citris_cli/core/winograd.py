"""Convolution 3x3 with a quarter of its multiplications, by Winograd's minimal filtering F(4x4, 3x3).

Tiles of 4x4 pixels of the result need 6x6 of the input. Along one axis, with d six rows, g the kernel's three and y
four rows of the result, ``y = A^T [(G g) * (B^T d)]``; along both, a tile is six times six products instead of nine
times sixteen, each a matrix product over channels. Lavin and Gray, "Fast Algorithms for Convolutional Neural
Networks", CVPR 2016.

B^T, G and A^T interpolate polynomials: B^T d and G g are values at the points 0, a, -a, b, -b and infinity, A^T leads
back. With a = 3/4 and b = 3/2 their entries are of one magnitude, and the rounding is twice that of the direct sum in
float32; with the usual 1 and 2 it is four times (all root mean squares). The transforms are sums of a few images'
pixels, which stay in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

#: Side of a tile of the result, and of the window of the input that it needs.
TILE, WINDOW = 4, 6
#: Points a and b.
A, B = 3 / 4, 3 / 2
#: Pixels of a chunk of images: its transforms lie in the cache.
CHUNK = 4096
#: Fewer channels, a smaller grid, or fewer tiles in the batch leave the matrix products too small to gain.
LEAST_CHANNELS, LEAST_WIDTH, LEAST_TILES = 64, 32, 64


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


def _window(rows: Sequence[Tensor], values: Sequence[Tensor], room: Sequence[Tensor]) -> None:
    """``B^T d`` along one axis: six rows to six values; ``room`` are two more of the size."""
    d0, d1, d2, d3, d4, d5 = rows
    v0, v1, v2, v3, v4, v5 = values
    one, other = room
    torch.sub(d4, d2, alpha=B**2, out=one)
    torch.sub(d3, d1, alpha=B**2, out=other)
    torch.add(one, other, alpha=A, out=v1)
    torch.sub(one, other, alpha=A, out=v2)
    torch.sub(d4, d2, alpha=A**2, out=one)
    torch.sub(d3, d1, alpha=A**2, out=other)
    torch.add(one, other, alpha=B, out=v3)
    torch.sub(one, other, alpha=B, out=v4)
    torch.sub(d2, d0, alpha=A**2, out=v0)
    torch.sub(one, v0, alpha=B**2, out=v0)
    torch.sub(d5, d3, alpha=A**2, out=v5)
    torch.sub(v5, other, alpha=B**2, out=v5)


def _gather(values: Sequence[Tensor], rows: Sequence[Tensor], room: Sequence[Tensor]) -> None:
    """``A^T m`` along one axis: six values to four rows."""
    m0, m1, m2, m3, m4, m5 = values
    y0, y1, y2, y3 = rows
    one, other = room
    torch.add(m1, m2, out=one)
    torch.sub(m3, m4, out=other)
    torch.add(one, other, alpha=B, out=y2)
    torch.add(m0, one, alpha=1 / A**2, out=one)
    torch.add(one, other, alpha=1 / B, out=y0)
    torch.sub(m1, m2, out=one)
    torch.add(m3, m4, out=other)
    torch.add(other, one, alpha=1 / A, out=y1)
    torch.add(m5, one, alpha=A, out=one)
    torch.add(one, other, alpha=B**2, out=y3)


def _spread(rows: Sequence[Tensor], values: Sequence[Tensor], room: Sequence[Tensor]) -> None:
    """``A y`` along one axis: four rows to six values."""
    y0, y1, y2, y3 = rows
    m0, m1, m2, m3, m4, m5 = values
    one, other = room
    torch.add(y2, y0, alpha=1 / A**2, out=one)
    torch.add(y3, y1, alpha=1 / A**2, out=other)
    torch.add(one, other, alpha=A, out=m1)
    torch.sub(one, other, alpha=A, out=m2)
    torch.add(y2, y0, alpha=1 / B**2, out=one)
    torch.add(y1, y3, alpha=B**2, out=other)
    torch.add(other, one, alpha=B, out=m3)
    torch.sub(other, one, alpha=B, out=m4)
    m0.copy_(y0)
    m5.copy_(y3)


class _Windows:
    """Windows of a chunk, zeros around the images.

    Args:
        like: images [B, H, W, C].
        chunk: how much of them is taken at once.
        room: memory between the two axes; nobody needs it after a call.

    Attributes:
        flat: ``B^T d B`` of all windows: [36, n, C].
    """

    def __init__(self, like: Tensor, chunk: _Chunk, room: Sequence[Tensor]) -> None:
        _, self._height, width, channels = like.shape
        self._rows = chunk.rows
        images, tiles = chunk.images, (chunk.rows // TILE, width // TILE)
        self._padded = like.new_zeros(images, chunk.rows + 2, width + 2, channels)
        between = _view(room[0], WINDOW, images, tiles[0], width + 2, channels)
        values = like.new_empty(WINDOW, WINDOW, images, *tiles, channels)
        self.flat = values.view(WINDOW**2, -1, channels)
        rows = [self._padded[:, i : chunk.rows + i - 3 : TILE] for i in range(WINDOW)]
        columns = [between[..., i : width + i - 3 : TILE, :] for i in range(WINDOW)]
        self._by_rows = rows, list(between), [_view(one, *rows[0].shape) for one in room[1:]]
        self._by_columns = columns, list(values.unbind(1)), [_view(one, *columns[0].shape) for one in room[1:]]

    def load(self, images: Tensor, top: int) -> None:
        """Fill ``flat`` from images [b, H, W, C], their rows from ``top`` on."""
        start, stop = max(top - 1, 0), min(top + self._rows + 1, self._height)
        self._padded[:, start - top + 1 : stop - top + 1, 1:-1] = images[:, start:stop]
        if start == top:
            self._padded[:, 0] = 0
        if stop == top + self._rows:
            self._padded[:, -1] = 0
        _window(*self._by_rows)
        _window(*self._by_columns)


class _Tiles:
    """Tiles of a chunk.

    Args:
        like: images [B, H, W, C].
        chunk: how much of them is taken at once.
        room: memory between the two axes; nobody needs it after a call.

    Attributes:
        flat: values [36, n, C] that become tiles, ``A^T m A``, or that they became, ``A y A^T``.
    """

    def __init__(self, like: Tensor, chunk: _Chunk, room: Sequence[Tensor]) -> None:
        _, _, width, channels = like.shape
        self._height = chunk.rows
        images, tiles = chunk.images, (chunk.rows // TILE, width // TILE)
        between = _view(room[0], WINDOW, images, *tiles, TILE, channels)
        values = like.new_empty(WINDOW, WINDOW, images, *tiles, channels)
        self.flat = values.view(WINDOW**2, -1, channels)
        self._rows = list(between.flatten(3, 4))
        self._columns, self._values = list(between.unbind(4)), list(values.unbind(1))
        self._row_room = [_view(one, *self._rows[0].shape) for one in room[1:]]
        self._column_room = [_view(one, *self._columns[0].shape) for one in room[1:]]

    def store(self, images: Tensor, top: int) -> None:
        """Write the tiles to images [b, H, W, C], their rows from ``top`` on."""
        _gather(self._values, self._columns, self._column_room)
        _gather(self._rows, self._of(images, top), self._row_room)

    def load(self, images: Tensor, top: int) -> None:
        """Fill ``flat`` from images [b, H, W, C], their rows from ``top`` on."""
        _spread(self._of(images, top), self._rows, self._row_room)
        _spread(self._columns, self._values, self._column_room)

    def _of(self, images: Tensor, top: int) -> list[Tensor]:
        return [images[:, top + i : top + self._height : TILE] for i in range(TILE)]


def _view(memory: Tensor, *shape: int) -> Tensor:
    return memory[: math.prod(shape)].view(shape)


@dataclass(frozen=True)
class _Chunk:
    """What is transformed at once: so many images of a batch, and so many of their rows."""

    images: int
    rows: int

    def room(self, like: Tensor, width: int, channels: int) -> list[Tensor]:
        """Memory that transforms need between their two axes, for images of that many channels."""
        tiles = self.images * self.rows // TILE
        most = WINDOW * tiles * (width + 2) * channels
        return [like.new_empty(most), *like.new_empty(2, WINDOW * tiles * (width // TILE) * channels)]


def _chunks(images: Tensor) -> Iterator[tuple[_Chunk, list[tuple[slice, int]]]]:
    """Chunks of images [B, H, W, C]: which images of the batch, and their first row; those of one size together."""
    batch, height, width, _ = images.shape
    fitting = (rows for rows in range(height, 0, -TILE) if height % rows == 0 and rows * width <= CHUNK)
    rows = next(fitting, TILE)
    size = min(max(1, CHUNK // (rows * width)), batch)
    tops = range(0, height, rows)
    whole = batch - batch % size
    yield _Chunk(size, rows), [(slice(i, i + size), top) for i in range(0, whole, size) for top in tops]
    if whole < batch:
        yield _Chunk(batch - whole, rows), [(slice(whole, batch), top) for top in tops]


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Feature map [B, I, H, W] by kernel [O, I, 3, 3], zeros around -> [B, O, H, W], both in channels-last memory."""
    kernel = _transform_kernel(weight)
    result = _map_like(x, len(weight))
    images, results = (one.permute(0, 2, 3, 1) for one in (x, result))
    for chunk, places in _chunks(images):
        room = chunk.room(x, x.shape[3], max(weight.shape[:2]))
        windows, tiles = _Windows(images, chunk, room), _Tiles(results, chunk, room)
        for which, top in places:
            windows.load(images[which], top)
            torch.bmm(windows.flat, kernel, out=tiles.flat)
            tiles.store(results[which], top)
            if bias is not None:
                results[which, top : top + chunk.rows] += bias
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
    total = torch.zeros_like(turned)
    for chunk, places in _chunks(images):
        room = chunk.room(x, x.shape[3], max(weight.shape[:2]))
        windows, tiles = _Windows(gradients, chunk, room), _Tiles(images, chunk, room)
        for which, top in places:
            windows.load(gradients[which], top)
            if of_weight:
                tiles.load(images[which], top)
                torch.baddbmm(total, windows.flat.transpose(1, 2), tiles.flat, out=total)
            if results is not None:
                torch.bmm(windows.flat, turned, out=tiles.flat)
                tiles.store(results[which], top)
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
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        to_x, to_weight = _gradients(x, weight, gradient, *ctx.needs_input_grad[:2])
        to_bias = None
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
        batch, _, height, width = x.shape
        channels, tiles = min(self.in_channels, self.out_channels), batch * height * width // TILE**2
        large = channels >= LEAST_CHANNELS and width >= LEAST_WIDTH and tiles >= LEAST_TILES
        return large and height % TILE == width % TILE == 0
