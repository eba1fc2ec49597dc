"""What ``citris info`` says of every kind of file, and of what is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from citris_cli.artifacts.models import ModelFile, write_model
from citris_cli.training.files import STATE_KIND
from tests.end_to_end.conftest import Citris
from tests.end_to_end.test_bad_input import check_refusal


def document(inside: Citris, home: Path, path: object) -> dict:
    done = inside("info", path, "--json", cwd=home)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""
    return json.loads(done.stdout)


def test_a_model(home: Path, inside: Citris) -> None:
    found = document(inside, home, "runs/boxes/nf.safetensors")
    assert found["file"] == "runs/boxes/nf.safetensors"
    assert found["kind"] == "citris_nf"
    assert found["variables"] == "ball_y, box"
    assert found["configuration"]["citris_nf"]["latents"] == 4
    assert found["provenance"]["command"][:3] == ["citris", "train-nf", "boxes"]
    assert found["size"].endswith((" kB", " MB"))
    assert int(found["weights"].replace(",", "")) > 1000
    assert document(inside, home, "runs/boxes/ae.safetensors")["kind"] == "autoencoder"


def test_a_training_state(home: Path, tmp_path: Path, inside: Citris) -> None:
    import torch

    config = {"step": 7, "settings": {"kind": "autoencoder"}}
    write_model(tmp_path / "m.state.safetensors", ModelFile(STATE_KIND, config, None, {}, {"w": torch.ones(2)}))
    found = document(inside, home, tmp_path / "m.state.safetensors")
    assert found["kind"] == "training_state"
    assert found["configuration"]["step"] == 7


def test_latents(home: Path, inside: Citris) -> None:
    done = inside("encode", "boxes", "-m", "runs/boxes/nf.safetensors", "-o", "info.npz", cwd=home)
    assert done.returncode == 0, done.stderr.decode()
    found = document(inside, home, "info.npz")
    assert found["kind"] == "causal latents"
    assert (found["frames"], found["latents"]) == (300, 4)
    assert set(found["latents of"]) == {"ball_y", "box", "psi(0)"}
    assert sum(found["latents of"].values()) == 4


def test_a_dataset(home: Path, inside: Citris) -> None:
    found = document(inside, home, "boxes/train.npz")
    assert found["kind"] == "dataset"
    assert found["arrays"]["images"] == "uint8 [300, 32, 32, 3] (memory-mapped)"
    assert found["arrays"]["targets"].startswith("uint8 [299, 3]")
    training = found["training"]
    assert (training["frames"], training["steps"], training["frame size"]) == (300, 299, "32×32")
    with np.load(home / "boxes/train.npz", allow_pickle=False) as train:
        share = train["targets"].mean(0)
    assert training["intervened on"] == {"ball_y": f"{share[1]:.1%}", "box": f"{share[2]:.1%}"}
    assert training["never intervened on"] == "ball_x"
    assert training["ground truth"] == "ball_x, ball_y, box"


def test_a_directory(home: Path, inside: Citris) -> None:
    found = document(inside, home, "boxes")
    assert found["kind"] == "dataset"
    assert set(found["files"]) == {path.name for path in (home / "boxes").iterdir()}
    assert found["training"]["frames"] == 300
    found = document(inside, home, "runs/boxes")
    assert found["kind"] == "artifacts"
    assert {"ae.safetensors", "nf.safetensors"} <= set(found["files"])


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": np.zeros((3, 32, 32, 3), np.uint8)},
        {"z": np.zeros(5), "assignment": np.zeros(5), "variables": np.array(["a"])},
        {"z": np.zeros((5, 2)), "assignment": np.zeros(2)},
        {"z": np.zeros((5, 2)), "assignment": np.zeros(3), "variables": np.array(["a"])},
        {"z": np.zeros((5, 2)), "assignment": np.zeros(2), "variables": np.float32(1)},
    ],
)
def test_a_file_that_training_would_refuse_is_still_described(
    tmp_path: Path, inside: Citris, arrays: dict[str, np.ndarray]
) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    found = document(inside, tmp_path, "x.npz")
    assert found["kind"] == "dataset"
    assert set(found["arrays"]) == set(arrays)
    assert found["training"].startswith("not as it is: x.npz: no ")


def test_lines_for_people(home: Path, inside: Citris) -> None:
    lines = inside("info", "boxes/train.npz", cwd=home).stdout.decode().splitlines()
    assert lines[0].split() == ["file", "boxes/train.npz"]
    assert lines[1].split() == ["kind", "dataset"]
    assert "arrays:" in lines
    assert any(
        line.startswith("  images ") and line.endswith("uint8 [300, 32, 32, 3] (memory-mapped)") for line in lines
    )
    assert lines.index("training:") < lines.index("  intervened on:")


def test_what_is_nothing_of_ours(home: Path, tmp_path: Path, inside: Citris) -> None:
    (tmp_path / "text.txt").write_text("no model")
    (tmp_path / "damaged.npz").write_bytes((home / "boxes/train.npz").read_bytes()[:5000])
    (tmp_path / "empty").mkdir()
    check_refusal(inside("info", "none", cwd=tmp_path), "none: no such file or directory")
    check_refusal(inside("info", "text.txt", cwd=tmp_path), "text.txt: not a safetensors file")
    check_refusal(inside("info", "damaged.npz", cwd=tmp_path), "damaged.npz")
    check_refusal(inside("info", "empty", cwd=tmp_path), "empty: holds neither .npz files nor models")
