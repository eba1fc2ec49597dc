"""The transition priors in plain NumPy: a loop over batch rows, pairs of samples, variables and latents.

Shapes: z_t and z_t1 [B, S, M], targets [B, K], p [M, K+1] (the last column is psi(0)), psi [B, M, K+1] one-hot. For the
divergences z_t and z_t1 are single samples [B, M], and mean and log_std are those of q [B, M].
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from tests.parity.plain_flow import masked_linear
from tests.parity.plain_networks import Array, Weights, below, linear, silu

Gaussian = tuple[float, float]  # mean, log standard deviation


def gaussian_nll(of: Gaussian, z: float) -> float:
    """``(z - mean)^2 / (2 std^2) + log std + log(2 pi) / 2``."""
    mean, log_std = of
    return (z - mean) ** 2 / (2 * math.exp(log_std) ** 2) + log_std + math.log(2 * math.pi) / 2


def gaussian_kl(of: Gaussian, prior: Gaussian) -> float:
    """``log(std_p / std) + (std^2 + (mean - mean_p)^2) / (2 std_p^2) - 1/2``."""
    variance, prior_variance = math.exp(of[1]) ** 2, math.exp(prior[1]) ** 2
    return prior[1] - of[1] + (variance + (of[0] - prior[0]) ** 2) / (2 * prior_variance) - 0.5


def pull(p: Array, regulariser: float, training: bool) -> float:
    """``lambda mean_m(1 - p[m,0])``, in training mode."""
    return regulariser * float(np.mean(1 - p[:, -1])) if training else 0.0


def with_psi_0(targets: Array) -> Array:
    """Targets [K] with the 0 of psi(0), on which nobody intervenes: [K+1]."""
    return np.append(targets, 0.0)


def shown(targets: Array, k: int) -> Array:
    """What variable k sees of the targets [K]: its own in its place and -1 in every other, [K+1]."""
    vector = np.full(len(targets) + 1, -1.0)
    vector[k] = with_psi_0(targets)[k]
    return vector


# The MLP, of perfect and of imperfect interventions


def latent_network(weights: Weights, m: int, z_t: Array, own: Array) -> Gaussian:
    """``out(SiLU(mid(SiLU(Linear(z^t)[m] + inp(own)))))`` of latent m: z_t [M], own [what inp sees]."""
    first = weights["context_weight"][m] @ z_t + weights["context_bias"][m]
    first = first + weights["own.weight"][m] @ own + weights["own.bias"][m]
    middle = weights["middle.weight"][m] @ silu(first) + weights["middle.bias"][m]
    mean, log_std = weights["out.weight"][m] @ silu(middle) + weights["out.bias"][m]
    return mean, log_std


def mlp_perfect_scores(weights: Weights, z_t: Array, score) -> tuple[Array, Array]:
    """Scores of all latents without intervention [M] and under one on every variable [M, K].

    Args:
        weights: of the prior.
        z_t: one sample of the earlier frame [M].
        score: of latent m under a Gaussian, a function of both.
    """
    latents, variables, _ = weights["intervened"].shape
    observational = np.array([score(m, latent_network(weights, m, z_t, z_t[m : m + 1])) for m in range(latents)])
    intervened = np.array(
        [[score(m, tuple(weights["intervened"][m, k])) for k in range(variables)] for m in range(latents)]
    )
    return observational, intervened


def mlp_perfect_marginal(
    observational: Array, intervened: Array, targets: Array, p: Array, regulariser: float
) -> float:
    """``sum_m sum_k p[m,k] I_k N_intv[m,k] + (1 - sum_k p[m,k] I_k - lambda p[m,0]) N_obs[m]``."""
    total = 0.0
    for m in range(len(p)):
        left = 1 - regulariser * p[m, -1]
        for k in range(len(targets)):
            total += p[m, k] * targets[k] * intervened[m, k]
            left -= p[m, k] * targets[k]
        total += left * observational[m]
    return total


def mlp_perfect_nll(weights, z_t, z_t1, targets, p, psi, regulariser: float, training: bool) -> Array:
    """NLL [B], the mean over all pairs of samples."""
    batch, samples, _ = z_t.shape
    out = np.zeros(batch)
    for b in range(batch):
        for s in range(samples):
            for other in range(samples):
                scores = mlp_perfect_scores(weights, z_t[b, s], lambda m, of, z=z_t1[b, other]: gaussian_nll(of, z[m]))
                out[b] += mlp_perfect_marginal(*scores, targets[b], p, regulariser) / samples**2
    return out + pull(p, regulariser, training)


def mlp_perfect_kl(weights, mean, log_std, z_t, z_t1, targets, p, psi, regulariser: float) -> Array:
    """The same with divergences in the places of the NLLs [B]."""
    out = np.zeros(len(mean))
    for b in range(len(mean)):
        q = list(zip(mean[b], log_std[b], strict=True))
        scores = mlp_perfect_scores(weights, z_t[b], lambda m, of, q=q: gaussian_kl(q[m], of))
        out[b] = mlp_perfect_marginal(*scores, targets[b], p, regulariser)
    return out


def gradient_of_intervened(weights, z_t1, targets) -> Array:
    """Gradient [M, K, 2] of ``sum_b sum_m sum_k I_k NLL_intv[m,k]``, from which alone these parameters learn.

    With d = z - mean: ``-d / std^2`` for the mean, ``1 - d^2 / std^2`` for the log-std; mean over the samples.
    """
    gradient = np.zeros_like(weights["intervened"])
    batch, samples, _ = z_t1.shape
    for m, k in np.ndindex(*gradient.shape[:2]):
        mean, log_std = weights["intervened"][m, k]
        variance = math.exp(log_std) ** 2
        for b, s in np.ndindex(batch, samples):
            d = z_t1[b, s, m] - mean
            gradient[m, k, 0] -= targets[b, k] * d / variance / samples
            gradient[m, k, 1] += targets[b, k] * (1 - d**2 / variance) / samples
    return gradient


def mlp_imperfect_gaussian(weights: Weights, m: int, z_t: Array, targets: Array, k: int) -> Gaussian:
    """Of latent m as one of variable k: its network sees z^t_m and the target of k."""
    return latent_network(weights, m, z_t, np.concatenate([z_t[m : m + 1], shown(targets, k)]))


def mlp_imperfect_nll(weights, z_t, z_t1, targets, p, psi, regulariser: float, training: bool) -> Array:
    """``sum_m NLL[m]`` under the sampled assignment, the mean over all pairs of samples [B]."""
    batch, samples, latents = z_t.shape
    out = np.zeros(batch)
    for b, m, s in np.ndindex(batch, latents, samples):
        of = mlp_imperfect_gaussian(weights, m, z_t[b, s], targets[b], int(psi[b, m].argmax()))
        for other in range(samples):
            out[b] += gaussian_nll(of, z_t1[b, other, m]) / samples**2
    return out + pull(p, regulariser, training)


def weight_of(p: Array, m: int, k: int, regulariser: float) -> float:
    """p[m,k], that of psi(0) times ``1 - lambda``."""
    return p[m, k] * (1 - regulariser) if k == p.shape[1] - 1 else p[m, k]


def mlp_imperfect_kl(weights, mean, log_std, z_t, z_t1, targets, p, psi, regulariser: float) -> Array:
    """``sum_m sum_k p[m,k] KL[m,k]``, psi(0) times ``1 - lambda`` [B]."""
    out = np.zeros(len(mean))
    for b, m, k in np.ndindex(len(mean), *p.shape):
        of = mlp_imperfect_gaussian(weights, m, z_t[b], targets[b], k)
        out[b] += weight_of(p, m, k, regulariser) * gaussian_kl((mean[b, m], log_std[b, m]), of)
    return out


# The autoregressive prior


def autoregressive_gaussians(
    weights: Weights, z_t: Array, z_t1: Array, targets: Array, psi: Array, k: int, perfect: bool
) -> Array:
    """(mean, log-std) [M, 2] of all latents as latents of variable k; z_t, z_t1 [M], psi [M, K+1].

    The first layer is half the sum of a strictly masked map of ``[z_m psi_mk, 2 psi_mk - 1]``, a map of the targets
    that variable k sees and a map of z^t, which is left out where k is intervened on and interventions are perfect.
    """
    latents = len(z_t)
    own = np.zeros(2 * latents)
    for m in range(latents):
        own[2 * m] = z_t1[m] * psi[m, k]
        own[2 * m + 1] = 2 * psi[m, k] - 1
    first = masked_linear(below(weights, "first"), own, latents, strict=True)
    first = first + linear(below(weights, "target"), shown(targets, k))
    if not (perfect and with_psi_0(targets)[k] == 1):
        first = first + linear(below(weights, "context"), z_t)
    middle = masked_linear(below(weights, "middle"), silu(first / 2), latents)
    return masked_linear(below(weights, "last"), silu(middle), latents).reshape(latents, 2)


def autoregressive_nll(weights, z_t, z_t1, targets, p, psi, regulariser: float, training: bool, perfect: bool) -> Array:
    """``sum_k sum_m p[m,k] NLL[k,m]`` [B]; sample s of both frames gives the parameters, sample s' is scored."""
    batch, samples, latents = z_t.shape
    out = np.zeros(batch)
    for b, s, k in np.ndindex(batch, samples, p.shape[1]):
        of = autoregressive_gaussians(weights, z_t[b, s], z_t1[b, s], targets[b], psi[b], k, perfect)
        for m, other in np.ndindex(latents, samples):
            out[b] += p[m, k] * gaussian_nll(tuple(of[m]), z_t1[b, other, m]) / samples**2
    return out + pull(p, regulariser, training)


