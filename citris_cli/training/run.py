"""The trainings: a request in, a trained model out.

Each is the same four steps: open a session (:mod:`.session`), settle a plan (:mod:`.plan`), go through the loop with
the model's task (:mod:`.loop`), measure and write. :mod:`citris_cli.training.api` is what a program calls.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from citris_cli.artifacts.runs import header_or_none
from citris_cli.causal_model import CausalModel
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.causal_encoder import CausalEncoder
from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.core.config import AutoencoderConfig, CausalEncoderConfig, CitrisNFConfig, CitrisVAEConfig
from citris_cli.core.reference import ReferenceLatents
from citris_cli.data.datasets import IndependentData, SequenceData, load_labelled, load_sequences
from citris_cli.data.frames import encode_frames
from citris_cli.data.grouping import spelled_groups
from citris_cli.data.identifiability import findings
from citris_cli.data.variables import Variables
from citris_cli.errors import InputError, InterruptedRunError
from citris_cli.evaluation.validation import assignment_by_labels, independent_correlation
from citris_cli.kinds import KINDS
from citris_cli.loading import LoadedModel, load_model
from citris_cli.training.autoencoder import AutoencoderTask
from citris_cli.training.causal_encoder import CausalEncoderTask, labels_of, learnable_factors
from citris_cli.training.citris_nf import CitrisNFTask
from citris_cli.training.citris_vae import CitrisVAETask, window_starts
from citris_cli.training.config import (
    AutoencoderTrainingConfig,
    CausalTrainingConfig,
    TrainingConfig,
    VAETrainingConfig,
)
from citris_cli.training.encodings import cached_encodings
from citris_cli.training.loop import finishing
from citris_cli.training.plan import AnySession, Plan, make_plan
from citris_cli.training.presets import (
    autoencoder_preset,
    causal_encoder_preset,
    nf_preset,
    vae_preset,
)
from citris_cli.training.reconstructions import Pictures
from citris_cli.training.request import Place, Request
from citris_cli.training.session import Session, open_sequences, open_session
from citris_cli.wording import counted

#: Frames whose latents a model keeps, so that it knows what its variables' values look like.
REFERENCE_FRAMES = 4096
ENCODINGS_AT_ONCE = 4096

AutoencoderPlan = Plan[AutoencoderConfig, AutoencoderTrainingConfig]
NFPlan = Plan[CitrisNFConfig, CausalTrainingConfig]
VAEPlan = Plan[CitrisVAEConfig, VAETrainingConfig]
CausalEncoderPlan = Plan[CausalEncoderConfig, TrainingConfig]


def autoencoder(request: Request) -> LoadedModel:
    """Train an autoencoder on the frames of sequences.

    Raises:
        InputError: whatever is wrong with the request or the data.
        CitrisError: as :func:`citris_cli.training.loop.train`.
    """
    session = open_session(request, load_sequences)
    return _train_autoencoder(session, _autoencoder_plan(session, request.changes, request.output))


def citris_nf(request: Request) -> LoadedModel:
    """Train CITRIS-NF on sequences, after the autoencoder if there is none yet.

    Raises:
        InputError, CitrisError: as :func:`autoencoder`.
    """
    session = open_sequences(request)
    _say_what_is_identifiable(session)
    loaded = _found_autoencoder(session)
    if loaded is None:
        loaded = _train_autoencoder(session, _own_autoencoder_plan(session))
        session.processes.wait()  # until the first one has written it
        if session.stop.signal_number is not None:
            raise InterruptedRunError(
                f"stopped before the training of CITRIS-NF; the autoencoder is finished, in {loaded.path}: "
                "run the same command again to go on",
                session.stop.signal_number,
            )
        if request.output is not None:
            loaded = load_model(loaded.path, session.device)
    network = _fitting_autoencoder(session, loaded)
    plan = _nf_plan(session, network.config)
    if plan.finished(session):
        return load_model(plan.files.model or Path(), session.device)
    model = CitrisNF(plan.model, network, torch.Generator().manual_seed(plan.training.seed)).to(session.device)
    data, folder = session.data, loaded.path.parent if request.output is not None else None
    with session.processes.in_turn():
        encodings, cache, cached = cached_encodings(network, data.frames, data.sha256, folder, session.device)
    session.note(
        f"encodings of {counted(len(encodings), 'frame')} {'read from' if cached else 'computed'}"
        + (f" {cache}" if cached else f" and kept in {cache}" if cache else "")
    )
    evaluate, assign = _evaluation(session, model), _assignment(session, model)
    task = CitrisNFTask(model, encodings, data.starts, data.targets, plan.training, evaluate, assign)
    measures = plan.train(session, task, _title(plan, model, data.name))

    def latents() -> torch.Tensor:
        return torch.cat([model.flow(chunk)[0] for chunk in encodings.split(ENCODINGS_AT_ONCE)])

    return _finish(session, plan, model, measures, latents)


def citris_vae(request: Request) -> LoadedModel:
    """Train CITRIS-VAE on sequences.

    Raises:
        InputError, CitrisError: as :func:`autoencoder`.
    """
    session = open_sequences(request)
    _say_what_is_identifiable(session)
    plan = _vae_plan(session)
    if plan.finished(session):
        return load_model(plan.files.model or Path(), session.device)
    data = session.data
    try:
        model = CitrisVAE(plan.model, torch.Generator().manual_seed(plan.training.seed))
    except ValueError as error:
        raise InputError(f"these sizes make no VAE ({error}); choose other --networks or another --patch") from error
    if not model.prior.assigns and session.labelled() is None:
        raise InputError(
            f"--prior {plan.model.prior.name} learns no assignment, which labels have to give it: put a val_indep.npz "
            "with ground truth beside the training data, or name one with --val"
        )
    starts = _windows(data, plan.training.seq_len)
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
        _pictures(session, plan),
        _assignment(session, model),
    )
    measures = plan.train(session, task, _title(plan, model, data.name))
    trained = _finish(session, plan, model, measures, lambda: encode_frames(model.encode, frames, session.device))
    _note_pictures(session, plan)
    return trained


def causal_encoder(request: Request) -> LoadedModel:
    """Train a causal encoder on labelled frames.

    Raises:
        InputError, CitrisError: as :func:`autoencoder`.
    """
    session = open_session(request, load_labelled)
    factors, constant = learnable_factors(session.data)
    if constant:
        verb = "do" if len(constant) > 1 else "does"
        session.note(f"{', '.join(constant)} {verb} not vary: left out")
    plan = _causal_encoder_plan(session, factors)
    if plan.finished(session):
        return load_model(plan.files.model or Path(), session.device)
    try:
        model = CausalEncoder(plan.model, factors, torch.Generator().manual_seed(plan.training.seed))
    except ValueError as error:
        raise InputError(f"these sizes make no causal encoder ({error}); choose another --patch") from error
    model = model.to(session.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    labelled = labels_of(session.data, factors)
    if labelled is None:
        raise InputError(f"{session.data.label}: has no true values of {', '.join(factors.names)}")
    held_out = labels_of(session.held_out, factors) if session.held_out is not None else None
    if held_out is None:
        session.note("no labelled frames are held out (val_indep): measured on the training frames")
    measured = held_out.to(session.device) if held_out is not None else None
    task = CausalEncoderTask(model, labelled.to(session.device), measured, plan.training)
    measures = plan.train(session, task, f"{plan.kind.title} on {session.data.name}")
    with finishing(plan.files, session.stop):
        return plan.write(session, model, measures, factors)


#: The trainings by the kind of model.
TRAININGS: Mapping[str, Callable[[Request], LoadedModel]] = {
    "autoencoder": autoencoder,
    "citris_nf": citris_nf,
    "citris_vae": citris_vae,
    "causal_encoder": causal_encoder,
}


def settings(kind: str, request: Request) -> dict[str, Any]:
    """What a training would use, for JSON; nothing is trained or written.

    Args:
        kind: of the model.
        request: what would be asked for.

    Raises:
        InputError: whatever is wrong with the request or the data.
    """
    session: AnySession
    plan: Plan[Any, Any]
    more: dict[str, Any] = {}
    if kind == "causal_encoder":
        labelled = open_session(request, load_labelled)
        factors = learnable_factors(labelled.data)[0]
        session, plan = labelled, _causal_encoder_plan(labelled, factors)
        more["factors"] = list(factors.names)
    elif kind == "autoencoder":
        session = open_session(request, load_sequences)
        plan = _autoencoder_plan(session, request.changes, request.output)
    else:
        sequences = open_sequences(request)
        more["variables"] = list(sequences.data.variables.names)
        if kind == "citris_nf":
            loaded = _found_autoencoder(sequences)
            first = None if loaded is not None else _own_autoencoder_plan(sequences)
            more["autoencoder"] = str(loaded.path) if loaded is not None else first.to_json() if first else None
            config = _fitting_autoencoder(sequences, loaded).config if loaded is not None else first and first.model
            plan = _nf_plan(sequences, config or AutoencoderConfig())
        else:
            plan = _vae_plan(sequences)
        session = sequences
    data = {"name": session.data.name, "frames": len(session.data.frames), "sha256": session.data.sha256}
    return {**plan.to_json(), **more, "device": str(session.device), "data": data}


def _autoencoder_plan(session: AnySession, changes: Mapping[str, Any], output: Path | Place | None) -> AutoencoderPlan:
    width = session.data.frames.width
    model, training = _given(session.request, AutoencoderConfig, autoencoder_preset(session.request.preset, width))
    return make_plan(
        session, KINDS["autoencoder"], (dataclasses.replace(model, width=width), training), changes, output
    )


def _own_autoencoder_plan(session: Session[SequenceData]) -> AutoencoderPlan:
    """The autoencoder that CITRIS-NF needs and this dataset does not have yet."""
    request, data, kind = session.request, session.data, KINDS["autoencoder"]
    where: Path | Place | None = None
    if request.output is not None:
        where = session.place(kind)
        session.note(f"no autoencoder for {data.name} yet: training one first, into {where}")
    # Sizes and rates that were asked for are the flow's; the autoencoder takes its preset's. Steps bound all trainings.
    changes = {name: request.changes[name] for name in ("latents", "seed", "precision") if name in request.changes}
    if "steps" in request.changes:
        _, preset = autoencoder_preset(request.preset, data.frames.width)
        changes["steps"] = min(request.changes["steps"], preset.steps)
        if changes["steps"] < preset.steps:
            session.note(
                f"--steps bounds it to {counted(changes['steps'], 'step')} instead of {preset.steps:,}; "
                "'citris train-ae' makes a longer one in its place"
            )
    return _autoencoder_plan(session, changes, where)


def _nf_plan(session: Session[SequenceData], autoencoder: AutoencoderConfig) -> NFPlan:
    request, data, kind = session.request, session.data, KINDS["citris_nf"]
    latents = autoencoder.latents
    asked = request.changes.get("latents", latents)
    if asked != latents:
        raise InputError(f"--latents {asked}: the autoencoder has {latents}; leave the option out")
    model, training = _given(request, CitrisNFConfig, nf_preset(request.preset, data.frames.width))
    noise = autoencoder.noise if request.model is None else model.noise
    model = dataclasses.replace(model, latents=latents, variables=len(data.variables), noise=noise)
    return make_plan(session, kind, (model, training), request.changes, request.output, _learned(session))


def _vae_plan(session: Session[SequenceData]) -> VAEPlan:
    request, data, kind = session.request, session.data, KINDS["citris_vae"]
    width = data.frames.width
    model, training = _given(request, CitrisVAEConfig, vae_preset(request.preset, width))
    model = dataclasses.replace(model, width=width, variables=len(data.variables))
    return make_plan(session, kind, (model, training), request.changes, request.output, _learned(session))


def _causal_encoder_plan(session: Session[IndependentData], factors: Variables) -> CausalEncoderPlan:
    request, width = session.request, session.data.frames.width
    model, training = _given(request, CausalEncoderConfig, causal_encoder_preset(request.preset, width))
    # Names and kinds; ranges follow from the data.
    learned = {"factors": ",".join(f"{factor.name}:{factor.kind}" for factor in factors)}
    preset = dataclasses.replace(model, width=width), training
    return make_plan(session, KINDS["causal_encoder"], preset, request.changes, request.output, learned)


def _given(request: Request, config: type, preset: tuple[Any, Any]) -> tuple[Any, Any]:
    """The preset, or what was given in its place; of another model's, as of a flow's to its autoencoder, nothing."""
    model, training = preset
    if isinstance(request.model, config):
        model = request.model
    if type(request.training) is type(training):
        training = request.training
    return model, training


def _learned(session: Session[SequenceData]) -> dict[str, str]:
    return {"groups": spelled_groups(session.data.variables), "validation_sha256": session.validation_sha256}


def _train_autoencoder(session: AnySession, plan: AutoencoderPlan) -> LoadedModel:
    if plan.finished(session):
        return load_model(plan.files.model or Path(), session.device)
    try:
        model = Autoencoder(plan.model, torch.Generator().manual_seed(plan.training.seed))
    except ValueError as error:
        raise InputError(f"these sizes make no autoencoder ({error}); choose another --patch") from error
    model = model.to(session.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    frames = session.data.frames.to(session.device)
    held_out = session.held_out.frames.to(session.device) if session.held_out else None
    task = AutoencoderTask(model, frames, held_out, plan.training, _pictures(session, plan))
    measures = plan.train(session, task, f"{plan.kind.title} on {session.data.name}")
    with finishing(plan.files, session.stop):
        trained = plan.write(session, model, measures)
    _note_pictures(session, plan)
    return trained


def _found_autoencoder(session: Session[SequenceData]) -> LoadedModel | None:
    """The autoencoder that was given, else this dataset's under ``runs/``, else None."""
    request = session.request
    if isinstance(request.ae, LoadedModel):
        return request.ae
    if request.ae is not None:
        return load_model(request.ae, session.device)
    if request.output is None:
        return None
    path = session.place(KINDS["autoencoder"])
    header = header_or_none(path)
    if header is None or header.provenance.get("data_sha256") != session.data.sha256:
        return None
    session.note(f"autoencoder: {path} (this dataset's)")
    return load_model(path, session.device)


