"""Frames that look different and show the same, so that a network cannot know each of a few frames by heart.

Random contrast, brightness and noise, and squares that are hidden (DeVries and Taylor, "Improved Regularization of
Convolutional Neural Networks with Cutout", 2017).
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


def augmented(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Images [B, C, W, W] in [-1, 1] otherwise lit, with noise, and 0 in some squares; not bounded any more.

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
    return changed.masked_fill(hidden[:, None], 0.0)
