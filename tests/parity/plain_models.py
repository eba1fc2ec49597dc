"""Whole losses, the heads of the causal encoder, distances between factors and AdamW, in plain NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.parity import plain_classifier, plain_flow, plain_networks, plain_priors
from tests.parity.plain_networks import Array, Weights, below

Settings = dict[str, Any]
Prior = Callable[..., Array]


def nll_of(settings: Settings) -> Prior:
    """The NLL of the form of the prior that the settings name."""
    if settings["prior"] == "autoregressive":
        perfect = not settings["imperfect"]
        return lambda *given: plain_priors.autoregressive_nll(*given, perfect=perfect)
    return plain_priors.mlp_imperfect_nll if settings["imperfect"] else plain_priors.mlp_perfect_nll


def kl_of(settings: Settings) -> Prior:
    """The divergence of the form of the prior that the settings name."""
    if settings["prior"] == "autoregressive":
        perfect = not settings["imperfect"]
        return lambda *given: plain_priors.autoregressive_kl(*given, perfect=perfect)
    return plain_priors.mlp_imperfect_kl if settings["imperfect"] else plain_priors.mlp_perfect_kl


def autoencoder_loss(settings: Settings, weights: Weights, images: Array, noise: Array) -> float:
    """``MSE(decoder(encoder(x) + sigma noise), x) + lambda mean(encoder(x)^2)``, batch statistics as stored."""
    x = plain_networks.conv_encoder(below(weights, "encoder"), images, settings["patch"])
    shown = plain_networks.conv_decoder(
        below(weights, "decoder"),
        x + settings["noise"] * noise,
        settings["blocks"],
        settings["patch"],
        settings["width"],
    )
    return ((shown - images) ** 2).mean() + settings["latent_penalty"] * (x**2).mean()


def classifier_parts(
    settings: Settings, weights: Weights, z: Array, targets: Array, psi: Array, training: bool
) -> tuple[float, float]:
    """``L_model`` and ``L_z`` of windows z [B, T, M]; in training running means and frozen copy move first."""
    own = below(weights, "classifier")
    if training:
        own = plain_classifier.after_batch(own, targets, settings["momentum"])
    return plain_classifier.classifier_losses(own, z, targets, psi, settings["conditional"])


def citris_nf_loss(settings: Settings, weights: Weights, given: dict[str, Array], training: bool) -> dict[str, Any]:
    """``mean_B(NLL + mean_S ldj of the later frame) + L_model + beta L_z`` and its parts.

    Args:
        settings: of the part.
        weights: of the model.
        given: encodings [B, 2, M], their noise [B, 2, S, M], targets [B, K], the assignment's noise [B, M, K+1].
        training: whether in training mode.
    """
    x = given["encodings"][:, :, None] + settings["noise_scale"] * settings["noise"] * given["noise"]
    z, ldj = plain_flow.flow(below(weights, "flow"), x.reshape(-1, x.shape[-1]))
    z, ldj = z.reshape(x.shape), ldj.reshape(x.shape[:-1])
    logits = weights["assignment.logits"]
    p = plain_classifier.softmax(logits)
    psi = plain_classifier.gumbel_sample(logits, given["uniform"], 1.0)
    nll = nll_of(settings)(
        below(weights, "prior"), z[:, 0], z[:, 1], given["targets"], p, psi, settings["regulariser"], training
    )
    nll = (nll + ldj[:, 1].mean(axis=1)).mean()
    # One of the noisy copies serves the classifier: the first.
    model, latents = classifier_parts(settings, weights, z[:, :, 0], given["targets"][:, None], psi, training)
    loss = nll + model + settings["classifier_weight"] * latents
    return {"loss": loss, "nll": nll, "classifier": model, "latents": latents}


def posterior(settings: Settings, weights: Weights, given: dict[str, Array]) -> tuple[Array, Array]:
    """Mean and log-std [B, T, M] of the posteriors of all frames [B, T, 3, W, W]."""
    frames, shape = given["frames"], given["noise"].shape
    frames = frames.reshape(-1, *frames.shape[2:])
    mean, log_std = plain_networks.gaussian_encoder(below(weights, "encoder"), frames, settings["networks"])
    return mean.reshape(shape), log_std.reshape(shape)


def widened(settings: Settings, weights: Weights, given: dict[str, Array]) -> tuple[Array, Array, Array, Array, Array]:
    """What prior and classifier see, the posterior ``noise_scale`` times as wide as the one that the decoder sees.

    Returns:
        Its mean, log-std and sample x, and z after the flow if there is one, [B, T, M]; ldj [B, T].
    """
    mean, log_std = posterior(settings, weights, given)
    log_std = log_std + math.log(settings["noise_scale"])
    x = mean + np.exp(log_std) * given["noise"]
    if not settings["flow_layers"]:
        return mean, log_std, x, x, np.zeros(x.shape[:2])
    z, ldj = plain_flow.flow(below(weights, "flow"), x.reshape(-1, x.shape[-1]))
    return mean, log_std, x, z.reshape(x.shape), ldj.reshape(x.shape[:2])


def divergence(
    settings: Settings, weights: Weights, prior: Weights, psi: Array, given: dict[str, Array], training: bool
) -> float:
    """``mean_B sum_t KL_t / (T-1)``.

    Behind a flow it is ``log q(x) - log|det dz/dx| - log p(z)`` of the sample, x and z before and after the flow.
    """
    mean, log_std, x, z, ldj = widened(settings, weights, given)
    p = plain_classifier.softmax(weights["assignment.logits"])
    score = (nll_of if settings["flow_layers"] else kl_of)(settings)
    total = np.zeros(len(z))
    for t in range(1, z.shape[1]):
        told = given["targets"][:, t - 1], p, psi, settings["regulariser"]
        if settings["flow_layers"]:
            nll = score(prior, z[:, t - 1, None], z[:, t, None], *told, training)  # one sample of each
            log_q = -posterior_nll(mean[:, t], log_std[:, t], x[:, t])
            total += log_q + ldj[:, t] + nll
        else:
            total += score(prior, mean[:, t], log_std[:, t], z[:, t - 1], z[:, t], *told)
    return total.mean() / (z.shape[1] - 1)


def reconstruction(settings: Settings, weights: Weights, given: dict[str, Array]) -> float:
    """``mean_B sum_t |x_t - x_hat_t|^2 / (T-1)`` of the frames after the first."""
    mean, log_std = posterior(settings, weights, given)
    shown = mean + np.exp(log_std) * given["noise"]
    total = 0.0
    for t in range(1, shown.shape[1]):
        decoded = plain_networks.vae_decoder(below(weights, "decoder"), shown[:, t], settings["networks"])
        total += ((decoded - given["frames"][:, t]) ** 2).sum() / len(shown)
    return total / (shown.shape[1] - 1)


def citris_vae_loss(settings: Settings, weights: Weights, given: dict[str, Array], training: bool) -> dict[str, Any]:
    """``beta_t1 KL + reconstruction + beta (L_model + L_z)`` and its parts.

    Args:
        settings: of the part.
        weights: of the model.
        given: frames [B, T, 3, W, W], noise [B, T, M], targets [B, T-1, K], the assignment's noise [B, M, K+1].
        training: whether in training mode, except for the normalisations, whose statistics stay as they are.
    """
    psi = plain_classifier.gumbel_sample(weights["assignment.logits"], given["uniform"], 1.0)
    kl = divergence(settings, weights, below(weights, "prior"), psi, given, training)
    rec = reconstruction(settings, weights, given)
    _, _, _, z, _ = widened(settings, weights, given)
    model, latents = classifier_parts(settings, weights, z, given["targets"], psi, training)
    loss = settings["kl_weight"] * kl + rec + settings["classifier_weight"] * (model + latents)
    return {"loss": loss, "kl": kl, "reconstruction": rec, "classifier": model, "latents": latents}


def posterior_nll(mean: Array, log_std: Array, x: Array) -> Array:
    """``-log q(x)`` of a diagonal Gaussian, summed over latents: [B, M] each -> [B]."""
    out = np.zeros(len(x))
    for b, m in np.ndindex(*x.shape):
        out[b] += plain_priors.gaussian_nll((mean[b, m], log_std[b, m]), x[b, m])
    return out


# The causal encoder and factors


def heads(weights: Weights, features: Array, factors: Sequence[dict[str, Any]]) -> list[Array]:
    """What every factor's linear head gives for features [B, c]."""
    return [plain_networks.linear(below(weights, f"heads.{i}"), features) for i in range(len(factors))]


