"""A recording as its user has it becomes a dataset, which every command takes; wrong ones get one sentence."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from citris_cli.data.datasets import load_sequences
from tests.data.memory import grown_by, needs_proc
from tests.end_to_end.conftest import TINY_AE, TINY_NF, Citris, run_citris, succeed
from tests.end_to_end.test_bad_input import check_refusal
from tests.forks import started
from tests.recordings.conftest import EXAMPLE, pictures, table
from tests.waiting import PATIENCE, wait_until

FILM, TABLE = EXAMPLE / "ball.mp4", EXAMPLE / "ball.csv"


def acts(path: Path, count: int) -> Path:
    return table(path, "x,door", [f"{row % 2},{row % 3 // 2}" for row in range(count)])


def test_from_a_film_to_a_model(tmp_path: Path, inside: Citris) -> None:
    pytest.importorskip("av")
    options = ["--targets", TABLE, "--lead", "in", "--to", "90", "--val", "0.1"]
    done = inside("pack", FILM, *options, "-o", "ball", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"ball\n"), done.stderr.decode()
    said = done.stderr.decode()
    assert "frames of 256×192 are cropped to their middle 192×192, resized to 64×64" in said
    assert "targets are box, ball_y" in said
    assert "not used: note" in said
    assert succeed("train-ae", "ball", *TINY_AE, "--steps", "2", cwd=tmp_path) == "runs/ball/ae.safetensors"
    assert succeed("train-nf", "ball", *TINY_NF, "--steps", "2", cwd=tmp_path) == "runs/ball/nf.safetensors"
    assert (tmp_path / succeed("encode", "ball/val.npz", cwd=tmp_path)).exists()
    assert "citris pack" in succeed("info", "ball/train.npz", cwd=tmp_path)


@pytest.mark.parametrize(
    ("sources", "options", "frames", "size", "variables"),
    [
        (["film.mp4"], ["--targets", "film.csv", "--lead", "in", "--val", "0.1", "--test", "0.1"], 320, 64, 2),
        (["pictures"], ["--targets", "pictures.tsv", "--one-of", "flag", "--lead", "in", "--truth", "ball_x,ball_y"],
         120, 80, 5),
        (["episodes.h5"], ["--frames-key", "obs", "--targets", "intervened"], 141, 32, 2),
        (["late.npz"], [], 2000, 32, 2),
    ],
)  # fmt: skip
def test_recordings_at_hand_are_packed(
    tmp_path: Path, real_data: Path, sources: list[str], options: list[str], frames: int, size: int, variables: int
) -> None:
    pytest.importorskip("av")
    pytest.importorskip("h5py")
    folder = real_data / "recordings"
    if not folder.is_dir():
        pytest.skip("needs the folder shared/data/recordings, which is not there")
    named = [str(folder / word) if (folder / word).exists() else word for word in options]
    succeed("pack", *(folder / source for source in sources), *named, "-o", "made", cwd=tmp_path)
    made = load_sequences([tmp_path / "made"])
    assert (len(made.frames), made.frames.width, len(made.variables)) == (frames, size, variables)
    assert made.unused == ()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["shots"], "shots: it is not known which variables were intervened on; name the table"),
        (["nowhere.mp4", "--targets", "t.csv"], "nowhere.mp4: there is no such file or folder; check the path"),
        (["shots", "--targets", "nowhere.csv"], "--targets nowhere.csv: there is no such file"),
        (["t.csv", "--targets", "t.csv"], "t.csv: this is a table in text (CSV) and holds no frames"),
        (["shots", "--targets", "t.csv", "--columns", "dor"], "has no column 'dor' (did you mean 'door'?)"),
        (["shots", "--targets", "t.csv", "--one-of", "what"], "--one-of: t.csv has no column 'what'"),
        (["shots", "--targets", "t.csv", "--row-of", "frames"], "--row-of frames: write frame, time or file"),
        (["shots", "--targets", "t.csv", "--row-of", "time"], "t.csv has no column with a name such as time"),
        (["shots", "--targets", "t.csv", "--row-of", "time=x"], "it is not known when the frames of shots were taken"),
        (
            ["shots", "--targets", "t.csv", "--size", "40"],
            "pixels wide; take 32 or 48",
        ),
        (["shots", "--targets", "t.csv", "--crop", "0,0,99,9"], "shots has frames of 32×32"),
        (["shots", "--targets", "t.csv", "--kinds", "door:colour"], "--kinds door:colour: write name:kind with"),
        (["shots", "--targets", "t.csv", "--kinds", "lamp:angle"], "--kinds: there is no column 'lamp'"),
        (["shots", "--targets", "t.csv", "--val", "0.6", "--test", "0.6"], "nothing is left to train on"),
        (["shots", "--targets", "t.csv", "--val", "0.1", "-o", "a.npz"], "--val and --test make several files"),
        (["shots", "--targets", "t.csv", "-o", "-"], "which cannot go to standard output"),
        (["shots", "--targets", "t.csv", "-o", "made.mp4"], "a dataset is an .npz or a folder"),
        (["shots", "--targets", "t.csv", "--columns", "x,x"], "write different names"),
        (["shots", "--targets", "short.csv"], "short.csv: 3 rows, and shots has 9 frames"),
        (["shots", "--targets", "t.csv", "--events"], "no column says for which frame"),
        (["shots", "--targets", "t.csv", "--from", "20"], "shots has no frame there; it has 9 frames"),
        (["shots", "--targets", "t.csv", "--truth", "x"], "true values need one for each frame"),
        (["shots", "--targets", "t.csv", "--frames-key", "images"], "shots: pictures have no keys; leave --frames-key"),
        (["empty"], "empty: there is no picture in this folder"),
        (["-", "--targets", "t.csv"], "standard input cannot be"),
    ],
)
def test_wrong_recordings_get_one_sentence(tmp_path: Path, inside: Citris, arguments: list[str], sentence: str) -> None:
    pictures(tmp_path / "shots", 9)
    (tmp_path / "empty").mkdir()
    acts(tmp_path / "t.csv", 8)
    acts(tmp_path / "short.csv", 3)
    before = sorted(tmp_path.iterdir())
    output = [] if "-o" in arguments else ["-o", "made"]
    check_refusal(inside("pack", *arguments, *output, cwd=tmp_path), re.escape(sentence))
    assert sorted(tmp_path.iterdir()) == before


def test_what_is_read_is_not_written_over(tmp_path: Path, inside: Citris) -> None:
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "train.npz", images=frames, interventions=np.eye(3))
    before = (tmp_path / "train.npz").read_bytes()
    for output in (".", "train.npz"):
        done = inside("pack", "train.npz", "-o", output, "--overwrite", cwd=tmp_path)
        assert done.returncode == 2
        assert b"SOURCE train.npz" in done.stderr
    assert (tmp_path / "train.npz").read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="needs signals as POSIX has them")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_is_interrupted_leaves_nothing(tmp_path: Path, number: signal.Signals, status: int) -> None:
    count = 4000
    frames = np.lib.format.open_memmap(tmp_path / "f.npy", "w+", np.uint8, (count, 256, 256, 1))
    del frames
    acts(tmp_path / "t.csv", count)
    command = ["pack", "f.npy", "--targets", "t.csv", "-o", "made/new"]
    process = started(*command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    wait_until(lambda: list(tmp_path.glob("made/.new.*")), process)
    process.send_signal(number)
    output, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (status, b"")
    assert said.decode().splitlines()[-1] == "citris: interrupted, and nothing was written; run the command again"
    assert not list((tmp_path / "made").iterdir())


#: Packs what is in one folder into another there.
PACKED = """
import os
os.chdir(sys.argv[1])
sys.argv = ["citris", "pack", "f.npy", "--targets", "t.csv", "-o", sys.argv[2], "--size", "32"]
with contextlib.redirect_stdout(sys.stderr):
    try:
        main()
    except SystemExit as end:
        assert end.code == 0
"""


@needs_proc
def test_memory_is_bounded_whatever_the_recording(tmp_path: Path) -> None:
    """Four times as many frames take no more memory, but for what is known of each."""
    taken = []
    for count in (1000, 4000):
        frames = np.lib.format.open_memmap(tmp_path / "f.npy", "w+", np.uint8, (count, 256, 256, 1))
        del frames
        acts(tmp_path / "t.csv", count)
        taken.append(grown_by("import contextlib\nfrom citris_cli.app import main", PACKED, tmp_path, f"m{count}"))
    assert taken[1] < taken[0] + (60 << 20)  # of 190 MiB more


def test_help_names_what_a_newcomer_needs(tmp_path: Path) -> None:
    said = run_citris("pack", "--help", cwd=tmp_path).stdout.decode()
    for word in ("SOURCE", "--targets", "--one-of", "--row-of", "--lead", "--size", "--val"):
        assert word in said
