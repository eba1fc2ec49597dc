"""Films: the example's, turned, cut short, without pictures; and what a time in a table means."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from citris_cli.errors import InputError
from citris_cli.recordings.films import open_film
from citris_cli.recordings.targets import Reading
from tests.recordings.conftest import EXAMPLE, Maker, table


def written(path: Path, count: int, codec: str = "mpeg4", times: list[int] | None = None, turned: int = 0) -> Path:
    """A film whose frames are lighter one after the other, black on the left."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as film:
        stream = film.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 10)
        for number in range(count):
            pixels = np.full((48, 64, 3), 9 * number + 20, np.uint8)
            pixels[:, :16] = 0
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number if times is None else times[number]
            film.mux(stream.encode(frame))
        film.mux(stream.encode())
    return path


def levels(images: np.ndarray) -> list[int]:
    """The number of the frame that each shows, by its brightness."""
    return np.round((images[:, -4, -4, 0].astype(float) - 20) / 9).astype(int).tolist()


@pytest.mark.parametrize("ending", ["mp4", "mov", "avi", "mkv"])
def test_every_frame_of_a_film_and_no_other(tmp_path: Path, make: Maker, ending: str) -> None:
    film = written(tmp_path / f"film.{ending}", 20)
    reading = Reading((str(table(tmp_path / "t.csv", "x,n", [f"{number % 2},5" for number in range(19)])),))
    made = make(film, reading=reading)["train"]
    assert levels(made["images"]) == list(range(20))
    assert make.said("frames of 64×48 are cropped to their middle 48×48")
    assert made["images"].shape == (20, 64, 64, 3)


def test_a_rate_that_changes_neither_repeats_nor_loses_frames(tmp_path: Path, make: Maker) -> None:
    times = [0, 1, 2, 7, 8, 9, 20, 21]
    film = written(tmp_path / "film.mkv", 8, times=times)
    assert open_film(film).times is not None
    rows = [f"{time / 10},{int(number in (2, 6))}" for number, time in enumerate(times)]
    made = make(film, reading=Reading((str(table(tmp_path / "t.csv", "time,x", rows)),), lead="in"))["train"]
    assert levels(made["images"]) == list(range(8))
    assert made["interventions"].ravel().tolist() == [0, 1, 0, 0, 0, 1, 0]


def test_times_of_a_log_that_runs_faster_or_slower(tmp_path: Path, make: Maker) -> None:
    film = written(tmp_path / "film.mp4", 10)
    fast = [f"{row / 50 + 0.003:.3f},{int(row == 21)}" for row in range(46)]
    made = make(film, reading=Reading((str(table(tmp_path / "t.csv", "time,x", fast)),), lead="in"))["train"]
    assert np.flatnonzero(made["interventions"]).tolist() == [3]  # at 0.42 s: the step into frame 4
    assert make.said("46 rows for 10 frames")
    slow = [f"{row / 5},{int(row == 2)}" for row in range(5)]
    made = make(film, reading=Reading((str(table(tmp_path / "t.csv", "time,x", slow)),), lead="out"), stop="9")["train"]
    assert np.flatnonzero(made["interventions"]).tolist() == [4]
    gap = [row for row in fast if not 0.2 < float(row.split(",")[0]) < 0.6]
    with pytest.raises(InputError, match="have no row, the first of them frame 3"):
        make(film, reading=Reading((str(table(tmp_path / "t.csv", "time,x", gap)),), lead="in"))
    late = [f"{row / 10 + 100},0" for row in range(10)]
    with pytest.raises(InputError, match=r"lasts from 0 to 0\.90 seconds"):
        make(film, reading=Reading((str(table(tmp_path / "t.csv", "time,x", late)),), lead="in"))


def test_what_is_done_between_two_frames_is_of_the_step_between_them(tmp_path: Path, make: Maker) -> None:
    film = written(tmp_path / "film.mp4", 10)
    path = str(table(tmp_path / "t.csv", "time,what", ["0.22,x", "0.28,y", "0.501,z", "0.95,y"]))
    for lead, of_z in (("in", 4), ("out", 5)):
        made = make(film, reading=Reading((path,), one_of="what", lead=lead, events=True))["train"]
        assert [np.flatnonzero(column).tolist() for column in made["interventions"].T] == [[2], [2], [of_z]]
    path = str(table(tmp_path / "t.csv", "time,what", ["-0.05,x", "0.22,x", "0.95,x", "0.96,x"]))
    made = make(film, reading=Reading((path,), one_of="what", lead="in", events=True))["train"]
    assert np.flatnonzero(made["interventions"]).tolist() == [2]
    assert make.said("before the first frame of")
    path = str(table(tmp_path / "t.csv", "time,what,v", ["0.22,x,1", "0.28,y,2"]))
    with pytest.raises(
        InputError, match="have no row"
    ):  # true values of a moment are not those of all frames around it
        make(film, reading=Reading((path,), one_of="what", lead="in", events=True, truth=("v",)))


