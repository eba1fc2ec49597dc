"""Data that change under a training: no model is made of two datasets, and no training dies without a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from citris_cli.artifacts.models import read_model, read_model_header
from citris_cli.training.autoencoder import AutoencoderTask
from citris_cli.training.citris_nf import CitrisNFTask
from tests.end_to_end.conftest import Citris, succeed
from tests.end_to_end.test_bad_input import check_refusal
from tests.end_to_end.test_resume import logged
from tests.waiting import PATIENCE, wait_until

STEPS = 12
AE = ["train-ae", "d.npz", "--latents", 3, "--channels", 4, "--batch-size", 8, "--save-every", 0, "--steps", STEPS]
NF = ["train-nf", "d.npz", "--samples", 2, "--hidden", 4, "--flow-layers", 2, "--batch-size", 8, "--steps", STEPS]
#: Looks at the files before every batch, not only now and then.
OFTEN = "citris_cli.data.frames._LOOK_EVERY"


@pytest.fixture
def folder(home: Path, tmp_path: Path) -> Path:
    """A folder with a file of few frames, which is mapped."""
    with np.load(home / "boxes/train.npz", allow_pickle=False) as boxes:
        np.savez(tmp_path / "d.npz", images=boxes["images"][:40], targets=boxes["targets"][:39])
    return tmp_path


def overwrite(path: Path) -> None:
    """Other frames in the same file, as a program that writes it anew leaves them."""
    with np.load(path, allow_pickle=False) as data:
        arrays = dict(data)
    np.savez(path, **{**arrays, "images": arrays["images"][::-1]})


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def write_the_same(path: Path) -> None:
    contents = path.read_bytes()
    with path.open("r+b") as file:
        file.write(contents)


def replace(path: Path) -> None:
    other = path.with_name("other.npz")
    other.write_bytes(path.read_bytes())
    overwrite(other)
    other.replace(path)


def changing(
    monkeypatch: pytest.MonkeyPatch, task: type, step: int, change: Callable[[Path], object], path: Path
) -> None:
    """Change a file as the batch of a step is about to be read."""
    original = task.batch

    def batch(self: object, at: int) -> object:
        if at == step:
            change(path)
        return original(self, at)

    monkeypatch.setattr(task, "batch", batch)
    monkeypatch.setattr(OFTEN, -1.0)


@pytest.mark.parametrize(("change", "how"), [(overwrite, "overwritten"), (cut, "cut short")])
def test_a_training_stops_and_goes_on_once_the_data_are_back(
    folder: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], how: str
) -> None:
    whole = succeed(*AE, "-o", "whole.safetensors", cwd=folder)
    data = (folder / "d.npz").read_bytes()
    with monkeypatch.context() as patch:
        changing(patch, AutoencoderTask, 6, change, folder / "d.npz")
        done = inside(*AE, "-o", "m.safetensors", cwd=folder)
    says = (
        f"^citris: d.npz: was {how} while it was read; the last good state is kept in m.state.safetensors: restore "
        "the data and run the same command with --resume, or start over with other data$"
    )
    check_refusal(done, says, status=1)
    assert not (folder / "m.safetensors").exists()
    assert read_model(folder / "m.state.safetensors").config["step"] == 5
    if change is overwrite:  # of the other data, the state is none
        check_refusal(inside(*AE, "-o", "m.safetensors", "--resume", cwd=folder), "belongs to other data")
    (folder / "d.npz").write_bytes(data)
    assert succeed(*AE, "-o", "m.safetensors", "--resume", cwd=folder) == "m.safetensors"
    for name, value in read_model(folder / whole).tensors.items():
        np.testing.assert_array_equal(value.numpy(), read_model(folder / "m.safetensors").tensors[name].numpy())


@pytest.mark.parametrize(("change", "says"), [(write_the_same, "was written to"), (replace, "was replaced")])
def test_what_leaves_the_data_as_they_were_is_said_and_does_no_harm(
    folder: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], says: str
) -> None:
    whole = succeed(*AE, "-o", "whole.safetensors", cwd=folder)
    with monkeypatch.context() as patch:
        changing(patch, AutoencoderTask, 6, change, folder / "d.npz")
        done = inside(*AE, "-o", "m.safetensors", cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    said = f"d.npz {says} while the model was trained; it was trained on the data as they were before"
    assert said in done.stderr.decode()
    one, other = (read_model(folder / name) for name in (whole, "m.safetensors"))
    assert one.provenance["data_sha256"] == other.provenance["data_sha256"]
    for name, value in one.tensors.items():
        np.testing.assert_array_equal(value.numpy(), other.tensors[name].numpy())


def test_a_flow_needs_the_frames_no_longer_once_they_are_encoded(
    folder: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeed(*AE, cwd=folder)
    with monkeypatch.context() as patch:
        changing(patch, CitrisNFTask, 6, cut, folder / "d.npz")
        done = inside(*NF, cwd=folder)
    assert done.stdout == b"runs/d/nf.safetensors\n", done.stderr.decode()
    assert "d.npz was written to while the model was trained" in done.stderr.decode()


@pytest.mark.parametrize("name", ["val_indep.npz", "val_triplets.npz"])
def test_what_it_is_validated_on_is_watched_too(
    home: Path, folder: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (folder / name).write_bytes((home / "boxes" / name).read_bytes())
    arguments = [*NF, "--ae", home / "runs/boxes/ae.safetensors", "--vars", "ball_x,ball_y,box", "--val", name]
    arguments += ["--save-every", 0, "-o", "m.safetensors"]
    with monkeypatch.context() as patch:
        changing(patch, CitrisNFTask, 6, overwrite, folder / name)
        done = inside(*arguments, cwd=folder)
    check_refusal(done, f"^citris: {name}: was overwritten while it was read; the last good state is kept in m.st", 1)
    assert read_model(folder / "m.state.safetensors").config["step"] in (5, 6)
    check_refusal(inside(*arguments, "--resume", cwd=folder), "started with other validation data, by which it keeps")


def test_a_change_after_the_last_step_loses_no_step(
    folder: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A VAE reads all frames once more for the latents that its model keeps."""
    from citris_cli.training import run

    arguments = ["train-vae", "d.npz", "--latents", 3, "--channels", 4, "--flow-layers", 1, "--batch-size", 4]
    arguments += ["--steps", 4, "-o", "m.safetensors"]
    data, encode = (folder / "d.npz").read_bytes(), run.encode_frames

    def encoded(*given: object) -> torch.Tensor:
        overwrite(folder / "d.npz")
        return encode(*given)

    with monkeypatch.context() as patch:
        patch.setattr(run, "encode_frames", encoded)
        done = inside(*arguments, cwd=folder)
    says = "^citris: d.npz: was overwritten while it was read; the last good state is kept in m.state.safetensors: "
    check_refusal(done, says, status=1)
    assert not (folder / "m.safetensors").exists()
    assert read_model(folder / "m.state.safetensors").config["step"] == 4
    (folder / "d.npz").write_bytes(data)
    assert succeed(*arguments, "--resume", cwd=folder) == "m.safetensors"
    assert "reference.z" in read_model(folder / "m.safetensors").tensors


