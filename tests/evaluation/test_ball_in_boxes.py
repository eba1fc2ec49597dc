"""The trained model that comes with the package, against the simulator's ground truth on frames it never saw."""

from pathlib import Path

import numpy as np
import pytest
import torch

import citris_cli
from citris_cli.causal_model import CausalModel
from citris_cli.data.datasets import load_triplets
from citris_cli.data.variables import Variable
from citris_cli.evaluation.correlation import correlation
from citris_cli.evaluation.triplets import evaluate_triplets, match_mask
from citris_cli.worlds.ball_in_boxes import BallInBoxes
from citris_cli.worlds.dataset import write_dataset

WORLD = BallInBoxes()
NAMES = ("ball_x", "ball_y", "box")


@pytest.fixture(scope="module")
def model() -> CausalModel:
    return citris_cli.load("@ball-in-boxes")


@pytest.fixture(scope="module")
def states() -> np.ndarray:
    return WORLD.independent(200, np.random.default_rng(7))


def locate(frames: np.ndarray) -> np.ndarray:
    """Where the ball is: inner x, y and box of each frame, by the centre of what is red."""
    red = np.clip(frames[..., 0].astype(float) - frames[..., 1], 0, None)
    red[red < 40] = 0
    total = red.sum((1, 2))
    centre = np.arange(WORLD.size) + 0.5
    x, y = (red.sum(1) * centre).sum(1) / total, (red.sum(2) * centre).sum(1) / total
    box = (x > WORLD.size / 2).astype(float)
    return np.stack([x - box * WORLD.size / 2, y, box], axis=1)


def test_the_ball_is_located_where_it_was_drawn(states: np.ndarray) -> None:
    np.testing.assert_allclose(locate(WORLD.render(states)), states, atol=0.15)


def test_an_intervention_on_box_moves_the_ball_to_the_other_box_and_leaves_it_there_in_place(
    model: CausalModel, states: np.ndarray
) -> None:
    z = model.encode(WORLD.render(states))
    other = np.array([np.flatnonzero(states[:, 2] != box)[0] for box in states[:, 2]])  # any frame with the other box
    moved = locate(model.decode(model.intervene(z, "box", z[other])))
    assert (moved[:, 2] == 1 - states[:, 2]).all()
    # Inner x and y stay: within half a pixel on average, the ball's own radius being one and a half.
    assert np.abs(moved[:, :2] - states[:, :2]).mean(0).max() < 0.5


def test_an_intervention_on_ball_y_sets_its_height_and_nothing_else(model: CausalModel, states: np.ndarray) -> None:
    z = model.encode(WORLD.render(states))
    moved = locate(model.decode(model.intervene(z, "ball_y", np.roll(z, 1, axis=0))))
    assert np.abs(moved[:, 1] - np.roll(states[:, 1], 1)).mean() < 0.6
    assert np.abs(moved[:, 0] - states[:, 0]).mean() < 0.6
    assert (moved[:, 2] == states[:, 2]).mean() > 0.99


def test_draws_reach_both_boxes_and_the_whole_height(model: CausalModel, states: np.ndarray) -> None:
    generator = torch.Generator().manual_seed(0)
    z = model.encode(WORLD.render(states[:1]))
    boxes = locate(model.decode(model.intervene(z, "box", model.draw(z, "box", 60, generator))))
    assert 0.2 < boxes[:, 2].mean() < 0.8
    heights = locate(model.decode(model.intervene(z, "ball_y", model.draw(z, "ball_y", 60, generator))))[:, 1]
    low, high = WORLD.y_range
    assert np.ptp(heights) > 0.6 * (high - low)


def test_triplets(model: CausalModel, tmp_path: Path) -> None:
    write_dataset(WORLD, tmp_path, frames=10, seed=1)
    data = load_triplets(tmp_path, "test_triplets")
    assert evaluate_triplets(model, data, match_mask(data, model.variables)).score >= 0.9


def test_each_variable_is_read_from_its_own_latents_alone(model: CausalModel) -> None:
    states = WORLD.independent(1500, np.random.default_rng(8))
    z = torch.from_numpy(model.encode(WORLD.render(states)))
    report = correlation(
        z,
        torch.from_numpy(model.assignment),
        states,
        [Variable(name, "categorical" if name == "box" else "continuous") for name in NAMES],
        model.variables,
        torch.Generator().manual_seed(0),
    )
    r2 = {row: dict(zip(NAMES, values, strict=True)) for row, values in zip(report.rows, report.r2, strict=True)}
    assert r2["box"]["box"] >= 0.95
    assert r2["ball_y"]["ball_y"] >= 0.95
    assert max(r2["ball_y"]["box"], r2["box"]["ball_y"], r2["box"]["ball_x"], r2["ball_y"]["ball_x"]) <= 0.1
