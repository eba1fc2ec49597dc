"""Names of the weights of whole published models in ours, and of ours in theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from citris_cli.artifacts.published.parts import (
    StateDict,
    autoencoder_weights,
    classifier_weights,
    encoder_weights,
    flow_weights,
    graph_classifier_weights,
    information_weights,
    instantaneous_prior_weights,
    is_constant,
    prefixed,
    prior_weights,
    published_autoencoder,
    published_classifier,
    published_encoder,
    published_flow,
    published_graph_classifier,
    published_information,
    published_instantaneous_prior,
    published_prior,
    published_vae_decoder,
    published_vae_encoder,
    select,
    vae_decoder_weights,
    vae_encoder_weights,
)
from citris_cli.core.config import ICitrisPriorConfig
from citris_cli.core.gaussians import matched_gaussians
from citris_cli.data.variables import Variable, Variables, canonical_name
from citris_cli.kinds import flat


def causal_latents_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a :class:`~citris_cli.core.causal_latents.CausalLatentsModel`: what both whole models share."""
    if is_icitris(published):
        return _icitris_weights(published)
    return (
        prefixed("flow.", flow_weights(select(published, "flow.")))
        | prefixed("prior.", prior_weights(select(published, "prior_t1.")))
        | prefixed("classifier.", classifier_weights(select(published, "intv_classifier.")))
        | {"assignment.logits": published["prior_t1.target_params"]}
    )


def _published_causal_latents(ours: Mapping[str, Tensor], config: Mapping[str, Any]) -> StateDict:
    """The inverse of :func:`causal_latents_weights`; the configuration tells what weights alone do not.

    Theirs has no mixtures under interventions: each becomes the Gaussian of its mean and variance.
    """
    logits, config = ours["assignment.logits"], flat(config)
    if config["prior"] == ICitrisPriorConfig.name:
        return _published_icitris(ours)
    own = select(ours, "prior.")
    if config.get("interventional_components", 1) > 1:
        own = {**own, "intervened": matched_gaussians(own["intervened"])}
    prior = published_prior(own, len(logits), not config["imperfect_interventions"])
    classifier = published_classifier(select(ours, "classifier."), config["conditional_targets"])
    return (
        {"prior_t1.target_params": logits}
        | prefixed("prior_t1.", prior)
        | prefixed("intv_classifier.", classifier)
        | prefixed("flow.", published_flow(select(ours, "flow.")))
    )


def is_icitris(published: Iterable[str]) -> bool:
    """Whether weights of these names are those of iCITRIS, as CITRIS-NF or CITRIS-VAE."""
    return "prior_t1.net.0.weight" in published


def _icitris_weights(published: Mapping[str, Tensor]) -> StateDict:
    """As :func:`causal_latents_weights` of iCITRIS, whose prior is there twice (``prior.`` and ``prior_t1.``)."""
    return (
        prefixed("flow.", flow_weights(select(published, "flow.")))
        | prefixed("prior.", instantaneous_prior_weights(select(published, "prior_t1.")))
        | prefixed("prior.information.", information_weights(select(published, "mi_estimator.")))
        | prefixed("classifier.", graph_classifier_weights(select(published, "intv_classifier.")))
        | {"assignment.logits": published["prior_t1.target_params"]}
    )


def _published_icitris(ours: Mapping[str, Tensor]) -> StateDict:
    """The inverse of :func:`_icitris_weights`."""
    prior = published_instantaneous_prior(select(ours, "prior.")) | {"target_params": ours["assignment.logits"]}
    return (
        prefixed("prior_t1.", prior)
        | {f"prior.{name}": value.clone() for name, value in prior.items()}  # no file holds one tensor twice
        | prefixed("intv_classifier.", published_graph_classifier(select(ours, "classifier.")))
        | prefixed("mi_estimator.", published_information(select(ours, "prior.information.")))
        | prefixed("flow.", published_flow(select(ours, "flow.")))
    )


