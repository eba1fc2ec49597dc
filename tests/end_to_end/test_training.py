"""Trainings as a user starts them: what is printed, what lies there afterwards, what a seed decides."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from citris_cli.artifacts.models import read_model, read_model_header
from citris_cli.data.datasets import load_sequences
from citris_cli.kinds import KINDS, flat
from citris_cli.training import presets
from citris_cli.training.autoencoder import AutoencoderTask
from citris_cli.training.plan import make_plan
from citris_cli.training.request import Place, Request
from citris_cli.training.session import Session
from tests.end_to_end.conftest import TINY_NF, Citris
from tests.end_to_end.test_bad_input import check_refusal

#: The command line with a preset of the autoencoder that takes a second: train-nf has no options for its sizes.
WITH_A_TINY_PRESET = """
import sys
from dataclasses import replace
from citris_cli.app import main
from citris_cli.training import presets

model, training = presets.AUTOENCODER["small"]
presets.AUTOENCODER["small"] = replace(model, latents=4, channels=8), replace(training, steps=20, batch_size=16)
main()
"""


@pytest.fixture(scope="module")
def first(home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:
    """A folder with a file of frames on which train-nf was the first command, and what that said."""
    folder = tmp_path_factory.mktemp("first")
    with np.load(home / "boxes/train.npz", allow_pickle=False) as boxes:
        np.savez(folder / "d.npz", images=boxes["images"][:80], targets=boxes["targets"][:79], keys=boxes["keys"])
    done = subprocess.run(
        [sys.executable, "-c", WITH_A_TINY_PRESET, "train-nf", "d.npz", *TINY_NF],
        cwd=folder,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return folder, done


def tensors(path: Path) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in read_model(path).tensors.items()}


def check_same_tensors(one: Path, other: Path) -> None:
    first, second = tensors(one), tensors(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


def metrics(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_path_is_all_that_is_printed(first: tuple[Path, subprocess.CompletedProcess]) -> None:
    folder, done = first
    assert done.stdout == b"runs/d/nf.safetensors\n"
    notes = done.stderr.decode()
    assert "no autoencoder for d yet: training one first, into runs/d/ae.safetensors" in notes
    assert "ball_x is never intervened on: dropped" in notes
    found = {path.name for path in (folder / "runs/d").iterdir()}
    (cache,) = (name for name in found if name.startswith("encodings-"))
    both = {f"{kind}.{end}" for kind in ("ae", "nf") for end in ("safetensors", "metrics.jsonl", "state.safetensors")}
    assert found == both | {"ae.reconstructions.png", cache}


def test_the_model_says_where_it_comes_from(first: tuple[Path, subprocess.CompletedProcess]) -> None:
    folder, _ = first
    header = read_model_header(folder / "runs/d/nf.safetensors")
    assert header.kind == "citris_nf"
    assert header.variables is not None
    assert [variable["name"] for variable in header.variables] == ["ball_y", "box"]
    origin = header.provenance
    assert origin["command"][:3] == ["citris", "train-nf", "d.npz"]
    assert origin["seed"] == 0
    assert origin["dataset"] == "d"
    assert origin["data_sha256"] == hashlib.sha256((folder / "d.npz").read_bytes()).hexdigest()
    assert set(origin["versions"]) == {"citris", "python", "torch", "numpy"}
    assert origin["settings"]["training"]["steps"] == 30
    assert origin["settings"]["model"] == header.config["citris_nf"]
    assert header.config["citris_nf"]["hidden"] == 8
    assert header.config["autoencoder"]["latents"] == header.config["citris_nf"]["latents"] == 4


def test_metrics_lie_beside_the_models(first: tuple[Path, subprocess.CompletedProcess]) -> None:
    folder, _ = first
    for kind, steps, loss, measure in (("nf", 30, "nll", "train_nll"), ("ae", 20, "mse", "train_mse")):
        lines = metrics(folder / f"runs/d/{kind}.metrics.jsonl")
        assert [line["step"] for line in lines if "loss" in line] == list(range(1, steps + 1))
        assert all(loss in line and "lr" in line and "per_second" in line for line in lines if "loss" in line)
        measured = [line for line in lines if measure in line]
        assert len(measured) == 10
        stored = read_model_header(folder / f"runs/d/{kind}.safetensors").provenance["metrics"]
        assert stored[measure] == measured[-1][measure]
        assert lines[-1] == measured[-1]


def test_reconstructions_lie_beside_the_autoencoder(first: tuple[Path, subprocess.CompletedProcess]) -> None:
    with Image.open(first[0] / "runs/d/ae.reconstructions.png") as picture:
        picture.load()
        assert picture.width > 8 * 96
        assert picture.height > 3 * 96


def test_the_second_time_what_is_there_is_used_and_comes_out_the_same(
    first: tuple[Path, subprocess.CompletedProcess], inside: Citris
) -> None:
    folder, _ = first
    autoencoder = folder / "runs/d/ae.safetensors"
    before = autoencoder.stat().st_mtime_ns
    done = inside("train-nf", "d.npz", *TINY_NF, "--json", "-o", "again/my.safetensors", cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    notes = done.stderr.decode()
    assert "autoencoder: runs/d/ae.safetensors (this dataset's)" in notes
    assert "encodings of 80 frames read from runs/d/encodings-" in notes
    assert autoencoder.stat().st_mtime_ns == before
    document = json.loads(done.stdout)
    assert done.stdout.count(b"\n") == 1
    assert document["model"] == "again/my.safetensors"
    assert document["metrics_log"] == "again/my.metrics.jsonl"
    assert {"step": 30, **document["metrics"]} == metrics(folder / "again/my.metrics.jsonl")[-1]
    check_same_tensors(folder / "runs/d/nf.safetensors", folder / "again/my.safetensors")


def without_the_command(content: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """A model file in parts: its metadata but for the recorded command, its header, its weights."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata = {name: json.loads(value) for name, value in header.pop("__metadata__").items()}
    del metadata["provenance"]["command"], metadata["header_sha256"]
    return metadata, header, content[8 + length :]


