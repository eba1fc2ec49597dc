"""train-nf --rounds: flows and the autoencoders that they teach, in one command."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch

from citris_cli.artifacts.models import read_model_header
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.training import outcome
from citris_cli.training.citris_nf import CitrisNFTask
from citris_cli.training.plans import GREY_LATENTS
from citris_cli.training.teacher import TaughtAutoencoderTask
from tests.end_to_end.conftest import Citris, run_inside, succeed
from tests.end_to_end.test_bad_input import check_refusal
from tests.end_to_end.test_training import check_same_tensors

SIZES = ["--samples", "2", "--hidden", "8", "--flow-layers", "2"]
#: A training so short that gives latents to a variable all the same.
FINDING = ["--steps", "60", "--batch-size", "64", "--lr", "0.05", "--regulariser", "0", *SIZES]
LINE = ["train-nf", "boxes", "--ae", "runs/boxes/ae.safetensors", *FINDING]


@pytest.fixture(scope="module")
def rounds(home: Path) -> Path:
    """A model of two rounds, with what its training said beside it."""
    path = home / "rounds/nf.safetensors"
    done = run_inside(*LINE, "--rounds", "2", "-o", path, cwd=home)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == f"{path}\n"
    path.with_suffix(".txt").write_bytes(done.stderr)
    return path


def test_they_are_what_four_commands_make(home: Path, rounds: Path, tmp_path: Path) -> None:
    own, taught, last = rounds.with_name("nf.rounds"), tmp_path / "ae.safetensors", tmp_path / "last.safetensors"
    models = {path.name for path in own.glob("*-round?.safetensors")}
    assert models == {"nf-round1.safetensors", "ae-round2.safetensors"}
    succeed(*LINE, "-o", tmp_path / "nf.safetensors", cwd=home)
    check_same_tensors(tmp_path / "nf.safetensors", own / "nf-round1.safetensors")
    line = ["train-ae", "boxes", "--teacher", tmp_path / "nf.safetensors", "--steps", "60", "--batch-size", "16"]
    succeed(*line, "-o", taught, cwd=home)
    check_same_tensors(taught, own / "ae-round2.safetensors")
    succeed("train-nf", "boxes", "--ae", taught, *FINDING, "-o", last, cwd=home)
    check_same_tensors(last, rounds)
    said = rounds.with_suffix(".txt").read_text()
    assert "round 1 of 2: a flow" in said
    assert "round 2 of 2: the autoencoder is taught by" in said
    assert "round 2 of 2: the last flow" in said
    first = json.loads(succeed("info", rounds, "--json", cwd=home))["provenance"]["rounds"]["round 1"]
    assert (first["flow"], first["autoencoder"]) == ("nf-round1.safetensors", "ae.safetensors")
    assert first["found"]


def test_what_is_there_is_not_trained_again_and_resumed_only_as_it_was_begun(home: Path, rounds: Path) -> None:
    done = run_inside(*LINE, "--rounds", "2", "-o", rounds, "--resume", cwd=home)
    assert done.stdout.decode() == f"{rounds}\n", done.stderr.decode()
    assert f"{rounds} is finished already" in done.stderr.decode()
    assert "round 1" not in done.stderr.decode()
    check_refusal(
        run_inside(*LINE, "-o", rounds, "--resume", cwd=home), "was started with --rounds 2; resume it the same way"
    )
    check_refusal(
        run_inside(*LINE, "-o", rounds, cwd=home), r"differs in --rounds, autoencoder and latents \(16, here 4\)"
    )


def test_interrupted_while_it_is_taught_it_goes_on_bit_for_bit(
    home: Path, rounds: Path, tmp_path: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = TaughtAutoencoderTask.batch

    def batch(task: TaughtAutoencoderTask, step: int) -> tuple[torch.Tensor, ...]:
        if step == 9:
            signal.raise_signal(signal.SIGINT)
        return original(task, step)

    path = tmp_path / "nf.safetensors"
    line = [*LINE, "--rounds", "2", "-o", path]
    with monkeypatch.context() as patch:
        patch.setattr(TaughtAutoencoderTask, "batch", batch)
        done = inside(*line, cwd=home)
    check_refusal(done, "stopped at step 10 of 60; .*ae-round2.state.safetensors: run .* with --resume", status=130)
    assert not path.exists()
    done = inside(*line, "--resume", cwd=home)
    assert done.stdout.decode() == f"{path}\n", done.stderr.decode()
    assert "nf-round1.safetensors is finished already" in done.stderr.decode()
    check_same_tensors(path, rounds)
    assert read_model_header(path).provenance["rounds"] == read_model_header(rounds).provenance["rounds"]
    # The last flow alone is made longer.
    before = (tmp_path / "nf.rounds/ae-round2.safetensors").read_bytes()
    done = inside(*line, "--resume", "--steps", "70", cwd=home)
    assert done.returncode == 0, done.stderr.decode()
    assert read_model_header(path).provenance["settings"]["training"]["steps"] == 70
    assert (tmp_path / "nf.rounds/ae-round2.safetensors").read_bytes() == before


def test_a_last_flow_that_is_lost_before_its_first_state_is_trained_when_resumed(
    home: Path, rounds: Path, tmp_path: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "nf.safetensors"
    line = [*LINE, "--rounds", "2", "-o", path]
    whole = CitrisNFTask.batch
    flows: list[CitrisNFTask] = []

    def batch(task: CitrisNFTask, step: int) -> tuple[torch.Tensor, ...]:
        flows.extend([task] if task not in flows else [])
        if len(flows) == 2 and step == 3:  # it has begun, and saved nothing
            raise MemoryError
        return whole(task, step)

    with monkeypatch.context() as patch:
        patch.setattr(CitrisNFTask, "batch", batch)
        done = inside(*line, cwd=home)
    assert done.returncode == 1, done.stderr.decode()
    before = (tmp_path / "nf.rounds/ae-round2.safetensors").stat().st_mtime_ns
    done = inside(*line, "--resume", cwd=home)
    assert done.stdout.decode() == f"{path}\n", done.stderr.decode()
    assert (tmp_path / "nf.rounds/ae-round2.safetensors").stat().st_mtime_ns == before
    check_same_tensors(path, rounds)


def test_a_flow_that_has_found_nothing_teaches_nothing(home: Path, few: Path, inside: Citris) -> None:
    shutil.copy(home / "runs/boxes/ae.safetensors", few / "ae.safetensors")
    # As strong a pull as this leaves no latent to any variable.
    line = ["train-nf", "few", "--ae", "ae.safetensors", "--steps", "12", "--regulariser", "9", "--lr", "0.05", *SIZES]
    done = inside(*line, "--rounds", "3", cwd=few)
    assert done.stdout == b"runs/few/nf.safetensors\n", done.stderr.decode()
    assert "round 1 of 3: this flow has found no variable" in done.stderr.decode()
    folder = few / "runs/few"
    check_same_tensors(folder / "nf.safetensors", folder / "nf.rounds/nf-round1.safetensors")
    assert read_model_header(folder / "nf.safetensors").provenance["rounds"]["round 1"]["found"] == []
    assert (folder / "nf.metrics.jsonl").read_bytes() == (folder / "nf.rounds/nf-round1.metrics.jsonl").read_bytes()
    assert "is finished already" in inside(*line, "--rounds", "3", "--resume", cwd=few).stderr.decode()


def test_what_the_rounds_would_use_is_shown(home: Path, few: Path) -> None:
    line = ["train-nf", "few", "--rounds", "3", "--restarts", "2", "--seed", "5", "--steps", "7", "--show-config"]
    shown = json.loads(succeed(*line, cwd=few))
    assert not (few / "runs").exists()
    first, second = shown["rounds"]
    latents = first["model"]["latents"]
    assert first["autoencoder"]["model"]["latents"] == latents
    assert second["model"]["latents"] == shown["model"]["latents"] == latents + GREY_LATENTS
    for taught in (second["autoencoder"], shown["autoencoder"]):
        assert taught["model"]["grey_latents"] == GREY_LATENTS
        assert taught["training"]["steps"] == 7
        assert taught["training"]["seed"] == 5
    assert second["autoencoder"]["output"] == "runs/few/nf.rounds/ae-round2.safetensors"
    assert shown["autoencoder"]["output"] == "runs/few/nf.rounds/ae-round3.safetensors"
    assert second["output"] == "runs/few/nf.rounds/nf-round2.safetensors"
    assert [start["seed"] for start in shown["starts"]] == [5, 6]
    assert shown["starts"][1]["output"] == "runs/few/nf.starts/nf-seed6.safetensors"


def test_measures_are_of_the_model_whose_latents_of_noise_were_moved(
    home: Path, tmp_path: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch
) -> None:
    def moved(model: CitrisNF, *_: torch.Tensor) -> list[int]:
        model.assignment.to_rest(torch.ones(model.config.latents, dtype=torch.bool))
        return [0]

    monkeypatch.setattr(outcome, "leave_to_rest", moved)
    path = tmp_path / "m.safetensors"
    done = inside(*LINE, "--val", "boxes/val_indep.npz", "-o", path, cwd=home)
    assert done.returncode == 0, done.stderr.decode()
    assert "1 latent of ball_y holds nothing but noise: moved to psi(0)" in done.stderr.decode()
    metrics = read_model_header(path).provenance["metrics"]
    assert metrics["val_r2_diag"] == pytest.approx(metrics["identification"]["r2_diag"], abs=1e-5)
    assert metrics["val_r2_sep"] == pytest.approx(metrics["identification"]["r2_sep"], abs=1e-5)