def _fitting_autoencoder(session: Session[SequenceData], loaded: LoadedModel) -> Autoencoder:
    """The network of an autoencoder, which must be one, for frames as large as the data's."""
    network, frames = loaded.network, session.data.frames
    if not isinstance(network, Autoencoder):
        raise InputError(f"{loaded.path}: holds a {loaded.kind}, not an autoencoder; train one with 'citris train-ae'")
    if loaded.width != frames.width:
        raise InputError(
            f"{loaded.path}: this autoencoder was trained for {loaded.width}×{loaded.width} frames and "
            f"{session.data.name} has {frames.width}×{frames.width}; train one for it with 'citris train-ae'"
        )
    return network.to(session.device)


def _windows(data: SequenceData, length: int) -> torch.Tensor:
    """First frames of all windows of a length; at least one."""
    starts = window_starts(data.starts, length)
    if len(starts) == 0:
        runs = (data.starts - torch.arange(len(data.starts))).unique_consecutive(return_counts=True)[1]
        raise InputError(
            f"--seq-len {length}: no file of {data.name} has so many frames in a row; "
            f"give {int(runs.max()) + 1} at most"
        )
    return starts


def _title(plan: Plan[Any, Any], model: CausalLatentsModel, name: str) -> str:
    return f"{model.prior.title or plan.kind.title} on {name}"


