"""What a step of training goes by, from finite differences of the plain losses.

The gradient of CITRIS-NF's loss is not its derivative: some of what the loss is computed from must not learn from it.
So the loss is written here as a function of two sets of weights: those that learn, and those from which comes what is
fixed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.parity import plain_classifier, plain_flow, plain_models, plain_priors
from tests.parity.plain_networks import Array, Weights, below

#: Endings of names and beginnings of names of what does not learn.
FIXED = ("permutation", "sign", "mean", "count", "running_var")
FROZEN = ("autoencoder.", "classifier.frozen.")


def groups(weights: Weights, depth: int) -> dict[str, list[str]]:
    """Names of the weights that learn, in groups that have the first ``depth`` parts of their names in common."""
    out: dict[str, list[str]] = {}
    for name in sorted(weights):
        if not name.endswith(FIXED) and not name.startswith(FROZEN):
            out.setdefault(".".join(name.split(".")[:depth]), []).append(name)
    return out


def direction(shape: tuple[int, ...]) -> Array:
    """The direction in which a weight of this shape is moved: ``cos(0), cos(1), …``."""
    return np.cos(np.arange(np.prod(shape, dtype=int))).reshape(shape)


def citris_nf_loss(settings: dict[str, Any], weights: Weights, fixed: Weights, given: dict[str, Array]) -> float:
    """The training loss, of which ``weights`` learn; with ``weights`` equal to ``fixed`` it is the loss's own value.

    - The samples of psi are one-hot, with the gradient of the soft samples.
    - Interventional parameters of the prior learn from ``sum_m sum_k I_k NLL_intv[m,k]`` of fixed z, nothing else.
    - ``L_model`` teaches the classifier alone, ``L_z`` everything but the classifier.
    """
    z, ldj = latents(settings, weights, given)
    fixed_z, _ = latents(settings, fixed, given)
    logits, uniform, targets = weights["assignment.logits"], given["uniform"], given["targets"]
    one_hot = plain_classifier.gumbel_sample(fixed["assignment.logits"], uniform, 1.0)
    soft, fixed_soft = (
        plain_classifier.softmax(plain_classifier.perturbed(of, uniform, 1.0))
        for of in (logits, fixed["assignment.logits"])
    )
    psi = one_hot + soft - fixed_soft

    prior, fixed_prior = below(weights, "prior"), below(fixed, "prior")
    own = 0.0
    if "intervened" in prior:
        own = intervened_nll(prior, fixed_z[:, 1], targets) - intervened_nll(fixed_prior, fixed_z[:, 1], targets)
        prior["intervened"] = fixed_prior["intervened"]
    p = plain_classifier.softmax(logits)
    nll = plain_models.nll_of(settings)(prior, z[:, 0], z[:, 1], targets, p, psi, settings["regulariser"], True)
    nll = (nll + ldj[:, 1].mean(axis=1)).mean() + own

    moved = plain_classifier.after_batch(below(fixed, "classifier"), targets, settings["momentum"])
    learning = moved | {name: w for name, w in below(weights, "classifier").items() if name.startswith("network.")}
    steps, conditional = targets[:, None], settings["conditional"]
    model, _ = plain_classifier.classifier_losses(learning, fixed_z[:, :, 0], steps, one_hot, conditional)
    _, of_latents = plain_classifier.classifier_losses(moved, z[:, :, 0], steps, psi, conditional)
    return nll + model + settings["classifier_weight"] * of_latents


def latents(settings: dict[str, Any], weights: Weights, given: dict[str, Array]) -> tuple[Array, Array]:
    """z [B, 2, S, M] and ldj [B, 2, S] of noisy encodings."""
    x = given["encodings"][:, :, None] + settings["noise_scale"] * settings["noise"] * given["noise"]
    z, ldj = plain_flow.flow(below(weights, "flow"), x.reshape(-1, x.shape[-1]))
    return z.reshape(x.shape), ldj.reshape(x.shape[:-1])


def intervened_nll(prior: Weights, z_t1: Array, targets: Array) -> float:
    """``mean_B sum_m sum_k I_k NLL_intv[m,k]``, the mean over samples [B, S, M]."""
    total = 0.0
    for b, s, m in np.ndindex(*z_t1.shape):
        for k in np.flatnonzero(targets[b]):
            total += plain_priors.gaussian_nll(tuple(prior["intervened"][m, k]), z_t1[b, s, m])
    return total / z_t1[:, :, 0].size


def slopes(loss: Callable[[Weights], float], weights: Weights, depth: int) -> Array:
    """Derivative of a loss of the weights in the direction of every group of them, one after the other.

    By central differences with three steps, extrapolated to a step of 0 (Richardson).
    """

    def moved(names: list[str], step: float) -> float:
        return loss(weights | {name: weights[name] + step * direction(weights[name].shape) for name in names})

    out = []
    for names in groups(weights, depth).values():
        steps = (2e-4, 4e-4, 8e-4)
        short, middle, long = ((moved(names, step) - moved(names, -step)) / (2 * step) for step in steps)
        out.append((16 * (4 * short - middle) / 3 - (4 * middle - long) / 3) / 15)
    return np.array(out)
