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


def convex_cover(normals: Array, offsets: Array, size: int, lines: int = 32) -> Array:
    """The share of every pixel of a frame that a convex shape covers.

    Args:
        normals, offsets: [m, 2] and [m]: the shape is where ``normal · (x, y) <= offset`` for all m, x and y in pixels
            from the left and from the top.
        size: width and height of the frame.
        lines: lines on which the shape's width is measured in every pixel row.

    Returns:
        float64 [size, size], 0 … 1.
    """
    y = (np.arange(size * lines) + 0.5) / lines
    left, right = np.zeros(len(y)), np.full(len(y), float(size))
    for (across, down), offset in zip(np.asarray(normals, float), np.asarray(offsets, float), strict=True):
        room = offset - down * y
        if across > 0:
            right = np.minimum(right, room / across)
        elif across < 0:
            left = np.maximum(left, room / across)
        else:
            right = np.where(room < 0, left, right)
    inside = np.clip(np.arange(size + 1), left[:, None], np.maximum(left, right)[:, None])
    share: Array = np.diff(inside, axis=1).reshape(size, lines, size).mean(1)
    return share


def levels(share: Array) -> Array:
    """Shares of a pixel in Agg's 256ths: int32, 0 (none) … 255 (all)."""
    return np.minimum(share * 256 + 1e-6, 255).astype(np.int32)
