"""Every part's numbers by the plain implementation: settings, weights and inputs -> outputs, all in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.parity import plain_classifier, plain_flow, plain_gradients, plain_models, plain_networks, plain_priors
from tests.parity.plain_networks import Array, Weights, below

Settings = dict[str, Any]
Inputs = dict[str, Array]
Outputs = dict[str, Array]


def pictures(frames: Array) -> Array:
    """Frames 0 ... 255 as images in [-1, 1]."""
    return frames / 255 * 2 - 1


def some(settings: Settings, images: Array) -> Array:
    """Of images [B, 3, W, W] the rows and columns that are kept."""
    return images[:, :, :: settings["every"], :: settings["every"]]


def autoencoder(settings: Settings, weights: Weights, given: Inputs) -> Outputs:
    """Encodings, an image, the loss for given noise, and its gradient where that is asked for."""
    images = pictures(given["frames"])
    decoded = plain_networks.conv_decoder(
        below(weights, "decoder"), given["latents"], settings["blocks"], settings["patch"], settings["width"]
    )
    out = {
        "encodings": plain_networks.conv_encoder(below(weights, "encoder"), images, settings["patch"]),
        "decoded": some(settings, decoded),
        "loss": plain_models.autoencoder_loss(settings, weights, images, given["noise"]),
    }
    if settings["gradient"]:

        def loss(moved: Weights) -> float:
            return plain_models.autoencoder_loss(settings, moved, images, given["noise"])

        out["slopes"] = plain_gradients.slopes(loss, weights, 1)
    return out


def vae_networks(settings: Settings, weights: Weights, given: Inputs) -> Outputs:
    """Mean, log-std and an image."""
    networks = settings["networks"]
    mean, log_std = plain_networks.gaussian_encoder(below(weights, "encoder"), pictures(given["frames"]), networks)
    decoded = plain_networks.vae_decoder(below(weights, "decoder"), given["latents"], networks)
    return {"mean": mean, "log_std": log_std, "decoded": some(settings, decoded)}


def batch_norm(settings: Settings, weights: Weights, given: Inputs) -> Outputs:
    """SiLU of a batch normalisation in both modes, and the running statistics after the training mode's."""
    out, mean, variance = plain_networks.batch_norm_in_training(weights, given["x"])
    return {
        "evaluation": plain_networks.silu(plain_networks.batch_norm(weights, given["x"])),
        "training": plain_networks.silu(out),
        "running_mean": mean,
        "running_var": variance,
    }


def flow(settings: Settings, weights: Weights, given: Inputs) -> Outputs:
    """Both directions, and what a first batch makes of the ActNorms."""
    z, ldj = plain_flow.flow(weights, given["x"])
    started, _ = plain_flow.flow(plain_flow.initialised(weights, given["batch"]), given["x"])
    return {
        "z": z,
        "ldj": ldj,
        "inverse": plain_flow.flow_inverse(weights, given["z"]),
        "inverse_of_one": plain_flow.flow_inverse(weights, given["z"][1:2]),
        "z_after_initialisation": started,
    }


def prior(settings: Settings, weights: Weights, given: Inputs) -> Outputs:
    """The NLL in both modes, the divergence, draws; the gradient of the interventional parameters, if there are any."""
    samples = weights, given["z_t"], given["z_t1"], given["targets"]
    single = given["mean"], given["log_std"], given["z_t"][:, 0], given["z_t1"][:, 0]
    if settings["prior"] == "slow":
        nll = plain_priors.slow_nll(given["z_t"], given["z_t1"])
        draw = plain_priors.slow_draw(given["z_t"][:, 0], given["uniform"], settings["draw_temperature"])
        return {"nll_evaluation": nll, "nll_training": nll, "kl": plain_priors.slow_kl(*single[:3]), "draw": draw}
    assigned = given["logits"].argmax(axis=1)
    draw = plain_priors.draw(settings, weights, given["z_t"][:, 0], given["targets"], given["noise"], assigned)
    if settings["prior"] == "ivae":
        nll = plain_priors.conditional_nll(*samples)
        kl = plain_priors.conditional_kl(weights, *single[:3], given["targets"])
        return {"nll_evaluation": nll, "nll_training": nll, "kl": kl, "draw": draw}
    told = plain_classifier.softmax(given["logits"]), given["psi"], settings["regulariser"]
    nll, kl = plain_models.nll_of(settings), plain_models.kl_of(settings)
    out = {
        "nll_evaluation": nll(*samples, *told, False),
        "nll_training": nll(*samples, *told, True),
        "kl": kl(weights, *single, given["targets"], *told),
        "draw": draw,
    }
    if not settings["imperfect"] and settings["prior"] == "mlp":
        out["gradient"] = plain_priors.gradient_of_intervened(weights, given["z_t1"], given["targets"])
    return out


def classifier(settings: Settings, weights: Weights, given: Inputs) -> Outputs:
    """Both losses before training and in every batch of one, [batches, 2]; the running means after them."""
    conditional = settings["conditional"]
    losses = [
        plain_classifier.classifier_losses(weights, given["z"][0], given["targets"][0], given["psi"][0], conditional)
    ]
    for z, targets, psi in zip(given["z"], given["targets"], given["psi"], strict=True):
        weights = plain_classifier.after_batch(weights, targets, settings["momentum"])
        losses.append(plain_classifier.classifier_losses(weights, z, targets, psi, conditional))
    names = ("mean", "conditional_mean", "count", "conditional_count")
    return {"losses": np.array(losses)} | {name: weights[name] for name in names}