def test_from_and_to_as_times(tmp_path: Path, make: Maker) -> None:
    film = written(tmp_path / "film.mp4", 20)
    reading = Reading((str(table(tmp_path / "t.csv", "x,n", ["1,5"] * 19)),))
    assert levels(make(film, reading=reading, start="0.5s", stop="0:01")["train"]["images"]) == [5, 6, 7, 8, 9]
    for start in ("later", "1.5", "-3"):
        with pytest.raises(InputError, match="write the number of a frame, or a time"):
            make(film, reading=reading, start=start)
    with pytest.raises(InputError, match=r"has no frame there; it has 20 frames and lasts 1\.90 seconds"):
        make(film, reading=reading, start="30")


def test_a_film_that_was_cut_short(tmp_path: Path, make: Maker, film: Path) -> None:
    rows = (EXAMPLE / "ball.csv").read_text().splitlines()
    reading = Reading((str(table(tmp_path / "t.csv", rows[0], rows[1:])),), lead="in")
    whole = film.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"this film cannot be read .* was cut short"):
        make(tmp_path / "cut.mp4", reading=reading)
    whole = written(tmp_path / "film.mkv", 25).read_bytes()
    (tmp_path / "film.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    few = str(table(tmp_path / "t.csv", "frame,x", [f"{number},1" for number in range(25)]))
    with pytest.raises(InputError, match=r"its header says 2\.5 seconds and .* or use what is there with --to"):
        make(tmp_path / "film.mkv", reading=Reading((few,), lead="in"))
    assert levels(make(tmp_path / "film.mkv", reading=Reading((few,), lead="in"), stop="8")["train"]["images"]) == [
        *range(8)
    ]
    assert not list(tmp_path.glob(".made*"))


@pytest.mark.parametrize(
    ("matrix", "kept", "said"),
    [
        ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1), "turned by 270° against the clock"),
        ((-1, 0, 0, -1), lambda frame: frame[::-1, ::-1], "turned by 180° against the clock"),
        ((-1, 0, 0, 1), lambda frame: frame[:, ::-1], "mirrored"),
        ((1, 0, 0, -1), lambda frame: frame[::-1], "mirrored"),
        ((0, 1, 1, 0), lambda frame: frame.transpose(1, 0, 2), "turned and mirrored"),
    ],
)
def test_frames_are_turned_upright_as_the_header_says(
    tmp_path: Path, matrix: tuple[int, ...], kept: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    film = written(tmp_path / "film.mp4", 3)
    stored = next(open_film(film).read(np.array([True, False, False])))
    a, b, c, d = (value << 16 for value in matrix)
    content, plain = film.read_bytes(), struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    at = content.index(plain, content.index(b"tkhd"))  # the matrix of the track, after that of the film
    film.write_bytes(content[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + content[at + len(plain) :])
    recording = open_film(film)
    upright = next(recording.read(np.array([True, False, False])))
    np.testing.assert_array_equal(upright, kept(stored))
    assert recording.size == (upright.shape[1], upright.shape[0])
    assert recording.notes == (f"{film}: {said}, as its header says",)


def test_what_of_a_film_is_left_out_is_said(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "two.mkv"), "w") as film:
        streams = [film.add_stream("ffv1", rate=10) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 32, 32, "bgra"
        for number in range(3):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 4), np.uint8), format="bgra")
                frame.pts = number
                film.mux(stream.encode(frame))
        for stream in streams:
            film.mux(stream.encode())
    notes = open_film(tmp_path / "two.mkv").notes
    assert any("the first of 2 streams of pictures is read" in note for note in notes)
    assert any("transparency (alpha) is dropped" in note for note in notes)


def test_a_sound_is_no_film(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "sound.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    with pytest.raises(InputError, match="no pictures in this film"):
        open_film(tmp_path / "sound.mp4")


def test_what_is_missing_is_named(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(InputError, match=r"pip install 'citris-cli\[video\]'"):
        open_film(film)


def test_messages_of_the_decoder_do_not_reach_python(film: Path) -> None:
    """Of a damaged film they come from the decoder's threads, which closing it then waits for, without end."""
    av = pytest.importorskip("av")
    av.logging.set_level(av.logging.PANIC)
    open_film(film)
    assert av.logging.get_level() is None


def test_a_film_that_lacks_its_last_seconds_and_one_that_begins_late(tmp_path: Path) -> None:
    film = written(tmp_path / "film.mkv", 25, times=list(range(50, 75)))
    assert open_film(film).missing == ""
    film = written(tmp_path / "film.mkv", 25)
    content = film.read_bytes()
    for _ in range(5):  # blocks of a frame
        content = content[: content.rindex(b"\xa3")]
    film.write_bytes(content)
    recording = open_film(film)
    assert 18 < recording.frames < 25
    assert "its header says 2.5 seconds" in recording.missing
