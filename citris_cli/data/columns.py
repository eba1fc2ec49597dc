"""What the columns of a file are: those of its targets, and those of its true values, which may be finer.

Names of the published worlds bring kinds, ranges and groups with them. Lippe et al., "CITRIS", ICML 2022; "Causal
Representation Learning for Instantaneous and Temporal Effects in Interactive Systems", ICLR 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from citris_cli.data.variables import (
    BALL_IN_BOXES,
    CAUSAL3DIDENT,
    Variable,
    Variables,
    canonical_name,
    infer_variables,
)
from citris_cli.wording import counted, enumerated

PONG = Variables(
    [
        Variable("ball_vel_dir", "angle", group="ball_vel"),
        Variable("ball_vel_magn", group="ball_vel"),
        Variable("ball_x", low=0.0, high=32.0, group="ball"),
        Variable("ball_y", low=0.0, high=32.0, group="ball"),
        Variable("paddle_left_y", low=0.0, high=32.0, group="paddle_left"),
        Variable("paddle_right_y", low=0.0, high=32.0, group="paddle_right"),
        Variable("score_left", "categorical", categories=5, group="score"),
        Variable("score_right", "categorical", categories=5, group="score"),
    ]
)
"""The columns of Interventional Pong; places in pixels of 32×32 frames."""

PINBALL = Variables(
    [
        Variable("ball_x", low=0.0, high=32.0, group="ball"),
        Variable("ball_x_vel", group="ball"),
        Variable("ball_y", low=0.0, high=32.0, group="ball"),
        Variable("ball_y_vel", group="ball"),
        *[Variable(f"cyl_{index}_active", low=0.0, high=1.0, group="cyl") for index in range(5)],
        Variable("paddle_left_y_pos", low=2.0, high=6.0, group="paddle_left"),
        Variable("paddle_right_y_pos", low=2.0, high=6.0, group="paddle_right"),
        Variable("score", "categorical", categories=20),
    ]
)
"""The true values of Causal Pinball, in units of half a pixel; its targets are of the groups and the score."""

_WORLDS = (BALL_IN_BOXES, PONG, PINBALL, CAUSAL3DIDENT)
#: Width of the published frames of the Voronoi benchmark: `c0` and `c1` may be anything elsewhere.
_VORONOI_WIDTH = 32


@dataclass(frozen=True)
class Columns:
    """What the columns of a file are.

    Attributes:
        variables: one a column of the targets; none where their number is not known.
        factors: one a column of the true values, or None where there are none that fit.
        notes: sentences that the user should read.
    """

    variables: Variables
    factors: Variables | None
    notes: tuple[str, ...]


def world_of(names: Sequence[str], frame_size: tuple[int, ...]) -> Variables | None:
    """The columns of the published world that has all of these names, at least two; of several worlds the smallest.

    Args:
        names: as a file has them.
        frame_size: height and width of its frames in pixels.
    """
    canonical = [_spelled(name) for name in names]
    if len(canonical) < 2:
        return None
    if canonical == [f"c{index}" for index in range(len(canonical))] and frame_size == (_VORONOI_WIDTH,) * 2:
        return Variables(Variable(name, "angle") for name in canonical)
    return next((world for world in _WORLDS if set(canonical) <= set(world.names)), None)


def _spelled(name: str) -> str:
    """Our spelling of a name: in lower case, with ``_`` for ``-``; a published one as :func:`canonical_name` has it."""
    known = canonical_name(name)
    return known if known != name.strip() else known.lower().replace("-", "_").replace(" ", "_")


def described_columns(
    count: int,
    values: int | None,
    *,
    keys: Sequence[str] | None,
    target_keys: Sequence[str] | None,
    kinds: Sequence[str] | None,
    frame_size: tuple[int, ...],
    given: Variables | None,
    known: Variables | None,
    where: str,
) -> Columns:
    """Targets' columns and true values' columns, each by name.

    Names and kinds that a file has are those of the columns that are as many; where targets and true values differ in
    number, names that fit the true values alone leave the targets to ``target_keys``, to the columns that are known,
    or to the groups of the true values, if these are as many.

    Args:
        count: number K of the targets' columns, 0 if there are none or it is not known.
        values: number F of the true values' columns, or None if there are none.
        keys: the file's names of its columns, or None.
        target_keys: its names of the targets alone, or None.
        kinds: its kinds of the columns, or None.
        frame_size: (height, width) of the frames in pixels.
        given: the user's ``--vars``, for the targets or for the true values, whichever are as many; or None.
        known: columns of the data that this file belongs to, or None.
        where: file and key, for messages.

    Raises:
        InputError: names or kinds for another number of columns, or that cannot be used.
    """
    count = count or (values or 0)
    if not count:
        return Columns(Variables(), None, ())
    finer = values is not None and values != count and (count, values) != (len(CAUSAL3DIDENT), 10)
    world = world_of(keys, frame_size) if keys is not None else None
    if world is not None and keys is not None:
        keys = [_spelled(key) for key in keys]
    about = _with_world(known, world)
    of_values = None  # names of the true values where these are not the targets'
    names = target_keys
    if finer and keys is not None and len(keys) == values:
        of_values = keys
    elif names is None:
        names = keys
    own_kinds = kinds if kinds is None or not finer or len(kinds) != values else None
    own_given = given if given is None or not finer or len(given) != values else None
    factors = None
    if of_values is not None:
        value_kinds = kinds if kinds is not None and len(kinds) == values else None
        value_given = given if given is not None and len(given) == values else None
        factors = infer_variables(values or 0, of_values, _size(frame_size), value_given, where, about, value_kinds)
    if names is None and of_values is not None and own_given is None and (known is None or len(known) != count):
        names = _groups(factors or Variables(), count)
    variables = infer_variables(
        # A target that has the name of a true value is of its kind.
        count,
        names,
        _size(frame_size),
        own_given,
        where,
        _with_world(about, factors) if names is not None else known,
        own_kinds,
    )
    if factors is None and values is not None and not finer:
        factors = variables[:values]
    notes: tuple[str, ...] = ()
    if factors is None and values is not None:
        notes = (f"{counted(values, 'column')} of true values for {counted(count, 'variable')}: true values ignored",)
    if factors is not None:
        described = {item.name for item in (*(about or ()), *(given or ()), *CAUSAL3DIDENT, *BALL_IN_BOXES)}
        guessed = [item.name for item in factors if item.name not in described]
        if guessed and kinds is None:
            notes += (
                f"{enumerated(guessed)}: taken to be continuous, as no kind is given; set it with --vars name:kind,… "
                "or 'kinds' in the file (continuous, angle, categorical)",
            )
    return Columns(variables, factors, notes)


def _size(frame_size: tuple[int, ...]) -> tuple[int, int]:
    height, width = frame_size
    return height, width


def _with_world(known: Variables | None, world: Variables | None) -> Variables | None:
    """What is known of columns by name: by other data first, then by a world."""
    if known is None or world is None:
        return world if known is None else known
    return Variables([*known, *(item for item in world if item.name not in known.names)])


def _groups(factors: Variables, count: int) -> list[str] | None:
    """Names of the factors' groups, and of those that are in none, in order, if these are so many."""
    names = list(dict.fromkeys(factor.group or factor.name for factor in factors))
    return names if len(names) == count else None
