"""Names of the weights of every part of a model in published CITRIS checkpoints and in ours.

A table of pairs serves both directions. ``…_weights`` takes a part's published state dict, with keys relative to the
part (``net.0.0.weight``), and gives one that the part's module loads strictly; ``published_…`` takes the module's own
and gives the published one. What only mirrors constants (masks, identities) is left out on the way here and made again
on the way back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from citris_cli.core.masked import autoregressive_mask

StateDict = dict[str, Tensor]
#: Pairs of templates (published, ours): ``#`` is a number and ``*`` the last part of a name, the same in both.
Pairs = Sequence[tuple[str, str]]

#: Published entries that hold no learned value: constants that our modules build themselves.
_CONSTANTS = re.compile(r"(^|\.)(mask|l_mask|eye|target_mask|grid|two_exp_range|target_counter_mask|graph_structures)$")


def is_constant(name: str) -> bool:
    """Whether a published entry only mirrors a constant."""
    return _CONSTANTS.search(name) is not None


def select(weights: Mapping[str, Tensor], prefix: str) -> StateDict:
    """The entries under ``prefix``, with it removed."""
    return {key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)}


def prefixed(prefix: str, weights: Mapping[str, Tensor]) -> StateDict:
    """The entries with ``prefix`` before every key."""
    return {prefix + key: value for key, value in weights.items()}


def rename(weights: Mapping[str, Tensor], pairs: Iterable[tuple[str, str]]) -> StateDict:
    """Entries under new names; those whose name fits no template are left out.

    Args:
        weights: a state dict.
        pairs: templates (old, new), of which the first that fits counts.
    """
    compiled = [(_pattern(old), _replacement(new)) for old, new in pairs]
    renamed = {}
    for key, value in weights.items():
        for pattern, replacement in compiled:
            if match := pattern.fullmatch(key):
                renamed[match.expand(replacement)] = value
                break
    return renamed


def backwards(pairs: Pairs) -> list[tuple[str, str]]:
    """The same pairs for the other direction."""
    return [(ours, published) for published, ours in pairs]


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(r"\#", r"(\d+)").replace(r"\*", r"([^.]+)"))


def _replacement(template: str) -> str:
    pieces = re.split(r"[#*]", template)
    return pieces[0] + "".join(rf"\g<{index}>{piece}" for index, piece in enumerate(pieces[1:], start=1))


def _count(weights: Mapping[str, Tensor], template: str) -> int:
    """How many different numbers stand in the place of a template's first ``#``."""
    pattern = _pattern(template)
    return len({match[1] for key in weights if (match := pattern.fullmatch(key))})


def _encoder_pairs(stages: int) -> Pairs:
    # The stages are followed by the flattening, which holds no weights.
    return [
        ("net.#.1.pos_embed.*", "stages.#.1.map.*"),
        ("net.#.#.*", "stages.#.#.*"),
        *[(f"net.{stages + 1 + index}.*", f"head.{index}.*") for index in (0, 1, 3)],
    ]


def encoder_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a :class:`~citris_cli.core.networks.ConvEncoder`; the unused ``scale_factor`` is left out."""
    return rename(published, _encoder_pairs(_count(published, "net.#.0.*")))


def published_encoder(ours: Mapping[str, Tensor]) -> StateDict:
    """The inverse of :func:`encoder_weights`; ``scale_factor``, which nothing reads, is 0."""
    unused = torch.zeros(len(ours["head.3.bias"]))
    return {"scale_factor": unused} | rename(ours, backwards(_encoder_pairs(_count(ours, "stages.#.0.*"))))


def _decoder_pairs(stages: int) -> Pairs:
    return [
        ("linear.#.*", "head.#.*"),
        ("net.#.0.0.*", "stages.#.0.0.*"),  # only where channels grow, which no published network's do
        ("net.#.#.net.3.pos_embed.*", "stages.#.#.net.3.map.*"),
        ("net.#.#.net.#.*", "stages.#.#.net.#.*"),
        (f"net.{stages + 3}.pos_embed.*", "tail.3.map.*"),
        *[(f"net.{stages + index}.*", f"tail.{index}.*") for index in (0, 2, 4, 6)],
    ]


def decoder_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a :class:`~citris_cli.core.networks.ConvDecoder`."""
    return rename(published, _decoder_pairs(_count(published, "net.#.#.net.0.*")))


def published_decoder(ours: Mapping[str, Tensor]) -> StateDict:
    """The inverse of :func:`decoder_weights`."""
    return rename(ours, backwards(_decoder_pairs(_count(ours, "stages.#.#.net.0.*"))))