def test_the_hash_is_of_what_was_read(folder: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch) -> None:
    from citris_cli.training import session

    load = session.load_sequences

    def loaded(*given: object, **more: object) -> object:
        data = load(*given, **more)
        overwrite(folder / "d.npz")
        return data

    monkeypatch.setattr(session, "load_sequences", loaded)
    # The check and the preset small look at frames, and find it out before.
    done = inside(*AE, "--no-check", "--preset", "paper", cwd=folder)
    check_refusal(done, "^citris: d.npz was written to while it was read; run the command again once nothing writes to")
    assert not (folder / "runs").exists()


#: A command of which nobody looks at the files before it touches their pages.
UNWATCHED = """
from citris_cli.data import frames
frames.require_unchanged = lambda mapping: None
from citris_cli.app import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="nobody can cut short what is mapped on this system")
def test_a_file_that_is_cut_short_under_a_process(folder: Path) -> None:
    """Even where its pages are lost before anybody looks, the process does not die without a sentence."""
    arguments = [*AE[:-1], 5000, "-o", "m.safetensors"]
    process = subprocess.Popen(
        [sys.executable, "-c", UNWATCHED, *map(str, arguments)],
        cwd=folder,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    wait_until(lambda: any(line["step"] >= 50 for line in logged(folder / "m.metrics.jsonl")), process)
    os.truncate(folder / "d.npz", 8192)
    error = process.communicate(timeout=PATIENCE)[1].decode()
    assert process.returncode == 1, error
    sentence = error.splitlines()[-1]
    assert sentence.startswith("citris: d.npz: was cut short while it was read; ")
    assert "--resume" in sentence
    assert read_model_header(folder / "m.state.safetensors").config["step"] > 0
    assert not (folder / "m.safetensors").exists()
    assert not list(folder.glob(".*.tmp"))
