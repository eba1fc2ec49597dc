"""What the training commands share: from options to a finished model file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from citris_cli.artifacts.files import atomic_write
from citris_cli.artifacts.runs import FILE_NAMES, header_or_none, run_folder
from citris_cli.causal_model import CausalModel
from citris_cli.commands.session import Plan, Session
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.causal_encoder import CausalEncoder
from citris_cli.core.causal_latents import BASELINES, CausalLatentsModel
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.core.reference import ReferenceLatents
from citris_cli.data.datasets import IndependentData, SequenceData
from citris_cli.data.identifiability import findings
from citris_cli.errors import InputError, InterruptedRunError
from citris_cli.evaluation.distances import UNITS
from citris_cli.evaluation.validation import assignment_by_labels, independent_correlation
from citris_cli.loading import load_model
from citris_cli.show.console import as_cells
from citris_cli.show.grids import png_bytes, reconstruction_grid
from citris_cli.training.autoencoder import AutoencoderTask
from citris_cli.training.causal_encoder import CausalEncoderTask, labels_of, learnable_factors
from citris_cli.training.citris_nf import CitrisNFTask
from citris_cli.training.citris_vae import CitrisVAETask, window_starts
from citris_cli.training.encodings import cached_encodings, encode_frames
from citris_cli.training.files import RunFiles
from citris_cli.training.loop import finishing
from citris_cli.training.presets import CAUSAL_ENCODER, autoencoder_preset, nf_preset, vae_preset
from citris_cli.wording import counted

#: Frames whose latents a model keeps, so that it knows what its variables' values look like.
REFERENCE_FRAMES = 4096
ENCODINGS_AT_ONCE = 4096
#: What a baseline's VAE has besides its prior: no flow, no target classifier, no pull into psi(0).
WITHOUT_ASSIGNMENT: dict[str, Any] = {"flow_layers": 0, "classifier_weight": 0.0, "regulariser": 0.0}
BASELINE_TITLES = {"ivae": "iVAE*", "slow": "SlowVAE"}


def autoencoder(session: Session, given: Mapping[str, Any], output: Path | None = None) -> RunFiles:
    """Train an autoencoder on a session's frames.

    Args:
        session: data and device.
        given: options by name; those that are None come from the preset.
        output: where the model goes; the session's output if None.
    """
    data = session.data
    preset, training_preset = autoencoder_preset(given["preset"].value, data.frames.width)
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
    measures = plan.train(session, task, f"autoencoder on {data.name}")
    if not session.processes.first:
        return plan.files
    with finishing(plan.files):
        plan.write(session, model, measures)
    session.console.note(f"reconstructions beside originals: {plan.files.pictures}")
    return plan.files


def citris_nf(session: Session, given: Mapping[str, Any]) -> RunFiles:
    """Train CITRIS-NF on a session's frames, after the autoencoder if there is none yet.

    Args:
        session: data and device.
        given: options by name; those that are None come from the preset.
    """
    data = session.data
    assert isinstance(data, SequenceData)
    _say_what_is_identifiable(session)
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
    preset, training_preset = nf_preset(given["preset"].value, data.frames.width)
    preset = dataclasses.replace(preset, latents=latents, variables=len(data.variables), noise=network.config.noise)
    plan = Plan.make(session, "citris_nf", preset, training_preset, given, session.output, learns_targets=True)
    if plan.finished(session):
        return plan.files
    model = CitrisNF(plan.model, network, torch.Generator().manual_seed(plan.training.seed)).to(session.device)
    with session.processes.in_turn():
        encodings, cache, cached = cached_encodings(network, data.frames, data.sha256, ae_path.parent, session.device)
    session.console.note(
        f"encodings of {counted(len(encodings), 'frame')} {'read from' if cached else 'computed'}"
        + (f" {cache}" if cached else f" and kept in {cache}" if cache else "")
    )
    task = CitrisNFTask(model, encodings, data.starts, data.targets, plan.training, _evaluation(session, model))
    measures = plan.train(session, task, f"CITRIS-NF on {data.name}")

    def of_all_frames() -> torch.Tensor:
        return torch.cat([model.flow(chunk)[0] for chunk in encodings.split(ENCODINGS_AT_ONCE)])

    _finish(session, plan, model, measures, of_all_frames)
    return plan.files


def citris_vae(session: Session, given: Mapping[str, Any]) -> RunFiles:
    """Train CITRIS-VAE on a session's frames.

    Args:
        session: data and device.
        given: options by name; those that are None come from the preset.
    """
    data = session.data
    assert isinstance(data, SequenceData)
    _say_what_is_identifiable(session)
    preset, training_preset = vae_preset(given["preset"].value, data.frames.width)
    preset = dataclasses.replace(preset, variables=len(data.variables))
    if given["prior"] in BASELINES:
        preset = dataclasses.replace(preset, prior=given["prior"], **WITHOUT_ASSIGNMENT)
        training_preset = dataclasses.replace(training_preset, kl_peak=1.0, noise_start=1.0)
    plan = Plan.make(session, "citris_vae", preset, training_preset, given, session.output, learns_targets=True)
    if plan.finished(session):
        return plan.files
    if plan.model.prior in BASELINES and _labelled(session) is None:
        raise InputError(
            f"--prior {plan.model.prior} learns no assignment, which labels have to give it: put a val_indep.npz with "
            "ground truth beside the training data, or name one with --val"
        )
    try:
        model = CitrisVAE(plan.model, torch.Generator().manual_seed(plan.training.seed))
    except ValueError as error:
        raise InputError(f"these sizes make no VAE ({error}); choose other --networks or another --patch") from error
    starts = window_starts(data.starts, plan.training.seq_len)
    if len(starts) == 0:
        # In a shard, the number of a pair and that of its first frame count on together.
        runs = (data.starts - torch.arange(len(data.starts))).unique_consecutive(return_counts=True)[1]
        raise InputError(
            f"--seq-len {plan.training.seq_len}: no file of {data.name} has so many frames in a row; "
            f"give {int(runs.max()) + 1} at most"
        )
    model = model.to(session.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    frames = data.frames.to(session.device)
    task = CitrisVAETask(
        model,
        frames,
        starts,
        data.targets,
        session.held_out.frames.to(session.device) if session.held_out else None,
        plan.training,
        _evaluation(session, model),
        partial(_write_reconstructions, plan.files.pictures),
    )
    title = BASELINE_TITLES.get(plan.model.prior, "CITRIS-VAE")
    measures = plan.train(session, task, f"{title} on {data.name}")
    _finish(session, plan, model, measures, lambda: encode_frames(model.encode, frames, session.device))
    session.console.note(f"reconstructions beside originals: {plan.files.pictures}")
    return plan.files


def causal_encoder(session: Session, given: Mapping[str, Any]) -> RunFiles:
    """Train a causal encoder on a session's labelled frames.

    Args:
        session: data with true values, and device.
        given: options by name; those that are None come from the preset.
    """
    data = session.data
    assert isinstance(data, IndependentData)
    factors, constant = learnable_factors(data)
    if constant:
        verb = "do" if len(constant) > 1 else "does"
        session.console.note(f"{', '.join(constant)} {verb} not vary: left out")
    preset, training_preset = CAUSAL_ENCODER[given["preset"].value]
    preset = dataclasses.replace(preset, width=data.frames.width)
    plan = Plan.make(session, "causal_encoder", preset, training_preset, given, session.output, factors)
    if plan.finished(session):
        return plan.files
    try:
        model = CausalEncoder(plan.model, factors, torch.Generator().manual_seed(plan.training.seed))
    except ValueError as error:
        raise InputError(f"these sizes make no causal encoder ({error}); choose another --patch") from error
    model = model.to(session.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    labelled = labels_of(data, factors)
    assert labelled is not None
    held_out = labels_of(session.held_out, factors) if session.held_out is not None else None
    if held_out is None:
        session.console.note("no labelled frames are held out (val_indep): measured on the training frames")
    measured = held_out.to(session.device) if held_out is not None else None
    task = CausalEncoderTask(model, labelled.to(session.device), measured, plan.training)
    measures = plan.train(session, task, f"causal encoder on {data.name}")
    if not session.processes.first:
        return plan.files
    with finishing(plan.files):
        _factor_table(session, task, measures)
        plan.write(session, model, measures, factors)
    return plan.files


def _say_what_is_identifiable(session: Session) -> None:
    """Notes on variables that the targets do not tell apart."""
    assert isinstance(session.data, SequenceData)
    for finding in findings(session.data):
        session.console.note(finding.sentence)


def _evaluation(session: Session, model: CausalLatentsModel) -> Callable[[], dict[str, float]] | None:
    """Measures of a model in training on what was given with --val, or None."""
    validation, data = session.validation, session.data
    if validation is None:
        return None
    assert isinstance(data, SequenceData)
    variables, width = data.variables, data.frames.width

    def measure() -> dict[str, float]:
        _assign_baseline(session, model)
        return validation.measure(CausalModel.of(model, variables, width))

    return measure


def _labelled(session: Session) -> IndependentData | None:
    """Independent frames with ground truth, given with --val or brought by the dataset."""
    data = session.validation.independent if session.validation is not None else session.held_out
    return data if data is not None and data.truth is not None and data.factors is not None else None


def _assign_baseline(session: Session, model: CausalLatentsModel) -> None:
    """Give the latents of a model that learns no assignment to the variables that they tell most of."""
    labelled = _labelled(session)
    if model.config.prior not in BASELINES or labelled is None:
        return
    assert isinstance(session.data, SequenceData)
    model.eval()
    model.assignment.fix(assignment_by_labels(model, labelled, session.data.variables))


def _finish(
    session: Session,
    plan: Plan,
    model: CausalLatentsModel,
    measures: Mapping[str, Any],
    latents: Callable[[], torch.Tensor],
) -> None:
    """Measure a trained model with causal latents and write it, with latents of training frames; in one process alone.

    Args:
        session: the data.
        plan: where it goes.
        model: the trained model.
        measures: its last validation's.
        latents: computes the causal latents of all training frames [N, M].
    """
    data = session.data
    assert isinstance(data, SequenceData)
    if not session.processes.first:
        return
    with finishing(plan.files, session.stop):
        _assign_baseline(session, model)
        identified = _identification(session, CausalModel.of(model, data.variables, data.frames.width))
        with torch.no_grad():
            reference = ReferenceLatents.spread_over(latents(), data.starts, data.targets, REFERENCE_FRAMES)
        plan.write(session, model, {**measures, **identified}, data.variables, reference)


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
        _, preset = autoencoder_preset(given["preset"].value, session.data.frames.width)
        options["steps"] = min(given["steps"], preset.steps)
        if options["steps"] < preset.steps:
            session.console.note(
                f"--steps bounds it to {counted(options['steps'], 'step')} instead of {preset.steps:,}; "
                "'citris train-ae' makes a longer one in its place"
            )
    autoencoder(session, options, output=path)
    session.processes.wait()  # until the first one has written it
    if session.stop.signal_number is not None:
        raise InterruptedRunError(
            f"stopped before the training of CITRIS-NF; the autoencoder is finished, in {path}: "
            "run the same command again to go on",
            session.stop.signal_number,
        )
    return path


def _write_reconstructions(path: Path, originals: np.ndarray, reconstructions: np.ndarray) -> None:
    picture = png_bytes(reconstruction_grid(originals, reconstructions))
    atomic_write(path, lambda file: file.write(picture))


def _identification(session: Session, model: CausalModel) -> dict[str, Any]:
    """R² of each variable's latents against ground truth, where there are independent frames with it."""
    data = _labelled(session)
    if data is None:
        return {}
    model.network.eval()
    report = independent_correlation(model, data)
    session.console.heatmap(
        "R² of true factors from each variable's latents", report.rows, report.factors, report.r2.tolist()
    )
    return {"identification": report.to_json()}


def _factor_table(session: Session, task: CausalEncoderTask, measures: Mapping[str, float]) -> None:
    """Mean distances to the truth, factor by factor."""
    overall = f"{task.split}_distance"
    rows = [
        [factor.name, as_cells([measures[f"{overall}.{factor.name}"]])[0], UNITS[factor.kind]]
        for factor in task.model.factors
    ]
    frames = "held-out" if task.split == "val" else "training"
    title = f"Mean distance to the truth on {frames} frames; normalised, over all factors: {measures[overall]:.3f}"
    session.console.table(title, ["factor", "distance", "in"], rows)
