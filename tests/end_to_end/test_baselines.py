"""SlowVAE and iVAE*: trained, given to variables by labels, and used like any model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from citris_cli.artifacts.models import read_model, read_model_header
from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.core.config import CitrisVAEConfig
from citris_cli.data.datasets import IndependentData
from citris_cli.data.frames import Frames
from citris_cli.data.variables import parse_vars
from citris_cli.evaluation.validation import assignment_by_labels
from tests.end_to_end.conftest import Citris
from tests.end_to_end.test_bad_input import check_refusal

TINY = ["--steps", "6", "--batch-size", "8", "--channels", "4", "--latents", "4", "--hidden", "4"]


@pytest.mark.parametrize("prior", ["ivae", "slow"])
def test_a_baseline_is_trained_and_goes_through_the_commands(prior: str, few: Path, inside: Citris) -> None:
    done = inside("train-vae", "few", "--prior", prior, *TINY, "-o", "m.safetensors", cwd=few)
    assert done.returncode == 0, done.stderr
    header = read_model_header(few / "m.safetensors")
    config = header.config["citris_vae"]
    assert (config["prior"]["name"], config["flow_layers"], config["classifier_weight"]) == (prior, 0, 0)
    logits = read_model(few / "m.safetensors").tensors["assignment.logits"]
    assert (logits.amax(1) == 10).all()  # every latent was given to somebody
    assert header.provenance["metrics"]["identification"]["rows"] == ["ball_y", "box", "psi(0)"]
    assert "classifier" not in json.loads((few / "m.metrics.jsonl").read_text().splitlines()[0])
    report = json.loads(inside("eval-triplets", "few", "-m", "m.safetensors", "--json", cwd=few).stdout)
    assert report["triplets"] == 60


def test_without_labels_there_is_nothing_to_assign_by(few: Path, inside: Citris) -> None:
    line = ["train-vae", "few/train.npz", "--prior", "slow", *TINY, "--steps", "2", "-o", "m.safetensors"]
    check_refusal(inside(*line, cwd=few), "--prior slow does not learn an assignment.*val_indep.npz.*--val")
    assert not (few / "m.safetensors").exists()
    done = inside(*line, "--val", "few/val_indep.npz", cwd=few)
    assert done.returncode == 0, done.stderr
    assert "best_step" in read_model_header(few / "m.safetensors").provenance["metrics"]
    export = inside("export", "m.safetensors", "-o", "x.safetensors", cwd=few)
    check_refusal(export, "its prior .--prior slow. has no published form")


def test_latents_go_to_the_variable_that_they_tell_most_of() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(600, 3)).astype(np.float32)
    model = CitrisVAE(CitrisVAEConfig(width=32, latents=5, variables=2, channels=4, networks="small", flow_layers=0))
    # Latents: b, a, nothing, the third factor (no variable's), a with a little b.
    noise = rng.normal(size=600)
    z = np.stack([truth[:, 1], -(truth[:, 0] ** 3), noise, truth[:, 2], truth[:, 0] + 0.1 * truth[:, 1]], axis=1)
    rows = iter(torch.from_numpy(z).float().split(256))
    model.encode = lambda images: next(rows)  # type: ignore[method-assign]
    data = IndependentData(
        name="d",
        paths=(Path("d.npz"),),
        frames=Frames([np.zeros((600, 32, 32, 3), np.uint8)]),
        columns=parse_vars("a,b,c"),
        factors=parse_vars("a,b,c"),
        notes=(),
        truth=torch.from_numpy(truth),
    )
    assert assignment_by_labels(model.eval(), data, parse_vars("a,b")).tolist() == [1, 0, 2, 2, 0]
