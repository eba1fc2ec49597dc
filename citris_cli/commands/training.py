"""What the training commands share: from options to a finished model file."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from citris_cli.artifacts.files import atomic_write, check_writable
from citris_cli.artifacts.models import ModelFile, provenance, write_model
from citris_cli.artifacts.runs import FILE_NAMES, header_or_none, run_folder
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.reference import ReferenceLatents
from citris_cli.data.datasets import IndependentData, SequenceData, load_independent, load_sequences
from citris_cli.data.layout import find_split
from citris_cli.data.variables import parse_vars
from citris_cli.errors import InputError, InterruptedRunError
from citris_cli.evaluation.correlation import correlation
from citris_cli.loading import load_model, model_config, model_tensors
from citris_cli.show.console import Console, Progress, as_cells
from citris_cli.show.grids import png_bytes, reconstruction_grid
from citris_cli.training.autoencoder import AutoencoderTask
from citris_cli.training.citris_nf import CitrisNFTask
from citris_cli.training.devices import resolve_precision, select_device
from citris_cli.training.encodings import cached_encodings, encode_frames
from citris_cli.training.files import RunFiles
from citris_cli.training.loop import StopRequest, Task, TrainingConfig, train
from citris_cli.training.presets import AUTOENCODER, CITRIS_NF

ConfigT = TypeVar("ConfigT")
STDOUT = Path("-")
#: Frames whose latents a model keeps, so that it knows what its variables' values look like.
REFERENCE_FRAMES = 4096
ENCODINGS_AT_ONCE = 4096


@dataclass(frozen=True)
class Session:
    """One training command: its data, where it computes, where it writes, and whether it was asked to stop."""

    data: SequenceData
    held_out: IndependentData | None
    device: torch.device
    console: Console
    output: Path | None
    resume: bool
    save_every: float
    as_json: bool
    stop: StopRequest = field(default_factory=StopRequest)

    @classmethod
    def start(cls, given: Mapping[str, Any]) -> Session:
        """Check everything that can be wrong before time is spent; load the data.

        Args:
            given: the command's options by name.

        Raises:
            InputError: whatever is wrong with the options or the data.
        """
        console = Console()
        if given["as_json"] and given["output"] == STDOUT:
            raise InputError("--json and -o - both want standard output; give -o a file")
        device = select_device(given["device"])
        resolve_precision(given["precision"] or "auto", device)
        if given["output"] not in (None, STDOUT):
            check_writable(given["output"])
        names = parse_vars(given["variables"]) if given["variables"] else None
        data = load_sequences(given["data"], names)
        for note in data.notes:
            console.note(note)
        return cls(
            data,
            _held_out(given["data"], data),
            device,
            console,
            given["output"],
            given["resume"],
            given["save_every"],
            given["as_json"],
        )

    def files(self, kind: str, settings: Mapping[str, Any], output: Path | None) -> RunFiles:
        """Where a training of this kind keeps its files; checked to be writable."""
        default = run_folder(self.data.name, self.data.sha256) / FILE_NAMES[kind]
        path = default if output in (None, STDOUT) else output
        check_writable(path)
        stem = path.with_name(path.name.removesuffix(".safetensors"))
        return RunFiles(None if output == STDOUT else path, stem, settings)

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


def autoencoder(session: Session, given: Mapping[str, Any], output: Path | None = None) -> RunFiles:
    """Train an autoencoder on a session's frames.

    Args:
        session: data and device.
        given: options by name; those that are None come from the preset.
        output: where the model goes; the session's output if None.
    """
    data = session.data
    preset, training_preset = AUTOENCODER[given["preset"].value]
    preset = dataclasses.replace(preset, width=data.frames.width)
    plan = Plan.make(session, "autoencoder", preset, training_preset, given, output or session.output)
    if plan.finished(session):
        return plan.files
    config, training = plan.model, plan.training
    try:
        model = Autoencoder(config, torch.Generator().manual_seed(training.seed))
    except ValueError as error:
        raise InputError(f"these sizes make no autoencoder ({error}); choose another --patch") from error
    model = model.to(session.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    held_out = session.held_out.frames.to(session.device) if session.held_out else None
    pictures = partial(_write_reconstructions, plan.files.pictures)
    task = AutoencoderTask(model, data.frames.to(session.device), held_out, training, pictures)
    measures = _train(session, task, plan, f"autoencoder on {data.name}")
    _write(session, plan, model, measures)
    session.console.note(f"reconstructions beside originals: {plan.files.pictures}")
    return plan.files


def citris_nf(session: Session, given: Mapping[str, Any]) -> RunFiles:
    """Train CITRIS-NF on a session's frames, after the autoencoder if there is none yet.

    Args:
        session: data and device.
        given: options by name; those that are None come from the preset.
    """
    data = session.data
    ae_path = _autoencoder_path(session, given)
    loaded = load_model(ae_path, session.device)
    if loaded.kind != "autoencoder":
        raise InputError(f"{ae_path}: holds a {loaded.kind}, not an autoencoder; train one with 'citris train-ae'")
    network = loaded.network
    assert isinstance(network, Autoencoder)
    if loaded.width != data.frames.width:
        raise InputError(
            f"{ae_path}: this autoencoder was trained for {loaded.width}×{loaded.width} frames and {data.name} has "
            f"{data.frames.width}×{data.frames.width}; train one for it with 'citris train-ae'"
        )
    latents = network.config.latents
    if given["latents"] not in (None, latents):
        raise InputError(f"--latents {given['latents']}: the autoencoder {ae_path} has {latents}; leave the option out")
    preset, training_preset = CITRIS_NF[given["preset"].value]
    preset = dataclasses.replace(preset, latents=latents, variables=len(data.variables), noise=network.config.noise)
    plan = Plan.make(session, "citris_nf", preset, training_preset, given, session.output)
    if plan.finished(session):
        return plan.files
    model = CitrisNF(plan.model, network, torch.Generator().manual_seed(plan.training.seed)).to(session.device)
    encodings, cache, cached = cached_encodings(network, data.frames, data.sha256, ae_path.parent, session.device)
    session.console.note(
        f"encodings of {len(encodings):,} frames {'read from' if cached else 'computed'}"
        + (f" {cache}" if cached else f" and kept in {cache}" if cache else "")
    )
    task = CitrisNFTask(model, encodings, data.starts, data.targets, plan.training)
    measures = _train(session, task, plan, f"CITRIS-NF on {data.name}")
    measures |= _identification(session, model)
    with torch.no_grad():
        z = torch.cat([model.flow(chunk)[0] for chunk in encodings.split(ENCODINGS_AT_ONCE)])
    reference = ReferenceLatents.spread_over(z, data.starts, data.targets, REFERENCE_FRAMES)
    _write(session, plan, model, measures, reference)
    return plan.files


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
    ) -> Plan:
        """The preset, or the unfinished run's settings when resuming, with the options that were given."""
        files = session.files(kind, {}, output)
        saved = files.saved_settings() if session.resume else None
        # The device's own, unless the unfinished training or an option says otherwise.
        training_preset = dataclasses.replace(training_preset, precision="auto")
        if saved is not None:
            if saved.get("kind") != kind:
                raise InputError(f"{files.state}: holds no training of this kind; choose another place with -o")
            if saved.get("data_sha256") != session.data.sha256:
                raise InputError(f"{files.state}: belongs to other data; resume with the data it was started with")
            preset = _restored(preset, saved.get("model"), files.state)
            training_preset = _restored(training_preset, saved.get("training"), files.state)
        elif files.state.exists() and not session.resume:
            session.console.note(
                f"{files.state} holds an unfinished training; starting anew (--resume goes on with it)"
            )
        model = _settle(preset, given)
        if saved is not None and dataclasses.asdict(model) != saved["model"]:
            field = next(name for name, value in saved["model"].items() if getattr(model, name) != value)
            raise InputError(
                f"--{field.replace('_', '-')}: the unfinished training in {files.state} has {saved['model'][field]}; "
                "leave the option out or run without --resume"
            )
        training = _settle(training_preset, given)
        training = dataclasses.replace(training, precision=resolve_precision(training.precision, session.device))
        settings = {
            "kind": kind,
            "model": dataclasses.asdict(model),
            "training": dataclasses.asdict(training),
            "data_sha256": session.data.sha256,
        }
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


