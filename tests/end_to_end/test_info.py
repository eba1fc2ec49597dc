"""What ``citris info`` says of every kind of file, and of what is none."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from citris_cli.artifacts.models import ModelFile, read_model, write_model
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
    assert found["columns of the data"] == {
        "ball_x": "continuous", "ball_y": "continuous", "box": "categorical, 2 categories",
    }  # fmt: skip
    assert found["configuration"]["citris_nf"]["latents"] == 4
    assert found["provenance"]["command"][:3] == ["citris", "train-nf", "boxes"]
    assert found["size"].endswith((" kB", " MB"))
    assert int(found["weights"].replace(",", "")) > 1000
    assert document(inside, home, "runs/boxes/ae.safetensors")["kind"] == "autoencoder"


def test_a_model_whose_variables_are_malformed(model: Path, tmp_path: Path, inside: Citris) -> None:
    contents = read_model(model)
    write_model(tmp_path / "m.safetensors", dataclasses.replace(contents, variables=[{"kind": "angle"}]))
    says = "^citris: m.safetensors: its metadata is damaged .a variable's description is malformed"
    check_refusal(inside("info", "m.safetensors", cwd=tmp_path), says)


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


def test_what_intervene_wrote(home: Path, model: Path, inside: Citris) -> None:
    pictures = [f"boxes/test_indep.npz#{number}" for number in (0, 1)]
    done = inside("intervene", *pictures, "--var", "box", "-n", 3, "-m", model, "-o", "what_if.npz", cwd=home)
    assert done.returncode == 0, done.stderr.decode()
    found = document(inside, home, "what_if.npz")
    assert found["kind"] == "interventions"
    assert (found["pictures"], found["results"], found["frame size"], found["latents"]) == (2, 6, "32×32", 4)
    assert found["intervened on"] == "box"
    assert found["latents of"] == {"ball_y": 1, "box": 2, "psi(0)": 1}
    assert "training" not in found


def test_triplets(home: Path, tmp_path: Path, inside: Citris) -> None:
    found = document(inside, home, "boxes/test_triplets.npz")
    assert found["kind"] == "triplets"
    assert found["arrays"]["mask"].startswith("int64 [250, 3]")
    with np.load(home / "boxes/test_triplets.npz", allow_pickle=False) as triplets:
        share = triplets["mask"].mean(0)
        images, mask = triplets["images"], triplets["mask"]
    assert found["evaluation"] == {
        "triplets": 250,
        "frame size": "32×32",
        "taken from image 2": {"ball_x": "0.0%", "ball_y": f"{share[1]:.1%}", "box": f"{share[2]:.1%}"},
        "ground truth": "ball_x, ball_y, box",
    }
    np.savez(tmp_path / "short.npz", images=images, mask=mask[:3])
    found = document(inside, tmp_path, "short.npz")
    assert found["kind"] == "triplets"
    assert found["evaluation"] == ("not as it is: short.npz: key 'mask' has 3 rows for 250 triplets; it needs 250")


def test_independent_frames(home: Path, tmp_path: Path, inside: Citris) -> None:
    with np.load(home / "boxes/test_indep.npz", allow_pickle=False) as read:
        arrays = {name: read[name][:20] for name in ("images", "latents")}
    np.savez(tmp_path / "frames.npz", **arrays, keys=np.array(["x", "y", "z"]))
    found = document(inside, tmp_path, "frames.npz")
    assert found["kind"] == "independent frames"
    assert found["measuring"] == {"frames": 20, "frame size": "32×32", "ground truth": "x, y, z"}
    np.savez(tmp_path / "frames.npz", images=arrays["images"], latents=arrays["latents"] * np.nan)
    assert document(inside, tmp_path, "frames.npz")["measuring"].startswith("not as it is: frames.npz: key 'latents'")


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
    assert list(training["identifiability"]) == ["ball_x"]
    assert training["ground truth"] == "ball_x, ball_y, box"


def test_a_directory(home: Path, inside: Citris) -> None:
    found = document(inside, home, "boxes")
    assert found["kind"] == "dataset"
    assert set(found["files"]) == {path.name for path in (home / "boxes").iterdir()}
    assert found["training"]["frames"] == 300
    found = document(inside, home, "runs/boxes")
    assert found["kind"] == "artifacts"
    assert {"ae.safetensors", "nf.safetensors"} <= set(found["files"])


def test_what_a_mac_adds_is_no_part_of_a_dataset(home: Path, tmp_path: Path, inside: Citris) -> None:
    packed = tmp_path / "train.npz"
    packed.write_bytes((home / "boxes/train.npz").read_bytes())
    with zipfile.ZipFile(packed, "a") as file:
        file.writestr("README.md", "how it was recorded")
        file.writestr("__MACOSX/._images.npy", b"\0\5\x16\7")
    for name in ("._train.npz", ".DS_Store", "._nf.safetensors"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    plain = document(inside, home, "boxes/train.npz")
    assert document(inside, tmp_path, "train.npz") | {"size": ""} == plain | {"file": "train.npz", "size": ""}
    found = document(inside, tmp_path, ".")
    assert list(found["files"]) == ["train.npz"]
    assert found["training"] == plain["training"]


def test_a_folder_of_latents_is_no_dataset(home: Path, tmp_path: Path, model: Path, inside: Citris) -> None:
    done = inside("encode", home / "boxes/test_indep.npz", "-m", model, "-o", "made/latents.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    found = document(inside, tmp_path, "made")
    assert found["kind"] == "artifacts"
    assert set(found["files"]) == {"latents.npz"}
    assert "training" not in found
    (tmp_path / "made/train.npz").write_bytes((home / "boxes/train.npz").read_bytes()[:5000])
    found = document(inside, tmp_path, "made")
    assert found["kind"] == "dataset"
    assert found["training"].startswith("not as it is: made/train.npz: ")


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
