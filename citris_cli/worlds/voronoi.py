"""The Voronoi benchmark: variables of a random graph with random mechanisms, seen through a random mixing.

The synthetic benchmark of iCITRIS (Lippe et al., 2023, section 5.1): K variables with effects in time and, if wanted,
within a frame. They are mixed by an invertible map, and what comes out are the hues of the cells of a Voronoi diagram.
Graph, mechanisms, mixing and cells are drawn from a seed. Letters: n states or frames, K variables.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from citris_cli.data.variables import Variable, Variables
from citris_cli.errors import InputError
from citris_cli.worlds.antialiasing import convex_cover
from citris_cli.worlds.world import Array, in_chunks, settings_of

#: Steps whose random numbers are drawn at once.
CHUNK = 4096
#: Steps before the first frame of a sequence, after which it tells nothing of how it began.
WARM_UP = 100

GRAPHS = ("random", "chain", "full")
INTERVENTIONS = ("independent", "single", "grouped")
#: Probability of an instantaneous edge in a random graph where nothing else is said.
EDGE = 0.5

#: Hidden units of a mechanism, and how steep its LeakyReLU is below 0.
HIDDEN, LEAK = 32, 0.1
#: States, restarts and steps of the simulation that calibrates the mechanisms, and the momentum of their statistics.
#: The paper's restarts are 20; after five more, with 20 steps that count, less than GRAIN is left of what was before.
#: Each begins at uniform angles: how is not told, and this spreads values about as far as the published ones.
STATES, RESTARTS, STEPS, MOMENTUM = 10_000, 5, 5, 0.5
#: What is added to a variance before it is divided by, as PyTorch's batch normalisation does.
EPSILON = 1e-5
#: Greatest share of the range at which the soft limit is inverted.
INVERTED = 0.99
#: Layers of the mixing, hidden units of its shifts for each variable, and the standard deviation of their weights.
LAYERS, UNITS, WEIGHT = 2, 16, 0.2
#: States and what is calibrated are whole multiples of this: processors differ in the last bits of what they compute.
GRAIN = 2.0**-20

#: Where the centres of cells may be (pixels), how far from each other they should be, and how often they are drawn
#: until they are.
CENTRES, APART, DRAWS = (4.0, 28.0), 10.0, 1000
#: Width of the cells' outlines in pixels: 50 points at one dot an inch.
OUTLINE = 50 / 72
#: Cover, of 255, of the outermost pixels by the border of Matplotlib's axes, which is thinner than a pixel.
RIM = 1


class Layer(NamedTuple):
    """A layer of the mixing: ``y = (x + bias) * scale``, turned, plus shifts of each by those before it.

    Attributes:
        bias, scale: [K], by which the calibration's values get mean 0 and variance 1.
        rotation: [K, K], orthogonal.
        first, first_bias: [K, UNITS, K] and [K, UNITS] of the shift's network, strictly lower triangular in K.
        last: [K, UNITS].
    """

    bias: Array
    scale: Array
    rotation: Array
    first: Array
    first_bias: Array
    last: Array


class Mechanisms(NamedTuple):
    """The means of all variables, as networks with their batch normalisation folded in.

    Attributes:
        before: [K, HIDDEN, K], what the first layers take of the previous frame's values.
        within: [K, HIDDEN, K], what they take of this frame's values, before these are limited.
        biases: [K, HIDDEN] of the first layers.
        middle, middle_biases: [K, HIDDEN, HIDDEN] and [K, HIDDEN] of the second ones.
        last, last_biases: [K, HIDDEN] and [K] of the third ones.
    """

    before: Array
    within: Array
    biases: Array
    middle: Array
    middle_biases: Array
    last: Array
    last_biases: Array


class Row(NamedTuple):
    """What :class:`Mechanisms` has of the variables that are computed at once, or of one, without the first axis.

    Attributes:
        within: [m * HIDDEN, K], or None where nothing within the frame acts on them.
    """

    within: Array | None
    middle: Array
    middle_biases: Array
    last: Array
    last_biases: Array


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
        return self._graphs[0].copy()

    @property
    def graph_instantaneous(self) -> Array:
        """Uint8 [K, K], as drawn; acyclic."""
        return self._graphs[1].copy()

    @property
    def settings(self) -> dict[str, Any]:
        """The options and constants, the order of the variables and the centres of the cells (pixels, y upwards)."""
        order = [f"c{index}" for index in self._order]
        return {**settings_of(self), "causal_var_order": order, "centres": self._centres.tolist()}

    # What is drawn once

    def _random(self, of: int) -> np.random.Generator:
        """The source of one of the things that are drawn once: each has its own, whatever the others take."""
        return np.random.default_rng([self.seed, of])

    @cached_property
    def _order(self) -> list[int]:
        """A causal order of the variables."""
        return [int(index) for index in self._random(0).permutation(self.number)]

    @cached_property
    def _graphs(self) -> tuple[Array, Array]:
        """The temporal and the instantaneous graph."""
        count, rng = self.number, self._random(1)
        within = np.zeros((count, count), np.uint8)
        for place, child in enumerate(self._order):
            for distance, parent in enumerate(reversed(self._order[:place])):
                drawn = rng.random() < self.instantaneous
                within[parent, child] = {"random": drawn, "chain": distance == 0, "full": True}[self.graph]
        before = np.zeros((count, count), np.uint8)
        fewest = (self.temporal > 0) + (self.temporal >= 0.5)
        for child in range(count):
            while True:
                before[:, child] = rng.random(count) < self.temporal
                if before[:, child].sum() >= fewest:
                    break
        return before, within

    @cached_property
    def _rows(self) -> list[Array]:
        """The variables in the order in which they are computed, those that can be at once together."""
        within = self._graphs[1]
        depth = [0] * self.number
        for child in self._order:
            depth[child] = max((depth[parent] + 1 for parent in np.flatnonzero(within[:, child])), default=0)
        return [np.flatnonzero(np.array(depth) == row) for row in range(max(depth) + 1)]

    @cached_property
    def _orphans(self) -> Array:
        """Bool [K]: variables without any parent, which are N(0.6, 1)."""
        found: Array = ~np.any(np.concatenate(self._graphs), axis=0)
        return found

    @cached_property
    def _calibrated(self) -> tuple[Mechanisms, Array]:
        """The mechanisms, and states float64 [STATES, K] that they lead to."""
        count, rng = self.number, self._random(2)
        fan_in = (2 * count, HIDDEN, HIDDEN)
        width = (HIDDEN, HIDDEN, 1)
        bounds = [math.sqrt(6 / (1 + LEAK**2) / size) for size in fan_in]  # Kaiming's
        weights = [
            rng.uniform(-bound, bound, (count, out, size))
            for bound, out, size in zip(bounds, width, fan_in, strict=True)
        ]
        # Each parent weighs as much as any other.
        weights[0] *= weights[0].std((1, 2), keepdims=True) / weights[0].std(1, keepdims=True)
        parents = np.concatenate(self._graphs).T == 1
        weights[0] *= parents[:, None, :]
        biases = [rng.uniform(-0.2, 0.2, (count, HIDDEN)) for _ in range(2)] + [np.zeros((count, 1))]
        means = [np.zeros((count, out)) for out in width]
        variances = [np.ones((count, out)) for out in width]

        def mean_of(variable: int, inputs: Array, training: bool) -> Array:
            inputs = inputs[:, parents[variable]]
            for layer in range(3):
                weight = weights[layer][variable] if layer else weights[layer][variable][:, parents[variable]]
                inputs = inputs @ weight.T + biases[layer][variable]
                mean, variance = means[layer][variable], variances[layer][variable]
                if training:
                    own_mean, own_variance = inputs.mean(0), inputs.var(0)
                    mean += MOMENTUM * (own_mean - mean)
                    variance += MOMENTUM * (own_variance - variance)
                    mean, variance = own_mean, own_variance
                inputs = (inputs - mean) / np.sqrt(variance + EPSILON)
                inputs = inputs if layer == 2 else np.maximum(inputs, LEAK * inputs)
            return inputs[:, 0]

        for _ in range(RESTARTS):
            states = rng.uniform(-self.limit, self.limit, (STATES, count))
            for step in range(STEPS):
                now = np.zeros_like(states)
                intervened = self._targets(STATES, rng)
                drawn, follows = self._drawn(intervened, rng.standard_normal((STATES, count)))
                for variable in self._order:
                    mean = mean_of(variable, np.concatenate([states, now], 1), step < STEPS - 1)
                    now[:, variable] = drawn[:, variable] + np.where(follows[:, variable], mean, 0)
                states = self.limit * np.tanh(now / 2)
        scales = [1 / np.sqrt(variance + EPSILON) for variance in variances]
        folded = [weight * scale[:, :, None] for weight, scale in zip(weights, scales, strict=True)]
        shifts = [(bias - mean) * scale for bias, mean, scale in zip(biases, means, scales, strict=True)]
        folded, shifts = ([np.rint(array / GRAIN) * GRAIN for array in arrays] for arrays in (folded, shifts))
        before, within = folded[0][:, :, :count], folded[0][:, :, count:]
        rest = shifts[0], folded[1], shifts[1], folded[2][:, 0], shifts[2][:, 0]
        return Mechanisms(*(np.ascontiguousarray(array) for array in (before, within, *rest))), states

    @cached_property
    def _mixing(self) -> tuple[list[Layer], tuple[Array, Array]]:
        """The layers of the mixing, and bias and scale [K] after them."""
        count, rng = self.number, self._random(3)
        values = self._unlimited(self._calibrated[1])
        layers = []
        for index in range(LAYERS):
            bias, scale = _normalised(values)
            rotation = _rotation(count, rng) if index else np.eye(count)
            first = WEIGHT * rng.standard_normal((count, UNITS, count)) * np.tri(count, k=-1)[:, None, :]
            first_bias, last = WEIGHT * rng.standard_normal((2, count, UNITS))
            layers.append(Layer(bias, scale, rotation, first, first_bias, last))
            values = _through(layers[-1], values)
        return layers, _normalised(values)

    @cached_property
    def _centres(self) -> Array:
        """Centres [K, 2] of the cells in pixels, y upwards."""
        rng, best, widest = self._random(4), np.zeros((self.number, 2)), -1.0
        for _ in range(DRAWS):
            centres = rng.uniform(*CENTRES, (self.number, 2))
            apart = np.linalg.norm(centres[:, None] - centres, axis=-1) + np.diag([np.inf] * self.number)
            if apart.min() > widest:
                best, widest = centres, float(apart.min())
            if widest >= APART:
                break
        return best

    # What happens

    def _drawn(self, intervened: Array, noise: Array) -> tuple[Array, Array]:
        """What a value is without its mechanism's mean, and whether the mean is part of it.

        Args:
            intervened: bool [n, K].
            noise: [n, K], standard normal.

        Returns:
            Float64 and bool [n, K].
        """
        free = np.where(self._orphans, 0.6 + noise, self.std * noise)
        forced = self.intervention_std * noise - np.where(self._orphans, 0.6, 0)
        return np.where(intervened, forced, free), ~(intervened | self._orphans)

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

    def step(self, state: Array, drawn: Array, follows: Array) -> Array:
        """The next state.

        Args:
            state: float64 [K].
            drawn: [K], the values before the limit, without their means.
            follows: bool [K], which variables follow their mechanisms, so that their means are added.

        Returns:
            float64 [K].
        """
        first = self._before @ state + self._first_biases
        now = drawn.copy()
        for variables, units, row in self._steps:
            hidden = first[units] if row.within is None else first[units] + row.within @ now
            hidden = np.maximum(hidden, LEAK * hidden)
            if row.middle.ndim == 2:
                hidden = row.middle @ hidden + row.middle_biases
                mean = row.last @ np.maximum(hidden, LEAK * hidden)
            else:
                hidden = (row.middle @ hidden.reshape(-1, HIDDEN, 1))[:, :, 0] + row.middle_biases
                mean = (row.last * np.maximum(hidden, LEAK * hidden)).sum(1)
            now[variables] += (mean + row.last_biases) * follows[variables]
        # Processors differ in the last bits of a sum, and a difference would grow from step to step.
        limited: Array = np.rint(self.limit / GRAIN * np.tanh(now / 2)) * GRAIN
        return limited

    @cached_property
    def _first_biases(self) -> Array:
        return self._calibrated[0].biases[self._sorted].reshape(-1)

    @cached_property
    def _before(self) -> Array:
        return self._calibrated[0].before[self._sorted].reshape(-1, self.number)

    @cached_property
    def _sorted(self) -> Array:
        """The variables, those of a row together."""
        return np.concatenate(self._rows)

    @cached_property
    def _steps(self) -> list[tuple[Any, slice, Row]]:
        """What is computed at once: which variables, which of all hidden units these are, and their mechanisms."""
        parts, steps, done = self._calibrated[0], [], 0
        for index, variables in enumerate(self._rows):
            alone = len(variables) == 1
            which: Any = int(variables[0]) if alone else variables
            within = parts.within[variables].reshape(-1, self.number) if index else None
            row = Row(within, *(part[which] for part in parts[3:]))
            steps.append((which, slice(done, done + HIDDEN * len(variables)), row))
            done += HIDDEN * len(variables)
        return steps

    def independent(self, count: int, rng: np.random.Generator) -> Array:
        """States float32 [count, K], each variable by itself: the limit of a standard normal number."""
        drawn: Array = self.limit * np.tanh(rng.standard_normal((count, self.number)) / 2)
        return drawn.astype(np.float32)

    # What it looks like

    def _unlimited(self, states: Array) -> Array:
        """The inverse of the soft limit, [n, K]; near the limits it stays where it is."""
        return np.arctanh(np.clip(states / self.limit, -INVERTED, INVERTED))

    def angles(self, latents: Array) -> Array:
        """The hue angles of the cells: the mixing.

        Args:
            latents: [n, K].

        Returns:
            float64 [n, K], each between ±7π/8.
        """
        values = self._unlimited(np.asarray(latents, np.float64))
        layers, (bias, scale) = self._mixing
        for layer in layers:
            values = _through(layer, values)
        mixed: Array = self.limit * np.tanh((values + bias) * scale / 2)
        return mixed

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

    @cached_property
    def _shares(self) -> Array:
        centres = self._centres * (1, -1) + (0, self.size)
        cells = []
        for index, centre in enumerate(centres):
            others = np.delete(centres, index, axis=0)
            normals = others - centre
            cells.append((normals, ((others + centre) / 2 * normals).sum(1)))
        return cell_shares(cells, self.size)


def _normalised(values: Array) -> tuple[Array, Array]:
    """Bias and scale [K] by which values [n, K] get mean 0 and variance 1."""
    return np.rint(-values.mean(0) / GRAIN) * GRAIN, np.rint(1 / values.std(0) / GRAIN) * GRAIN


def _rotation(count: int, rng: np.random.Generator) -> Array:
    """A random orthogonal matrix [count, count]; the signs make it uniform over all of them (Mezzadri, 2007)."""
    q, r = np.linalg.qr(rng.standard_normal((count, count)))
    turned: Array = q * np.sign(np.diagonal(r))
    return turned


def _through(layer: Layer, values: Array) -> Array:
    """Values [n, K] through a layer of the mixing."""
    values = (values + layer.bias) * layer.scale @ layer.rotation
    units = np.einsum("nj,kuj->nku", values, layer.first, optimize=True) + layer.first_bias
    units = units / (1 + np.exp(-units))  # SiLU
    shifted: Array = values + (units * layer.last).sum(-1)
    return shifted


def hue_colours(angles: Array) -> Array:
    """Colours uint8 [n, K, 3] of full saturation and value with these hues, angles in radians."""
    sixths = np.asarray(angles)[..., None] * (3 / math.pi) % 6
    red = np.abs(sixths - 3) - 1
    green, blue = 2 - np.abs(sixths - 2), 2 - np.abs(sixths - 4)
    colours = np.concatenate([red, green, blue], axis=-1).clip(0, 1)
    return np.floor(colours * 255 + 0.5).astype(np.uint8)


def cell_shares(cells: Sequence[tuple[Array, Array]], size: int) -> Array:
    """How much of each cell's colour every pixel gets, once all are drawn one over the other with black outlines.

    Where two cells meet, half of the first one's outline is under the second one's colour, and white shines through
    what neither covers of a pixel: Matplotlib's way.

    Args:
        cells: normals [m, 2] and offsets [m] of the lines around each, in pixels from the left and from the top, as
            :func:`~citris_cli.worlds.antialiasing.convex_cover` takes them; in the order in which they are drawn.
        size: width and height of the frame.

    Returns:
        float32 [len(cells) + 1, size * size], the last row that of white; whole numbers of 65536ths.
    """
    shares = np.zeros((len(cells) + 1, size, size))
    shares[-1] = 1
    for index, (normals, offsets) in enumerate(cells):
        half = OUTLINE / 2 * np.linalg.norm(normals, axis=1)
        inside = convex_cover(normals, offsets, size)
        outline = convex_cover(normals, offsets + half, size) - convex_cover(normals, offsets - half, size)
        shares *= 1 - inside
        shares[index] += inside
        shares *= 1 - outline
    for rim in (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]):
        shares[rim] *= 1 - RIM / 255
    return (np.floor(shares * 65536) / 65536).reshape(len(shares), -1).astype(np.float32)


def painted(colours: Array, shares: Array) -> Array:
    """Frames of cells in these colours.

    Every sum is exact in float32, in whatever order a processor takes it: whole numbers below 2^24.

    Args:
        colours: uint8 [n, K, 3].
        shares: as :func:`cell_shares` gives them.

    Returns:
        uint8 [n, size, size, 3].
    """
    size = math.isqrt(shares.shape[1])
    white = np.full((len(colours), 1, 3), 255, np.uint8)
    parts = np.concatenate([colours, white], axis=1).transpose(0, 2, 1).astype(np.float32)
    return (parts @ shares).astype(np.uint8).transpose(0, 2, 1).reshape(-1, size, size, 3)
