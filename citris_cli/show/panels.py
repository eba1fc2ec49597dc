"""Frames of any number of channels as RGB pictures: what is no colour is a panel of its own, below.

Several sequences that are shown at once stand side by side as tiles of one picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np

#: Grey of the lines around tiles, RGB 0 … 255 each; they are a pixel of the frames wide.
BETWEEN = 170
#: What a row of tiles is filled up with.
PAPER = 255
#: Most tiles in a row.
IN_A_ROW = 4


def tile_columns(count: int) -> int:
    """How many of several tiles stand in a row: 1 to 4, rows as full as they can be."""
    rows = -(-count // IN_A_ROW)
    return -(-count // rows)


def tiled_size(count: int, channels: int, width: int) -> tuple[int, int]:
    """Height and width in pixels of the picture that :func:`tiled` makes of so many square frames."""
    columns = tile_columns(count)
    rows = -(-count // columns)
    return rows * (panel_count(channels) * width + 1) + 1, columns * (width + 1) + 1


def tiled(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Several sequences as one, their frames side by side, in rows of at most four.

    Args:
        images: uint8 [n, N, W, W, C].

    Returns:
        uint8 [N, H, V, 3] of :func:`tiled_size`.
    """
    pictures = panels(images)
    count, frames, height, width = pictures.shape[:4]
    columns = tile_columns(count)
    whole = np.full((frames, *tiled_size(count, images.shape[-1], width), 3), BETWEEN, np.uint8)
    whole[:, -height - 1 : -1, (count - 1) % columns * (width + 1) + width + 2 :] = PAPER  # where there is no tile
    for number, picture in enumerate(pictures):
        top, left = number // columns * (height + 1) + 1, number % columns * (width + 1) + 1
        whole[:, top : top + height, left : left + width] = picture
    return whole


def panel_count(channels: int) -> int:
    """How many panels a frame of so many channels is shown in: one for grey or RGB, and one for every further channel.

    Args:
        channels: C, at least 1.
    """
    return channels if channels < 3 else channels - 2


def panels(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Frames as RGB pictures, one panel below the other; RGB frames as they are.

    Args:
        images: uint8 [..., H, W, C].

    Returns:
        uint8 [..., P H, W, 3], P of :func:`panel_count`; grey where a panel shows a single channel.
    """
    if images.shape[-1] == 3:
        return images
    colours = 3 if images.shape[-1] > 3 else 0
    shown = [images[..., :3]] if colours else []
    shown += [images[..., index, None].repeat(3, -1) for index in range(colours, images.shape[-1])]
    return np.concatenate(shown, axis=-3)
