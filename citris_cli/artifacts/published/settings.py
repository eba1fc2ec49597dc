"""What a published model is: its kind, its sizes and the rest of its configuration, and the same the other way.

Sizes are read off the weights, which cannot lie about them, and the hyperparameters must agree; what weights do not
tell (the weight of a loss, a momentum) is taken from the hyperparameters, or is our default where they are silent.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from citris_cli.artifacts.published.models import is_icitris
from citris_cli.artifacts.published.parts import select
from citris_cli.core.causal_encoder import REACH
from citris_cli.core.config import MOST_CHANNELS, PATCHES, SMALL_WIDTH, WIDTHS, WIDTHS_TOLD, ICitrisPriorConfig
from citris_cli.core.networks import grid_sides
from citris_cli.core.priors import find_prior
from citris_cli.kinds import KINDS, config_from_json, config_to_json, flat
from citris_cli.wording import counted, legible

#: Most variables of a model: what a target classifier keeps of them grows with their square.
MAX_VARIABLES = 1000
#: The activation function of every network of ours.
ACTIVATION = "silu"


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of one kind of model by our fields.

    Attributes:
        sizes: those that weights tell of as well.
        others: those that only they tell.
        constants: those that are the same for every model.
    """

    sizes: Mapping[str, str]
    others: Mapping[str, str]
    constants: Mapping[str, Any] = dataclasses.field(default_factory=dict)


#: Of both models with causal latents.
SHARED_SIZES = {
    "latents": "num_latents",
    "variables": "num_causal_vars",
    "classifier_layers": "classifier_num_layers",
    "imperfect_interventions": "imperfect_interventions",
}
SHARED_OTHERS = {
    "classifier_momentum": "classifier_momentum",
    "classifier_weight": "beta_classifier",
    "conditional_targets": "classifier_use_conditional_targets",
    "regulariser": "lambda_reg",
    "temperature": "classifier_gumbel_temperature",
}
#: Of iCITRIS, of the same kinds of model.
ICITRIS_SIZES = {"latents": "num_latents", "variables": "num_causal_vars", "autoregressive": "autoregressive_prior"}
ICITRIS_OTHERS = {
    "classifier_weight": "beta_classifier",
    "mi_weight": "beta_mi_estimator",
    "regulariser": "lambda_reg",
    "sparsity": "lambda_sparse",
    "graph_samples": "num_graph_samples",
}
#: Most variables of a published iCITRIS: its classifier keeps a table of all pairs of joint targets.
ICITRIS_VARIABLES = 10


def _icitris_settings(kind: str) -> Settings:
    """Hyperparameters of iCITRIS: its own, and those of the kind that are not of CITRIS's prior and classifier."""
    settings = KINDS[kind].published.settings
    sizes = {field: name for field, name in settings.sizes.items() if field not in SHARED_SIZES}
    others = {field: name for field, name in settings.others.items() if field not in SHARED_OTHERS}
    constants = {name: value for name, value in settings.constants.items() if not name.startswith("classifier_")}
    return Settings(ICITRIS_SIZES | sizes, ICITRIS_OTHERS | others, constants)


def _defaults(kind: str, icitris: bool) -> dict[str, Any]:
    """Our configuration where hyperparameters are silent, flat."""
    config = KINDS[kind].config()
    if icitris:
        config = dataclasses.replace(config, prior=ICitrisPriorConfig(psi0=False))
    defaults = flat(config_to_json(config))
    return {**defaults, **find_prior(ICitrisPriorConfig.name).preset_for(kind, "paper", {})} if icitris else defaults


def kind_of(weights: Mapping[str, Tensor]) -> str:
    """Kind of model that a published state dict is of, by the parts that it has.

    Raises:
        ValueError: none that is known.
    """
    parts = {name.partition(".")[0] for name in weights}
    found = next((kind.name for kind in KINDS.values() if kind.published.has(parts)), None)
    if found is not None:
        return found
    shown = legible(", ".join(sorted(parts))) or "none"
    titles = ", ".join(kind.title for kind in KINDS.values())
    raise ValueError(f"its weights (parts: {shown}) are of no model that citris knows: {titles}")


