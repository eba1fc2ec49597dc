"""Simulated worlds with ground truth, and the table of them.

A new world is a file with a class that fulfils :class:`~citris_cli.worlds.world.World`, and a line in :data:`WORLDS`:
``citris simulate`` offers what the table names. Nothing heavy is imported before a world is loaded.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from citris_cli.errors import InputError

if TYPE_CHECKING:
    from citris_cli.worlds.world import World


class WorldEntry(NamedTuple):
    """One line of the table.

    Attributes:
        where: module and class, as ``module:Class``; called without arguments, the class gives the published world.
        summary: a sentence for the help of the command.
    """

    where: str
    summary: str


WORLDS: dict[str, WorldEntry] = {
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
            Option("graph", "graph", "Effects within a frame.", "random", choices=("random", "chain", "full")),
            Option("instantaneous", "instantaneous", "Probability of an edge within a frame.", 0.5, least=0, most=1),
            Option("temporal", "temporal", "Probability of an edge to the next frame.", 0.25, least=0, most=1),
            Option(
                "interventions",
                "targets",
                "Which variables are intervened on in a step.",
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
}
"""Every world by its name on the command line."""


def load_world(name: str) -> World:
    """The world of this name, with its published constants.

    Raises:
        InputError: there is none.
    """
    if name not in WORLDS:
        raise InputError(f"there is no world {name!r}; the worlds are {', '.join(WORLDS)}")
    module, _, made_by = WORLDS[name].where.partition(":")
    world: World = getattr(import_module(module), made_by)()
    return world
