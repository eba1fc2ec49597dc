"""Moving pictures."""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import GifImagePlugin, Image

from citris_cli.errors import CitrisError, InputError

#: Milliseconds: a GIF counts time in hundredths of a second, and browsers slow down what is shown for less than two.
GIF_TICK, GIF_SHORTEST = 10, 20
#: Pictures a second that a GIF can show, therefore.
GIF_FASTEST = 1000 / GIF_SHORTEST
#: Colours of a picture's palette at most; of 256 places, one is for what stays as it is.
COLOURS = 255
#: For a palette: colours with the largest areas that it has as they are, low bits that make no other shade, and rounds
#: in which the rest of it is fitted to the shades.
COMMON, COARSE, ROUNDS = 32, 2, 4
#: A number that stands for no colour.
NO_COLOUR = np.uint32(1 << 24)
#: Distances that are held in memory at once.
_AT_ONCE = 1 << 22

Array = np.ndarray[Any, Any]
Colour = tuple[int, int, int]


def gif_bytes(
    pictures: Iterable[Image.Image],
    duration: float,
    exact: Sequence[Colour] = (),
    sources: Sequence[str] = (),
) -> bytes:
    """A GIF that repeats for ever. Each picture brings a palette for what changes in it; what does not change stays as
    it is on the screen, so that it does not flicker.

    Every picture is one of the file's, also one that is equal to the one before it.

    Args:
        pictures: RGB pictures of one size, at least one; drawn one by one where they come from a generator.
        duration: milliseconds that each is shown, at least :data:`GIF_SHORTEST`. A GIF counts hundredths of a second:
            where they do not fit, longer and shorter ones take turns, so that every picture comes at its time.
        exact: colours RGB 0 … 255 that are shown as they are, at most 128.
        sources: what they were made of, one a line of the comment that the file carries.
    """
    duration = max(GIF_SHORTEST, duration)
    file = io.BytesIO()
    screen = _Screen(exact)
    ended = 0
    for number, picture in enumerate(pictures, start=1):
        if number == 1:
            file.write(_gif_start(picture.size, "\n".join(sources)))
        part, corner, stays = screen.show(np.asarray(picture))
        ticks = round(number * duration / GIF_TICK) - ended
        options = {"duration": ticks * GIF_TICK, "disposal": 1, "include_color_table": True}
        if number > 1:
            options["transparency"] = stays
        # Pillow's own writer of sequences leaves out a picture that is equal to the one before.
        file.writelines(GifImagePlugin.getdata(part, corner, **options))
        ended += ticks
    file.write(b";")
    return file.getvalue()


class _Screen:
    """What a GIF shows while it is written.

    Args:
        exact: colours that are shown as they are.
    """

    def __init__(self, exact: Sequence[Colour]) -> None:
        self._exact = _numbers(np.array(exact).reshape(-1, 3))
        self._drawn: Array | None = None
        self._shown: Array | None = None

    def show(self, picture: Array) -> tuple[Image.Image, tuple[int, int], int]:
        """Bring the next picture to the screen.

        Args:
            picture: uint8 [H, W, 3].

        Returns:
            The part of it that changes, of mode P; where its left upper corner is; and the place in its palette that
            stands for a pixel of the screen that stays as it is.
        """
        colours = _numbers(picture)
        changed = np.ones(colours.shape, bool) if self._drawn is None else colours != self._drawn
        box = Image.fromarray(changed).getbbox() or (0, 0, 1, 1)
        part = np.s_[box[1] : box[3], box[0] : box[2]]
        pixels = np.where(changed[part], colours[part], NO_COLOUR)
        # Frames are drawn larger than they are, on flat grounds: what is equal side by side is counted as one.
        flat = pixels.reshape(-1)
        starts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))
        lengths = np.diff(np.append(starts, len(flat)))
        found, which = np.unique(flat[starts], return_inverse=True)
        areas = np.bincount(which, weights=lengths)
        some = found != NO_COLOUR
        palette = _palette(found[some], areas[some], self._exact)
        stays = len(palette)
        place = np.append(_nearest(_rgb(found[some]), palette.astype(np.float32)), stays)
        places = np.repeat(place[which], lengths).reshape(pixels.shape)  # the number of no colour is the last one
        if self._shown is None:
            self._shown = palette[places]
        else:
            there, screen = changed[part], self._shown[part]
            old, new, now = screen[there], palette[places[there]], picture[part][there]
            nearer = _apart(new, now) < _apart(old, now)
            places[there] = np.where(nearer, places[there], stays)
            screen[there] = np.where(nearer[:, None], new, old)
        self._drawn = colours
        drawn = Image.frombytes("P", (box[2] - box[0], box[3] - box[1]), places.astype(np.uint8).tobytes())
        drawn.putpalette(palette.tobytes() + bytes(3))
        return drawn, box[:2], stays