def _held_out(paths: Sequence[Path], data: SequenceData) -> IndependentData | None:
    """The independent frames that a dataset in the published layout brings for validation."""
    if len(paths) != 1 or not paths[0].is_dir():
        return None
    files = find_split(paths[0], "val_indep")
    # A directory with a single file offers it for every split; frames trained on are not held out.
    if not files or set(files) & set(data.paths):
        return None
    return load_independent(paths[0], "val_indep")


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


def _autoencoder_path(session: Session, given: Mapping[str, Any]) -> Path:
    """The autoencoder given, else this dataset's under runs/, else one trained now.

    Raises:
        InterruptedRunError: a signal came so late in that training that it was finished.
    """
    if given["ae"] is not None:
        return given["ae"]
    folder = run_folder(session.data.name, session.data.sha256)
    path = folder / FILE_NAMES["autoencoder"]
    header = header_or_none(path)
    if header is not None and header.provenance.get("data_sha256") == session.data.sha256:
        session.console.note(f"autoencoder: {path} (this dataset's)")
        return path
    session.console.note(f"no autoencoder for {session.data.name} yet: training one first, into {path}")
    # Sizes and rates that were given are the flow's; the autoencoder takes its preset's. --steps bounds every training.
    options = {name: given[name] for name in ("preset", "latents", "seed", "precision")}
    if given["steps"] is not None:
        _, preset = AUTOENCODER[given["preset"].value]
        options["steps"] = min(given["steps"], preset.steps)
        if options["steps"] < preset.steps:
            session.console.note(
                f"--steps bounds it to {options['steps']:,} steps instead of {preset.steps:,}; "
                "'citris train-ae' makes a longer one in its place"
            )
    autoencoder(session, options, output=path)
    if session.stop.signal_number is not None:
        raise InterruptedRunError(
            f"stopped before the training of CITRIS-NF; the autoencoder is finished, in {path}: "
            "run the same command again to go on",
            session.stop.signal_number,
        )
    return path


