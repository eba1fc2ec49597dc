"""One self-contained HTML page with a sequence's frames beside its causal latents: a slider, keys, no network."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from citris_cli.show.latents import LatentSequence, axis_ticks
from citris_cli.show.page import STYLE, data_uri, embedded_json, filled, text
from citris_cli.show.panels import tile_columns
from citris_cli.wording import visible

TEMPLATE = "latents_page.html"
#: Width and height of the one picture that holds all frames, in pixels: 64 MiB in a browser's memory.
SHEET = 4096
#: Values of latents in a page: some 14 MB of text.
VALUES = 2_000_000
#: Digits of a latent after the point.
DIGITS = 4


def frames_that_fit(width: int, height: int, latents: int) -> int:
    """How many frames a page can hold.

    Args:
        width, height: of a frame in pixels, with all its panels.
        latents: number of latents M.
    """
    return min((SHEET // width) * (SHEET // height), VALUES // latents)


def latents_page(sequence: LatentSequence, rate: float) -> str:
    """The page.

    Every name is escaped, or put where the browser takes it for text; the page's own policy forbids all network access.

    Args:
        sequence: what it shows, of at most :func:`frames_that_fit` frames.
        rate: frames a second that it starts with.
    """
    columns = sheet_columns(*sequence.pictures.shape[:3])
    values = {
        "style": STYLE,
        "title": text(sequence.title),
        "data": embedded_json(_data(sequence, columns, rate)),
        "sheet": data_uri(sprite_sheet(sequence.pictures, columns)),
    }
    return filled(TEMPLATE, values)


def _data(sequence: LatentSequence, columns: int, rate: float) -> dict[str, Any]:
    low, high = sequence.limits
    return {
        "source": visible(sequence.source),
        "width": sequence.pictures.shape[2],
        "height": sequence.pictures.shape[1],
        "columns": columns,
        "first": sequence.first,
        "rate": rate,
        "limits": [low, high],
        "ticks": [float(f"{tick:.6g}") for tick in axis_ticks(low, high)],
        "groups": [
            {"name": group.name, "latents": group.latents, "light": group.light, "dark": group.dark}
            for group in sequence.groups
        ],
        "z": _rounded(sequence.z),
        "ranges": _rounded(sequence.ranges),
        "spread": None if sequence.spread is None else [_rounded(values) for values in sequence.spread],
        "tiles": tile_columns(sequence.tiles),
        "legend": visible(sequence.legend),
        "marked": [sequence.marked(frame) for frame in range(len(sequence.images))],
        "captions": [sequence.caption(frame) for frame in range(len(sequence.images))],
    }


def _rounded(values: np.ndarray[Any, Any]) -> list[list[float]]:
    return values.astype(np.float64).round(DIGITS).tolist()


def sheet_columns(count: int, height: int, width: int) -> int:
    """Frames in a row of the sheet of all of them, such that it is about as high as wide.

    Args:
        count: frames.
        height, width: of a frame in pixels.
    """
    square = int(np.ceil(np.sqrt(count * height / width)))
    least = -(-count // (SHEET // height))
    return max(1, least, min(square, SHEET // width, count))


def sprite_sheet(images: np.ndarray[Any, Any], columns: int) -> Image.Image:
    """All frames in one picture, row by row.

    Args:
        images: uint8 [N, H, W, 3].
        columns: frames in a row; see :func:`sheet_columns`.
    """
    count, height, width = images.shape[:3]
    rows = -(-count // columns)
    sheet = np.zeros((rows, height, columns, width, 3), np.uint8)
    for number, image in enumerate(images):
        sheet[number // columns, :, number % columns] = image
    return Image.fromarray(sheet.reshape(rows * height, columns * width, 3))
