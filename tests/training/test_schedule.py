"""Schedules: the rate goes up in a line and down along a cosine; noise falls to the model's own, the pull rises."""

import dataclasses
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch

from citris_cli.training.causal_latents import CausalTrainingConfig
from citris_cli.training.schedule import FLOOR, warmup_cosine
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
    scales = [config.noise_scale(step) for step in range(100)]
    assert scales[0] == 8.0
    assert scales[20] == pytest.approx(8**0.5)
    assert all(earlier > later for earlier, later in pairwise(scales[:41]))
    assert set(scales[40:]) == {1.0}


def test_the_pull_into_psi_0_rises_to_its_own_and_stays_there() -> None:
    config = CausalTrainingConfig(steps=100, batch_size=1, lr=1e-3, clip=1.0, regulariser_warmup=0.4)
    pulls = [config.pull(step) for step in range(100)]
    assert pulls[:41] == pytest.approx([step / 40 for step in range(41)])
    assert set(pulls[40:]) == {1.0}
    published = CausalTrainingConfig(steps=100, batch_size=1, lr=1e-3, clip=1.0)
    assert {published.pull(step) for step in range(100)} == {1.0}


@pytest.mark.parametrize("make", [citris_nf_task, citris_vae_task])
def test_a_step_pulls_as_much_as_is_its_turn_and_a_validation_wholly(make: Callable[..., Any]) -> None:
    task = make(dataclasses.replace(settings(), regulariser_warmup=0.5))
    whole = task.model.config.regulariser
    assert whole > 0
    task.begin(torch.Generator().manual_seed(0))
    for step, share in ((0, 0.0), (3, 0.5), (6, 1.0), (11, 1.0)):
        loss_at(task, step)
        assert task.model.prior.regulariser == pytest.approx(share * whole)
        task.validate()
        assert task.model.prior.regulariser == whole


def test_the_loss_without_its_pull_is_that_of_a_model_that_has_none() -> None:
    def first(regulariser: float, warmup: float) -> float:
        task = citris_nf_task(dataclasses.replace(settings(), regulariser_warmup=warmup), regulariser=regulariser)
        task.begin(torch.Generator().manual_seed(0))
        task.model.train()
        return float(loss_at(task, 0)[0].detach())

    assert first(0.3, 1.0) == first(0.0, 0.0) != first(0.3, 0.0)


def test_published_training_leaves_the_noise_alone() -> None:
    config = CausalTrainingConfig(steps=100, batch_size=1, lr=1e-3, clip=1.0)
    assert {config.noise_scale(step) for step in range(100)} == {1.0}
    without = CausalTrainingConfig(steps=100, batch_size=1, lr=1e-3, clip=1.0, noise_start=8.0, noise_decay=0.0)
    assert without.noise_scale(0) == 1.0
