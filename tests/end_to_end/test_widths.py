"""Frames of other sizes than the published ones, through every command that sees frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.conftest import Citris, succeed
from tests.end_to_end.test_bad_input import check_refusal

TINY = ["--steps", 2, "--batch-size", 8]
WIDTH, CHANNELS = 48, 5


def frames(count: int, width: int, channels: int, truth: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A bright bar whose place is the first value, 0 … 1, on a ground as bright as the second: uint8 [N, W, W, C]."""
    images = np.empty((count, width, width, channels), np.uint8)
    for image, (place, ground) in zip(images, truth, strict=True):
        image[:] = round(100 * ground) + 10 * np.arange(channels)
        left = round(place * (width - 8))
        image[:, left : left + 8] = 255
    return images


def write(folder: Path, width: int, channels: int) -> None:
    """A dataset of two variables, with independent frames and triplets."""
    folder.mkdir()
    random = np.random.default_rng(0)
    names = {"keys": np.array(["place", "ground"])}
    truth = random.random((40, 2))
    rows = {"latents": truth, "targets": (random.random((39, 2)) < 0.4).astype(np.int64)}
    np.savez(folder / "train.npz", images=frames(40, width, channels, truth), **rows, **names)
    truth = random.random((20, 2))
    rows = {"latents": truth, "targets": np.ones((20, 2), np.int64)}
    np.savez(folder / "val_indep.npz", images=frames(20, width, channels, truth), **rows, **names)
    mask = random.integers(0, 2, (6, 2))
    first, second = random.random((2, 6, 2))
    truth = np.stack([first, second, np.where(mask == 1, second, first)], axis=1)
    images = frames(18, width, channels, truth.reshape(-1, 2)).reshape(6, 3, width, width, channels)
    np.savez(folder / "test_triplets.npz", images=images, latents=truth, targets=mask, **names)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset of 48 pixels and five channels, and one model of every kind trained on it."""
    folder = tmp_path_factory.mktemp("widths")
    write(folder / "bars", WIDTH, CHANNELS)
    for command in ("train-ae", "train-nf", "train-vae", "train-causal-encoder"):
        succeed(command, "bars", *TINY, cwd=folder)
    return folder


@pytest.mark.parametrize("kind", ["nf", "vae"])
def test_a_model_of_48_pixels_and_five_channels_goes_through_the_commands(kind: str, trained: Path) -> None:
    model = ["--model", f"runs/bars/{kind}.safetensors"]
    assert json.loads(succeed("info", model[1], "--json", cwd=trained))["frame_size"] == [WIDTH, WIDTH]
    succeed("encode", "bars", *model, "-o", "z.npz", cwd=trained)
    with np.load(trained / "z.npz", allow_pickle=False) as file:
        z = file["z"]
    assert z.shape[0] == 40
    assert np.isfinite(z).all()
    reader = ["--causal-encoder", "runs/bars/causal_encoder.safetensors"]
    report = json.loads(succeed("eval-triplets", "bars", *model, *reader, "--json", cwd=trained))
    assert report["triplets"] == 6
    succeed("animate-latents", "bars", *model, "-o", "bars.gif", cwd=trained)
    with Image.open(trained / "bars.gif") as film:
        assert film.n_frames == 40
    succeed("export", model[1], "-o", "published.safetensors", cwd=trained)
    succeed("import-checkpoint", "published.safetensors", "-o", "back.safetensors", cwd=trained)
    succeed("encode", "bars", "--model", "back.safetensors", "-o", "back.npz", cwd=trained)
    with np.load(trained / "back.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["z"], z)


def test_an_intervention_on_frames_of_48_pixels(trained: Path) -> None:
    from citris_cli.artifacts.models import read_model, write_model

    file = read_model(trained / "runs/bars/nf.safetensors")
    logits = file.tensors["assignment.logits"]
    logits.zero_()[:, 2] = 1
    logits[:4, 0], logits[4:8, 1] = 9, 9
    write_model(trained / "assigned.safetensors", file)
    line = ["intervene", "bars#3", "--var", "place", "--from", "bars#5", "-m", "assigned.safetensors"]
    succeed(*line, "-o", "changed.npz", cwd=trained)
    with np.load(trained / "changed.npz", allow_pickle=False) as found:
        pictures = [value for value in found.values() if value.shape[-3:] == (WIDTH, WIDTH, CHANNELS)]
    assert pictures


def test_pictures_of_other_sizes_are_brought_to_80_pixels(tmp_path: Path) -> None:
    write(tmp_path / "bars", 80, 3)
    succeed("train-vae", "bars", *TINY, "-o", "m.safetensors", cwd=tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "p.png")
    Image.fromarray(picture[:80, :80]).save(tmp_path / "fits.png")
    succeed("encode", "p.png", "fits.png", "--model", "m.safetensors", "-o", "z.npz", cwd=tmp_path)
    with np.load(tmp_path / "z.npz", allow_pickle=False) as file:
        assert len(file["z"]) == 2


def test_a_size_that_no_network_takes(tmp_path: Path, inside: Citris) -> None:
    np.savez(tmp_path / "d.npz", images=np.zeros((9, 72, 72, 3), np.uint8), targets=np.ones((8, 2), np.int64))
    says = (
        r"frames of 72×72; citris needs square frames, a multiple of 16 from 32 to 256 pixels wide, such as 64 or 80: "
        r"'citris pack SOURCE -o DATA --size 64' makes them"
    )
    for command in ("train-ae", "train-nf", "train-vae", "train-causal-encoder"):
        check_refusal(inside(command, "d.npz", "-o", "m.safetensors", cwd=tmp_path), says)


def test_a_model_of_another_size_is_named_with_both(trained: Path, tmp_path: Path, inside: Citris) -> None:
    write(tmp_path / "wide", 80, CHANNELS)
    done = inside("encode", "wide", "--model", trained / "runs/bars/nf.safetensors", cwd=tmp_path)
    check_refusal(done, "frames are 80×80 and the model was trained for 48×48; use a model trained on such frames")
    done = inside("train-nf", "wide", "--ae", trained / "runs/bars/ae.safetensors", *TINY, cwd=tmp_path)
    check_refusal(done, "this autoencoder was trained for 48×48 frames and .*wide has 80×80")
