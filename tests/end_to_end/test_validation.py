"""``train-nf --val``: both evaluations at intervals, the best model kept, and what it was worth written with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from citris_cli.artifacts.models import read_model_header
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
    assert not list(tmp_path.glob("*.best.safetensors"))
    # The matrices are those of the weights that were kept.
    assert measures["identification"]["r2_diag"] == np.round(measures["val_r2_diag"], 6)


def test_nothing_to_validate_on_is_refused(inside: Citris, home: Path, tmp_path: Path) -> None:
    with np.load(home / "boxes/val_indep.npz", allow_pickle=False) as file:
        images = file["images"][:20]
    (tmp_path / "bare").mkdir()
    np.savez(tmp_path / "bare/val_indep.npz", images=images)
    before = sorted(tmp_path.rglob("*"))
    common = ["train-nf", home / "boxes", "--ae", home / "runs/boxes/ae.safetensors", *TINY_NF]
    check_refusal(inside(*common, "--val", "bare", cwd=tmp_path), r"bare/val_indep\.npz: nothing to validate on")
    check_refusal(inside(*common, "--val", "missing", cwd=tmp_path), "missing")
    assert sorted(tmp_path.rglob("*")) == before
