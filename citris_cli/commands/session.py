"""What every training begins and ends with: options checked, data loaded, settings settled; the model written."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from citris_cli.artifacts.files import check_writable
from citris_cli.artifacts.models import ModelFile, provenance, write_model
from citris_cli.artifacts.runs import FILE_NAMES, header_or_none, run_folder
from citris_cli.core.causal_latents import BASELINES
from citris_cli.core.reference import ReferenceLatents
from citris_cli.data.datasets import IndependentData, SequenceData, load_independent, load_sequences
from citris_cli.data.grouping import merge_columns, spelled_groups
from citris_cli.data.layout import find_split
from citris_cli.data.variables import Variables, parse_vars
from citris_cli.errors import InputError
from citris_cli.evaluation.validation import Validation
from citris_cli.loading import model_config, model_tensors
from citris_cli.show.console import Console, Progress
from citris_cli.training.devices import keep_freed_memory, resolve_precision
from citris_cli.training.files import RunFiles
from citris_cli.training.loop import StopRequest, Task, TrainingConfig, train
from citris_cli.training.processes import ALONE, Processes, join, own_device
from citris_cli.wording import counted

ConfigT = TypeVar("ConfigT")
Loader = Callable[[Sequence[Path], Variables | None], SequenceData | IndependentData]
STDOUT = Path("-")


@dataclass(frozen=True)
class Session:
    """One training command: its data, where it computes, where it writes, who takes part, whether it has to stop.

    Attributes:
        validation: what was given with --val, in the process that measures; None in the others, and without --val.
        validation_sha256: its hash, in all processes; "" without --val.
    """

    data: SequenceData | IndependentData
    held_out: IndependentData | None
    validation: Validation | None
    device: torch.device
    console: Console
    output: Path | None
    resume: bool
    save_every: float
    as_json: bool
    validation_sha256: str = ""
    stop: StopRequest = field(default_factory=StopRequest)
    processes: Processes = ALONE

    @classmethod
    def start(cls, given: Mapping[str, Any], load: Loader = load_sequences) -> Session:
        """Check everything that can be wrong before time is spent; load the data.

        Args:
            given: the command's options by name.
            load: reads the training data: paths, and the variables named with --vars.

        Raises:
            InputError: whatever is wrong with the options or the data.
        """
        console = Console()
        if given["as_json"] and given["output"] == STDOUT:
            raise InputError("--json and -o - both want standard output; give -o a file")
        keep_freed_memory()
        device = own_device(given["device"])
        resolve_precision(given["precision"] or "auto", device)
        processes = join(device)
        if given["output"] not in (None, STDOUT):
            check_writable(given["output"])
        names = parse_vars(given["variables"]) if given["variables"] else None
        data = load(given["data"], names)
        if given.get("group") is not None:
            assert isinstance(data, SequenceData)
            data = merge_columns(data, given["group"])
        held_out = _held_out(given["data"], data, names)
        for note in dict.fromkeys((*data.notes, *(held_out.notes if held_out is not None else ()))):
            console.note(note)
        validation, validation_sha256 = None, ""
        if given.get("val") is not None:
            if processes.first:
                assert isinstance(data, SequenceData)
                validation = Validation.load(given["val"], data.variables, data.frames.width, names, data.columns)
            validation_sha256 = processes.from_first(validation.sha256 if validation is not None else "")
        return cls(
            data,
            held_out,
            validation,
            device,
            console,
            given["output"],
            given["resume"],
            given["save_every"],
            given["as_json"],
            validation_sha256,
            processes=processes,
        )

    def files(self, kind: str, output: Path | None, variety: str = "") -> RunFiles:
        """Where a training keeps its files; checked to be writable.

        Args:
            kind: of the model.
            output: where the model goes, or None.
            variety: what sets a training apart from the usual one on the same data, whose model it must not replace.
        """
        name = re.sub(r"[^\w.-]+", "-", f"{self.data.name}-{variety}")[:100] if variety else self.data.name
        default = run_folder(name, self.data.sha256) / FILE_NAMES[kind]
        path = default if output in (None, STDOUT) else output
        check_writable(path)
        stem = path.with_name(path.name.removesuffix(".safetensors"))
        return RunFiles(None if output == STDOUT else path, stem, writes=self.processes.first)

    def report(self, files: RunFiles) -> None:
        """The command's result on standard output: the model's path, or one JSON document."""
        if files.model is None:
            return  # the model itself went there
        header = header_or_none(files.model)
        measures = header.provenance.get("metrics", {}) if header is not None else {}
        if self.as_json:
            self.console.result(
                json.dumps({"model": str(files.model), "metrics_log": str(files.metrics), "metrics": measures})
            )
        else:
            self.console.result(str(files.model))


@dataclass(frozen=True)
class Plan:
    """One training, settled: what model, how trained, where written."""

    kind: str
    model: Any
    training: Any
    files: RunFiles

    @classmethod
    def make(
        cls,
        session: Session,
        kind: str,
        preset: Any,
        training_preset: TrainingConfig,
        given: Mapping[str, Any],
        output: Path | None,
        factors: Variables | None = None,
        learns_targets: bool = False,
    ) -> Plan:
        """The preset, or the unfinished run's settings when resuming, with the options that were given.

        Args:
            session: data and device.
            kind: of the model.
            preset, training_preset: how the model is built and trained unless an option says otherwise.
            given: options by name.
            output: where the model goes.
            factors: what the model learns to read, for a kind whose networks follow from them; part of the settings.
            learns_targets: whether the kind learns from targets, and keeps the best model by --val: then which columns
                were merged, and the hash of what it is measured on, are part of the settings.

        Raises:
            InputError: the unfinished training is another one.
        """
        groups = validation_sha256 = ""
        if learns_targets:
            assert isinstance(session.data, SequenceData)
            groups, validation_sha256 = spelled_groups(session.data.variables), session.validation_sha256
        variety = [group.partition("=")[0] for group in groups.split(",") if group]
        if given.get("prior") in BASELINES:
            variety.append(given["prior"])
        files = session.files(kind, output, "-".join(variety))
        saved = files.saved_settings() if session.resume else None
        # The device's own, unless the unfinished training or an option says otherwise.
        training_preset = dataclasses.replace(training_preset, precision="auto")
        if saved is not None:
            if saved.get("kind") != kind:
                raise InputError(f"{files.state}: holds no training of this kind; choose another place with -o")
            if saved.get("data_sha256") != session.data.sha256:
                raise InputError(f"{files.state}: belongs to other data; resume with the data it was started with")
            if factors is not None and saved.get("factors") != _spelled(factors):
                raise InputError(f"{files.state}: learns other factors; resume with the --vars it was started with")
            if saved.get("groups", "") != groups:
                merged = f"--group {saved['groups']}" if saved.get("groups") else "no --group"
                raise InputError(f"{files.state}: learns other variables; resume with {merged}, as it was started")
            if (theirs := saved.get("validation_sha256", "")) != validation_sha256:
                started = "with other validation data" if validation_sha256 else "with --val"
                raise InputError(
                    f"{files.state}: started {started}, by which it keeps the best model; resume with the same --val"
                    if theirs
                    else f"{files.state}: started without --val; resume without it too"
                )
            preset = _restored(preset, saved.get("model"), files.state)
            training_preset = _restored(training_preset, saved.get("training"), files.state)
        elif files.state.exists() and not session.resume:
            session.console.note(
                f"{files.state} holds an unfinished training; starting anew in its place (--resume would go on with it)"
            )
        model = _settle(preset, given)
        if saved is not None and dataclasses.asdict(model) != saved["model"]:
            field = next(name for name, value in saved["model"].items() if getattr(model, name) != value)
            raise InputError(
                f"--{field.replace('_', '-')}: the unfinished training in {files.state} has {saved['model'][field]}; "
                "leave the option out or run without --resume"
            )
        training = _settle(training_preset, given)
        if saved is not None and training.steps < training_preset.steps and training.steps <= files.saved_step():
            raise InputError(
                f"--steps {training.steps}: the unfinished training in {files.state} has taken "
                f"{counted(files.saved_step(), 'step')} already; give more or run without --resume"
            )
        training = dataclasses.replace(training, precision=resolve_precision(training.precision, session.device))
        settings: dict[str, Any] = {
            "kind": kind,
            "model": dataclasses.asdict(model),
            "training": dataclasses.asdict(training),
            "data_sha256": session.data.sha256,
        }
        if factors is not None:
            settings["factors"] = _spelled(factors)
        if groups:
            settings["groups"] = groups
        if validation_sha256:
            settings["validation_sha256"] = validation_sha256
        return cls(kind, model, training, dataclasses.replace(files, settings=settings))

    def finished(self, session: Session) -> bool:
        """Whether ``--resume`` meets a run of these very settings that had come to its end."""
        files = self.files
        if not session.resume or files.state.exists() or files.model is None:
            return False
        header = header_or_none(files.model)
        done = header is not None and header.provenance.get("settings") == dict(files.settings)
        if done:
            session.console.note(f"{files.model} is finished already")
        return done

    def train(self, session: Session, task: Task, title: str) -> dict[str, float]:
        """Train with a progress display; the last validation's measures. See :func:`citris_cli.training.loop.train`."""
        with Progress(self.training.steps, title, unit=task.unit) as display, session.processes.together(self.files):
            return train(
                task,
                self.training,
                self.files,
                display,
                resume=session.resume,
                save_every=session.save_every,
                stop=session.stop,
                processes=session.processes,
            )

    def write(
        self,
        session: Session,
        model: torch.nn.Module,
        measures: Mapping[str, Any],
        variables: Variables | None = None,
        reference: ReferenceLatents | None = None,
    ) -> None:
        """Write the trained model with all that is known of it, and remove the state of its training.

        Args:
            session: where the data came from.
            model: the trained model.
            measures: of the model, for its provenance.
            variables: what its latents or its outputs stand for.
            reference: latents of training frames that it keeps.
        """
        origin = provenance(["citris", *sys.argv[1:]], self.training.seed, session.data.sha256, measures)
        origin["settings"] = dict(self.files.settings)
        origin["dataset"] = session.data.name
        origin["columns"] = session.data.columns.to_json()
        described = None if variables is None else variables.to_json()
        tensors = model_tensors(model, reference)
        write_model(self.files.model, ModelFile(self.kind, model_config(model), described, origin, tensors))
        self.files.remove_state()


