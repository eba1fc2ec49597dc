"""Single pictures as the user has them, made into frames of the model's size."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from citris_cli.data import signatures
from citris_cli.data.layout import natural_key
from citris_cli.errors import InputError

# Formats with a decoder inside Pillow; others (EPS) would start another program on the user's file.
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA")
_SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".tga"}
_MAX_PIXELS = 64_000_000


def read_image(source: Path | bytes, label: str, size: int) -> tuple[np.ndarray, str | None]:
    """A picture as a frame of `size`×`size` pixels.

    Alpha is dropped, not blended, as the datasets' is; of an animation the first frame is taken; a picture that is
    not square is cropped to its middle, and one of another size is resized.

    Args:
        source: the picture's path, or its bytes.
        label: what messages call it.
        size: height and width of the result in pixels.

    Returns:
        uint8 [size, size, 3], 0…255, and a note on what was cropped or resized, or None.

    Raises:
        InputError: missing, unreadable, no picture, damaged, or of more than 64 million pixels.
    """
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{label}: there is no such file; check the path") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{label}: the picture cannot be read ({reason}); check the path") from None
    if why_not := signatures.refusal(data[: signatures.LOOKED_AT], "picture"):
        raise InputError(f"{label}: {why_not}")
    picture = _decode(data, label)
    width, height = picture.size
    changes = []
    if width != height:
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
        changes.append(f"cropped from {height}×{width} to its middle {side}×{side}")
    if picture.size != (size, size):
        changes.append(f"resized from {picture.height}×{picture.width} to {size}×{size}")
        picture = picture.resize((size, size), Image.Resampling.LANCZOS)
    note = f"{label}: {' and '.join(changes)} pixels" if changes else None
    return np.array(picture, dtype=np.uint8), note


def list_images(folder: Path) -> list[Path]:
    """The pictures in a folder (not below it) by file suffix, frame2 before frame10.

    Raises:
        InputError: no such folder, or no picture in it.
    """
    try:
        found = [path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES and path.is_file()]
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be read ({error.strerror}); check the path") from None
    if not found:
        raise InputError(f"{folder}: there is no picture in this folder; it needs files such as .png or .jpg")
    return sorted(found, key=natural_key)


def _decode(data: bytes, label: str) -> Image.Image:
    """The picture in mode RGB, upright."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data), formats=_FORMATS)
        # Opening reads the header only; the size is judged before the pixels take memory.
        if picture.width * picture.height > _MAX_PIXELS:
            raise Image.DecompressionBombError
        return _to_rgb(ImageOps.exif_transpose(picture), label)
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"{label}: the picture has more than {_MAX_PIXELS:,} pixels; make it smaller first") from None
    except Image.UnidentifiedImageError:
        found = signatures.identify(data[: signatures.LOOKED_AT])
        what = "no picture that can be read" if found is None else f"{found.name} that is damaged or cut off"
        raise InputError(f"{label}: this is {what}; give a PNG or JPEG file") from None
    except Exception as error:
        # Pillow's decoders raise many kinds of error on damaged data.
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{label}: the picture is damaged ({reason}); save it again") from None


def _to_rgb(picture: Image.Image, label: str) -> Image.Image:
    if picture.mode == "F":
        raise InputError(f"{label}: the picture holds floating-point values; save it with 8 bits a channel")
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        # 16-bit grey: 0…65535 to 0…255, which Pillow's own conversion would clip instead.
        grey = np.asarray(picture).astype(np.int64)
        picture = Image.fromarray((np.clip(grey, 0, 65535) / 257).round().astype(np.uint8))
    if picture.mode == "P":
        picture = picture.convert("RGBA")
    # From RGBA this drops alpha; nothing is blended.
    return picture.convert("RGB")
