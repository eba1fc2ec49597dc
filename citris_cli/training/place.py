"""What earlier trainings left at a place, and where a new one may go: it replaces none that was made otherwise."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from citris_cli.artifacts.models import read_model_header
from citris_cli.core.config import MLPPriorConfig
from citris_cli.errors import CitrisError, InputError
from citris_cli.kinds import KINDS, Kind, config_from_json, config_to_json
from citris_cli.training.files import AUTOENCODER, RunFiles, same_run

#: Settings of a run, as a model's provenance and a state have them; empty where a file does not tell.
Settings = Mapping[str, Any]
#: What sets runs apart besides the settings of model and training, as a user calls it.
CALLED = {
    "rounds": "--rounds",
    "restarts": "--restarts",
    "data_sha256": "data",
    AUTOENCODER: "autoencoder",
    "groups": "--group",
    "targets_lead": "--targets-lead",
    "validation_sha256": "--val",
    "factors": "--vars",
    "variables": "--vars",
}


@dataclass(frozen=True)
class Left:
    """What earlier trainings left at a place.

    Attributes:
        path: of the model, there or not.
        what: the model there is, such as "a finished CITRIS-NF"; "" if there is none.
        model: its settings.
        state: settings of the training whose state lies there, or None if none does.
        step: steps that it had taken.
    """

    path: Path
    what: str
    model: Settings
    state: Settings | None
    step: int

    @classmethod
    def at(cls, path: Path, kind: Kind) -> Left:
        """What lies beside a model's path.

        Args:
            path: of the model.
            kind: of the model that is going to be trained there.
        """
        what, settings = _model_at(path, kind)
        files = RunFiles.beside(path)
        try:
            saved, step = upgraded(kind, files.saved_settings()), files.saved_step()
        except CitrisError:  # whoever wants to go on from it is told; nobody else
            saved, step = {}, 0
        return cls(path, what, settings, saved, step)

    @property
    def begun(self) -> bool:
        """Whether there is anything to go on with: a model, or the state of a training."""
        return bool(self.what) or self.state is not None

    @property
    def unfinished(self) -> bool:
        """Whether a training was stopped before its model was written."""
        if self.state is None:
            return False
        return self.step < steps_in(self.state) or not self.what or not same_run(self.model, self.state)

    def differs(self, settings: Settings) -> str:
        """What there is of another run than one, in a clause; "" if there is nothing.

        Args:
            settings: of that run.
        """
        if self.what and not same_run(self.model, settings):
            return f"{self.path} holds {self.what}{_in_what(self.model, settings)}"
        if self.state is not None and not same_run(self.state, settings):
            state = RunFiles.beside(self.path).state
            what = "an unfinished training run" if self.unfinished else "a training"
            return f"{state} holds {what}{_in_what(self.state, settings)}"
        return ""


def free_path(
    base: Path,
    named: bool,
    kind: Kind,
    settings: Settings,
    overwrite: bool,
    note: Callable[[str], object],
    piped: bool = False,
) -> Path:
    """Where a training that begins anew puts its model.

    Args:
        base: where it was asked to go, or goes by default.
        named: whether the user named this place: then there is no other.
        kind: of the model.
        settings: of the run.
        overwrite: whether what lies there may be replaced.
        note: is told what is replaced, and where the model goes instead.
        piped: whether the model goes to standard output, so that only its log and state lie there.

    Raises:
        InputError: at the place that was named lies something else.
    """
    left = Left.at(base, kind)
    differs = left.differs(settings)
    if differs and named and not overwrite:
        raise InputError(f"{differs}; name another file with -o, or replace it with --overwrite")
    if differs and not overwrite:
        path, left = next(
            (path, other)
            for path in _others(base, left, settings)
            for other in [Left.at(path, kind)]
            if not other.differs(settings)
        )
        goes = f"this one goes to {path} (--overwrite would replace that one)"
        note(f"{differs}: {f'the log of this one goes to {RunFiles.beside(path).metrics}' if piped else goes}")
    elif differs:
        note(f"{differs}: replaced (--overwrite)")
    if left.unfinished:
        state = RunFiles.beside(left.path).state
        if not differs or not overwrite:
            note(
                f"{state} holds an unfinished training run; starting a new one in its place (--resume would continue "
                "it)"
            )
    elif left.what and same_run(left.model, settings):
        note(f"{left.path} was trained with the same settings: training it again{'' if piped else ' in its place'}")
    return left.path


def _others(base: Path, left: Left, settings: Settings) -> Iterator[Path]:
    """Places beside one that is taken: named after the seed if no other setting differs, else after all of them."""
    stem = base.name.removesuffix(".safetensors")
    theirs = left.model if left.what and not same_run(left.model, settings) else left.state
    if theirs and [name for name in _differences(theirs, settings) if name != CALLED[AUTOENCODER]] == ["seed"]:
        yield base.with_name(f"{stem}-seed{settings['training']['seed']}.safetensors")
    # The same place whether the autoencoder is there already or trained first.
    named = {name: value for name, value in settings.items() if name != AUTOENCODER}
    digest = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:8]
    for number in itertools.count(1):
        yield base.with_name(f"{stem}-{digest}{f'-{number}' if number > 1 else ''}.safetensors")


def _model_at(path: Path, kind: Kind) -> tuple[str, Settings]:
    """What a model's path holds, in words, and the settings that it was made with."""
    # An empty file is a name that was reserved, and what is no file is written to as it is.
    if not path.is_file() or path.stat().st_size == 0:
        return "", {}
    try:
        header = read_model_header(path)
    except CitrisError:
        return "something else than a model of citris", {}
    settings = header.provenance.get("settings")
    if header.kind not in KINDS:
        return f"something else than a model ({header.kind})", {}
    if not isinstance(settings, Mapping):
        made = "an imported" if "imported_from" in header.provenance else "a finished"
        return f"{made} {KINDS[header.kind].title}", {}
    if AUTOENCODER in header.provenance:  # earlier versions told of it there alone
        settings = {**settings, AUTOENCODER: header.provenance[AUTOENCODER]}
    return f"a finished {KINDS[header.kind].title}", upgraded(kind, settings)


