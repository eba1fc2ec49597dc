"""From a preset and what was asked for to a training that is settled; from a trained network to its model file."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import nn

from citris_cli.artifacts.models import ModelFile, provenance, write_model
from citris_cli.artifacts.runs import header_or_none
from citris_cli.core.config import PRIOR_CONFIGS, PriorConfig, require_within_bounds
from citris_cli.core.priors import UnknownPriorError, find_prior
from citris_cli.core.reference import ReferenceLatents
from citris_cli.data.datasets import IndependentData, SequenceData
from citris_cli.data.variables import Variables
from citris_cli.errors import InputError
from citris_cli.kinds import Kind, config_from_json, config_to_json
from citris_cli.loading import IN_MEMORY, LoadedModel, model_config, model_tensors
from citris_cli.training.config import TrainingConfig
from citris_cli.training.devices import resolve_precision
from citris_cli.training.files import RunFiles
from citris_cli.training.loop import train
from citris_cli.training.request import OnProgress, Place, Progress
from citris_cli.training.session import Session
from citris_cli.training.task import Task
from citris_cli.wording import counted

ConfigT = TypeVar("ConfigT")
ModelT = TypeVar("ModelT")
TrainingT = TypeVar("TrainingT", bound=TrainingConfig)
AnySession = Session[SequenceData] | Session[IndependentData]


@dataclass(frozen=True)
class Plan(Generic[ModelT, TrainingT]):
    """One training, settled: what model, how trained, where written.

    Attributes:
        kind: of the model.
        model: its configuration.
        training: how it is trained.
        files: where it is written; their settings tell a later run what this one is.
    """

    kind: Kind
    model: ModelT
    training: TrainingT
    files: RunFiles

    def to_json(self) -> dict[str, Any]:
        """What it is going to do, for JSON."""
        return {
            "kind": self.kind.name,
            "model": config_to_json(self.model),
            "training": dataclasses.asdict(self.training),
            "output": None if self.files.model is None else str(self.files.model),
        }

    def finished(self, session: AnySession) -> bool:
        """Whether it is resumed and a run of these very settings had come to its end."""
        files = self.files
        if not session.request.resume or files.model is None or files.state.exists():
            return False
        header = header_or_none(files.model)
        done = header is not None and _upgraded(self.kind, header.provenance.get("settings")) == dict(files.settings)
        if done:
            session.note(f"{files.model} is finished already")
        return done

    def train(self, session: AnySession, task: Task, title: str) -> dict[str, float]:
        """Train; the last validation's measures. See :func:`citris_cli.training.loop.train`."""
        display = _Told(session.request.on_progress, title, self.training.steps, task.unit)
        with session.processes.together(self.files):
            return train(
                task,
                self.training,
                self.files,
                display,
                resume=session.request.resume,
                save_every=session.request.save_every,
                stop=session.stop,
                processes=session.processes,
            )

    def write(
        self,
        session: AnySession,
        network: nn.Module,
        measures: Mapping[str, Any],
        variables: Variables | None = None,
        reference: ReferenceLatents | None = None,
    ) -> LoadedModel:
        """Write the trained model with all that is known of it, and remove the state of its training.

        Args:
            session: where the data came from.
            network: the trained model, which is put into evaluation mode.
            measures: of the model, for its provenance.
            variables: what its latents or its outputs stand for.
            reference: latents of training frames that it keeps.
        """
        data, files = session.data, self.files
        origin = provenance(session.request.command, self.training.seed, data.sha256, measures)
        origin["settings"] = dict(files.settings)
        origin["dataset"] = data.name
        origin["columns"] = data.columns.to_json()
        if files.on_disk:
            described = None if variables is None else variables.to_json()
            tensors = model_tensors(network, reference)
            write_model(files.model, ModelFile(self.kind.name, model_config(network), described, origin, tensors))
            files.remove_state()
        return LoadedModel(self.kind.name, network.eval(), variables, files.model or IN_MEMORY, origin, reference)


class _Told:
    """Tells whoever listens of a training's progress."""

    def __init__(self, on_progress: OnProgress, title: str, total: int, unit: str) -> None:
        self._tell, self._title, self._total, self._unit = on_progress, title, total, unit
        self.update(0, 0.0, {})

    def update(self, step: int, rate_per_second: float, losses: Mapping[str, float]) -> None:
        """Steps done, samples a second, current losses."""
        self._tell(Progress(self._title, step, self._total, rate_per_second, self._unit, losses))


