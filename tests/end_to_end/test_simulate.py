"""Simulated datasets: the same seed gives the same bytes, and every command that takes data takes them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from citris_cli.commands import simulate
from citris_cli.data.datasets import load_independent, load_sequences, load_triplets
from citris_cli.worlds import WORLDS, WorldEntry
from tests.end_to_end.conftest import Citris, run_citris
from tests.end_to_end.test_bad_input import check_refusal

NAMES = ["train", "val_indep", "test_indep", "val_triplets", "test_triplets"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_same_seed_same_bytes(tmp_path: Path, inside: Citris) -> None:
    world = ["simulate", "ball-in-boxes", "--frames", 60]
    done = run_citris(*world, "--seed", 3, "-o", "a", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a\n", b"")
    done = inside(*world, "--seed", 3, "-o", "new/b", "--json", cwd=tmp_path)
    files = [f"new/b/{name}.npz" for name in NAMES]
    assert json.loads(done.stdout) == {"files": files, "dataset": "new/b", "frames": 60, "seed": 3}
    assert inside(*world, "--seed", 4, "-o", "c", cwd=tmp_path).stdout == b"c\n"
    first, second, other = (contents(tmp_path / folder) for folder in ("a", "new/b", "c"))
    assert sorted(first) == sorted(f"{name}.npz" for name in NAMES)
    assert first == second
    assert all(first[name] != other[name] for name in first)


def test_without_an_output_it_lies_under_data(tmp_path: Path, inside: Citris) -> None:
    assert inside("simulate", "ball-in-boxes", "--frames", 2, cwd=tmp_path).stdout == b"data/ball_in_boxes\n"
    assert len(load_sequences([tmp_path / "data/ball_in_boxes/test_indep.npz"]).frames) == 2000


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
    assert triplets.mask.shape == (250, 3)
    assert len(triplets.frames) == 750


def test_the_help_offers_every_world(tmp_path: Path, inside: Citris) -> None:
    shown = inside("simulate", "--help", cwd=tmp_path).stdout.decode()
    for name, entry in WORLDS.items():
        assert name in shown
        one = " ".join(inside("simulate", name, "--help", cwd=tmp_path).stdout.decode().split())
        assert entry.summary in one
        assert f"[default: data/{name.replace('-', '_')}]" in one


def test_a_world_needs_no_more_than_a_line_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(WORLDS, "turntable", WorldEntry("tests.worlds.turntable:Turntable", "A turntable."))
    simulate._command("turntable")(output=tmp_path / "tables", frames=3)
    assert capsys.readouterr().out == f"{tmp_path / 'tables'}\n"
    data = load_sequences([tmp_path / "tables"])
    assert (len(data.frames), data.variables.names) == (3, ("angle", "tint"))
    assert [factor.kind for factor in data.columns] == ["angle", "continuous", "categorical"]


def test_what_it_cannot_do_it_says(tmp_path: Path, inside: Citris) -> None:
    (tmp_path / "file").write_text("")
    check_refusal(inside("simulate", "ball-in-boxes", "-o", "file/below", cwd=tmp_path), "cannot be written")
    check_refusal(inside("simulate", "ball-in-boxes", "--frames", 1, cwd=tmp_path), "--frames")
    check_refusal(inside("simulate", "pong", cwd=tmp_path), "No such command 'pong'")
    check_refusal(inside("simulate", "ball-in-boxes", "-o", "-", cwd=tmp_path), "a dataset is a directory of files")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
