"""From a model file to a ready model, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from citris_cli.artifacts.models import ModelFile, read_model
from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.core.priors import UnknownPriorError
from citris_cli.core.reference import ReferenceLatents
from citris_cli.data.variables import Variables
from citris_cli.errors import InputError
from citris_cli.kinds import KINDS, config_to_json, kind_of_model
from citris_cli.wording import counted

#: Numbers of layers in a configuration.
DEPTHS = ("flow_layers", "classifier_layers", "decoder_blocks")
#: Stands for the file of a model that comes from none; there is never one of this name.
IN_MEMORY = Path("the model in memory")
#: Names of the reference latents in a model file, beside the weights'.
REFERENCE_NAMES = ("reference.z", "reference.targets")
#: Kinds of files that training writes beside models: what they are, and what to do.
NO_MODELS = {
    "training_state": "holds the state of a training run, not a model; name the model beside it, without .state",
    "encodings": "holds cached encodings of frames, not a model; name the model beside it",
}


@dataclass(frozen=True)
class LoadedModel:
    """A trained model, in evaluation mode on its device.

    Attributes:
        kind: name of its kind, such as ``autoencoder`` (:mod:`citris_cli.kinds`).
        network: the torch module.
        variables: the K intervened variables, the F factors that a causal encoder predicts, or None for an autoencoder.
        path: the file it came from; ``Path("the model in memory")`` for one that was not written to a file.
        provenance: command, seed, versions, SHA-256 of the data, metrics.
        reference: latents of training frames that the file keeps, or None.
        sha256: of its file, in hexadecimal; "" if it was not computed.
        checked: whether its file has digests and agrees with them; files of formats 1 and 2 have none.
    """

    kind: str
    network: nn.Module
    variables: Variables | None
    path: Path
    provenance: dict[str, Any]
    reference: ReferenceLatents | None = None
    sha256: str = ""
    checked: bool = True

    @property
    def note(self) -> str:
        """A sentence that the user should read; "" if there is none."""
        if self.checked:
            return ""
        return f"{self.path}: of an earlier format, without a digest that would reveal damage"

    @property
    def width(self) -> int:
        """Frame width and height in pixels."""
        return KINDS[self.kind].width(model_config(self.network))

    @property
    def image_channels(self) -> int:
        """Channels of a frame, 3 of an RGB one."""
        return KINDS[self.kind].image_channels(model_config(self.network))


def model_config(model: nn.Module) -> dict[str, Any]:
    """Configuration as stored in a model file: one entry a part, all that is needed to build it again.

    Raises:
        TypeError: the model is none of ours.
    """
    kind = kind_of_model(model)
    config = {kind.name: config_to_json(model.config)}
    for part in kind.inside:  # by the name of its kind
        config |= model_config(getattr(model, part))
    return config


def model_from_file(file: ModelFile, path: Path, device: torch.device) -> LoadedModel:
    """Build the model that a file describes and give it the file's weights.

    Args:
        file: contents, see :func:`citris_cli.artifacts.models.read_model`.
        path: where they came from, for messages.
        device: where the model should be.

    Raises:
        InputError: the file's kind, configuration or weights do not fit together.
    """
    if file.kind in NO_MODELS:
        raise InputError(f"{path}: {NO_MODELS[file.kind]}")
    weights = {name: value for name, value in file.tensors.items() if name not in REFERENCE_NAMES}
    try:
        if file.kind not in KINDS:
            raise ValueError(f"unknown kind {file.kind}")
        kind = KINDS[file.kind]
        variables = None if file.variables is None else Variables.from_json(file.variables)
        told = file.config.get(kind.name, {}).get("variables")
        if kind.causal and variables is not None and isinstance(told, int) and len(variables) != told:
            raise ValueError(f"it names {counted(len(variables), 'variable')}, and its networks are for {told}")
        _check_depth(file.config, len(weights))
        # Built without memory: sizes in the file are believed only once its own weights have those shapes.
        with torch.device("meta"):
            model = kind.build(file.config, variables)
        expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        found = {name: tuple(value.shape) for name, value in weights.items()}
        if expected != found:
            wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            raise ValueError(
                f"weight {wrong[0]} is {found.get(wrong[0], 'missing')}, not {expected.get(wrong[0], 'known')}"
            )
        model = kind.build(file.config, variables)
        model.load_state_dict(weights)
        reference = _reference(file, model)
    except UnknownPriorError as error:
        raise InputError(f"{path}: {error}; import or install what registers the prior first") from error
    except (KeyError, TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError) as error:
        raise InputError(
            f"{path}: not a model that this version of citris can read ({error}); train it again"
        ) from error
    network = model.to(device).eval()
    return LoadedModel(file.kind, network, variables, path, file.provenance, reference, file.sha256, file.checked)


def _check_depth(config: Mapping[str, Any], weights: int) -> None:
    """Refuse more layers than the file has weights for: even without memory, building a billion would never end."""
    for part in config.values():
        for name in DEPTHS:
            if isinstance(part.get(name, 0), int) and part.get(name, 0) > weights:
                raise ValueError(f"{name} is {part[name]}, and it has {weights} weights")


def model_tensors(model: nn.Module, reference: ReferenceLatents | None = None) -> dict[str, torch.Tensor]:
    """What a model file stores: weights by name, on the CPU, and the reference latents if there are any."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    if reference is not None:
        tensors |= dict(zip(REFERENCE_NAMES, (reference.z, reference.targets), strict=True))
    return tensors


def _reference(file: ModelFile, model: nn.Module) -> ReferenceLatents | None:
    found = [file.tensors[name] for name in REFERENCE_NAMES if name in file.tensors]
    if not found:
        return None
    z, targets = found
    if not isinstance(model, CausalLatentsModel):
        raise ValueError("it brings reference latents and has no latents that are causal")
    config = model.config
    if z.shape != (len(z), config.latents) or targets.shape != (len(z), config.variables) or len(z) == 0:
        raise ValueError(f"its reference latents are {tuple(z.shape)} with targets {tuple(targets.shape)}")
    return ReferenceLatents(z.float(), targets)


def load_model(path: Path, device: torch.device | None = None, hashed: bool = False) -> LoadedModel:
    """Read a model file and build its model.

    Args:
        path: a ``.safetensors`` of ours.
        device: where the model should be; the CPU if None.
        hashed: whether the hash of its file is wanted.

    Raises:
        InputError: no such file, not a model of ours, or a damaged one.
    """
    return model_from_file(read_model(path, hashed), path, device or torch.device("cpu"))
