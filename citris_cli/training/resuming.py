"""Going on with an earlier training: which one is meant, whether it is the one that was asked for, what is left to do.

An earlier training is gone on with as it was begun: its settings are read from its files, and only more steps can be
asked for. What would make it another training is refused, in a sentence that says what it has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from citris_cli.artifacts.runs import models_in
from citris_cli.core.priors import UnknownPriorError
from citris_cli.errors import InputError
from citris_cli.kinds import Kind, alike, config_from_json, config_to_json
from citris_cli.training.config import TrainingConfig
from citris_cli.training.files import AUTOENCODER, RunFiles, same_run
from citris_cli.training.place import Left, Settings, steps_in, upgraded
from citris_cli.training.request import Place, Request
from citris_cli.training.settling import IMPERFECT, ConfigT, ModelT, Settling, TrainingT
from citris_cli.wording import counted

#: What else makes a run what it is, by name, with the sentence where a resumed one differs.
LEARNED = {
    "rounds": "was started {theirs}; resume it the same way",
    "restarts": "was started {theirs}; resume it the same way",
    "factors": "learns other factors; resume with the --vars it was started with",
    "groups": "learns other variables; resume with {theirs}, as it was started",
    "variables": "learns variables of other names or kinds; resume with the --vars it was started with",
    AUTOENCODER: "was started on another autoencoder; resume with the --ae it was started with",
    "teacher_sha256": "had another teacher; resume with the --teacher it was started with",
    "targets_lead": "read the targets {theirs}; resume with the same",
    "validation_sha256": "started {theirs}",
}


@dataclass(frozen=True)
class Resumed(Generic[ModelT, TrainingT]):
    """An earlier training, settled to be gone on with.

    Attributes:
        left: what lies at its place.
        model: its configuration.
        training: how it is trained, perhaps for more steps than before.
        files: where it is written, with these settings.
        done: whether it had come to its end with these very settings.
        seen: of the files when it was settled.
    """

    left: Left
    model: ModelT
    training: TrainingT
    files: RunFiles
    done: bool
    seen: tuple[object, ...]


def resumed(
    begin: Settling[ModelT, TrainingT], base: Path, output: Path | Place | None
) -> Resumed[ModelT, TrainingT] | None:
    """The earlier training that is gone on with: of several, the one that the same command began.

    Args:
        begin: what would be trained from the beginning.
        base: where the model goes by default, or the place that was named.
        output: where it was asked to go.

    Returns:
        The training, or None if there is nothing to go on with.

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
    found: list[tuple[int, Resumed[ModelT, TrainingT]]] = []
    refused: InputError | None = None
    for path in places:
        left = Left.at(path, kind)
        saved = left.state if left.state is not None else left.model
        if left.state is None and (not saved or output is Place.STDOUT):
            continue
        try:
            earlier = _going_on(begin, left, output)
        except InputError as error:
            refused = refused or error
            continue
        ours = _on_theirs(wanted, saved) if begin.on_any and wanted else wanted
        alike = [saved == wanted, same_run(saved, ours), same_run(_but_steps(saved), _but_steps(ours)), True]
        found.append((2 * alike.index(True) + (not left.unfinished), earlier))
    if not found and refused is not None:
        raise refused
    if not found:
        return None
    _, earlier = min(found, key=lambda one: one[0])
    before = earlier.left.state or earlier.left.model
    _note_other_length(begin, earlier, steps_in(before))
    if wanted and not earlier.done:
        _note_own_settings(begin, earlier, _on_theirs(wanted, before) if begin.on_any else wanted)
    return earlier


def _note_other_length(begin: Settling[Any, Any], earlier: Resumed[Any, Any], before: int) -> None:
    """Say that a training which is made longer or shorter is not one of that length from the start."""
    steps, left = earlier.training.steps, earlier.left
    if steps != before:
        begin.session.note(
            f"{earlier.files.state}: continuing after {counted(left.step, 'step')}, with {steps:,} in all instead of "
            f"{before:,}; the learning rate now follows the new length, so the result differs from a run of {steps:,} "
            "steps from the start"
        )


def _note_own_settings(begin: Settling[Any, Any], earlier: Resumed[Any, Any], wanted: Settings) -> None:
    """Say that a preset or a whole configuration, which only begins a training, is not what is gone on with."""
    request = begin.session.request
    if request.preset != Request.preset:
        told = f"--preset {request.preset}"
    elif request.model is not None or request.training is not None:
        told = "the configuration"
    else:
        return
    own = earlier.files.settings
    for part in ("model", "training"):
        free = {name: own[part][name] for name in ("steps", "precision") if name in own[part]}
        asked = {**wanted[part], **free}
        if asked != own[part]:
            name, value = _difference(own[part], asked)
            begin.session.note(
                f"{earlier.files.state}: continues with the settings that it was started with, such as {name} "
                f"{value}; {told} changes none of them"
            )
            return


