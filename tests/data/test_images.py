import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, TiffImagePlugin

from citris_cli.data import images
from citris_cli.data.images import change, list_images, look_at, read_pictures
from citris_cli.errors import InputError
from tests.data.memory import grown_by, needs_proc


def png(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def picture(mode: str = "RGB", size: tuple[int, int] = (64, 64)) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def read(source: bytes | Path, label: str = "x", size: int = 64) -> list[np.ndarray]:
    """All pictures of a file, as frames of the given size."""
    file = look_at(source if isinstance(source, Path) else io.BytesIO(source), label)
    return list(read_pictures(file, range(len(file.sizes)), size))


def test_a_frame_of_the_right_size_is_left_alone(tmp_path: Path) -> None:
    source = picture()
    (tmp_path / "a.png").write_bytes(png(source))
    for given in (tmp_path / "a.png", png(source)):
        (frame,) = read(given)
        np.testing.assert_array_equal(frame, np.asarray(source))
    assert change((64, 64), 64) is None


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "I;16", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    if mode == "I;16":
        source = Image.fromarray((np.arange(64 * 64, dtype=np.uint16) * 16).reshape(64, 64))
    else:
        source = picture(mode)
    (frame,) = read(png(source, "TIFF" if mode == "CMYK" else "PNG"))
    assert frame.shape == (64, 64, 3)
    assert frame.dtype == np.uint8
    if mode == "I;16":
        assert (frame[0, 0, 0], frame[-1, -1, 0]) == (0, 255)


def test_alpha_is_dropped_and_not_blended() -> None:
    array = np.full((64, 64, 4), 200, dtype=np.uint8)
    array[..., 3] = 0
    (frame,) = read(png(Image.fromarray(array)))
    assert (frame == 200).all()


def film(mode: str) -> list[Image.Image]:
    """Six frames of a disc that moves, of 48×32 pixels."""
    frames = []
    for number in range(6):
        frame = Image.new("RGBA", (48, 32), (250, 240, 230, 0 if mode == "RGBA" else 255))
        draw = ImageDraw.Draw(frame)
        draw.ellipse([6 * number, 4, 6 * number + 14, 18], fill=(200, 40 * number, 30, 255))
        draw.rectangle([30, 20, 40, 30], fill=(0, 0, 200, 128 if mode == "RGBA" else 255))
        frames.append(frame if mode == "RGBA" else frame.convert("RGB").convert(mode))
    return frames


def composed(content: bytes) -> list[np.ndarray]:
    """What Pillow shows of every frame, its middle square."""
    with Image.open(io.BytesIO(content)) as found:
        shown = []
        for number in range(found.n_frames):
            found.seek(number)
            whole = found.convert("RGBA").convert("RGB") if found.mode == "P" else found.convert("RGB")
            shown.append(np.asarray(whole.crop((8, 0, 40, 32))))
    return shown


SEQUENCES: list[tuple[str, dict[str, Any]]] = [
    *[("GIF", {"disposal": disposal}) for disposal in (0, 1, 2, 3)],
    *[("PNG", {"disposal": disposal, "blend": blend}) for disposal in (0, 1, 2) for blend in (0, 1)],
    ("WEBP", {"lossless": True}),
    ("TIFF", {}),
]


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        (mode, kind, options)
        for mode in ("RGB", "RGBA", "P", "L")
        for kind, options in SEQUENCES
        if kind != "PNG" or mode.startswith("RGB") or not options["disposal"]  # Pillow cannot write the others
    ],
)
def test_every_frame_of_a_sequence_is_what_is_on_the_screen(mode: str, kind: str, options: dict[str, Any]) -> None:
    first, *others = film(mode)
    content = png(first, kind, save_all=True, append_images=others, **options)
    expected = composed(content)
    file = look_at(io.BytesIO(content), "film")
    assert file.sizes == ((48, 32),) * 6
    assert len(np.unique(np.stack(expected), axis=0)) == 6
    # In order, from the middle, with gaps, backwards: each is the same picture.
    for numbers in (range(6), range(3, 6), range(1, 6, 2), range(5, 6), range(5, -1, -2)):
        found = list(read_pictures(file, numbers, 32))
        assert len(found) == len(numbers)
        for number, frame in zip(numbers, found, strict=True):
            np.testing.assert_array_equal(frame, expected[number])


