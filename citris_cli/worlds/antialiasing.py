"""How much of a pixel a shape covers, and what colour that makes: drawing as Matplotlib's rasteriser (Agg) does it.

The published frames were drawn with it, to 8 bits: a pixel's cover is the share of its area in 256ths, and shapes are
laid over each other one by one. Letters: n frames, h and w the pixels of a window.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: Lines on which the chord of a disc is measured in every pixel row.
LINES = 8


def disc_cover(x: Array, y: Array, radius: float, top: Array, left: Array, window: int) -> Array:
    """The cover of a disc in a window of pixels, one disc a frame.

    Args:
        x, y: centres [n] in pixels from the left and from the top of the frame.
        radius: in pixels.
        top, left: first row and first column [n] of each window, whole numbers.
        window: width and height of the windows in pixels.

    Returns:
        int32 [n, window, window], 0 (none of the pixel) to 255 (all of it).
    """
    x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
    lines = (np.arange(window * LINES, dtype=np.float32) + 0.5) / LINES
    above = (top - y).astype(np.float32)[:, None] + lines
    half = np.sqrt(np.maximum(radius * radius - above * above, 0))[:, None]  # half of the chord: [n, 1, lines]
    edges = (left - x).astype(np.float32)[:, None] + np.arange(window + 1, dtype=np.float32)
    # How much of each chord lies left of each pixel's edge; its steps are what lies in each pixel.
    before = np.minimum(np.maximum(edges[:, :, None], -half), half)
    before = before.reshape(len(x), window + 1, window, LINES).sum(-1)
    share = (before[:, 1:] - before[:, :-1]).transpose(0, 2, 1) * np.float32(256 / LINES)
    return np.minimum(share, 255).astype(np.int32)


def window_of(x: Array, y: Array, radius: float, size: int) -> tuple[Array, Array, int]:
    """The square windows of pixels in which discs lie, as far as they are in the frame.

    Args:
        x, y: centres [n] in pixels.
        radius: in pixels.
        size: width and height of the frame.

    Returns:
        First rows and first columns int64 [n], and the width of every window.
    """
    window = int(np.ceil(2 * radius)) + 1
    top, left = (np.floor(np.asarray(centre) - radius).astype(np.int64) for centre in (y, x))
    return top.clip(0, size - window), left.clip(0, size - window), window


def blend(under: Array, colour: Array | int, cover: Array) -> Array:
    """An opaque colour over others where it covers a part of them.

    Args:
        under, colour: 0 … 255, whole numbers that broadcast with `cover`.
        cover: 0 … 255.

    Returns:
        int32: `under` where the cover is 0, `colour` where it is 255, rounded down between them as Agg does.
    """
    under, cover = np.asarray(under, np.int32), np.asarray(cover, np.int32)
    colour = np.asarray(colour, np.int32)
    mixed = ((256 * colour - 255 * under) * cover + 65280 * under) // (65280 + cover)
    return np.where(cover == 255, colour, mixed)


def polygon_cover(corners: Array, size: int, lines: int = 32) -> Array:
    """The cover of a convex polygon in every pixel of a frame.

    Args:
        corners: [m, 2], x and y in pixels from the left and from the top, in order around it.
        size: width and height of the frame.
        lines: lines on which its width is measured in every pixel row.

    Returns:
        int32 [size, size], 0 … 255.
    """
    corners = np.asarray(corners, np.float64)
    y = (np.arange(size * lines) + 0.5) / lines
    low, high = np.full(len(y), np.inf), np.full(len(y), -np.inf)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        met = (y >= min(y0, y1)) & (y < max(y0, y1))
        x = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
        low, high = np.where(met, np.minimum(low, x), low), np.where(met, np.maximum(high, x), high)
    edges = np.arange(size + 1)
    inside = np.clip(edges, *(np.where(low <= high, side, 0)[:, None] for side in (low, high)))
    share = np.diff(inside, axis=1).reshape(size, lines, size).mean(1) * 256
    # What adds up to the whole of a pixel but for rounding is the whole of it.
    return np.minimum(share + 1e-6, 255).astype(np.int32)