def assignment(settings: Settings, weights: Weights, given: Inputs) -> Outputs:
    """Probabilities, the hard assignment, samples and their gradient."""
    logits, temperature = weights["logits"], settings["temperature"]
    return {
        "probabilities": plain_classifier.softmax(logits),
        "hard": logits.argmax(axis=1).astype(float),
        "sample": plain_classifier.gumbel_sample(logits, given["uniform"], temperature),
        "gradient": plain_classifier.gumbel_gradient(logits, given["uniform"], temperature, given["of_sample"]),
    }


def citris_nf(settings: Settings, weights: Weights, given: Inputs) -> Outputs:
    """The loss and its parts in both modes, and its gradient; encoding, recombining and decoding images, if any."""
    out: Outputs = {}
    for mode, training in (("evaluation", False), ("training", True)):
        losses = plain_models.citris_nf_loss(settings, weights, given, training)
        out |= {f"{name}_{mode}": np.asarray(value) for name, value in losses.items()}

    def loss(moved: Weights) -> float:
        return plain_gradients.citris_nf_loss(settings, moved, weights, given)

    out |= {"slopes": plain_gradients.slopes(loss, weights, 3)}
    if not settings["images"]:
        return out
    of_autoencoder = below(weights, "autoencoder")
    x = plain_networks.conv_encoder(below(of_autoencoder, "encoder"), pictures(given["frames"]), settings["patch"])
    z, _ = plain_flow.flow(below(weights, "flow"), x)
    combined = z[:1].copy()
    for m, variable in enumerate(weights["assignment.logits"].argmax(axis=1)):
        if variable < settings["variables"] and given["mask"][0, variable]:
            combined[0, m] = z[1, m]
    back = plain_flow.flow_inverse(below(weights, "flow"), combined)
    decoder = below(of_autoencoder, "decoder")
    decoded = plain_networks.conv_decoder(decoder, back, settings["blocks"], settings["patch"])
    return out | {"z": z, "combined": combined, "decoded": some(settings, decoded)}


def citris_vae(settings: Settings, weights: Weights, given: Inputs) -> Outputs:
    """The loss and its parts in both modes, and its gradient in one direction."""
    out: Outputs = {}
    given = given | {"frames": pictures(given["frames"])}
    for mode, training in (("evaluation", False), ("training", True)):
        losses = plain_models.citris_vae_loss(settings, weights, given, training)
        out |= {f"{name}_{mode}": np.asarray(value) for name, value in losses.items()}

    def loss(moved: Weights) -> float:
        return plain_gradients.citris_vae_loss(settings, moved, weights, given)

    return out | {"slopes": plain_gradients.slopes(loss, weights, 0)}


def causal_encoder(settings: Settings, weights: Weights, given: Inputs) -> Outputs:
    """Predictions; each kind's loss without and with the training mode's penalty, on batch statistics as stored."""
    factors = settings["factors"]
    images = pictures(given["frames"])
    features = plain_networks.conv_encoder(below(weights, "encoder"), images, settings["patch"])
    outputs = plain_models.heads(weights, features, factors)
    out = {"predicted": plain_models.predicted(outputs, factors)}
    for mode, penalty in (("evaluation", 0.0), ("training", settings["norm_penalty"])):
        losses = plain_models.head_losses(outputs, given["truth"], factors, penalty)
        out |= {f"{kind}_{mode}": np.asarray(loss) for kind, loss in losses.items()}
        out |= {f"loss_{mode}": np.asarray(sum(losses.values()))}
    return out


def distances(settings: Settings, weights: Weights, given: Inputs) -> Outputs:
    """Distances between values of factors, and normalised ones."""
    distance, scaled = plain_models.factor_distances(given["values"], given["others"], settings["factors"])
    return {"distance": distance, "normalised": scaled}


def adamw(settings: Settings, weights: Weights, given: Inputs) -> Outputs:
    """Parameters after a few steps, and the gradients' norms."""
    count = len(settings["groups"])
    gradients = [[given[f"gradients_{i}"][t] for i in range(count)] for t in range(settings["steps"])]
    parameters = [given[f"parameter_{i}"] for i in range(count)]
    after, norms = plain_models.adamw(settings["groups"], parameters, gradients, settings["clip"])
    return {"norms": norms} | {f"after_{i}": w for i, w in enumerate(after)}


def compute(settings: Settings, weights: Weights, inputs: Inputs) -> Outputs:
    """What a part of ``settings["kind"]`` gives, from weights and inputs as they are stored."""
    kind: Callable[[Settings, Weights, Inputs], Outputs] = globals()[settings["kind"]]
    double = [{name: np.asarray(x, dtype=np.float64) for name, x in arrays.items()} for arrays in (weights, inputs)]
    return {name: np.asarray(x, dtype=np.float64) for name, x in kind(settings, *double).items()}
