"""Pictures as the user has them, single or in a sequence, made into frames of the model's size.

First :func:`look_at` judges a file by its header; then :func:`read_pictures` decodes one picture of it at a time, so
that a film of any length takes the memory of one picture.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
from PIL import ExifTags, Image, ImageOps

from citris_cli.artifacts.files import listed
from citris_cli.data import signatures
from citris_cli.data.npz import require_memory
from citris_cli.data.paths import is_hidden, natural_key
from citris_cli.errors import InputError
from citris_cli.wording import reason

#: Width and height of a picture in pixels.
Size: TypeAlias = tuple[int, int]

#: Pillow's mode of a picture with so many channels; and its modes without colours.
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_GREY = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")

# Formats with a decoder inside Pillow; others (EPS) would start another program on the user's file.
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA")
# Those of them whose files may be sequences. A JPEG with several pictures (MPO) has depth or a gain map beside the one.
_SEQUENCES = ("GIF", "PNG", "TIFF", "WEBP")
# Of files that one may take for pictures, and that are none here.
_NOT_READ = {".avif", ".avi", ".dng", ".exr", ".heic", ".heif", ".jp2", ".jxl", ".mkv", ".mov", ".mp4", ".npy", ".webm"}
_SUFFIXES = {".png", ".apng", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".tga"}
_MAX_PIXELS = 64_000_000
# Of a sequence together: some minutes of decoding. Frames of a GIF may claim much and take few bytes.
_MAX_PIXELS_TOGETHER = 16_000_000_000
# A PNG says how many it has, and need not have them.
_MAX_PICTURES = 1_000_000
# Of what is no regular file (a pipe, a device) and is kept until it is decoded.
_MAX_BYTES = 1 << 30
# Pixels whose 16 bits are made 8 at a time.
_STRIP = 1 << 18
# TIFF: pages that are a smaller version or the mask of another one.
_SUBFILE_TYPE, _NO_PAGE_OF_ITS_OWN = 254, 0b101
_TURNED = (5, 6, 7, 8)


@dataclass(frozen=True, eq=False)
class PictureFile:
    """A file with one picture or a sequence of them, of which the header was read.

    Attributes:
        label: what messages call it.
        sizes: of every picture, upright; one of a still picture.
        in_colour: whether the first of them may have other colours than grey.
        with_alpha: whether the first of them has a channel after its colours.
    """

    label: str
    sizes: tuple[Size, ...]
    in_colour: bool
    with_alpha: bool
    _source: Path | bytes
    # Where the pictures are in the file, as Pillow counts.
    _places: Sequence[int]


def look_at(source: Path | IO[bytes], label: str) -> PictureFile:
    """Find out what a file holds by its header; nothing is decoded.

    An animated GIF, WebP or PNG and a TIFF of several pages are sequences.

    Args:
        source: the file's path, or a stream that is read to its end.
        label: what messages call it.

    Raises:
        InputError: missing, unreadable, no picture, a damaged header, or a picture of more than 64 million pixels.
    """
    content: Path | bytes
    try:
        if not isinstance(source, Path):
            content = _taken(source, label)
        elif source.is_file():
            content = source
        else:
            # A pipe cannot be opened a second time.
            with source.open("rb") as stream:
                content = _taken(stream, label)
    except FileNotFoundError:
        raise InputError(f"{label}: there is no such file; check the path") from None
    except (OSError, ValueError) as error:
        raise _unreadable(error, label) from None
    with _opened(content, label) as picture, _problems(label):
        places = _places(picture, label)
        if picture.format != "TIFF":
            return PictureFile(
                label,
                (_upright(picture),) * len(places),
                picture.mode not in _GREY,
                _has_alpha(picture),
                content,
                places,
            )
        sizes = []
        for place in places:
            picture.seek(place)
            _require_decodable(picture)
            sizes.append(_upright(picture))
        return PictureFile(label, tuple(sizes), picture.mode not in _GREY, _has_alpha(picture), content, places)


def read_pictures(file: PictureFile, numbers: Sequence[int], size: int, channels: int = 3) -> Iterator[np.ndarray]:
    """Decode pictures of a file one by one, as frames of `size`×`size` pixels.

    A frame of an animation is what is on the screen when it is its turn. Rotation in the EXIF data is applied; alpha
    is dropped, not blended, as the datasets' is, unless it is the last of the channels that are asked for; a picture
    that is not square is cropped to its middle, and one of another size is resized (:func:`change`).

    Args:
        file: as :func:`look_at` gave it.
        numbers: which pictures, counted from 0, rising or falling, at least one.
        size: height and width of the result in pixels.
        channels: C: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.

    Yields:
        uint8 [size, size, C], 0…255.

    Raises:
        InputError: damaged, in all of more than 16 billion pixels, or without the channels.
    """
    if channels not in _MODES:
        raise InputError(
            f"{file.label}: no picture has {channels} channels, as the model's frames have; give frames of a dataset, "
            "such as data.npz#17"
        )
    if len(numbers) > 1 and numbers[0] > numbers[-1]:
        # Each frame of an animation is made of the ones before it.
        what = f"{file.label}: reading {len(numbers):,} pictures backwards"
        require_memory(len(numbers) * size * size * channels, what, "choose fewer, or read them forwards")
        yield from reversed(list(read_pictures(file, numbers[::-1], size, channels)))
        return
    for number, picture in _decoded(file, numbers, _MODES[channels]):
        with _problems(name_of(file, number)):
            frame = _frame(picture, _MODES[channels], size).reshape(size, size, channels)
        yield frame


def read_whole(file: PictureFile, numbers: Sequence[int], channels: int) -> Iterator[np.ndarray]:
    """Decode pictures of a file one by one, each whole and in its own size, upright.

    Args:
        file: as :func:`look_at` gave it.
        numbers: which pictures, counted from 0, rising, at least one.
        channels: C, as in :func:`read_pictures`.

    Yields:
        uint8 [H, W, C], 0…255.

    Raises:
        InputError: as :func:`read_pictures`.
    """
    for number, picture in _decoded(file, numbers, _MODES[channels]):
        with _problems(name_of(file, number)):
            pixels = np.array(picture.convert(_MODES[channels]), dtype=np.uint8)
        yield pixels.reshape(picture.height, picture.width, channels)


def _decoded(file: PictureFile, numbers: Sequence[int], mode: str) -> Iterator[tuple[int, Image.Image]]:
    """Pictures of a file with their numbers, upright, in a mode or in grey of 8 bits."""
    together = sum(width * height for width, height in file.sizes[: numbers[-1] + 1])
    if len(file.sizes) > 1 and together > _MAX_PIXELS_TOGETHER:
        raise InputError(
            f"{file.label}: its {len(file.sizes):,} pictures have more than {_MAX_PIXELS_TOGETHER:,} pixels together; "
            "make them smaller first, or choose the first of them (#:100)"
        )
    with _opened(file._source, file.label) as picture:
        for number in numbers:
            label = name_of(file, number)
            with _problems(label):
                _go_to(picture, file._places[number])
                upright = _upright_picture(picture, label, mode)
            yield number, upright


def name_of(file: PictureFile, number: int, called: str | None = None) -> str:
    """What a picture of a file is called: as the file, and of a sequence its number: ``film.gif#3``.

    Args:
        file: as :func:`look_at` gave it.
        number: of the picture, counted from 0.
        called: the file's name if it is another one than messages use.
    """
    name = file.label if called is None else called
    return f"{name}#{number}" if len(file.sizes) > 1 else name


def change(found: Size, size: int, count: int = 1) -> str | None:
    """What becomes of pictures of another size than the model's, in words.

    Args:
        found: width and height of the pictures.
        size: the model's.
        count: how many pictures there are of this size.

    Returns:
        Such as "cropped from 120×80 to their middle 80×80 and resized to 64×64 pixels", or None.
    """
    side = min(found)
    changes = []
    if found != (side, side):
        whose = "its" if count == 1 else "their"
        changes.append(f"cropped from {found[0]}×{found[1]} to {whose} middle {side}×{side}")
    if side != size:
        changes.append(f"resized {'' if changes else f'from {side}×{side} '}to {size}×{size}")
    return f"{' and '.join(changes)} pixels" if changes else None


def resized(picture: Image.Image, width: int, height: int) -> Image.Image:
    """A picture in another size, by Lanczos; of one at least six times as large, blocks of pixels are averaged first.

    To filter all of a large picture takes most of the time, and few values would differ by more than one (Pillow's
    ``reducing_gap`` of 3).
    """
    return picture.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)


def list_images(folder: Path) -> list[Path]:
    """The pictures in a folder (not below it) by file suffix, frame2 before frame10; hidden files are none.

    Raises:
        InputError: no such folder, or no picture in it.
    """
    there = [path for path in listed(folder) if not is_hidden(path.name)]
    found = [path for path in there if path.suffix.lower() in _SUFFIXES and path.is_file()]
    if not found:
        inside = any(path.is_dir() for path in there)
        instead = f"; name folders in it, or the pattern '{folder}/*'" if inside else ""
        raise InputError(f"{folder}: there is no picture in this folder; it needs files such as .png or .jpg{instead}")
    return sorted(found, key=natural_key)


def list_others(folder: Path) -> list[Path]:
    """What one may take for pictures in a folder and cannot be read here: HEIC, films, ``.npy``, links to nothing."""
    there = (path for path in listed(folder) if not is_hidden(path.name) and not path.is_dir())
    found = (path for path in there if path.suffix.lower() in (_NOT_READ if path.is_file() else _NOT_READ | _SUFFIXES))
    return sorted(found, key=natural_key)


def _taken(stream: IO[bytes], label: str) -> bytes:
    """All of a stream."""
    taken = io.BytesIO()  # which gives its bytes without a copy
    while block := stream.read(1 << 20):
        taken.write(block)
        if taken.tell() > _MAX_BYTES:
            raise InputError(
                f"{label}: more than {_MAX_BYTES >> 30} GiB came, which cannot be a picture; give a PNG or JPEG"
            )
    return taken.getvalue()


def _unreadable(error: OSError | ValueError, label: str) -> InputError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InputError(f"{label}: the picture cannot be read ({why}); check the path")


@contextmanager
def _opened(content: Path | bytes, label: str) -> Iterator[Image.Image]:
    """The picture with only its header read."""
    try:
        stream: IO[bytes] = io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
    except OSError as error:
        raise _unreadable(error, label) from None
    with stream:
        with _problems(label):
            start = stream.read(signatures.LOOKED_AT)
            if why_not := signatures.refusal(start, "picture"):
                raise InputError(f"{label}: {why_not}")
            stream.seek(0)
            try:
                picture = Image.open(stream, formats=_FORMATS)
            except Image.UnidentifiedImageError:
                found = signatures.identify(start)
                what = (
                    "not a picture that citris can read"
                    if found is None
                    else f"{found.name} that is damaged or cut off"
                )
                raise InputError(f"{label}: this is {what}; give a PNG or JPEG file") from None
            _require_decodable(picture)
        yield picture


@contextmanager
def _problems(label: str) -> Iterator[None]:
    """Turn whatever Pillow raises into one sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow finds odd in a file and reads all the same
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"{label}: the picture has more than {_MAX_PIXELS:,} pixels; make it smaller first") from None
    except Exception as error:
        # Pillow's decoders raise many kinds of error on damaged data.
        raise InputError(f"{label}: the picture is damaged ({reason(error)}); save it again") from None


