"""How well a model of images renders frames from their latents, and pictures to see it by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from citris_cli.data.frames import Frames, as_model_input, as_pixels

#: Frames that a validation looks at.
VALIDATION_FRAMES = 512
#: Frames whose reconstructions are shown at a validation.
SHOWN_FRAMES = 8

#: Takes originals and reconstructions, uint8 [n, H, W, C] each.
Pictures = Callable[[np.ndarray, np.ndarray], None]


class ImageModel(Protocol):
    """Images to latents and back."""

    def encode(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] in [-1, 1] -> latents [B, M]."""

    def decode(self, z: Tensor) -> Tensor:
        """Latents [B, M] -> images [B, C, H, W] in [-1, 1]."""


@torch.no_grad()
def reconstruction_error(model: ImageModel, frames: Frames, pictures: Pictures | None = None) -> float:
    """Mean squared error per pixel and channel, images in [-1, 1], over frames spread evenly over all.

    Args:
        model: in evaluation mode, on the device of the frames.
        frames: what to measure on.
        pictures: called with some originals and their reconstructions.
    """
    total, shown = 0.0, None
    count = min(VALIDATION_FRAMES, len(frames))
    # Spread over the whole set: the first frames of a sequence look alike.
    index = torch.linspace(0, len(frames) - 1, count).round().long()
    for chunk in index.split(64):
        batch = frames.gather(chunk)
        images = as_model_input(batch)
        reconstruction = model.decode(model.encode(images))
        total += float((reconstruction - images).square().mean()) * len(chunk)
        if shown is None:
            pick = torch.linspace(0, len(chunk) - 1, min(SHOWN_FRAMES, len(chunk))).round().long()
            shown = batch[pick].cpu().numpy(), as_pixels(reconstruction[pick]).cpu().numpy()
    if pictures is not None and shown is not None:
        pictures(*shown)
    return total / count