def test_what_is_no_picture_of_a_sequence_is_not_taken_for_one() -> None:
    still, *frames = (Image.new("RGB", (32, 32), colour) for colour in ("red", "lime", "blue"))
    # What a program shows that knows no animations.
    shown = read(png(still, "PNG", save_all=True, append_images=frames, default_image=True), size=32)
    assert [frame[0, 0].tolist() for frame in shown] == [[0, 255, 0], [0, 0, 255]]
    # A small version of the page before it, and its mask.
    stream = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(stream, new=True) as pages:
        for page, kind in zip((still, frames[0], frames[1], still), (0, 1, 4, 0), strict=True):
            page.save(pages, "TIFF", tiffinfo={254: kind})
            pages.newFrame()
    shown = read(stream.getvalue(), size=32)
    assert [frame[0, 0].tolist() for frame in shown] == [[255, 0, 0], [255, 0, 0]]
    # The second picture that a telephone's JPEG holds.
    assert len(read(png(still, "MPO", save_all=True, append_images=frames[:1]), size=32)) == 1


def test_pages_have_sizes_of_their_own() -> None:
    pages = [Image.new("RGB", size) for size in ((40, 32), (32, 32), (64, 96))]
    content = png(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert look_at(io.BytesIO(content), "x").sizes == ((40, 32), (32, 32), (64, 96))
    assert [frame.shape for frame in read(content, size=32)] == [(32, 32, 3)] * 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_the_size_is_that_of_the_upright_picture(kind: str) -> None:
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn
    source = Image.fromarray(np.repeat(np.array([[[0], [255]]], np.uint8), 32, 1).repeat(32, 0).repeat(3, 2))
    content = png(source, kind, exif=exif)
    assert look_at(io.BytesIO(content), "x").sizes == ((32, 64),)
    (frame,) = read(content, size=32)
    assert frame[:12].mean() < 30
    assert frame[-12:].mean() > 220


def test_other_sizes_are_cropped_and_resized_which_words_tell() -> None:
    array = np.zeros((40, 80, 3), dtype=np.uint8)
    array[:, 20:60] = 255
    (frame,) = read(png(Image.fromarray(array)))
    assert frame.shape == (64, 64, 3)
    assert frame.min() >= 250
    assert change((80, 40), 64) == "cropped from 80×40 to its middle 40×40 and resized to 64×64 pixels"
    assert change((120, 80), 64, 50) == "cropped from 120×80 to their middle 80×80 and resized to 64×64 pixels"
    assert change((80, 64), 64) == "cropped from 80×64 to its middle 64×64 pixels"
    assert change((128, 128), 64) == "resized from 128×128 to 64×64 pixels"


def _bomb() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"no picture at all", "this is text, not a picture; give a PNG or JPEG file"),
        (b"\x01\xff" * 40, "this is not a picture that citris can read"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "this is a PNG picture that is damaged or cut off"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n",
            "this is a PostScript file, of a kind that is not read; save it as PNG",
        ),
        (png(picture())[:2000], "damaged"),
        (png(picture(), "JPEG")[:700], "damaged"),
        (_bomb(), "more than 64,000,000 pixels"),
        (png(Image.new("F", (64, 64)), "TIFF"), "floating-point"),
    ],
)
def test_bad_pictures(data: bytes, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(data, "x.png")
    assert str(caught.value).startswith("x.png: ")
    assert message in str(caught.value)


def gif(width: int, height: int, frames: list[tuple[int, int]]) -> bytes:
    """A GIF whose header claims a size, with frames that claim theirs and hold one pixel."""
    start = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes([0, 0, 0, 255, 0, 0])
    pixel = b"\x02\x02\x44\x01\x00"
    return start + b"".join(b"," + struct.pack("<HHHHB", 0, 0, *size, 0) + pixel for size in frames) + b";"


@needs_proc
def test_a_hundred_thousand_frames_take_the_memory_of_one(tmp_path: Path) -> None:
    (tmp_path / "long.gif").write_bytes(gif(32, 32, [(1, 1)] * 100_000))
    imports = "from citris_cli.data.images import look_at, read_pictures"
    code = """
file = look_at(Path(sys.argv[1]), 'long.gif')
assert len(file.sizes) == 100_000
total = sum(1 for _ in read_pictures(file, range(20_000), 64))
assert total == 20_000"""
    assert grown_by(imports, code, tmp_path / "long.gif") < 20 << 20  # as frames: 234 MiB


def test_sequences_that_claim_too_much_are_refused_before_memory_and_time_are_taken() -> None:
    with pytest.raises(InputError, match="more than 64,000,000 pixels"):
        look_at(io.BytesIO(gif(60_000, 60_000, [(1, 1)])), "x")
    file = look_at(io.BytesIO(gif(32, 32, [(1, 1), (60_000, 60_000)])), "x")
    with pytest.raises(InputError, match=r"^x#1: the picture has more than 64,000,000 pixels"):
        list(read_pictures(file, range(2), 32))
    file = look_at(io.BytesIO(gif(7_900, 7_900, [(1, 1)] * 300)), "x")
    with pytest.raises(InputError, match=r"300 pictures have more than 16,000,000,000 pixels together; .*#:100"):
        next(read_pictures(file, range(300), 32))
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    content = png(frames[0], "PNG", save_all=True, append_images=frames[1:])
    for claimed, message in ((2_000_000_000, "claims to have 2,000,000,000 pictures"), (7, "^x#3: .*damaged")):
        control = b"acTL" + struct.pack(">II", claimed, 0)
        at = content.index(b"acTL")
        lying = content[:at] + control + struct.pack(">I", zlib.crc32(control)) + content[at + 16 :]
        with pytest.raises(InputError, match=message):
            read(lying, size=32)


def test_a_stream_without_end_is_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_MAX_BYTES", 1 << 16)
    with Path("/dev/zero").open("rb") as endless, pytest.raises(InputError, match=r"^x: more than .* came"):
        look_at(endless, "x")


def test_missing_picture_and_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        look_at(tmp_path / "a.png", "a.png")
    with pytest.raises(InputError, match="cannot be read"):
        look_at(tmp_path, "folder")


def test_pictures_of_a_folder_in_natural_order(tmp_path: Path) -> None:
    for name in ("f10.png", "f2.PNG", "f1.jpg", "notes.txt", "x.npz", "._f1.jpg", ".f3.png", ".DS_Store"):
        (tmp_path / name).touch()
    (tmp_path / "sub.png").mkdir()
    assert [p.name for p in list_images(tmp_path)] == ["f1.jpg", "f2.PNG", "f10.png"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/._a.png").touch()
    with pytest.raises(InputError, match="no picture in this folder"):
        list_images(tmp_path / "empty")
    with pytest.raises(InputError, match="cannot be read"):
        list_images(tmp_path / "missing")


@needs_proc
@pytest.mark.parametrize(
    ("mode", "kind", "bytes_of_a_pixel"),
    [("I;16", "PNG", 3), ("I;16", "TIFF", 3), ("I", "TIFF", 5), ("L", "PNG", 1), ("RGB", "PNG", 4), ("RGBA", "PNG", 8)],
)
def test_a_large_picture_takes_few_bytes_of_a_pixel(
    tmp_path: Path, mode: str, kind: str, bytes_of_a_pixel: int
) -> None:
    side = 4000
    Image.new(mode, (side, side)).save(tmp_path / "a", kind, **({"compression": "raw"} if kind == "TIFF" else {}))
    imports = "from citris_cli.data.images import look_at, read_pictures"
    code = "path = Path(sys.argv[1])\nassert next(read_pictures(look_at(path, 'a'), [0], 64)).shape == (64, 64, 3)"
    assert grown_by(imports, code, tmp_path / "a") < bytes_of_a_pixel * side**2 + (24 << 20)


def test_floating_point_values_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    content = png(Image.new("F", (64, 64)), "TIFF")
    with pytest.raises(InputError, match=r"floating-point values; save it with 8 bits a channel$"):
        read(content[:-2000])  # cut off: its pixels are not looked at
