"""From a preset and what was asked for to a training that is settled; from a trained network to its model file."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import nn

from citris_cli.artifacts.models import ModelFile, provenance, write_model
from citris_cli.artifacts.runs import models_in
from citris_cli.core.config import PRIOR_CONFIGS, PriorConfig, require_within_bounds
from citris_cli.core.priors import UnknownPriorError, find_prior
from citris_cli.core.reference import ReferenceLatents
from citris_cli.data.datasets import IndependentData, SequenceData
from citris_cli.data.frames import Frames
from citris_cli.data.variables import Variables
from citris_cli.errors import CitrisError, InputError
from citris_cli.kinds import Kind, alike, config_from_json, config_to_json
from citris_cli.loading import IN_MEMORY, LoadedModel, load_model, model_config, model_tensors
from citris_cli.training.config import TrainingConfig
from citris_cli.training.devices import resolve_precision
from citris_cli.training.encodings import weights_sha256
from citris_cli.training.files import AUTOENCODER, RunFiles, same_run
from citris_cli.training.loop import train
from citris_cli.training.place import Left, free_path, steps_in, upgraded
from citris_cli.training.processes import restarted
from citris_cli.training.record import too_few
from citris_cli.training.request import OnProgress, Place, Progress, Request
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
        resume: whether it goes on with what lies there.
        done: whether it is resumed and a run of these very settings had come to its end.
        seen: of the files when it was settled.
    """

    kind: Kind
    model: ModelT
    training: TrainingT
    files: RunFiles
    resume: bool = False
    done: bool = False
    seen: tuple[object, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What it is going to do, for JSON."""
        return {
            "kind": self.kind.name,
            "model": config_to_json(self.model),
            "training": dataclasses.asdict(self.training),
            "output": None if self.files.model is None else str(self.files.model),
        }

    @property
    def autoencoder_sha256(self) -> str:
        """Hash of the autoencoder that it trains on; "" if that is trained first, or there is none."""
        return str(self.files.settings.get(AUTOENCODER, ""))

    def on_autoencoder(self, sha256: str) -> Plan[ModelT, TrainingT]:
        """The same training, which tells of its autoencoder."""
        files = dataclasses.replace(self.files, settings={**self.files.settings, AUTOENCODER: sha256})
        return dataclasses.replace(self, files=files)

    @contextmanager
    def held(self, session: AnySession) -> Iterator[None]:
        """Keep other trainings away from its files inside the ``with`` block.

        Raises:
            InputError: another training writes there, or has since this one was settled.
        """
        with self.files.locked(session.note):
            if self.files.on_disk and self.files.seen() != self.seen:
                where = self.files.model or self.files.state
                raise InputError(f"{where}: another training has just written there; run the command again")
            yield

    def finished(self, session: AnySession) -> LoadedModel | None:
        """The model, where there is nothing left to train."""
        if not self.done or self.files.model is None:
            return None
        session.note(f"{self.files.model} is finished already")
        return load_model(self.files.model, session.device)

    def train(self, session: AnySession, task: Task, title: str, reads: Sequence[Frames]) -> dict[str, float]:
        """Train; the last validation's measures. See :func:`citris_cli.training.loop.train`.

        Args:
            session: where the data came from.
            task: the model with its batches.
            title: of the training.
            reads: frames that the task reads.
        """
        if few := too_few(task):
            session.note(few)
        display = _Told(session.request.on_progress, title, self.training.steps, task.unit)
        with session.processes.together(self.files):
            return train(
                task,
                self.training,
                self.files,
                display,
                resume=self.resume,
                save_every=session.request.save_every,
                stop=session.stop,
                processes=session.processes,
                reads=reads,
            )

    def write(
        self,
        session: AnySession,
        network: nn.Module,
        measures: Mapping[str, Any],
        variables: Variables | None = None,
        reference: ReferenceLatents | None = None,
    ) -> LoadedModel:
        """Write the trained model with all that is known of it, and then the state from which it can be made longer.

        Args:
            session: where the data came from.
            network: the trained model, which is put into evaluation mode.
            measures: of the model, for its provenance.
            variables: what its latents or its outputs stand for.
            reference: latents of training frames that it keeps.
        """
        data, files = session.data, self.files
        for change in session.changes():
            session.note(f"{change} while the model was trained, which is of the data as they were before")
        origin = provenance(session.request.command, self.training.seed, data.sha256, measures)
        origin["settings"] = dict(files.settings)
        origin["dataset"] = data.name
        origin["columns"] = data.columns.to_json()
        for part in self.kind.inside:
            origin[f"{part}_sha256"] = weights_sha256(getattr(network, part).state_dict())
        if files.on_disk:
            described = None if variables is None else variables.to_json()
            tensors = model_tensors(network, reference)
            contents = ModelFile(self.kind.name, model_config(network), described, origin, tensors)
            write_model(files.model, contents, named=files.model == session.request.output)
            self._write_state(session)
        return LoadedModel(self.kind.name, network.eval(), variables, files.model or IN_MEMORY, origin, reference)

    def _write_state(self, session: AnySession) -> None:
        """What a longer training of a model that is written needs; without it the model is finished all the same."""
        files = self.files
        if files.model is None and not files.state.with_name(files.state.name.replace(".state.", ".")).exists():
            files.remove_state()  # the model went to standard output, and nothing of it stays here
            return
        try:
            files.save_final()
        except CitrisError as error:
            files.remove_state()  # an older one would be of an unfinished training, which this is not
            session.note(
                f"{files.model or 'the model'} is finished; its last state could not be kept, so --resume cannot make "
                f"the training longer ({error})"
            )


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
    may_begin: bool = False,
    on_any: bool = False,
) -> Plan[ModelT, TrainingT]:
    """The preset, or the earlier run's settings when resuming, with the changes that were asked for.

    Args:
        session: data and device.
        kind: of the model.
        preset: how the model is built and trained unless a change says otherwise.
        changes: single settings by name.
        output: where the model goes.
        learned: what else makes the run what it is, by name (:data:`LEARNED`); what is "" is left out.
        may_begin: whether it begins anew where there is nothing to resume.
        on_any: whether what is resumed goes on with the autoencoder that it was begun on, whatever ``learned`` says.

    Raises:
        InputError: no such setting, a value that it cannot have; another training lies where it should go, or there is
            none to resume.
    """
    learned = {name: told for name, told in (learned or {}).items() if told}
    model, training = _with_prior(kind, preset, changes)
    # The device's own, unless an earlier training or a change says otherwise.
    configs = model, dataclasses.replace(training, precision="auto")
    begin = _Settling(session, kind, changes, learned, configs, on_any)
    base = session.base(kind, output, _variety(changes, kind, learned))
    if base is None:
        return begin.plan(session.files(None, output))
    if session.request.resume:
        try:
            plan = _resumed(begin, base, output)
        except InputError:
            if not restarted():
                raise
            plan = None
        if plan is not None:
            return plan
        if not may_begin and not restarted():
            raise InputError(
                f"--resume: no training of {kind.title} has been begun in {base}; leave the option out to begin one"
            )
    settings = begin.settings(*begin.settled())
    overwrite = session.request.overwrite
    path = free_path(base, isinstance(output, Path), kind, settings, overwrite, session.note)
    return begin.plan(session.files(path, output))


@dataclass(frozen=True)
class _Settling(Generic[ModelT, TrainingT]):
    """From configurations to begin with to a plan.

    Attributes:
        session: data and device.
        kind: of the model.
        changes: single settings by name.
        learned: what else makes the run what it is.
        configs: of model and training.
        on_any: see :func:`make_plan`.
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
                find_prior(prior.name, self.kind.name)
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

    def plan(self, files: RunFiles, resume: bool = False, done: bool = False) -> Plan[ModelT, TrainingT]:
        """The plan that is written to these files."""
        model, training = self.settled()
        files = dataclasses.replace(files, settings=self.settings(model, training))
        return Plan(self.kind, model, training, files, resume, done, files.seen())


def _resumed(
    begin: _Settling[ModelT, TrainingT], base: Path, output: Path | Place | None
) -> Plan[ModelT, TrainingT] | None:
    """The plan that goes on with an earlier training: of several, with the one that the same command began.

    Args:
        begin: what would be trained from the beginning.
        base: where the model goes by default, or the place that was named.
        output: where it was asked to go.

    Returns:
        The plan, or None if there is nothing to go on with.

    Raises:
        InputError: what there is, is another training.
    """
    kind, paths = begin.kind, [base]
    if not isinstance(output, Path):
        paths += [*models_in(base.parent, kind), *models_in(base.parent, kind, ".state")]
    places = dict.fromkeys(path.with_name(path.name.replace(".state.", ".")) for path in paths)
    try:
        wanted = begin.settings(*begin.settled())
    except InputError:  # of settings that belong to what is resumed
        wanted = {}
    found: list[tuple[int, Left, Plan[ModelT, TrainingT]]] = []
    refused: InputError | None = None
    for path in places:
        left = Left.at(path, kind)
        saved = left.state if left.state is not None else left.model
        if left.state is None and (not saved or output is Place.STDOUT):
            continue
        try:
            plan = _going_on(begin, left, output)
        except InputError as error:
            refused = refused or error
            continue
        ours = _on_theirs(wanted, saved) if begin.on_any and wanted else wanted
        alike = [saved == wanted, same_run(saved, ours), same_run(_but_steps(saved), _but_steps(ours)), True]
        found.append((2 * alike.index(True) + (not left.unfinished), left, plan))
    if not found and refused is not None:
        raise refused
    if not found:
        return None
    _, left, plan = min(found, key=lambda one: one[0])
    steps, before = plan.training.steps, steps_in(left.state or left.model)
    if steps != before:
        begin.session.note(
            f"{plan.files.state}: going on after {counted(left.step, 'step')} with {steps:,} in all instead of "
            f"{before:,}; the learning rate now follows the new length, so this is not the model of {steps:,} steps "
            "from the start"
        )
    if wanted and not plan.done:
        _note_own_settings(begin, plan, _on_theirs(wanted, left.state or left.model) if begin.on_any else wanted)
    return plan


def _note_own_settings(
    begin: _Settling[ModelT, TrainingT], plan: Plan[ModelT, TrainingT], wanted: Mapping[str, Any]
) -> None:
    """Say that a preset or a whole configuration, which only begins a training, is not what is gone on with."""
    request = begin.session.request
    if request.preset != Request.preset:
        told = f"--preset {request.preset}"
    elif request.model is not None or request.training is not None:
        told = "the configuration"
    else:
        return
    own = begin.settings(plan.model, plan.training)
    for part in ("model", "training"):
        free = {name: own[part][name] for name in ("steps", "precision") if name in own[part]}
        asked = {**wanted[part], **free}
        if asked != own[part]:
            name, value = _difference(own[part], asked)
            begin.session.note(
                f"{plan.files.state}: goes on with the settings that it was begun with, such as {name} {value}; "
                f"{told} changes none of them"
            )
            return


def _on_theirs(settings: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they would be on the autoencoder of another run."""
    sizes = {name: theirs["model"][name] for name in ("latents", "noise")}
    return {**settings, "model": {**settings["model"], **sizes}, AUTOENCODER: theirs.get(AUTOENCODER, "")}


def _but_steps(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {**settings, "training": {**settings.get("training", {}), "steps": 0}}


def _going_on(begin: _Settling[ModelT, TrainingT], left: Left, output: Path | Place | None) -> Plan[ModelT, TrainingT]:
    """The plan that goes on with what is left at a place, with the settings that it has and the changes.

    Raises:
        InputError: it is another training, or there is nothing left to do.
    """
    session, kind = begin.session, begin.kind
    files = session.files(left.path, output)
    where = files.state if left.state is not None else left.path
    saved = upgraded(kind, files.saved_settings()) if left.state is not None else left.model
    if AUTOENCODER in saved and begin.on_any:
        begin = dataclasses.replace(begin, learned={**begin.learned, AUTOENCODER: saved[AUTOENCODER]})
    _check_resumed(saved, kind, session.data.sha256, begin.learned, where)
    before = (
        _restored(begin.configs[0], saved.get("model"), where),
        _restored(begin.configs[1], saved.get("training"), where),
    )
    going_on = dataclasses.replace(begin, configs=before)
    model, training = going_on.settled()
    what = "unfinished" if left.unfinished else "finished"
    if config_to_json(model) != saved["model"]:
        name, value = _difference(saved["model"], config_to_json(model))
        raise InputError(
            f"--{name.replace('_', '-')}: the {what} training in {where} has {value}; "
            "leave the option out or run without --resume"
        )
    prior, own = begin.changes.get("prior"), getattr(model, "prior", None)
    if prior is not None and own is not None and prior != own.name:
        raise InputError(
            f"--prior: the {what} training in {where} has {own.name}; leave the option out or run without --resume"
        )
    began = dataclasses.asdict(before[1])
    if "precision" not in begin.changes:  # another device's own
        began["precision"] = training.precision
    now = {**dataclasses.asdict(training), "steps": began["steps"]}
    if now != began:  # it would be neither the one training nor the other
        name, value = _difference(began, now)
        raise InputError(
            f"--{name.replace('_', '-')}: the {what} training in {where} has {value}; "
            "leave the option out or run without --resume"
        )
    steps, began_with = training.steps, before[1].steps
    if left.unfinished:
        if steps < began_with and steps <= left.step:
            raise InputError(
                f"--steps {steps}: the unfinished training in {where} has taken "
                f"{counted(left.step, 'step')} already; give more or run without --resume"
            )
    elif same_run(going_on.settings(model, training), saved):
        return going_on.plan(files, resume=True, done=True)
    elif left.state is None:
        raise InputError(
            f"--resume: {left.path} is finished, and {files.state}, from which it could be trained longer, is not "
            "there; run without --resume to train anew"
        )
    elif steps <= began_with:
        raise InputError(
            f"--resume: {left.path} is finished after {counted(began_with, 'step')}; give more with --steps to train "
            "it longer, or run without --resume to train anew"
        )
    return going_on.plan(files, resume=True)


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
        if name != "prior" and not alike(value, own):
            raise InputError(f"{name} is {value!r}; it needs a value such as {own!r}")


#: What else makes a run what it is, by name, with the sentence where a resumed one differs.
LEARNED = {
    "factors": "learns other factors; resume with the --vars it was started with",
    "groups": "learns other variables; resume with {theirs}, as it was started",
    "variables": "learns variables of other names or kinds; resume with the --vars it was started with",
    AUTOENCODER: "was begun on another autoencoder; resume with the --ae it was started with",
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
        if same_run({name: theirs} if theirs else {}, {name: ours} if ours else {}):
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


def _restored(config: ConfigT, saved: Any, state: Path) -> ConfigT:
    """A configuration with the values that an unfinished training had, all of them and each of its own kind."""
    try:
        found = config_from_json(type(config), saved)
        template = type(config)()
        if hasattr(found, "prior"):
            template = dataclasses.replace(template, prior=type(found.prior)())  # type: ignore[type-var]
        if not alike(saved, config_to_json(template)):
            raise TypeError
    except UnknownPriorError as error:
        raise InputError(f"{state}: {error}; import or install what registers the prior first") from error
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(
            f"{state}: the training there has settings that this version of citris does not know; "
            "run without --resume to start anew"
        ) from error
    return found


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
