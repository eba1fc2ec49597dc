"""Recordings as people have them: channels beside the colours, rows of targets that lead in, angles in degrees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from citris_cli.artifacts.models import read_model, read_model_header, write_model
from tests.end_to_end.conftest import ASSIGNMENT, TINY_AE, TINY_NF, Citris, succeed
from tests.end_to_end.test_bad_input import check_refusal

TINY_VAE = ["--steps", "4", "--batch-size", "8", "--latents", "4", "--channels", "8"]
TINY_ENCODER = ["--steps", "4", "--batch-size", "8", "--channels", "8"]


def with_channels(images: np.ndarray[Any, Any], channels: int) -> np.ndarray[Any, Any]:
    """The same frames in grey, or with more channels that hold something else."""
    grey = images.mean(-1).astype(np.uint8)
    if channels < 3:
        return np.stack([grey, np.roll(grey, 5, axis=-1)][:channels], axis=-1)
    more = [np.roll(grey, shift, axis=-1) for shift in range(channels - 3)]
    return np.concatenate([images, *(one[..., None] for one in more)], axis=-1)


def write(folder: Path, source: Path, channels: int, **rows: int) -> Path:
    """A dataset of frames with other channels, of so many rows a split."""
    folder.mkdir()
    for split in ("train", "val_indep", "test_indep", "val_triplets", "test_triplets"):
        with np.load(source / f"{split}.npz", allow_pickle=False) as file:
            arrays = dict(file)
        count = rows.get(split, 24)
        for name, values in arrays.items():
            if name in ("images", "latents"):
                arrays[name] = values[:count]
            if name == "targets":
                arrays[name] = values[: count - (split == "train")]
        arrays["images"] = with_channels(arrays["images"], channels)
        np.savez(folder / f"{split}.npz", **arrays)
    return folder


@pytest.mark.parametrize("channels", [1, 4])
def test_every_command_takes_other_channels(home: Path, tmp_path: Path, inside: Citris, channels: int) -> None:
    write(tmp_path / "d", home / "boxes", channels, train=80)
    succeed("train-ae", "d", *TINY_AE, "--steps", "4", cwd=tmp_path)
    model = succeed("train-nf", "d", *TINY_NF, "--steps", "4", cwd=tmp_path)
    for part in ("ae", "nf"):
        config = read_model_header(tmp_path / f"runs/d/{part}.safetensors").config
        assert config["autoencoder"]["image_channels"] == channels
    with Image.open(tmp_path / "runs/d/ae.reconstructions.png") as picture:
        # Three rows of frames with one panel, or with two.
        assert (picture.height > 500) == (channels == 4)
    assert (tmp_path / succeed("encode", "d/test_indep.npz", cwd=tmp_path)).exists()
    trained = read_model(tmp_path / model)
    trained.tensors["assignment.logits"] = torch.eye(3)[ASSIGNMENT]
    write_model(tmp_path / "assigned.safetensors", trained)
    intervene = ["intervene", "d/test_indep.npz#2", "--var", "ball_y", "-m", "assigned.safetensors"]
    with np.load(tmp_path / succeed(*intervene, "-o", "a.npz", cwd=tmp_path)) as file:
        assert file["images"].shape == (4, 32, 32, channels)
    for name in ("a.png", "a.gif"):
        assert (tmp_path / succeed(*intervene, "-o", name, cwd=tmp_path)).exists()
    for command in ("eval-triplets", "eval-correlation"):
        json.loads(succeed(command, "d", "--json", cwd=tmp_path))
    assert (tmp_path / succeed("animate-latents", "d", "--frames", "3", cwd=tmp_path)).exists()
    encoder = succeed("train-causal-encoder", "d", *TINY_ENCODER, cwd=tmp_path)
    report = json.loads(succeed("eval-triplets", "d", "--causal-encoder", encoder, "--json", cwd=tmp_path))
    assert report["distances"]
    vae = succeed("train-vae", "d", *TINY_VAE, "-o", "vae.safetensors", cwd=tmp_path)
    assert read_model_header(tmp_path / vae).config["citris_vae"]["image_channels"] == channels
    exported = succeed("export", vae, "-o", "vae.published.safetensors", cwd=tmp_path)
    assert (tmp_path / exported).exists()


def test_frames_with_other_channels_than_the_models_are_refused(home: Path, tmp_path: Path, inside: Citris) -> None:
    write(tmp_path / "grey", home / "boxes", 1)
    write(tmp_path / "more", home / "boxes", 5)
    model = home / "runs/boxes/nf.safetensors"
    for folder, theirs in (("grey", "1 channel"), ("more", "5 channels")):
        for command in ("encode", "eval-triplets", "eval-correlation", "animate-latents"):
            done = inside(command, folder, "-m", model, cwd=tmp_path)
            check_refusal(done, f"frames have {theirs}, and the model was trained on 3 channels")
    done = inside("train-nf", "grey", "--ae", home / "runs/boxes/ae.safetensors", cwd=tmp_path)
    check_refusal(done, "this autoencoder was trained on RGB frames and those of grey are grey")


def test_a_fourth_channel_that_never_changes_is_dropped_with_a_note(home: Path, tmp_path: Path, inside: Citris) -> None:
    with np.load(home / "boxes/train.npz") as file:
        arrays = dict(file)
    arrays["images"] = np.concatenate([arrays["images"], np.full((300, 32, 32, 1), 255, np.uint8)], axis=-1)
    np.savez(tmp_path / "rgba.npz", **arrays)
    done = inside("train-ae", "rgba.npz", *TINY_AE, "--steps", "2", cwd=tmp_path)
    assert "the fourth channel is 255 in every frame: taken for alpha and dropped" in done.stderr.decode()
    done = inside("encode", "rgba.npz", "-m", home / "runs/boxes/nf.safetensors", cwd=tmp_path)
    assert "taken for alpha and dropped" in done.stderr.decode()
    arrays["images"][0, 0, 0, 3] = 0
    np.savez(tmp_path / "data.npz", **arrays)
    done = inside("encode", "data.npz", "-m", home / "runs/boxes/nf.safetensors", cwd=tmp_path)
    assert done.returncode == 0
    assert "the fourth channel varies, and is dropped: the model was trained on 3" in done.stderr.decode()


def test_rows_of_targets_that_lead_in(home: Path, tmp_path: Path, inside: Citris) -> None:
    with np.load(home / "boxes/train.npz") as file:
        images, targets, keys = file["images"][:60], file["targets"][:59], file["keys"]
    targets[-1, 1] = 1
    np.savez(tmp_path / "out.npz", images=images, targets=targets, keys=keys)
    np.savez(tmp_path / "in.npz", images=images, targets=np.concatenate([targets[:1] * 0, targets]), keys=keys)
    done = inside("train-ae", "in.npz", *TINY_AE, "--steps", "2", cwd=tmp_path)
    assert "as if each row described the step into its frame" in done.stderr.decode()
    vae = ["train-vae", *TINY_VAE, "--save-every", "0"]
    first = succeed(*vae, "out.npz", "-o", "a.safetensors", cwd=tmp_path)
    second = succeed(*vae, "in.npz", "--targets-lead", "in", "-o", "b.safetensors", cwd=tmp_path)
    metrics = [
        [{**json.loads(line), "per_second": 0} for line in (tmp_path / name).with_suffix(".metrics.jsonl").open()]
        for name in (first, second)
    ]
    assert metrics[0] == metrics[1]
    check_refusal(
        inside(*vae, "out.npz", "--targets-lead", "in", cwd=tmp_path),
        "--targets-lead in: out.npz: key 'targets' leaves nothing to choose, there is one row a step",
    )
    done = inside("animate-latents", "in.npz", "--targets-lead", "in", "-m", first, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["frames"] == 60


@pytest.fixture
def degrees(home: Path, tmp_path: Path) -> Path:
    """A dataset that calls one of its columns an angle, which in its independent frames is in degrees."""
    folder = write(tmp_path / "d", home / "boxes", 3, train=60)
    for path in folder.glob("*.npz"):
        with np.load(path) as file:
            arrays = dict(file) | {"kinds": np.array(["angle", "continuous", "categorical"])}
        if "indep" in path.name:
            arrays["latents"][:, 0] = np.linspace(0, 359, len(arrays["latents"]))
        np.savez(path, **arrays)
    return tmp_path


def test_angles_in_degrees_are_refused_wherever_they_are_read(home: Path, degrees: Path, inside: Citris) -> None:
    model, says = (
        home / "runs/boxes/nf.safetensors",
        "ball_x is an angle and holds 359; save radians, or say with --vars",
    )
    check_refusal(inside("eval-correlation", "d", "-m", model, cwd=degrees), says)
    check_refusal(inside("train-nf", "d/train.npz", "--val", "d", *TINY_NF, cwd=degrees), says)
    check_refusal(inside("train-nf", "d", *TINY_NF, cwd=degrees), says)
    check_refusal(inside("train-causal-encoder", "d/val_indep.npz", cwd=degrees), says)
    done = inside("info", "d/val_indep.npz", "--json", cwd=degrees)
    assert done.returncode == 2
    assert says in json.loads(done.stdout)["reason"]
    # Frames alone are all that an autoencoder is trained and measured on.
    succeed("train-ae", "d", *TINY_AE, "--steps", "2", cwd=degrees)
    named = "ball_x:continuous,ball_y,box"
    succeed("eval-correlation", "d", "-m", model, "--vars", named, cwd=degrees)
