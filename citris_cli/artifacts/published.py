"""Names of the weights in published CITRIS checkpoints, mapped onto ours.

A mapping takes a state dict whose keys are relative to the part (``net.0.0.weight``) and gives one that the part's
module loads strictly; entries that only mirror constants (masks, identities, batch counters) are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from citris_cli.data.variables import Variable, Variables, canonical_name

StateDict = dict[str, Tensor]

#: Published entries that hold no learned value: constants that our modules build themselves, and an unused scale.
_CONSTANTS = re.compile(r"(^|\.)(mask|l_mask|eye|target_mask|grid)$")


def select(weights: Mapping[str, Tensor], prefix: str) -> StateDict:
    """The entries under ``prefix``, with it removed."""
    return {key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)}


def _rename(weights: Mapping[str, Tensor], rules: list[tuple[str, str]]) -> StateDict:
    renamed = {}
    for key, value in weights.items():
        if _CONSTANTS.search(key):
            continue
        for pattern, replacement in rules:
            new, matched = re.subn(pattern, replacement, key)
            if matched:
                renamed[new] = value
                break
    return renamed


def encoder_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a :class:`~citris_cli.core.networks.ConvEncoder`; the unused ``scale_factor`` is left out."""
    stages = 1 + max(int(key.split(".")[1]) for key in published if re.match(r"net\.\d+\.\d+\.", key))
    rules = [
        (r"^net\.(\d+)\.1\.pos_embed\.", r"stages.\1.1.map."),
        (r"^net\.(\d+)\.(\d+)\.", r"stages.\1.\2."),
        *[(rf"^net\.{stages + 1 + index}\.(?=weight|bias)", f"head.{index}.") for index in (0, 1, 3)],
    ]
    return _rename(published, rules)


def decoder_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a :class:`~citris_cli.core.networks.ConvDecoder`."""
    stages = 1 + max(int(key.split(".")[1]) for key in published if re.match(r"net\.\d+\.\d+\.net\.", key))
    rules = [
        (r"^linear\.", "head."),
        (r"^net\.(\d+)\.(\d+)\.net\.3\.pos_embed\.", r"stages.\1.\2.net.3.map."),
        (r"^net\.(\d+)\.(\d+)\.net\.", r"stages.\1.\2.net."),
        (rf"^net\.{stages + 3}\.pos_embed\.", "tail.3.map."),
        *[(rf"^net\.{stages + index}\.", f"tail.{index}.") for index in (0, 2, 4, 6)],
    ]
    return _rename(published, rules)


def autoencoder_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of an :class:`~citris_cli.core.autoencoder.Autoencoder`."""
    encoder = encoder_weights(select(published, "encoder."))
    decoder = decoder_weights(select(published, "decoder."))
    return {f"encoder.{key}": value for key, value in encoder.items()} | {
        f"decoder.{key}": value for key, value in decoder.items()
    }


def flow_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a :class:`~citris_cli.core.flow.NormalizingFlow`."""
    rules = [
        (r"^flows\.(\d+)\.net\.0\.linear\.", r"transforms.\1.first."),
        (r"^flows\.(\d+)\.net\.2\.linear\.", r"transforms.\1.middle."),
        (r"^flows\.(\d+)\.net\.4\.linear\.", r"transforms.\1.last."),
        (r"^flows\.(\d+)\.transformation\.scaling$", r"transforms.\1.scaling"),
        (r"^flows\.(\d+)\.scales$", r"transforms.\1.log_scale"),
        (r"^flows\.(\d+)\.l$", r"transforms.\1.lower"),
        (r"^flows\.(\d+)\.u$", r"transforms.\1.upper"),
        (r"^flows\.(\d+)\.p$", r"transforms.\1.permutation"),
        (r"^flows\.(\d+)\.log_s$", r"transforms.\1.log_diagonal"),
        (r"^flows\.(\d+)\.sign_s$", r"transforms.\1.sign"),
        (r"^flows\.(\d+)\.bias$", r"transforms.\1.bias"),
    ]
    renamed = _rename(published, rules)
    for key in [key for key in renamed if key.endswith(".log_scale")]:
        # A published flow is a trained one: its ActNorms have seen their first batch.
        renamed[key.replace("log_scale", "initialised")] = torch.tensor(True)
    return renamed


def vae_encoder_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a :class:`~citris_cli.core.vae_networks.GaussianEncoder`, of the pyramid or the small pair."""
    if "scale_factor" in published:
        pyramid = {f"network.{key}": value for key, value in encoder_weights(published).items()}
        return {**pyramid, "scale": published["scale_factor"]}
    return _rename(published, [(r"^net\.1\.pos_embed\.", "network.1.map."), (r"^net\.(\d+)\.", r"network.\1.")])