def _require_decodable(picture: Image.Image) -> None:
    # Opening and seeking read headers; the size is judged before the pixels take memory.
    if picture.width * picture.height > _MAX_PIXELS:
        raise Image.DecompressionBombError


def _places(picture: Image.Image, label: str) -> Sequence[int]:
    """Which of the pictures in a file are those of its sequence, as Pillow counts; only the first of a still one."""
    count = getattr(picture, "n_frames", 1) if picture.format in _SEQUENCES else 1
    if count > _MAX_PICTURES:
        raise InputError(f"{label}: it claims to have {count:,} pictures; save at most {_MAX_PICTURES:,} in one")
    if picture.format == "TIFF" and count > 1:
        return _pages(picture, count) or [0]
    # A PNG may have a picture for programs that know no animations; it is no part of the sequence.
    first = int(count > 1 and getattr(picture, "default_image", False))
    return range(first, count)


def _pages(picture: Image.Image, count: int) -> list[int]:
    pages = []
    for page in range(count):
        picture.seek(page)
        if not int(picture.tag_v2.get(_SUBFILE_TYPE, 0)) & _NO_PAGE_OF_ITS_OWN:  # type: ignore[attr-defined]
            pages.append(page)
    return pages


def _go_to(picture: Image.Image, place: int) -> None:
    """Move on to a picture of a sequence."""
    if picture.format == "PNG":
        # Pillow needs the frames between decoded, or what they leave on the screen would be wrong.
        for between in range(picture.tell() + 1, place):
            picture.seek(between)
            picture.load()
    if place != picture.tell():
        picture.seek(place)


