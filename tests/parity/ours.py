"""The same numbers by citris_cli: every call of the package is here, one function for each kind of part.

A module is built with the part's sizes, gets its weights, is called, and gives arrays under the names that the plain
implementation gives them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from citris_cli.core.assignment import CausalAssignment
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.causal_encoder import CausalEncoder
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.core.config import (
    AutoencoderConfig,
    CausalEncoderConfig,
    CausalLatentsConfig,
    CitrisNFConfig,
    CitrisVAEConfig,
)
from citris_cli.core.factors import distances as factor_distances
from citris_cli.core.factors import normalised
from citris_cli.core.flow import NormalizingFlow
from citris_cli.core.ops import shares
from citris_cli.core.ops.adamw import ClippedAdamW
from citris_cli.core.ops.batch_norm import BatchNorm
from citris_cli.core.priors import Given as Step
from citris_cli.core.priors import build_prior
from citris_cli.core.target_classifier import TargetClassifier
from citris_cli.core.vae_networks import vae_networks as build_vae_networks
from citris_cli.data.variables import Variable
from citris_cli.kinds import config_from_json
from tests.parity.plain import Outputs, Settings, some
from tests.parity.plain_gradients import direction, groups
from tests.parity.plain_networks import Array, Weights

Given = dict[str, Tensor]
MODES = (("evaluation", False), ("training", True))
#: What state dictionaries hold beside weights, and the published numbers do not: the module's own is kept.
NO_WEIGHTS = ("num_batches_tracked", "initialised")


def loaded(module: nn.Module, weights: Weights, dtype: torch.dtype) -> nn.Module:
    """The module with these weights and no others, in evaluation mode."""
    state = {name: torch.tensor(array) for name, array in weights.items()}
    for name, own in module.state_dict().items():
        if name.endswith(NO_WEIGHTS):
            state[name] = torch.ones_like(own)
    module.load_state_dict(state)
    return module.to(dtype).eval()


def pictures(frames: Tensor) -> Tensor:
    """Frames 0 … 255 as images in [-1, 1]."""
    return frames / 255 * 2 - 1


@contextmanager
def noise_is(normal: Tensor | None = None, uniform: Tensor | None = None) -> Iterator[None]:
    """Inside the ``with`` block, all that a model draws is this."""

    def noise(draw: Callable[..., Tensor], shape: Any, like: Tensor, generator: object) -> Tensor:
        given = {torch.randn: normal, torch.rand: uniform}[draw]
        assert given is not None
        return given.to(like.dtype).clone().reshape(tuple(shape))

    with patch.object(shares, "noise", noise):
        yield


def slopes(model: nn.Module, loss: Tensor, weights: Weights, depth: int) -> Tensor:
    """The loss's gradient in the direction of every group of weights."""
    loss.backward()
    parameters = dict(model.named_parameters())
    out = []
    for names in groups(weights, depth).values():
        along = [(parameters[n].grad, torch.tensor(direction(parameters[n].shape))) for n in names]
        out.append(sum((gradient * by).sum() for gradient, by in along))
    return torch.stack(out)


def autoencoder_config(settings: Settings) -> AutoencoderConfig:
    return AutoencoderConfig(
        width=settings["width"],
        latents=settings["latents"],
        channels=settings["channels"],
        decoder_blocks=settings["blocks"],
        patch=settings["patch"],
        growth=settings["growth"],
        noise=settings["noise"],
        latent_penalty=settings.get("latent_penalty", 0.0),
    )


def autoencoder(settings: Settings, weights: Weights, given: Given, dtype: torch.dtype) -> dict[str, Any]:
    model = loaded(Autoencoder(autoencoder_config(settings)), weights, dtype)
    images = pictures(given["frames"])
    with noise_is(normal=given["noise"]):
        loss, _ = model.loss(images)
    decoded = some(settings, model.decode(given["latents"]))
    out = {"encodings": model.encode(images), "decoded": decoded, "loss": loss}
    return out | ({"slopes": slopes(model, loss, weights, 1)} if settings["gradient"] else {})


def vae_networks(settings: Settings, weights: Weights, given: Given, dtype: torch.dtype) -> dict[str, Any]:
    sizes = (settings[name] for name in ("networks", "width", "channels", "latents"))
    encoder, decoder = build_vae_networks(*sizes, decoder_blocks=1, patch=1)
    model = loaded(nn.ModuleDict({"encoder": encoder, "decoder": decoder}), weights, dtype)
    mean, log_std = model["encoder"](pictures(given["frames"]))
    return {"mean": mean, "log_std": log_std, "decoded": some(settings, model["decoder"](given["latents"]))}


