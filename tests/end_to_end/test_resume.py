"""Trainings that are killed, interrupted and resumed: they end with the weights of one that never was."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from citris_cli.artifacts.models import read_model, write_model
from citris_cli.training.citris_nf import CitrisNFTask
from tests.end_to_end.conftest import Citris, succeed
from tests.end_to_end.test_bad_input import check_refusal
from tests.forks import started
from tests.waiting import PATIENCE, wait_until

#: Up to 100 steps, every one of them is logged.
STEPS = 40
TRAININGS = {
    "train-ae": ["--latents", "3", "--channels", "4", "--batch-size", "4", "--steps", STEPS],
    "train-nf": ["--samples", "2", "--hidden", "4", "--flow-layers", "2", "--batch-size", "4", "--steps", STEPS],
    "train-vae": ["--latents", "3", "--channels", "4", "--flow-layers", "1", "--batch-size", "4", "--steps", STEPS],
}
STATUSES = {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture
def folder(home: Path, tmp_path: Path) -> Path:
    """A folder with a file of few frames, whose trainings take a second."""
    with np.load(home / "boxes/train.npz", allow_pickle=False) as boxes:
        np.savez(tmp_path / "d.npz", images=boxes["images"][:40], targets=boxes["targets"][:39])
    return tmp_path


def command_line(name: str, home: Path) -> list[object]:
    autoencoder = ["--ae", home / "runs/boxes/ae.safetensors"] if name == "train-nf" else []
    return [name, "d.npz", *TRAININGS[name], *autoencoder]


def logged(path: Path) -> list[dict[str, Any]]:
    """The lines of a log without their rates; the last may be half written."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            line = json.loads(text)
        except ValueError:
            break
        line.pop("per_second", None)
        lines.append(line)
    return lines


def run_and_stop(arguments: list[object], folder: Path, step: int, number: signal.Signals, pause: float) -> str:
    """Start a training, send it a signal soon after it logs a step, and give what it said."""
    log = folder / "stopped.metrics.jsonl"
    # A step that the killed one before logged already would not tell that this one has begun.
    step = max(step, *(line["step"] + 1 for line in logged(log)), 0)
    process = started(*arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: any(line["step"] >= step for line in logged(log)), process)
    time.sleep(pause)
    process.send_signal(number)
    output, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == STATUSES[number], error.decode()
    assert output == b""
    return error.decode()


