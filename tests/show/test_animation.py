"""Moving pictures: as many as were drawn, as long as was asked, in colours that stay."""

from __future__ import annotations

import colorsys
import io
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
from PIL import Image

from citris_cli.errors import CitrisError, InputError
from citris_cli.show.animation import check_mp4, gif_bytes, mp4_bytes

RED, PAPER = (200, 13, 57), (250, 251, 252)


def pictures(count: int) -> list[Image.Image]:
    """Noise that changes on the left, and on the right two colours that stay."""
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(count):
        array = np.full((40, 60, 3), PAPER, np.uint8)
        array[:, :30] = rng.integers(0, 256, (40, 30, 3))
        array[10:20, 40:50] = RED
        drawn.append(Image.fromarray(array))
    return drawn


def read(content: bytes) -> tuple[list[np.ndarray], list[int]]:
    """The pictures of a GIF, and how long each is shown."""
    arrays, durations = [], []
    with Image.open(io.BytesIO(content)) as gif:
        assert gif.format == "GIF"
        assert gif.info["loop"] == 0
        for number in range(gif.n_frames):
            gif.seek(number)
            durations.append(gif.info["duration"])
            arrays.append(np.asarray(gif.convert("RGB")))
    return arrays, durations


def palettes(content: bytes) -> tuple[int, int]:
    """How many pictures a GIF has, and how many of them bring a palette of their own (GIF89a, section 20)."""
    at = 13 + (3 << ((content[10] & 7) + 1) if content[10] & 0x80 else 0)
    images = own = 0
    while content[at] != 0x3B:
        if content[at] == 0x2C:
            images += 1
            flags = content[at + 9]
            own += flags >> 7
            at += 10 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0) + 1
        else:
            at += 2
        while content[at]:
            at += content[at] + 1
        at += 1
    return images, own


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (200.0, [200] * 6),
        (1000 / 40, [20, 30, 30, 20, 20, 30]),
        (1000 / 30, [30, 40, 30, 30, 40, 30]),
        (3.0, [20] * 6),
    ],
)
def test_pictures_come_at_their_time(asked: float, shown: list[int]) -> None:
    arrays, durations = read(gif_bytes(pictures(6), asked))
    assert len(arrays) == 6
    assert durations == shown
    assert all(abs(sum(durations[:n]) - n * asked) <= 5 for n in range(7)) or asked < 20
    _, durations = read(gif_bytes(pictures(6) * 10, asked))
    assert sum(durations) == pytest.approx(60 * max(asked, 20), abs=5)


def test_equal_pictures_are_all_there() -> None:
    one, other = pictures(2)
    content = gif_bytes([one, one, one, other, other, one, one, one], 120)
    arrays, durations = read(content)
    assert durations == [120] * 8
    # What is equal stays, and what comes back is about as it was.
    same = [np.array_equal(array, before) for before, array in pairwise(arrays)]
    assert same == [True, True, False, True, False, True, True]
    assert np.abs(arrays[5].astype(int) - arrays[0]).mean() < 10 < np.abs(arrays[3].astype(int) - arrays[0]).mean()
    assert len(imageio.imread(content, extension=".gif", index=None)) == 8
    still = gif_bytes([one] * 8, 120)
    assert len(read(still)[0]) == 8
    assert len(still) < len(gif_bytes([one], 120)) + 8 * 40


def test_a_gif_carries_what_it_was_made_of() -> None:
    names = [f"picture {number} ü.png" for number in range(40)]
    with Image.open(io.BytesIO(gif_bytes(pictures(1), 100, sources=names))) as gif:
        assert gif.info["comment"].decode().splitlines() == names


def test_every_picture_has_its_palette_and_the_exact_colours() -> None:
    drawn = pictures(5)
    content = gif_bytes(iter(drawn), 100, [RED, PAPER])
    assert palettes(content) == (5, 5)
    for array, picture in zip(read(content)[0], drawn, strict=True):
        original = np.asarray(picture)
        np.testing.assert_array_equal(array[:, 30:], original[:, 30:])
        # The noise of 1,200 colours in 253 of them.
        assert np.abs(array[:, :30].astype(int) - original[:, :30]).mean() < 12
    assert content == gif_bytes(iter(drawn), 100, [RED, PAPER])