def predicted(outputs: Sequence[Array], factors: Sequence[dict[str, Any]]) -> Array:
    """Values [B, F] that the heads' outputs stand for."""
    out = np.zeros((len(outputs[0]), len(factors)))
    for i, (v, factor) in enumerate(zip(outputs, factors, strict=True)):
        for b in range(len(out)):
            if factor["kind"] == "continuous":  # u in -2 ... 2 is the whole range
                u = 2 * math.tanh(v[b, 0] / 2)
                out[b, i] = factor["low"] + (u + 2) / 4 * (factor["high"] - factor["low"])
            elif factor["kind"] == "angle":  # v points to (sin, cos)
                out[b, i] = math.atan2(v[b, 0], v[b, 1]) % (2 * math.pi)
            else:
                out[b, i] = v[b].argmax()
    return out


def head_losses(
    outputs: Sequence[Array], truth: Array, factors: Sequence[dict[str, Any]], norm_penalty: float
) -> dict[str, float]:
    """Loss of every kind of factor, the mean over rows.

    Continuous: ``(u - u_true)^2``; angle: ``1 - cos(v, (sin, cos)) + penalty (2 - |v|)^2``; categorical: cross-entropy.
    """
    losses = {"continuous": 0.0, "angle": 0.0, "categorical": 0.0}
    for i, (v, factor) in enumerate(zip(outputs, factors, strict=True)):
        for b in range(len(truth)):
            true = truth[b, i]
            if factor["kind"] == "continuous":
                u_true = 4 * (true - factor["low"]) / (factor["high"] - factor["low"]) - 2
                loss = (2 * math.tanh(v[b, 0] / 2) - u_true) ** 2
            elif factor["kind"] == "angle":
                norm = math.hypot(*v[b])
                similarity = (v[b, 0] * math.sin(true) + v[b, 1] * math.cos(true)) / norm
                loss = 1 - similarity + norm_penalty * (2 - norm) ** 2
            else:
                loss = -math.log(plain_classifier.softmax(v[b])[int(true)])
            losses[factor["kind"]] += loss / len(truth)
    return losses


