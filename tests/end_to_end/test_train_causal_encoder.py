"""``citris train-causal-encoder`` as a user runs it: what it prints, keeps, measures, resumes and refuses."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from citris_cli.artifacts.models import read_model, read_model_header, write_model
from citris_cli.core.causal_encoder import CausalEncoder
from citris_cli.errors import InputError
from citris_cli.evaluation.distances import columns_of, compare, read_factors
from citris_cli.loading import load_model
from citris_cli.training.causal_encoder import CausalEncoderTask
from citris_cli.worlds.ball_in_boxes import KEYS, BallInBoxes
from tests.end_to_end.conftest import Citris
from tests.end_to_end.test_bad_input import check_refusal
from tests.worlds.sequences import whole_sequence

TINY = ["--steps", "30", "--channels", "8", "--batch-size", "16"]
NAME = "causal_encoder.safetensors"


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dataset ``boxes``: some frames in time, and independent ones."""
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "boxes").mkdir()
    world, rng = BallInBoxes(), np.random.default_rng(0)
    latents, targets = whole_sequence(world, 200, rng)
    save(folder / "boxes/train.npz", world, latents, targets)
    independent = world.independent(50, rng)
    save(folder / "boxes/val_indep.npz", world, independent, np.ones((49, 3), np.uint8))
    return folder


def save(path: Path, world: BallInBoxes, latents: np.ndarray, targets: np.ndarray) -> None:
    np.savez(path, images=world.render(latents), latents=latents, targets=targets, keys=np.array(KEYS))


