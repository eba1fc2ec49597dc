"""From a published checkpoint to a model file of ours, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from citris_cli.artifacts.checkpoints import Checkpoint
from citris_cli.artifacts.models import ModelFile
from citris_cli.artifacts.published.models import causal_encoder_factors, optional_entries
from citris_cli.artifacts.published.parts import is_constant, prefixed, select
from citris_cli.artifacts.published.settings import (
    ICITRIS_VARIABLES,
    configuration,
    factor_kinds,
    hyper_parameters_of,
    kind_of,
)
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.causal_encoder import REACH
from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.core.config import ICitrisPriorConfig
from citris_cli.data.variables import Variables, infer_variables, parse_vars
from citris_cli.errors import InputError
from citris_cli.kinds import KINDS, Kind
from citris_cli.loading import LoadedModel, model_config, model_tensors
from citris_cli.wording import counted, legible

#: Models that a published one can keep inside, by the first part of their weights' names; each is a kind of its own.
PARTS = ("autoencoder", "causal_encoder")


def part_of(checkpoint: Checkpoint, part: str, path: Path) -> Checkpoint:
    """A model that a published one keeps inside, as a checkpoint of its own.

    Args:
        checkpoint: the whole.
        part: one of :data:`PARTS`.
        path: its file, for messages.

    Raises:
        InputError: it keeps none.
    """
    weights = select(checkpoint.weights, f"{part}.")
    if not weights:
        raise InputError(f"{path}: has no {KINDS[part].title} inside; leave --part out")
    # Of the whole's hyperparameters these hold for the part; its other sizes are told by its weights.
    names = ("img_width", "noise_level") if part == "autoencoder" else ("img_width",)
    kept = {name: checkpoint.hyper_parameters[name] for name in names if name in checkpoint.hyper_parameters}
    return Checkpoint(weights, kept, {**checkpoint.origin, "part": part})


def described(checkpoint: Checkpoint, path: Path) -> tuple[str, dict[str, Any]]:
    """Kind of a published model and its configuration by part, without an autoencoder that lies elsewhere.

    Raises:
        InputError: no model that is known, or hyperparameters and weights that do not fit together.
    """
    try:
        kind = kind_of(checkpoint.weights)
        return kind, configuration(kind, _own(KINDS[kind], checkpoint.weights), checkpoint.hyper_parameters)
    except ValueError as error:
        raise InputError(f"{path}: cannot be imported: {error}") from error


def model_file_of(
    checkpoint: Checkpoint, path: Path, named: str | None = None, autoencoder: Autoencoder | None = None
) -> ModelFile:
    """A published model as a model file of ours, every weight of it checked.

    Args:
        checkpoint: see :func:`citris_cli.artifacts.checkpoints.read_checkpoint`.
        path: its file, for messages.
        named: names of the variables as ``--vars`` takes them, or None: those of the file, else Causal3DIdent's if
            they are as many, else var_0 and so on.
        autoencoder: for a CITRIS-NF that does not bring its own.

    Returns:
        The model, with a provenance that is still to be filled in.

    Raises:
        InputError: no model that is known; a weight that is missing, unknown, of another shape or type, or not finite;
            hyperparameters that disagree; an autoencoder that is needed, not needed or does not fit; unusable names.
    """
    name, config = described(checkpoint, path)
    kind, form = KINDS[name], KINDS[name].published
    weights = _own(kind, checkpoint.weights)
    outside: dict[str, Tensor] = {}
    if set(kind.inside) - config.keys():
        autoencoder = _fitting(autoencoder, config[kind.name]["latents"], checkpoint, path)
        outside = _on_cpu(autoencoder)
        config |= model_config(autoencoder)
    elif autoencoder is not None:
        raise InputError(f"{path}: the {kind.title} needs no autoencoder from outside; leave --ae out")
    try:
        factors = factor_kinds(weights, checkpoint.hyper_parameters) if kind.reads_factors else {}
        variables = _variables(kind, config, checkpoint, factors, named, path)
        # Built without memory: no size is believed before every weight has its shape.
        with torch.device("meta"):
            model = kind.build(config, variables)
            expected = form.theirs(model.state_dict(), config[kind.name], factors)
        if outside:
            expected = {name: value for name, value in expected.items() if not name.startswith("autoencoder.")}
        _check_weights(kind, weights, expected)
        model = kind.build(config, variables)
        model.load_state_dict({**form.ours(weights, factors), **prefixed("autoencoder.", outside)})
        _check_constants(weights, form.theirs(model.state_dict(), config[kind.name], factors))
    except (ValueError, TypeError, KeyError, IndexError, RuntimeError, ArithmeticError) as error:
        raise InputError(f"{path}: cannot be imported: {error}") from error
    return ModelFile(kind.name, config, None if variables is None else variables.to_json(), {}, model_tensors(model))


def published_of(loaded: LoadedModel) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A model of ours under published names.

    Returns:
        Its published state dict, constants included, and its hyperparameters.

    Raises:
        InputError: a factor's name that cannot be part of a weight's, or a prior or network that the published code
            does not have.
    """
    config = model_config(loaded.network)
    added = ("autoencoder", "grey_latents", "grey latents"), ("causal_encoder", "shapes", "--shapes")
    for sizes, name, told in added:
        if config.get(sizes, {}).get(name):
            raise InputError(f"{loaded.path}: has {told}, of a network that the published code does not have")
    if isinstance(loaded.network, CausalLatentsModel):
        _require_published_form(loaded.path, loaded.network)
    hyper_parameters = hyper_parameters_of(loaded.kind, config)
    factors = {}
    if KINDS[loaded.kind].reads_factors:
        for factor in loaded.variables or ():
            if "." in factor.name:
                raise InputError(
                    f"{loaded.path}: the factor {factor.name!r} has a dot in its name, which published names of "
                    "weights cannot have; train it with other --vars"
                )
        # Every continuous factor of ours is learned in units in which its range is this one.
        spelled = {"continuous": f"continuous_{REACH:g}", "angle": "angle"}
        factors = {f.name: spelled.get(f.kind, f"categ_{f.categories}") for f in loaded.variables or ()}
        hyper_parameters["causal_var_info"] = factors
    elif loaded.variables is not None:
        hyper_parameters["var_names"] = list(loaded.variables.names)
    form = KINDS[loaded.kind].published
    return form.theirs(_on_cpu(loaded.network), config[loaded.kind], factors), hyper_parameters


