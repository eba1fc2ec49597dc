"""The assignment and the target classifier in plain NumPy: a loop over windows, steps, masks and targets."""

from __future__ import annotations

import numpy as np

from tests.parity.plain_networks import Array, Weights, below, layer_norm, linear, sigmoid, silu


def softmax(logits: Array) -> Array:
    """``exp(l) / sum exp(l)`` over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def perturbed(logits: Array, uniform: Array, temperature: float) -> Array:
    """Logits with Gumbel noise, ``(l - log(-log u)) / temperature``: [M, C] and [B, M, C] -> [B, M, C]."""
    return (logits - np.log(-np.log(uniform))) / temperature


def gumbel_sample(logits: Array, uniform: Array, temperature: float) -> Array:
    """One-hot samples [B, M, C]: 1 where the perturbed logit is the largest."""
    scores = perturbed(logits, uniform, temperature)
    sample = np.zeros_like(scores)
    for b, m in np.ndindex(*scores.shape[:2]):
        sample[b, m, scores[b, m].argmax()] = 1
    return sample


def gumbel_gradient(logits: Array, uniform: Array, temperature: float, of_sample: Array) -> Array:
    """Gradient of the logits [M, C], for that of the samples [B, M, C] taken as that of the soft ones.

    By central differences of ``sum(of_sample * softmax((l - log(-log u)) / temperature))``, with the step extrapolated
    to 0 (Richardson), which leaves an error of the order of 1e-11.
    """

    def value(moved: Array) -> float:
        return float((of_sample * softmax(perturbed(moved, uniform, temperature))).sum())

    def difference(place: tuple[int, ...], step: float) -> float:
        up, down = logits.copy(), logits.copy()
        up[place] += step
        down[place] -= step
        return (value(up) - value(down)) / (2 * step)

    gradient = np.zeros_like(logits)
    for place in np.ndindex(*logits.shape):
        gradient[place] = (4 * difference(place, 1e-3) - difference(place, 2e-3)) / 3
    return gradient


def network(weights: Weights, x: Array) -> Array:
    """MLP [3M] -> K logits: a linear map, LayerNorm and SiLU for every hidden layer, a linear map."""
    number = 0
    while f"{number + 1}.weight" in weights:
        x = silu(layer_norm(below(weights, f"{number + 1}"), linear(below(weights, f"{number}"), x)))
        number += 3
    return linear(below(weights, f"{number}"), x)


def cross_entropy(logit: float, probability: float) -> float:
    """``-p log sigmoid(l) - (1 - p) log(1 - sigmoid(l))``."""
    told = sigmoid(logit)
    return -probability * np.log(told) - (1 - probability) * np.log(1 - told)


def classifier_losses(
    weights: Weights, z: Array, targets: Array, sample: Array, conditional: bool
) -> tuple[float, float]:
    """``L_model`` and ``L_z`` with the running means and the frozen network as they are.

    Both are means over windows and targets of sums over steps and masks. The masks are the latents of each variable,
    those of psi(0) and all latents.

    Args:
        weights: of the classifier.
        z: [B, T, M].
        targets: [B, T-1, K].
        sample: one-hot [B, M, K+1].
        conditional: whether latents of variable k may tell p(I_i | I_k).
    """
    batch, steps, variables = targets.shape
    model, latents = 0.0, 0.0
    for b, t, mask in np.ndindex(batch, steps, variables + 2):
        m = np.ones(z.shape[2]) if mask == variables + 1 else sample[b, :, mask]
        seen = np.concatenate([z[b, t], z[b, t + 1] * m, m])
        learned, frozen = (network(below(weights, name), seen) for name in ("network", "frozen"))
        for i in range(variables):
            true = float(targets[b, t, i])
            model += cross_entropy(learned[i], true)
            if mask in (i, variables + 1):
                latents += variables * cross_entropy(frozen[i], true)
            elif conditional and mask < variables:
                told = weights["conditional_mean"][mask, int(targets[b, t, mask]), i]
                latents += cross_entropy(frozen[i], told)
            else:
                latents += cross_entropy(frozen[i], weights["mean"][i])
    return model / (batch * variables), latents / (batch * variables)


def after_batch(weights: Weights, targets: Array, momentum: float) -> Weights:
    """The classifier's weights after the running means have seen targets [B, T-1, K] and the frozen copy has moved.

    ``mean[i]`` is the mean of I_i over all steps seen, ``conditional_mean[j, v, i]`` that over those with I_j = v;
    ``frozen <- momentum frozen + (1 - momentum) network``.
    """
    weights = {name: np.array(value, dtype=np.float64) for name, value in weights.items()}
    for row in targets.reshape(-1, targets.shape[-1]):
        weights["count"] += 1
        weights["mean"] += (row - weights["mean"]) / weights["count"]
        for j, value in enumerate(row):
            place = j, int(value)
            weights["conditional_count"][place] += 1
            away = row - weights["conditional_mean"][place]
            weights["conditional_mean"][place] += away / weights["conditional_count"][place]
    for name in weights:
        if name.startswith("frozen."):
            learned = weights["network." + name.removeprefix("frozen.")]
            weights[name] = momentum * weights[name] + (1 - momentum) * learned
    return weights