def vae_decoder_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of the pyramid's :class:`~citris_cli.core.networks.ConvDecoder` or of a small one."""
    if any(re.match(r"net\.\d+\.\d+\.net\.", key) for key in published):
        return decoder_weights(published)
    # The convolutions follow the two linear maps, their SiLUs and the reshaping.
    rules = [(rf"^net\.{layer}\.pos_embed\.", f"{layer + 5}.map.") for layer in (1, 4, 7, 10)]
    rules += [(rf"^net\.{layer}\.", f"{layer + 5}.") for layer in (0, 3, 6, 9, 12)]
    return _rename(published, [(r"^linear\.", ""), *rules])


def prior_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a transition prior of any form; the assignment is not among them.

    The published autoregressive prior also stores the interventional Gaussians of the MLP form, which it does not use.
    """
    autoregressive = select(published, "prior_model.")
    if autoregressive:
        rules = [
            (r"^context_layer\.", "context."),
            (r"^target_layer\.", "target."),
            (r"^init_layer\.linear\.", "first."),
            (r"^net\.1\.linear\.", "middle."),
            (r"^net\.3\.linear\.", "last."),
        ]
        return _rename(autoregressive, rules)
    rules = [
        (r"^intv_prior$", "intervened"),
        (r"^context_layer\.", "context_"),
        (r"^inp_layer\.", "own."),
        (r"^out_layer\.1\.", "middle."),
        (r"^out_layer\.3\.", "out."),
    ]
    renamed = _rename(published, rules)
    latents, hidden, _ = renamed["own.weight"].shape
    renamed["context_weight"] = renamed["context_weight"].view(latents, hidden, latents)
    renamed["context_bias"] = renamed["context_bias"].view(latents, hidden)
    return renamed


def classifier_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a :class:`~citris_cli.core.target_classifier.TargetClassifier`."""
    rules = [(r"^classifiers\.", "network."), (r"^exp_classifiers\.", "frozen.")]
    renamed = _rename(published, rules)
    variables = len(published["avg_dist"])
    renamed["mean"] = published["avg_dist"][:, 1]
    renamed["count"] = torch.ones(())
    # Published as [i, j, value of I_j, value of I_i], of which the last is p(I_i = 1 | I_j); ours is [j, value, i].
    conditional = published.get("avg_cond_dist")
    renamed["conditional_mean"] = (
        torch.full((variables, 2, variables), 0.5)
        if conditional is None
        else conditional[..., 1].permute(1, 2, 0).contiguous()
    )
    renamed["conditional_count"] = published.get("dist_cond_steps", torch.zeros(variables, 2))
    return renamed


def causal_latents_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a :class:`~citris_cli.core.causal_latents.CausalLatentsModel`: what both whole models share."""
    parts = {
        "flow.": flow_weights(select(published, "flow.")),
        "prior.": prior_weights(select(published, "prior_t1.")),
        "classifier.": classifier_weights(select(published, "intv_classifier.")),
    }
    weights = {part + key: value for part, renamed in parts.items() for key, value in renamed.items()}
    return {**weights, "assignment.logits": published["prior_t1.target_params"]}


def citris_nf_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a whole :class:`~citris_cli.core.citris_nf.CitrisNF`, its autoencoder among them."""
    autoencoder = autoencoder_weights(select(published, "autoencoder."))
    return causal_latents_weights(published) | {f"autoencoder.{key}": value for key, value in autoencoder.items()}


def citris_vae_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a whole :class:`~citris_cli.core.citris_vae.CitrisVAE`; a causal encoder kept beside is left out."""
    encoder = vae_encoder_weights(select(published, "encoder."))
    decoder = vae_decoder_weights(select(published, "decoder."))
    return (
        causal_latents_weights(published)
        | {f"encoder.{key}": value for key, value in encoder.items()}
        | {f"decoder.{key}": value for key, value in decoder.items()}
    )


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
    renamed = {f"encoder.{key}": value for key, value in encoder_weights(select(published, "encoder.")).items()}
    for index, name in enumerate(names):
        # A continuous factor's linear map is the first of two layers there; the second is a scaled tanh.
        for key, value in select(published, f"pred_layers.{name}.").items():
            renamed[f"heads.{index}.{key.removeprefix('0.')}"] = value
    return renamed