def _held_out(
    paths: Sequence[Path], data: SequenceData | IndependentData, names: Variables | None
) -> IndependentData | None:
    """The independent frames that a dataset in the published layout brings for validation, named as its columns."""
    if len(paths) != 1 or not paths[0].is_dir():
        return None
    files = find_split(paths[0], "val_indep")
    # A directory with a single file offers it for every split; frames trained on are not held out.
    if not files or set(files) & set(data.paths):
        return None
    return load_independent(paths[0], "val_indep", names, data.columns)


def _spelled(factors: Variables) -> str:
    """Names and kinds as --vars takes them; ranges follow from the data."""
    return ",".join(f"{factor.name}:{factor.kind}" for factor in factors)


def _settle(config: ConfigT, given: Mapping[str, Any]) -> ConfigT:
    """A configuration with the options that were given in place of its own values."""
    names = {field.name for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    return dataclasses.replace(config, **{n: v for n, v in given.items() if n in names and v is not None})  # type: ignore[type-var]


def _restored(config: ConfigT, saved: Any, state: Path) -> ConfigT:
    """A configuration with the values that an unfinished training had, all of them and each of its own kind."""
    own = dataclasses.asdict(config)  # type: ignore[call-overload]
    if not isinstance(saved, dict) or saved.keys() != own.keys() or not all(map(_alike, saved.values(), own.values())):
        raise InputError(
            f"{state}: the unfinished training there has settings that this version of citris does not know; "
            "run without --resume to start anew"
        )
    return dataclasses.replace(config, **saved)  # type: ignore[type-var]


def _alike(value: Any, own: Any) -> bool:
    """Whether a value from a file is of the same kind as the one that it stands for; whole numbers are numbers too."""
    return own is None or isinstance(value, (int, float) if isinstance(own, float) else type(own))
