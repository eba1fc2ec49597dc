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