def autoencoder_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of an :class:`~citris_cli.core.autoencoder.Autoencoder`."""
    encoder = encoder_weights(select(published, "encoder."))
    decoder = decoder_weights(select(published, "decoder."))
    return prefixed("encoder.", encoder) | prefixed("decoder.", decoder)


def published_autoencoder(ours: Mapping[str, Tensor]) -> StateDict:
    """The inverse of :func:`autoencoder_weights`."""
    encoder = published_encoder(select(ours, "encoder."))
    decoder = published_decoder(select(ours, "decoder."))
    return prefixed("encoder.", encoder) | prefixed("decoder.", decoder)


_SMALL_ENCODER: Pairs = [("net.1.pos_embed.*", "network.1.map.*"), ("net.#.*", "network.#.*")]
# The convolutions follow the two linear maps, their SiLUs and the reshaping.
_SMALL_DECODER: Pairs = [
    ("linear.#.*", "#.*"),
    *[(f"net.{layer}.pos_embed.*", f"{layer + 5}.map.*") for layer in (1, 4, 7, 10)],
    *[(f"net.{layer}.*", f"{layer + 5}.*") for layer in (0, 3, 6, 9, 12)],
]


def vae_encoder_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a :class:`~citris_cli.core.vae_networks.GaussianEncoder`, of the pyramid or the small pair."""
    if "scale_factor" not in published:
        return rename(published, _SMALL_ENCODER)
    return prefixed("network.", encoder_weights(published)) | {"scale": published["scale_factor"]}


def published_vae_encoder(ours: Mapping[str, Tensor]) -> StateDict:
    """The inverse of :func:`vae_encoder_weights`."""
    if "scale" not in ours:
        return rename(ours, backwards(_SMALL_ENCODER))
    return published_encoder(select(ours, "network.")) | {"scale_factor": ours["scale"]}


def vae_decoder_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of the pyramid's :class:`~citris_cli.core.networks.ConvDecoder` or of a small one."""
    # Only the pyramid has a normalisation in its head, and one at its end.
    if "linear.1.weight" in published:
        return decoder_weights(published)
    return rename(published, _SMALL_DECODER)


def published_vae_decoder(ours: Mapping[str, Tensor]) -> StateDict:
    """The inverse of :func:`vae_decoder_weights`."""
    if "head.1.weight" in ours:
        return published_decoder(ours)
    # The linear maps are layers 0 and 2, before the reshaping; every later layer has a pair of its own.
    return rename(ours, [*backwards(_SMALL_DECODER[1:]), ("#.*", "linear.#.*")])


_FLOW: Pairs = [
    ("flows.#.net.0.linear.*", "transforms.#.first.*"),
    ("flows.#.net.2.linear.*", "transforms.#.middle.*"),
    ("flows.#.net.4.linear.*", "transforms.#.last.*"),
    ("flows.#.transformation.scaling", "transforms.#.scaling"),
    ("flows.#.scales", "transforms.#.log_scale"),
    ("flows.#.bias", "transforms.#.bias"),
    ("flows.#.l", "transforms.#.lower"),
    ("flows.#.u", "transforms.#.upper"),
    ("flows.#.p", "transforms.#.permutation"),
    ("flows.#.log_s", "transforms.#.log_diagonal"),
    ("flows.#.sign_s", "transforms.#.sign"),
]


