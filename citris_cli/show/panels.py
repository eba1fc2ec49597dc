"""Frames of any number of channels as RGB pictures: what is no colour is a panel of its own, below."""

from __future__ import annotations

from typing import Any

import numpy as np


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
