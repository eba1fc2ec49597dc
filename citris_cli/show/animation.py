"""Moving pictures."""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import GifImagePlugin, Image, ImageChops

from citris_cli.errors import CitrisError, InputError

#: Milliseconds: a GIF counts time in hundredths of a second, and browsers slow down what is shown for less than two.
GIF_TICK, GIF_SHORTEST = 10, 20
#: Pictures a second that a GIF can show, therefore.
GIF_FASTEST = 1000 / GIF_SHORTEST
#: For a palette: colours with the largest areas that it has as they are, and low bits that make no other shade.
COMMON, COARSE = 32, 3
#: What red, green and blue count in a number that stands for a colour.
PLACES = np.array([1 << 16, 1 << 8, 1])


def shared_palette(pictures: Sequence[Image.Image], exact: Sequence[tuple[int, int, int]] = ()) -> Image.Image:
    """A palette of 256 colours for pictures that are shown one after the other.

    Args:
        pictures: RGB pictures of one size, at least one, whose colours it should have.
        exact: colours RGB 0 … 255 that it has as they are, at most 128.

    Returns:
        A picture of mode P that carries the palette.
    """
    each = [np.unique(np.asarray(picture) @ PLACES, return_counts=True) for picture in pictures]
    found, place_of = np.unique(np.concatenate([colours for colours, _ in each]), return_inverse=True)
    counts = np.bincount(place_of, weights=np.concatenate([areas for _, areas in each]))
    distinct = np.stack([found // place % 256 for place in PLACES], axis=1).astype(np.uint8)
    # Margins and flat grounds as they are; of the rest every shade counts once, however few pixels have it: a palette
    # by area would give a small object, whose colour is what an intervention changes, a colour of the background.
    common = distinct[np.argsort(-counts, kind="stable")[:COMMON]]
    _, first = np.unique(distinct >> COARSE, axis=0, return_index=True)
    rest = Image.fromarray(distinct[first][None]).quantize(256 - len(exact) - len(common), dither=Image.Dither.NONE)
    colours = [*common.flatten().tolist(), *(rest.getpalette() or [])][: 3 * (256 - len(exact))]
    carrier = Image.new("P", (1, 1))
    carrier.putpalette([*chain.from_iterable(exact), *colours])
    return carrier


def gif_bytes(
    pictures: Iterable[Image.Image],
    duration: float,
    palette: Image.Image | None = None,
    sources: Sequence[str] = (),
) -> bytes:
    """A GIF that repeats for ever, with one palette for all its pictures: what does not change does not flicker.

    Every picture is one of the file's, also one that is equal to the one before it.

    Args:
        pictures: RGB pictures of one size, at least one; drawn one by one where they come from a generator.
        duration: milliseconds that each is shown, at least :data:`GIF_SHORTEST`. A GIF counts hundredths of a second:
            where they do not fit, longer and shorter ones take turns, so that every picture comes at its time.
        palette: of :func:`shared_palette`; if None, made from all the pictures.
        sources: what they were made of, one a line of the comment that the file carries.
    """
    if palette is None:
        pictures = list(pictures)
        palette = shared_palette(pictures)
    duration = max(GIF_SHORTEST, duration)
    frames = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures)
    file = io.BytesIO()
    before: Image.Image | None = None
    shown = 0
    for number, frame in enumerate(frames, start=1):
        if before is None:
            file.write(_gif_start(frame.size, palette, "\n".join(sources)))
        box = _changed(before, frame)
        ticks = round(number * duration / GIF_TICK) - shown
        # Pillow's own writer of sequences leaves out a picture that is equal to the one before.
        file.writelines(GifImagePlugin.getdata(frame.crop(box), box[:2], duration=ticks * GIF_TICK))
        before, shown = frame, shown + ticks
    file.write(b";")
    return file.getvalue()


def _gif_start(size: tuple[int, int], palette: Image.Image, comment: str) -> bytes:
    """What stands before a GIF's pictures (GIF89a, sections 17 to 19, 24 and 26): repeated for ever."""
    colours = bytes(palette.getpalette() or [])[: 3 * 256].ljust(3 * 256, b"\0")
    screen = b"GIF89a" + struct.pack("<HHBBB", *size, 0xF7, 0, 0) + colours
    loop = b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    text = comment.encode(errors="replace")
    parts = [text[start : start + 255] for start in range(0, len(text), 255)]
    told = b"!\xfe" + b"".join(bytes([len(part)]) + part for part in parts) + b"\0" if parts else b""
    return screen + loop + told


def _changed(before: Image.Image | None, now: Image.Image) -> tuple[int, int, int, int]:
    """The part of a picture that differs from the one before it, by the places of its colours; of one pixel if none."""
    if before is None:
        return (0, 0, *now.size)
    return ImageChops.difference(_places(before), _places(now)).getbbox() or (0, 0, 1, 1)


def _places(picture: Image.Image) -> Image.Image:
    """The picture's places in its palette as shades of grey."""
    return Image.frombytes("L", picture.size, picture.tobytes())


def check_mp4() -> None:
    """Find out before any work whether an MP4 can be made.

    Raises:
        InputError: imageio's ffmpeg plugin, or ffmpeg itself, is missing.
    """
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        raise InputError(
            "MP4 needs imageio's ffmpeg plugin, which is not installed; install it with "
            "pip install 'imageio[ffmpeg]', or write a .gif or an .html"
        ) from None


def mp4_bytes(pictures: Iterable[Image.Image], rate: float) -> bytes:
    """An MP4 (H.264) of pictures that are drawn one by one.

    Args:
        pictures: RGB pictures of one size, of even width and height, at least one.
        rate: pictures a second.

    Raises:
        CitrisError: ffmpeg failed.
    """
    import imageio_ffmpeg

    pictures = iter(pictures)
    first = next(pictures)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "animation.mp4"  # what ffmpeg writes needs a place that it can go back to
        try:
            writer = imageio_ffmpeg.write_frames(str(path), first.size, fps=rate, quality=8, macro_block_size=2)
            writer.send(None)
            for picture in chain([first], pictures):
                writer.send(picture.tobytes())
            writer.close()
            return path.read_bytes()
        except OSError as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise CitrisError(f"ffmpeg could not make the MP4 ({reason}); write a .gif or an .html instead") from error