def citris_nf_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a whole :class:`~citris_cli.core.citris_nf.CitrisNF`, its autoencoder among them."""
    autoencoder = autoencoder_weights(select(published, "autoencoder."))
    return causal_latents_weights(published) | prefixed("autoencoder.", autoencoder)


def published_citris_nf(ours: Mapping[str, Tensor], config: Mapping[str, Any]) -> StateDict:
    """The inverse of :func:`citris_nf_weights`; ``config`` is the model's own, as JSON has it."""
    autoencoder = published_autoencoder(select(ours, "autoencoder."))
    return _published_causal_latents(ours, config) | prefixed("autoencoder.", autoencoder)


def citris_vae_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a whole :class:`~citris_cli.core.citris_vae.CitrisVAE`; a causal encoder kept beside is left out."""
    encoder = vae_encoder_weights(select(published, "encoder."))
    decoder = vae_decoder_weights(select(published, "decoder."))
    return causal_latents_weights(published) | prefixed("encoder.", encoder) | prefixed("decoder.", decoder)


def published_citris_vae(ours: Mapping[str, Tensor], config: Mapping[str, Any]) -> StateDict:
    """The inverse of :func:`citris_vae_weights`; ``config`` is the model's own, as JSON has it."""
    encoder = published_vae_encoder(select(ours, "encoder."))
    decoder = published_vae_decoder(select(ours, "decoder."))
    networks = prefixed("encoder.", encoder) | prefixed("decoder.", decoder)
    return networks | _published_causal_latents(ours, config)


def causal_encoder_factors(published: Mapping[str, str]) -> Variables:
    """The factors of a published causal encoder, in the order of its heads.

    Args:
        published: its ``causal_var_info``: ``continuous_2`` (range -2 … 2), ``angle`` or ``categ_7`` by name.

    Raises:
        ValueError: a kind that is none of these.
        InputError: a name that no variable can have.
    """
    factors = []
    for name, info in published.items():
        kind, _, size = info.partition("_")
        name = canonical_name(name)
        if kind == "continuous":
            factors.append(Variable(name, "continuous", -float(size), float(size)))
        elif kind == "angle":
            factors.append(Variable(name, "angle"))
        elif kind == "categ":
            factors.append(Variable(name, "categorical", categories=int(size)))
        else:
            raise ValueError(f"factor {name} is of the unknown kind {info}")
    return Variables(factors)


def causal_encoder_weights(published: Mapping[str, Tensor], names: Iterable[str]) -> StateDict:
    """Weights of a :class:`~citris_cli.core.causal_encoder.CausalEncoder`.

    Args:
        published: the state dict.
        names: published names of the factors, in the order of the heads (the keys of ``causal_var_info``).
    """
    renamed = prefixed("encoder.", encoder_weights(select(published, "encoder.")))
    for index, name in enumerate(names):
        # A continuous factor's linear map is the first of two layers there; the second is a scaled tanh.
        for key, value in select(published, f"pred_layers.{name}.").items():
            renamed[f"heads.{index}.{key.removeprefix('0.')}"] = value
    return renamed


def published_causal_encoder(ours: Mapping[str, Tensor], factors: Mapping[str, str]) -> StateDict:
    """The inverse of :func:`causal_encoder_weights`; ``factors`` are a ``causal_var_info``."""
    renamed = prefixed("encoder.", published_encoder(select(ours, "encoder.")))
    for index, (name, kind) in enumerate(factors.items()):
        layer = "0." if kind.startswith("continuous") else ""
        renamed |= prefixed(f"pred_layers.{name}.{layer}", select(ours, f"heads.{index}."))
    return renamed


def optional_entries(names: Iterable[str], reads_scale: bool) -> set[str]:
    """Those of a published model's entries that it can do without: what mirrors constants, and what it never reads.

    Never read are the ``scale_factor`` of an encoder that is no VAE's and the interventional Gaussians that lie beside
    an autoregressive prior.

    Args:
        names: all of its entries.
        reads_scale: whether the model reads that ``scale_factor``.
    """
    names = set(names)
    optional = {name for name in names if is_constant(name)}
    if not reads_scale:
        optional |= {name for name in names if name.endswith("encoder.scale_factor")}
    if any(name.startswith("prior_t1.prior_model.") for name in names):
        optional |= names & {"prior_t1.intv_prior"}
    return optional
