"""What holds for every world in the table, so that a new one is tested by being named there."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from citris_cli.core.config import WIDTHS
from citris_cli.data.variables import Variable, Variables
from citris_cli.errors import InputError
from citris_cli.worlds import WORLDS, WorldEntry, load_world
from citris_cli.worlds.recorded import columns_of, recorded_world, targets_of
from citris_cli.worlds.world import World, combine
from tests.worlds.sequences import whole_sequence
from tests.worlds.turntable import Turntable

TURNTABLE = WorldEntry("tests.worlds.turntable:Turntable", "A turntable.")


@pytest.fixture(params=[*WORLDS, "turntable"])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setitem(WORLDS, "turntable", TURNTABLE)
    try:
        return _drawn(request.param)
    except InputError as error:  # what draws it is an extra, and needs a library of the system
        pytest.skip(str(error))


@cache
def _drawn(name: str) -> World:
    """A world that has drawn a frame; Voronoi takes seconds to make."""
    made = load_world(name)
    made.render(made.independent(1, np.random.default_rng(0)))
    return made


def test_a_world_is_known_by_its_name(world: World) -> None:
    assert WORLDS[world.name].summary.endswith(".")
    assert type(load_world(world.name)) is type(world)


def test_an_unknown_world_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match="there is no world 'tetris'; the worlds are pong, "):
        load_world("tetris")


def test_every_true_value_has_an_owner_or_none(world: World) -> None:
    k, f = len(world.targets), len(world.variables)
    assert world.owners.shape == (f,)
    assert set(world.owners.tolist()) <= set(range(-1, k))
    assert (world.intervened_on.shape, world.intervened_on.dtype) == ((k,), bool)
    # What is intervened on has something that changes.
    assert set(np.flatnonzero(world.intervened_on)) <= set(world.owners.tolist())
    for owner, variable in zip(world.owners, world.variables, strict=True):
        if variable.name in world.targets:
            assert world.targets[owner] == variable.name


def test_options_are_fields_with_these_defaults(world: World) -> None:
    fields = {field.name: field.default for field in dataclasses.fields(world)}
    for option in WORLDS[world.name].options:
        assert fields[option.field] == option.default
        assert type(fields[option.field]) is type(option.default)
        assert not option.choices or option.default in option.choices


def test_the_settings_are_json_and_the_world_can_be_sent_to_a_process(world: World) -> None:
    settings = json.loads(json.dumps(world.settings))
    assert {field.name for field in dataclasses.fields(world)} <= settings.keys()
    sent = pickle.loads(pickle.dumps(world))
    latents = world.independent(3, np.random.default_rng(0))
    np.testing.assert_array_equal(sent.render(latents), world.render(latents))


def test_graphs_are_over_the_variables(world: World) -> None:
    k = len(world.targets)
    for graph in (world.graph_temporal, world.graph_instantaneous):
        assert graph.shape == (k, k)
        assert graph.dtype == np.uint8
        assert set(np.unique(graph)) <= {0, 1}
    # Causes within a frame have an order, so the graph has no cycle: no path of K steps.
    assert not np.linalg.matrix_power(world.graph_instantaneous.astype(int), k).any()


def in_range(world: World, latents: np.ndarray) -> bool:
    """Whether every latent is one that its variable may have."""
    for column, variable in zip(np.moveaxis(latents, -1, 0), world.variables, strict=True):
        if variable.kind == "angle" and np.isfinite(column).all():
            continue  # whole turns make no difference
        low = -np.inf if variable.low is None else variable.low
        high = np.inf if variable.high is None else variable.high
        inside = (column >= np.float32(low)) & (column <= np.float32(high))
        if variable.kind == "categorical":
            inside &= (column == np.round(column)) & (column >= 0) & (column < (variable.categories or np.inf))
        if not inside.all():
            return False
    return True


def test_a_sequence_has_a_state_a_frame_and_targets_a_step(world: World) -> None:
    latents, targets = whole_sequence(world, 250, np.random.default_rng(0))
    assert (latents.shape, latents.dtype) == ((250, len(world.variables)), np.float32)
    assert (targets.shape, targets.dtype) == ((249, len(world.targets)), np.uint8)
    assert in_range(world, latents)
    assert set(np.unique(targets)) == {0, 1}
    np.testing.assert_array_equal(targets.any(0), world.intervened_on)


def test_independent_states_are_in_range_and_uncorrelated(world: World) -> None:
    latents = world.independent(5000, np.random.default_rng(0))
    assert (latents.shape, latents.dtype) == ((5000, len(world.variables)), np.float32)
    assert in_range(world, latents)
    varied = latents[:, latents.std(0) > 0]
    assert np.abs(np.corrcoef(varied.T) - np.eye(varied.shape[1])).max() < 0.06


def test_a_combination_has_the_values_of_the_second_where_the_mask_says_so(world: World) -> None:
    first, second = (world.independent(200, np.random.default_rng(seed)) for seed in (0, 1))
    nothing = np.zeros((200, len(world.targets)), np.uint8)
    np.testing.assert_array_equal(combine(world, first, second, nothing), first)
    for target in np.flatnonzero(world.intervened_on):
        mask = nothing.copy()
        mask[:, target] = 1
        combined = combine(world, first, second, mask)
        assert combined.dtype == np.float32
        taken = world.owners == target
        np.testing.assert_array_equal(combined[:, taken], second[:, taken])
        np.testing.assert_array_equal(combined[:, ~taken], first[:, ~taken])


def test_frames_are_drawn_from_the_state_alone(world: World) -> None:
    latents = world.independent(15, np.random.default_rng(0))
    frames = world.render(latents)
    assert world.size in WIDTHS
    assert (frames.shape, frames.dtype) == ((15, world.size, world.size, world.channels), np.uint8)
    for i in (0, 7):
        np.testing.assert_array_equal(world.render(latents[i : i + 1])[0], frames[i])


def test_the_generator_decides_everything(world: World) -> None:
    for draw in (world.independent, lambda count, rng: whole_sequence(world, count, rng)[0]):
        first, again, other = (draw(50, np.random.default_rng(seed)) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


def test_the_turntable_differs_from_the_published_world() -> None:
    # What a writer of datasets could take for granted if there were one world only.
    other = load_world("ball-in-boxes")
    assert Turntable.size != other.size
    assert Turntable.graph_instantaneous.any() > other.graph_instantaneous.any()
    assert Turntable.intervened_on.tolist() != other.intervened_on.tolist()


def test_the_table_imports_nothing_heavy() -> None:
    code = "import sys, citris_cli.worlds; print({'numpy', 'torch', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "set()", done.stderr


def test_a_step_from_a_state_is_that_of_a_sequence(world: World) -> None:
    """Steps from a sequence's states under its targets, set to its values, lead where the sequence went."""
    if world.name == "turntable":
        pytest.skip("its states do not follow each other")
    latents, targets = whole_sequence(world, 1500, np.random.default_rng(4))
    before, truth = latents[:-1], latents[1:]
    rng = np.random.default_rng(5)
    set_to = (targets[:, world.owners] == 1) & (world.owners >= 0)
    after = world.advance(before, targets, rng, truth)
    assert (after.shape, after.dtype) == (before.shape, np.float32)
    np.testing.assert_allclose(after[set_to], truth[set_to], rtol=1e-5, atol=1e-5)
    drawn = world.advance(before, targets, rng)
    constant = np.ptp(truth, axis=0) == 0
    reached = world.intervened_on[world.owners] & (world.owners >= 0) & ~constant
    assert (drawn != truth)[:, reached][set_to[:, reached]].any()  # it draws values of its own
    # As far on the mean as another draw of the same step is: of two draws each, the distances are alike.
    again = world.advance(before, targets, rng, truth)

    def apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        difference = np.abs(one - other)
        angles = [variable.kind == "angle" for variable in world.variables]
        difference[:, angles] = np.minimum(difference, 2 * np.pi - difference)[:, angles]
        return difference.mean(0)

    found, expected = apart(after, truth), apart(after, again)
    assert (np.abs(found - expected) <= 0.25 * expected + 0.01 * np.ptp(truth, axis=0)).all(), (found, expected)


