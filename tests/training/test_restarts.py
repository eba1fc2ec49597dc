"""Starts that fail: what becomes of the others."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from citris_cli.artifacts.models import read_model_header
from citris_cli.errors import CitrisError, InputError, TrainingDivergedError
from citris_cli.loading import LoadedModel
from citris_cli.training import api, run
from citris_cli.training.files import RunFiles
from citris_cli.training.request import Request

pytestmark = pytest.mark.usefixtures("forked_starts")
train_vae = run.citris_vae


def arrays() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {"images": draw.integers(0, 256, (20, 32, 32, 3), np.uint8), "targets": draw.integers(0, 2, (19, 2))}


def end_diverged(request: Request) -> None:
    assert isinstance(request.output, Path)
    request.output.parent.mkdir(exist_ok=True)
    RunFiles.beside(request.output).end_diverged(3, "loss nan")
    raise TrainingDivergedError("training diverged at step 3 (loss nan)")


# These stand for what trains: the starts in their processes, and in this one all of them.
def seed_1_diverges(request: Request) -> LoadedModel:
    if request.restarts == 1 and request.changes["seed"] == 1:
        end_diverged(request)
    return train_vae(request)


def all_diverge(request: Request) -> LoadedModel:
    if request.restarts == 1:
        end_diverged(request)
    return train_vae(request)


def seed_0_is_killed(request: Request) -> LoadedModel:
    if request.restarts == 1 and request.changes["seed"] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return train_vae(request)


def nothing_is_trained(request: Request) -> LoadedModel:
    if request.restarts == 1:
        raise InputError("this one is trained again")
    return train_vae(request)


def trained(output: Path, notes: list[str], resume: bool = False) -> dict:
    sizes = {"latents": 3, "channels": 4, "flow_layers": 1, "batch_size": 4, "steps": 4, "seed": 0}
    model = api.train_vae(arrays(), output=output, restarts=2, resume=resume, check=False, note=notes.append, **sizes)
    return model.provenance["starts"]


def test_one_that_diverges_is_left_out_and_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr(run, "citris_vae", seed_1_diverges)
    told = trained(tmp_path / "vae.safetensors", notes)
    assert told["kept"] == 0
    assert told["means"].keys() == {"seed 0"}
    assert told["diverged"] == {"seed 1": "loss nan"}
    assert "the start with seed 1 diverged (loss nan) and is left out" in notes
    # The model is lost: it is made again of the starts that have ended, without a step.
    (tmp_path / "vae.safetensors").unlink()
    monkeypatch.setattr(run, "citris_vae", nothing_is_trained)
    assert trained(tmp_path / "vae.safetensors", notes, resume=True) == told


def test_where_all_diverge_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "citris_vae", all_diverge)
    with pytest.raises(TrainingDivergedError, match=re.escape("all 2 starts diverged; the first: training diverged")):
        trained(tmp_path / "vae.safetensors", [])
    assert not (tmp_path / "vae.safetensors").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal")
def test_one_that_is_killed_is_named_and_trained_when_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "citris_vae", seed_0_is_killed)
    with pytest.raises(CitrisError, match=r"1 of 2 starts did not finish \(seed 0: .* SIGKILL.*with --resume"):
        trained(tmp_path / "vae.safetensors", [])
    assert not (tmp_path / "vae.safetensors").exists()
    other = tmp_path / "vae.starts/vae-seed1.safetensors"
    before = other.stat().st_mtime_ns
    monkeypatch.setattr(run, "citris_vae", train_vae)
    told = trained(tmp_path / "vae.safetensors", [], resume=True)
    assert told["means"].keys() == {"seed 0", "seed 1"}
    assert other.stat().st_mtime_ns == before
    assert read_model_header(tmp_path / "vae.safetensors").provenance["starts"] == told


def test_what_writes_nothing_has_no_starts_to_compare() -> None:
    with pytest.raises(InputError, match="give an output path"):
        api.train_vae(arrays(), restarts=2, steps=2)