def flow_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a :class:`~citris_cli.core.flow.NormalizingFlow`."""
    renamed = rename(published, _FLOW)
    for key in [key for key in renamed if key.endswith(".log_scale")]:
        # A published flow is a trained one: its ActNorms have seen their first batch.
        renamed[key.replace("log_scale", "initialised")] = torch.tensor(True)
    return renamed


def published_flow(ours: Mapping[str, Tensor]) -> StateDict:
    """The inverse of :func:`flow_weights`."""
    renamed = rename(ours, backwards(_FLOW))
    constants: StateDict = {}
    for key, value in renamed.items():
        transform, _, name = key.partition(".")[2].partition(".")
        place = f"flows.{transform}."
        if name == "l":
            constants[place + "l_mask"] = torch.ones(value.shape).tril(-1)
            constants[place + "eye"] = torch.eye(len(value))
        if name == "transformation.scaling":
            constants |= _masks(renamed, len(value), [(f"{place}net.{layer}.", layer == 0) for layer in (0, 2, 4)])
    return renamed | constants


def _masks(published: Mapping[str, Tensor], latents: int, layers: Iterable[tuple[str, bool]]) -> StateDict:
    """Masks of masked linear layers: their prefix and whether a variable must not see itself."""
    masks = {}
    for prefix, strict in layers:
        outputs, inputs = published[prefix + "linear.weight"].shape
        masks[prefix + "mask"] = autoregressive_mask(outputs // latents, inputs // latents, latents, strict)
    return masks


_AUTOREGRESSIVE_PRIOR: Pairs = [
    ("prior_model.context_layer.*", "context.*"),
    ("prior_model.target_layer.*", "target.*"),
    ("prior_model.init_layer.linear.*", "first.*"),
    ("prior_model.net.1.linear.*", "middle.*"),
    ("prior_model.net.3.linear.*", "last.*"),
]
_MLP_PRIOR: Pairs = [
    ("intv_prior", "intervened"),
    ("context_layer.*", "context_*"),
    ("inp_layer.*", "own.*"),
    ("out_layer.1.*", "middle.*"),
    ("out_layer.3.*", "out.*"),
]


_INSTANTANEOUS_PRIOR: Pairs = [
    ("enco_gamma", "graph.gamma"),
    ("enco_theta", "graph.theta"),
    ("notears_params", "graph.logits"),
    ("net.1.norm.weight", "networks.first_gain"),
    ("net.1.norm.bias", "networks.first_offset"),
    ("net.4.norm.weight", "networks.middle_gain"),
    ("net.4.norm.bias", "networks.middle_offset"),
    ("net.0.*", "networks.first_*"),
    ("net.3.*", "networks.middle_*"),
    ("net.6.*", "networks.last_*"),
    ("net.7.scale_factors", "networks.log_bounds"),
]
#: What stands on the diagonal of a published graph's logits: no variable acts on itself.
_NO_EDGE = -9e15


def instantaneous_prior_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of iCITRIS's prior, without its estimator of mutual information, which lies beside it in theirs.

    Published graphs that have settled do not say so; ours, read from one, does in the first step of a training.
    """
    renamed = rename(published, _INSTANTANEOUS_PRIOR)
    of_networks = renamed["networks.first_bias"].shape
    for name in [name for name in renamed if name.endswith(("_gain", "_offset"))]:
        renamed[name] = renamed[name].view(of_networks)
    for name in [name for name in renamed if name.startswith("graph.")]:
        renamed[name] = renamed[name].clone().fill_diagonal_(0)
    return renamed | {"graph.fixed": torch.tensor(False)}


def published_instantaneous_prior(ours: Mapping[str, Tensor]) -> StateDict:
    """The inverse of :func:`instantaneous_prior_weights`."""
    renamed = rename(ours, backwards(_INSTANTANEOUS_PRIOR))
    for name in [name for name in renamed if ".norm." in name]:
        renamed[name] = renamed[name].flatten()
    for name in [name for name in renamed if name.startswith(("enco_", "notears_"))]:
        renamed[name] = renamed[name].clone().fill_diagonal_(_NO_EDGE)
    return renamed


_INFORMATION: Pairs = [("mi_estimator.#.*", "network.#.*"), ("exp_mi_estimator.#.*", "frozen.#.*")]


def information_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a :class:`~citris_cli.core.mutual_information.MutualInformationEstimator`."""
    return rename(published, _INFORMATION)


def published_information(ours: Mapping[str, Tensor]) -> StateDict:
    """The inverse of :func:`information_weights`."""
    return rename(ours, backwards(_INFORMATION))


def prior_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a transition prior of CITRIS of any form; the assignment is not among them.

    The published autoregressive prior also stores the interventional Gaussians of the MLP form, which it does not use.
    """
    if any(key.startswith("prior_model.") for key in published):
        return rename(published, _AUTOREGRESSIVE_PRIOR)
    renamed = rename(published, _MLP_PRIOR)
    latents, hidden, _ = renamed["own.weight"].shape
    renamed["context_weight"] = renamed["context_weight"].view(latents, hidden, latents)
    renamed["context_bias"] = renamed["context_bias"].view(latents, hidden)
    return renamed


def published_prior(ours: Mapping[str, Tensor], latents: int, perfect: bool) -> StateDict:
    """The inverse of :func:`prior_weights`.

    Args:
        ours: weights of the prior.
        latents: number of latents M.
        perfect: whether interventions are; the unused Gaussians of the perfect autoregressive prior are 0.
    """
    if "own.weight" in ours:
        renamed = rename(ours, backwards(_MLP_PRIOR))
        renamed["context_layer.weight"] = renamed["context_layer.weight"].flatten(0, 1)
        renamed["context_layer.bias"] = renamed["context_layer.bias"].flatten()
        return renamed
    renamed = rename(ours, backwards(_AUTOREGRESSIVE_PRIOR))
    columns = ours["target.weight"].shape[1]
    layers = [("prior_model.init_layer.", True), ("prior_model.net.1.", False), ("prior_model.net.3.", False)]
    renamed |= {"prior_model.target_mask": torch.eye(columns), **_masks(renamed, latents, layers)}
    return renamed | ({"intv_prior": torch.zeros(latents, columns - 1, 2)} if perfect else {})


