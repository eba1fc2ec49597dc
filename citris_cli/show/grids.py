"""Pictures in rows and columns, with labels."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

PADDING = 4
FONT_SIZE = 13
BACKGROUND = (255, 255, 255)
TEXT = (30, 30, 30)
#: Differences between original and reconstruction are shown this many times larger.
DIFFERENCE_GAIN = 4
#: Name of the text in a PNG that says what it was made of.
SOURCES = "Sources"


def image_grid(
    rows: Sequence[Sequence[np.ndarray]],
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    cell: int = 96,
) -> Image.Image:
    """Images in a labelled grid, enlarged without smoothing.

    Args:
        rows: images uint8 [H, W, 3], all of one size; rows may differ in length.
        row_labels: one a row, left of it, of one or several lines; none if empty.
        column_labels: one a column, above it; none if empty.
        cell: the images' least width in pixels; they are enlarged by a whole factor to reach it.

    Returns:
        An RGB picture.
    """
    height, width = rows[0][0].shape[:2]
    scale = max(1, -(-cell // width))
    font = ImageFont.load_default(FONT_SIZE)
    lines = [line for label in row_labels for line in label.splitlines()]
    left = PADDING + max((int(font.getlength(line)) + 2 * PADDING for line in lines), default=0)
    top = PADDING + (FONT_SIZE + 2 * PADDING if column_labels else 0)
    across, down = width * scale + PADDING, height * scale + PADDING
    columns = max(len(row) for row in rows)
    picture = Image.new("RGB", (left + columns * across, top + len(rows) * down), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for j, label in enumerate(column_labels):
        draw.text((left + j * across + (across - PADDING) // 2, PADDING), label, TEXT, font, anchor="ma")
    for i, row in enumerate(rows):
        if row_labels:
            draw.text((PADDING, top + i * down + (down - PADDING) // 2), row_labels[i], TEXT, font, anchor="lm")
        for j, image in enumerate(row):
            enlarged = Image.fromarray(image).resize((width * scale, height * scale), Image.Resampling.NEAREST)
            picture.paste(enlarged, (left + j * across, top + i * down))
    return picture


def reconstruction_grid(originals: np.ndarray, reconstructions: np.ndarray) -> Image.Image:
    """Originals above their reconstructions above the difference, four times as strong.

    Args:
        originals: uint8 [N, H, W, 3].
        reconstructions: uint8 [N, H, W, 3].
    """
    difference = np.abs(originals.astype(np.int16) - reconstructions) * DIFFERENCE_GAIN
    rows = [list(originals), list(reconstructions), list(difference.clip(0, 255).astype(np.uint8))]
    return image_grid(rows, ["original", "reconstruction", f"difference x{DIFFERENCE_GAIN}"])


def triplet_grid(triplets: np.ndarray, predictions: np.ndarray, mask: np.ndarray, names: Sequence[str]) -> Image.Image:
    """Triplets, one a row, each with its predicted third frame, and the names of what comes from image 2.

    Args:
        triplets: uint8 [N, 3, H, W, 3].
        predictions: uint8 [N, H, W, 3].
        mask: 0 or 1 [N, K], 1 where a variable comes from the second frame.
        names: of the K variables.
    """
    labels = ["\n".join(name for name, taken in zip(names, row, strict=True) if taken) or "nothing" for row in mask]
    rows = [[*triplet, prediction] for triplet, prediction in zip(triplets, predictions, strict=True)]
    return image_grid(rows, labels, ["image 1", "image 2", "truth", "prediction"])


def png_bytes(picture: Image.Image, sources: Sequence[str] = ()) -> bytes:
    """The picture as a PNG.

    Args:
        picture: any picture.
        sources: what it was made of, one a line of the text that the file carries under :data:`SOURCES`.
    """
    text = PngImagePlugin.PngInfo()
    if sources:
        text.add_itxt(SOURCES, "\n".join(sources).encode(errors="replace").decode())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()