def _train(session: Session, task: Task, plan: Plan, title: str) -> dict[str, float]:
    training = plan.training
    with Progress(training.steps, title, unit=task.unit) as display:
        return train(
            task,
            training,
            plan.files,
            display,
            resume=session.resume,
            save_every=session.save_every,
            stop=session.stop,
        )


def _write(
    session: Session,
    plan: Plan,
    model: torch.nn.Module,
    measures: dict[str, Any],
    reference: ReferenceLatents | None = None,
) -> None:
    origin = provenance(["citris", *sys.argv[1:]], plan.training.seed, session.data.sha256, measures)
    origin["settings"] = dict(plan.files.settings)
    origin["dataset"] = session.data.name
    tensors = model_tensors(model, reference)
    variables = session.data.variables.to_json() if isinstance(model, CitrisNF) else None
    write_model(plan.files.model, ModelFile(plan.kind, model_config(model), variables, origin, tensors))
    plan.files.finish()


def _write_reconstructions(path: Path, originals: np.ndarray, reconstructions: np.ndarray) -> None:
    picture = png_bytes(reconstruction_grid(originals, reconstructions))
    atomic_write(path, lambda file: file.write(picture))


def _identification(session: Session, model: CitrisNF) -> dict[str, Any]:
    """R² of each variable's latents against ground truth, where the dataset has independent frames with it."""
    truth = session.held_out
    if truth is None or truth.truth is None or truth.factors is None:
        return {}
    model.eval()
    with torch.no_grad():
        z = encode_frames(model.encode, truth.frames.to(session.device), session.device)
    report = correlation(
        z,
        model.assignment.hard(),
        truth.truth.numpy(),
        truth.factors,
        session.data.variables.names,
        torch.Generator().manual_seed(0),
    )
    rows = [[name, *as_cells(row)] for name, row in zip(report.rows, report.r2, strict=True)]
    session.console.table("R² of true factors from each variable's latents", ["latents of", *report.factors], rows)
    return {"identification": report.to_json()}
