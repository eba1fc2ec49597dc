"""The world that a dataset of ours was simulated in, made again from what its file says of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from citris_cli.data.npz import open_npz
from citris_cli.data.provenance import provenance_of
from citris_cli.data.variables import Variable, Variables, canonical_name
from citris_cli.errors import InputError
from citris_cli.worlds import WORLDS, world_class
from citris_cli.worlds.world import Array, World


def recorded_world(path: Path) -> World | None:
    """The world of a file that ``citris simulate`` wrote, with its constants; None of any other.

    Raises:
        InputError: this version of citris has another world of that name, in which all would go otherwise.
    """
    with open_npz(path) as file:
        told = provenance_of(file)
    name, settings = told.get("world"), told.get("settings")
    if not isinstance(name, str) or not isinstance(settings, dict):
        return None
    other = InputError(
        f"{path}: was simulated in another world {name!r} than this version of citris has; simulate it again"
    )
    if name not in WORLDS:
        raise other
    form = world_class(name)
    # All else is a constant of the world, and has to be what it is here.
    options = {option.field for option in WORLDS[name].options} | {"seed"}
    try:
        own = {field.name: settings[field.name] for field in dataclasses.fields(form) if field.name in options}
        world: World = form(**own)
        same = json.loads(json.dumps(world.settings)) == settings
    except (KeyError, TypeError, ValueError, ArithmeticError, InputError) as error:
        raise other from error
    if not same:
        raise other
    return world


def columns_of(world: World) -> Variables:
    """What a world intervenes on, K columns, as variables in our spelling."""
    known = {canonical_name(variable.name): variable for variable in world.variables}
    names = [canonical_name(name) for name in world.targets]
    return Variables(dataclasses.replace(known[name], name=name) if name in known else Variable(name) for name in names)


def targets_of(world: World, variables: Variables, chosen: Iterable[int]) -> Array:
    """The targets of a world for interventions on some variables of a model.

    Args:
        world: with K columns.
        variables: a model's.
        chosen: positions among these.

    Returns:
        uint8 [K].

    Raises:
        InputError: the world has nothing of one of them.
    """
    owners = [variables.owner(column) for column in columns_of(world)]
    for index in chosen:
        if index not in owners:
            raise InputError(
                f"{variables[index].name}: the world {world.name!r} has no such variable; its variables are "
                f"{', '.join(world.targets)}"
            )
    return np.isin(np.array([-1 if one is None else one for one in owners]), list(chosen)).astype(np.uint8)
