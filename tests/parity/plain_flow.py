"""The normalizing flow in plain NumPy: explicit masks, W as a matrix, every variable's inverse on its own.

``ldj = -log|det dz/dx|``. Weights by the names of the flow's state dictionary: ``transforms.0``, ``transforms.1``, …
"""

from __future__ import annotations

from functools import cache

import numpy as np

from tests.parity.plain_networks import Array, Weights, below, silu


@cache
def block_mask(variables: int, outputs: int, inputs: int, strict: bool) -> Array:
    """[variables outputs, variables inputs]: output block i sees input blocks j < i, and its own unless ``strict``."""
    mask = np.zeros((variables * outputs, variables * inputs))
    for row in range(variables * outputs):
        for column in range(variables * inputs):
            i, j = row // outputs, column // inputs
            mask[row, column] = j < i or (j == i and not strict)
    return mask


def masked_linear(weights: Weights, x: Array, variables: int, strict: bool = False) -> Array:
    """``(W * mask) x + b``: [..., variables inputs] -> [..., variables outputs]."""
    outputs, inputs = (size // variables for size in weights["weight"].shape)
    return x @ (weights["weight"] * block_mask(variables, outputs, inputs, strict)).T + weights["bias"]


def act_norm(weights: Weights, x: Array) -> tuple[Array, Array]:
    """``z = (x + b) exp(s)``, s clamped to [-3, 3]."""
    s = np.clip(weights["log_scale"], -3, 3)
    return (x + weights["bias"]) * np.exp(s), np.full(len(x), -s.sum())


def act_norm_inverse(weights: Weights, z: Array) -> Array:
    """``x = z exp(-s) - b``."""
    return z / np.exp(np.clip(weights["log_scale"], -3, 3)) - weights["bias"]


def linear_matrix(weights: Weights) -> Array:
    """``W = P L (U + diag(sign exp(log_s)))``, L unit lower triangular, U strictly upper triangular."""
    lower = np.tril(weights["lower"], -1) + np.eye(len(weights["sign"]))
    upper = np.triu(weights["upper"], 1) + np.diag(weights["sign"] * np.exp(weights["log_diagonal"]))
    return weights["permutation"] @ lower @ upper


def invertible_linear(weights: Weights, x: Array) -> tuple[Array, Array]:
    """``z = x W``, with the determinant of W itself."""
    matrix = linear_matrix(weights)
    return x @ matrix, np.full(len(x), -np.log(np.abs(np.linalg.det(matrix))))


def translation_and_scale(weights: Weights, x: Array) -> tuple[Array, Array]:
    """t and s [B, M] of the autoregressive affine map; those of variable i depend on x_1 … x_{i-1} alone.

    ``s <- tanh(s / max(c, 1)) c`` with ``c = 3 tanh(exp(scaling) / 3)``.
    """
    latents = x.shape[1]
    hidden = silu(masked_linear(below(weights, "first"), x, latents, strict=True))
    hidden = silu(masked_linear(below(weights, "middle"), hidden, latents))
    out = masked_linear(below(weights, "last"), hidden, latents)
    t, s = np.zeros_like(x), np.zeros_like(x)
    for i in range(latents):
        c = 3 * np.tanh(np.exp(weights["scaling"][i]) / 3)
        t[:, i] = out[:, 2 * i]
        s[:, i] = np.tanh(out[:, 2 * i + 1] / max(c, 1)) * c
    return t, s


def affine(weights: Weights, x: Array) -> tuple[Array, Array]:
    """``z_i = (x_i + t_i) exp(s_i)``."""
    t, s = translation_and_scale(weights, x)
    return (x + t) * np.exp(s), -s.sum(axis=1)


def affine_inverse(weights: Weights, z: Array) -> Array:
    """``x_i = z_i exp(-s_i) - t_i``, variable by variable, the whole network every time."""
    x = np.zeros_like(z)
    for i in range(z.shape[1]):
        t, s = translation_and_scale(weights, x)
        x[:, i] = z[:, i] / np.exp(s[:, i]) - t[:, i]
    return x


def transforms(weights: Weights) -> list[Weights]:
    """The weights of the flow's transforms, in order."""
    count = len({name.split(".")[1] for name in weights})
    return [below(weights, f"transforms.{number}") for number in range(count)]


def flow(weights: Weights, x: Array) -> tuple[Array, Array]:
    """x [B, M] -> z [B, M] and the sum of ldj over all transforms [B]."""
    total = np.zeros(len(x))
    for own in transforms(weights):
        if "log_scale" in own:
            x, ldj = act_norm(own, x)
        elif "permutation" in own:
            x, ldj = invertible_linear(own, x)
        else:
            x, ldj = affine(own, x)
        total += ldj
    return x, total


def flow_inverse(weights: Weights, z: Array) -> Array:
    """z [B, M] -> x [B, M]."""
    for own in reversed(transforms(weights)):
        if "log_scale" in own:
            z = act_norm_inverse(own, z)
        elif "permutation" in own:
            z = z @ np.linalg.inv(linear_matrix(own))
        else:
            z = affine_inverse(own, z)
    return z


def initialised(weights: Weights, x: Array) -> Weights:
    """The flow's weights after every ActNorm was set from a batch x [B, M] as it arrives there: mean 0, variance 1."""
    weights = dict(weights)
    for number, own in enumerate(transforms(weights)):
        if "log_scale" in own:
            own["bias"] = -x.mean(axis=0)
            own["log_scale"] = -0.5 * np.log(((x + own["bias"]) ** 2).mean(axis=0))
            weights[f"transforms.{number}.bias"] = own["bias"]
            weights[f"transforms.{number}.log_scale"] = own["log_scale"]
            x, _ = act_norm(own, x)
        elif "permutation" in own:
            x, _ = invertible_linear(own, x)
        else:
            x, _ = affine(own, x)
    return weights
