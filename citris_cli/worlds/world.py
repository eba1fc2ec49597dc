"""What every simulated world can tell and do. Letters: N frames, F true values, K targets, W pixels, C channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from citris_cli.data.variables import Variables

Array = np.ndarray[Any, Any]

#: Frames that are drawn at once, few enough to stay in the processor's cache.
FRAMES = 256


class World(Protocol):
    """A system that changes in discrete steps, is intervened on, and can be drawn.

    A state of the world is its F true values: float32, one a variable in the order of `variables`; in the unit that
    the world documents for a continuous variable, radians for an angle, 0, 1, 2, … for a categorical one. Its K causal
    variables are what is intervened on as one: each owns one or several of the true values. Everything random comes
    from the generator that is passed in: the same generator state gives the same arrays.

    A world is a frozen dataclass of its constants. Those that :func:`~citris_cli.core.config.setting` makes are options
    of the command. It is pickled to the processes that draw, so what it keeps beside its fields has to be picklable or
    left out of its state.
    """

    @property
    def name(self) -> str:
        """What the world is called on the command line, in lower case with dashes."""

    @property
    def size(self) -> int:
        """W, the width and height of its frames in pixels, one of :data:`~citris_cli.core.config.WIDTHS`."""

    @property
    def channels(self) -> int:
        """C: 3 for RGB, 4 where a fourth channel shows what a picture cannot, such as a velocity."""

    @property
    def variables(self) -> Variables:
        """The F true values as the published files spell them (`keys`), with kinds, groups, and ranges if bounded."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the K columns of targets; those of the `variables` where each true value has one."""

    @property
    def intervened_on(self) -> Array:
        """Bool [K]: which columns interventions target at all."""

    @property
    def owners(self) -> Array:
        """Int64 [F]: the column of the targets that each true value belongs to; -1 for none."""

    @property
    def graph_temporal(self) -> Array:
        """The true causes from one frame to the next: uint8 [K, K].

        Entry [i, j] is 1 iff variable i at time t is a cause of variable j at time t+1, in a step without intervention.
        """

    @property
    def graph_instantaneous(self) -> Array:
        """The true causes within a frame: uint8 [K, K].

        Entry [i, j] is 1 iff variable i at time t is a cause of variable j at that time; the diagonal is 0.
        """

    @property
    def settings(self) -> dict[str, Any]:
        """The constants and options that make this very world, as JSON takes them."""

    def sequence(self, frames: int, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        """One sequence with interventions, in chunks, so that any length takes the memory of a chunk.

        Args:
            frames: the number of frames N, at least 2.
            rng: source of all randomness.

        Yields:
            Latents float32 [n, F] and targets uint8 [n, K] of 0 and 1 for the next n frames, N in all. Row i of the
            targets belongs to the step from frame i to frame i+1; that of the very last frame is not used.
        """

    def advance(self, states: Array, targets: Array, rng: np.random.Generator, values: Array | None = None) -> Array:
        """What follows some states: one step of each, by itself.

        Args:
            states: latents [n, F].
            targets: [n, K] of 0 and 1, what is intervened on in the step.
            rng: source of all randomness.
            values: [n, F], what the interventions set true values to, and NaN where the world draws that itself; only
                those of variables that are intervened on are looked at. What acts within the step acts by them.

        Returns:
            Latents float32 [n, F].
        """

    def independent(self, count: int, rng: np.random.Generator) -> Array:
        """Latents float32 [count, F] of states that are drawn independently, every factor by itself."""

    def render(self, latents: Array) -> Array:
        """Draw states: latents [n, F] to frames uint8 [n, W, W, C]. Nothing about it is random."""


def combine(world: World, first: Array, second: Array, mask: Array) -> Array:
    """States that combine two: the true values of `second` whose owner is in the mask, the others of `first`.

    Args:
        world: whose states; a true value without an owner is the first's.
        first: latents [n, F].
        second: latents [n, F].
        mask: [n, K] of 0 and 1: 1 where a variable's values are those of the second state.

    Returns:
        Latents float32 [n, F].
    """
    owners = world.owners
    taken = (mask[:, owners] == 1) & (owners >= 0)
    return np.where(taken, second, first).astype(np.float32)


def set_values(world: World, targets: Array, values: Array | None) -> Array:
    """What interventions set true values to: float64 [n, F], NaN where nothing is set, or the world draws it.

    Args:
        world: whose.
        targets: [n, K] of 0 and 1.
        values: see :meth:`World.advance`.
    """
    owners = world.owners
    if values is None:
        return np.full((len(targets), len(owners)), np.nan)
    return np.where((targets[:, owners] == 1) & (owners >= 0), values, np.nan).astype(np.float64)


def graph_of(names: Sequence[str], causes: Mapping[str, Sequence[str]]) -> Array:
    """A graph from the causes of each variable that has some.

    Args:
        names: of the K variables.
        causes: by the effect's name.

    Returns:
        Uint8 [K, K]; entry [i, j] is 1 iff names[i] is a cause of names[j].
    """
    graph = np.zeros((len(names), len(names)), np.uint8)
    for effect, found in causes.items():
        for cause in found:
            graph[names.index(cause), names.index(effect)] = 1
    return graph


def settings_of(world: Any) -> dict[str, Any]:
    """The fields of a world that is a dataclass, as JSON takes them."""
    return {
        field.name: list(value) if isinstance(value, tuple) else value
        for field in dataclasses.fields(world)
        for value in [getattr(world, field.name)]
    }


def in_chunks(world: World, latents: Array, draw: Callable[[Array, Array], None]) -> Array:
    """Frames that are drawn :data:`FRAMES` at once.

    Args:
        world: whose frames.
        latents: states [n, F].
        draw: is given latents float32 [m, F], and the frames uint8 [m, W, W, C] that it fills.

    Returns:
        uint8 [n, W, W, C].
    """
    latents = np.asarray(latents, np.float32)
    frames = np.empty((len(latents), world.size, world.size, world.channels), np.uint8)
    for start in range(0, len(latents), FRAMES):
        draw(latents[start : start + FRAMES], frames[start : start + FRAMES])
    return frames
