"""The Voronoi benchmark: graphs, mechanisms, interventions, mixing, and cells as published."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest

from citris_cli.errors import InputError
from citris_cli.worlds import load_world
from citris_cli.worlds.voronoi import EDGE, Voronoi
from citris_cli.worlds.voronoi_parts.cells import APART, hue_colours
from tests.worlds.published import voronoi_frames
from tests.worlds.sequences import whole_sequence

Sequence = tuple[np.ndarray, np.ndarray]
LIMIT = 7 * math.pi / 8


@pytest.fixture(scope="module")
def world() -> Voronoi:
    return Voronoi(number=6, seed=1)


@pytest.fixture(scope="module")
def sequence(world: Voronoi) -> Sequence:
    return whole_sequence(world, 12_000, np.random.default_rng(0))


@pytest.fixture(scope="module")
def orphans() -> Voronoi:
    """A world in which nothing acts on anything."""
    return Voronoi(number=4, instantaneous=0, temporal=0)


def values(states: np.ndarray) -> np.ndarray:
    """The values before the soft limit."""
    return 2 * np.arctanh(np.asarray(states, float) / LIMIT)


@pytest.mark.parametrize("number", [4, 6, 9])
def test_graphs_are_what_the_options_say(number: int) -> None:
    full = number * (number - 1) // 2
    graphs = [Voronoi(number=number, seed=seed) for seed in range(60)]
    rate = np.mean([world.graph_instantaneous.sum() / full for world in graphs])
    assert rate == pytest.approx(0.5, abs=0.06)
    assert len({world.graph_instantaneous.tobytes() for world in graphs}) > 40
    for world in graphs:
        assert not np.linalg.matrix_power(world.graph_instantaneous.astype(int), number).any()
        assert (world.graph_temporal.sum(0) >= 1).all()
        order = [world.variables.names.index(name) for name in world.settings["causal_var_order"]]
        assert not np.tril(world.graph_instantaneous[np.ix_(order, order)]).any()
    assert not Voronoi(number=number, instantaneous=0).graph_instantaneous.any()
    assert Voronoi(number=number, instantaneous=1).graph_instantaneous.sum() == full
    chain = Voronoi(number=number, graph="chain").graph_instantaneous
    assert chain.sum() == number - 1
    assert np.linalg.matrix_power(chain.astype(int), number - 1).any()
    assert Voronoi(number=number, graph="full").graph_instantaneous.sum() == full
    for seed in range(20):
        assert (Voronoi(number=number, temporal=0.5, seed=seed).graph_temporal.sum(0) >= 2).all()
    assert Voronoi(number=number, temporal=1).graph_temporal.all()
    assert not Voronoi(number=number, temporal=0).graph_temporal.any()
    assert (Voronoi(number=number, temporal=1e-12).graph_temporal.sum(0) == 1).all()


def test_what_is_no_option_is_refused_with_what_would_be() -> None:
    with pytest.raises(InputError, match="--variables 5: the Voronoi benchmark has 4, 6 or 9"):
        Voronoi(number=5)
    with pytest.raises(InputError, match="--graph tree: a graph is random, chain, full"):
        Voronoi(graph="tree")
    with pytest.raises(InputError, match="--targets pairs: targets are independent, single, grouped"):
        Voronoi(interventions="pairs")
    with pytest.raises(InputError, match=r"--target-noise 1\.5: a probability is between 0 and 1"):
        Voronoi(target_noise=1.5)
    for graph, probability in (("chain", 0.2), ("full", EDGE)):  # the default as well, where it is said
        with pytest.raises(InputError, match=rf"--instantaneous {probability} has no effect with --graph {graph}; "):
            load_world("voronoi", graph=graph, instantaneous=probability)
    assert load_world("voronoi", graph="random", instantaneous=0.2).settings["instantaneous"] == 0.2


def test_independent_interventions_are_as_frequent_as_published(sequence: Sequence) -> None:
    _, targets = sequence
    np.testing.assert_allclose(targets.mean(0), 0.15, atol=0.012)
    assert np.abs(np.corrcoef(targets.T) - np.eye(6)).max() < 0.04


def test_single_interventions_are_on_at_most_one(world: Voronoi) -> None:
    targets = Voronoi(number=6, interventions="single")._targets(20_000, np.random.default_rng(0))
    assert targets.sum(1).max() == 1
    assert (targets.sum(1) == 0).mean() == pytest.approx(2 / 8, abs=0.015)
    np.testing.assert_allclose(targets.mean(0), 1 / 8, atol=0.01)


@pytest.mark.parametrize(("number", "digits"), [(4, 4), (6, 4), (9, 5)])
def test_grouped_interventions_are_on_those_that_share_a_digit_of_their_code(number: int, digits: int) -> None:
    targets = Voronoi(number=number, interventions="grouped")._targets(20_000, np.random.default_rng(0))
    groups, counts = np.unique(targets, axis=0, return_counts=True)
    expected = {tuple(bool(variable + 1 >> digit & 1) for variable in range(number)) for digit in range(digits)}
    assert {tuple(group.tolist()) for group in groups} == expected
    np.testing.assert_allclose(counts / counts.sum(), 1 / digits, atol=0.015)
    assert not targets.all(0).any()
    # Every variable is in groups of its own: no two are always hit together.
    assert len(np.unique(targets, axis=1).T) == number


def test_an_intervention_draws_the_value_whatever_the_parents_are(world: Voronoi, sequence: Sequence) -> None:
    latents, targets = sequence
    after, forced = values(latents[1:]), targets == 1
    for variable in range(6):
        drawn = after[forced[:, variable], variable]
        assert drawn.mean() == pytest.approx(0, abs=0.08)
        assert drawn.std() == pytest.approx(0.75, abs=0.05)
        before = values(latents[:-1])[forced[:, variable]]
        assert np.abs(np.corrcoef(before.T, drawn)[-1, :-1]).max() < 0.1


def test_a_value_is_its_mechanisms_mean_and_noise(world: Voronoi) -> None:
    rng = np.random.default_rng(0)
    state, nothing = world.independent(1, rng)[0].astype(float), np.zeros((1, 6), bool)
    noise = rng.standard_normal((400, 6))
    quiet = values(world.step(state, np.zeros(6), np.ones(6, bool)))
    roots = ~world.graph_instantaneous.any(0)
    assert roots.any()
    for row in noise:
        (drawn,), (follows,) = world._drawn(nothing, row[None])
        after = values(world.step(state, drawn, follows))
        np.testing.assert_allclose((after - quiet)[roots], 0.3 * row[roots], atol=2e-5)


def test_what_mechanisms_give_has_about_unit_variance(sequence: Sequence) -> None:
    latents, targets = sequence
    after = values(latents[1:])
    free = [after[targets[:, variable] == 0, variable] for variable in range(6)]
    np.testing.assert_allclose([column.std() for column in free], 1, atol=0.2)
    np.testing.assert_allclose([column.mean() for column in free], 0, atol=0.2)


def test_a_variable_without_parents_is_drawn_by_itself(orphans: Voronoi) -> None:
    latents, targets = whole_sequence(orphans, 8000, np.random.default_rng(0))
    after = values(latents[1:])
    for variable in range(4):
        forced = targets[:, variable] == 1
        assert after[~forced, variable].mean() == pytest.approx(0.6, abs=0.06)
        assert after[~forced, variable].std() == pytest.approx(1, abs=0.05)
        assert after[forced, variable].mean() == pytest.approx(-0.6, abs=0.1)
        assert after[forced, variable].std() == pytest.approx(0.75, abs=0.07)


def test_noise_on_targets_records_what_does_not_happen(orphans: Voronoi) -> None:
    noisy = Voronoi(number=4, instantaneous=0, temporal=0, target_noise=0.25)
    latents, targets = whole_sequence(noisy, 8000, np.random.default_rng(0))
    assert targets.mean() == pytest.approx(0.15, abs=0.01)
    recorded = values(latents[1:])[targets == 1]
    assert recorded.mean() == pytest.approx(0.75 * -0.6 + 0.25 * 0.6, abs=0.06)


@pytest.mark.parametrize("options", [{}, {"graph": "chain"}, {"number": 4, "instantaneous": 0, "temporal": 0.5}])
def test_the_graphs_are_those_of_the_dynamics(options: dict[str, object]) -> None:
    world = Voronoi(**{"number": 6, "seed": 3, **options})  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    count = world.number
    temporal, instantaneous = np.zeros((2, count, count), int)
    for _ in range(20):
        state, other = world.independent(2, rng).astype(float)
        drawn, changed = rng.standard_normal((2, count))
        for effect in range(count):
            follows = np.arange(count) == effect  # all others are held where they were drawn
            before = world.step(state, drawn, follows)
            for cause in range(count):
                swapped = np.where(np.arange(count) == cause, other, state)
                temporal[cause, effect] += world.step(swapped, drawn, follows)[effect] != before[effect]
                if cause != effect:
                    swapped = np.where(np.arange(count) == cause, changed, drawn)
                    after = world.step(state, swapped, follows)[effect]
                    instantaneous[cause, effect] += after != before[effect]
    np.testing.assert_array_equal(temporal > 0, world.graph_temporal == 1)
    np.testing.assert_array_equal(instantaneous > 0, world.graph_instantaneous == 1)


def test_a_variable_that_follows_nothing_is_what_was_drawn(world: Voronoi) -> None:
    drawn = np.random.default_rng(0).standard_normal(6)
    after = world.step(np.zeros(6), drawn, np.zeros(6, bool))
    np.testing.assert_allclose(after, LIMIT * np.tanh(drawn / 2), atol=1e-6)


def test_a_longer_sequence_begins_as_a_shorter_one(world: Voronoi) -> None:
    short, long = (whole_sequence(world, frames, np.random.default_rng(5)) for frames in (50, 5000))
    np.testing.assert_array_equal(short[0], long[0][:50])
    np.testing.assert_array_equal(short[1], long[1][:49])
    assert sum(len(chunk) for chunk, _ in world.sequence(5000, np.random.default_rng(5))) == 5000


def test_independent_states_are_limits_of_normal_numbers(world: Voronoi) -> None:
    drawn = values(world.independent(5000, np.random.default_rng(0)))
    np.testing.assert_allclose(drawn.mean(0), 0, atol=0.05)
    np.testing.assert_allclose(drawn.std(0), 1, atol=0.05)


def test_the_mixing_spreads_every_variable_and_loses_none(world: Voronoi, sequence: Sequence) -> None:
    latents = sequence[0][:4000]
    angles = world.angles(latents)
    assert np.abs(angles).max() < LIMIT
    np.testing.assert_allclose(values(angles).std(0), 1, atol=0.15)
    np.testing.assert_allclose(values(angles).mean(0), 0, atol=0.15)
    slopes = np.stack([
        (world.angles(latents[:200] + 1e-3 * unit) - angles[:200]) / 1e-3 for unit in np.eye(6)
    ], axis=1)  # fmt: skip
    assert (np.abs(slopes).max(0) > 0.01).all()  # each cell shows all variables
    assert (np.abs(slopes).mean(0) > 0.2).sum(1).max() >= 3
    inner = np.abs(latents[:200]).max(1) < 0.95 * LIMIT
    assert np.abs(np.linalg.det(slopes[inner])).min() > 1e-4


def test_cells_are_apart_and_each_shows_its_hue(world: Voronoi) -> None:
    latents = world.independent(50, np.random.default_rng(0))
    frames, angles = world.render(latents), world.angles(latents)
    for index, (x, y) in enumerate(world.settings["centres"]):
        np.testing.assert_array_equal(frames[:, int(32 - y), int(x)], hue_colours(angles)[:, index])
    for number, apart in ((4, APART), (6, 8), (9, 5)):  # the more there are, the less room each has
        centres = np.array(Voronoi(number=number).settings["centres"])
        assert 4 <= centres.min() < centres.max() <= 28
        assert np.linalg.norm(centres[:, None] - centres, axis=-1)[~np.eye(number, dtype=bool)].min() >= apart


def test_hues_are_those_of_the_colour_circle() -> None:
    turns = np.array([[0, 1 / 6, 1 / 3, 2 / 3, -1 / 3, -1 / 12]]) * 2 * math.pi
    expected = [(255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 0, 255), (0, 0, 255), (255, 0, 128)]
    np.testing.assert_array_equal(hue_colours(turns)[0], expected)


def test_the_seed_decides_everything_and_processes_draw_the_same(world: Voronoi) -> None:
    again, other = Voronoi(number=6, seed=1), Voronoi(number=6, seed=2)
    latents = world.independent(20, np.random.default_rng(0))
    frames = world.render(latents)
    np.testing.assert_array_equal(again.render(latents), frames)
    assert not np.array_equal(other.render(latents), frames)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(world)).render(latents), frames)
    drawn = [whole_sequence(one, 30, np.random.default_rng(0))[0] for one in (world, again, other)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize("name", ["voronoi", "voronoi_instantaneous"])
def test_cells_and_outlines_are_the_published_ones(real_data: Path, name: str) -> None:
    folder = real_data / "published" / name
    for split in ("train", "test_indep"):
        with np.load(folder / f"{split}.npz", allow_pickle=False) as file:
            images = file["images"]
        difference = np.abs(voronoi_frames(folder, images).astype(int) - images)
        assert difference.mean((0, 1, 2)).max() < 0.3
        assert difference.max() <= 5