def test_a_thin_line_of_an_exact_colour_stays_in_a_picture_of_many() -> None:
    drawn = pictures(3)
    for number, picture in enumerate(drawn):
        picture.paste((1, 2, 3 + number), (5, 5, 6, 7))
    arrays, _ = read(gif_bytes(drawn, 100, [(1, 2, 3), (1, 2, 4), (1, 2, 5)]))
    assert [tuple(array[5, 5]) for array in arrays] == [(1, 2, 3), (1, 2, 4), (1, 2, 5)]


def test_few_colours_are_shown_as_they_are() -> None:
    drawn = [Image.new("RGB", (20, 20), colour) for colour in (RED, PAPER, (0, 0, 0))]
    content = gif_bytes(drawn, 100)
    for array, picture in zip(read(content)[0], drawn, strict=True):
        np.testing.assert_array_equal(array, np.asarray(picture))


def test_a_sweep_through_thousands_of_colours_has_no_bands() -> None:
    """Smooth grounds of changing hue beside one that stays, which does not flicker."""
    across = np.linspace(0, 60, 120)
    drawn = []
    for number in range(20):
        base = 60 + 50 * np.array([np.sin(number / 3 + phase) for phase in (0, 2, 4)])
        pixels = base + across[:, None, None] + across[None, :, None] * [1, 0.5, 0.2]
        pixels[:, 90:] = 90 + across[:, None, None] + across[None, :30, None]
        drawn.append(Image.fromarray(pixels.round().astype(np.uint8)))
    assert len(np.unique(np.concatenate([np.asarray(one).reshape(-1, 3) for one in drawn]), axis=0)) > 5000
    arrays, _ = read(gif_bytes(drawn, 100))
    apart = [np.abs(array.astype(int) - np.asarray(one)) for array, one in zip(arrays, drawn, strict=True)]
    assert np.mean(apart) < 1.5
    assert np.max(apart) <= 12
    assert all(np.array_equal(array[:, 90:], arrays[0][:, 90:]) for array in arrays)


@pytest.fixture
def ffmpeg():
    return pytest.importorskip("imageio_ffmpeg", reason="needs imageio's ffmpeg plugin: pip install 'imageio[ffmpeg]'")


def test_mp4_has_the_pictures(ffmpeg, tmp_path: Path) -> None:
    drawn = [Image.new("RGB", (64, 48), (40 * i, 100, 200 - 40 * i)) for i in range(5)]
    alive = 0

    def one_by_one() -> Iterator[Image.Image]:
        nonlocal alive
        for picture in drawn:
            alive += 1
            yield picture

    path = tmp_path / "x.mp4"
    path.write_bytes(mp4_bytes(one_by_one(), 4.0))
    assert alive == 5
    frames = ffmpeg.read_frames(str(path))
    about = next(frames)
    assert about["size"] == (64, 48)
    assert about["fps"] == pytest.approx(4)
    found = [np.frombuffer(frame, np.uint8).reshape(48, 64, 3) for frame in frames]
    assert len(found) == 5
    for array, picture in zip(found, drawn, strict=True):
        assert np.abs(array.astype(int) - np.asarray(picture)).mean() < 6


def test_mp4_without_the_plugin_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(InputError, match=r"ffmpeg plugin, which is not installed; .*pip install 'imageio\[ffmpeg\]'"):
        check_mp4()


def test_a_failing_ffmpeg_is_told(ffmpeg, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> Iterator[None]:
        raise OSError("Broken pipe\n\nFFMPEG COMMAND: …")
        yield

    monkeypatch.setattr(ffmpeg, "write_frames", broken)
    with pytest.raises(CitrisError, match=r"ffmpeg could not make the MP4 \(Broken pipe\); write a \.gif"):
        mp4_bytes(iter(pictures(2)), 5.0)


def test_a_small_objects_colours_are_kept_beside_a_large_background() -> None:
    """A ball of 12 pixels that takes every hue in turn, on a background of thousands of colours."""
    across = np.linspace(40, 120, 64)
    background = np.stack(np.broadcast_arrays(across[:, None], across[None] + 30, across[:, None] + 60), axis=2)
    hues = [tuple(round(255 * v) for v in colorsys.hsv_to_rgb(i / 12, 1, 0.8)) for i in range(12)]
    pictures = []
    for hue in hues:
        pixels = background.astype(np.uint8)
        pixels[30:33, 30:34] = hue
        pictures.append(Image.fromarray(pixels))
    with Image.open(io.BytesIO(gif_bytes(pictures, 100))) as gif:
        for number, hue in enumerate(hues):
            gif.seek(number)
            shown = np.asarray(gif.convert("RGB"))[31, 31].astype(int)
            assert np.abs(shown - hue).max() <= 24