_CLASSIFIER: Pairs = [("classifiers.#.*", "network.#.*"), ("exp_classifiers.#.*", "frozen.#.*")]


def classifier_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a :class:`~citris_cli.core.target_classifier.TargetClassifier`."""
    renamed = rename(published, _CLASSIFIER)
    variables = len(published["avg_dist"])
    renamed["mean"] = published["avg_dist"][:, 1]
    # Published as [i, j, value of I_j, value of I_i], of which the last is p(I_i = 1 | I_j); ours is [j, value, i].
    conditional = published.get("avg_cond_dist")
    renamed["conditional_mean"] = (
        torch.full((variables, 2, variables), 0.5)
        if conditional is None
        else conditional[..., 1].permute(1, 2, 0).contiguous()
    )
    steps = published.get("dist_cond_steps")
    renamed["conditional_count"] = torch.zeros(variables, 2) if steps is None else steps
    # Every target vector counts once for each variable, in the place of its 0 or of its 1.
    renamed["count"] = torch.ones(()) if steps is None else steps[0].sum().clamp_min(1)
    return renamed


def graph_classifier_weights(published: Mapping[str, Tensor]) -> StateDict:
    """Weights of a :class:`~citris_cli.core.graph_classifier.GraphTargetClassifier`.

    All that it says of targets follows from how often the joint ones occurred.
    """
    counts = published["target_counter"].flatten().long()
    told = {"seen.counts": counts, "seen.mean": published["avg_dist"][:, 1], "seen.rows": counts.sum()}
    return rename(published, _CLASSIFIER) | told


def published_graph_classifier(ours: Mapping[str, Tensor]) -> StateDict:
    """The inverse of :func:`graph_classifier_weights`, with the tables that follow from the counts.

    ``target_counter_prob`` [U, u, j] is p(I_j = 1 | I_U = u_U), for sets of variables U and joint targets u as binary
    numbers; ``avg_cond_dist`` [i, j, value of I_j, value of I_i] counts every value once more than it occurred.
    """
    counts, mean = ours["seen.counts"].float(), ours["seen.mean"]
    variables = len(mean)
    places = torch.arange(variables - 1, -1, -1)
    binary = torch.zeros(2**variables, variables) if counts.is_meta else _binary(variables)
    renamed = rename(ours, backwards(_CLASSIFIER)) | {
        "avg_dist": torch.stack([1 - mean, mean], dim=-1),
        "target_counter": counts.reshape((2,) * variables),
        "target_counter_mask": binary,
        "graph_structures": binary.clone(),
        "two_exp_range": (2.0**places).float(),
    }
    ones = counts @ binary  # of I_j = 1
    together = (binary * counts.unsqueeze(1)).T @ binary
    number = torch.stack([counts.sum() - ones, ones], dim=-1)  # [j, v]
    both = torch.stack([ones.unsqueeze(1) - together, together], dim=-1)  # [i, j, v] of I_i = 1
    given = (both + 0.5) / (number + 1)
    renamed["dist_cond_steps"] = number + 1
    renamed["avg_cond_dist"] = torch.stack([1 - given, given], dim=-1)
    tables = []
    for known in binary:
        alike = (((binary.unsqueeze(1) - binary) * known).abs().sum(-1) == 0).to(counts.dtype) * counts
        tables.append((alike @ binary) / alike.sum(1, keepdim=True).clamp_min(1))
    renamed["target_counter_prob"] = torch.stack(tables)
    return renamed


def _binary(variables: int) -> Tensor:
    """All joint targets [2^K, K], the first variable being the highest bit."""
    return (torch.arange(2**variables).unsqueeze(1) >> torch.arange(variables - 1, -1, -1) & 1).float()


def published_classifier(ours: Mapping[str, Tensor], conditional: bool) -> StateDict:
    """The inverse of :func:`classifier_weights`.

    Args:
        ours: weights of the classifier.
        conditional: whether it uses the conditional means; the published one keeps them only then.
    """
    renamed = rename(ours, backwards(_CLASSIFIER))
    mean = ours["mean"]
    renamed["avg_dist"] = torch.stack([1 - mean, mean], dim=-1)
    if conditional:
        given = ours["conditional_mean"].permute(2, 0, 1)
        renamed["avg_cond_dist"] = torch.stack([1 - given, given], dim=-1)
        renamed["dist_cond_steps"] = ours["conditional_count"]
    return renamed
