"""The random networks that give each variable's mean from its causes, calibrated, and a step of all variables."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from citris_cli.worlds.voronoi_parts.graph import Graph
from citris_cli.worlds.world import Array

#: Hidden units of a mechanism, and how steep its LeakyReLU is below 0.
HIDDEN, LEAK = 32, 0.1
#: States, restarts and steps of the simulation that calibrates the mechanisms, and the momentum of their statistics.
#: The paper's restarts are 20; after five more, with 20 steps that count, less than GRAIN is left of what was before.
#: Each begins at uniform angles: how is not told, and this spreads values about as far as the published ones.
STATES, RESTARTS, STEPS, MOMENTUM = 10_000, 5, 5, 0.5
#: What is added to a variance before it is divided by, as PyTorch's batch normalisation does.
EPSILON = 1e-5
#: States and what is calibrated are whole multiples of this: processors differ in the last bits of what they compute.
GRAIN = 2.0**-20


#: By a number of steps n and the source of randomness: what the variables are without their mechanisms' means, [n, K],
#: and which of them have these added, bool [n, K].
Shocks: TypeAlias = Callable[[int, np.random.Generator], tuple[Array, Array]]


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


def calibrated(graph: Graph, limit: float, shocks: Shocks, rng: np.random.Generator) -> tuple[Mechanisms, Array]:
    """Draw mechanisms and calibrate them on simulated steps.

    Args:
        graph: who acts on whom.
        limit: greatest value of a state.
        shocks: what else acts on the variables.
        rng: source of randomness.

    Returns:
        The mechanisms, and states float64 [STATES, K] that they lead to.
    """
    count = len(graph.order)
    fan_in = (2 * count, HIDDEN, HIDDEN)
    width = (HIDDEN, HIDDEN, 1)
    bounds = [math.sqrt(6 / (1 + LEAK**2) / size) for size in fan_in]  # Kaiming's
    weights = [
        rng.uniform(-bound, bound, (count, out, size)) for bound, out, size in zip(bounds, width, fan_in, strict=True)
    ]
    # Each parent weighs as much as any other.
    weights[0] *= weights[0].std((1, 2), keepdims=True) / weights[0].std(1, keepdims=True)
    parents = graph.parents
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
        states = rng.uniform(-limit, limit, (STATES, count))
        for step in range(STEPS):
            now = np.zeros_like(states)
            drawn, follows = shocks(STATES, rng)
            for variable in graph.order:
                mean = mean_of(variable, np.concatenate([states, now], 1), step < STEPS - 1)
                now[:, variable] = drawn[:, variable] + np.where(follows[:, variable], mean, 0)
            states = limit * np.tanh(now / 2)
    scales = [1 / np.sqrt(variance + EPSILON) for variance in variances]
    folded = [weight * scale[:, :, None] for weight, scale in zip(weights, scales, strict=True)]
    shifts = [(bias - mean) * scale for bias, mean, scale in zip(biases, means, scales, strict=True)]
    folded, shifts = ([np.rint(array / GRAIN) * GRAIN for array in arrays] for arrays in (folded, shifts))
    before, within = folded[0][:, :, :count], folded[0][:, :, count:]
    rest = shifts[0], folded[1], shifts[1], folded[2][:, 0], shifts[2][:, 0]
    return Mechanisms(*(np.ascontiguousarray(array) for array in (before, within, *rest))), states


class Steps:
    """Computes the states of one step after another, the variables that can be at once together.

    Args:
        mechanisms: of the variables.
        graph: who acts on whom.
        limit: greatest value of a state.
    """

    def __init__(self, mechanisms: Mechanisms, graph: Graph, limit: float) -> None:
        count = len(graph.order)
        self._limit = limit
        everything = np.concatenate(graph.rows)
        # One unit more, which is always 1: what the next layer takes of it is its bias.
        self._before = _padded(mechanisms.before[everything], 1).reshape(-1, count)
        self._biases = _padded(mechanisms.biases[everything], 1, value=1.0).reshape(-1)
        self._rows: list[tuple[Any, slice, _Row]] = []
        done = 0
        for index, variables in enumerate(graph.rows):
            within = _padded(mechanisms.within[variables], 1).reshape(-1, count) if index else None
            middle = np.concatenate([mechanisms.middle, mechanisms.middle_biases[:, :, None]], 2)[variables]
            middle = _padded(middle, 1)
            middle[:, -1, -1] = 1
            last = np.concatenate([mechanisms.last, mechanisms.last_biases[:, None]], 1)[variables]
            units = slice(done, done + (HIDDEN + 1) * len(variables))
            alone = len(variables) == 1
            which = int(variables[0]) if alone else variables
            row = _Row(alone, within, middle[0] if alone else middle, last[0] if alone else last)
            self._rows.append((which, units, row))
            done = units.stop

    def __call__(self, state: Array, drawn: Array, follows: Array) -> Array:
        """The next state.

        Args:
            state: float64 [K].
            drawn: [K], the values before the limit, without their means.
            follows: bool [K], which variables follow their mechanisms, so that their means are added.

        Returns:
            float64 [K].
        """
        first = self._before.dot(state)
        first += self._biases
        now = drawn.copy()
        following = follows.tolist()
        for variables, units, row in self._rows:
            if row.alone:  # NumPy's calls cost more than what they compute here, so there are as few as can be
                if following[variables]:
                    hidden = first[units]
                    if row.within is not None:
                        hidden += row.within.dot(now)
                    hidden = row.middle.dot(np.maximum(hidden, LEAK * hidden))
                    now[variables] += row.last.dot(np.maximum(hidden, LEAK * hidden))
            else:
                hidden = first[units]  # a view, used once
                if row.within is not None:
                    hidden += row.within.dot(now)
                hidden = np.maximum(hidden, LEAK * hidden).reshape(-1, HIDDEN + 1, 1)
                hidden = (row.middle @ hidden)[:, :, 0]
                means = (row.last * np.maximum(hidden, LEAK * hidden)).sum(1)
                now[variables] += means * follows[variables]
        # Processors differ in the last bits of a sum, and a difference would grow from step to step.
        limited: Array = np.rint(self._limit / GRAIN * np.tanh(now / 2)) * GRAIN
        return limited


class _Row(NamedTuple):
    """What :class:`Mechanisms` has of m variables that are computed at once, with the unit that is 1.

    Attributes:
        alone: whether it is one variable; without the first axis then.
        within: [m * (HIDDEN + 1), K], or None where nothing within the frame acts on them.
        middle: [m, HIDDEN + 1, HIDDEN + 1].
        last: [m, HIDDEN + 1].
    """

    alone: bool
    within: Array | None
    middle: Array
    last: Array


def _padded(array: Array, axis: int, value: float = 0.0) -> Array:
    """An array with one entry more at the end of an axis."""
    widths = [(0, int(at == axis)) for at in range(array.ndim)]
    return np.pad(array, widths, constant_values=value)
