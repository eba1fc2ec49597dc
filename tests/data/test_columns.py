"""What columns are: names of the published worlds, targets of several true values, kinds that are guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from citris_cli.data.columns import PINBALL, PONG, world_of
from citris_cli.data.datasets import load_independent, load_sequences, load_triplets
from citris_cli.data.variables import parse_vars
from citris_cli.errors import InputError
from tests.data.conftest import sequence

#: Targets are of groups of the true values, as in Causal Pinball.
COARSE = {
    "images": np.zeros((5, 32, 32, 3), np.uint8),
    "targets": np.eye(4, 2, dtype=int),
    "latents": np.zeros((5, 3)),
    "keys": ["x", "y", "lamp"],
}


def test_interventional_pong(shared: Path) -> None:
    folder = shared / "published" / "interventional_pong"
    data = load_sequences([folder])
    assert data.frames.channels == 4
    assert data.columns == data.factors == PONG
    assert {item.name: item.kind for item in PONG if item.kind != "continuous"} == {
        "ball_vel_dir": "angle",
        "score_left": "categorical",
        "score_right": "categorical",
    }
    assert data.variables.names == ("ball_vel_dir", "ball_x", "ball_y", "paddle_left_y", "paddle_right_y")
    assert data.notes == ()
    assert load_independent(folder).factors == PONG
    assert load_triplets(folder).variables == PONG


def test_causal_pinball(shared: Path) -> None:
    folder = shared / "published" / "pinball"
    data = load_sequences([folder])
    assert data.frames.channels == 4
    assert data.columns.names == ("ball", "cyl", "paddle_left", "paddle_right", "score")
    assert data.factors == PINBALL
    assert data.truth is not None
    assert data.truth.shape == (1000, 12)
    assert data.notes == ()
    # The file with triplets does not name its targets; the groups of its true values do.
    three = load_triplets(folder)
    assert three.variables.names == data.columns.names
    assert load_triplets(folder, known=data.columns).variables == data.columns
    owners = [data.variables.owner(factor) for factor in PINBALL]
    assert owners == [0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 3, 4]


@pytest.mark.parametrize(("world", "count"), [("voronoi", 4), ("voronoi_instantaneous", 6)])
def test_voronoi(shared: Path, world: str, count: int) -> None:
    data = load_sequences([shared / "published" / world])
    assert data.columns.names == tuple(f"c{index}" for index in range(count))
    assert {item.kind for item in data.columns} == {"angle"}
    assert data.notes == ()


def test_worlds_are_known_by_all_of_their_names() -> None:
    assert world_of(["ball_x", "ball_y", "ball_b"], (32, 32)) is not PONG
    assert world_of(["ball_x", "score_left"], (32, 32)) is PONG
    assert world_of(["ball_x", "score"], (64, 64)) is PINBALL
    assert world_of(["ball_x", "score", "mine"], (64, 64)) is None
    assert world_of(["score"], (64, 64)) is None
    assert world_of(["c0", "c1"], (64, 64)) is None
    assert world_of(["c0", "c2"], (32, 32)) is None


def test_names_and_kinds_belong_to_the_columns_that_are_as_many() -> None:
    data = load_sequences([COARSE | {"keys_targets": ["place", "lamp"], "kinds": ["angle", "angle", "categorical"]}])
    assert data.columns.names == ("place", "lamp")
    assert data.factors == parse_vars("x:angle,y:angle,lamp:categorical")
    assert [item.kind for item in data.columns] == ["continuous", "categorical"]  # the lamp is that of the true values
    of_targets = load_sequences([COARSE | {"kinds": ["angle", "categorical"]}])
    assert [(item.name, item.kind) for item in of_targets.columns] == [("var_0", "angle"), ("var_1", "categorical")]
    given = load_sequences([COARSE], parse_vars("a,b"))
    assert given.columns.names == ("a", "b")
    assert given.factors is not None
    assert given.factors.names == ("x", "y", "lamp")
    finer = load_sequences([COARSE], parse_vars("p:angle,q,r"))
    assert finer.columns.names == ("var_0", "var_1")
    assert finer.factors == parse_vars("p:angle,q,r")
    known = load_sequences([COARSE], known=parse_vars("place,lamp"))
    assert known.columns.names == ("place", "lamp")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"keys": ["x"]}, "'keys' names 1 variable for 2 columns"),
        ({"keys_targets": ["x"]}, "names 1 variable for 2 columns"),
        ({"keys_targets": [1, 2]}, "needs a list of names"),
        ({"kinds": ["angle"]}, "'kinds' has 1 kind for 2 columns"),
    ],
)
def test_names_for_other_numbers_of_columns_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        load_sequences([COARSE | change])
    assert says in str(caught.value)


def test_kinds_that_are_guessed_are_said_to_be() -> None:
    arrays = sequence(columns=3)

    def guessed(**more: Any) -> list[str]:
        return [note for note in load_sequences([arrays | more]).notes if "continuous" in note]

    (note,) = guessed(keys=["x", "rot_s", "speed"])
    assert note.startswith("x, speed: taken to be continuous, as no kind is given; set it with")
    assert not guessed(keys=["x", "rot_s", "speed"], kinds=["continuous"] * 3)
    assert not load_sequences([arrays], parse_vars("x,rot_s,speed")).notes
    # Nothing depends on the kind where no true values are compared.
    del arrays["latents"]
    assert not guessed(keys=["x", "rot_s", "speed"])