def factor_distances(values: Array, others: Array, factors: Sequence[dict[str, Any]]) -> tuple[Array, Array]:
    """Distances [N, F] (``|a - b|``, degrees the short way around, 0 or 1), and over half the range, 180 and 1."""
    distance, scaled = np.zeros_like(values), np.zeros_like(values)
    for (n, i), value in np.ndenumerate(values):
        factor, away = factors[i], abs(value - others[n, i])
        if factor["kind"] == "continuous":
            distance[n, i], unit = away, (factor["high"] - factor["low"]) / 2
        elif factor["kind"] == "angle":
            away %= 2 * math.pi
            distance[n, i], unit = math.degrees(min(away, 2 * math.pi - away)), 180
        else:
            distance[n, i], unit = float(away != 0), 1
        scaled[n, i] = distance[n, i] / unit
    return distance, scaled


# AdamW


def adamw(groups: Sequence[dict[str, Any]], parameters: Sequence[Array], gradients: Array, clip: float):
    """AdamW with clipping, betas 0.9 and 0.999, eps 1e-8.

    Every step: all gradients times ``min(1, clip / (norm + 1e-6))``, their norm taken together; then ``m <- 0.9 m +
    0.1 g``, ``v <- 0.999 v + 0.001 g^2``, ``w <- w (1 - lr decay) - lr m^ / (sqrt(v^) + eps)`` with ``m^ = m / (1 -
    0.9^t)`` and ``v^ = v / (1 - 0.999^t)``.

    Args:
        groups: ``lr`` and ``decay`` of every parameter.
        parameters: one array each.
        gradients: of every step and parameter, gradients[t][i].
        clip: bound on the norm.

    Returns:
        Parameters after all steps, and the norm of the gradients in every step before clipping.
    """
    parameters = [np.array(w, dtype=np.float64) for w in parameters]
    first, second = ([np.zeros_like(w) for w in parameters] for _ in range(2))
    norms = []
    for t, of_step in enumerate(gradients, start=1):
        norm = math.sqrt(sum(float((g**2).sum()) for g in of_step))
        norms.append(norm)
        for i, (w, g) in enumerate(zip(parameters, of_step, strict=True)):
            g = g * min(1, clip / (norm + 1e-6))
            first[i] = 0.9 * first[i] + 0.1 * g
            second[i] = 0.999 * second[i] + 0.001 * g**2
            corrected, squared = first[i] / (1 - 0.9**t), second[i] / (1 - 0.999**t)
            w = w * (1 - groups[i]["lr"] * groups[i]["decay"])
            parameters[i] = w - groups[i]["lr"] * corrected / (np.sqrt(squared) + 1e-8)
    return parameters, np.array(norms)