def batch_norm(settings: Settings, weights: Weights, given: Given, dtype: torch.dtype) -> dict[str, Any]:
    model = loaded(BatchNorm(settings["channels"]), weights, dtype)
    evaluation = model.with_silu(given["x"].clone())
    training = model.train().with_silu(given["x"].clone())
    return {
        "evaluation": evaluation,
        "training": training,
        "running_mean": model.running_mean,
        "running_var": model.running_var,
    }


def flow(settings: Settings, weights: Weights, given: Given, dtype: torch.dtype) -> dict[str, Any]:
    model = NormalizingFlow(settings["latents"], settings["flow_layers"], settings["flow_hidden"])
    loaded(model, weights, dtype)
    z, ldj = model(given["x"])
    inverse, inverse_of_one = model.inverse(given["z"]), model.inverse(given["z"][1:2])
    for module in model.modules():
        if hasattr(module, "initialised"):
            module.initialised.fill_(False)
    model.initialise(given["batch"])
    started, _ = model(given["x"])
    return {
        "z": z,
        "ldj": ldj,
        "inverse": inverse,
        "inverse_of_one": inverse_of_one,
        "z_after_initialisation": started,
    }


def causal_sizes(settings: Settings) -> dict[str, Any]:
    """What every configuration of a causal model or a prior is told."""
    sizes = {
        "latents": settings["latents"],
        "variables": settings["variables"],
        "flow_layers": settings["flow_layers"],
        "flow_hidden": settings["flow_hidden"],
        "hidden": settings["hidden"],
        "prior": settings["prior"],
        "imperfect_interventions": settings["imperfect"],
        "autoregressive_hidden": settings["prior_hidden"],
        "classifier_layers": settings["classifier_layers"],
        "classifier_momentum": settings["momentum"],
        "classifier_weight": settings["classifier_weight"],
        "conditional_targets": settings["conditional"],
        "regulariser": settings["regulariser"],
        "temperature": settings["temperature"],
    }
    config = config_from_json(CitrisVAEConfig, sizes)  # of both models' the one that may have no flow
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(CausalLatentsConfig)}


@contextmanager
def drawing(normal: Tensor | None, uniform: Tensor | None) -> Iterator[None]:
    """Inside the ``with`` block, this is what PyTorch draws."""
    with patch.object(torch, "randn", lambda *_, **__: normal), patch.object(torch, "rand", lambda *_, **__: uniform):
        yield


def prior(settings: Settings, weights: Weights, given: Given, dtype: torch.dtype) -> dict[str, Any]:
    config = CausalLatentsConfig(**causal_sizes(settings))
    model = loaded(build_prior(config.prior, config.latents, config.variables, config.hidden), weights, dtype)
    told = Step(given["targets"], given["logits"].softmax(-1), given["psi"])
    z_t, z_t1 = given["z_t"], given["z_t1"]
    out: dict[str, Any] = {
        "kl": model.kl(given["mean"], given["log_std"], z_t[:, 0], z_t1[:, 0], told).value,
        "nll_evaluation": model.nll(z_t, z_t1, told).value,
        "nll_training": model.train().nll(z_t, z_t1, told).value,
    }
    with drawing(given.get("noise"), given.get("uniform")):
        drawn = model.sample(
            z_t[:, 0], given["targets"], given["logits"].argmax(-1), None, settings["draw_temperature"]
        )
    out["draw"] = drawn
    if settings["prior"] == "mlp" and not settings["imperfect"]:
        (out["gradient"],) = torch.autograd.grad(out["nll_training"].sum(), model.intervened)
    return out


def classifier(settings: Settings, weights: Weights, given: Given, dtype: torch.dtype) -> dict[str, Any]:
    model = TargetClassifier(
        settings["latents"],
        settings["variables"],
        settings["hidden"],
        settings["classifier_layers"],
        settings["momentum"],
        settings["conditional"],
    )
    loaded(model, weights, dtype)
    losses = [model(given["z"][0], given["targets"][0], given["psi"][0])]
    model.train()
    for z, targets, psi in zip(given["z"], given["targets"], given["psi"], strict=True):
        losses.append(model(z, targets, psi))
    names = ("mean", "conditional_mean", "count", "conditional_count")
    return {"losses": torch.stack([torch.stack(pair) for pair in losses])} | {n: getattr(model, n) for n in names}


def assignment(settings: Settings, weights: Weights, given: Given, dtype: torch.dtype) -> dict[str, Any]:
    model = CausalAssignment(settings["latents"], settings["variables"], settings["temperature"])
    loaded(model, weights, dtype)
    with noise_is(uniform=given["uniform"]):
        sample = model.sample(len(given["uniform"]), None)
    (gradient,) = torch.autograd.grad((sample * given["of_sample"]).sum(), model.logits)
    return {"probabilities": model.probabilities(), "hard": model.hard(), "sample": sample, "gradient": gradient}


