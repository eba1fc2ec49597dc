"""How the published code has each kind of model: what tells it, its sizes, its settings, the names of its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from citris_cli.artifacts.published import models, settings
from citris_cli.artifacts.published.parts import StateDict, autoencoder_weights, published_autoencoder
from citris_cli.artifacts.published.settings import ACTIVATION, SHARED_OTHERS, SHARED_SIZES, Settings

#: What every published target classifier has.
_CLASSIFIER = {"classifier_act_fn": ACTIVATION, "classifier_use_normalization": True}


@dataclass(frozen=True)
class PublishedForm:
    """A kind of model in the published code.

    Attributes:
        has: whether weights with these first parts of their names are such a model's.
        sizes: what its weights (and hyperparameters, for what weights do not tell) say of our configuration, by field.
        settings: its hyperparameters by our fields.
        ours: its weights under our names, given the published names of the factors that it reads, if it does.
        theirs: the inverse: all that the published module's state dict holds, from ours, our configuration as JSON has
            it, and the kinds of the factors by published name.
        reads_scale: whether it reads the ``scale_factor`` of its encoder.
    """

    has: Callable[[set[str]], bool]
    sizes: Callable[[Mapping[str, Tensor], Mapping[str, Any]], dict[str, Any]]
    settings: Settings
    ours: Callable[[Mapping[str, Tensor], Iterable[str]], StateDict]
    theirs: Callable[[Mapping[str, Tensor], Mapping[str, Any], Mapping[str, str]], StateDict]
    reads_scale: bool = False


AUTOENCODER = PublishedForm(
    has=lambda parts: {"encoder", "decoder"} <= parts and not {"prior_t1", "pred_layers"} & parts,
    sizes=settings.autoencoder_sizes,
    settings=Settings(
        {"width": "img_width", "latents": "num_latents", "channels": "c_hid"},
        {"noise": "noise_level", "latent_penalty": "regularizer_weight"},
    ),
    ours=lambda weights, factors: autoencoder_weights(weights),
    theirs=lambda weights, config, factors: published_autoencoder(weights),
)
CITRIS_NF = PublishedForm(
    has=lambda parts: {"prior_t1", "flow"} <= parts and "encoder" not in parts,
    sizes=settings.causal_latents_sizes,
    settings=Settings(
        SHARED_SIZES | {"hidden": "c_hid", "flow_layers": "num_flows", "flow_hidden": "hidden_per_var"},
        SHARED_OTHERS | {"samples": "num_samples", "noise": "noise_level"},
        _CLASSIFIER | {"no_encoder_decoder": True, "flow_act_fn": ACTIVATION},
    ),
    ours=lambda weights, factors: models.citris_nf_weights(weights),
    theirs=lambda weights, config, factors: models.published_citris_nf(weights, config),
)
CITRIS_VAE = PublishedForm(
    has=lambda parts: {"prior_t1", "encoder"} <= parts,
    sizes=settings.vae_sizes,
    settings=Settings(
        SHARED_SIZES | {"width": "img_width", "channels": "c_hid", "decoder_blocks": "decoder_num_blocks"},
        SHARED_OTHERS | {"kl_weight": "beta_t1"},
        _CLASSIFIER | {"no_encoder_decoder": False},
    ),
    ours=lambda weights, factors: models.citris_vae_weights(weights),
    theirs=lambda weights, config, factors: models.published_citris_vae(weights, config),
    reads_scale=True,
)
CAUSAL_ENCODER = PublishedForm(
    has=lambda parts: "pred_layers" in parts and "prior_t1" not in parts,
    sizes=settings.image_encoder_sizes,
    settings=Settings({"width": "img_width", "channels": "c_hid"}, {"norm_penalty": "angle_reg_weight"}),
    ours=models.causal_encoder_weights,
    theirs=lambda weights, config, factors: models.published_causal_encoder(weights, factors),
)
