"""Interventional Pong: its laws from thousands of steps, its graph by changing one cause at a time, its pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from citris_cli.worlds.dataset import write_dataset
from citris_cli.worlds.pong import (
    DIRECTION,
    LEFT,
    REACHED,
    RIGHT,
    SCORE_LEFT,
    SCORE_RIGHT,
    SPEED,
    Draws,
    Pong,
    X,
    Y,
)
from tests.worlds.sequences import whole_sequence

WORLD = Pong()
NO_NOISE = Draws([0.0] * 5, [0.0] * 3, [0.0] * 4)
#: By a letter of the column, a state with the ball in the middle, going right; its paddles are out of the way.
MIDDLE = {"direction": math.pi / 2, "speed": 2.0, "x": 16.0, "y": 16.0, "left": 16.0, "right": 16.0, "sl": 0, "sr": 0}


def after(target: int = -1, draws: Draws = NO_NOISE, **values: float) -> list[float]:
    """The state after the middle one with these values."""
    return WORLD.step(list({**MIDDLE, **values}.values()), (target,), draws)


@pytest.fixture(scope="module")
def steps() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """States before and after 60,000 steps, targets, and in which steps a point is scored."""
    latents, targets = whole_sequence(WORLD, 60_001, np.random.default_rng(0))
    before, next_ = latents[:-1].astype(float), latents[1:].astype(float)
    x = before[:, X] + before[:, SPEED] * np.sin(before[:, DIRECTION])
    return before, next_, targets, (x < 3.2) | (x > 28.8)


def turned(angle: np.ndarray) -> np.ndarray:
    """Angles between −π and π."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def test_at_most_one_variable_is_intervened_on_and_none_as_often_as_published(steps) -> None:
    _, _, targets, _ = steps
    assert targets.sum(1).max() == 1
    none = 0.85**5
    rates = np.isin(np.arange(8), REACHED) * (1 - none) / 5
    np.testing.assert_allclose(targets.mean(0), rates, atol=0.006)


def test_what_follows_from_the_previous_frame_does_up_to_its_noise(steps) -> None:
    """Of steps without a point and without an intervention on the variable."""
    before, next_, targets, point = steps
    expected = np.array([WORLD.step(state, (), NO_NOISE) for state in before.tolist()])
    inside = (expected[:, Y] > 4.2) & (expected[:, Y] < 27.8) & (expected[:, X] > 3) & (expected[:, X] < 29)
    for column, noise in ((DIRECTION, 0.1), (X, 0.2), (Y, 0.2), (LEFT, 0.5), (RIGHT, 0.5)):
        # Where nothing holds the value back, neither a wall nor the end of the paddles' way.
        free = inside if column < LEFT else (expected[:, column] > 4.5) & (expected[:, column] < 27.5)
        chosen = ~point & (targets[:, column] == 0) & free
        error = next_[chosen, column] - expected[chosen, column]
        error = turned(error) if column == DIRECTION else error
        assert chosen.sum() > 20_000
        assert abs(error.mean()) < 0.05 * noise
        np.testing.assert_allclose(error.std(), noise, rtol=0.03)
        np.testing.assert_allclose((error**4).mean() / error.std() ** 4, 3, atol=0.15)  # normal


def test_ranges_are_met(steps) -> None:
    _, next_, _, _ = steps
    low = [0, 2, 2, 3.2, 2, 2, 0, 0]
    high = [2 * np.pi, 2, 30, 28.8, 30, 30, 4, 4]
    low, high = np.float32(low).astype(float), np.float32(high).astype(float)
    assert (next_ >= low).all()
    assert (next_ <= high).all()
    for column in (Y, LEFT, RIGHT, SCORE_LEFT, SCORE_RIGHT):
        assert (next_[:, column].min(), next_[:, column].max()) == (low[column], high[column])


@pytest.mark.parametrize(("column", "low", "high"), [(DIRECTION, 0, 2 * math.pi), (X, 7.2, 24.8), (Y, 3.2, 28.8)])
def test_an_intervention_on_the_ball_draws_uniformly(steps, column: int, low: float, high: float) -> None:
    _, next_, targets, _ = steps
    drawn = next_[targets[:, column] == 1, column]
    shares = np.linspace(0, 1, 9)
    np.testing.assert_allclose(np.quantile(drawn, shares), low + (high - low) * shares, atol=0.03 * (high - low))