def test_the_model_itself_goes_to_standard_output(
    first: tuple[Path, subprocess.CompletedProcess], inside: Citris
) -> None:
    folder, _ = first
    model = folder / "runs/d/nf.safetensors"
    whole = model.read_bytes()
    before = {path.name for path in (folder / "runs/d").iterdir()}
    done = inside("train-nf", "d.npz", *TINY_NF, "-o", "-", cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    assert without_the_command(done.stdout) == without_the_command(whole)
    assert model.read_bytes() == whole  # what lay there is still what it was
    assert {path.name for path in (folder / "runs/d").iterdir()} == before
    # Of a model that stays nowhere, no state does either.
    done = inside("train-nf", "d.npz", *TINY_NF, "--seed", 9, "-o", "-", cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    assert {path.name for path in (folder / "runs/d").iterdir()} == {*before, "nf-seed9.metrics.jsonl"}


def test_another_seed_gives_another_model(first: tuple[Path, subprocess.CompletedProcess], inside: Citris) -> None:
    folder, _ = first
    done = inside("train-nf", "d.npz", *TINY_NF, "--seed", 1, "-o", "other.safetensors", cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    ours, theirs = tensors(folder / "other.safetensors"), tensors(folder / "runs/d/nf.safetensors")
    assert not np.array_equal(ours["flow.transforms.0.bias"], theirs["flow.transforms.0.bias"])
    assert read_model_header(folder / "other.safetensors").provenance["seed"] == 1


def test_resuming_what_is_finished_says_so(first: tuple[Path, subprocess.CompletedProcess], inside: Citris) -> None:
    folder, _ = first
    model = folder / "runs/d/nf.safetensors"
    before = model.stat().st_mtime_ns
    done = inside("train-nf", "d.npz", *TINY_NF, "--resume", cwd=folder)
    assert done.returncode == 0
    assert done.stdout == b"runs/d/nf.safetensors\n"
    assert "runs/d/nf.safetensors is finished already" in done.stderr.decode()
    assert model.stat().st_mtime_ns == before


def test_names_given_with_vars_are_the_models(first: tuple[Path, subprocess.CompletedProcess], inside: Citris) -> None:
    folder, _ = first
    done = inside("train-nf", "d.npz", *TINY_NF, "--vars", "a,b,c:angle", "-o", "named.safetensors", cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    variables = read_model_header(folder / "named.safetensors").variables
    assert variables is not None
    assert [(variable["name"], variable["kind"]) for variable in variables] == [("b", "continuous"), ("c", "angle")]


def test_every_option_is_recorded(first: tuple[Path, subprocess.CompletedProcess], inside: Citris) -> None:
    folder, _ = first
    given = {
        "flow_layers": 1, "flow_hidden": 3, "samples": 3, "noise": 0.07, "hidden": 5, "classifier_layers": 2,
        "classifier_momentum": 0.5, "classifier_weight": 1.5, "regulariser": 0.02, "temperature": 0.9,
        "steps": 3, "batch_size": 7, "lr": 0.002, "classifier_lr": 0.003, "clip": 0.7, "warmup": 2, "seed": 5,
        "precision": "bf16",
    }  # fmt: skip
    options = [text for name, value in given.items() for text in (f"--{name.replace('_', '-')}", value)]
    done = inside("train-nf", "d.npz", *options, "--independent-targets", "-o", "all.safetensors", cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    settings = read_model_header(folder / "all.safetensors").provenance["settings"]
    recorded = {**flat(settings["model"]), **settings["training"]}
    assert {name: recorded[name] for name in given} == given
    assert recorded["conditional_targets"] is False


@pytest.fixture
def fresh(first: tuple[Path, subprocess.CompletedProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of frames and no models, where the preset's autoencoder takes 20 quick steps."""
    shutil.copy(first[0] / "d.npz", tmp_path)
    model, training = presets.AUTOENCODER["small"]
    tiny = dataclasses.replace(model, latents=4, channels=8), dataclasses.replace(training, steps=20, batch_size=16)
    monkeypatch.setitem(presets.AUTOENCODER, "small", tiny)
    return tmp_path


@pytest.mark.parametrize("options", [[], ["--rounds", 2], ["--restarts", 2], ["--show-config"]])
@pytest.mark.parametrize("autoencoder", [True, False])
def test_what_the_method_cannot_learn_from_is_refused_before_anything_is_said_or_trained(
    options: list[object], autoencoder: bool, fresh: Path, inside: Citris
) -> None:
    if autoencoder:
        assert inside("train-ae", "d.npz", "--steps", 2, cwd=fresh).returncode == 0
    before = sorted(fresh.rglob("*"))
    done = inside("train-nf", "d.npz", "--method", "icitris", "--steps", 50, *options, cwd=fresh)
    check_refusal(done, "--steps 50: too short for the graph")
    assert len(done.stderr.decode().splitlines()) == 1
    assert sorted(fresh.rglob("*")) == before


def test_a_batch_larger_than_the_data_is_told_of(fresh: Path, inside: Citris) -> None:
    done = inside("train-ae", "d.npz", "--steps", 2, "--batch-size", 100_000, cwd=fresh)
    assert re.search(r"--batch-size 100000: there are only \d+ frames, so every batch holds all", done.stderr.decode())
    assert "--batch-size" not in inside("train-ae", "d.npz", "--steps", 2, cwd=fresh).stderr.decode()


def test_steps_bound_the_autoencoder_that_is_trained_first_too(fresh: Path, inside: Citris) -> None:
    done = inside("train-nf", "d.npz", *TINY_NF, "--steps", 5, cwd=fresh)
    assert done.returncode == 0, done.stderr.decode()
    assert "--steps limits it to 5 steps instead of 20" in done.stderr.decode()
    for kind in ("ae", "nf"):
        assert metrics(fresh / f"runs/d/{kind}.metrics.jsonl")[-1]["step"] == 5


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--prior", "mlpp"], "--prior mlpp: there is no prior 'mlpp'; it can be autoregressive, icitris, mlp"),
        (
            ["--autoregressive-hidden", 3],
            "--autoregressive-hidden: a training run with the prior mlp has no such setting",
        ),
        (["--latents", 4, "--prior", "slow"], "--prior slow: "),
    ],
)
def test_what_is_wrong_with_the_flow_is_said_before_an_autoencoder_is_trained(
    fresh: Path, inside: Citris, options: list[object], says: str
) -> None:
    check_refusal(inside("train-nf", "d.npz", *options, cwd=fresh), says)
    assert not (fresh / "runs").exists()


def test_what_a_run_would_use_is_shown_without_running(fresh: Path, inside: Citris) -> None:
    done = inside("train-nf", "d.npz", "--samples", 3, "--seed", 5, "--show-config", cwd=fresh)
    assert done.returncode == 0, done.stderr.decode()
    shown = json.loads(done.stdout)
    assert (shown["model"]["samples"], shown["training"]["seed"]) == (3, 5)
    assert shown["autoencoder"]["model"]["latents"] == shown["model"]["latents"] == 4
    assert (shown["variables"], shown["output"]) == (["ball_y", "box"], "runs/d/nf.safetensors")
    assert not (fresh / "runs").exists()
    done = inside("train-nf", "d.npz", "--samples", 3, "--seed", 5, "--batch-size", 16, "--steps", 3, cwd=fresh)
    assert done.returncode == 0, done.stderr.decode()
    settings = read_model_header(fresh / "runs/d/nf.safetensors").provenance["settings"]
    assert settings["model"] == shown["model"]
    assert settings["training"] == {**shown["training"], "steps": 3, "batch_size": 16}


@pytest.mark.parametrize(
    ("options", "balance", "said"),
    [
        ([], 1.0, "--growth 2 --noise 0.02 --latent-penalty 0.0001 --lr 0.002 --clip 1 --balance 1"),
        (["--balance", 0, "--growth", 1], 0.0, "--noise 0.02 --latent-penalty 0.0001 --lr 0.002 --clip 1:"),
    ],
)
def test_where_most_of_a_frame_never_changes_small_takes_what_small_objects_need_and_says_so(
    fresh: Path, inside: Citris, options: list[object], balance: float, said: str
) -> None:
    done = inside("train-ae", "d.npz", *options, cwd=fresh)
    assert done.returncode == 0, done.stderr.decode()
    assert f"--preset small takes {said}" in done.stderr.decode()
    settings = read_model_header(fresh / done.stdout.decode().strip()).provenance["settings"]
    assert settings["training"]["balance"] == balance


def test_of_several_rounds_the_note_on_still_frames_is_said_once(fresh: Path, inside: Citris) -> None:
    done = inside("train-nf", "d.npz", "--rounds", 2, "--steps", 20, cwd=fresh)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr.decode().count("--preset small takes") == 1


def test_paper_is_the_same_for_all_frames(fresh: Path, inside: Citris) -> None:
    done = inside("train-ae", "d.npz", "--preset", "paper", "--show-config", cwd=fresh)
    assert json.loads(done.stdout)["training"]["balance"] == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_autoencoders_last_step_stops_before_the_flow(
    fresh: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, status: int
) -> None:
    original = AutoencoderTask.batch

    def batch(task: AutoencoderTask, step: int) -> tuple[torch.Tensor, ...]:
        if step == 19:
            signal.raise_signal(number)
        return original(task, step)

    with monkeypatch.context() as patch:
        patch.setattr(AutoencoderTask, "batch", batch)
        done = inside("train-nf", "d.npz", *TINY_NF, cwd=fresh)
    says = "the autoencoder is finished, in runs/d/ae.safetensors: run the same command again to continue"
    check_refusal(done, f"stopped before the training of CITRIS-NF; {says}", status=status)
    assert {path.name for path in (fresh / "runs/d").iterdir()} == {
        "ae.safetensors", "ae.metrics.jsonl", "ae.reconstructions.png", "ae.state.safetensors",
    }  # fmt: skip
    done = inside("train-nf", "d.npz", *TINY_NF, cwd=fresh)
    assert done.stdout == b"runs/d/nf.safetensors\n", done.stderr.decode()
    assert "autoencoder: runs/d/ae.safetensors (this dataset's)" in done.stderr.decode()


@pytest.mark.parametrize(
    ("device", "given", "settled"), [("cuda", None, "tf32"), ("cuda", "bf16", "bf16"), ("cpu", None, "float32")]
)
def test_the_precision_is_the_devices_own_unless_given(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, device: str, given: str | None, settled: str
) -> None:
    monkeypatch.chdir(fresh)
    changes = {} if given is None else {"precision": given}
    request = Request([Path("d.npz")], Place.RUNS, changes=changes)
    session = Session(request, load_sequences(request.data), None, torch.device(device))
    plan = make_plan(session, KINDS["autoencoder"], presets.AUTOENCODER["small"], changes, request.output)
    assert plan.training.precision == plan.files.settings["training"]["precision"] == settled


def test_independent_frames_with_ground_truth_are_measured(home: Path) -> None:
    autoencoder = read_model_header(home / "runs/boxes/ae.safetensors").provenance["metrics"]
    assert set(autoencoder) == {"val_mse"}
    flow = read_model_header(home / "runs/boxes/nf.safetensors").provenance["metrics"]
    assert set(flow) == {"train_nll", "identification"}
    assert flow["identification"]["rows"] == ["ball_y", "box", "psi(0)"]
    assert flow["identification"]["factors"] == ["ball_x", "ball_y", "box"]
    assert np.shape(flow["identification"]["r2"]) == (3, 3)
