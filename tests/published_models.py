"""A small model of every kind and form, and checkpoints of them as the published code's framework saves its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from citris_cli.conversion import published_of
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.causal_encoder import CausalEncoder
from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.core.config import (
    AutoencoderConfig,
    AutoregressivePriorConfig,
    CausalEncoderConfig,
    CitrisNFConfig,
    CitrisVAEConfig,
    MLPPriorConfig,
)
from citris_cli.data.variables import Variable, Variables
from citris_cli.kinds import kind_of_model
from citris_cli.loading import LoadedModel

VARIABLES = Variables([Variable("x", "continuous", -1.0, 3.0), Variable("theta", "angle", group="g")])
FACTORS = Variables([*VARIABLES, Variable("shape", "categorical", categories=3)])
_SIZES: dict[str, Any] = {"latents": 4, "variables": 2, "hidden": 6}
# Sizes of what only some forms have; for the others, nothing published tells them.
_FLOW: dict[str, Any] = {"flow_layers": 2, "flow_hidden": 3}
_OTHERS: dict[str, Any] = {"classifier_momentum": 0.25, "classifier_weight": 3.0, "temperature": 2.0}
_MLP, _IMPERFECT = MLPPriorConfig(regulariser=0.5), MLPPriorConfig(imperfect_interventions=True, regulariser=0.5)
_AUTOREGRESSIVE = AutoregressivePriorConfig(regulariser=0.5, autoregressive_hidden=5)
_VAE: dict[str, Any] = {**_SIZES, **_OTHERS, "width": 32, "channels": 6, "kl_weight": 0.5}

#: Configurations by a name that says what is special about them.
CONFIGS: dict[str, Any] = {
    "autoencoder": AutoencoderConfig(32, 5, 4, decoder_blocks=2, noise=0.1, latent_penalty=0.5),
    "autoencoder of patches": AutoencoderConfig(32, 5, 4, decoder_blocks=1, patch=2),
    "autoencoder that grows": AutoencoderConfig(32, 5, 4, decoder_blocks=1, growth=2),
    "autoencoder that grows from patches": AutoencoderConfig(32, 5, 4, decoder_blocks=1, patch=4, growth=2),
    "autoencoder of 80 pixels": AutoencoderConfig(80, 5, 4, decoder_blocks=1, patch=4, growth=2),
    "causal encoder": CausalEncoderConfig(32, 4, norm_penalty=0.5),
    "nf": CitrisNFConfig(**_SIZES, **_OTHERS, **_FLOW, prior=_MLP, samples=3, noise=0.25),
    "nf imperfect": CitrisNFConfig(
        **_SIZES, **_FLOW, prior=MLPPriorConfig(imperfect_interventions=True), conditional_targets=False
    ),
    "nf autoregressive": CitrisNFConfig(
        **_SIZES, prior=AutoregressivePriorConfig(autoregressive_hidden=5), classifier_layers=3
    ),
    "nf autoregressive imperfect": CitrisNFConfig(
        **_SIZES,
        flow_layers=1,
        prior=AutoregressivePriorConfig(imperfect_interventions=True, autoregressive_hidden=5),
    ),
    "vae": CitrisVAEConfig(**_VAE, prior=_MLP, flow_layers=0, decoder_blocks=2),
    "vae imperfect": CitrisVAEConfig(**_VAE, prior=_IMPERFECT, flow_layers=0, patch=2),
    "vae flow prior": CitrisVAEConfig(**_VAE, **_FLOW, prior=_MLP, conditional_targets=False),
    "vae autoregressive": CitrisVAEConfig(**_VAE, prior=_AUTOREGRESSIVE, flow_layers=0),
    "vae small": CitrisVAEConfig(**_VAE, prior=_MLP, flow_layers=0, networks="small"),
    "vae small flow prior": CitrisVAEConfig(**_VAE, **_FLOW, prior=_AUTOREGRESSIVE, networks="small"),
    "vae of four channels": CitrisVAEConfig(**_VAE, prior=_MLP, flow_layers=0, image_channels=4),
    "vae small, grey": CitrisVAEConfig(**_VAE, prior=_MLP, flow_layers=0, networks="small", image_channels=1),
    "vae of 48 pixels": CitrisVAEConfig(**_VAE | {"width": 48}, prior=_MLP, flow_layers=0),
    "autoencoder of four channels": AutoencoderConfig(32, 6, 4, image_channels=4),
    "grey autoencoder with patch 2": AutoencoderConfig(32, 6, 4, patch=2, image_channels=1),
}  # fmt: skip


def small_model(name: str, seed: int = 0) -> LoadedModel:
    """The model of a configuration, no weight or buffer of which has the value that it starts with."""
    config = CONFIGS[name]
    generator = torch.Generator().manual_seed(seed)
    network: nn.Module
    variables: Variables | None = VARIABLES
    if isinstance(config, AutoencoderConfig):
        network, variables = Autoencoder(config, generator), None
    elif isinstance(config, CausalEncoderConfig):
        network, variables = CausalEncoder(config, FACTORS, generator), FACTORS
    elif isinstance(config, CitrisNFConfig):
        autoencoder = Autoencoder(AutoencoderConfig(32, config.latents, 4, noise=config.noise), generator)
        network = CitrisNF(config, autoencoder, generator)
    else:
        network = CitrisVAE(config, generator)
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if value.is_floating_point() and not key.endswith((".permutation", ".sign")):
                value.copy_(0.05 + 0.9 * torch.rand(value.shape, generator=generator))
            elif value.dtype == torch.int64:
                value.fill_(7)
    if isinstance(network, CausalLatentsModel):
        for transform in network.flow.transforms:
            if hasattr(transform, "initialised"):
                transform.initialised.fill_(True)
        classifier = network.classifier
        classifier.conditional_count.copy_(torch.tensor([[5.0, 6.0], [3.0, 8.0]]))
        classifier.count.fill_(11.0)
        if not network.config.conditional_targets:  # what is not used is not published: it starts anew
            classifier.conditional_mean.fill_(0.5)
            classifier.conditional_count.zero_()
            classifier.count.fill_(1.0)
    kind = kind_of_model(network)
    path = Path(f"{kind.name}.safetensors")
    return LoadedModel(kind.name, network.eval(), variables, path, {})


def checkpoint_of(loaded: LoadedModel) -> dict[str, Any]:
    """What the published code's framework would save of a model."""
    weights, hyper_parameters = published_of(loaded)
    return {
        "epoch": 3,
        "global_step": 77,
        "pytorch-lightning_version": "1.6.5",
        "state_dict": weights,
        "optimizer_states": [{"state": {0: {"step": 77, "exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}],
        "hparams_name": "kwargs",
        "hyper_parameters": hyper_parameters,
    }
