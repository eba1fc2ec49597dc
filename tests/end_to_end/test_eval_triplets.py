"""Triplet evaluation as a user does it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.end_to_end.conftest import Citris
from tests.end_to_end.test_bad_input import check_refusal


def test_table_json_and_picture(inside: Citris, home: Path, model: Path, tmp_path: Path) -> None:
    done = inside("eval-triplets", home / "boxes", "-m", model, "-o", "t.json", "--rows", 3, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"t.json\n"), done.stderr
    report = json.loads((tmp_path / "t.json").read_text())
    assert report["triplets"] == 100
    # So short a training reconstructs no better than a copy: then there is no score.
    assert report["score"] is None or 0 <= report["score"] <= 1
    assert set(report["measures"]) == {"prediction", "reconstruction", "copy_of_image_1", "copy_of_image_2"}
    assert b"SSIM" in done.stderr
    with Image.open(tmp_path / "t.png") as picture:
        assert picture.height > 3 * 96
    again = inside("eval-triplets", home / "boxes", "-m", model, "-o", "-", cwd=tmp_path)
    assert json.loads(again.stdout) == report


def test_anchors_are_measured_on_the_frames_themselves(inside: Citris, home: Path, model: Path, tmp_path: Path) -> None:
    with np.load(home / "boxes/val_triplets.npz", allow_pickle=False) as file:
        arrays = dict(file)
    arrays["images"][:, 2] = arrays["images"][:, 1]
    np.savez(tmp_path / "same.npz", **arrays)
    done = inside("eval-triplets", "same.npz", "-m", model, "--json", cwd=tmp_path)
    measures = json.loads(done.stdout)["measures"]
    assert measures["copy_of_image_2"]["mse"] == 0
    assert measures["copy_of_image_2"]["psnr"] is None
    assert measures["copy_of_image_1"]["mse"] > 0
    # Nothing lies between a perfect copy and the reconstruction.
    assert json.loads(done.stdout)["score"] is None
    assert "60 triplets: no score, as the model reconstructs them no better than a copy does" in done.stderr.decode()


def test_columns_by_name(inside: Citris, home: Path, model: Path, tmp_path: Path) -> None:
    """Columns in another order give the same; without a column of a variable the file is refused."""
    with np.load(home / "boxes/val_triplets.npz", allow_pickle=False) as file:
        arrays = dict(file)
    np.savez(tmp_path / "a.npz", **arrays)
    turned = {"mask": arrays["targets"][:, ::-1], "keys": arrays["keys"][::-1], "latents": arrays["latents"][..., ::-1]}
    np.savez(tmp_path / "b.npz", images=arrays["images"], **turned)
    plain = inside("eval-triplets", "a.npz", "-m", model, "--json", cwd=tmp_path)
    other = inside("eval-triplets", "b.npz", "-m", model, "--json", cwd=tmp_path)
    assert json.loads(plain.stdout)["measures"] == json.loads(other.stdout)["measures"]
    np.savez(tmp_path / "c.npz", images=arrays["images"], mask=arrays["targets"][:, :2], keys=arrays["keys"][:2])
    check_refusal(inside("eval-triplets", "c.npz", "-m", model, "-o", "c.json", cwd=tmp_path), r"c\.npz.*box.*--vars")
    assert not (tmp_path / "c.json").exists()


def test_single_frames_are_refused(inside: Citris, home: Path, model: Path, tmp_path: Path) -> None:
    done = inside("eval-triplets", home / "boxes/test_indep.npz", "-m", model, "-o", "t.json", cwd=tmp_path)
    check_refusal(done, r"test_indep\.npz.*not triplets")


def test_a_causal_encoder_tells_which_factors_are_off(inside: Citris, home: Path, model: Path, tmp_path: Path) -> None:
    tiny = ["--steps", 20, "--channels", 4, "--batch-size", 16]
    done = inside("train-causal-encoder", home / "boxes", *tiny, "-o", "causal_encoder.safetensors", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "nf.safetensors").write_bytes(model.read_bytes())
    done = inside("eval-triplets", home / "boxes", "-m", "nf.safetensors", "--json", cwd=tmp_path)  # found beside it
    assert done.returncode == 0, done.stderr
    assert b"causal encoder: causal_encoder.safetensors" in done.stderr
    distances = json.loads(done.stdout)["distances"]
    assert distances["against"] == "true values"
    for column in ("prediction", "own_error", "copy_of_image_1"):
        assert list(distances[column]["factors"]) == ["ball_x", "ball_y", "box"]
        assert 0 <= distances[column]["factors"]["box"]["distance"] <= 1
    with np.load(home / "boxes/test_triplets.npz", allow_pickle=False) as file:
        np.savez(tmp_path / "bare.npz", images=file["images"], mask=file["targets"], keys=file["keys"])
    named = ["--causal-encoder", "causal_encoder.safetensors", "-m", model]
    done = inside("eval-triplets", "bare.npz", *named, "--json", "-o", "b.json", cwd=tmp_path)
    bare = json.loads(done.stdout)["distances"]
    assert bare["against"] == "true frames"
    assert "own_error" not in bare
    refused = inside("eval-triplets", home / "boxes", "-m", model, "--causal-encoder", model, cwd=tmp_path)
    check_refusal(refused, "not a causal encoder; train one with 'citris train-causal-encoder'")


def test_a_mask_without_names_has_those_of_the_training(
    inside: Citris, home: Path, model: Path, tmp_path: Path
) -> None:
    with np.load(home / "boxes/test_triplets.npz", allow_pickle=False) as file:
        np.savez(tmp_path / "bare.npz", images=file["images"], mask=file["targets"])
    named = inside("eval-triplets", home / "boxes", "-m", model, "--json", "-o", "a.json", cwd=tmp_path)
    bare = inside("eval-triplets", "bare.npz", "-m", model, "--json", "-o", "b.json", cwd=tmp_path)
    assert json.loads(named.stdout)["measures"] == json.loads(bare.stdout)["measures"]
