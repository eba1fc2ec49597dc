"""Pictures in rows and columns, with labels."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from citris_cli.show.lettering import lettered
from citris_cli.show.panels import panel_count, panels

PADDING = 4
FONT_SIZE, LINE = 13, 17
BACKGROUND = (255, 255, 255)
TEXT = (30, 30, 30)
EDGE = (170, 170, 170)
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
        rows: images uint8 [H, W, C], all of one size; rows may differ in length. Channels that are no colours are
            shown in panels of their own (:mod:`.panels`).
        row_labels: one a row, left of it, of one or several lines; none if empty.
        column_labels: one a column, above it; none if empty.
        cell: the images' least width in pixels; they are enlarged by a whole factor to reach it.

    Returns:
        An RGB picture.
    """
    several = panel_count(rows[0][0].shape[-1]) > 1
    rows = [[panels(image) for image in row] for row in rows]
    height, width = rows[0][0].shape[:2]
    scale = max(1, -(-cell // width))
    lines = [[lettered(line, FONT_SIZE) for line in label.splitlines()] for label in row_labels]
    lengths = (int(font.getlength(line)) for label in lines for line, font in label)
    left = PADDING + max((length + 2 * PADDING for length in lengths), default=0)
    top = PADDING + (FONT_SIZE + 2 * PADDING if column_labels else 0)
    headings = [lettered(label, FONT_SIZE) for label in column_labels]
    # A column is as wide as its label, and a row as high, so that none runs into another.
    widest = [width * scale] * max(len(row) for row in rows)
    for j, (text, font) in enumerate(headings):
        widest[j] = max(widest[j], int(font.getlength(text)) + PADDING)
    starts = [left + sum(widest[:j]) + j * PADDING for j in range(len(widest) + 1)]
    down = max(height * scale, *(len(label) * LINE for label in lines), 0) + PADDING
    picture = Image.new("RGB", (starts[-1], top + len(rows) * down), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for j, (text, font) in enumerate(headings):
        draw.text((starts[j] + widest[j] // 2, PADDING), text, TEXT, font, anchor="ma")
    for i, row in enumerate(rows):
        if row_labels:
            middle = top + i * down + (down - PADDING) // 2 - (len(lines[i]) - 1) * LINE // 2
            for number, (text, font) in enumerate(lines[i]):
                draw.text((PADDING, middle + number * LINE), text, TEXT, font, anchor="lm")
        for j, image in enumerate(row):
            enlarged = Image.fromarray(image).resize((width * scale, height * scale), Image.Resampling.NEAREST)
            x, y = starts[j] + (widest[j] - width * scale) // 2, top + i * down
            picture.paste(enlarged, (x, y))
            if several:  # a white panel needs an edge on white ground
                draw.rectangle([x - 1, y - 1, x + width * scale, y + height * scale], outline=EDGE)
    return picture


def reconstruction_grid(originals: np.ndarray, reconstructions: np.ndarray) -> Image.Image:
    """Originals above their reconstructions above the difference, four times as strong.

    Args:
        originals: uint8 [N, H, W, C].
        reconstructions: uint8 [N, H, W, C].
    """
    difference = np.abs(originals.astype(np.int16) - reconstructions) * DIFFERENCE_GAIN
    rows = [list(originals), list(reconstructions), list(difference.clip(0, 255).astype(np.uint8))]
    return image_grid(rows, ["original", "reconstruction", f"difference x{DIFFERENCE_GAIN}"])


def triplet_grid(triplets: np.ndarray, predictions: np.ndarray, mask: np.ndarray, names: Sequence[str]) -> Image.Image:
    """Triplets, one a row, each with its predicted third frame, and the names of what comes from image 2.

    Args:
        triplets: uint8 [N, 3, H, W, C].
        predictions: uint8 [N, H, W, C].
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