def make_plan(
    session: AnySession,
    kind: Kind,
    preset: tuple[ModelT, TrainingT],
    changes: Mapping[str, Any],
    output: Path | Place | None,
    learned: Mapping[str, str] | None = None,
) -> Plan[ModelT, TrainingT]:
    """The preset, or the unfinished run's settings when resuming, with the changes that were asked for.

    Args:
        session: data and device.
        kind: of the model.
        preset: how the model is built and trained unless a change says otherwise.
        changes: single settings by name.
        output: where the model goes.
        learned: what else makes the run what it is, by name (:data:`LEARNED`); what is "" is left out.

    Raises:
        InputError: no such setting, a value that it cannot have, or the unfinished training is another one.
    """
    learned = {name: told for name, told in (learned or {}).items() if told}
    preset = _with_prior(kind, preset, changes)
    files = session.files(kind, output, _variety(changes, kind, learned))
    saved = _upgraded(kind, files.saved_settings()) if session.request.resume else None
    model, training = preset
    # The device's own, unless the unfinished training or a change says otherwise.
    training = dataclasses.replace(training, precision="auto")
    if saved is not None:
        _check_resumed(saved, kind, session.data.sha256, learned, files.state)
        model = _restored(model, saved.get("model"), files.state)
        training = _restored(training, saved.get("training"), files.state)
    elif files.stem is not None and files.state.exists() and not session.request.resume:
        session.note(
            f"{files.state} holds an unfinished training; starting anew in its place (--resume would go on with it)"
        )
    _check_changes(changes, model, training)
    began_with = training
    model, training = settled(model, changes), settled(training, changes)
    try:
        require_within_bounds(model)
        require_within_bounds(training)
        prior = getattr(model, "prior", None)
        if prior is not None:  # of a configuration that was given whole, too
            find_prior(prior.name, kind.name)
    except ValueError as error:
        raise InputError(f"{kind.title}: {error}") from error
    if saved is not None and config_to_json(model) != saved["model"]:
        name, value = _difference(saved["model"], config_to_json(model))
        raise InputError(
            f"--{name.replace('_', '-')}: the unfinished training in {files.state} has {value}; "
            "leave the option out or run without --resume"
        )
    if saved is not None and training.steps < began_with.steps and training.steps <= files.saved_step():
        raise InputError(
            f"--steps {training.steps}: the unfinished training in {files.state} has taken "
            f"{counted(files.saved_step(), 'step')} already; give more or run without --resume"
        )
    training = dataclasses.replace(training, precision=resolve_precision(training.precision, session.device))
    settings: dict[str, Any] = {
        "kind": kind.name,
        "model": config_to_json(model),
        "training": dataclasses.asdict(training),
        "data_sha256": session.data.sha256,
        **learned,
    }
    return Plan(kind, model, training, dataclasses.replace(files, settings=settings))


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


def _with_prior(kind: Kind, preset: tuple[ModelT, TrainingT], changes: Mapping[str, Any]) -> tuple[ModelT, TrainingT]:
    """The preset with the prior that was asked for, which takes over what it has in common with the preset's."""
    model, training = preset
    name = changes.get("prior")
    if name is None:
        return preset
    if not isinstance(name, str):
        raise InputError(f"prior is {name!r}; it needs a name, such as 'mlp'")
    try:
        prior = find_prior(name, kind.name)
    except ValueError as error:
        raise InputError(f"--prior {name}: {error}") from error
    before: Any = model
    if prior.Config is not type(before.prior):
        shared = {field.name for field in dataclasses.fields(prior.Config)}
        values = {key: value for key, value in vars(before.prior).items() if key in shared}
        model = dataclasses.replace(before, prior=prior.Config(**values))
    return settled(model, prior.preset), settled(training, prior.preset)


def _variety(changes: Mapping[str, Any], kind: Kind, learned: Mapping[str, str]) -> str:
    """What sets the training apart: columns that were merged, and a prior that makes another model of it."""
    parts = [group.partition("=")[0] for group in learned.get("groups", "").split(",") if group]
    name = changes.get("prior")
    if name is not None and find_prior(name, kind.name).title is not None:
        parts.append(name)
    return "-".join(parts)