def autoregressive_kl(weights, mean, log_std, z_t, z_t1, targets, p, psi, regulariser: float, perfect: bool) -> Array:
    """``sum_k sum_m p[m,k] KL[k,m]``, psi(0) times ``1 - lambda`` [B]."""
    out = np.zeros(len(mean))
    for b, k in np.ndindex(len(mean), p.shape[1]):
        of = autoregressive_gaussians(weights, z_t[b], z_t1[b], targets[b], psi[b], k, perfect)
        for m in range(len(p)):
            out[b] += weight_of(p, m, k, regulariser) * gaussian_kl((mean[b, m], log_std[b, m]), tuple(of[m]))
    return out


# Draws


def draw(
    settings: dict[str, Any], weights: Weights, z_t: Array, targets: Array, noise: Array, assigned: Array
) -> Array:
    """z^{t+1} [B, M] under a hard assignment [M] for given noise [B, M]: ``mean + temperature std noise``.

    The autoregressive prior's latents are drawn one after the other, each from what was drawn before it.
    """
    temperature, (batch, latents) = settings["draw_temperature"], z_t.shape
    psi = np.eye(settings["variables"] + 1)[assigned]
    out = np.zeros((batch, latents))
    for b, m in np.ndindex(batch, latents):
        k = assigned[m]
        if settings["prior"] == "ivae":
            mean, log_std = (values[m] for values in conditional_gaussians(weights, z_t[b], targets[b]))
        elif settings["prior"] == "autoregressive":
            perfect = not settings["imperfect"]
            mean, log_std = autoregressive_gaussians(weights, z_t[b], out[b], targets[b], psi, k, perfect)[m]
        elif settings["imperfect"]:
            mean, log_std = mlp_imperfect_gaussian(weights, m, z_t[b], targets[b], k)
        elif with_psi_0(targets[b])[k] == 1:
            mean, log_std = weights["intervened"][m, k]
        else:
            mean, log_std = latent_network(weights, m, z_t[b], z_t[b, m : m + 1])
        out[b, m] = mean + temperature * math.exp(log_std) * noise[b, m]
    return out