@pytest.fixture
def folder(boxes: Path, tmp_path: Path) -> Path:
    """A folder of one's own with that dataset."""
    (tmp_path / "boxes").symlink_to(boxes / "boxes")
    return tmp_path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_model_with_its_factors_and_their_errors(folder: Path, inside: Citris) -> None:
    done = inside("train-causal-encoder", "boxes", *TINY, cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b"runs/boxes/causal_encoder.safetensors\n"
    assert {path.name for path in (folder / "runs/boxes").iterdir()} == {
        NAME, "causal_encoder.metrics.jsonl", "causal_encoder.state.safetensors",
    }  # fmt: skip
    notes = done.stderr.decode()
    assert "never intervened on" not in notes  # labels need no interventions
    assert "Mean distance to the truth on held-out frames" in notes

    header = read_model_header(folder / "runs/boxes" / NAME)
    assert header.kind == "causal_encoder"
    assert header.variables is not None
    assert [(v["name"], v["kind"], v["categories"]) for v in header.variables] == [
        ("ball_x", "continuous", None), ("ball_y", "continuous", None), ("box", "categorical", 2),
    ]  # fmt: skip
    with np.load(folder / "boxes/train.npz", allow_pickle=False) as train:
        low, high = train["latents"].min(0), train["latents"].max(0)
    for index, variable in enumerate(header.variables[:2]):
        assert (variable["low"], variable["high"]) == (low[index], high[index])
    metrics = header.provenance["metrics"]
    assert set(metrics) == {"val_distance", *(f"val_distance.{name}" for name in ("ball_x", "ball_y", "box"))}
    log = lines(folder / "runs/boxes/causal_encoder.metrics.jsonl")
    assert log[-1] == {"step": 30, **metrics}
    assert {"loss", "continuous", "categorical", "lr", "per_second"} <= log[0].keys()
    assert header.provenance["settings"]["factors"] == "ball_x:continuous,ball_y:continuous,box:categorical"
    assert header.config["causal_encoder"]["width"] == 32
    described = json.loads(inside("info", f"runs/boxes/{NAME}", "--json", cwd=folder).stdout)
    assert described["kind"] == "causal_encoder"
    assert described["factors"] == ["ball_x", "ball_y", "box"]
    _, ball_y, box = described["columns"]
    assert (ball_y["kind"], ball_y["low"], ball_y["high"]) == ("continuous", low[1], high[1])
    assert (box["kind"], box["categories"]) == ("categorical", 2)


def test_what_was_measured_is_what_the_model_reads(folder: Path, inside: Citris) -> None:
    done = inside("train-causal-encoder", "boxes", *TINY, "--json", cwd=folder)
    document = json.loads(done.stdout)
    loaded = load_model(folder / document["model"])
    assert loaded.kind == "causal_encoder"
    assert loaded.width == 32
    assert isinstance(loaded.network, CausalEncoder)
    assert loaded.variables is not None
    with np.load(folder / "boxes/val_indep.npz", allow_pickle=False) as data:
        images, truth = data["images"], data["latents"]
    own, theirs = columns_of(loaded.variables, ("ball_x", "ball_y", "box"))
    found = compare(read_factors(loaded.network, images)[:, own], truth[:, theirs], loaded.variables)
    assert document["metrics"]["val_distance"] == pytest.approx(found.mean, rel=1e-4)
    for name, values in found.summary().items():
        assert document["metrics"][f"val_distance.{name}"] == pytest.approx(values["distance"], rel=1e-4, abs=1e-6)


def test_more_training_reads_the_ball(folder: Path, inside: Citris) -> None:
    longer = ["--steps", 250, "--channels", 16, "--batch-size", 16, "--json"]
    metrics = json.loads(inside("train-causal-encoder", "boxes", *longer, cwd=folder).stdout)["metrics"]
    assert metrics["val_distance.ball_x"] < 1  # pixels of 9
    assert metrics["val_distance.ball_y"] < 2  # pixels of 25
    assert metrics["val_distance.box"] < 0.05


def test_resumed_in_the_middle_it_ends_the_same(folder: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["train-causal-encoder", "boxes", *TINY]
    assert inside(*command, "-o", "whole.safetensors", cwd=folder).returncode == 0
    original = CausalEncoderTask.batch

    def batch(task: CausalEncoderTask, step: int) -> tuple[torch.Tensor, ...]:
        if step == 11:
            signal.raise_signal(signal.SIGTERM)
        return original(task, step)

    with monkeypatch.context() as patch:
        patch.setattr(CausalEncoderTask, "batch", batch)
        done = inside(*command, "-o", "m.safetensors", cwd=folder)
    check_refusal(done, "stopped at step 12 of 30; .* --resume", status=143)
    renamed = [*command, "-o", "m.safetensors", "--resume", "--vars", "x,ball_y,box"]
    check_refusal(inside(*renamed, cwd=folder), "m.state.safetensors: learns other factors; resume with the --vars")
    assert inside(*command, "-o", "m.safetensors", "--resume", cwd=folder).stdout == b"m.safetensors\n"
    whole, resumed = (read_model(folder / f"{name}.safetensors").tensors for name in ("whole", "m"))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    assert "is finished already" in inside(*command, "-o", "m.safetensors", "--resume", cwd=folder).stderr.decode()


def test_names_and_kinds_given_with_vars_hold_for_held_out_frames_too(folder: Path, inside: Citris) -> None:
    done = inside("train-causal-encoder", "boxes", *TINY, "--vars", "a,b,c:categorical", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    assert set(json.loads(done.stdout)["metrics"]) == {f"val_distance{end}" for end in ("", ".a", ".b", ".c")}


def test_a_file_without_held_out_frames_or_interventions(folder: Path, inside: Citris) -> None:
    with np.load(folder / "boxes/train.npz", allow_pickle=False) as train:
        latents = train["latents"].copy()
        latents[:, 0] = 5
        np.savez(folder / "d.npz", images=train["images"], latents=latents, keys=train["keys"])
    done = inside("train-causal-encoder", "d.npz", *TINY, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    notes = done.stderr.decode()
    assert "ball_x does not vary: left out" in notes
    assert "no labelled frames are held out (val_indep): measured on the training frames" in notes
    document = json.loads(done.stdout)
    assert document["model"] == "runs/d/causal_encoder.safetensors"
    assert set(document["metrics"]) == {"train_distance", "train_distance.ball_y", "train_distance.box"}


def test_every_option_is_recorded(folder: Path, inside: Citris) -> None:
    given = {
        "channels": 4, "patch": 1, "norm_penalty": 0.2, "steps": 3, "batch_size": 7, "lr": 0.003, "clip": 0.7,
        "warmup": 2, "seed": 5, "precision": "bf16",
    }  # fmt: skip
    options = [text for name, value in given.items() for text in (f"--{name.replace('_', '-')}", value)]
    done = inside("train-causal-encoder", "boxes", *options, "-o", "all.safetensors", cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    settings = read_model_header(folder / "all.safetensors").provenance["settings"]
    recorded = {**settings["model"], **settings["training"]}
    assert {name: recorded[name] for name in given} == given


def test_the_model_goes_to_standard_output(folder: Path, inside: Citris) -> None:
    done = inside("train-causal-encoder", "boxes", *TINY, "-o", "-", cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    (folder / "piped.safetensors").write_bytes(done.stdout)
    assert load_model(folder / "piped.safetensors").kind == "causal_encoder"


def test_data_without_labels_is_refused(folder: Path, inside: Citris) -> None:
    with np.load(folder / "boxes/train.npz", allow_pickle=False) as train:
        np.savez(folder / "plain.npz", images=train["images"], targets=train["targets"])
        degrees = {"images": train["images"], "latents": train["latents"] * 20}
        np.savez(folder / "degrees.npz", **degrees)
    for arguments, says in (
        (["plain.npz"], "plain.npz: has no true values to learn from"),
        (["degrees.npz", "--vars", "a,b:angle,c"], "degrees.npz: b is an angle and holds .*; save radians"),
        (["none.npz"], "none.npz"),
    ):
        check_refusal(inside("train-causal-encoder", *arguments, cwd=folder), says)
    assert not (folder / "runs").exists()


def test_a_file_whose_factors_do_not_fit_is_refused(folder: Path, inside: Citris) -> None:
    assert inside("train-causal-encoder", "boxes", *TINY, "-o", "m.safetensors", cwd=folder).returncode == 0
    whole = read_model(folder / "m.safetensors")
    assert whole.variables is not None
    for variables in (
        None,
        whole.variables[:2],
        [{**whole.variables[0], "high": None}, *whole.variables[1:]],
        [*whole.variables[:2], {**whole.variables[2], "categories": 10**12}],
        [{"name": "x", "kind": "colour"}],
        [1],
    ):
        content = {**whole.__dict__, "variables": variables}
        write_model(folder / "bad.safetensors", type(whole)(**content))
        with pytest.raises(InputError):
            load_model(folder / "bad.safetensors")


def test_it_is_no_model_with_latents(folder: Path, inside: Citris) -> None:
    assert inside("train-causal-encoder", "boxes", *TINY, cwd=folder).returncode == 0
    done = inside("encode", "boxes/train.npz", "-m", f"runs/boxes/{NAME}", cwd=folder)
    check_refusal(done, "has no causal latents; train one with 'citris train-nf'")
    check_refusal(inside("encode", "boxes/train.npz", cwd=folder), "no model given")
