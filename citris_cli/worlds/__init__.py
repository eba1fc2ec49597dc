"""Simulated worlds with ground truth, and the table of them.

A new world is a file with a class that fulfils :class:`~citris_cli.worlds.world.World`, and a line in :data:`WORLDS`:
``citris simulate`` offers what the table names. Nothing heavy is imported before a world is loaded.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from citris_cli.errors import InputError

if TYPE_CHECKING:
    from citris_cli.worlds.world import World


class WorldEntry(NamedTuple):
    """One line of the table.

    Attributes:
        where: module and class, as ``module:Class``: a dataclass, of which the fields with a line of help are options of
            the command; called without arguments, it gives the published world.
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


def world_class(name: str) -> type[World]:
    """The class of the world of this name.

    Raises:
        InputError: there is none.
    """
    if name not in WORLDS:
        raise InputError(f"there is no world {name!r}; the worlds are {', '.join(WORLDS)}")
    module, _, made_by = WORLDS[name].where.partition(":")
    found: type[World] = getattr(import_module(module), made_by)
    return found


def load_world(name: str, **options: Any) -> World:
    """The world of this name, with its published constants except for the options that are given.

    Raises:
        InputError: there is none, or an option that it refuses.
    """
    return world_class(name)(**options)
