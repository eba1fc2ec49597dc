"""Simulated datasets: the same seed gives the same bytes, and every command that takes data takes them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer

from citris_cli.app import UsageFailure
from citris_cli.commands import simulate
from citris_cli.data.datasets import load_independent, load_sequences, load_triplets
from citris_cli.worlds import WORLDS, Option, WorldEntry
from tests.end_to_end.conftest import Citris, run_citris
from tests.end_to_end.test_bad_input import check_refusal
from tests.waiting import PATIENCE, wait_until

SIZES = {"train": 60, "val": 100, "test": 100, "val_indep": 500, "test_indep": 500}
SIZES |= {"val_triplets": 100, "test_triplets": 100}


OPTIONS = (
    Option("brightness", "light", "How bright.", 30.0, least=0.0, most=60.0),
    Option("lit", "lit", "Whether it is.", False),
    Option("way", "way", "Where to.", "left", choices=("left", "right")),
    Option("sides", "sides", "How many.", 4, choices=(4, 6)),
)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_same_seed_same_bytes(tmp_path: Path, inside: Citris) -> None:
    world = ["simulate", "ball-in-boxes", "--frames", 60]
    done = run_citris(*world, "--seed", 3, "-o", "a", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a\n", b"")
    done = inside(*world, "--seed", 3, "-o", "new/b", "--json", cwd=tmp_path)
    files = [f"new/b/{name}.npz" for name in SIZES]
    told = json.loads(done.stdout)
    assert (told["files"], told["dataset"], told["frames"], told["seed"]) == (files, "new/b", 60, 3)
    assert (told["world"], told["rows_per_split"]) == ("ball-in-boxes", SIZES)
    assert told["settings"]["radius"] == 1.5
    assert inside(*world, "--seed", 4, "-o", "c", cwd=tmp_path).stdout == b"c\n"
    first, second, other = (contents(tmp_path / folder) for folder in ("a", "new/b", "c"))
    assert sorted(first) == sorted(f"{name}.npz" for name in SIZES)
    assert first == second
    assert all(first[name] != other[name] for name in first)


def test_without_an_output_it_lies_under_data(tmp_path: Path, inside: Citris) -> None:
    assert inside("simulate", "ball-in-boxes", "--frames", 2, cwd=tmp_path).stdout == b"data/ball_in_boxes\n"
    assert len(load_sequences([tmp_path / "data/ball_in_boxes/test_indep.npz"]).frames) == 500


def test_what_is_written_is_what_the_commands_read(home: Path) -> None:
    sequence = load_sequences([home / "boxes"])
    assert sequence.paths == (home / "boxes/train.npz",)
    assert sequence.variables.names == ("ball_y", "box")
    assert sequence.dropped.names == ("ball_x",)
    assert sequence.factors is not None
    assert sequence.factors.names == ("ball_x", "ball_y", "box")
    assert [factor.kind for factor in sequence.factors] == ["continuous", "continuous", "categorical"]
    independent = load_independent(home / "boxes")
    assert independent.truth is not None
    assert np.unique(independent.truth[:, 2]).tolist() == [0, 1]
    triplets = load_triplets(home / "boxes", "test_triplets")
    assert triplets.mask.shape == (100, 3)
    assert len(triplets.frames) == 300


def test_the_help_offers_every_world(tmp_path: Path, inside: Citris) -> None:
    shown = inside("simulate", "--help", cwd=tmp_path).stdout.decode()
    for name, entry in WORLDS.items():
        assert name in shown
        one = " ".join(inside("simulate", name, "--help", cwd=tmp_path).stdout.decode().split())
        assert entry.summary in one
        assert f"[default: data/{name.replace('-', '_')}]" in one


@pytest.fixture
def turntable(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """Commands with one that simulates a world that is new in the table."""
    monkeypatch.setitem(WORLDS, "turntable", WorldEntry("tests.worlds.turntable:Turntable", "A turntable.", OPTIONS))
    group = typer.Typer()
    group.callback()(lambda: None)
    group.command("turntable")(simulate._command("turntable"))
    return group


def test_a_world_needs_no_more_than_a_line_in_the_table(
    tmp_path: Path, turntable: typer.Typer, capsys: pytest.CaptureFixture[str]
) -> None:
    turntable(["turntable", "-o", str(tmp_path / "tables"), "--frames", "30"], standalone_mode=False)
    assert capsys.readouterr().out == f"{tmp_path / 'tables'}\n"
    data = load_sequences([tmp_path / "tables"])
    assert (len(data.frames), data.variables.names) == (30, ("angle", "tint"))
    assert [factor.kind for factor in data.columns] == ["angle", "continuous", "categorical"]


def test_a_worlds_options_are_fields_of_its_dataclass(
    tmp_path: Path, turntable: typer.Typer, capsys: pytest.CaptureFixture[str]
) -> None:
    def settings(*arguments: str) -> dict[str, object]:
        place = ["-o", str(tmp_path / "d"), "--frames", "3", "--overwrite", "--json"]
        turntable(["turntable", *place, *arguments], standalone_mode=False)
        return json.loads(capsys.readouterr().out)["settings"]

    usual = {"brightness": 30.0, "lit": False, "way": "left", "sides": 4, "seed": 0}
    assert settings() == usual
    given = ["--light", "12.5", "--lit", "--way", "right", "--sides", "6", "--seed", "8"]
    assert settings(*given) == {"brightness": 12.5, "lit": True, "way": "right", "sides": 6, "seed": 8}
    turntable(["turntable", "--help"], standalone_mode=False)
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for told in ("How bright. [default: 30.0]", "[default: no]", "left|right", "4|6", "[0.0<=x<=60.0]"):
        assert told in shown
    for wrong in (["--sides", "5"], ["--way", "up"], ["--light", "61"]):
        with pytest.raises(UsageFailure):
            settings(*wrong)


def test_splits_and_independent_frames_are_chosen(tmp_path: Path, inside: Citris) -> None:
    some = ["simulate", "ball-in-boxes", "-o", "d", "--json"]
    inside(*some, "--frames", 30, "--splits", "test_indep, train", "--independent", 12, cwd=tmp_path)
    assert sorted(contents(tmp_path / "d")) == ["independent.npz", "test_indep.npz", "train.npz"]
    told = json.loads(inside(*some, "--splits", "none", "--independent", 12, cwd=tmp_path).stdout)
    assert (told["rows_per_split"], told["frames"]) == ({"independent": 12}, None)
    refused = inside(*some, "--splits", "tests", cwd=tmp_path)
    check_refusal(refused, "--splits: there is no split 'tests'; the splits are train, val, test, val_indep")
    check_refusal(inside(*some, "--splits", "none", cwd=tmp_path), "there is nothing to write")


def test_an_option_that_would_do_nothing_is_refused(tmp_path: Path, inside: Citris) -> None:
    some = ["--splits", "none", "--independent", 12]
    refused = inside("simulate", "ball-in-boxes", *some, "--frames", 30, cwd=tmp_path)
    check_refusal(refused, "--frames 30 has no effect with --splits none")
    refused = inside("simulate", "voronoi", *some, "--graph", "full", "--instantaneous", 0.5, cwd=tmp_path)
    check_refusal(refused, "--instantaneous 0.5 has no effect with --graph full; leave it out, or use --graph random")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing_and_no_process(tmp_path: Path, number: signal.Signals) -> None:
    # In a group of its own, all of which is told, as a terminal does. One of several processes draws what takes long.
    script = (
        "from citris_cli.app import main\nfrom citris_cli.worlds import drawing\n"
        "drawing._WORTH = -1e9\nif __name__ == '__main__':\n    main()"
    )
    (tmp_path / "started.py").write_text(script)
    command = [sys.executable, "started.py", "simulate", "ball-in-boxes", "-o", "d", "--frames", "3000000"]
    command += ["--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    running = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
    )
    wait_until(
        lambda: len(_group(running.pid)) >= 3 and any(".tmp" in path.name for path in tmp_path.iterdir()), running
    )
    time.sleep(0.5)
    os.killpg(running.pid, number)
    out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 128 + number
    said = [line for line in err.splitlines() if not line.startswith("simulating")]
    assert said == ["citris: interrupted, and nothing was written; run the command again"]
    assert out == ""
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".py"] == []
    wait_until(lambda: not _group(running.pid))


def _group(leader: int) -> list[int]:
    """Processes of a group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
            found += [int(path.parent.name)] if int(group) == leader and state != "Z" else []
    return found


def test_what_it_cannot_do_it_says(tmp_path: Path, inside: Citris) -> None:
    (tmp_path / "file").write_text("")
    check_refusal(inside("simulate", "ball-in-boxes", "-o", "file/below", cwd=tmp_path), "cannot be written")
    check_refusal(inside("simulate", "ball-in-boxes", "--frames", 1, cwd=tmp_path), "--frames")
    check_refusal(inside("simulate", "tetris", cwd=tmp_path), "No such command 'tetris'")
    check_refusal(inside("simulate", "ball-in-boxes", "-o", "-", cwd=tmp_path), "a dataset is a directory of files")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