@pytest.mark.parametrize("column", [LEFT, RIGHT])
def test_an_intervention_on_a_paddle_sends_it_up_or_down_from_where_it_was(steps, column: int) -> None:
    before, next_, targets, point = steps
    chosen = (targets[:, column] == 1) & ~point & (np.abs(before[:, column] - 16) < 9)
    way = next_[chosen, column] - before[chosen, column]
    np.testing.assert_allclose((way > 0).mean(), 0.5, atol=0.03)
    np.testing.assert_allclose([way[way > 0].mean(), way[way < 0].mean()], [1.5, -1.5], atol=0.05)
    np.testing.assert_allclose((np.abs(way) - 1.5).std(), 0.5, atol=0.03)
    assert chosen.sum() > 1000


def test_a_point_serves_the_ball_in_the_middle_and_places_the_paddles_anew(steps) -> None:
    before, next_, targets, point = steps
    assert point.sum() > 500
    for column, low, high in ((LEFT, 4, 28), (RIGHT, 4, 28), (DIRECTION, 0, 2 * math.pi)):
        drawn = next_[point, column]  # as an intervention on these draws, too, in such a step
        shares = np.linspace(0, 1, 5)
        np.testing.assert_allclose(np.quantile(drawn, shares), low + (high - low) * shares, atol=0.08 * (high - low))
    for column in (X, Y):
        assert (next_[point & (targets[:, column] == 0), column] == 16).all()
        assert (next_[point & (targets[:, column] == 1), column] != 16).all()
    for column, scores in ((SCORE_LEFT, before[:, X] > 16), (SCORE_RIGHT, before[:, X] < 16)):
        # One is added; the fifth point, of either side, ends the game.
        other = SCORE_LEFT + SCORE_RIGHT - column
        added = before[:, column] + (point & scores)
        over = (added == 5) | (before[:, other] + (point & ~scores) == 5)
        np.testing.assert_array_equal(next_[:, column], np.where(over, 0, added))
        assert over.sum() > 50


def test_the_ball_bounces_off_walls_and_paddles() -> None:
    # Up, to 29.6: as far below the wall's 28.8 as it would be above it, and going down.
    up = after(direction=0.0, y=27.6)
    np.testing.assert_allclose([up[DIRECTION], up[X], up[Y]], [math.pi, 16, 28], atol=1e-9)
    down = after(direction=math.pi, y=4.8)
    np.testing.assert_allclose([down[DIRECTION], down[X], down[Y]], [0, 16, 3.6], atol=1e-9)
    # To the right, the edge of the ball (25.5 + 1.2) behind the face of the paddle (26): back to where it touches it.
    hit = after(x=23.5)
    np.testing.assert_allclose([hit[DIRECTION], hit[X], hit[Y]], [3 * math.pi / 2, 24.1, 16], atol=1e-9)
    left = after(direction=3 * math.pi / 2, x=8.5)
    np.testing.assert_allclose([left[DIRECTION], left[X], left[Y]], [math.pi / 2, 7.9, 16], atol=1e-9)
    # Above the paddle (of 6) and behind it nothing is hit.
    for missed in (after(x=23.5, right=19.1), after(x=23.5, right=12.9), after(x=26.1)):
        assert missed[DIRECTION] == pytest.approx(math.pi / 2)
    # It is the previous place of the paddle that counts, and the new one of the ball.
    np.testing.assert_allclose(after(x=23.5, right=13.0)[DIRECTION], 3 * math.pi / 2)


def test_a_paddle_follows_the_ball_by_at_most_so_much() -> None:
    np.testing.assert_allclose(after(y=20.0, left=16.0, right=19.2)[LEFT : RIGHT + 1], [17.5, 20.0])
    np.testing.assert_allclose(after(y=10.0, left=16.0, right=10.4)[LEFT : RIGHT + 1], [14.5, 10.0])


def test_the_graph_is_what_a_change_of_one_variable_changes() -> None:
    """The step is taken again with the same random numbers and another value of one variable: what comes out other?"""
    rng = np.random.default_rng(0)
    sequence, _ = whole_sequence(WORLD, 2000, rng)
    states = np.concatenate([sequence, WORLD.independent(2000, rng)])
    states[::4, X] = rng.uniform(2, 30, len(states[::4]))  # where points are scored and paddles are met
    others = WORLD.independent(len(states), rng)
    others[:, X] = rng.uniform(2, 30, len(states))
    others[:, SPEED] = 3
    changed = np.zeros((8, 8), bool)
    for state, other in zip(states.tolist(), others.tolist(), strict=True):
        draws = Draws(rng.normal(size=5).tolist(), rng.random(3).tolist(), rng.random(4).tolist())
        usual = np.array(WORLD.step(state, (), draws))
        for column in range(8):
            value = state[column]
            state[column] = other[column]
            changed[column] |= np.abs(np.array(WORLD.step(state, (), draws)) - usual) > 1e-9
            state[column] = value
    np.testing.assert_array_equal(changed, WORLD.graph_temporal == 1)
    assert not WORLD.graph_instantaneous.any()


