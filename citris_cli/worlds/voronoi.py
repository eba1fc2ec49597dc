"""The Voronoi benchmark: variables of a random graph with random mechanisms, seen through a random mixing.

The synthetic benchmark of iCITRIS (Lippe et al., 2023, section 5.1): K variables with effects in time and, if wanted,
within a frame. They are mixed by an invertible map, and what comes out are the hues of the cells of a Voronoi diagram.
Graph, mechanisms, mixing and cells are drawn from a seed: :mod:`citris_cli.worlds.voronoi_parts`. Letters: n states or
frames, K variables.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from citris_cli.data.variables import Variable, Variables
from citris_cli.errors import InputError
from citris_cli.worlds.voronoi_parts.cells import cell_shares, cells_around, hue_colours, painted, random_centres
from citris_cli.worlds.voronoi_parts.graph import GRAPHS, Graph, random_graph
from citris_cli.worlds.voronoi_parts.mechanisms import Mechanisms, Steps, calibrated
from citris_cli.worlds.voronoi_parts.mixing import Mixing, random_mixing
from citris_cli.worlds.world import Array, in_chunks, set_values, settings_of

#: Steps whose random numbers are drawn at once.
CHUNK = 4096
#: Steps before the first frame of a sequence, after which it tells nothing of how it began.
WARM_UP = 100

INTERVENTIONS = ("independent", "single", "grouped")
#: Probability of an instantaneous edge in a random graph where nothing else is said.
EDGE = 0.5


@dataclass(frozen=True)
class Voronoi:
    """The world's options and constants; the defaults are the published ones.

    A state is K hue angles c_k between ±7π/8. In a step, ``w_k ~ N(mean, std²)`` with the mean by variable k's
    mechanism from its parents, those of the previous frame as c, those of the same frame as w; then
    ``c_k = limit · tanh(w_k / 2)``. See :class:`~citris_cli.worlds.world.World` for what every world has.

    Attributes:
        number: K, the number of variables.
        graph: of the effects within a frame: "random", or along a random order of the variables "chain" or "full".
        instantaneous: probability of each edge of a random graph within a frame; 0 is a world without such effects.
            The other graphs have all of their edges.
        temporal: probability of each edge from one frame to the next; a variable without parents, or with only one
            where the probability is a half or more, is given others until it has enough.
        interventions: "independent", each variable by itself; "single", at most one a step; "grouped", those of one
            group a step.
        target_noise: probability that an intervention is recorded and does not happen.
        seed: of graph, mechanisms, mixing and cells.
        probability: of an intervention on a variable in a step, where they are independent.
        std: of the noise on every variable.
        intervention_std: of the value that an intervention draws.
        limit: greatest angle.
        resolution: width and height of the frames in pixels.

    Raises:
        InputError: another number, graph or kind of interventions than these, or a probability that is none.
    """

    name: ClassVar[str] = "voronoi"
    channels: ClassVar[int] = 3

    number: int = 6
    graph: str = "random"
    instantaneous: float = EDGE
    temporal: float = 0.25
    interventions: str = "independent"
    target_noise: float = 0.0
    seed: int = 0
    probability: float = 0.15
    std: float = 0.3
    intervention_std: float = 0.75
    limit: float = 7 * math.pi / 8
    resolution: int = 32

    def __post_init__(self) -> None:
        if self.number not in (4, 6, 9):
            raise InputError(f"--variables {self.number}: the Voronoi benchmark has 4, 6 or 9 variables")
        if self.graph not in GRAPHS:
            raise InputError(f"--graph {self.graph}: a graph is {', '.join(GRAPHS)}")
        if self.interventions not in INTERVENTIONS:
            raise InputError(f"--targets {self.interventions}: targets are {', '.join(INTERVENTIONS)}")
        for option in ("instantaneous", "temporal", "target_noise"):
            if not 0 <= getattr(self, option) <= 1:
                name = option.replace("_", "-")
                raise InputError(f"--{name} {getattr(self, option)}: a probability is between 0 and 1")

    @property
    def size(self) -> int:
        """Width and height of the frames in pixels."""
        return self.resolution

    @property
    def variables(self) -> Variables:
        """The K variables, c0 and so on."""
        return Variables(Variable(f"c{index}", "angle") for index in range(self.number))

    @property
    def targets(self) -> tuple[str, ...]:
        """The variables."""
        return self.variables.names

    @property
    def intervened_on(self) -> Array:
        """Bool [K]: all."""
        return np.ones(self.number, bool)

    @property
    def owners(self) -> Array:
        """Int64 [K]: each belongs to itself."""
        return np.arange(self.number)

    @property
    def graph_temporal(self) -> Array:
        """Uint8 [K, K], as drawn."""
        return self._graph.before.copy()

    @property
    def graph_instantaneous(self) -> Array:
        """Uint8 [K, K], as drawn; acyclic."""
        return self._graph.within.copy()

    @property
    def settings(self) -> dict[str, Any]:
        """The options and constants, the order of the variables and the centres of the cells (pixels, y upwards)."""
        order = [f"c{index}" for index in self._graph.order]
        return {**settings_of(self), "causal_var_order": order, "centres": self._centres.tolist()}

    # What is drawn once

    def _random(self, of: int) -> np.random.Generator:
        """The source of one of the things that are drawn once: each has its own, whatever the others take."""
        return np.random.default_rng([self.seed, of])

    @cached_property
    def _graph(self) -> Graph:
        order = [int(index) for index in self._random(0).permutation(self.number)]
        return random_graph(order, self.graph, self.instantaneous, self.temporal, self._random(1))

    @cached_property
    def _calibrated(self) -> tuple[Mechanisms, Array]:
        """The mechanisms, and states that they lead to."""

        def shocks(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
            intervened = self._targets(count, rng)
            return self._drawn(intervened, rng.standard_normal((count, self.number)))

        return calibrated(self._graph, self.limit, shocks, self._random(2))

    @cached_property
    def _steps(self) -> Steps:
        return Steps(self._calibrated[0], self._graph, self.limit)

    @cached_property
    def _mixing(self) -> Mixing:
        return random_mixing(self._calibrated[1], self.limit, self._random(3))

    @cached_property
    def _centres(self) -> Array:
        """Centres [K, 2] of the cells in pixels, y upwards."""
        return random_centres(self.number, self._random(4))

    @cached_property
    def _shares(self) -> Array:
        return cell_shares(cells_around(self._centres, self.size), self.size)

    # What happens

    def _drawn(self, intervened: Array, noise: Array) -> tuple[Array, Array]:
        """What a value is without its mechanism's mean, and whether the mean is part of it.

        Args:
            intervened: bool [n, K].
            noise: [n, K], standard normal.

        Returns:
            Float64 and bool [n, K].
        """
        free = np.where(self._graph.orphans, 0.6 + noise, self.std * noise)
        forced = self.intervention_std * noise - np.where(self._graph.orphans, 0.6, 0)
        return np.where(intervened, forced, free), ~(intervened | self._graph.orphans)

    def _targets(self, count: int, rng: np.random.Generator) -> Array:
        """Which variables are intervened on in some steps: bool [count, K]."""
        variables = np.arange(self.number)
        if self.interventions == "independent":
            return rng.random((count, self.number)) < self.probability
        if self.interventions == "single":
            # Two of K + 2 that are nobody's.
            return rng.integers(0, self.number + 2, count)[:, None] == variables
        # One digit of the variables' binary codes a step; the last one is no one's.
        digits = int(math.log2(self.number)) + 2
        return (variables + 1) >> rng.integers(0, digits, count)[:, None] & 1 == 1

    def sequence(self, frames: int, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        """One sequence in chunks of at most :data:`CHUNK` frames.

        Args:
            frames: number of frames N.
            rng: source of randomness.

        Yields:
            Latents float32 [n, K] and targets uint8 [n, K]; row i of the targets leads from frame i to i+1.
        """
        state = self.independent(1, rng)[0].astype(np.float64)
        for start in range(-WARM_UP, frames, CHUNK):
            # Always as many: a longer sequence begins as a shorter one does.
            targets, noise = self._targets(CHUNK, rng), rng.standard_normal((CHUNK, self.number))
            happen = targets & (rng.random(targets.shape) >= self.target_noise)
            drawn, follows = self._drawn(happen, noise)
            latents = np.empty((min(CHUNK, frames - start), self.number), np.float32)
            for index in range(len(latents)):
                latents[index] = state
                state = self.step(state, drawn[index], follows[index])
            first = WARM_UP if start < 0 else 0
            yield latents[first:], targets[first : len(latents)].astype(np.uint8)

    def advance(self, states: Array, targets: Array, rng: np.random.Generator, values: Array | None = None) -> Array:
        """One step of each state. See :meth:`World.advance`."""
        given = set_values(self, targets, values)
        happen = (targets == 1) & (rng.random(targets.shape) >= self.target_noise)
        drawn, follows = self._drawn(happen, rng.standard_normal((len(targets), self.number)))
        # What a value was before the limit; children see that.
        before = 2 * np.arctanh((given / self.limit).clip(-1 + 1e-7, 1 - 1e-7))
        set_to = ~np.isnan(given)
        drawn, follows = np.where(set_to, before, drawn), follows & ~set_to
        rows = zip(np.asarray(states, np.float64), drawn, follows, strict=True)
        return np.array([self.step(*row) for row in rows], np.float32).reshape(targets.shape)

    def step(self, state: Array, drawn: Array, follows: Array) -> Array:
        """The next state.

        Args:
            state: float64 [K].
            drawn: [K], the values before the limit, without their means.
            follows: bool [K], which variables follow their mechanisms, so that their means are added.

        Returns:
            float64 [K].
        """
        return self._steps(state, drawn, follows)

    def independent(self, count: int, rng: np.random.Generator) -> Array:
        """States float32 [count, K], each variable by itself: the limit of a standard normal number."""
        drawn: Array = self.limit * np.tanh(rng.standard_normal((count, self.number)) / 2)
        return drawn.astype(np.float32)

    # What it looks like

    def angles(self, latents: Array) -> Array:
        """The hue angles of the cells: the mixing.

        Args:
            latents: [n, K].

        Returns:
            float64 [n, K], each between ±7π/8.
        """
        return self._mixing.angles(latents)

    def render(self, latents: Array) -> Array:
        """Draw states.

        Args:
            latents: [n, K].

        Returns:
            uint8 [n, 32, 32, 3].
        """
        return in_chunks(self, latents, self._draw)

    def _draw(self, latents: Array, frames: Array) -> None:
        frames[:] = painted(hue_colours(self.angles(latents)), self._shares)
