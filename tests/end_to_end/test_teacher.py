"""train-ae with a teacher: an autoencoder with more latents, that goes on from the teacher's, in every command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from citris_cli.artifacts.models import read_model, read_model_header, write_model
from citris_cli.training.plans import GREY_LATENTS
from tests.end_to_end.conftest import TINY_NF, run_citris, run_inside, succeed
from tests.end_to_end.test_bad_input import check_refusal

SHORT = ["--steps", "6", "--batch-size", "16"]


@pytest.fixture(scope="module")
def taught(home: Path, model: Path) -> Path:
    """An autoencoder that the model of the other tests has taught, with what its training said beside it."""
    path = home / "taught/ae.safetensors"
    done = run_citris("train-ae", "boxes", "--teacher", model, *SHORT, "-o", path, cwd=home)
    assert done.returncode == 0, done.stderr.decode()
    path.with_suffix(".txt").write_bytes(done.stderr)
    return path


def test_it_has_the_teachers_sizes_and_grey_latents_besides(home: Path, taught: Path) -> None:
    before = read_model_header(home / "runs/boxes/ae.safetensors").config["autoencoder"]
    after = read_model_header(taught).config["autoencoder"]
    latents = before["latents"] + GREY_LATENTS
    assert after == {**before, "latents": latents, "grey_latents": GREY_LATENTS}
    assert "lesson" in taught.with_suffix(".txt").read_text()


def test_variables_that_show_in_colours_are_named_where_colours_are_permuted(
    home: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    latents = read_model_header(model).config["autoencoder"]["latents"]
    monkeypatch.setattr("citris_cli.training.teacher._moved_by_permuted_colours", lambda *_: torch.ones(latents))
    line = ["train-ae", "boxes", "--teacher", model, *SHORT]
    said = run_inside(*line, "--permute-colours", "-o", tmp_path / "permuted.safetensors", cwd=home).stderr.decode()
    assert "ball_y, box show in colours only" in said
    assert "past" in (tmp_path / "permuted.metrics.jsonl").read_text()
    said = run_inside(*line, "-o", tmp_path / "plain.safetensors", cwd=home).stderr.decode()
    assert "in colours only" not in said
    assert "past" not in (tmp_path / "plain.metrics.jsonl").read_text()


def test_the_lessons_of_few_frames_are_on_augmented_ones(
    few: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    monkeypatch.setattr("citris_cli.core.autoencoder.augmented", lambda images, *_: (seen.append(True), images)[1])
    line = ["train-ae", "few", "--teacher", model, "--batch-size", "16"]
    said = run_inside(*line, "--steps", 25, "-o", "often.safetensors", cwd=few).stderr.decode()
    assert "the lesson of each frame is taken 20 times: with random contrast" in said
    assert seen == [True] * 50  # those that are drawn as well, and others
    said = run_inside(*line, "--steps", 24, "-o", "seldom.safetensors", cwd=few).stderr.decode()
    assert "the lesson of each frame" not in said
    assert len(seen) == 50


def test_a_flow_is_trained_on_it_and_used(home: Path, taught: Path, tmp_path: Path) -> None:
    flow = tmp_path / "nf.safetensors"
    succeed("train-nf", "boxes", "--ae", taught, *TINY_NF, "-o", flow, cwd=home)
    file = read_model(flow)
    file.tensors["assignment.logits"] = 99 * torch.eye(3)[[0, 1] + [2] * (4 + GREY_LATENTS - 2)]
    write_model(flow, file)
    succeed("encode", "boxes/val_indep.npz", "--model", flow, "-o", tmp_path / "z.npz", cwd=home)
    with np.load(tmp_path / "z.npz", allow_pickle=False) as encoded:
        assert encoded["z"].shape[1] == read_model_header(taught).config["autoencoder"]["latents"]
    succeed("intervene", "boxes/val_indep.npz#0", "--model", flow, "--var", "box", "-o", tmp_path / "i.png", cwd=home)
    # And it is a teacher in its turn, of an autoencoder of the same sizes.
    again = succeed("train-ae", "boxes", "--teacher", flow, *SHORT, "-o", tmp_path / "again.safetensors", cwd=home)
    assert read_model_header(Path(again)).config == read_model_header(taught).config
    file.tensors["assignment.logits"][:, :-1] = -99.0
    write_model(flow, file)
    line = ["train-ae", "boxes", "--teacher", flow, *SHORT, "-o", tmp_path / "none.safetensors"]
    check_refusal(run_inside(*line, cwd=home), "this model has found no variable")


def test_the_same_seed_the_same_weights_and_another_teacher_another_training(
    home: Path, taught: Path, model: Path, tmp_path: Path
) -> None:
    line = ["train-ae", "boxes", "--teacher", model, *SHORT]
    again = Path(succeed(*line, "-o", tmp_path / "ae.safetensors", cwd=home))
    first, second = read_model(taught).tensors, read_model(again).tensors
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value.numpy(), second[name].numpy(), err_msg=name)
    file, other = read_model(model), tmp_path / "nf.safetensors"
    file.tensors["assignment.logits"] += 1
    write_model(other, file)
    line = ["train-ae", "boxes", "--teacher", other, "--steps", "8", "--resume", "-o", again]
    check_refusal(run_inside(*line, cwd=home), "had another teacher; resume with the --teacher it was started with")


def test_what_is_no_teacher_is_refused(home: Path, taught: Path, model: Path, tmp_path: Path) -> None:
    line = ["train-ae", "boxes", *SHORT, "-o", tmp_path / "no.safetensors"]
    of_boxes = ["--teacher", model]
    check_refusal(run_inside(*line, "--teacher", taught, cwd=home), "is not a CITRIS-NF, which a teacher must be")
    check_refusal(run_inside(*line, "--teacher", "none.safetensors", cwd=home), "none.safetensors: no such file")
    check_refusal(run_inside(*line, *of_boxes, "--channels", "9", cwd=home), "--channels 9: with --teacher")
    with np.load(home / "boxes/train.npz", allow_pickle=False) as boxes:
        np.savez(tmp_path / "d.npz", images=boxes["images"][:40], targets=boxes["targets"][:39], keys=["a", "b", "c"])
    others = ["train-ae", tmp_path / "d.npz", *SHORT, "-o", tmp_path / "no.safetensors", *of_boxes]
    check_refusal(run_inside(*others, cwd=home), "this teacher knows ball_y, box and d has targets of")
    assert not (tmp_path / "no.safetensors").exists()


def test_what_the_published_code_does_not_have_is_not_exported(home: Path, taught: Path, tmp_path: Path) -> None:
    check_refusal(run_inside("export", taught, "-o", tmp_path / "x", cwd=home), "has grey latents, of a network that")
    path = tmp_path / "causal.safetensors"
    succeed("train-causal-encoder", "boxes", "--steps", "2", "--shapes", "--channels", "4", "-o", path, cwd=home)
    check_refusal(run_inside("export", path, "-o", tmp_path / "x", cwd=home), "has --shapes, of a network that")