def test_the_longer_of_two_sequences_begins_as_the_shorter_one() -> None:
    short, long = (whole_sequence(WORLD, frames, np.random.default_rng(3))[0] for frames in (50, 9000))
    np.testing.assert_array_equal(short, long[:50])


def test_triplets_recombine_what_interventions_reach_and_never_all_of_it(tmp_path: Path) -> None:
    write_dataset(WORLD, tmp_path, frames=5000, seed=0, splits=["test_triplets"])
    with np.load(tmp_path / "test_triplets.npz", allow_pickle=False) as file:
        latents, mask = file["latents"], file["targets"]
    reached = mask[:, WORLD.intervened_on]
    assert not mask[:, ~WORLD.intervened_on].any()
    assert set(reached.sum(1)) == {1, 2, 3, 4}
    assert len({tuple(row) for row in reached.tolist()}) == 2**5 - 2
    np.testing.assert_array_equal(latents[:, 2], np.where(mask == 1, latents[:, 1], latents[:, 0]))


def test_the_velocity_is_in_the_fourth_channel_alone() -> None:
    states = np.repeat(WORLD.independent(1, np.random.default_rng(0)), 8, axis=0)
    states[:, DIRECTION] = np.arange(8) * math.pi / 4
    frames = WORLD.render(states).astype(float)
    assert (frames[:, :, :, :3] == frames[:1, :, :, :3]).all()
    dark = 255 - frames[:, 1:-1, 1:-1, 3]
    places = np.arange(1, 31) + 0.5
    x, y = ((dark.sum(axis) * places).sum(1) / dark.sum((1, 2)) for axis in (1, 2))
    np.testing.assert_allclose(x, states[:, X] + 2 * np.sin(states[:, DIRECTION]), atol=0.05)
    np.testing.assert_allclose(32 - y, states[:, Y] + 2 * np.cos(states[:, DIRECTION]), atol=0.05)


@pytest.mark.parametrize("split", ["train", "test_indep", "test_triplets"])
def test_frames_are_those_of_the_published_data(real_data: Path, split: str) -> None:
    with np.load(real_data / f"published/interventional_pong/{split}.npz", allow_pickle=False) as file:
        images, latents = file["images"].reshape(-1, 32, 32, 4), file["latents"].reshape(-1, 8)
    difference = np.abs(WORLD.render(latents).astype(int) - images)
    assert difference.mean((0, 1, 2)).max() < 0.02  # of 255, in each channel
    assert difference.max() <= 9


def test_steps_of_the_published_data_follow_these_laws(real_data: Path) -> None:
    with np.load(real_data / "published/interventional_pong/train.npz", allow_pickle=False) as file:
        latents, targets = file["latents"].astype(float), file["targets"]
    expected = np.array([WORLD.step(state, (), NO_NOISE) for state in latents[:-1].tolist()])
    x = latents[:-1, X] + 2 * np.sin(latents[:-1, DIRECTION])
    point = (x < 3.2) | (x > 28.8)
    np.testing.assert_array_equal(latents[1:, SCORE_LEFT:], expected[:, SCORE_LEFT:])
    for column, noise in ((DIRECTION, 0.1), (X, 0.2), (Y, 0.2), (LEFT, 0.5), (RIGHT, 0.5)):
        error = (latents[1:, column] - expected[:, column])[~point & (targets[:, column] == 0)]
        assert np.abs(turned(error) if column == DIRECTION else error).max() < 4.5 * noise


def test_constants_are_the_published_ones(real_data: Path) -> None:
    published = json.loads((real_data / "published/interventional_pong/settings.json").read_text())
    ours = WORLD.settings
    assert {name: ours[name] for name in ours.keys() & published.keys()} == {
        name: published[name] for name in ours.keys() & published.keys()
    }
    assert len(ours.keys() & published.keys()) >= 13
