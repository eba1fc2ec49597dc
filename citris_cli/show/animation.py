"""Moving pictures."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from citris_cli.errors import CitrisError, InputError

#: A GIF counts time in hundredths of a second, and browsers slow down what is shown for less than two of them.
GIF_TICK, GIF_SHORTEST = 10, 20
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

    Args:
        pictures: RGB pictures of one size, at least one; drawn one by one where they come from a generator.
        duration: milliseconds that each is shown; rounded to hundredths of a second, at least two of them.
        palette: of :func:`shared_palette`; if None, made from all the pictures.
        sources: what they were made of, one a line of the comment that the file carries.
    """
    if palette is None:
        pictures = list(pictures)
        palette = shared_palette(pictures)
    frames = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures)
    first = next(frames)
    file = io.BytesIO()
    shown = max(GIF_SHORTEST, round(duration / GIF_TICK) * GIF_TICK)
    # Only with a palette named does Pillow write it once, and not again for every picture.
    colours = bytes(palette.getpalette() or [])
    comment = "\n".join(sources).encode(errors="replace")
    first.save(
        file, "GIF", save_all=True, append_images=frames, palette=colours, duration=shown, loop=0, comment=comment
    )
    return file.getvalue()


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