def _has_alpha(picture: Image.Image) -> bool:
    return "A" in picture.mode or "transparency" in picture.info


def _upright(picture: Image.Image) -> Size:
    """Width and height once the rotation in the EXIF data is applied, by the header alone."""
    if picture.format == "TIFF":
        # Pillow's own size is that of the upright page or not, as its version has it.
        tags = picture.tag_v2  # type: ignore[attr-defined]
        width, height = int(tags[ExifTags.Base.ImageWidth]), int(tags[ExifTags.Base.ImageLength])
        orientation = tags.get(ExifTags.Base.Orientation)
    else:
        width, height = picture.size
        # What stands behind the pixels would have them decoded.
        orientation = picture.getexif().get(ExifTags.Base.Orientation) if "exif" in picture.info else None
    return (height, width) if orientation in _TURNED else (width, height)


def _upright_picture(picture: Image.Image, label: str, mode: str) -> Image.Image:
    """The picture that the file is at, upright, in a mode of :data:`_MODES` or in grey of 8 bits.

    What Pillow holds of a pixel, up to 4 bytes, is held twice at most.

    Args:
        picture: an open file.
        label: for messages.
        mode: that is wanted.
    """
    _require_decodable(picture)
    if picture.mode == "F":
        raise InputError(f"{label}: the picture holds floating-point values; save it with 8 bits a channel")
    picture.load()  # what stands behind the pixels of a file is known then
    if picture.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        picture = ImageOps.exif_transpose(picture)
    return _converted(picture, label, mode)


