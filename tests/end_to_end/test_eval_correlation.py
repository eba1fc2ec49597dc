"""Latents against ground truth as a user compares them: true factors named and described as in the training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from citris_cli.artifacts.models import read_model, read_model_header, write_model
from citris_cli.evaluation import correlation
from tests.end_to_end.conftest import TINY_NF, Citris
from tests.end_to_end.test_bad_input import check_refusal

NAMES = ["x", "theta", "lamp"]
KINDS = ["continuous", "angle", "categorical"]


def save(path: Path, source: Path, frames: int, **changes: Any) -> None:
    """The first frames of a file of the world, without names of the columns unless they are given."""
    with np.load(source, allow_pickle=False) as read:
        arrays = {"images": read["images"][:frames], "targets": read["targets"][: frames - 1]}
        arrays["latents"] = read["latents"][:frames] * [1, 0.2, 1]  # within what an angle can be
    arrays |= changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


@pytest.fixture(scope="module")
def named(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset whose files do not name their columns; the first is never intervened on."""
    folder = tmp_path_factory.mktemp("named")
    (folder / "d").mkdir()
    for split, frames in (("train", 80), ("val_indep", 40), ("test_indep", 40)):
        save(folder / f"d/{split}.npz", home / f"boxes/{split}.npz", frames)
    return folder


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Kinds that the factors of the last comparison were taken for; it is a short one."""
    taken: list[str] = []
    original = correlation._fit_and_predict

    def short(z: Any, masks: Any, heads: Any, half: int, generator: Any, epochs: int, *_: Any) -> Any:
        taken[:] = [head.kind for head in heads]
        return original(z, masks, heads, half, generator, epochs=1)

    monkeypatch.setattr(correlation, "_fit_and_predict", short)
    return taken


@pytest.fixture
def trained(home: Path, named: Path, inside: Citris, kinds: list[str]) -> Path:
    """The folder with a model that was trained with --vars."""
    autoencoder = ["--ae", home / "runs/boxes/ae.safetensors"]
    if not (named / "m.safetensors").exists():
        names = ["--vars", "x,theta:angle,lamp:categorical"]
        done = inside("train-nf", "d", *TINY_NF, *autoencoder, *names, "-o", "m.safetensors", cwd=named)
        assert done.returncode == 0, done.stderr.decode()
        assert kinds == KINDS
    return named


def compare(inside: Citris, folder: Path, data: str, *options: object) -> tuple[dict[str, Any], str]:
    done = inside("eval-correlation", data, "-m", "m.safetensors", "--json", *options, cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout), done.stderr.decode()


def test_names_given_with_vars_reach_the_ground_truth_of_the_training(trained: Path) -> None:
    provenance = read_model_header(trained / "m.safetensors").provenance
    assert provenance["metrics"]["identification"]["factors"] == NAMES
    assert provenance["metrics"]["identification"]["rows"] == ["theta", "lamp", "psi(0)"]
    assert [(column["name"], column["kind"]) for column in provenance["columns"]] == list(
        zip(NAMES, KINDS, strict=True)
    )


def test_names_in_the_training_file_reach_held_out_frames_without_names(
    home: Path, named: Path, tmp_path: Path, inside: Citris, kinds: list[str]
) -> None:
    (tmp_path / "d").mkdir()
    save(tmp_path / "d/train.npz", named / "d/train.npz", 80, keys=np.array(["x", "rot-spot", "ball_b"]))
    save(tmp_path / "d/val_indep.npz", named / "d/val_indep.npz", 40)
    autoencoder = ["--ae", home / "runs/boxes/ae.safetensors"]
    done = inside("train-nf", "d", *TINY_NF, "--steps", 2, *autoencoder, "-o", "m.safetensors", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    report = read_model_header(tmp_path / "m.safetensors").provenance["metrics"]["identification"]
    assert report["factors"] == ["x", "rot_s", "box"]
    assert kinds == KINDS


def test_a_file_without_names_has_those_of_the_training(trained: Path, inside: Citris, kinds: list[str]) -> None:
    report, said = compare(inside, trained, "d")
    assert kinds == KINDS
    assert report["factors"] == NAMES
    assert report["r2_diag"] is not None
    assert "--vars" not in said
    assert json.loads((trained / "runs/d/correlation.json").read_text()) == report


def test_with_the_noise_of_training_is_another_measure(trained: Path, inside: Citris, kinds: list[str]) -> None:
    without, _ = compare(inside, trained, "d")
    report, said = compare(inside, trained, "d", "--noise")
    assert (without["noise"], report["noise"]) == (False, True)
    assert report["r2"] != without["r2"]
    assert "with noise" in said
    assert json.loads((trained / "runs/d/correlation-noise.json").read_text()) == report
    assert json.loads((trained / "runs/d/correlation.json").read_text()) == without
    assert "that of training" in (trained / "runs/d/correlation-noise.html").read_text()


def test_a_files_own_names_have_the_kinds_of_the_training(trained: Path, inside: Citris, kinds: list[str]) -> None:
    with np.load(trained / "d/test_indep.npz", allow_pickle=False) as read:
        shuffled = read["latents"][:, [2, 0, 1]]
    keys = np.array(["lamp", "x", "theta"])
    save(trained / "keys.npz", trained / "d/test_indep.npz", 40, latents=shuffled, targets=None, keys=keys)
    report, _ = compare(inside, trained, "keys.npz")
    assert kinds == [KINDS[2], KINDS[0], KINDS[1]]
    assert report["factors"] == ["lamp", "x", "theta"]


def test_names_that_the_model_does_not_know_are_said_and_can_be_given(
    trained: Path, inside: Citris, kinds: list[str]
) -> None:
    save(trained / "other.npz", trained / "d/test_indep.npz", 40, keys=np.array(["a", "b", "c"]))
    report, said = compare(inside, trained, "other.npz")
    assert report["r2_diag"] is None
    assert "no factor (a, b, c) has the name of a variable of the model (theta, lamp); rename the" in said
    report, said = compare(inside, trained, "other.npz", "--vars", "x,theta,lamp:continuous")
    assert report["factors"] == NAMES
    assert kinds == ["continuous", "angle", "continuous"]
    assert report["r2_diag"] is not None
    assert "no factor" not in said


def test_a_model_that_tells_of_its_variables_only(trained: Path, inside: Citris, kinds: list[str]) -> None:
    contents = read_model(trained / "m.safetensors")
    provenance = {name: value for name, value in contents.provenance.items() if name != "columns"}
    write_model(trained / "old.safetensors", dataclasses.replace(contents, provenance=provenance))
    save(trained / "keys.npz", trained / "d/test_indep.npz", 40, keys=np.array(NAMES))
    compare(inside, trained, "keys.npz", "-m", "old.safetensors")
    assert kinds == KINDS


def test_what_it_cannot_do_it_says(trained: Path, home: Path, inside: Citris) -> None:
    def refused(data: object, says: str, *options: object) -> None:
        check_refusal(inside("eval-correlation", data, "-m", "m.safetensors", *options, cwd=trained), says)

    refused("none.npz", "none.npz: there is no such file")
    refused("d", "--vars names 2 variables for 3 columns", "--vars", "a,b")
    save(trained / "bare.npz", home / "boxes/test_indep.npz", 40, latents=None)
    refused("bare.npz", "bare.npz: has no ground truth")
    save(trained / "few.npz", home / "boxes/test_indep.npz", 1, targets=None)
    refused("few.npz", "few.npz: has 1 frame; to fit on one half and score on the other, 10 or more are needed")
    save(trained / "more.npz", home / "boxes/test_indep.npz", 40, latents=np.zeros((40, 4)))
    done = inside("eval-correlation", "more.npz", "-m", "m.safetensors", cwd=trained)
    check_refusal(done, "has no ground truth")
    assert "4 columns of true values for 3 variables: true values ignored" in done.stderr.decode()
    contents = read_model(trained / "m.safetensors")
    contents.provenance["columns"] = [{"kind": "angle"}]
    write_model(trained / "damaged.safetensors", contents)
    refused("d", "damaged.safetensors: its metadata is damaged", "-m", "damaged.safetensors")


def test_a_pattern_names_shards(trained: Path, inside: Citris, kinds: list[str]) -> None:
    for number in range(2):
        save(trained / f"shard-{number}.npz", trained / "d/test_indep.npz", 20)
    compare(inside, trained, "shard-*.npz")
    assert kinds == KINDS