def _palette(colours: Array, areas: Array, exact: Array) -> Array:
    """The colours that stand for those of a picture: uint8 [n, 3], at least one and at most :data:`COLOURS`.

    Args:
        colours: different ones, as numbers [c].
        areas: pixels of each [c].
        exact: colours that it has as they are if they are among these, as numbers.
    """
    if len(colours) <= COLOURS:
        return (_rgb(colours) if len(colours) else np.zeros((1, 3))).astype(np.uint8)
    wanted = np.isin(colours, exact)
    order = np.argsort(-np.where(wanted, np.inf, areas), kind="stable")
    kept, rest = np.split(order, [int(wanted.sum()) + COMMON])  # margins and flat grounds, too
    # By the root of the area: a palette by area would give a small object, whose colour is what an intervention
    # changes, a colour of the background; one without regard to it would give a large background bands.
    weights, rgb = np.sqrt(areas[rest]), _rgb(colours[rest])
    shade = np.unique((colours[rest] >> COARSE) & (0x3F3F3F), return_inverse=True)[1]
    heavy = np.bincount(shade, weights)
    shades = _means(shade, rgb, weights, heavy)
    count = COLOURS - len(kept)
    first = Image.fromarray(shades.round().astype(np.uint8)[None]).quantize(count, dither=Image.Dither.NONE)
    fitted = np.array(first.getpalette(), np.float32).reshape(-1, 3)[:count]
    # Not by Pillow's quantize(kmeans=…): over five of our GIFs, what came within 10 % of these mean errors took 10 to
    # 40 % longer, and its root-mean-square errors were 10 to 22 % larger.
    for _ in range(ROUNDS):
        nearest = _nearest(shades, fitted)
        taken = np.bincount(nearest, heavy, len(fitted))
        fitted[taken > 0] = _means(nearest, shades, heavy, taken)[taken > 0]
    return np.concatenate([_rgb(colours[kept]), fitted.round()]).astype(np.uint8)


def _means(group: Array, values: Array, weights: Array, sums: Array) -> Array:
    """Weighted means float32 [g, 3] of the values [n, 3] of each group [n]; ``sums`` are those of the weights [g]."""
    columns = [np.bincount(group, weights * column, len(sums)) for column in values.T]
    return (np.stack(columns, 1) / np.maximum(sums, 1e-9)[:, None]).astype(np.float32)


def _nearest(colours: Array, palette: Array) -> Array:
    """For each colour float32 [n, 3] the place of the one of a palette float32 [m, 3] that is nearest to it."""
    # The square of the distance without that of the colour itself; whole numbers of this size are exact.
    parts = np.array_split(colours, len(colours) * len(palette) // _AT_ONCE + 1)
    own = (palette**2).sum(1)
    return np.concatenate([(own - 2 * (part @ palette.T)).argmin(1) for part in parts])


def _numbers(colours: Array) -> Array:
    """Colours [..., 3], 0 … 255, as one number each, uint32 [...]."""
    red, green, blue = np.moveaxis(colours.astype(np.uint32), -1, 0)
    numbers: Array = red << 16 | green << 8 | blue
    return numbers


def _rgb(numbers: Array) -> Array:
    """The way back from :func:`_numbers`: float32 [n, 3] of [n]."""
    return np.stack([numbers >> 16, numbers >> 8 & 0xFF, numbers & 0xFF], 1).astype(np.float32)


def _apart(one: Array, other: Array) -> Array:
    """Squared distances [n] between colours uint8 [n, 3]."""
    apart = one.astype(np.int32) - other
    return np.einsum("ij,ij->i", apart, apart)


def _gif_start(size: tuple[int, int], comment: str) -> bytes:
    """What stands before a GIF's pictures (GIF89a, sections 17, 18, 24 and 26): repeated for ever."""
    screen = b"GIF89a" + struct.pack("<HHBBB", *size, 0x70, 0, 0)
    loop = b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    text = comment.encode(errors="replace")
    parts = [text[start : start + 255] for start in range(0, len(text), 255)]
    told = b"!\xfe" + b"".join(bytes([len(part)]) + part for part in parts) + b"\0" if parts else b""
    return screen + loop + told


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