def slow_draw(z_t: Array, uniform: Array, temperature: float) -> Array:
    """``z^t + temperature F^-1(u)``, with F the distribution function of a Laplace distribution of scale 1 / 6."""
    out = z_t.copy()
    for (b, m), u in np.ndenumerate(uniform):
        quantile = math.log(2 * u) if u < 0.5 else -math.log(2 * (1 - u))
        out[b, m] += temperature * quantile / RATE
    return out


# The baselines


def conditional_gaussians(weights: Weights, z_t: Array, targets: Array) -> tuple[Array, Array]:
    """iVAE*: mean and log-std [M] from an MLP of ``[z^t, I]``."""
    x = silu(linear(below(weights, "network.0"), np.concatenate([z_t, targets])))
    x = silu(linear(below(weights, "network.2"), x))
    out = linear(below(weights, "network.4"), x)
    return out[: len(z_t)], out[len(z_t) :]


def conditional_nll(weights, z_t, z_t1, targets) -> Array:
    """``sum_m NLL[m]``, the mean over all pairs of samples [B]."""
    batch, samples, latents = z_t.shape
    out = np.zeros(batch)
    for b, s in np.ndindex(batch, samples):
        mean, log_std = conditional_gaussians(weights, z_t[b, s], targets[b])
        for other, m in np.ndindex(samples, latents):
            out[b] += gaussian_nll((mean[m], log_std[m]), z_t1[b, other, m]) / samples**2
    return out


