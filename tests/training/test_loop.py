"""The loop: it can be stopped anywhere and goes on bit for bit, and it stops by itself when a training diverges."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
import torch

from citris_cli.artifacts.files import atomic_write
from citris_cli.artifacts.models import ModelFile, read_model
from citris_cli.errors import CitrisError, InterruptedRunError, TrainingDivergedError
from citris_cli.training import schedule
from citris_cli.training.files import RunFiles
from citris_cli.training.loop import StopRequest, finishing, train
from citris_cli.training.record import LossWindow
from tests.training.tasks import (
    STEPS,
    TASKS,
    Display,
    autoencoder_task,
    citris_nf_task,
    files_in,
    settings,
    signal_at,
    spoiled_at,
    watched,
)


def metrics_of(files: RunFiles) -> list[dict[str, Any]]:
    """All lines of the log, but for the rate, which no two runs share."""
    lines = [json.loads(line) for line in files.metrics.read_text().splitlines()]
    for line in lines:
        line.pop("per_second", None)
    return lines


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


SIGNALS = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


@pytest.mark.parametrize(
    ("name", "number"),
    [*((name, signal.SIGINT) for name in TASKS), *(("citris_nf", number) for number in SIGNALS[1:])],
)
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path: Path, name: str, number: signal.Signals) -> None:
    whole = TASKS[name](settings())
    whole_files = files_in(tmp_path / "whole")
    measures = train(whole, settings(), whole_files, Display())

    files = files_in(tmp_path / "halves")
    first = TASKS[name](settings())
    signal_at(first, 4, number)
    with pytest.raises(InterruptedRunError, match="--resume") as caught:
        train(first, settings(), files, Display())
    assert caught.value.exit_status == 128 + number
    assert f"stopped at step 5 of {STEPS}" in str(caught.value)
    assert str(files.state) in str(caught.value)
    assert read_model(files.state).config["step"] == 5

    second = TASKS[name](settings())
    assert train(second, settings(), files, Display(), resume=True) == measures
    assert same(second.model.state_dict(), whole.model.state_dict())
    assert metrics_of(files) == metrics_of(whole_files)
    assert not same(TASKS[name](settings()).model.state_dict(), whole.model.state_dict())  # something was learned


def test_resuming_without_a_state_starts_at_the_beginning(tmp_path: Path) -> None:
    whole, other = citris_nf_task(settings()), citris_nf_task(settings())
    measures = train(whole, settings(), files_in(tmp_path / "a"), Display())
    assert train(other, settings(), files_in(tmp_path / "b"), Display(), resume=True) == measures
    assert same(whole.model.state_dict(), other.model.state_dict())


def test_a_state_saved_after_the_last_step_needs_no_more_steps(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    task = citris_nf_task(settings())
    measures = train(task, settings(), files, Display(), save_every=-1.0)
    files.save_final()
    again = citris_nf_task(settings())
    assert train(again, settings(), files, Display(), resume=True) == measures
    assert same(task.model.state_dict(), again.model.state_dict())


def test_a_signal_in_the_last_step_does_not_throw_the_training_away(tmp_path: Path) -> None:
    task, stop = citris_nf_task(settings()), StopRequest()
    signal_at(task, STEPS - 1, signal.SIGTERM)
    assert "train_nll" in train(task, settings(), files_in(tmp_path), Display(), stop=stop)
    assert stop.signal_number == signal.SIGTERM  # the caller knows of it and need not begin anything else


def test_signals_are_handled_in_the_loop_only() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    stop = StopRequest()
    with stop.listening():
        signal.raise_signal(signal.SIGINT)
        assert stop.signal_number == signal.SIGINT
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_nohup_is_respected(tmp_path: Path) -> None:
    """What ignores the end of its terminal goes on after it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        task, stop = citris_nf_task(settings()), StopRequest()
        signal_at(task, 4, signal.SIGHUP)
        train(task, settings(), files_in(tmp_path), Display(), stop=stop)
        with finishing(files_in(tmp_path), stop):
            signal.raise_signal(signal.SIGHUP)
        assert stop.signal_number is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_ends_the_process_at_once(tmp_path: Path, number: signal.Signals) -> None:
    """Also while a file is written: then nothing is left of it."""

    def interrupted(file: IO[bytes]) -> None:
        file.write(b"half")
        signal.raise_signal(number)
        signal.raise_signal(number)

    child = os.fork()
    if child == 0:
        with StopRequest().listening():
            atomic_write(tmp_path / "x", interrupted)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == number
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("save_every", "saved"), [(-1.0, list(range(1, STEPS + 1))), (1e9, [STEPS])])
def test_a_state_is_saved_as_often_as_was_asked_for_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save_every: float, saved: list[int]
) -> None:
    files, steps = files_in(tmp_path), []
    original = RunFiles.save_state

    def save_state(self: RunFiles, state: ModelFile) -> None:
        steps.append(state.config["step"])
        original(self, state)

    monkeypatch.setattr(RunFiles, "save_state", save_state)
    train(citris_nf_task(settings()), settings(), files, Display(), save_every=save_every)
    assert steps == saved[:-1]  # the model, which is smaller, is written before the last
    files.save_final()
    assert steps == saved
    files.save_final()  # once is enough
    assert steps == saved
    assert read_model(files.state).config["step"] == files.saved_step() == STEPS


