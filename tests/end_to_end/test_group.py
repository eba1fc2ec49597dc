"""Columns merged with --group: trained as one variable, and measured by name with data that knows the columns."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from citris_cli.artifacts.models import read_model_header
from tests.end_to_end.conftest import TINY_NF, run_inside, succeed

TINY_VAE = ["--steps", "4", "--batch-size", "8", "--channels", "4", "--latents", "4", "--hidden", "8"]


@pytest.fixture(scope="module")
def merged(home: Path) -> Path:
    """A model that knows box and ball_y as one variable, with the notes of its training beside it."""
    path = home / "merged/nf.safetensors"
    line = ["train-nf", "boxes", "--ae", "runs/boxes/ae.safetensors", "--group", "ball=ball_y+box", "-o", path]
    done = run_inside(*line, *TINY_NF, "--val", "boxes", cwd=home)
    assert done.returncode == 0, done.stderr.decode()
    path.with_suffix(".txt").write_bytes(done.stderr)
    return path


def test_the_model_knows_one_variable_and_its_columns(merged: Path) -> None:
    header = read_model_header(merged)
    assert [(item["name"], item["members"]) for item in header.variables] == [("ball", ["ball_y", "box"])]
    assert [column["name"] for column in header.provenance["columns"]] == ["ball_x", "ball_y", "box"]
    notes = merged.with_suffix(".txt").read_text()
    assert "ball is ball_y + box" in notes
    assert "ball_x is never intervened on: dropped" in notes
    assert "ball_y + box" in succeed("info", merged, cwd=merged.parent)


def test_it_is_measured_by_name(home: Path, merged: Path) -> None:
    report = json.loads(succeed("eval-correlation", "boxes", "-m", merged, "--json", cwd=home))
    assert report["rows"] == ["ball", "psi(0)"]
    assert report["own_rows"] == [None, "ball", "ball"]
    diag = np.mean([report["r2"][0][1], report["r2"][0][2]])
    assert report["r2_diag"] == pytest.approx(diag, abs=1e-5)
    mask = np.load(home / "boxes/test_triplets.npz")["targets"][:, 1:]
    triplets = json.loads(succeed("eval-triplets", "boxes", "-m", merged, "--json", cwd=home))
    assert triplets["triplets"] == (mask[:, 0] == mask[:, 1]).sum() > 0


def test_interventions_name_the_variable_and_not_its_columns(home: Path, merged: Path) -> None:
    done = run_inside("intervene", "boxes/train.npz#3", "--var", "box", "-m", merged, cwd=home)
    assert done.returncode == 2
    assert b"'box' was merged into 'ball'" in done.stderr


def test_a_group_in_the_data_marks_the_merged_variable(home: Path, merged: Path) -> None:
    done = run_inside("animate-latents", "boxes", "-m", merged, "-o", "a.html", "--frames", 30, "--json", cwd=home)
    assert done.returncode == 0, done.stderr.decode()
    assert b"no variable of the model" not in done.stderr
    assert b"no column of the data" not in done.stderr


def test_a_vae_learns_them_too_and_resumes_with_them_alone(home: Path) -> None:
    line = ["train-vae", "boxes", *TINY_VAE, "-o", "merged/vae.safetensors"]
    succeed(*line, "--group", "ball=ball_y+box", cwd=home)
    header = read_model_header(home / "merged/vae.safetensors")
    assert header.variables is not None
    assert [item["name"] for item in header.variables] == ["ball"]
    assert header.provenance["settings"]["groups"] == "ball=ball_y+box"
    again = run_inside(*line, "--group", "ball=box+ball_y", "--resume", cwd=home)
    assert b"is finished already" in again.stderr


def test_what_cannot_be_merged_is_one_sentence(home: Path) -> None:
    done = run_inside("train-nf", "boxes", "--group", "pos_o", cwd=home)
    assert done.returncode == 2
    assert done.stdout == b""
    assert len(done.stderr.decode().strip().splitlines()) == 1
    assert b"no variable 'pos_o'" in done.stderr


def test_info_says_what_cannot_be_told_apart(tmp_path: Path) -> None:
    targets = np.tile([[1, 1, 0], [0, 0, 1], [0, 0, 0], [1, 1, 1]], (20, 1))
    np.savez(
        tmp_path / "joint.npz",
        images=np.zeros((81, 32, 32, 3), np.uint8),
        interventions=targets,
        keys=np.array(["x", "y", "hue"]),
    )
    text = succeed("info", "joint.npz", cwd=tmp_path)
    assert "x and y are always intervened on in the same steps" in text
    document = json.loads(succeed("info", "joint.npz", "--json", cwd=tmp_path))
    assert [one["variables"] for one in document["training"]["identifiability"]] == [["x", "y"]]