def _frame(picture: Image.Image, mode: str, size: int) -> np.ndarray:
    """The middle square of a picture, resized: uint8 [size, size] or [size, size, C].

    Args:
        picture: as :func:`_upright_picture` gave it.
        mode: of :data:`_MODES`.
        size: in pixels.
    """
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    if picture.width != picture.height:
        picture = picture.crop((left, top, left + side, top + side))
    if side != size:
        picture = resized(picture, size, size)
    # Grey in colours, of which each channel would have been resized alike.
    return np.array(picture if picture.mode == mode else picture.convert(mode), dtype=np.uint8)


def _converted(picture: Image.Image, label: str, mode: str) -> Image.Image:
    """A picture in a mode, or in grey of 8 bits where it has no other colours and none but these are wanted."""
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        picture = _in_8_bits(picture)
    if picture.mode == "P":
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    if mode.endswith("A") and "A" not in picture.mode:
        raise InputError(
            f"{label}: the picture has no channel after its colours, and the model's frames have one; "
            "give a frame of a dataset, such as data.npz#17, or a PNG that carries it as alpha"
        )
    if picture.mode in (mode, "L"):
        return picture
    # From RGBA to RGB this drops alpha; nothing is blended.
    return picture.convert(mode)


def _in_8_bits(picture: Image.Image) -> Image.Image:
    """16-bit grey, 0…65535, as 0…255, which Pillow's own conversion would clip instead; strip by strip."""
    grey = Image.new("L", picture.size)
    rows = max(1, _STRIP // picture.width)
    for top in range(0, picture.height, rows):
        box = (0, top, picture.width, min(top + rows, picture.height))
        strip = np.clip(np.asarray(picture.crop(box)).astype(np.int64), 0, 65535)
        grey.paste(Image.fromarray((strip / 257).round().astype(np.uint8)), box)
    return grey