def configuration(kind: str, weights: Mapping[str, Tensor], hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Our configuration of a published model, by part, as a model file has it.

    Args:
        kind: of the model, see :func:`kind_of`.
        weights: its published state dict. The autoencoder of a CITRIS-NF may be missing, and then is here too.
        hyper_parameters: its published hyperparameters.

    Raises:
        ValueError: a weight that tells a size is missing, hyperparameters disagree with the weights or are no values
            that they can have, or the model has networks that ours do not.
    """
    for name in ("act_fn", "flow_act_fn", "classifier_act_fn"):
        given = hyper_parameters.get(name, ACTIVATION)
        if not isinstance(given, str) or given != ACTIVATION:
            raise ValueError(f"its {name} is {_shown(given)}, and citris has networks with {ACTIVATION} only")
    config = {kind: _settled(kind, KINDS[kind].published.sizes(weights, hyper_parameters), hyper_parameters)}
    for part in KINDS[kind].inside:
        inner = select(weights, f"{part}.")
        if inner:
            told = {name: hyper_parameters[name] for name in ("img_width",) if name in hyper_parameters}
            sizes = KINDS[part].published.sizes(inner, told)
            _check_agreement({"width": sizes["width"]}, {"width": "img_width"}, told)
            config[part] = _settled(part, sizes, {"noise_level": config[kind]["noise"]})
    return config


def hyper_parameters_of(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Published hyperparameters of a configuration of ours; the inverse of :func:`configuration`.

    Args:
        kind: of the model.
        config: its configuration by part.
    """
    own, settings = flat(config[kind]), KINDS[kind].published.settings
    icitris = own.get("prior") == ICitrisPriorConfig.name
    settings = _icitris_settings(kind) if icitris else settings
    found = {name: own[field] for field, name in {**settings.sizes, **settings.others}.items()}
    found |= {"act_fn": ACTIVATION, **settings.constants}
    if icitris:
        found["graph_learning_method"] = own["graph_learning"].upper()
    elif KINDS[kind].causal:
        found["autoregressive_prior"] = own["prior"] == "autoregressive"
    if KINDS[kind].causal:
        found["use_flow_prior"] = not KINDS[kind].inside and own["flow_layers"] > 0
    return found | {"img_width": KINDS[kind].width(config)}


def factor_kinds(weights: Mapping[str, Tensor], hyper_parameters: Mapping[str, Any]) -> dict[str, str]:
    """Factors of a published causal encoder by name, as ``causal_var_info`` describes them, in the order of its heads.

    A causal encoder that is kept inside another model has no hyperparameters of its own; its heads tell their kinds:
    two layers are a continuous factor's, and one of two outputs, in the published worlds, an angle's.

    Raises:
        ValueError: ``causal_var_info`` is malformed or names other factors than the heads, or there are no heads.
    """
    heads: dict[str, str] = {}
    for name, value in weights.items():
        match = re.fullmatch(r"pred_layers\.([^.]+)\.(0\.)?weight", name)
        if match is not None:
            outputs = value.shape[0] if value.ndim else 0
            heads[match[1]] = f"continuous_{REACH:g}" if match[2] else "angle" if outputs == 2 else f"categ_{outputs}"
    info = hyper_parameters.get("causal_var_info", heads)
    if not isinstance(info, Mapping) or not all(isinstance(k, str) and isinstance(v, str) for k, v in info.items()):
        raise ValueError("its causal_var_info is malformed; it needs the kind of every factor by name")
    if not heads or info.keys() != heads.keys():
        raise ValueError(
            f"its causal_var_info names the factors {legible(', '.join(info)) or 'none'} and it has heads for "
            f"{legible(', '.join(heads)) or 'none'}"
        )
    for name, kind in info.items():
        if not re.fullmatch(r"continuous_2(\.0+)?|angle|categ_[1-9]\d{0,5}", kind):
            raise ValueError(
                f"its factor {legible(name)} is of the kind {legible(kind)}, and citris knows continuous_2, angle and "
                "categ_… of published causal encoders"
            )
    return dict(info)


def _settled(kind: str, sizes: Mapping[str, Any], hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The whole configuration of one part: sizes as they are, all else as the hyperparameters say or our defaults."""
    form, icitris = KINDS[kind].config, sizes.get("prior") == ICitrisPriorConfig.name
    settings = _icitris_settings(kind) if icitris else KINDS[kind].published.settings
    ambiguous = {"decoder_blocks"} if sizes.get("networks") == "small" else set()
    _check_agreement(sizes, {f: n for f, n in settings.sizes.items() if f not in ambiguous}, hyper_parameters)
    defaults = _defaults(kind, icitris)
    others = {
        field: _value(name, hyper_parameters.get(name, defaults[field]), defaults[field])
        for field, name in settings.others.items()
    }
    return config_to_json(config_from_json(form, {**defaults, **sizes, **others}))


def _check_agreement(sizes: Mapping[str, Any], names: Mapping[str, str], hyper_parameters: Mapping[str, Any]) -> None:
    for field, name in names.items():
        if field in sizes and name in hyper_parameters and not _same(hyper_parameters[name], sizes[field]):
            raise ValueError(
                f"its hyperparameter {name} is {_shown(hyper_parameters[name])} and its weights say {sizes[field]}"
            )


def _same(given: Any, told: Any) -> bool:
    # A tensor or an object of a file must not be asked whether it equals a number.
    return type(given) in (bool, int, float) and given == told


def _value(name: str, given: Any, default: Any) -> Any:
    """A hyperparameter of the default's type, numbers not negative."""
    if isinstance(default, bool):
        fits = isinstance(given, bool)
    elif isinstance(default, int):
        fits = type(given) is int and 1 <= given <= 10**6
    else:
        fits = (type(given) is int and 0 <= given <= 10**9) or (type(given) is float and 0 <= given < math.inf)
    if not fits:
        wanted = {bool: "true or false", int: "a whole number of at least 1"}.get(
            type(default), "a number of at least 0"
        )
        raise ValueError(f"its hyperparameter {name} is {_shown(given)}; it must be {wanted}")
    return type(default)(given)


def _shown(value: Any) -> str:
    plain = isinstance(value, (bool, int, float, str))
    return legible(repr(value), 40) if plain else f"of type {type(value).__name__}"


class _Shapes:
    """Shapes of published weights, in which a missing one is an error of the file's."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights

    def __contains__(self, name: str) -> bool:
        return name in self._weights

    def of(self, name: str, dimensions: int) -> tuple[int, ...]:
        """Shape of a weight that must be there and have so many dimensions, none of them empty."""
        if name not in self._weights:
            raise ValueError(f"the weight {name} is missing; get the file again")
        shape = tuple(self._weights[name].shape)
        if len(shape) != dimensions or 0 in shape:
            raise ValueError(f"the weight {name} has the shape {list(shape)}; it needs {dimensions} dimensions")
        return shape

    def count(self, pattern: str) -> int:
        """How many different things a pattern's group stands for among the names."""
        compiled = re.compile(pattern)
        return len({match[1] for name in self._weights if (match := compiled.fullmatch(name))})


def image_encoder_sizes(weights: Mapping[str, Tensor], hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes of a :class:`~citris_cli.core.networks.ConvEncoder` under the name ``encoder``."""
    shapes = _Shapes(weights)
    channels, inputs = shapes.of("encoder.net.0.0.weight", 4)[:2]
    stages = shapes.count(r"encoder\.net\.(\d+)\.0\.weight")
    # Inputs are the channels of a frame times those of a patch's pixels: 4 are RGB and one more, or 2x2 pixels of grey.
    # The width tells; without it a frame is RGB if it can be, or else not folded.
    folded = [patch for patch in PATCHES if inputs % patch**2 == 0 and inputs // patch**2 <= MOST_CHANNELS]
    if not folded:
        raise ValueError(
            f"its encoder reads {inputs} channels, and citris has networks for pictures of 1 to {MOST_CHANNELS}"
        )
    last = shapes.of(f"encoder.net.{stages - 1}.0.weight", 4)[0]
    head = f"encoder.net.{stages + 1}.weight"
    seen = shapes.of(head, 2)[1]
    fitting = [
        (width, patch)
        for patch in sorted(folded, key=lambda patch: inputs != 3 * patch**2)
        for width in WIDTHS
        if (len(sides := grid_sides(width, patch)), sides[-1] ** 2 * last) == (stages + 1, seen)
    ]
    if not fitting:
        raise ValueError(
            f"its encoder has {counted(stages, 'stage')} and {head} {counted(seen, 'column')}; citris has none such "
            f"for frames of {WIDTHS_TOLD} pixels"
        )
    told = hyper_parameters.get("img_width")
    width, patch = next((one for one in fitting if _same(told, one[0])), fitting[0])
    if told is None and (others := [other for other, folding in fitting if folding == patch and other != width]):
        raise ValueError(
            f"its weights fit frames of {width} and of {others[0]} pixels; it needs the hyperparameter img_width to "
            "tell which"
        )
    return {"width": width, "channels": channels, "patch": patch, "image_channels": inputs // patch**2}


def autoencoder_sizes(weights: Mapping[str, Tensor], hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes of an autoencoder."""
    shapes = _Shapes(weights)
    latents = shapes.of("decoder.linear.0.weight", 2)[1]
    sizes = image_encoder_sizes(weights, hyper_parameters)
    start = shapes.of("decoder.linear.3.weight", 2)[0]
    sides = grid_sides(sizes["width"], sizes["patch"])
    growth = 2 if start == sides[-1] ** 2 * sizes["channels"] * 2 ** (len(sides) - 1) else 1
    return {**sizes, "growth": growth, "latents": latents, "decoder_blocks": _decoder_blocks(shapes)}


def _decoder_blocks(shapes: _Shapes) -> int:
    return shapes.count(r"decoder\.net\.0\.(\d+)\.net\.0\.weight")


def vae_sizes(weights: Mapping[str, Tensor], hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes of a whole CITRIS-VAE."""
    shapes, shared = _Shapes(weights), causal_latents_sizes(weights, hyper_parameters)
    if "encoder.net.0.weight" in shapes:
        channels, inputs = shapes.of("encoder.net.0.weight", 4)[:2]
        sizes = {"width": SMALL_WIDTH, "channels": channels, "image_channels": inputs}
        return {**shared, "networks": "small", **sizes}
    blocks = _decoder_blocks(shapes)
    images = image_encoder_sizes(weights, hyper_parameters)
    return {**shared, "networks": "pyramid", **images, "decoder_blocks": blocks}


def causal_latents_sizes(weights: Mapping[str, Tensor], hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes of flow, prior and classifier; fields of :class:`~citris_cli.core.config.CausalLatentsConfig`."""
    shapes = _Shapes(weights)
    latents, columns = shapes.of("prior_t1.target_params", 2)
    if is_icitris(weights):
        return _icitris_sizes(weights, hyper_parameters, latents, columns)
    if not 2 <= columns <= MAX_VARIABLES + 1:
        raise ValueError(
            f"the weight prior_t1.target_params has {counted(columns, 'column')}; it needs one for each of 1 to "
            f"{MAX_VARIABLES} variables and another"
        )
    sizes: dict[str, Any] = {
        "latents": latents,
        "variables": columns - 1,
        "hidden": shapes.of("intv_classifier.classifiers.0.weight", 2)[0] // 2,
        "classifier_layers": _classifier_layers(weights),
        **_flow_sizes(shapes, latents),
        **_prior_sizes(shapes, latents, hyper_parameters),
    }
    return sizes


def _flow_sizes(shapes: _Shapes, latents: int) -> dict[str, int]:
    sizes = {"flow_layers": shapes.count(r"flow\.flows\.(\d+)\.transformation\.scaling")}
    if sizes["flow_layers"] > 0:
        sizes["flow_hidden"] = shapes.of("flow.flows.1.net.0.linear.weight", 2)[0] // latents
    return sizes


def _icitris_sizes(
    weights: Mapping[str, Tensor], hyper_parameters: Mapping[str, Any], latents: int, variables: int
) -> dict[str, Any]:
    """Sizes of iCITRIS, which has no psi(0)."""
    shapes = _Shapes(weights)
    if variables > ICITRIS_VARIABLES:
        raise ValueError(
            f"its {counted(variables, 'variable')} are more than the {ICITRIS_VARIABLES} for which a published iCITRIS "
            "can keep its table of joint targets"
        )
    for name, value in weights.items():
        if name.startswith("prior.") and not torch.equal(value, weights.get(f"prior_t1.{name[6:]}", value[..., :0])):
            raise ValueError(f"the weight {name} is another than prior_t1.{name[6:]}, and both are those of its prior")
    learned = "enco" if "prior_t1.enco_gamma" in shapes else "notears"
    told = hyper_parameters.get("graph_learning_method", learned.upper())
    if not isinstance(told, str) or told.lower() != learned:
        raise ValueError(f"its hyperparameter graph_learning_method is {_shown(told)} and its weights say {learned}")
    name = "autoregressive_prior"
    return {
        "latents": latents,
        "variables": variables,
        "hidden": shapes.of("intv_classifier.classifiers.0.weight", 2)[0] // 4,
        "classifier_layers": _classifier_layers(weights),
        **_flow_sizes(shapes, latents),
        "prior": ICitrisPriorConfig.name,
        "graph_learning": learned,
        "autoregressive": _value(name, hyper_parameters.get(name, False), False),
        "psi0": False,
    }


def _classifier_layers(weights: Mapping[str, Tensor]) -> int:
    # Of its layers only the linear maps have matrices, and the last of them is no hidden one.
    linear = re.compile(r"intv_classifier\.classifiers\.\d+\.weight")
    matrices = sum(value.ndim == 2 for name, value in weights.items() if linear.fullmatch(name))
    if matrices < 2:
        raise ValueError("its target classifier (intv_classifier.classifiers) has no hidden layer")
    return matrices - 1


def _prior_sizes(shapes: _Shapes, latents: int, hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Form of the transition prior and its sizes."""
    if shapes.count(r"(prior_t1\.prior_model)\.init_layer\..+"):
        hidden = shapes.of("prior_t1.prior_model.init_layer.linear.weight", 2)[0] // latents
        form = {"prior": "autoregressive", "autoregressive_hidden": hidden}
        name = "imperfect_interventions"
        imperfect = _value(name, hyper_parameters.get(name, False), False)
    elif "prior_t1.inp_layer.weight" in shapes:
        form = {"prior": "mlp"}
        imperfect = shapes.of("prior_t1.inp_layer.weight", 3)[2] > 1
    else:
        raise ValueError("its transition prior (prior_t1) is of no form that citris knows: mlp, autoregressive")
    _check_agreement({"prior": form["prior"] == "autoregressive"}, {"prior": "autoregressive_prior"}, hyper_parameters)
    return {**form, "imperfect_interventions": imperfect}
