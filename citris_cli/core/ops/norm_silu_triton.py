"""Triton kernels of :mod:`citris_cli.core.ops.norm_silu`; to be imported only where Triton is there.

A feature map is seen as rows [N, C], one a pixel. A program takes neighbouring rows with all their channels, tile by
tile; sums of programs are added up by a kernel of their own in a fixed order, so that results are the same every time.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def moments(x, parts, rows, channels: tl.constexpr, padded: tl.constexpr, tile: tl.constexpr, tiles: tl.constexpr):
    """Sums of x - x[0] and of its square over the rows of a program: parts[program, 0 … 1, channel]."""
    channel = tl.arange(0, padded)
    inside = channel < channels
    row = tl.arange(0, tile)
    start = tl.program_id(0).to(tl.int64) * (tile * tiles)
    own = x + start * channels
    # Around a value that is there, the squares keep their digits however far from 0 the mean is.
    around = tl.load(x + channel, mask=inside, other=0.0).to(tl.float32)
    first = tl.zeros((tile, padded), dtype=tl.float32)
    second = tl.zeros((tile, padded), dtype=tl.float32)
    for number in range(tiles):
        at = number * tile + row
        there = (at < rows - start)[:, None] & inside[None, :]
        values = tl.load(own + at[:, None] * channels + channel[None, :], mask=there, other=0.0).to(tl.float32)
        values = tl.where(there, values - around[None, :], 0.0)
        first += values
        second += values * values
    target = parts + tl.program_id(0) * 2 * channels + channel
    tl.store(target, tl.sum(first, axis=0), mask=inside)
    tl.store(target + channels, tl.sum(second, axis=0), mask=inside)


@triton.jit
def total(
    parts, at, which: tl.constexpr,
    programs: tl.constexpr, channels: tl.constexpr, width: tl.constexpr, chunk: tl.constexpr,
):  # fmt: skip
    """Sum over all programs of parts[program, which, channel], for channels ``at``."""
    row = tl.arange(0, chunk)
    added = tl.zeros((chunk, width), dtype=tl.float32)
    for start in range(0, programs, chunk):
        there = (start + row < programs)[:, None] & (at < channels)[None, :]
        places = (start + row)[:, None] * (2 * channels) + which * channels + at[None, :]
        added += tl.load(parts + places, mask=there, other=0.0)
    return tl.sum(added, axis=0)


@triton.jit
def statistics(
    x, parts, mean, deviation, running_mean, running_var, count, momentum, eps,
    programs: tl.constexpr, channels: tl.constexpr, width: tl.constexpr, chunk: tl.constexpr,
):  # fmt: skip
    """Mean and 1 / sqrt(variance + eps) of some channels from :func:`moments`; the running ones move."""
    at = tl.program_id(0) * width + tl.arange(0, width)
    inside = at < channels
    first = total(parts, at, 0, programs, channels, width, chunk) / count
    second = total(parts, at, 1, programs, channels, width, chunk) / count
    around = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    variance = tl.maximum(second - first * first, 0.0)
    tl.store(mean + at, around + first, mask=inside)
    tl.store(deviation + at, 1.0 / tl.sqrt(variance + eps), mask=inside)
    old_mean = tl.load(running_mean + at, mask=inside, other=0.0)
    old_var = tl.load(running_var + at, mask=inside, other=0.0)
    tl.store(running_mean + at, old_mean + momentum * (around + first - old_mean), mask=inside)
    tl.store(running_var + at, old_var + momentum * (variance * (count / (count - 1.0)) - old_var), mask=inside)


@triton.jit
def apply(
    x, y, mean, deviation, weight, bias, rows, channels: tl.constexpr, padded: tl.constexpr, tile: tl.constexpr
):  # fmt: skip
    """y = u sigmoid(u) with u = (x - mean) deviation weight + bias."""
    channel = tl.arange(0, padded)
    inside = channel < channels
    start = tl.program_id(0).to(tl.int64) * tile
    row = tl.arange(0, tile)
    there = (row < rows - start)[:, None] & inside[None, :]
    places = row[:, None] * channels + channel[None, :]
    scale = tl.load(deviation + channel, mask=inside, other=0.0) * tl.load(weight + channel, mask=inside, other=0.0)
    shift = tl.load(bias + channel, mask=inside, other=0.0)
    middle = tl.load(mean + channel, mask=inside, other=0.0)
    values = tl.load(x + start * channels + places, mask=there, other=0.0).to(tl.float32)
    u = (values - middle[None, :]) * scale[None, :] + shift[None, :]
    out = u / (1.0 + tl.exp(-u))
    tl.store(y + start * channels + places, out.to(y.dtype.element_ty), mask=there)


@triton.jit
def slopes(
    x, gradient, parts, mean, deviation, weight, bias, rows,
    channels: tl.constexpr, padded: tl.constexpr, tile: tl.constexpr, tiles: tl.constexpr,
):  # fmt: skip
    """Sums of h = gradient dy/du and of h (x - mean) deviation over the rows of a program, as :func:`moments`."""
    channel = tl.arange(0, padded)
    inside = channel < channels
    row = tl.arange(0, tile)
    start = tl.program_id(0).to(tl.int64) * (tile * tiles)
    scale = tl.load(deviation + channel, mask=inside, other=0.0)
    factor = tl.load(weight + channel, mask=inside, other=0.0)
    shift = tl.load(bias + channel, mask=inside, other=0.0)
    middle = tl.load(mean + channel, mask=inside, other=0.0)
    plain = tl.zeros((tile, padded), dtype=tl.float32)
    weighed = tl.zeros((tile, padded), dtype=tl.float32)
    for number in range(tiles):
        at = number * tile + row
        there = (at < rows - start)[:, None] & inside[None, :]
        places = at[:, None] * channels + channel[None, :]
        values = tl.load(x + start * channels + places, mask=there, other=0.0).to(tl.float32)
        of_y = tl.load(gradient + start * channels + places, mask=there, other=0.0).to(tl.float32)
        normal = (values - middle[None, :]) * scale[None, :]
        u = normal * factor[None, :] + shift[None, :]
        gate = 1.0 / (1.0 + tl.exp(-u))
        of_u = of_y * gate * (1.0 + u * (1.0 - gate))  # 0 outside, as the gradient there
        plain += of_u
        weighed += of_u * normal
    target = parts + tl.program_id(0) * 2 * channels + channel
    tl.store(target, tl.sum(plain, axis=0), mask=inside)
    tl.store(target + channels, tl.sum(weighed, axis=0), mask=inside)


@triton.jit
def totals(
    parts, of_bias, of_weight,
    programs: tl.constexpr, channels: tl.constexpr, width: tl.constexpr, chunk: tl.constexpr,
):  # fmt: skip
    """Gradients of bias and weight for some channels from :func:`slopes`."""
    at = tl.program_id(0) * width + tl.arange(0, width)
    inside = at < channels
    tl.store(of_bias + at, total(parts, at, 0, programs, channels, width, chunk), mask=inside)
    tl.store(of_weight + at, total(parts, at, 1, programs, channels, width, chunk), mask=inside)


@triton.jit
def gradients(
    x, gradient, of_x, mean, deviation, weight, bias, of_bias, of_weight, rows, count,
    channels: tl.constexpr, padded: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """of_x = weight deviation (h - mean(h) - n mean(h n)), n = (x - mean) deviation, h as in :func:`slopes`."""
    channel = tl.arange(0, padded)
    inside = channel < channels
    start = tl.program_id(0).to(tl.int64) * tile
    row = tl.arange(0, tile)
    there = (row < rows - start)[:, None] & inside[None, :]
    places = row[:, None] * channels + channel[None, :]
    scale = tl.load(deviation + channel, mask=inside, other=0.0)
    factor = tl.load(weight + channel, mask=inside, other=0.0)
    shift = tl.load(bias + channel, mask=inside, other=0.0)
    middle = tl.load(mean + channel, mask=inside, other=0.0)
    mean_plain = tl.load(of_bias + channel, mask=inside, other=0.0) / count
    mean_weighed = tl.load(of_weight + channel, mask=inside, other=0.0) / count
    values = tl.load(x + start * channels + places, mask=there, other=0.0).to(tl.float32)
    of_y = tl.load(gradient + start * channels + places, mask=there, other=0.0).to(tl.float32)
    normal = (values - middle[None, :]) * scale[None, :]
    u = normal * factor[None, :] + shift[None, :]
    gate = 1.0 / (1.0 + tl.exp(-u))
    of_u = of_y * gate * (1.0 + u * (1.0 - gate))
    out = (scale * factor)[None, :] * (of_u - mean_plain[None, :] - normal * mean_weighed[None, :])
    tl.store(of_x + start * channels + places, out.to(of_x.dtype.element_ty), mask=there)
