"""What ``citris info`` says of every kind of file, and of what is none."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from citris_cli.artifacts.models import ModelFile, read_model, write_model
from citris_cli.training.files import STATE_KIND
from tests.data.test_sources import OTHER_FILES
from tests.end_to_end.conftest import Citris
from tests.end_to_end.test_bad_input import check_refusal


def document(inside: Citris, home: Path, *paths: object) -> dict:
    done = inside("info", *paths, "--json", cwd=home)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""
    found = json.loads(done.stdout)
    assert found["usable"] is True
    return found


def refused(inside: Citris, home: Path, *paths: object) -> dict:
    """The document of what cannot be used: its reason is said on standard error too, and as text the same is said."""
    done = inside("info", *paths, "--json", cwd=home)
    found = json.loads(done.stdout)
    assert (done.returncode, found["usable"]) == (2, False)
    assert done.stderr.decode() == f"citris: {found['reason']}\n"
    shown = inside("info", *paths, cwd=home)
    assert (shown.returncode, shown.stderr) == (2, done.stderr)
    assert [line for line in shown.stdout.decode().splitlines() if line.split() == ["usable", "no"]]
    return found


def test_a_model(home: Path, inside: Citris) -> None:
    found = document(inside, home, "runs/boxes/nf.safetensors")
    assert found["file"] == "runs/boxes/nf.safetensors"
    assert found["kind"] == "citris_nf"
    assert found["variables"] == ["ball_y", "box"]
    assert [(column["name"], column["kind"], column["categories"]) for column in found["columns"]] == [
        ("ball_x", "continuous", None), ("ball_y", "continuous", None), ("box", "categorical", 2),
    ]  # fmt: skip
    assert found["configuration"]["citris_nf"]["latents"] == 4
    assert found["provenance"]["command"][:3] == ["citris", "train-nf", "boxes"]
    assert found["bytes"] == (home / "runs/boxes/nf.safetensors").stat().st_size
    assert found["weights"] > 1000
    assert found["frame_size"] == [32, 32]
    assert document(inside, home, "runs/boxes/ae.safetensors")["kind"] == "autoencoder"


def test_a_model_whose_variables_are_malformed(model: Path, tmp_path: Path, inside: Citris) -> None:
    contents = read_model(model)
    write_model(tmp_path / "m.safetensors", dataclasses.replace(contents, variables=[{"kind": "angle"}]))
    found = refused(inside, tmp_path, "m.safetensors")
    assert found["kind"] == "safetensors model"
    assert found["reason"].startswith("m.safetensors: its metadata is damaged (a variable's description is malformed")


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
    assert set(found["latents_per_variable"]) == {"ball_y", "box", "psi(0)"}
    assert sum(found["latents_per_variable"].values()) == 4


def test_what_intervene_wrote(home: Path, model: Path, inside: Citris) -> None:
    pictures = [f"boxes/test_indep.npz#{number}" for number in (0, 1)]
    done = inside("intervene", *pictures, "--var", "box", "-n", 3, "-m", model, "-o", "what_if.npz", cwd=home)
    assert done.returncode == 0, done.stderr.decode()
    found = document(inside, home, "what_if.npz")
    assert found["kind"] == "interventions"
    assert (found["pictures"], found["results"], found["frame_size"], found["latents"]) == (2, 6, [32, 32], 4)
    assert found["intervened"] == ["box"]
    assert found["latents_per_variable"] == {"ball_y": 1, "box": 2, "psi(0)": 1}
    assert "training" not in found


def test_triplets(home: Path, tmp_path: Path, inside: Citris) -> None:
    found = document(inside, home, "boxes/test_triplets.npz")
    assert found["kind"] == "triplets"
    assert (found["arrays"]["targets"]["dtype"], found["arrays"]["targets"]["shape"]) == ("uint8", [100, 3])
    with np.load(home / "boxes/test_triplets.npz", allow_pickle=False) as triplets:
        counts = triplets["targets"].sum(0).tolist()
        images, mask = triplets["images"], triplets["targets"]
    assert found["evaluation"] == {
        "triplets": 100,
        "frame_size": [32, 32],
        "channels": 3,
        "kinds": {"ball_x": "continuous", "ball_y": "continuous", "box": "categorical"},
        "unused": [],
        "triplets_from_image_2": {"ball_x": 0, "ball_y": counts[1], "box": counts[2]},
        "factors": ["ball_x", "ball_y", "box"],
        "notes": [],
    }
    np.savez(tmp_path / "short.npz", images=images, mask=mask[:3])
    found = refused(inside, tmp_path, "short.npz")
    assert found["kind"] == "triplets"
    assert found["reason"] == "short.npz: key 'mask' has 3 rows for 100 triplets; it needs 100"


def test_independent_frames(home: Path, tmp_path: Path, inside: Citris) -> None:
    with np.load(home / "boxes/test_indep.npz", allow_pickle=False) as read:
        arrays = {name: read[name][:20] for name in ("images", "latents")}
    kinds = np.array(["continuous", "continuous", "categorical"])
    np.savez(tmp_path / "frames.npz", **arrays, keys=np.array(["x", "y", "z"]), kinds=kinds)
    found = document(inside, tmp_path, "frames.npz")
    assert found["kind"] == "independent frames"
    assert found["measuring"] == {
        "frames": 20,
        "frame_size": [32, 32],
        "channels": 3,
        "kinds": {"x": "continuous", "y": "continuous", "z": "categorical"},
        "unused": [],
        "factors": ["x", "y", "z"],
        "notes": [],
    }
    np.savez(tmp_path / "frames.npz", **arrays, targets=np.ones((20, 3)))  # as published files have it
    assert document(inside, tmp_path, "frames.npz")["kind"] == "independent frames"
    np.savez(tmp_path / "frames.npz", images=arrays["images"], latents=arrays["latents"] * np.nan)
    assert refused(inside, tmp_path, "frames.npz")["reason"].startswith("frames.npz: key 'latents'")


def test_a_dataset(home: Path, inside: Citris) -> None:
    found = document(inside, home, "boxes/train.npz")
    assert found["kind"] == "dataset"
    assert found["arrays"]["images"] == {"dtype": "uint8", "shape": [300, 32, 32, 3], "memory_mapped": True}
    assert found["arrays"]["targets"]["shape"] == [299, 3]
    training = found["training"]
    assert (training["frames"], training["steps"], training["frame_size"]) == (300, 299, [32, 32])
    with np.load(home / "boxes/train.npz", allow_pickle=False) as train:
        counts = train["targets"].sum(0).tolist()
    assert training["steps_with_intervention"] == {"ball_y": counts[1], "box": counts[2]}
    assert training["never_intervened"] == ["ball_x"]
    assert [(one["variables"], one["finding"]) for one in training["identifiability"]] == [(["ball_x"], "never")]
    assert training["factors"] == ["ball_x", "ball_y", "box"]


def test_a_directory(home: Path, inside: Citris) -> None:
    found = document(inside, home, "boxes")
    assert found["kind"] == "dataset"
    sizes = {f"boxes/{path.name}": path.stat().st_size for path in (home / "boxes").iterdir()}
    assert {one["file"]: one["bytes"] for one in found["entries"]} == sizes
    assert found["bytes"] == sum(sizes.values())
    assert found["training"]["frames"] == 300
    found = document(inside, home, "runs/boxes")
    assert found["kind"] == "artifacts"
    assert {f"runs/boxes/{name}.safetensors" for name in ("ae", "nf")} <= {one["file"] for one in found["entries"]}


def test_what_a_mac_adds_is_no_part_of_a_dataset(home: Path, tmp_path: Path, inside: Citris) -> None:
    packed = tmp_path / "train.npz"
    packed.write_bytes((home / "boxes/train.npz").read_bytes())
    with zipfile.ZipFile(packed, "a") as file:
        file.writestr("README.md", "how it was recorded")
        file.writestr("__MACOSX/._images.npy", b"\0\5\x16\7")
    for name in ("._train.npz", ".DS_Store", "._nf.safetensors"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    plain = document(inside, home, "boxes/train.npz")
    assert document(inside, tmp_path, "train.npz") | {"bytes": 0} == plain | {"file": "train.npz", "bytes": 0}
    found = document(inside, tmp_path, ".")
    assert [one["file"] for one in found["entries"]] == ["train.npz"]
    assert found["training"] == plain["training"]


def test_a_folder_of_latents_is_no_dataset(home: Path, tmp_path: Path, model: Path, inside: Citris) -> None:
    done = inside("encode", home / "boxes/test_indep.npz", "-m", model, "-o", "made/latents.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    found = document(inside, tmp_path, "made")
    assert found["kind"] == "artifacts"
    assert [one["file"] for one in found["entries"]] == ["made/latents.npz"]
    assert "training" not in found
    (tmp_path / "made/train.npz").write_bytes((home / "boxes/train.npz").read_bytes()[:5000])
    found = refused(inside, tmp_path, "made")
    assert found["kind"] == "dataset"
    assert found["reason"].startswith("made/train.npz: ")


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
    found = refused(inside, tmp_path, "x.npz")
    assert found["kind"] == "dataset"
    assert set(found["arrays"]) == set(arrays)
    assert found["reason"].startswith("x.npz: no ")


def test_lines_for_people(home: Path, inside: Citris) -> None:
    lines = inside("info", "boxes/train.npz", cwd=home).stdout.decode().splitlines()
    assert lines[0].split() == ["file", "boxes/train.npz"]
    assert lines[1].split() == ["kind", "dataset"]
    assert "arrays:" in lines
    assert any(
        line.startswith("  images ") and line.endswith("uint8 [300, 32, 32, 3] (memory-mapped)") for line in lines
    )
    assert lines.index("training:") < lines.index("  intervened on:")


def test_numbers_are_words_for_people(home: Path, inside: Citris) -> None:
    lines = inside("info", "boxes/train.npz", cwd=home).stdout.decode().splitlines()
    with np.load(home / "boxes/train.npz", allow_pickle=False) as train:
        share = train["targets"].mean(0)
    shown = [" ".join(line.split()) for line in lines]
    assert "frame size 32×32" in shown
    assert f"ball_y {share[1]:.1%}" in shown
    assert "never intervened on ball_x" in shown
    assert re.fullmatch(r"size \d+\.\d (kB|MB)", shown[2])
    lines = inside("info", "runs/boxes/nf.safetensors", cwd=home).stdout.decode().splitlines()
    assert any(re.fullmatch(r"  box +categorical, 2 categories", line) for line in lines)
    assert any(re.fullmatch(r"  command +citris train-nf boxes --steps 30 .*", line) for line in lines)


def test_what_is_nothing_of_ours(home: Path, tmp_path: Path, inside: Citris) -> None:
    (tmp_path / "text.txt").write_text("no model")
    (tmp_path / "damaged.npz").write_bytes((home / "boxes/train.npz").read_bytes()[:5000])
    (tmp_path / "cut.safetensors").write_bytes((home / "runs/boxes/nf.safetensors").read_bytes()[:-5])
    (tmp_path / "noise").write_bytes(b"\x01\xff" * 300)
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    check_refusal(inside("info", "none", cwd=tmp_path), "none: there is no such file or directory")
    check_refusal(inside("info", "none*", cwd=tmp_path), r"none\*: no file matches this pattern")
    check_refusal(inside("info", "pipe", cwd=tmp_path), "pipe: this is not a regular file")
    check_refusal(inside("info", "text.txt", "none", cwd=tmp_path), "none: there is no such file or directory")
    expected = {
        "text.txt": ("text", "this is text and holds no frames"),
        "damaged.npz": ("npz file of arrays", "damaged or cut off"),
        "cut.safetensors": ("safetensors model", "truncated or damaged"),
        "noise": ("unknown", "citris does not know this kind of file"),
        "empty": ("directory", "holds neither .npz files nor models nor pictures"),
    }
    for name, (kind, reason) in expected.items():
        found = refused(inside, tmp_path, name)
        assert found["kind"].removeprefix(".") == kind
        assert found["reason"].startswith(f"{name}: ")
        assert reason in found["reason"]


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("nothing", "empty file"),
        ("a single array", "single .npy array"),
        ("HDF5", "HDF5 file"),
        ("MP4", "film (MP4)"),
        ("CSV", "table in text (CSV)"),
        ("JSON", "JSON document"),
        ("text with umlauts", "text"),
        ("a Git LFS pointer", "Git LFS pointer"),
        ("a page", "HTML page"),
        ("an archive", "compressed archive"),
        ("AVIF", "AVIF picture"),
    ],
)
def test_what_a_file_is_that_nothing_reads(tmp_path: Path, inside: Citris, case: str, kind: str) -> None:
    make, _, instead = OTHER_FILES[case]
    (tmp_path / "file").write_bytes(make())
    found = refused(inside, tmp_path, "file")
    assert (found["kind"], found["bytes"]) == (kind, len(make()))
    assert instead in found["reason"]


def test_the_ending_of_a_name_says_what_was_meant(tmp_path: Path, inside: Citris) -> None:
    for name, advice in (("m.safetensors", "give a model"), ("m.ckpt", "give a published"), ("m.png", "give a PNG")):
        (tmp_path / name).write_text("nothing of the kind")
        assert advice in refused(inside, tmp_path, name)["reason"]


@pytest.mark.parametrize("case", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WebP"])
def test_a_picture(tmp_path: Path, inside: Citris, case: str) -> None:
    (tmp_path / "file").write_bytes(OTHER_FILES[case][0]())
    found = document(inside, tmp_path, "file")
    assert (found["kind"], found["format"].upper()) == ("picture", case.upper())
    assert (found["frame_size"], found["pictures"]) == ([8, 8], 1)


def test_pictures_and_folders_of_them(tmp_path: Path, inside: Citris) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    for number, size in enumerate([(120, 80), (120, 80), (64, 64)]):
        Image.new("RGB", size).save(folder / f"{number}.png")
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue", "green")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    found = document(inside, tmp_path, "p")
    assert (found["kind"], found["pictures"], found["frame_sizes"]) == ("pictures", 3, [[64, 64], [120, 80]])
    found = document(inside, tmp_path, "a.gif")
    assert (found["kind"], found["format"], found["pictures"], found["frame_size"]) == ("picture", "GIF", 3, [40, 30])
    assert b"120\xc3\x9780" in inside("info", "p", cwd=tmp_path).stdout
    found = document(inside, tmp_path, "p/*.png")
    assert (found["kind"], len(found["files"]), found["contents"][0]["frame_size"]) == ("files", 3, [120, 80])


def test_several_files_are_one_dataset_as_in_a_training(home: Path, tmp_path: Path, inside: Citris) -> None:
    for number in (1, 2):
        shutil.copy(home / "boxes/train.npz", tmp_path / f"train-{number}.npz")
    for paths in (["train-1.npz", "train-2.npz"], ["train-*.npz"]):
        found = document(inside, tmp_path, *paths)
        assert found["files"] == ["train-1.npz", "train-2.npz"]
        assert (found["kind"], found["training"]["frames"], found["training"]["steps"]) == ("dataset", 600, 598)
        assert found["bytes"] == 2 * (tmp_path / "train-1.npz").stat().st_size
        assert [one["file"] for one in found["contents"]] == found["files"]
        assert not any("training" in one for one in found["contents"])
    with np.load(tmp_path / "train-2.npz", allow_pickle=False) as train:
        np.savez(tmp_path / "train-2.npz", images=train["images"], targets=train["targets"][:, :2])
    assert "shards need the same columns" in refused(inside, tmp_path, "train-*.npz")["reason"]
    model = home / "runs/boxes/nf.safetensors"
    found = document(inside, tmp_path, "train-1.npz", model)
    assert (found["kind"], [one["kind"] for one in found["contents"]]) == ("files", ["dataset", "citris_nf"])
    assert found["contents"][0]["training"]["frames"] == 300
    (tmp_path / "note.txt").write_text("no data")
    assert refused(inside, tmp_path, "train-1.npz", "note.txt")["reason"].startswith("note.txt: this is text")
