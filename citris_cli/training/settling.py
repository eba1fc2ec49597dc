"""From configurations and the changes that were asked for to the settings of a training."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from citris_cli.core.config import PRIOR_CONFIGS, PriorConfig, require_within_bounds
from citris_cli.core.priors import find_prior
from citris_cli.errors import InputError
from citris_cli.kinds import Kind, alike, config_to_json
from citris_cli.training.config import TrainingConfig
from citris_cli.training.devices import resolve_precision
from citris_cli.training.session import AnySession

#: The setting that is asked for by names of variables.
IMPERFECT = "imperfect_variables"
ConfigT = TypeVar("ConfigT")
ModelT = TypeVar("ModelT")
TrainingT = TypeVar("TrainingT", bound=TrainingConfig)


@dataclass(frozen=True)
class Settling(Generic[ModelT, TrainingT]):
    """Configurations to begin with, and what was asked for.

    Attributes:
        session: data and device.
        kind: of the model.
        changes: single settings by name.
        learned: what else makes the run what it is.
        configs: of model and training.
        on_any: see :func:`citris_cli.training.plan.make_plan`.
    """

    session: AnySession
    kind: Kind
    changes: Mapping[str, Any]
    learned: Mapping[str, str]
    configs: tuple[ModelT, TrainingT]
    on_any: bool

    def settled(self) -> tuple[ModelT, TrainingT]:
        """The configurations with the changes.

        Raises:
            InputError: no such setting, or a value that it cannot have.
        """
        model, training = self.configs
        _check_changes(self.changes, model, training)
        model, training = settled(model, self.changes), settled(training, self.changes)
        try:
            require_within_bounds(model)
            require_within_bounds(training)
            prior = getattr(model, "prior", None)
            if prior is not None:  # of a configuration that was given whole, too
                find_prior(prior.name, self.kind.name).require_possible(prior)
        except ValueError as error:
            raise InputError(f"{self.kind.title}: {error}") from error
        precision = resolve_precision(training.precision, self.session.device)
        return model, dataclasses.replace(training, precision=precision)

    def settings(self, model: ModelT, training: TrainingT) -> dict[str, Any]:
        """What the run is, for its files."""
        return {
            "kind": self.kind.name,
            "model": config_to_json(model),
            "training": dataclasses.asdict(training),
            "data_sha256": self.session.data.sha256,
            **self.learned,
        }


def settled(config: ConfigT, changes: Mapping[str, Any]) -> ConfigT:
    """A configuration with the changes that are its own, or its prior's, in place of its values.

    Args:
        config: a dataclass.
        changes: settings by name; others than its own are not looked at. ``prior`` is a name, and has been seen to.
    """
    own: dict[str, Any] = {}
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if isinstance(value, PriorConfig):
            own[field.name] = settled(value, changes)
        elif field.name in changes:
            own[field.name] = changes[field.name]
    return dataclasses.replace(config, **own)  # type: ignore[type-var]


def settings_of(*configs: Any) -> list[str]:
    """Names of all that a user may set of some configurations and of their priors."""
    names = []
    for config in configs:
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            if isinstance(value, PriorConfig):
                names += ["prior", *settings_of(value)]
            elif "help" in field.metadata:
                names.append(field.name)
    return names


def with_prior(
    kind: Kind, preset: tuple[ModelT, TrainingT], changes: Mapping[str, Any], named: str
) -> tuple[ModelT, TrainingT]:
    """The preset with the prior that was asked for, which takes over what it has in common with the preset's.

    Args:
        kind: of the model.
        preset: configurations of model and training.
        changes: what was asked for, by name.
        named: the preset's name.
    """
    model, training = preset
    name = changes.get("prior")
    if name is None:
        return preset
    if not isinstance(name, str):
        raise InputError(f"prior is {name!r}; it needs a name, such as 'mlp'")
    try:
        prior = find_prior(name, kind.name)
        own = prior.preset_for(kind.name, named, changes)
    except ValueError as error:
        raise InputError(f"--prior {name}: {error}") from error
    before: Any = model
    if prior.Config is not type(before.prior):
        shared = {field.name for field in dataclasses.fields(prior.Config)}
        values = {key: value for key, value in vars(before.prior).items() if key in shared}
        model = dataclasses.replace(before, prior=prior.Config(**values))
    return settled(model, own), settled(training, own)


def _check_changes(changes: Mapping[str, Any], model: Any, training: Any) -> None:
    """Refuse settings that there are not, and values of another type."""
    known = settings_of(model, training)
    for name, value in changes.items():
        if name not in known:
            option = name.replace("_", "-")
            close = difflib.get_close_matches(name, known, n=1)
            guess = f", did you mean {close[0].replace('_', '-')}?" if close else ""
            prior = getattr(model, "prior", None)
            of = f"a training run with the prior {prior.name}" if prior is not None else "this training"
            other = next((form.name for form in PRIOR_CONFIGS if name in settings_of(form())), None)
            if prior is not None and other is not None:
                guess = f"; it is a setting of the prior {other}"
            guess = "; it is the argument variables" if name == "vars" else guess
            raise InputError(f"--{option}: {of} has no such setting{guess or '; leave it out'}")
        own = next(getattr(one, name) for one in (model, training, getattr(model, "prior", None)) if hasattr(one, name))
        if name != "prior" and not alike(value, own):
            raise InputError(f"{name} is {value!r}; it needs a value such as {own!r}")
