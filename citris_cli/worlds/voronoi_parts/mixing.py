"""The invertible map that mixes the variables: two layers of a flow with random weights, normalised on states."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from citris_cli.worlds.voronoi_parts.mechanisms import GRAIN
from citris_cli.worlds.world import Array

#: Greatest share of the range at which the soft limit is inverted.
INVERTED = 0.99
#: Layers of the mixing, hidden units of its shifts for each variable, and the standard deviation of their weights.
LAYERS, UNITS, WEIGHT = 2, 16, 0.2


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


class Mixing(NamedTuple):
    """The whole map.

    Attributes:
        layers: one after another.
        bias, scale: [K], after them.
        limit: greatest value of a state, and of an angle.
    """

    layers: list[Layer]
    bias: Array
    scale: Array
    limit: float

    def angles(self, latents: Array) -> Array:
        """The hue angles of the cells.

        Args:
            latents: states [n, K].

        Returns:
            float64 [n, K], each between ± the limit.
        """
        values = _unlimited(np.asarray(latents, np.float64), self.limit)
        for layer in self.layers:
            values = _through(layer, values)
        mixed: Array = self.limit * np.tanh((values + self.bias) * self.scale / 2)
        return mixed


def random_mixing(states: Array, limit: float, rng: np.random.Generator) -> Mixing:
    """Draw a mixing.

    Args:
        states: [n, K] on which it is normalised.
        limit: greatest value of a state.
        rng: source of randomness.
    """
    count = states.shape[1]
    values = _unlimited(states, limit)
    layers = []
    for index in range(LAYERS):
        bias, scale = _normalised(values)
        rotation = _rotation(count, rng) if index else np.eye(count)
        first = WEIGHT * rng.standard_normal((count, UNITS, count)) * np.tri(count, k=-1)[:, None, :]
        first_bias, last = WEIGHT * rng.standard_normal((2, count, UNITS))
        layers.append(Layer(bias, scale, rotation, first, first_bias, last))
        values = _through(layers[-1], values)
    return Mixing(layers, *_normalised(values), limit)


def _unlimited(states: Array, limit: float) -> Array:
    """The inverse of the soft limit, [n, K]; near the limits it stays where it is."""
    return np.arctanh(np.clip(states / limit, -INVERTED, INVERTED))


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
