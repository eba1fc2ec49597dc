"""Names of the weights in published CITRIS checkpoints, mapped onto ours.

A mapping takes a state dict whose keys are relative to the part (``net.0.0.weight``) and gives one that the part's
module loads strictly; entries that only mirror constants (masks, identities, batch counters) are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

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


def prior_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of an :class:`~citris_cli.core.transition_prior.MLPTransitionPrior`; the assignment is not among them."""
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
