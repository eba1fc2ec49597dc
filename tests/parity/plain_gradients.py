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


def straight_through(weights: Weights, fixed: Weights, uniform: Array) -> tuple[Array, Array]:
    """Samples of psi [B, M, K+1]: one-hot with the derivative of the soft ones, and one-hot."""
    one_hot = plain_classifier.gumbel_sample(fixed["assignment.logits"], uniform, 1.0)
    soft, fixed_soft = (
        plain_classifier.softmax(plain_classifier.perturbed(of["assignment.logits"], uniform, 1.0))
        for of in (weights, fixed)
    )
    return one_hot + soft - fixed_soft, one_hot


def prior_without(weights: Weights, fixed: Weights) -> Weights:
    """The prior's weights, the interventional parameters fixed."""
    prior = below(weights, "prior")
    return prior | {name: value for name, value in below(fixed, "prior").items() if name == "intervened"}


def intervened_score(weights: Weights, targets: Array, score: Callable[[int, int, plain_priors.Gaussian], float]):
    """``mean_B sum_m sum_k I_k score[m,k]`` of the interventional parameters, if there are any.

    Args:
        weights: of the model.
        targets: [B, K].
        score: of latent m in row b under a Gaussian.
    """
    total, parameters = 0.0, weights.get("prior.intervened", np.zeros((0, targets.shape[1], 2)))
    for b, m, k in np.ndindex(len(targets), *parameters.shape[:2]):
        if targets[b, k] == 1:
            total += score(b, m, tuple(parameters[m, k])) / len(targets)
    return total


def classifier_losses(
    settings: dict[str, Any],
    weights: Weights,
    fixed: Weights,
    targets: Array,
    of_model: tuple[Array, Array],
    of_latents: tuple[Array, Array],
) -> tuple[float, float]:
    """``L_model`` of a classifier that learns and ``L_z`` of a fixed one, after its running means have moved.

    Args:
        settings: of the part.
        weights, fixed: of the model.
        targets: [B, T-1, K].
        of_model: z [B, T, M] and psi [B, M, K+1] as ``L_model`` sees them.
        of_latents: the same for ``L_z``.
    """
    moved = plain_classifier.after_batch(below(fixed, "classifier"), targets, settings["momentum"])
    learning = moved | {name: w for name, w in below(weights, "classifier").items() if name.startswith("network.")}
    z, psi = of_model
    model, _ = plain_classifier.classifier_losses(learning, z, targets, psi, settings["conditional"])
    z, psi = of_latents
    _, latents = plain_classifier.classifier_losses(moved, z, targets, psi, settings["conditional"])
    return model, latents


def citris_nf_loss(settings: dict[str, Any], weights: Weights, fixed: Weights, given: dict[str, Array]) -> float:
    """The training loss, of which ``weights`` learn; with ``weights`` equal to ``fixed`` it is the loss's own value.

    - The samples of psi are one-hot, with the gradient of the soft samples.
    - Interventional parameters of the prior learn from ``sum_m sum_k I_k NLL_intv[m,k]`` of fixed z, nothing else.
    - ``L_model`` teaches the classifier alone, ``L_z`` everything but the classifier.
    """
    z, ldj = latents(settings, weights, given)
    fixed_z, _ = latents(settings, fixed, given)
    psi, one_hot = straight_through(weights, fixed, given["uniform"])
    p, targets = plain_classifier.softmax(weights["assignment.logits"]), given["targets"]
    prior = prior_without(weights, fixed)
    nll = plain_models.nll_of(settings)(prior, z[:, 0], z[:, 1], targets, p, psi, settings["regulariser"], True)
    nll = (nll + ldj[:, 1].mean(axis=1)).mean()

    def score(b: int, m: int, of: plain_priors.Gaussian) -> float:
        return np.mean([plain_priors.gaussian_nll(of, value) for value in fixed_z[b, 1, :, m]])

    nll += intervened_score(weights, targets, score) - intervened_score(fixed, targets, score)
    model, of_latents = classifier_losses(
        settings, weights, fixed, targets[:, None], (fixed_z[:, :, 0], one_hot), (z[:, :, 0], psi)
    )
    return nll + model + settings["classifier_weight"] * of_latents


def citris_vae_loss(settings: dict[str, Any], weights: Weights, fixed: Weights, given: dict[str, Array]) -> float:
    """The same of CITRIS-VAE, divergences in the places of the NLLs where there is no flow."""
    psi, one_hot = straight_through(weights, fixed, given["uniform"])
    targets = given["targets"]
    kl = plain_models.divergence(settings, weights, prior_without(weights, fixed), psi, given, training=True)
    mean, log_std, _, fixed_z, _ = plain_models.widened(settings, fixed, given)
    steps = targets.shape[1]
    for t in range(steps):

        def score(b: int, m: int, of: plain_priors.Gaussian, later: int = t + 1) -> float:
            return plain_priors.gaussian_kl((mean[b, later, m], log_std[b, later, m]), of)

        of_step = [intervened_score(of, targets[:, t], score) for of in (weights, fixed)]
        kl += (of_step[0] - of_step[1]) / steps
    rec = plain_models.reconstruction(settings, weights, given)
    _, _, _, z, _ = plain_models.widened(settings, weights, given)
    model, of_latents = classifier_losses(settings, weights, fixed, targets, (fixed_z, one_hot), (z, psi))
    return settings["kl_weight"] * kl + rec + settings["classifier_weight"] * (model + of_latents)


def latents(settings: dict[str, Any], weights: Weights, given: dict[str, Array]) -> tuple[Array, Array]:
    """z [B, 2, S, M] and ldj [B, 2, S] of noisy encodings."""
    x = given["encodings"][:, :, None] + settings["noise_scale"] * settings["noise"] * given["noise"]
    z, ldj = plain_flow.flow(below(weights, "flow"), x.reshape(-1, x.shape[-1]))
    return z.reshape(x.shape), ldj.reshape(x.shape[:-1])


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