def conditional_kl(weights, mean, log_std, z_t, targets) -> Array:
    """``sum_m KL[m]`` [B]."""
    out = np.zeros(len(mean))
    for b in range(len(mean)):
        prior = conditional_gaussians(weights, z_t[b], targets[b])
        for m in range(mean.shape[1]):
            out[b] += gaussian_kl((mean[b, m], log_std[b, m]), (prior[0][m], prior[1][m]))
    return out


RATE = 6.0  # of SlowVAE's Laplace distribution, whose scale is 1 / 6
SPARSE_WEIGHT = 10.0


def slow_nll(z_t, z_t1) -> Array:
    """``sum_m 6 |z^{t+1} - z^t| - log 3``, the mean over all pairs of samples [B]."""
    batch, samples, latents = z_t.shape
    out = np.zeros(batch)
    for b, s, other, m in np.ndindex(batch, samples, samples, latents):
        out[b] += (RATE * abs(z_t1[b, other, m] - z_t[b, s, m]) - math.log(RATE / 2)) / samples**2
    return out


def slow_kl(mean, log_std, z_t) -> Array:
    """``10 KL(q || Laplace(z^t, 1/6)) + KL(q || N(0, 1))`` [B].

    The first is ``6 E|z - c| - log 3`` less the entropy of q, the expectation by numbers: a fine sum over 12 standard
    deviations on either side, split at c, where the integrand has its corner.
    """
    out = np.zeros(len(mean))
    for b, m in np.ndindex(*mean.shape):
        std, c = math.exp(log_std[b, m]), z_t[b, m]
        entropy = log_std[b, m] + 0.5 * math.log(2 * math.pi * math.e)
        far = expected_distance(mean[b, m], std, c)
        sparse = RATE * far - math.log(RATE / 2) - entropy
        out[b] += SPARSE_WEIGHT * sparse + gaussian_kl((mean[b, m], log_std[b, m]), (0.0, 0.0))
    return out


def expected_distance(mean: float, std: float, c: float) -> float:
    """``E|z - c|`` of a Gaussian by Gauss-Legendre quadrature, piece by piece."""
    low, high = mean - 12 * std, mean + 12 * std
    edges = sorted({*np.linspace(low, high, 25), min(max(c, low), high)})
    nodes, weights = np.polynomial.legendre.leggauss(24)
    total = 0.0
    for left, right in pairwise(edges):
        z = (left + right) / 2 + (right - left) / 2 * nodes
        density = np.exp(-((z - mean) ** 2) / (2 * std**2)) / (std * math.sqrt(2 * math.pi))
        total += float(((right - left) / 2 * weights * np.abs(z - c) * density).sum())
    return total