def _on_theirs(settings: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they would be on the autoencoder of another run."""
    sizes = {name: theirs["model"][name] for name in ("latents", "noise")}
    return {**settings, "model": {**settings["model"], **sizes}, AUTOENCODER: theirs.get(AUTOENCODER, "")}


def _but_steps(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {**settings, "training": {**settings.get("training", {}), "steps": 0}}


def _going_on(
    begin: Settling[ModelT, TrainingT], left: Left, output: Path | Place | None
) -> Resumed[ModelT, TrainingT]:
    """What is left at a place, with the settings that it has and the changes.

    Raises:
        InputError: it is another training, or there is nothing left to do.
    """
    session, kind = begin.session, begin.kind
    files = session.files(left.path, output)
    where = files.state if left.state is not None else left.path
    saved = upgraded(kind, files.saved_settings()) if left.state is not None else left.model
    if AUTOENCODER in saved and begin.on_any:
        begin = dataclasses.replace(begin, learned={**begin.learned, AUTOENCODER: saved[AUTOENCODER]})
    _check_same_run(saved, kind, session.data.sha256, begin.learned, where)
    before = (
        _restored(begin.configs[0], saved.get("model"), where),
        _restored(begin.configs[1], saved.get("training"), where),
    )
    going_on = dataclasses.replace(begin, configs=before)
    model, training = going_on.settled()
    what = f"the {'unfinished' if left.unfinished else 'finished'} training run in {where}"
    _check_settings(begin, saved["model"], before[1], (model, training), what)
    settings = going_on.settings(model, training)
    done = not left.unfinished and same_run(settings, saved)
    if not done:
        _check_steps(training.steps, before[1].steps, left, files.state)
    files = dataclasses.replace(files, settings=settings)
    return Resumed(left, model, training, files, done, files.seen())


def _check_same_run(
    saved: Mapping[str, Any], kind: Kind, data_sha256: str, learned: Mapping[str, str], state: Path
) -> None:
    """Refuse to go on with another training."""
    if saved.get("kind") != kind.name:
        raise InputError(f"{state}: does not hold a training run of this kind; choose another place with -o")
    if saved.get("data_sha256") != data_sha256:
        raise InputError(f"{state}: belongs to other data; resume with the data it was started with")
    for name, sentence in LEARNED.items():
        theirs, ours = saved.get(name, ""), learned.get(name, "")
        if same_run({name: theirs} if theirs else {}, {name: ours} if ours else {}):
            continue
        told = f"--group {theirs}" if theirs else "no --group"
        if name == "targets_lead":
            told = f"with --targets-lead {theirs}" if theirs else "without --targets-lead"
        if name in ("rounds", "restarts"):
            told = f"with --{name} {theirs}" if theirs else f"without --{name}"
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
            f"{state}: the training run there has settings that this version of citris does not know; run without "
            "--resume to start over"
        ) from error
    return found


def _check_settings(
    begin: Settling[Any, Any],
    model_before: Settings,
    training_before: TrainingConfig,
    now: tuple[Any, TrainingConfig],
    what: str,
) -> None:
    """Refuse changes of anything but the steps, with which it would be neither the one training nor the other.

    Args:
        begin: what was asked for.
        model_before: the model's configuration as it was saved.
        training_before: how it was trained.
        now: both configurations with the changes.
        what: the training, in words.
    """
    (model, training), changes = now, begin.changes
    other: tuple[str, Any] | None = None
    prior, own = changes.get("prior"), getattr(model, "prior", None)
    before = dataclasses.asdict(training_before)
    if "precision" not in changes:  # another device's own
        before["precision"] = training.precision
    after = {**dataclasses.asdict(training), "steps": before["steps"]}
    if config_to_json(model) != model_before:
        other = _difference(model_before, config_to_json(model))
    elif prior is not None and own is not None and prior != own.name:
        other = "prior", own.name
    elif after != before:
        other = _difference(before, after)
    if other is not None:
        name, value = other
        if name == IMPERFECT:  # the numbers of some variables
            names = getattr(begin.session.data, "variables", ())
            value = ", ".join(one.name for k, one in enumerate(names) if k in value) or "none"
        raise InputError(
            f"--{name.replace('_', '-')}: {what} has {value}; leave the option out or run without --resume"
        )


def _check_steps(steps: int, before: int, left: Left, state: Path) -> None:
    """Refuse a number of steps that leaves nothing to do.

    Args:
        steps: of the whole training.
        before: as many as it was begun with, or made longer to.
        left: what lies at its place.
        state: the file from which it goes on.
    """
    if left.unfinished:
        if steps < before and steps <= left.step:
            raise InputError(
                f"--steps {steps}: the unfinished training run in {state} has taken {counted(left.step, 'step')} "
                "already; give more or run without --resume"
            )
    elif left.state is None:
        raise InputError(
            f"--resume: {left.path} is finished, and {state}, from which it could be trained longer, is not there; "
            "run without --resume to start over"
        )
    elif steps <= before:
        raise InputError(
            f"--resume: {left.path} is finished after {counted(before, 'step')}; give more with --steps to train it "
            "longer, or run without --resume to start over"
        )


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
