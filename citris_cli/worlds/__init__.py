"""Simulated worlds with ground truth, and the table of them.

A new world is a file with a class that fulfils :class:`~citris_cli.worlds.world.World`, and a line in :data:`WORLDS`:
``citris simulate`` offers what the table names. Nothing heavy is imported before a world is loaded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from citris_cli.errors import InputError

if TYPE_CHECKING:
    from citris_cli.worlds.world import World


class Option(NamedTuple):
    """An option of a world's command. It stands here, as help is to be quick and a world's own file needs NumPy.

    Attributes:
        field: of the world's dataclass, which has the default.
        name: on the command line, without dashes.
        help: one line.
        default: what the help shows: the field's default.
        least, most: bounds of a number.
        choices: what it may be.
        only: another option, by its name, and the choice of it without which this one says nothing.
    """

    field: str
    name: str
    help: str
    default: bool | int | float | str
    least: float | None = None
    most: float | None = None
    choices: tuple[int | str, ...] = ()
    only: tuple[str, str] | None = None


class WorldEntry(NamedTuple):
    """One line of the table.

    Attributes:
        where: module and class, as ``module:Class``, a dataclass; called without arguments, it gives the published
            world. A field ``seed`` is what the world itself is drawn from, and gets the seed of the dataset.
        summary: a sentence for the help of the command.
        options: what else its command takes.
    """

    where: str
    summary: str
    options: tuple[Option, ...] = ()


WORLDS: dict[str, WorldEntry] = {
    "pong": WorldEntry(
        "citris_cli.worlds.pong:Pong",
        "Interventional Pong: a ball between two paddles; interventions on ball and paddles.",
    ),
    "ball-in-boxes": WorldEntry(
        "citris_cli.worlds.ball_in_boxes:BallInBoxes",
        "A ball in one of two boxes; interventions move it to the other box or redraw its height.",
    ),
    "pinball": WorldEntry(
        "citris_cli.worlds.pinball:Pinball",
        "Causal Pinball: paddles, ball, bumpers and score act on each other within a frame.",
    ),
    "voronoi": WorldEntry(
        "citris_cli.worlds.voronoi:Voronoi",
        "The Voronoi benchmark: hues of cells mix the variables of a random graph.",
        (
            Option("number", "variables", "Number of variables.", 6, choices=(4, 6, 9)),
            Option("graph", "graph", "Graph of effects within a frame.", "random", choices=("random", "chain", "full")),
            Option(
                "instantaneous",
                "instantaneous",
                "Probability of an edge within a frame, in a random graph.",
                0.5,
                least=0,
                most=1,
                only=("graph", "random"),
            ),
            Option("temporal", "temporal", "Probability of an edge to the next frame.", 0.25, least=0, most=1),
            Option(
                "interventions",
                "targets",
                "How the variables to intervene on are chosen in a step.",
                "independent",
                choices=("independent", "single", "grouped"),
            ),
            Option(
                "target_noise",
                "target-noise",
                "Probability that a recorded intervention does not happen.",
                0.0,
                least=0,
                most=1,
            ),
        ),
    ),
    "causal3d": WorldEntry(
        "citris_cli.worlds.causal3d:Causal3D",
        "Temporal Causal3DIdent: a turning, moving object under a coloured spot light.",
        (
            Option("shapes", "shapes", "The teapot alone, or seven shapes.", "one", choices=("one", "seven")),
            Option("coarse", "coarse", "Treat the position as one variable, and the rotation as another.", False),
            Option("instantaneous", "instantaneous", "Let causes act within the same frame.", False),
            Option(
                "interventions",
                "targets",
                "Interventions: independently on each variable, on one at most, or on groups.",
                "independent",
                choices=("independent", "single", "grouped"),
            ),
            Option("size", "size", "Frame width and height in pixels.", 64, choices=(64, 128, 256)),
        ),
    ),
}
"""Every world by its name on the command line."""


def world_class(name: str) -> type[Any]:
    """The class of the world of this name.

    Raises:
        InputError: there is none.
    """
    if name not in WORLDS:
        raise InputError(f"there is no world {name!r}; the worlds are {', '.join(WORLDS)}")
    module, _, made_by = WORLDS[name].where.partition(":")
    found: type[Any] = getattr(import_module(module), made_by)
    return found


def load_world(name: str, seed: int | None = None, **options: Any) -> World:
    """The world of this name, with its published constants except for the options that are given.

    Args:
        name: on the command line.
        seed: of a world that is drawn itself; of no meaning for the others.
        options: fields of its dataclass.

    Raises:
        InputError: there is none, or an option that it refuses, or that says nothing beside the others.
    """
    form = world_class(name)
    _require_effect(WORLDS[name].options, options)
    if seed is not None and any(field.name == "seed" for field in dataclasses.fields(form)):
        options["seed"] = seed
    world: World = form(**options)
    return world


def _require_effect(known: tuple[Option, ...], given: Mapping[str, Any]) -> None:
    """Refuse an option that is given and says nothing, as another one does not have the choice that it needs."""
    by_name = {option.name: option for option in known}
    for option in known:
        if option.only is None or option.field not in given:
            continue
        name, needed = option.only
        chosen = given.get(by_name[name].field, by_name[name].default)
        if chosen != needed:
            raise InputError(
                f"--{option.name} {given[option.field]} has no effect with --{name} {chosen}; leave it out, or use "
                f"--{name} {needed}"
            )
