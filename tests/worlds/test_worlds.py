"""What holds for every world in the table, so that a new one is tested by being named there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from citris_cli.data.frames import SIZES
from citris_cli.data.variables import canonical_name
from citris_cli.errors import InputError
from citris_cli.worlds import WORLDS, WorldEntry, load_world
from citris_cli.worlds.world import World
from tests.worlds.turntable import Turntable


@pytest.fixture(params=[*WORLDS, "turntable"])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setitem(WORLDS, "turntable", WorldEntry("tests.worlds.turntable:Turntable", "A turntable."))
    return load_world(request.param)


def test_a_world_is_known_by_its_name(world: World) -> None:
    assert WORLDS[world.name].summary.endswith(".")
    assert type(load_world(world.name)) is type(world)


def test_an_unknown_world_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match="there is no world 'pong'; the worlds are ball-in-boxes"):
        load_world("pong")


def test_published_names_are_those_of_the_variables(world: World) -> None:
    assert tuple(canonical_name(key) for key in world.keys) == world.variables.names


def test_graphs_are_over_the_variables(world: World) -> None:
    k = len(world.variables)
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
    latents, targets = world.simulate(200, np.random.default_rng(0))
    k = len(world.variables)
    assert (latents.shape, latents.dtype) == ((200, k), np.float32)
    assert (targets.shape, targets.dtype) == ((199, k), np.uint8)
    assert in_range(world, latents)
    assert set(np.unique(targets)) == {0, 1}
    np.testing.assert_array_equal(targets.any(0), world.intervened_on)


def test_independent_states_are_in_range_and_uncorrelated(world: World) -> None:
    latents = world.independent(5000, np.random.default_rng(0))
    assert (latents.shape, latents.dtype) == ((5000, len(world.variables)), np.float32)
    assert in_range(world, latents)
    assert np.abs(np.corrcoef(latents.T) - np.eye(len(world.variables))).max() < 0.06


def test_the_third_state_of_a_triplet_is_what_the_mask_says(world: World) -> None:
    latents, mask = world.triplets(100, np.random.default_rng(0))
    k = len(world.variables)
    assert (latents.shape, latents.dtype) == ((100, 3, k), np.float32)
    assert (mask.shape, mask.dtype) == ((100, k), np.int64)
    np.testing.assert_array_equal(latents[:, 2], np.where(mask == 1, latents[:, 1], latents[:, 0]))
    assert (mask.sum(1) >= 1).all()
    np.testing.assert_array_equal(mask.any(0), world.intervened_on)


def test_frames_are_drawn_from_the_state_alone(world: World) -> None:
    latents, _ = world.triplets(5, np.random.default_rng(0))
    frames = world.render(latents)
    assert world.size in SIZES
    assert (frames.shape, frames.dtype) == ((5, 3, world.size, world.size, 3), np.uint8)
    np.testing.assert_array_equal(world.render(latents[3, 1]), frames[3, 1])


def test_the_generator_decides_everything(world: World) -> None:
    for draw in (world.simulate, world.triplets):
        first, again, other = (draw(50, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))
        assert not np.array_equal(first[0], other[0])


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