def _say_what_is_identifiable(session: Session[SequenceData]) -> None:
    """Notes on variables that the targets do not tell apart."""
    for finding in findings(session.data):
        session.note(finding.sentence)


def _evaluation(session: Session[SequenceData], model: CausalLatentsModel) -> Callable[[], dict[str, float]] | None:
    """Measures of a model in training on what was given with ``val``, or None."""
    validation, data = session.validation, session.data
    if validation is None:
        return None
    return lambda: validation.measure(CausalModel.of(model, data.variables, data.frames.width))


def _assignment(session: Session[SequenceData], model: CausalLatentsModel) -> Callable[[], None] | None:
    """Gives the latents of a model that learns no assignment to the variables that they tell most of, or None."""
    labelled, variables = session.labelled(), session.data.variables
    if model.prior.assigns or labelled is None:
        return None

    def assign() -> None:
        training = model.training
        model.eval()
        model.assignment.fix(assignment_by_labels(model, labelled, variables))
        model.train(training)

    return assign


def _finish(
    session: Session[SequenceData],
    plan: Plan[Any, Any],
    model: CausalLatentsModel,
    measures: Mapping[str, Any],
    latents: Callable[[], torch.Tensor],
) -> LoadedModel:
    """Measure a trained model with causal latents and write it with latents of training frames.

    Args:
        session: the data.
        plan: where it goes.
        model: the trained model.
        measures: its last validation's.
        latents: computes the causal latents of all training frames [N, M].
    """
    data = session.data
    if not session.processes.first:
        return plan.write(session, model, measures, data.variables)
    with finishing(plan.files, session.stop, at_once=True):
        assign = _assignment(session, model)
        if assign is not None:  # the best model's latents, perhaps not the last one's
            assign()
        model.eval()
        identified = _identification(session, CausalModel.of(model, data.variables, data.frames.width))
        with torch.no_grad():
            reference = ReferenceLatents.spread_over(latents(), data.starts, data.targets, REFERENCE_FRAMES)
        return plan.write(session, model, {**measures, **identified}, data.variables, reference)


def _identification(session: Session[SequenceData], model: CausalModel) -> dict[str, Any]:
    """R² of each variable's latents against ground truth, where there are independent frames with it."""
    data = session.labelled()
    return {} if data is None else {"identification": independent_correlation(model, data).to_json()}


def _pictures(session: AnySession, plan: Plan[Any, Any]) -> Pictures | None:
    """Shows reconstructions beside the training's other files, where someone draws them."""
    if session.request.on_pictures is None or not plan.files.on_disk:
        return None
    return partial(session.request.on_pictures, plan.files.pictures)


def _note_pictures(session: AnySession, plan: Plan[Any, Any]) -> None:
    if _pictures(session, plan) is not None:
        session.note(f"reconstructions beside originals: {plan.files.pictures}")
