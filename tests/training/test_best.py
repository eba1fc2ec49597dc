"""A training with a criterion ends with the weights of its best validation, also when it is resumed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from citris_cli.errors import InterruptedRunError, TrainingDivergedError
from citris_cli.evaluation.validation import CRITERION
from citris_cli.training.citris_nf import CitrisNFTask
from citris_cli.training.loop import train
from tests.training.tasks import Display, citris_nf_task, files_in, settings, signal_at, watched

#: Scores of the validations after steps 2, 4, … 12.
SCORES = {2: 0.1, 4: 0.7, 6: 0.3, 8: 0.7, 10: 0.2, 12: 0.4}


class Scored:
    """A task whose score is known, with the weights that each validation saw."""

    def __init__(self) -> None:
        self.task: CitrisNFTask = citris_nf_task(settings())
        self.seen: dict[int, dict[str, torch.Tensor]] = {}
        self.step = 0
        watched(self.task, lambda at: setattr(self, "step", at + 1))
        self.task.criterion = CRITERION
        self.task.validate = self.validate  # type: ignore[method-assign]

    def validate(self) -> dict[str, float]:
        self.seen[self.step] = {name: value.clone() for name, value in self.task.model.state_dict().items()}
        return {CRITERION: SCORES[self.step]}


def test_the_first_of_the_best_is_kept(tmp_path: Path) -> None:
    scored = Scored()
    measures = train(scored.task, settings(), files_in(tmp_path), Display())
    assert measures == {CRITERION: 0.7, "best_step": 4}
    kept = scored.task.model.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in scored.seen[4].items())
    assert not all(torch.equal(kept[name], value) for name, value in scored.seen[12].items())


@pytest.mark.parametrize("at", [2, 5, 9])
def test_a_resumed_training_keeps_the_same_one(tmp_path: Path, at: int) -> None:
    whole = Scored()
    train(whole.task, settings(), files_in(tmp_path / "whole"), Display())
    stopped = Scored()
    signal_at(stopped.task, at, signal.SIGTERM)
    with pytest.raises(InterruptedRunError):
        train(stopped.task, settings(), files_in(tmp_path / "cut"), Display())
    resumed = Scored()
    measures = train(resumed.task, settings(), files_in(tmp_path / "cut"), Display(), resume=True)
    assert measures == {CRITERION: 0.7, "best_step": 4}
    kept, wanted = resumed.task.model.state_dict(), whole.task.model.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in wanted.items())


def test_what_an_earlier_training_left_is_not_taken_for_the_best(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    files.save_best(3, {CRITERION: 9.0}, citris_nf_task(settings(seed=5)).model)
    assert train(Scored().task, settings(), files, Display())["best_step"] == 4


@pytest.mark.parametrize("saved", [True, False])
def test_of_a_training_that_diverged_the_best_stays_only_beside_its_state(tmp_path: Path, saved: bool) -> None:
    scored, files = Scored(), files_in(tmp_path)

    def ruin(at: int) -> None:
        if at == 8:
            with torch.no_grad():
                scored.task.model.assignment.logits.fill_(float("nan"))
        scored.step = at + 1

    watched(scored.task, ruin)
    with pytest.raises(TrainingDivergedError):
        train(scored.task, settings(), files, Display(), save_every=-1.0 if saved else 100.0)
    assert files.state.exists() == saved
    assert files.best.exists() == saved
    if saved:
        assert files.best_measures(files.saved_step()) == {CRITERION: 0.7}


def test_without_a_criterion_the_last_weights_are_the_model(tmp_path: Path) -> None:
    task = citris_nf_task(settings())
    assert "best_step" not in train(task, settings(), files_in(tmp_path), Display())
    assert not files_in(tmp_path).best.exists()
