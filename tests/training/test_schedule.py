"""Schedules: the rate goes up in a line and down along a cosine; noise falls to the model's own, the pull rises."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch

from citris_cli.core.config import MLPPriorConfig
from citris_cli.core.priors import Given, MLPTransitionPrior
from citris_cli.training.config import CausalTrainingConfig, TrainingConfig
from citris_cli.training.schedule import FLOOR, rates_at, warmup_cosine
from tests.training.tasks import citris_nf_task, citris_vae_task, loss_at, settings


def test_values() -> None:
    assert warmup_cosine(0, 100, 1100) == pytest.approx(1 / 101)
    assert warmup_cosine(49, 100, 1100) == pytest.approx(50 / 101)
    assert warmup_cosine(100, 100, 1100) == 1
    assert warmup_cosine(600, 100, 1100) == pytest.approx((1 + FLOOR) / 2)
    assert warmup_cosine(350, 100, 1100) == pytest.approx(FLOOR + (1 - FLOOR) * (0.5 + 0.5 * 0.5**0.5))
    assert warmup_cosine(1100, 100, 1100) == pytest.approx(FLOOR)


def test_it_rises_then_falls() -> None:
    factors = [warmup_cosine(step, 20, 200) for step in range(200)]
    assert all(a < b for a, b in pairwise(factors[:21]))
    assert all(a > b for a, b in pairwise(factors[20:]))
    assert factors.index(max(factors)) == 20
    assert FLOOR < factors[-1] < FLOOR + 0.001


@pytest.mark.parametrize(("warmup", "total"), [(0, 1), (0, 10), (10, 10), (100, 10), (1, 2)])
def test_short_trainings_still_learn(warmup: int, total: int) -> None:
    factors = [warmup_cosine(step, warmup, total) for step in range(total)]
    assert all(0 < factor <= 1 for factor in factors)
    if warmup == 0:
        assert factors[0] == 1


def test_the_noise_falls_to_the_models_own_and_stays_there() -> None:
    config = CausalTrainingConfig(steps=100, batch_size=1, lr=1e-3, clip=1.0, noise_start=8.0, noise_decay=0.4)
    scales = [config.schedule(step / 100)["noise_scale"] for step in range(100)]
    assert scales[0] == 8.0
    assert scales[20] == pytest.approx(8**0.5)
    assert all(earlier > later for earlier, later in pairwise(scales[:41]))
    assert set(scales[40:]) == {1.0}


def test_the_pull_into_psi_0_rises_to_its_own_and_stays_there() -> None:
    prior = MLPTransitionPrior(3, 2, 4, MLPPriorConfig(regulariser_warmup=0.4))
    pulls = [prior.schedule(step / 100)["pull"] for step in range(100)]
    assert pulls[:41] == pytest.approx([step / 40 for step in range(41)])
    assert set(pulls[40:]) == {1.0}
    assert MLPTransitionPrior(3, 2, 4).schedule(0.0) == {}  # as published


@pytest.mark.parametrize("make", [citris_nf_task, citris_vae_task])
def test_a_step_pulls_as_much_as_is_its_turn_and_a_validation_wholly(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make(settings(), prior=MLPPriorConfig(regulariser=0.2, regulariser_warmup=0.5))
    task.begin(torch.Generator().manual_seed(0))
    seen: list[float] = []
    original = task.model.prior.regulariser

    def regulariser(given: Given) -> Any:
        seen.append(original(given))
        return seen[-1]

    monkeypatch.setattr(task.model.prior, "regulariser", regulariser)
    for step, share in ((0, 0.0), (3, 0.5), (6, 1.0), (11, 1.0)):
        loss_at(task, step)
        assert seen
        assert seen == pytest.approx([share * 0.2] * len(seen))
        seen.clear()
        task.validate()
        assert set(seen) == {0.2}
        seen.clear()


def test_the_loss_without_its_pull_is_that_of_a_model_that_has_none() -> None:
    def first(regulariser: float, warmup: float) -> float:
        prior = MLPPriorConfig(regulariser=regulariser, regulariser_warmup=warmup)
        task = citris_nf_task(settings(), prior=prior)
        task.begin(torch.Generator().manual_seed(0))
        task.model.train()
        return float(loss_at(task, 0)[0].detach())

    assert first(0.3, 1.0) == first(0.0, 0.0) != first(0.3, 0.0)


def test_published_training_leaves_the_noise_alone() -> None:
    config = CausalTrainingConfig(steps=100, batch_size=1, lr=1e-3, clip=1.0)
    assert {config.schedule(step / 100)["noise_scale"] for step in range(100)} == {1.0}
    without = CausalTrainingConfig(steps=100, batch_size=1, lr=1e-3, clip=1.0, noise_start=8.0, noise_decay=0.0)
    assert without.schedule(0.0)["noise_scale"] == 1.0


def test_every_group_has_the_trainings_rate_times_its_own() -> None:
    config = TrainingConfig(steps=10, batch_size=1, lr=1.0, clip=1.0, warmup=0)
    groups = [{"lr": 1.0}, {"lr": 0.5, "schedule": lambda progress: float(progress >= 0.3)}]
    for step in range(10):
        first, second = rates_at(step, groups, config)
        assert first == warmup_cosine(step, 0, 10)
        assert second == (0.5 * first if step >= 3 else 0.0)
