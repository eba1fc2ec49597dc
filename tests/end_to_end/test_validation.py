"""``train-nf --val``: both evaluations at intervals, the best model kept, and what it was worth written with it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from citris_cli.artifacts.models import read_model_header
from citris_cli.training.citris_nf import CitrisNFTask
from tests.end_to_end.conftest import TINY_NF, Citris
from tests.end_to_end.test_bad_input import check_refusal


def test_the_best_model_is_kept_with_its_measures(inside: Citris, home: Path, tmp_path: Path) -> None:
    data, ae = home / "boxes", home / "runs/boxes/ae.safetensors"
    done = inside("train-nf", data, "--ae", ae, *TINY_NF, "--val", data, "-o", "nf.safetensors", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    measures = json.loads(done.stdout)["metrics"]
    logged = [json.loads(line) for line in (tmp_path / "nf.metrics.jsonl").read_text().splitlines()]
    scores = {line["step"]: line["val_score"] for line in logged if "val_score" in line}
    assert len(scores) == 10
    assert measures["val_score"] == max(scores.values()) == scores[measures["best_step"]]
    assert {"val_r2_diag", "val_r2_sep", "identification"} <= measures.keys()
    assert read_model_header(tmp_path / "nf.safetensors").provenance["metrics"] == measures
    assert read_model_header(tmp_path / "nf.best.safetensors").config["step"] == measures["best_step"]
    # The matrices are those of the weights that were kept.
    assert measures["identification"]["r2_diag"] == np.round(measures["val_r2_diag"], 6)


def test_nothing_to_validate_on_is_refused(inside: Citris, home: Path, tmp_path: Path) -> None:
    with np.load(home / "boxes/val_indep.npz", allow_pickle=False) as file:
        images, latents = file["images"][:20], file["latents"]
    np.savez(tmp_path / "few.npz", images=images[:9], latents=latents[:9])
    (tmp_path / "bare").mkdir()
    np.savez(tmp_path / "bare/val_indep.npz", images=images)
    before = sorted(tmp_path.rglob("*"))
    common = ["train-nf", home / "boxes", "--ae", home / "runs/boxes/ae.safetensors", *TINY_NF]
    check_refusal(inside(*common, "--val", "bare", cwd=tmp_path), r"bare/val_indep\.npz: nothing to validate on")
    check_refusal(inside(*common, "--val", "missing", cwd=tmp_path), "missing")
    check_refusal(inside(*common, "--val", "few.npz", cwd=tmp_path), r"few\.npz: has 9 frames; .* 10 or more")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("begun", "resumed", "says"),
    [
        ("one", "other", "started with other validation data, by which it keeps the best model; resume with the same"),
        ("one", None, "started with --val, by which it keeps the best model; resume with the same --val"),
        (None, "one", "started without --val; resume without it too"),
    ],
)
def test_it_resumes_with_the_validation_data_that_it_began_with(
    inside: Citris,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    begun: str | None,
    resumed: str | None,
    says: str,
) -> None:
    with np.load(home / "boxes/val_triplets.npz", allow_pickle=False) as file:
        for name, rows in (("one", slice(0, 20)), ("other", slice(20, 40))):
            np.savez(tmp_path / f"{name}.npz", images=file["images"][rows], mask=file["targets"][rows])
    common = ["train-nf", home / "boxes/train.npz", "--ae", home / "runs/boxes/ae.safetensors", *TINY_NF, "-o", "m"]
    original = CitrisNFTask.batch

    def stopping(task, step):
        if step == 9:
            signal.raise_signal(signal.SIGTERM)
        return original(task, step)

    def with_val(name: str | None) -> list[object]:
        return [*common, "--steps", 12, *(["--val", f"{name}.npz"] if name else [])]

    with monkeypatch.context() as patch:
        patch.setattr(CitrisNFTask, "batch", stopping)
        assert inside(*with_val(begun), cwd=tmp_path).returncode == 143
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert (tmp_path / "m.best.safetensors").exists() == (begun is not None)
    check_refusal(inside(*with_val(resumed), "--resume", cwd=tmp_path), f"^citris: m.state.safetensors: {says}")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    (tmp_path / "one.npz").rename(tmp_path / "moved.npz")  # what counts is what is in it
    done = inside(*with_val("moved" if begun else None), "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
