"""Frames that look different and show the same, so that a network cannot know each of a few frames by heart.

Random contrast, brightness and noise, squares that are hidden (DeVries and Taylor, "Improved Regularization of
Convolutional Neural Networks with Cutout", 2017), and random shifts. Where an object is often tells how it is turned,
as the one follows the other in a sequence; after a shift that is harder to guess than to see.
"""

from __future__ import annotations

import torch
from torch import Tensor

from citris_cli.core.ops import shares

#: Standard deviations by which a frame's contrast and brightness change, and the most that its noise has, for
#: intensities in [-1, 1].
CONTRAST, BRIGHTNESS, NOISE = 0.2, 0.1, 0.1
#: Squares that are hidden in a frame, and their side as a share of the frame's.
SQUARES, SIDE = 2, 3 / 16
#: How far a frame is shifted at most, in each direction, as a share of its side.
SHIFT = 1 / 8


def augmented(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Images [B, C, W, W] in [-1, 1] otherwise lit, with noise, 0 in some squares, and shifted; not bounded any more.

    Args:
        images: see above.
        generator: source of everything that is drawn.
    """
    size, width = len(images), images.shape[-1]
    drawn = shares.noise(torch.randn, (size, 3, 1, 1, 1), images, generator)
    contrast, brightness, noise = drawn.unbind(1)
    changed = images * (1 + CONTRAST * contrast) + BRIGHTNESS * brightness
    grain = shares.noise(torch.randn, tuple(images.shape), images, generator)
    changed = changed + NOISE * noise.abs().clamp(max=1) * grain
    side = round(SIDE * width)
    starts = (shares.noise(torch.rand, (size, SQUARES, 2), images, generator) * (width - side)).floor()[..., None]
    places = torch.arange(width, device=images.device)
    inside = (places >= starts) & (places < starts + side)  # [B, SQUARES, 2, W]
    hidden = (inside[:, :, 0, :, None] & inside[:, :, 1, None, :]).any(1)
    return _shifted(changed.masked_fill(hidden[:, None], 0.0), generator)


def _shifted(images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Images [B, C, W, W], each moved by up to :data:`SHIFT` of its side down or up and right or left.

    What comes in at an edge repeats that edge.
    """
    size, width = len(images), images.shape[-1]
    reach = round(SHIFT * width)
    by = (shares.noise(torch.rand, (size, 2, 1), images, generator) * (2 * reach + 1)).floor().long() - reach
    rows, columns = (torch.arange(width, device=images.device) + by).clamp(0, width - 1).unbind(1)
    moved = images.gather(2, rows[:, None, :, None].expand_as(images))
    return moved.gather(3, columns[:, None, None, :].expand_as(images))