def _require_published_form(path: Path, network: CausalLatentsModel) -> None:
    """Refuse a model that the published code could not have.

    Raises:
        InputError: its prior is none of theirs, or set in a way that theirs cannot be.
    """
    prior, variables = network.config.prior, network.config.variables
    if isinstance(prior, ICitrisPriorConfig) and prior.psi0:
        raise InputError(f"{path}: the published iCITRIS has no psi(0); train one with --no-psi0")
    if isinstance(prior, ICitrisPriorConfig) and variables > ICITRIS_VARIABLES:
        raise InputError(
            f"{path}: the published iCITRIS keeps a table of all pairs of joint targets, too large for its "
            f"{counted(variables, 'variable')}; the published form allows up to {ICITRIS_VARIABLES}"
        )
    if not network.prior.published:
        raise InputError(f"{path}: its prior (--prior {prior.name}) has no published form")
    if getattr(prior, "imperfect_variables", ()):
        raise InputError(
            f"{path}: interventions on only some of its variables are imperfect (--imperfect-variables), which has no "
            "published form"
        )


def _on_cpu(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in network.state_dict().items()}


def _own(kind: Kind, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights without those of a causal encoder that a whole model keeps beside its own."""
    if not kind.causal:
        return dict(weights)
    return {name: value for name, value in weights.items() if not name.startswith("causal_encoder.")}


def _fitting(autoencoder: Autoencoder | None, latents: int, checkpoint: Checkpoint, path: Path) -> Autoencoder:
    """The autoencoder from outside, which must be there and fit the flow."""
    if autoencoder is None:
        named = checkpoint.hyper_parameters.get("autoencoder_checkpoint")
        known = f" (it was trained on {legible(named)})" if isinstance(named, str) else ""
        raise InputError(f"{path}: does not include an autoencoder{known}; name it with --ae FILE")
    width = checkpoint.hyper_parameters.get("img_width")
    if autoencoder.config.latents != latents:
        raise InputError(
            f"--ae: the autoencoder has {autoencoder.config.latents} latents and the flow of {path} {latents}; give "
            "the one that it was trained on"
        )
    if type(width) is int and width != autoencoder.config.width:
        raise InputError(
            f"--ae: the autoencoder is for frames of {autoencoder.config.width} pixels and {path} for {width}; give "
            "the one that it was trained on"
        )
    return autoencoder


def _variables(
    kind: Kind,
    config: Mapping[str, Any],
    checkpoint: Checkpoint,
    factors: Mapping[str, str],
    named: str | None,
    path: Path,
) -> Variables | None:
    """What the latents stand for, or what a causal encoder reads."""
    if not kind.causal and named is not None:
        raise InputError(
            f"--vars names what latents stand for, and {path} is of the kind {kind.name}; leave --vars out"
        )
    if not kind.causal and not kind.reads_factors:
        return None
    try:
        # What a file of ours brings tells kinds and ranges, which published names alone do not.
        known = None if checkpoint.variables is None else Variables.from_json(checkpoint.variables)
        read = causal_encoder_factors(factors)
    except InputError as error:
        raise InputError(f"{path}: its description of the variables is unusable: {error}") from error
    if kind.reads_factors:
        return known if known is not None and _alike(known, read) else read
    number, width = config[kind.name]["variables"], kind.width(config)
    given = None if named is None else parse_vars(named, known)
    keys = checkpoint.hyper_parameters.get("var_names") if given is None else None
    if keys is not None and not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
        raise InputError(f"{path}: its var_names are not a list of names; name the {number} variables with --vars")
    if keys is not None and len(keys) != number:
        raise InputError(f"{path}: its var_names are {len(keys)} for {number} variables; name these with --vars")
    return infer_variables(number, keys, (width, width), given, str(path), known)


def _alike(known: Variables, read: Variables) -> bool:
    """Whether two descriptions are of the same factors, but for their ranges."""
    return [(f.name, f.kind, f.categories) for f in known] == [(f.name, f.kind, f.categories) for f in read]


def _check_weights(kind: Kind, weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Every weight is there, known, of the expected shape and type, and finite.

    Raises:
        ValueError: naming the first that is not.
    """
    title = kind.title
    missing = sorted(expected.keys() - weights.keys() - optional_entries(expected, kind.published.reads_scale))
    if missing:
        raise ValueError(f"the weight {missing[0]}{_and_more(missing)} is missing; get the file again")
    unknown = sorted(weights.keys() - expected.keys())
    if unknown:
        raise ValueError(f"a {title} of these sizes has no weight {legible(unknown[0])}{_and_more(unknown)}")
    for name, value in weights.items():
        wanted = expected[name]
        if value.shape != wanted.shape:
            raise ValueError(
                f"the weight {name} has the shape {list(value.shape)}, and in this {title} it has {list(wanted.shape)}"
            )
        if value.is_floating_point() != wanted.is_floating_point() or value.is_complex():
            raise ValueError(f"the weight {name} holds {str(value.dtype).removeprefix('torch.')} numbers")
    for name, value in weights.items():
        # A training that had diverged; nothing that such a model gives is of any use.
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f"the weight {name} holds NaN or infinite numbers; take a checkpoint from before that")


def _check_constants(weights: Mapping[str, Tensor], exported: Mapping[str, Tensor]) -> None:
    """Masks and identities are those that our networks have: others would make other networks of the same weights."""
    for name, value in weights.items():
        if is_constant(name) and not torch.equal(value.to(exported[name].dtype), exported[name]):
            raise ValueError(f"its constant {name} is another than that of the networks that citris knows")


def _and_more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
