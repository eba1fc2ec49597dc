"""--restarts: several seeds side by side, of which the one with the lowest loss is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from citris_cli.artifacts.models import read_model_header
from citris_cli.training.restarts import Start
from tests.end_to_end.conftest import Citris, run_inside, succeed
from tests.end_to_end.test_bad_input import check_refusal
from tests.end_to_end.test_training import check_same_tensors
from tests.forks import started
from tests.waiting import PATIENCE, wait_until

#: Every one is logged, and takes long enough for a signal to come before the last.
STEPS = 100
SIZES = ["--batch-size", "128", "--samples", "8", "--hidden", "8", "--flow-layers", "2", "--steps", STEPS]
LINE = ["train-nf", "boxes", "--ae", "runs/boxes/ae.safetensors", *SIZES, "--seed", "3"]


@pytest.fixture(scope="module")
def kept(home: Path, forked_starts: None) -> Path:
    """The model that two starts have given, with what their training said beside it."""
    path = home / "restarts/nf.safetensors"
    done = run_inside(*LINE, "--restarts", "2", "-o", path, cwd=home)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == f"{path}\n"
    path.with_suffix(".txt").write_bytes(done.stderr)
    return path


def start(kept: Path, seed: int) -> Path:
    return kept.with_name("nf.starts") / f"nf-seed{seed}.safetensors"


def test_each_start_is_the_training_of_its_seed_and_the_one_with_the_lowest_loss_is_kept(
    home: Path, kept: Path, tmp_path: Path
) -> None:
    succeed(*LINE, "--seed", "4", "-o", tmp_path / "alone.safetensors", cwd=home)
    check_same_tensors(tmp_path / "alone.safetensors", start(kept, 4))
    settings = [
        read_model_header(path).provenance["settings"] for path in (tmp_path / "alone.safetensors", start(kept, 4))
    ]
    assert settings[0] == settings[1]

    told = json.loads(succeed("info", kept, "--json", cwd=home))["provenance"]["starts"]
    losses = {seed: told["means"][f"seed {seed}"]["loss"] for seed in (3, 4)}
    best, other = sorted(losses, key=lambda seed: losses[seed])
    assert told["kept"] == best
    check_same_tensors(kept, start(kept, best))
    assert (
        kept.with_suffix(".metrics.jsonl").read_bytes() == start(kept, best).with_suffix(".metrics.jsonl").read_bytes()
    )
    assert read_model_header(kept).provenance["seed"] == best
    said = kept.with_suffix(".txt").read_text()
    assert f"kept the start with seed {best}: its loss over the last tenth of the steps is the lowest" in said
    assert f"(seed {other} {losses[other]:.4g})" in said
    assert f"nf.starts\nseed {best}" not in said
    # What all starts have in common is said once.
    assert said.count("is never intervened on") == 1
    assert {f"CITRIS-NF on boxes, seed {seed}: {STEPS} steps" for seed in losses} <= set(said.splitlines())
    assert "kept" in succeed("info", kept, cwd=home)


def test_what_is_finished_stays_and_is_made_longer_only_as_it_was_begun(home: Path, kept: Path, tmp_path: Path) -> None:
    done = run_inside(*LINE, "--restarts", "2", "-o", kept, "--resume", cwd=home)
    assert done.stdout.decode() == f"{kept}\n"
    assert f"{kept} is finished already" in done.stderr.decode()
    check_refusal(
        run_inside(*LINE, "-o", kept, "--resume", cwd=home), "was started with --restarts 2; resume it the same way"
    )
    line = [*LINE, "--restarts", "3", "-o", kept]
    check_refusal(run_inside(*line, "--resume", cwd=home), "was started with --restarts 2; resume it the same way")
    check_refusal(run_inside(*line, cwd=home), "holds a finished CITRIS-NF that differs in --restarts")
    line = [*LINE, "--restarts", "2", "--resume", "-o", tmp_path / "none.safetensors"]
    check_refusal(run_inside(*line, cwd=home), "no training run of CITRIS-NF has been started")
    check_refusal(run_inside(*LINE, "--seed", 2**32 - 1, "--restarts", "2", cwd=home), "too large for 2 starts")


def test_interrupted_all_save_their_states_and_go_on_bit_for_bit(home: Path, kept: Path, tmp_path: Path) -> None:
    path = tmp_path / "nf.safetensors"
    line = [*LINE, "--restarts", "2", "-o", path]
    process = started(*line, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    log = start(path, 3).with_suffix(".metrics.jsonl")
    wait_until(lambda: log.exists() and len(log.read_text().splitlines()) > 2, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all at once
    output, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, error.decode()
    assert output == b""
    last = error.decode().splitlines()[-1]
    assert "seed 3 is at step" in last
    assert last.endswith("nf.starts: run the same command with --resume to continue")
    assert not path.exists()
    assert start(path, 3).with_name("nf-seed3.state.safetensors").exists()
    assert not list(path.parent.rglob(".*.tmp*"))
    done = run_inside(*line, "--resume", cwd=home)
    assert done.stdout.decode() == f"{path}\n", done.stderr.decode()
    check_same_tensors(path, kept)
    assert read_model_header(path).provenance["starts"] == read_model_header(kept).provenance["starts"]


def test_the_vae_too_and_its_pictures(few: Path, inside: Citris, forked_starts: None) -> None:
    sizes = ["--latents", "3", "--channels", "4", "--flow-layers", "1", "--batch-size", "4", "--steps", "6"]
    done = inside("train-vae", "few", *sizes, "--restarts", "2", "-o", "-", cwd=few)
    assert done.returncode == 0, done.stderr.decode()
    (few / "out.safetensors").write_bytes(done.stdout)
    best = read_model_header(few / "out.safetensors").provenance["starts"]["kept"]
    folder = few / "runs/few"
    check_same_tensors(few / "out.safetensors", folder / f"vae.starts/vae-seed{best}.safetensors")
    own = folder / f"vae.starts/vae-seed{best}.reconstructions.png"
    assert (folder / "vae.reconstructions.png").read_bytes() == own.read_bytes()


def test_the_mean_is_over_steps_however_they_are_logged(tmp_path: Path) -> None:
    def mean_of(lines: list[dict[str, Any]]) -> dict[str, float]:
        one = Start(0, tmp_path / "m.safetensors")
        one.files.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return one.means(100)

    early = [{"step": 50, "loss": 9.0, "nll": 1.0, "lr": 1}, {"step": 90, "loss": 8.0, "nll": 1.0, "lr": 1}]
    late = [{"step": 100, "loss": 3.0, "nll": 2.0, "lr": 1, "per_second": 5}, {"step": 100, "train_nll": 7.0}]
    assert mean_of([*early, *late]) == {"loss": 3.0, "nll": 2.0}
    # A line more, because a state was saved at step 98.
    halves = [{"step": 98, "loss": 3.25, "nll": 2.0, "lr": 1}, {"step": 100, "loss": 2.0, "nll": 2.0, "lr": 1}]
    assert mean_of([*early, *halves]) == {"loss": 3.0, "nll": 2.0}