def _check_changes(changes: Mapping[str, Any], model: Any, training: Any) -> None:
    """Refuse settings that there are not, and values of another type."""
    known = settings_of(model, training)
    for name, value in changes.items():
        if name not in known:
            option = name.replace("_", "-")
            close = difflib.get_close_matches(name, known, n=1)
            guess = f", did you mean {close[0].replace('_', '-')}?" if close else ""
            prior = getattr(model, "prior", None)
            of = f"a training with the prior {prior.name}" if prior is not None else "this training"
            other = next((form.name for form in PRIOR_CONFIGS if name in settings_of(form())), None)
            if prior is not None and other is not None:
                guess = f"; it is a setting of the prior {other}"
            guess = "; it is the argument variables" if name == "vars" else guess
            raise InputError(f"--{option}: {of} has no such setting{guess or '; leave it out'}")
        own = next(getattr(one, name) for one in (model, training, getattr(model, "prior", None)) if hasattr(one, name))
        if name != "prior" and not _alike(value, own):
            raise InputError(f"{name} is {value!r}; it needs a value such as {own!r}")


#: What else makes a run what it is, by name, with the sentence where a resumed one differs.
LEARNED = {
    "factors": "learns other factors; resume with the --vars it was started with",
    "groups": "learns other variables; resume with {theirs}, as it was started",
    "targets_lead": "read the targets {theirs}; resume with the same",
    "validation_sha256": "started {theirs}",
}


def _check_resumed(
    saved: Mapping[str, Any], kind: Kind, data_sha256: str, learned: Mapping[str, str], state: Path
) -> None:
    """Refuse to go on with another training."""
    if saved.get("kind") != kind.name:
        raise InputError(f"{state}: holds no training of this kind; choose another place with -o")
    if saved.get("data_sha256") != data_sha256:
        raise InputError(f"{state}: belongs to other data; resume with the data it was started with")
    for name, sentence in LEARNED.items():
        theirs, ours = saved.get(name, ""), learned.get(name, "")
        if theirs == ours:
            continue
        told = f"--group {theirs}" if theirs else "no --group"
        if name == "targets_lead":
            told = f"with --targets-lead {theirs}" if theirs else "without --targets-lead"
        if name == "validation_sha256":
            told = "without --val; resume without it too"
            if theirs:
                started = "with other validation data" if ours else "with --val"
                told = f"{started}, by which it keeps the best model; resume with the same --val"
        raise InputError(f"{state}: {sentence.format(theirs=told)}")


def _upgraded(kind: Kind, settings: Any) -> Any:
    """Settings of an earlier run as they are written today.

    In format 1 a prior was a name; what a configuration did not know yet was as its default is.
    """
    try:
        old, training = dict(settings["model"]), dict(settings["training"])
        if isinstance(old.get("prior"), str) and "regulariser_warmup" in training:
            old["regulariser_warmup"] = training.pop("regulariser_warmup")
        return {**settings, "model": config_to_json(config_from_json(kind.config, old)), "training": training}
    except (TypeError, ValueError, KeyError, AttributeError):
        return settings


def _restored(config: ConfigT, saved: Any, state: Path) -> ConfigT:
    """A configuration with the values that an unfinished training had, all of them and each of its own kind."""
    try:
        found = config_from_json(type(config), saved)
        template = type(config)()
        if hasattr(found, "prior"):
            template = dataclasses.replace(template, prior=type(found.prior)())  # type: ignore[type-var]
        if not _alike(saved, config_to_json(template)):
            raise TypeError
    except UnknownPriorError as error:
        raise InputError(f"{state}: {error}; import or install what registers the prior first") from error
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(
            f"{state}: the unfinished training there has settings that this version of citris does not know; "
            "run without --resume to start anew"
        ) from error
    return found


def _alike(value: Any, own: Any) -> bool:
    """Whether a value from a file is of the same kind as the one that it stands for; whole numbers are numbers too."""
    if isinstance(own, dict):
        return isinstance(value, dict) and value.keys() == own.keys() and all(_alike(value[k], own[k]) for k in own)
    if isinstance(value, bool) and not isinstance(own, bool | None):
        return False
    return own is None or isinstance(value, (int, float) if isinstance(own, float) else type(own))


def _difference(saved: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[str, Any]:
    """The first setting that differs, and what was saved of it."""
    for name, value in saved.items():
        if isinstance(value, Mapping) and value != ours.get(name):
            if value.get("name") != ours[name].get("name"):
                return name, value.get("name")
            return _difference(value, ours[name])
        if value != ours.get(name):
            return name, value
    return "prior", saved.get("prior")
