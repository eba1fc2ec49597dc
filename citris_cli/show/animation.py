"""Moving pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image


def gif_bytes(pictures: Sequence[Image.Image], duration: int) -> bytes:
    """A GIF that repeats for ever, with one palette for all its pictures: what does not change does not flicker.

    Args:
        pictures: RGB pictures of one size, at least one.
        duration: milliseconds that each is shown.
    """
    width, height = pictures[0].size
    together = Image.new("RGB", (width, height * len(pictures)))
    for number, picture in enumerate(pictures):
        together.paste(picture, (0, number * height))
    palette = together.quantize(256, dither=Image.Dither.NONE)
    frames = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0, optimize=False)
    return file.getvalue()