def test_steps_of_the_same_generator_are_the_same(world: World) -> None:
    states = world.independent(5, np.random.default_rng(0))
    targets = np.zeros((5, len(world.targets)), np.uint8)
    first, second, other = (world.advance(states, targets, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    assert world.advance(states[:0], targets[:0], np.random.default_rng(0)).shape == (0, len(world.variables))


def test_a_dataset_tells_of_the_world_that_it_came_from(world: World, tmp_path: Path) -> None:
    other = load_world("voronoi", number=4, graph="chain", seed=7) if world.name == "voronoi" else world
    document = {"world": other.name, "settings": json.loads(json.dumps(other.settings))}
    np.savez(tmp_path / "d.npz", provenance=np.array(json.dumps(document)))
    found = recorded_world(tmp_path / "d.npz")
    assert found is not None
    assert found.settings == other.settings
    states, targets = other.independent(3, np.random.default_rng(0)), np.ones((3, len(other.targets)), np.uint8)
    after = [one.advance(states, targets, np.random.default_rng(1)) for one in (found, other)]
    np.testing.assert_array_equal(*after)
    assert len(columns_of(found)) == len(other.targets)
    for wrong in ({**document, "world": "tetris"}, {**document, "settings": {**document["settings"], "new": 1}}):
        np.savez(tmp_path / "d.npz", provenance=np.array(json.dumps(wrong)))
        with pytest.raises(InputError, match=r"was simulated in another world .* simulate it again"):
            recorded_world(tmp_path / "d.npz")
    for nothing in ({}, {"provenance": np.array("{}")}, {"provenance": np.array('{"world": 3}')}):
        np.savez(tmp_path / "d.npz", x=np.zeros(1), **nothing)
        assert recorded_world(tmp_path / "d.npz") is None


def test_the_targets_of_a_models_variables_are_found_by_name() -> None:
    variables = Variables([Variable("ball", members=("ball_x", "ball_y")), Variable("paddle_left_y"), Variable("moon")])
    pong = load_world("pong")
    assert targets_of(pong, variables, [0]).tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    assert targets_of(pong, variables, [0, 1]).tolist() == [0, 0, 1, 1, 1, 0, 0, 0]
    with pytest.raises(InputError, match="moon: the world 'pong' has no such variable; its variables are ball_vel_dir"):
        targets_of(pong, variables, [2])
    box = Variables([Variable("box"), Variable("ball_y")])
    assert targets_of(load_world("ball-in-boxes"), box, [0]).tolist() == [0, 0, 1]  # published as ball_b
