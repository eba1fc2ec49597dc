"""A sequence beside its latents as a file: a GIF, an MP4 or an HTML page, and how many frames fit into each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from PIL import Image

from citris_cli.show import latents_page
from citris_cli.show.animation import GIF_FASTEST, gif_bytes, mp4_bytes
from citris_cli.show.console import Progress
from citris_cli.show.latent_bars import LatentBars, frame_size, picture_height, widest
from citris_cli.show.latents import Group, LatentSequence
from citris_cli.show.panels import panel_count, tiled_size
from citris_cli.system import available_memory

#: What can be written, by the ending of its file.
KINDS = {".gif": "a GIF", ".mp4": "an MP4", ".html": "a page"}
#: Bytes that a GIF's pictures (one a pixel), or an MP4's frames, may take in memory.
GIF_BYTES, MP4_BYTES = 256 << 20, 512 << 20
#: From so many pictures on their drawing takes long enough for a progress display.
LONG = 400


def frames_that_fit(kind: str, width: int, groups: Sequence[Group], channels: int = 3, tiles: int = 1) -> int:
    """How many frames a file of a kind can hold, and this machine's memory while it is made; at least 1.

    Args:
        kind: one of :data:`KINDS`.
        width: of a frame in pixels.
        groups: of the latents.
        channels: of a frame.
        tiles: frames that are shown at once.
    """
    high, wide = _picture_size(width, channels, tiles)
    frame_bytes = high * wide * 3
    if kind == ".html":
        fit, each = frames_on_a_page(width, groups, channels, tiles), frame_bytes
    elif kind == ".mp4":
        fit, each = MP4_BYTES // frame_bytes, frame_bytes  # its pictures are drawn and encoded one by one
    else:
        side, height = frame_size(high, wide, tiles)
        each = widest(side) * picture_height(groups, height)
        fit = GIF_BYTES // each
    # Twice, for what is made of them is in memory together with them.
    return max(1, min(fit, available_memory() // (2 * each)))


def frames_on_a_page(width: int, groups: Sequence[Group], channels: int = 3, tiles: int = 1) -> int:
    """How many frames a page can hold, whatever the memory."""
    high, wide = _picture_size(width, channels, tiles)
    values = sum(len(group.latents) for group in groups) * (1 if tiles == 1 else 3)  # a mean and both ends
    return latents_page.frames_that_fit(wide, high, values)


def _picture_size(width: int, channels: int, tiles: int) -> tuple[int, int]:
    return (panel_count(channels) * width, width) if tiles == 1 else tiled_size(tiles, channels, width)


def animation_bytes(kind: str, sequence: LatentSequence, rate: float, sources: Sequence[str] = ()) -> bytes:
    """The animation, with a progress display if there is much to draw.

    Args:
        kind: one of :data:`KINDS`.
        sequence: what it shows, of at most :func:`frames_that_fit` frames.
        rate: frames a second.
        sources: what it was made of; a GIF carries them, see :func:`citris_cli.show.animation.gif_bytes`.

    Raises:
        CitrisError: ffmpeg could not make the MP4.
    """
    if kind == ".html":
        return latents_page.latents_page(sequence, rate).encode(errors="replace")
    bars = LatentBars(sequence)
    pictures = _with_progress(bars, len(bars)) if len(bars) >= LONG else iter(bars)
    if kind == ".mp4":
        return mp4_bytes(pictures, rate)
    return gif_bytes(pictures, 1000 / rate, bars.exact_colours, sources)


def slower_than_asked(kind: str, rate: float) -> str | None:
    """A sentence where an animation cannot show so many frames a second."""
    if kind != ".gif" or rate <= GIF_FASTEST:
        return None
    return (
        f"--fps {rate:g}: a GIF shows at most {GIF_FASTEST:g} frames per second, and so does this one; write an "
        ".mp4 or an .html for more"
    )


def _with_progress(pictures: Iterable[Image.Image], count: int) -> Iterator[Image.Image]:
    started = time.monotonic()
    with Progress(count, "drawing", unit="frames") as display:
        for number, picture in enumerate(pictures, start=1):
            yield picture
            display.update(number, number / max(time.monotonic() - started, 1e-9), {})
