"""The kinds of model: the one table that says what each is, where it lies, and how it is built and published.

Classes are named, not imported: the table is read by whoever only looks for a file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from citris_cli.core.config import (
    PRIOR_CONFIGS,
    AutoencoderConfig,
    CausalEncoderConfig,
    CitrisNFConfig,
    CitrisVAEConfig,
    MLPPriorConfig,
    PriorConfig,
    require_within_bounds,
)
from citris_cli.wording import legible

if TYPE_CHECKING:
    from torch import nn

    from citris_cli.artifacts.published.forms import PublishedForm
    from citris_cli.data.variables import Variables


@dataclass(frozen=True)
class Kind:
    """One kind of model.

    Attributes:
        name: in files and in Python.
        title: what people call it.
        file_name: of its model file under ``runs/<dataset>/``.
        command: that trains it.
        config: dataclass of its configuration.
        model: its class, ``module:name``; it takes the configuration, then the models inside, then its factors.
        published_form: how the published code has it, ``module:name``.
        inside: kinds of the models that it keeps inside; it sees frames through the first of them.
        causal: whether it has causal latents.
        reads_factors: whether its networks follow from the factors that it reads.
    """

    name: str
    title: str
    file_name: str
    command: str
    config: type
    model: str
    published_form: str
    inside: tuple[str, ...] = ()
    causal: bool = False
    reads_factors: bool = False

    @property
    def published(self) -> PublishedForm:
        """How the published code has it."""
        return _named(self.published_form)

    def width(self, config: Mapping[str, Any]) -> int:
        """Frame width and height in pixels of a model with this configuration, one entry a part."""
        return self._seen(config)["width"]

    def image_channels(self, config: Mapping[str, Any]) -> int:
        """Channels of the frames of a model with this configuration, one entry a part; 3 where it does not say."""
        return self._seen(config).get("image_channels", 3)

    def _seen(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """The configuration of the part that sees frames."""
        return config[(*self.inside, self.name)[0]]

    def build(self, config: Mapping[str, Any], factors: Variables | None = None) -> nn.Module:
        """An untrained model.

        Args:
            config: its configuration as JSON has it, one entry a part.
            factors: what it reads, for a kind whose networks follow from that.

        Raises:
            KeyError, TypeError, ValueError: the configuration is not one of ours.
        """
        parts = [KINDS[part].build(config) for part in self.inside]
        own = [factors or ()] if self.reads_factors else []
        return _named(self.model)(config_from_json(self.config, config[self.name]), *parts, *own)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            name="autoencoder",
            title="autoencoder",
            file_name="ae.safetensors",
            command="train-ae",
            config=AutoencoderConfig,
            model="citris_cli.core.autoencoder:Autoencoder",
            published_form="citris_cli.artifacts.published.forms:AUTOENCODER",
        ),
        Kind(
            name="citris_nf",
            title="CITRIS-NF",
            file_name="nf.safetensors",
            command="train-nf",
            config=CitrisNFConfig,
            model="citris_cli.core.citris_nf:CitrisNF",
            published_form="citris_cli.artifacts.published.forms:CITRIS_NF",
            inside=("autoencoder",),
            causal=True,
        ),
        Kind(
            name="citris_vae",
            title="CITRIS-VAE",
            file_name="vae.safetensors",
            command="train-vae",
            config=CitrisVAEConfig,
            model="citris_cli.core.citris_vae:CitrisVAE",
            published_form="citris_cli.artifacts.published.forms:CITRIS_VAE",
            causal=True,
        ),
        Kind(
            name="causal_encoder",
            title="causal encoder",
            file_name="causal_encoder.safetensors",
            command="train-causal-encoder",
            config=CausalEncoderConfig,
            model="citris_cli.core.causal_encoder:CausalEncoder",
            published_form="citris_cli.artifacts.published.forms:CAUSAL_ENCODER",
            reads_factors=True,
        ),
    )
}


def _named(place: str) -> Any:
    """What ``module:name`` stands for."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def kind_of_model(model: nn.Module) -> Kind:
    """The kind of a model.

    Raises:
        TypeError: it is none of ours.
    """
    name = f"{type(model).__module__}:{type(model).__qualname__}"
    found = next((kind for kind in KINDS.values() if kind.model == name), None)
    if found is None:
        raise TypeError(f"no model of ours: {type(model).__name__}")
    return found


def config_to_json(config: Any) -> dict[str, Any]:
    """A configuration as JSON has it; that of a prior with the prior's name."""
    data = dataclasses.asdict(config)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, PriorConfig):
            data[field.name] = {"name": value.name, **data[field.name]}
    return _as_json(data)


def _as_json(value: Any) -> Any:
    """Tuples as lists, which is what JSON has."""
    if isinstance(value, dict):
        return {key: _as_json(one) for key, one in value.items()}
    return [_as_json(one) for one in value] if isinstance(value, (tuple, list)) else value


def _with_tuples(form: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Lists as tuples where the dataclass has a tuple."""
    tuples = {field.name for field in dataclasses.fields(form) if isinstance(field.default, tuple)}
    return {key: tuple(one) if key in tuples and isinstance(one, list) else one for key, one in values.items()}


def config_from_json(kind: type, data: Mapping[str, Any]) -> Any:
    """The configuration that :func:`config_to_json` gave, or that a file of format 1 holds.

    Args:
        kind: its dataclass.
        data: its values by name.

    Raises:
        TypeError: unknown values, or values of another type than the defaults'.
        ValueError: values out of bounds, or an unknown prior.
    """
    values = nested(data)
    if isinstance(values.get("prior"), Mapping):
        from citris_cli.core.priors import find_prior

        own = dict(values["prior"])
        form = find_prior(own.pop("name", "")).Config
        values["prior"] = _checked(form, own)
    return _checked(kind, values)


def _checked(form: type, values: Mapping[str, Any]) -> Any:
    """A dataclass with these values, each of its default's type and within its bounds."""
    config = form(**_with_tuples(form, values))
    for field in dataclasses.fields(form):
        value, own = getattr(config, field.name), field.default
        if not isinstance(own, PriorConfig) and not alike(value, own):
            raise TypeError(f"{field.name} is {legible(repr(value), 40)}")
    require_within_bounds(config)
    return config


def alike(value: Any, own: Any) -> bool:
    """Whether a value from a file is of the same kind as the one that it stands for; whole numbers are numbers too."""
    if isinstance(own, dict):
        return isinstance(value, dict) and value.keys() == own.keys() and all(alike(value[k], own[k]) for k in own)
    if isinstance(value, bool) and not isinstance(own, bool | None):
        return False
    return own is None or isinstance(value, (int, float) if isinstance(own, float) else type(own))


def nested(data: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with the prior's own settings together under ``prior``.

    In files of format 1, and in what is told by a published checkpoint, they lie among the model's, and ``prior`` is a
    name.
    """
    forms = {config.name: config for config in PRIOR_CONFIGS}
    loose = {field.name for config in forms.values() for field in dataclasses.fields(config)}
    # The first files were of one prior alone, and do not name it.
    name = data.get("prior", MLPPriorConfig.name if loose & data.keys() else None)
    if not isinstance(name, str):
        return dict(data)
    own = {field.name for field in dataclasses.fields(forms[name])} if name in forms else set()
    prior = {"name": name, **{key: value for key, value in data.items() if key in own}}
    return {**{key: value for key, value in data.items() if key not in loose}, "prior": prior}


def flat(data: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`nested`."""
    if not isinstance(data.get("prior"), Mapping):
        return dict(data)
    own = dict(data["prior"])
    return {**data, "prior": own.pop("name"), **own}
