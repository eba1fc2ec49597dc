"""Encoding as a user does it: pictures, folders, datasets and pipes in; arrays that numpy reads without pickles out."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from citris_cli.artifacts.models import read_model, write_model
from citris_cli.commands.inputs import in_batches
from citris_cli.data.frames import Frames, as_model_input
from citris_cli.loading import load_model
from tests.end_to_end.conftest import ASSIGNMENT, Citris
from tests.end_to_end.test_bad_input import check_refusal


@pytest.fixture
def frames(home: Path, tmp_path: Path) -> np.ndarray:
    """Six frames of the world: one a picture with alpha, one of odd size, two in a folder, two in a file."""
    with np.load(home / "boxes/test_indep.npz", allow_pickle=False) as data:
        images = data["images"][:6]
    alpha = np.full((32, 32, 1), 77, np.uint8)
    Image.fromarray(np.concatenate([images[0], alpha], axis=2)).save(tmp_path / "alpha.png")
    Image.fromarray(images[1].repeat(2, 0).repeat(2, 1)).save(tmp_path / "large.png")
    (tmp_path / "pictures").mkdir()
    Image.fromarray(images[2]).save(tmp_path / "pictures/frame2.png")
    Image.fromarray(images[3]).save(tmp_path / "pictures/frame10.png")
    (tmp_path / "pictures/notes.txt").write_text("no picture")
    np.savez(tmp_path / "two.npz", images=images[4:])
    return images


def latents(model: Path, images: np.ndarray) -> np.ndarray:
    """What the model says of frames uint8 [N, 32, 32, 3]."""
    with torch.no_grad():
        return load_model(model).network.encode(as_model_input(torch.from_numpy(images))).numpy()


def check_arrays(content: Path | io.BytesIO, model: Path, images: np.ndarray) -> list[str]:
    """A file of latents against the model; the sources that it names."""
    with np.load(content, allow_pickle=False) as read:
        arrays = dict(read)
    assert set(arrays) == {"z", "assignment", "variables", "sources", "z_ball_y", "z_box", "z_psi0"}
    assert arrays["z"].dtype == np.float32
    np.testing.assert_allclose(arrays["z"], latents(model, images), atol=1e-4)
    assert arrays["assignment"].tolist() == ASSIGNMENT
    assert arrays["variables"].tolist() == ["ball_y", "box"]
    np.testing.assert_array_equal(arrays["z_ball_y"], arrays["z"][:, [1]])
    np.testing.assert_array_equal(arrays["z_box"], arrays["z"][:, [0, 3]])
    np.testing.assert_array_equal(arrays["z_psi0"], arrays["z"][:, [2]])
    return arrays["sources"].tolist()


def test_a_mixture_of_inputs_in_the_order_given(
    tmp_path: Path, frames: np.ndarray, model: Path, inside: Citris
) -> None:
    stdin = (tmp_path / "pictures/frame2.png").read_bytes()
    inputs = ["two.npz", "-", "pictures", "alpha.png", "pictures/frame10.png"]
    done = inside("encode", *inputs, "-m", model, "-o", "new/z.npz", "--batch-size", 1, cwd=tmp_path, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b"new/z.npz\n"
    assert done.stderr.decode().startswith("7 frames, 4 latents, ")
    assert len(done.stderr.decode().splitlines()) == 1
    sources = check_arrays(tmp_path / "new/z.npz", model, frames[[4, 5, 2, 2, 3, 0, 3]])
    assert sources == [
        "two.npz", "two.npz", "-", "pictures/frame2.png", "pictures/frame10.png", "alpha.png", "pictures/frame10.png"
    ]  # fmt: skip


def test_pictures_go_through_the_network_many_at_a_time() -> None:
    one, two = (np.full((n, 32, 32, 3), n, np.uint8) for n in (1, 2))
    gathered = [("a", Frames([one])), ("b", Frames([one])), ("c", Frames([one])), ("d", Frames([two]))]
    batches = [(names, len(frames)) for names, frames in in_batches([*gathered, *gathered[:1]], 2)]
    assert batches == [(["a", "b"], 2), (["c"], 1), (["d", "d"], 2), (["a"], 1)]


def test_pictures_of_another_size_are_brought_to_the_models_with_a_note(
    tmp_path: Path, frames: np.ndarray, model: Path, inside: Citris
) -> None:
    wide = np.concatenate([frames[1], frames[1]], axis=1)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    done = inside("encode", "large.png", "wide.png", "--model", model, "-o", "z.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    notes = done.stderr.decode().splitlines()
    assert notes[0] == "large.png: resized from 64×64 to 32×32 pixels"
    assert notes[1] == "wide.png: cropped from 32×64 to its middle 32×32 pixels"
    shrunk = np.asarray(Image.open(tmp_path / "large.png").resize((32, 32), Image.Resampling.LANCZOS))
    check_arrays(tmp_path / "z.npz", model, np.stack([shrunk, wide[:, 16:48]]))


def test_a_dataset_by_its_directory_and_json(home: Path, model: Path, inside: Citris) -> None:
    done = inside("encode", "boxes", "--model", model, "--json", "-o", "directory.npz", cwd=home)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.count(b"\n") == 1
    assert json.loads(done.stdout) == {
        "files": ["directory.npz"],
        "frames": 300,
        "latents": 4,
        "latents_per_variable": {"ball_y": 1, "box": 2, "psi0": 1},
        "model": str(model),
    }
    with np.load(home / "boxes/train.npz", allow_pickle=False) as train:
        sources = check_arrays(home / "directory.npz", model, train["images"])
    assert set(sources) == {"boxes"}


def test_without_an_output_it_lies_under_runs(tmp_path: Path, frames: np.ndarray, model: Path, inside: Citris) -> None:
    for dataset in ("A", "B"):
        (tmp_path / dataset).mkdir()
        for stem in ("val_indep", "test_indep", "train-0", "train-1"):
            np.savez(tmp_path / dataset / f"{stem}.npz", images=frames[:2])
    for given, path in (
        ("two.npz", "runs/two/latents.npz"),
        ("two.npz#1", "runs/two/latents-1.npz"),
        ("pictures", "runs/pictures/latents.npz"),
        ("large.png", "runs/large/latents.npz"),
        ("A/test_indep.npz", "runs/A/latents-test_indep.npz"),
        ("A/test_indep.npz#1", "runs/A/latents-test_indep-1.npz"),
        ("A/val_indep.npz", "runs/A/latents-val_indep.npz"),
        ("B/test_indep.npz", "runs/B/latents-test_indep.npz"),
        ("B", "runs/B/latents.npz"),
        ("B/train-*.npz", "runs/B/latents-train.npz"),
        ("B/train-0.npz B/train-1.npz", "runs/B/latents.npz"),
    ):
        done = inside("encode", *given.split(), "-m", model, cwd=tmp_path)
        assert done.stdout.decode() == f"{path}\n"
        assert (tmp_path / path).is_file()
    done = inside("encode", "-", "-m", model, cwd=tmp_path, stdin=(tmp_path / "alpha.png").read_bytes())
    assert done.stdout == b"runs/stdin/latents.npz\n"
    check_arrays(tmp_path / "runs/stdin/latents.npz", model, frames[:1])


def test_which_model_is_used_is_said(tmp_path: Path, frames: np.ndarray, model: Path, inside: Citris) -> None:
    check_refusal(inside("encode", "two.npz", cwd=tmp_path), r"no model given .* 'citris train-nf DATA'")
    contents = read_model(model)
    for age, name in ((20, "old"), (10, "new"), (0, "ae only")):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        if name == "ae only":  # the newest file of all, and not a model with causal latents
            write_model(folder / "nf.safetensors", dataclasses.replace(contents, kind="autoencoder"))
            continue
        write_model(folder / "nf.safetensors", contents)
        moment = (folder / "nf.safetensors").stat().st_mtime - age
        os.utime(folder / "nf.safetensors", (moment, moment))
    done = inside("encode", "two.npz", "-o", "z.npz", cwd=tmp_path)
    assert "model: runs/new/nf.safetensors (the newest under runs/)" in done.stderr.decode()
    done = inside("encode", "two.npz", "-o", "z.npz", cwd=tmp_path, CITRIS_MODEL="runs/old/nf.safetensors")
    assert "model: runs/old/nf.safetensors (from $CITRIS_MODEL)" in done.stderr.decode()
    done = inside("encode", "two.npz", "-o", "z.npz", "-m", model, cwd=tmp_path, CITRIS_MODEL="runs/none.safetensors")
    assert done.returncode == 0
    assert "model:" not in done.stderr.decode()


def test_what_it_cannot_do_it_says(home: Path, tmp_path: Path, frames: np.ndarray, model: Path, inside: Citris) -> None:
    autoencoder = home / "runs/boxes/ae.safetensors"
    done = inside("encode", "two.npz", "-m", autoencoder, "-o", "z.npz", cwd=tmp_path)
    check_refusal(
        done, "holds a model of kind autoencoder, which has no causal latents; train one with 'citris train-nf'"
    )
    done = inside("encode", "two.npz", "-m", model, "--json", "-o", "-", cwd=tmp_path)
    check_refusal(done, "--json and -o - both want standard output")
    done = inside("encode", "-", "two.npz", "-", "-m", model, "-o", "z.npz", cwd=tmp_path)
    check_refusal(done, "standard input holds one picture; name it once")
    done = inside("encode", "two.npz#2", "-m", model, "-o", "z.npz", cwd=tmp_path)
    check_refusal(done, "two.npz#2: the dataset has 2 frames, counted from 0")
    assert not (tmp_path / "z.npz").exists()


def test_one_frame_is_counted_as_one(tmp_path: Path, frames: np.ndarray, model: Path, inside: Citris) -> None:
    done = inside("encode", "alpha.png", "-m", model, cwd=tmp_path)
    assert done.stderr.decode().startswith("1 frame, 4 latents, ")


def test_in_half_precision_the_latents_are_nearly_the_same(
    tmp_path: Path, frames: np.ndarray, model: Path, inside: Citris
) -> None:
    done = inside("encode", "two.npz", "-m", model, "--precision", "bf16", "-o", "z.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    with np.load(tmp_path / "z.npz", allow_pickle=False) as read:
        found, expected = read["z"], latents(model, frames[4:])
    assert found.dtype == np.float32
    assert not np.array_equal(found, expected)
    assert np.linalg.norm(found - expected) < 0.3 * np.linalg.norm(expected)


def shell(line: str, folder: Path) -> subprocess.CompletedProcess:
    """A pipeline of the shell in which ``citris`` is this one."""
    script = f'set -o pipefail; citris() {{ {shlex.quote(sys.executable)} -m citris_cli "$@"; }}; {line}'
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, env=environment, check=False)


def test_through_a_pipe(home: Path, tmp_path: Path, frames: np.ndarray, model: Path) -> None:
    done = shell(f"cat alpha.png | citris encode - two.npz -m {model} -o - | cat", tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert check_arrays(io.BytesIO(done.stdout), model, frames[[0, 4, 5]]) == ["-", "two.npz", "two.npz"]
    assert not (tmp_path / "runs").exists()
    # More than a pipe holds, and a reader that leaves: quiet, with the status of a process that SIGPIPE ended.
    done = shell(f"citris encode boxes/test_indep.npz -m {model} -o - | head -c 10", home)
    assert done.stdout[:2] == b"PK"
    assert done.stderr == b""
    assert done.returncode == 141