def whole_loss(
    model: CitrisNF | CitrisVAE, mode: str, given: Given, frames: Tensor, noise_scale: float
) -> dict[str, Any]:
    """The loss and its parts, by names that end in the mode's."""
    with noise_is(given["noise"], given["uniform"]):
        loss, parts = model.loss(frames, given["targets"], schedule={"noise_scale": noise_scale})
    return {f"{name}_{mode}": value for name, value in ({"loss": loss} | parts).items()}


def citris_nf(settings: Settings, weights: Weights, given: Given, dtype: torch.dtype) -> dict[str, Any]:
    under = Autoencoder(autoencoder_config(settings))
    model = CitrisNF(
        CitrisNFConfig(**causal_sizes(settings), samples=settings["samples"], noise=settings["noise"]), under
    )
    if not settings["images"]:  # any autoencoder will do
        weights = weights | {f"autoencoder.{name}": value.numpy() for name, value in under.state_dict().items()}
    loaded(model, weights, dtype)
    out: dict[str, Any] = {}
    for mode, training in MODES:
        model.train(training)
        out |= whole_loss(model, mode, given, given["encodings"], settings["noise_scale"])
    out["slopes"] = slopes(model, out["loss_training"], weights, 3)
    if settings["images"]:
        z = model.eval().encode(pictures(given["frames"]))
        combined = model.combine(z[:1], z[1:], given["mask"])
        out |= {"z": z, "combined": combined, "decoded": some(settings, model.decode(combined))}
    return out


def citris_vae(settings: Settings, weights: Weights, given: Given, dtype: torch.dtype) -> dict[str, Any]:
    config = CitrisVAEConfig(
        **causal_sizes(settings),
        width=settings["width"],
        channels=settings["channels"],
        networks=settings["networks"],
        kl_weight=settings["kl_weight"],
    )
    model = loaded(CitrisVAE(config), weights, dtype)
    out: dict[str, Any] = {}
    for mode, training in MODES:
        for module in model.modules():
            module.training = training and not isinstance(module, BatchNorm)  # whose statistics stay as they are
        out |= whole_loss(model, mode, given, pictures(given["frames"]), settings["noise_scale"])
    return out | {"slopes": slopes(model, out["loss_training"], weights, 0)}


def factors_of(settings: Settings) -> list[Variable]:
    return [Variable(**factor) for factor in settings["factors"]]


def causal_encoder(settings: Settings, weights: Weights, given: Given, dtype: torch.dtype) -> dict[str, Any]:
    config = CausalEncoderConfig(
        settings["width"], settings["channels"], settings["patch"], norm_penalty=settings["norm_penalty"]
    )
    model = loaded(CausalEncoder(config, factors_of(settings)), weights, dtype)
    images = pictures(given["frames"])
    out: dict[str, Any] = {"predicted": model.predict(images)}
    for mode, training in MODES:
        model.heads.train(training)  # the encoder's statistics stay as they are
        loss, parts = model.loss(images, given["truth"])
        out |= {f"{name}_{mode}": value for name, value in ({"loss": loss} | parts).items()}
    return out


def distances(settings: Settings, weights: Weights, given: Given, dtype: torch.dtype) -> dict[str, Any]:
    factors = factors_of(settings)
    distance = factor_distances(given["values"], given["others"], factors)
    return {"distance": distance, "normalised": normalised(distance, factors)}


def adamw(settings: Settings, weights: Weights, given: Given, dtype: torch.dtype) -> dict[str, Any]:
    parameters = [nn.Parameter(given[f"parameter_{i}"].clone()) for i in range(len(settings["groups"]))]
    groups = [
        {"params": [parameter], "lr": group["lr"], "weight_decay": group["decay"]}
        for parameter, group in zip(parameters, settings["groups"], strict=True)
    ]
    optimiser = ClippedAdamW(groups, settings["clip"])
    norms = []
    for step in range(settings["steps"]):
        for number, parameter in enumerate(parameters):
            parameter.grad = given[f"gradients_{number}"][step].clone()
        norms.append(optimiser.update())
    return {"norms": torch.stack(norms)} | {f"after_{i}": parameter for i, parameter in enumerate(parameters)}


@contextmanager
def computing_in(dtype: torch.dtype) -> Iterator[None]:
    """Inside the ``with`` block, modules are built in this type.

    Built in it rather than converted to it: positions, which are computed when a module is built, are then as exact as
    everything else.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def compute(settings: Settings, weights: Weights, inputs: dict[str, Array], dtype: torch.dtype) -> Outputs:
    """What a part of ``settings["kind"]`` gives, in float32 or float64."""
    kind = globals()[settings["kind"]]
    given = {name: torch.tensor(array).to(dtype) for name, array in inputs.items()}
    with computing_in(dtype):
        outputs = kind(settings, weights, given, dtype)
    return {name: value.detach().numpy().astype(np.float64) for name, value in outputs.items()}
