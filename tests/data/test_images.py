import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from citris_cli.data.images import list_images, read_image
from citris_cli.errors import InputError


def png(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def picture(mode: str = "RGB", size: tuple[int, int] = (64, 64)) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def test_a_frame_of_the_right_size_is_left_alone(tmp_path: Path) -> None:
    source = picture()
    (tmp_path / "a.png").write_bytes(png(source))
    for given in (tmp_path / "a.png", png(source)):
        frame, note = read_image(given, "a.png", 64)
        np.testing.assert_array_equal(frame, np.asarray(source))
        assert note is None


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "I;16", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    if mode == "I;16":
        source = Image.fromarray((np.arange(64 * 64, dtype=np.uint16) * 16).reshape(64, 64))
    else:
        source = picture(mode)
    frame, _ = read_image(png(source, "TIFF" if mode == "CMYK" else "PNG"), "x", 64)
    assert frame.shape == (64, 64, 3)
    assert frame.dtype == np.uint8
    if mode == "I;16":
        assert (frame[0, 0, 0], frame[-1, -1, 0]) == (0, 255)


def test_alpha_is_dropped_and_not_blended() -> None:
    array = np.full((64, 64, 4), 200, dtype=np.uint8)
    array[..., 3] = 0
    frame, _ = read_image(png(Image.fromarray(array)), "x", 64)
    assert (frame == 200).all()


def test_an_animation_gives_its_first_frame() -> None:
    first, second = (Image.new("RGB", (32, 32), colour) for colour in ("red", "blue"))
    frame, _ = read_image(png(first, "GIF", save_all=True, append_images=[second]), "x", 32)
    assert frame[0, 0].tolist() == [255, 0, 0]


def test_other_sizes_are_cropped_and_resized_with_a_note() -> None:
    array = np.zeros((40, 80, 3), dtype=np.uint8)
    array[:, 20:60] = 255
    frame, note = read_image(png(Image.fromarray(array)), "wide.png", 64)
    assert frame.shape == (64, 64, 3)
    assert frame.min() >= 250
    assert note == "wide.png: cropped from 40×80 to its middle 40×40 and resized from 40×40 to 64×64 pixels"
    _, note = read_image(png(picture(size=(128, 128))), "big.png", 64)
    assert note == "big.png: resized from 128×128 to 64×64 pixels"


def _bomb() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"no picture at all", "this is text and no picture; give a PNG or JPEG file"),
        (b"\x01\xff" * 40, "this is no picture that can be read"),
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
        read_image(data, "x.png", 64)
    assert str(caught.value).startswith("x.png: ")
    assert message in str(caught.value)


def test_missing_picture_and_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_image(tmp_path / "a.png", "a.png", 64)
    with pytest.raises(InputError, match="cannot be read"):
        read_image(tmp_path, "folder", 64)


def test_pictures_of_a_folder_in_natural_order(tmp_path: Path) -> None:
    for name in ("f10.png", "f2.PNG", "f1.jpg", "notes.txt", "x.npz"):
        (tmp_path / name).touch()
    (tmp_path / "sub.png").mkdir()
    assert [p.name for p in list_images(tmp_path)] == ["f1.jpg", "f2.PNG", "f10.png"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no picture in this folder"):
        list_images(tmp_path / "empty")
    with pytest.raises(InputError, match="cannot be read"):
        list_images(tmp_path / "missing")