def _in_what(theirs: Settings, ours: Settings) -> str:
    """In what they differ, as the end of a clause."""
    if not theirs or theirs.get("kind") != ours["kind"]:
        return ""
    told = [
        name if values is None else f"{name} ({values[0]}, here {values[1]})"
        for name, values in _differences(theirs, ours).items()
    ]
    listed = told if len(told) <= 4 else [*told[:3], f"{len(told) - 3} more"]
    return f" that differs in {', '.join(listed[:-1])}{' and ' if listed[1:] else ''}{listed[-1]}" if told else ""


def _differences(theirs: Settings, ours: Settings) -> dict[str, tuple[Any, Any] | None]:
    """Names of what differs between runs, what says most first, with both values where these say something."""
    found: dict[str, tuple[Any, Any] | None] = {
        called: None
        for name, called in CALLED.items()
        if not same_run(*({key: value for key, value in each.items() if key == name} for each in (theirs, ours)))
    }
    for part in ("training", "model"):
        one, other = _flat(theirs.get(part)), _flat(ours.get(part))
        for name in sorted(one.keys() | other.keys(), key=lambda name: (name not in ("seed", "steps"), name)):
            if one.get(name) != other.get(name):
                found[name.replace("_", "-")] = (one.get(name, "none"), other.get(name, "none"))
    if not found and not same_run(theirs, ours):
        found["its kind"] = None
    return found


def _flat(values: Any) -> dict[str, Any]:
    """Settings by name, those of a prior among the model's, the prior's name as ``prior``."""
    if not isinstance(values, Mapping):
        return {}
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= (
            {"prior" if key == "name" else key: one for key, one in value.items()}
            if isinstance(value, Mapping)
            else {name: value}
        )
    return flat


def steps_in(settings: Settings) -> int:
    """Steps of the whole training that settings tell of; 0 if they do not."""
    training = settings.get("training")
    steps = training.get("steps") if isinstance(training, Mapping) else None
    return steps if isinstance(steps, int) else 0


def upgraded(kind: Kind, settings: Any) -> Any:
    """Settings of an earlier run as they are written today.

    In format 1 a prior was a name, and frames had three channels. Before there were ``imperfect_variables``,
    ``regulariser_form``, ``interventional_components`` and ``balance``, all variables were alike, lambda was a share,
    latents under an intervention were Gaussian, and all pixels were alike.
    """
    try:
        old, training = dict(settings["model"]), dict(settings["training"])
        if "image_channels" in {field.name for field in dataclasses.fields(kind.config)}:
            old.setdefault("image_channels", 3)
        if "permute_colours" in training:
            training.setdefault("balance", 0.0)
        if "imperfect_interventions" in (prior := old.get("prior") or {}):
            prior = old["prior"] = {"imperfect_variables": [], **prior}
        if "regulariser" in prior:
            prior = old["prior"] = {"regulariser_form": "share", **prior}
        if isinstance(prior, Mapping) and prior.get("name") == MLPPriorConfig.name:
            old["prior"] = {"interventional_components": 1, **prior}
        if not isinstance(prior, str):
            return {**settings, "model": old, "training": training}
        if "regulariser_warmup" in training:
            old["regulariser_warmup"] = training.pop("regulariser_warmup")
        return {**settings, "model": config_to_json(config_from_json(kind.config, old)), "training": training}
    except (TypeError, ValueError, KeyError, AttributeError):
        return settings
