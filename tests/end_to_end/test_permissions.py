"""Folders that nobody may read or look into: one sentence that names the place, from the commands and from Python."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import citris_cli
from citris_cli.errors import InputError
from tests.end_to_end.conftest import Citris
from tests.end_to_end.test_bad_input import check_refusal
from tests.permissions import permissions_count

#: Folders and their permissions: of one nothing can be listed, of the other what it holds cannot be looked at.
LOCKED = {"unread": 0o000, "unentered": 0o444, "runs": 0o000}
#: Newer versions of Python take what they may not see for absent.
DENIED = r"([Pp]ermission denied|no such file)"
MODEL = ["-m", "m.safetensors"]


@pytest.fixture
def home_with_locks(home: Path, model: Path, tmp_path: Path) -> Iterator[Path]:
    """A dataset and a model, and the same in folders with the permissions of LOCKED."""
    for name in ("boxes", *LOCKED):
        folder = tmp_path / name
        folder.mkdir()
        for split in ("train", "test_indep", "test_triplets"):
            shutil.copy(home / f"boxes/{split}.npz", folder)
        shutil.copy(model, folder / "m.safetensors")
        Image.new("RGB", (32, 32)).save(folder / "a.png")
    shutil.copy(model, tmp_path / "m.safetensors")
    for name, mode in LOCKED.items():
        (tmp_path / name).chmod(mode)
    with permissions_count():
        yield tmp_path
    for name in LOCKED:
        (tmp_path / name).chmod(0o755)


@pytest.mark.parametrize("folder", ["unread", "unentered"])
@pytest.mark.parametrize("inside_it", ["", "/train.npz", "/a.png", "/train.npz#3", "/*.npz"])
def test_inputs(home_with_locks: Path, inside: Citris, folder: str, inside_it: str) -> None:
    place = folder + inside_it
    for command in (
        ["train-ae", place, "--steps", 2, "-o", "x.safetensors"],
        ["train-nf", "boxes", "--steps", 2, "--val", place, "-o", "x.safetensors"],
        ["encode", place, *MODEL, "-o", "x.npz"],
        ["animate-latents", place, *MODEL, "-o", "x.gif"],
        ["intervene", place, "--var", "box", *MODEL, "-o", "x.png"],
        ["intervene", "boxes/a.png", "--var", "box", "--from", place, *MODEL, "-o", "x.png"],
        ["eval-correlation", place, *MODEL, "-o", "x.json"],
        ["eval-triplets", place, *MODEL, "-o", "x.json"],
    ):
        check_refusal(inside(*command, cwd=home_with_locks), rf"(^|\n)citris: .*{folder}\b.*{DENIED}[^\n]*$")
    done = inside("info", place, cwd=home_with_locks)  # which also describes what it can see
    assert done.returncode == 2
    assert re.search(rf"(^|\n)citris: .*{folder}\b.*{DENIED}[^\n]*$", done.stderr.decode().rstrip("\n"))


@pytest.mark.parametrize("folder", ["unread", "unentered"])
def test_models_and_outputs(home_with_locks: Path, inside: Citris, folder: str) -> None:
    for command in (
        ["encode", "boxes", "-m", folder, "-o", "x.npz"],
        ["encode", "boxes", "-m", f"{folder}/m.safetensors", "-o", "x.npz"],
        ["encode", "boxes", *MODEL, "-o", f"{folder}/x.npz"],
        ["export", f"{folder}/m.safetensors", "-o", "x.safetensors"],
        ["train-nf", "boxes", "--ae", f"{folder}/ae.safetensors", "--steps", 2, "-o", "x.safetensors"],
        ["eval-triplets", "boxes", *MODEL, "--causal-encoder", f"{folder}/c.safetensors", "-o", "x.json"],
    ):
        check_refusal(inside(*command, cwd=home_with_locks), rf"(^|\n)citris: {folder}\b.*{DENIED}[^\n]*$")


def test_the_folder_of_results(home_with_locks: Path, inside: Citris) -> None:
    for command in (["encode", "boxes"], ["encode", "boxes", *MODEL], ["train-ae", "boxes", "--steps", 2]):
        check_refusal(inside(*command, cwd=home_with_locks), r"(^|\n)citris: runs\b.*permission denied[^\n]*$")


@pytest.mark.parametrize("name", ["unread", "unentered"])
def test_python(home_with_locks: Path, name: str) -> None:
    folder = home_with_locks / name
    calls: list[Callable[[], Any]] = [
        lambda: citris_cli.load(folder),
        lambda: citris_cli.load(folder / "m.safetensors"),
        lambda: citris_cli.train_ae(folder, steps=2),
        lambda: citris_cli.train_vae(folder / "train.npz", steps=2),
        lambda: citris_cli.train_causal_encoder(str(folder / "*.npz"), steps=2),
        lambda: citris_cli.train_nf(home_with_locks / "boxes", steps=2, val=folder),
        lambda: citris_cli.train_ae(home_with_locks / "boxes", steps=2, output=folder / "x.safetensors"),
    ]
    for call in calls:
        with pytest.raises(InputError, match=rf"{folder}.*{DENIED}"):
            call()
