"""What ``eval-correlation`` leaves behind: a table, JSON with every number, a page of heat-maps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.conftest import Citris
from tests.end_to_end.test_bad_input import check_refusal


def test_table_json_and_page(inside: Citris, home: Path, model: Path, tmp_path: Path) -> None:
    done = inside("eval-correlation", home / "boxes", "-m", model, "-o", "c.json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"c.json\n"), done.stderr
    report = json.loads((tmp_path / "c.json").read_text())
    assert report["rows"] == ["ball_y", "box", "psi(0)"]
    assert report["factors"] == ["ball_x", "ball_y", "box"]
    assert np.array(report["r2"]).shape == np.array(report["spearman"]).shape == (3, 3)
    own = [report["r2"][report["rows"].index(name)][report["factors"].index(name)] for name in ("ball_y", "box")]
    assert report["r2_diag"] == pytest.approx(np.mean(own), abs=2e-6)
    page = (tmp_path / "c.html").read_text()
    assert page.count("<svg") == 2
    assert f">{report['r2'][0][1]:.2f}</text>" in page
    again = inside("eval-correlation", home / "boxes", "-m", model, "--json", "-o", "again.json", cwd=tmp_path)
    assert json.loads(again.stdout)["r2"] == report["r2"]
    other = inside("eval-correlation", home / "boxes", "-m", model, "-o", "-", "--seed", 1, cwd=tmp_path)
    assert json.loads(other.stdout)["r2"] != report["r2"]


def test_variables_without_ground_truth_are_said(inside: Citris, home: Path, model: Path, tmp_path: Path) -> None:
    with np.load(home / "boxes/val_indep.npz", allow_pickle=False) as file:
        images, latents = file["images"][:60], file["latents"][:60]
    np.savez(tmp_path / "some.npz", images=images, latents=latents[:, :2], keys=np.array(["ball_x", "ball_y"]))
    done = inside("eval-correlation", "some.npz", "-m", model, "--json", "-o", "some.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "box: no ground truth" in done.stderr.decode()
    report = json.loads(done.stdout)
    assert report["rows"] == ["ball_y", "box", "psi(0)"]
    assert report["r2_diag"] == report["r2"][0][1]


def test_two_results_on_one_output_are_refused(inside: Citris, home: Path, model: Path, tmp_path: Path) -> None:
    done = inside("eval-correlation", home / "boxes", "-m", model, "--json", "-o", "-", cwd=tmp_path)
    check_refusal(done, "--json and -o - both")