def test_a_new_training_leaves_no_older_state_to_go_back_to(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    train(citris_nf_task(settings()), settings(), files, Display())
    files.save_final()
    older = files.state.read_bytes()
    task = citris_nf_task(settings())
    begin = task.begin
    task.begin = lambda generator: 1 / 0  # type: ignore[assignment, method-assign]
    with pytest.raises(ZeroDivisionError):
        train(task, settings(), files, Display())
    assert files.state.read_bytes() == older  # nothing had been trained yet
    task.begin = begin  # type: ignore[method-assign]
    with pytest.raises(TrainingDivergedError, match="no state had been saved yet"):
        train(spoiled_at(task, 0, SPOILS["NaN"]), settings(), files, Display())
    assert not files.state.exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_after_the_last_step_loses_no_step(tmp_path: Path, number: signal.Signals) -> None:
    files = files_in(tmp_path)
    before = signal.getsignal(number)
    measures = train(citris_nf_task(settings()), settings(), files, Display())
    with pytest.raises(InterruptedRunError) as caught, finishing(files, StopRequest()):
        signal.raise_signal(number)
    assert caught.value.exit_status == 128 + number
    assert str(caught.value) == (
        f"stopped after the last step, before the model was written; the state is saved in {files.state}: "
        "run the same command with --resume to finish without training again"
    )
    assert signal.getsignal(number) == before
    assert read_model(files.state).config["step"] == STEPS
    task = citris_nf_task(settings())
    task.batch = lambda step: 1 / 0  # type: ignore[assignment, method-assign] - no step is taken
    assert train(task, settings(), files, Display(), resume=True) == measures


def test_whatever_fails_after_the_last_step_loses_no_step(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    train(citris_nf_task(settings()), settings(), files, Display())
    with pytest.raises(CitrisError, match="the disk is full"), finishing(files, StopRequest()):
        raise CitrisError("the disk is full")
    assert read_model(files.state).config["step"] == STEPS


def test_too_few_samples_are_told_and_not_the_rate(tmp_path: Path) -> None:
    task = spoiled_at(citris_nf_task(settings()), 2, SPOILS["NaN"])
    task.samples = 1
    with pytest.raises(TrainingDivergedError) as caught:
        train(task, settings(), files_in(tmp_path), Display())
    assert str(caught.value) == (
        "training diverged at step 3 (loss nan); no state had been saved yet: the data are too few: 1 pair; at least "
        "64 are needed, and thousands are usual"
    )


def test_a_signal_in_the_last_step_stops_before_what_takes_long(tmp_path: Path) -> None:
    files, stop = files_in(tmp_path), StopRequest()
    with finishing(files, stop):
        pass
    stop.signal_number = signal.SIGTERM
    with pytest.raises(InterruptedRunError) as caught, finishing(files, stop, at_once=True):
        raise AssertionError("entered")
    assert caught.value.exit_status == 143


SPOILS = {
    "NaN": lambda loss: loss * float("nan"),
    "infinite": lambda loss: loss + float("inf"),
    "exploded": lambda loss: loss + 1e6,
    "gradient is NaN": lambda loss: loss + (loss - loss.detach()).abs().sqrt(),
}


@pytest.mark.parametrize("kind", SPOILS)
def test_a_diverged_training_stops_and_keeps_the_last_good_state(tmp_path: Path, kind: str) -> None:
    files = files_in(tmp_path)
    task = spoiled_at(citris_nf_task(settings(lr=0.25)), 6, SPOILS[kind])
    with pytest.raises(TrainingDivergedError) as caught:
        train(task, settings(lr=0.25), files, Display(), save_every=-1.0)
    sentence = str(caught.value)
    assert caught.value.exit_status == 1
    assert "diverged at step 7" in sentence
    assert f"the last good state is kept in {files.state}" in sentence
    assert "try a learning rate below 0.25 with --lr" in sentence
    assert "\n" not in sentence

    saved = read_model(files.state)
    # A state whose next loss is bad is not good; a bad gradient says nothing of the weights that it was computed from.
    assert saved.config["step"] == (6 if kind == "gradient is NaN" else 5)
    assert all(value.isfinite().all() for value in saved.tensors.values() if value.is_floating_point())
    # The log says how it ended, beside losses of before that alone.
    *lines, last = metrics_of(files)
    assert last["step"] == 7
    assert last.keys() == {"step", "diverged"}
    assert [line["step"] for line in lines][-1] == 6
    assert all(value is not None for line in lines for value in line.values())
    # Good in earnest: from there the training comes out as if nothing had happened.
    whole, resumed = citris_nf_task(settings(lr=0.25)), citris_nf_task(settings(lr=0.25))
    train(whole, settings(lr=0.25), files_in(tmp_path / "whole"), Display())
    train(resumed, settings(lr=0.25), files, Display(), resume=True)
    assert not any("diverged" in line for line in metrics_of(files))
    assert same(whole.model.state_dict(), resumed.model.state_dict())


@pytest.mark.parametrize(("name", "factor"), [*((name, 1e30) for name in TASKS), ("citris_nf", 1e6)])
def test_weights_that_an_absurd_rate_ruined_are_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, factor: float
) -> None:
    files = files_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(schedule, "warmup_cosine", lambda step, *_: factor if step == 6 else 1.0)
        with pytest.raises(TrainingDivergedError, match="diverged at step 8"):  # at the first loss after that update
            train(TASKS[name](settings()), settings(), files, Display(), save_every=-1.0)
    assert read_model(files.state).config["step"] == 6
    train(TASKS[name](settings()), settings(), files, Display(), resume=True)


def test_bad_weights_are_never_saved_although_their_loss_is_finite(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    task = autoencoder_task(settings())
    statistics = next(value for name, value in task.model.named_buffers() if name.endswith("running_var"))
    # In training, the batch's own statistics are used.
    watched(task, lambda at: statistics.data.fill_(float("inf")) if at == 6 else None)
    with pytest.raises(TrainingDivergedError, match="weights that are not finite"):
        train(task, settings(), files, Display(), save_every=-1.0)
    assert read_model(files.state).config["step"] == 6


def test_a_last_step_that_ruins_the_weights_is_not_passed_off_as_a_model(tmp_path: Path) -> None:
    task = citris_nf_task(settings())
    original = task.loss

    taken = iter(range(STEPS))

    def loss(*given: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        value, parts = original(*given)
        if next(taken) == STEPS - 1:  # after this loss, as an update would
            with torch.no_grad():
                task.model.assignment.logits.fill_(float("nan"))
        return value, parts

    task.loss = loss  # type: ignore[method-assign]
    task.validate = lambda: {"train_nll": 1.0}  # type: ignore[method-assign] - even if no measure shows it
    with pytest.raises(TrainingDivergedError, match=f"diverged at step {STEPS}"):
        train(task, settings(), files_in(tmp_path), Display())


def test_a_measure_that_is_not_finite_ends_the_training(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    task = autoencoder_task(settings())
    task.validate = lambda: {"val_mse": float("inf")}  # type: ignore[method-assign]
    with pytest.raises(TrainingDivergedError, match=r"diverged at step 2 \(val_mse inf\)"):
        train(task, settings(), files, Display())


def test_a_training_that_diverges_before_any_state_says_so(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    task = spoiled_at(autoencoder_task(settings()), 0, SPOILS["NaN"])
    with pytest.raises(TrainingDivergedError, match="no state had been saved yet"):
        train(task, settings(), files, Display())
    assert not files.state.exists()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", TASKS)
def test_validation_changes_neither_the_model_nor_random_state(name: str, training: bool) -> None:
    task = TASKS[name](settings())
    task.begin(torch.Generator().manual_seed(0))
    task.model.train(training)
    modes = [module.training for module in task.model.modules()]
    weights = {key: value.clone() for key, value in task.model.state_dict().items()}
    random_state = torch.get_rng_state()
    first = task.validate()
    assert [module.training for module in task.model.modules()] == modes
    assert same(task.model.state_dict(), weights)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert task.validate() == first
    assert all(parameter.grad is None for parameter in task.model.parameters())


def test_validation_in_between_does_not_change_what_is_learned(tmp_path: Path) -> None:
    task, blind = autoencoder_task(settings()), autoencoder_task(settings())
    blind.validate = lambda: {}  # type: ignore[method-assign]
    train(task, settings(), files_in(tmp_path / "a"), Display())
    train(blind, settings(), files_in(tmp_path / "b"), Display())
    # The second one's last measures come from a validation that measures nothing.
    assert same(task.model.state_dict(), blind.model.state_dict())


def test_what_is_logged_and_shown(tmp_path: Path) -> None:
    files, display = files_in(tmp_path), Display()
    measures = train(autoencoder_task(settings()), settings(), files, display)
    lines = [json.loads(line) for line in files.metrics.read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1))
    assert set(steps[0]) == {"step", "loss", "mse", "gradient_norm", "lr", "per_second"}
    assert all(line["per_second"] > 0 for line in steps)
    assert steps[3]["lr"] == pytest.approx(0.01)  # the warm-up's top, after three steps
    assert lines[-1] == {"step": STEPS, **measures}
    assert [step for step, _, _ in display.updates] == list(range(1, STEPS + 1))
    assert display.updates[-1][2]["loss"] == steps[-1]["loss"]


def test_the_rate_leaves_validations_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    task, display = autoencoder_task(settings()), Display()
    validate = task.validate

    def a_second(step: int) -> None:
        now[0] += 1

    def slowly() -> dict[str, float]:
        now[0] += 1000
        return validate()

    watched(task, a_second)
    task.validate = slowly  # type: ignore[method-assign]
    train(task, settings(), files_in(tmp_path), display, save_every=1e9)
    assert [rate for _, rate, _ in display.updates] == [4.0] * STEPS  # four frames a batch


def test_the_classifier_has_a_rate_of_its_own() -> None:
    task = citris_nf_task(settings())
    main, classifier = task.parameter_groups()
    assert (main["lr"], classifier["lr"]) == (0.01, 4e-3)
    assert classifier["weight_decay"] == 1e-4
    assert {id(p) for p in classifier["params"]} == {id(p) for p in task.model.classifier.network.parameters()}
    learned = [p for p in task.model.parameters() if p.requires_grad]
    assert {id(p) for group in (main, classifier) for p in group["params"]} == {id(p) for p in learned}
    assert len(main["params"]) + len(classifier["params"]) == len(learned)


def test_the_window_gives_means_since_the_last_reading_and_a_rate_without_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    window = LossWindow(torch.device("cpu"))
    changing = torch.tensor(1.0)
    window.add({"a": changing, "b": torch.tensor(10.0)})
    changing.fill_(3.0)  # what was added is not what it becomes
    window.add({"a": changing, "b": torch.tensor(20.0)})
    now[0] += 4
    assert window.read(batch_size=8) == ({"a": 2.0, "b": 15.0}, 4.0)
    window.add({"a": torch.tensor(7.0)})
    now[0] += 1000  # a validation
    window.restart_clock()
    window.add({"a": torch.tensor(9.0)})
    now[0] += 2
    assert window.read(batch_size=8) == ({"a": 8.0}, 4.0)


def test_the_window_sees_what_is_not_finite() -> None:
    window = LossWindow(torch.device("cpu"))
    window.add({"a": torch.tensor(float("nan"))})
    window.add({"a": torch.tensor(1.0)})
    losses, _ = window.read(1)
    assert losses["a"] != losses["a"]


def test_the_rate_counts_no_more_samples_than_there_are() -> None:
    assert citris_nf_task(replace(settings(), batch_size=1000)).batch_size == 29
    assert citris_nf_task(settings()).batch_size == settings().batch_size