@pytest.mark.parametrize(
    ("name", "signals"),
    [
        ("train-ae", [signal.SIGINT, signal.SIGKILL]),
        ("train-nf", [signal.SIGKILL, signal.SIGTERM]),
        ("train-vae", [signal.SIGKILL, signal.SIGHUP]),
    ],
)
def test_stopped_at_random_and_resumed(home: Path, folder: Path, name: str, signals: list[signal.Signals]) -> None:
    arguments = command_line(name, home)
    assert succeed(*arguments, "-o", "whole.safetensors", cwd=folder) == "whole.safetensors"

    # A state is saved after every step, so that a kill often comes while one is written.
    arguments += ["--save-every", 0, "-o", "stopped.safetensors"]
    rng = random.Random(name)
    steps = sorted(rng.sample(range(2, STEPS // 2), len(signals)))
    for attempt, (step, number) in enumerate(zip(steps, signals, strict=True)):
        resume = ["--resume"] if attempt else []
        said = run_and_stop([*arguments, *resume], folder, step, number, rng.uniform(0, 0.03))
        assert "Traceback" not in said
        if number != signal.SIGKILL:
            sentence = said.splitlines()[-1]
            assert sentence.startswith("citris: stopped at step ")
            assert f"of {STEPS}; the state is saved in stopped.state.safetensors" in sentence
            assert "run the same command with --resume to continue" in sentence
        assert not (folder / "stopped.safetensors").exists()
    assert succeed(*arguments, "--resume", cwd=folder) == "stopped.safetensors"
    assert read_model(folder / "stopped.state.safetensors").config["step"] == STEPS
    # What the killed ones were writing is swept up by whoever writes the same file.
    assert not list(folder.glob(".stopped.state*"))

    whole, stopped = (read_model(folder / f"{run}.safetensors") for run in ("whole", "stopped"))
    assert whole.tensors.keys() == stopped.tensors.keys()
    for key, value in whole.tensors.items():
        np.testing.assert_array_equal(value.numpy(), stopped.tensors[key].numpy(), err_msg=key)
    assert whole.provenance["metrics"] == stopped.provenance["metrics"]
    log = logged(folder / "stopped.metrics.jsonl")
    assert log == logged(folder / "whole.metrics.jsonl")
    assert [line["step"] for line in log if "loss" in line] == list(range(1, STEPS + 1))


@pytest.fixture
def stopped(home: Path, folder: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The command line of a training that was stopped in its fourth step."""
    arguments = [*command_line("train-nf", home), "-o", "m.safetensors"]
    original = CitrisNFTask.batch

    def batch(task: CitrisNFTask, step: int) -> tuple[torch.Tensor, ...]:
        if step == 3:
            signal.raise_signal(signal.SIGTERM)
        return original(task, step)

    with monkeypatch.context() as patch:
        patch.setattr(CitrisNFTask, "batch", batch)
        done = inside(*arguments, cwd=folder)
    check_refusal(done, f"stopped at step 4 of {STEPS}; .* --resume", status=143)
    assert (folder / "m.state.safetensors").exists()
    return arguments


def test_without_resume_a_training_starts_anew_and_says_so(folder: Path, inside: Citris, stopped: list[object]) -> None:
    done = inside(*stopped, cwd=folder)
    assert done.returncode == 0
    says = (
        "m.state.safetensors holds an unfinished training run; starting a new one in its place (--resume would "
        "continue it)"
    )
    assert says in done.stderr.decode()
    assert logged(folder / "m.metrics.jsonl")[0]["step"] == 1
    assert read_model(folder / "m.state.safetensors").config["step"] == STEPS


def test_what_cannot_be_resumed_is_refused_and_stays(folder: Path, inside: Citris, stopped: list[object]) -> None:
    state = folder / "m.state.safetensors"
    whole = state.read_bytes()
    check_refusal(
        inside(*stopped, "--resume", "--hidden", 6, cwd=folder), "--hidden: the unfinished training run .* has 4"
    )
    with np.load(folder / "d.npz") as data:
        np.savez(folder / "e.npz", images=data["images"][:30], targets=data["targets"][:29])
    other = ["e.npz" if argument == "d.npz" else argument for argument in stopped]
    check_refusal(inside(*other, "--resume", cwd=folder), "m.state.safetensors: belongs to other data")
    assert state.read_bytes() == whole
    for damaged in (whole[:-100], whole[:50], b"", b"x" * 1000):
        state.write_bytes(damaged)
        check_refusal(inside(*stopped, "--resume", cwd=folder), "m.state.safetensors: ")
        assert state.read_bytes() == damaged
        assert not (folder / "m.safetensors").exists()


def test_another_autoencoder_or_other_names_are_refused_and_named(
    home: Path, folder: Path, inside: Citris, stopped: list[object]
) -> None:
    state = folder / "m.state.safetensors"
    whole = state.read_bytes()
    succeed("train-ae", "d.npz", "--latents", 4, "--channels", 4, "--steps", 2, cwd=folder)
    began_on = stopped[stopped.index("--ae") + 1]
    other = ["runs/d/ae.safetensors" if argument == began_on else argument for argument in stopped]
    says = "^citris: m.state.safetensors: was started on another autoencoder; resume with the --ae it was started with$"
    check_refusal(inside(*other, "--resume", cwd=folder), says)
    unnamed = stopped[: stopped.index("--ae")] + stopped[stopped.index("--ae") + 2 :]
    says = (
        "^citris: m.state.safetensors: was started on an autoencoder that is no longer in runs/d; name its file with "
        "--ae, or run without --resume to start over$"
    )
    check_refusal(inside(*unnamed, "--resume", cwd=folder), says)
    says = "m.state.safetensors: learns variables of other names or kinds; resume with the --vars it was started with$"
    check_refusal(inside(*stopped, "--resume", "--vars", "a,b,c", cwd=folder), says)
    # What an earlier version wrote tells of neither, but its weights are those of its autoencoder.
    contents = read_model(state)
    for name in ("autoencoder_sha256", "variables"):
        del contents.config["settings"][name]
    write_model(state, contents)
    check_refusal(inside(*other, "--resume", cwd=folder), "m.state.safetensors: was started on another autoencoder; ")
    assert succeed(*stopped, "--resume", cwd=folder) == "m.safetensors"
    state.write_bytes(whole)
    assert succeed(*stopped, "--resume", cwd=folder) == "m.safetensors"


def test_the_autoencoder_that_it_was_begun_on_is_found_again(home: Path, folder: Path, inside: Citris) -> None:
    ae = ["train-ae", "d.npz", "--latents", 4, "--channels", 4, "--batch-size", 4, "--steps", 2]
    succeed(*ae, cwd=folder)
    nf = ["train-nf", "d.npz", *TRAININGS["train-nf"], "--steps"]
    succeed(*nf, 3, cwd=folder)
    (folder / "runs/d/nf.safetensors").unlink()  # as if it had been stopped
    assert succeed(*ae, "--latents", 5, "--seed", 1, cwd=folder) != "runs/d/ae.safetensors"
    done = inside(*nf, 6, "--resume", cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    says = "autoencoder: runs/d/ae.safetensors (this dataset's, the one that the training run was started on)"
    assert says in done.stderr.decode()
    first = read_model(folder / "runs/d/ae.safetensors").tensors
    made = read_model(folder / "runs/d/nf.safetensors")
    for key, value in first.items():
        np.testing.assert_array_equal(value.numpy(), made.tensors[f"autoencoder.{key}"].numpy(), err_msg=key)
    assert made.provenance["settings"]["autoencoder_sha256"] == made.provenance["autoencoder_sha256"]
    # Also where another training is on the newest one, and nothing but the seed tells them apart.
    other = succeed(*nf, 3, "--seed", 7, cwd=folder)
    (folder / other).unlink()  # so that it, unlike the first, is unfinished
    assert succeed(*nf, 7, "--resume", cwd=folder) == "runs/d/nf.safetensors"
    assert succeed(*nf, 7, "--resume", "--seed", 7, cwd=folder) == other
    for path in (folder / "runs/d").glob("nf-*"):
        path.unlink()
    # The model that was made brings it, too.
    (folder / "runs/d/ae.safetensors").unlink()
    (folder / "runs/d/ae.state.safetensors").unlink()
    assert b"runs/d/nf.safetensors is finished already" in inside(*nf, 7, "--resume", cwd=folder).stderr
    assert succeed(*nf, 9, "--resume", cwd=folder) == "runs/d/nf.safetensors"
    (folder / "runs/d/nf.safetensors").unlink()
    done = inside(*nf, 12, "--resume", cwd=folder)
    check_refusal(done, "runs/d/nf.state.safetensors: was started on an autoencoder that is no longer in runs/d; ")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda saved: saved.pop("kind"), "does not hold a training run of this kind"),
        (lambda saved: saved.update(kind="autoencoder"), "does not hold a training run of this kind"),
        (lambda saved: saved.pop("data_sha256"), "belongs to other data"),
        (lambda saved: saved.pop("model"), "settings that this version of citris does not know"),
        (lambda saved: saved.update(model=[1]), "settings that this version of citris does not know"),
        (lambda saved: saved["model"].update(future=1), "settings that this version of citris does not know"),
        (lambda saved: saved["model"].pop("hidden"), "settings that this version of citris does not know"),
        (lambda saved: saved["model"].update(hidden="4"), "settings that this version of citris does not know"),
        (lambda saved: saved["training"].update(lr=None), "settings that this version of citris does not know"),
        (lambda saved: saved.pop("training"), "settings that this version of citris does not know"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    folder: Path, inside: Citris, stopped: list[object], spoil: Callable[[dict[str, Any]], object], says: str
) -> None:
    state = folder / "m.state.safetensors"
    contents = read_model(state)
    spoil(contents.config["settings"])
    write_model(state, contents)
    before = state.read_bytes()
    check_refusal(inside(*stopped, "--resume", cwd=folder), f"m.state.safetensors:? .*{says}.*; .*")
    assert state.read_bytes() == before


def test_a_resumed_training_may_be_made_longer(folder: Path, inside: Citris, stopped: list[object]) -> None:
    done = inside(*stopped, "--resume", "--steps", 6, cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    assert [line["step"] for line in logged(folder / "m.metrics.jsonl") if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert read_model(folder / "m.safetensors").provenance["settings"]["training"]["steps"] == 6


@pytest.mark.parametrize("steps", [3, 4])
def test_a_resumed_training_cannot_end_before_it_goes_on(
    folder: Path, inside: Citris, stopped: list[object], steps: int
) -> None:
    before = (folder / "m.state.safetensors").read_bytes()
    done = inside(*stopped, "--resume", "--steps", steps, cwd=folder)
    says = rf"^citris: --steps {steps}: the unfinished training run in m.state.safetensors has taken 4 steps already; "
    check_refusal(done, says)
    assert (folder / "m.state.safetensors").read_bytes() == before
    assert not (folder / "m.safetensors").exists()
    done = inside(*stopped, "--resume", "--steps", 5, cwd=folder)
    assert done.returncode == 0, done.stderr.decode()


def test_a_new_training_that_diverges_has_no_older_state_to_offer(
    folder: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch, stopped: list[object]
) -> None:
    check_refusal(inside(*stopped, "--classifier-layers", "none", cwd=folder), "--classifier-layers")
    assert (folder / "m.state.safetensors").exists()  # nothing began
    original = CitrisNFTask.loss

    def loss(*given: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        value, parts = original(*given)
        return value * float("nan"), parts

    monkeypatch.setattr(CitrisNFTask, "loss", loss)
    check_refusal(inside(*stopped, cwd=folder), "diverged at step 1 .*no state had been saved yet", status=1)
    assert not (folder / "m.state.safetensors").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_trained_model_is_measured_loses_no_step(
    home: Path,
    tmp_path: Path,
    inside: Citris,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    status: int,
) -> None:
    arguments = ["train-nf", home / "boxes", "--ae", home / "runs/boxes/ae.safetensors", *TRAININGS["train-nf"]]
    arguments += ["--steps", 8, "-o"]

    def measure(*_: object) -> None:
        signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr("citris_cli.evaluation.correlation._fit_and_predict", measure)
        done = inside(*arguments, "m.safetensors", cwd=tmp_path)
    says = "stopped after the last step, .* the state is saved in m.state.safetensors: .* --resume to finish without"
    check_refusal(done, says, status=status)
    assert not (tmp_path / "m.safetensors").exists()

    def taken(*_: object) -> None:
        raise AssertionError("a step was taken again")

    with monkeypatch.context() as patch:
        patch.setattr(CitrisNFTask, "batch", taken)
        done = inside(*arguments, "m.safetensors", "--resume", cwd=tmp_path)
    assert done.stdout == b"m.safetensors\n", done.stderr.decode()
    assert inside(*arguments, "whole.safetensors", cwd=tmp_path).returncode == 0
    finished, whole = (read_model(tmp_path / f"{name}.safetensors") for name in ("m", "whole"))
    for key, value in whole.tensors.items():
        np.testing.assert_array_equal(value.numpy(), finished.tensors[key].numpy(), err_msg=key)
    assert finished.provenance["metrics"] == whole.provenance["metrics"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no terminals that a test can close")
def test_a_terminal_that_is_closed_stops_a_training_whose_state_is_saved(home: Path, folder: Path) -> None:
    """Nothing can be said on it any more, and nothing that fails there ends the training before it is saved."""
    import pty

    arguments = [*command_line("train-nf", home), "--steps", 5000, "-o", "m.safetensors"]
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execv(sys.executable, [sys.executable, "-m", "citris_cli", *map(str, arguments)])

    def begun() -> bool:
        if select.select([terminal], [], [], 0.01)[0]:
            os.read(terminal, 10_000)
        return bool(logged(folder / "m.metrics.jsonl"))

    wait_until(begun)
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert read_model(folder / "m.state.safetensors").config["step"] > 0
    assert not list(folder.glob(".*"))


def test_nothing_to_resume_is_refused(home: Path, folder: Path, inside: Citris) -> None:
    arguments = command_line("train-nf", home)
    for output, where in ((["-o", "m.safetensors"], "m"), ([], "runs/d/nf")):
        done = inside(*arguments, *output, "--resume", cwd=folder)
        says = rf"^citris: --resume: no training run of CITRIS-NF has been started in {where}.safetensors; leave the "
        check_refusal(done, says)
    assert sorted(path.name for path in folder.iterdir()) == ["d.npz"]


def test_a_finished_training_can_be_made_longer(home: Path, folder: Path, inside: Citris) -> None:
    val = ["--val", home / "boxes/val_triplets.npz", "--vars", "ball_x,ball_y,box"]
    arguments = [*command_line("train-nf", home), *val, "-o", "m.safetensors"]
    succeed(*arguments, "--steps", 6, cwd=folder)
    finished = (folder / "m.safetensors").read_bytes()
    for more, says in (
        (["--steps", 5], "m.safetensors is finished after 6 steps; give more with --steps to train it longer, or run"),
        (["--lr", 0.5], "--lr: the finished training run in m.state.safetensors has 0.00[0-9]+; leave the option"),
        (["--precision", "bf16"], "--precision: the finished training run in m.state.safetensors has float32; leave"),
        (["--hidden", 6], "--hidden: the finished training run in m.state.safetensors has 4; leave the option out"),
        (["--seed", 6], "--seed: the finished training run in m.state.safetensors has 0; leave the option out"),
    ):
        check_refusal(inside(*arguments, "--steps", 6, *more, "--resume", cwd=folder), says)
        assert (folder / "m.safetensors").read_bytes() == finished
    bare = ["train-nf", "d.npz", "--ae", home / "runs/boxes/ae.safetensors", *val, "-o", "m.safetensors", "--resume"]
    assert b"m.safetensors is finished already" in inside(*bare, cwd=folder).stderr  # it knows its own settings
    kept = {path: path.read_bytes() for path in folder.glob("m.*")}

    done = inside(*arguments, "--steps", 12, "--preset", "paper", "--resume", cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    says = "m.state.safetensors: continues with the settings that it was started with, such as "
    assert says in done.stderr.decode()
    assert "; --preset paper changes none of them\n" in done.stderr.decode()
    says = (
        "m.state.safetensors: continuing after 6 steps, with 12 in all instead of 6; the learning rate now follows the"
    )
    assert says in done.stderr.decode()
    log = logged(folder / "m.metrics.jsonl")
    assert [line["step"] for line in log if "loss" in line] == list(range(1, 13))
    longer = read_model(folder / "m.safetensors")
    assert longer.provenance["settings"]["training"]["steps"] == 12
    scores = {line["step"]: line["val_score"] for line in log if "val_score" in line}
    measures = longer.provenance["metrics"]
    assert measures["val_score"] == max(scores.values()) == scores[measures["best_step"]]  # of all steps

    # What is stopped on its way comes out the same.
    for path, content in kept.items():
        path.unlink()  # what was read of it is still in use
        path.write_bytes(content)
    original = CitrisNFTask.batch

    def batch(task: CitrisNFTask, step: int) -> tuple[torch.Tensor, ...]:
        if step == 8:
            signal.raise_signal(signal.SIGTERM)
        return original(task, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CitrisNFTask, "batch", batch)
        check_refusal(inside(*arguments, "--steps", 12, "--resume", cwd=folder), "stopped at step 9 of 12", status=143)
    assert (folder / "m.safetensors").read_bytes() == finished  # until there is a longer one
    assert succeed(*arguments, "--steps", 12, "--resume", cwd=folder) == "m.safetensors"
    for key, value in read_model(folder / "m.safetensors").tensors.items():
        np.testing.assert_array_equal(value.numpy(), longer.tensors[key].numpy(), err_msg=key)


def test_without_its_state_a_finished_training_stays_as_it_is(home: Path, folder: Path, inside: Citris) -> None:
    arguments = [*command_line("train-nf", home), "--steps", 3, "-o", "m.safetensors"]
    succeed(*arguments, cwd=folder)
    (folder / "m.state.safetensors").unlink()
    done = inside(*arguments, "--steps", 6, "--resume", cwd=folder)
    says = (
        "m.safetensors is finished, and m.state.safetensors, from which it could be trained longer, is not there; run"
    )
    check_refusal(done, says)
    assert b"is finished already" in inside(*arguments, "--resume", cwd=folder).stderr


def test_several_runs_resume_each_in_its_place(home: Path, folder: Path, inside: Citris) -> None:
    arguments = command_line("train-nf", home)
    succeed(*arguments, "--steps", 3, cwd=folder)
    assert succeed(*arguments, "--steps", 3, "--seed", 7, cwd=folder) == "runs/d/nf-seed7.safetensors"
    other = succeed(*arguments, "--steps", 3, "--lr", 0.01, cwd=folder)
    longer = inside(*arguments, "--steps", 5, "--seed", 7, "--resume", cwd=folder)
    assert longer.stdout == b"runs/d/nf-seed7.safetensors\n", longer.stderr.decode()
    assert longer.stderr.decode().count("continuing after 3 steps") == 1
    assert succeed(*arguments, "--steps", 5, "--lr", 0.01, "--resume", cwd=folder) == other
    assert succeed(*arguments, "--steps", 5, "--resume", cwd=folder) == "runs/d/nf.safetensors"
    found = {path.name: read_model(path).provenance["settings"]["training"] for path in (folder / "runs/d").glob("nf*")
             if path.name.count(".") == 1}  # fmt: skip
    assert {name: (one["seed"], one["lr"] == 0.01, one["steps"]) for name, one in found.items()} == {
        "nf.safetensors": (0, False, 5), "nf-seed7.safetensors": (7, False, 5), Path(other).name: (0, True, 5),
    }  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="needs a bound on the size of files")
def test_a_model_is_not_lost_for_its_larger_state(home: Path, folder: Path, inside: Citris) -> None:
    """The disk is full after the model: that is finished, and only a longer training is no longer possible."""
    import resource

    arguments = [*command_line("train-nf", home), "--steps", 3, "-o"]
    succeed(*arguments, "whole.safetensors", cwd=folder)
    model, state = (folder / f"whole{end}.safetensors" for end in ("", ".state"))
    assert model.stat().st_size < state.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (model.stat().st_size + 100, before[1]))
    try:
        done = inside(*arguments, "m.safetensors", cwd=folder)
        small = inside(*arguments, "none.safetensors", "--hidden", 64, cwd=folder)  # even the model does not fit
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (done.returncode, done.stdout) == (0, b"m.safetensors\n"), done.stderr.decode()
    says = "m.safetensors is finished; its last state could not be kept, so --resume cannot extend the training run"
    assert says in done.stderr.decode()
    assert not (folder / "m.state.safetensors").exists()
    for key, value in read_model(model).tensors.items():
        np.testing.assert_array_equal(value.numpy(), read_model(folder / "m.safetensors").tensors[key].numpy())
    check_refusal(small, "^citris: none.safetensors: the disk is full; ", status=1)
    assert not list(folder.glob(".*"))


def test_another_prior_is_refused(folder: Path, inside: Citris, stopped: list[object]) -> None:
    done = inside(*stopped, "--resume", "--prior", "autoregressive", cwd=folder)
    check_refusal(done, "--prior: the unfinished training run in m.state.safetensors has mlp; leave the option out")
    assert inside(*stopped, "--resume", "--prior", "mlp", cwd=folder).returncode == 0
