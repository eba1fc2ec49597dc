"""The trainings: a request in, a trained model out.

Each is the same four steps: open a session (:mod:`.session`), settle a plan (:mod:`.plan`), go through the loop with
the model's task (:mod:`.loop`), measure and write. :mod:`citris_cli.training.api` is what a program calls.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import torch

from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.causal_encoder import CausalEncoder
from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.core.networks import RGB
from citris_cli.core.priors import find_prior
from citris_cli.core.teacher import TaughtAutoencoder
from citris_cli.data.batches import window_starts
from citris_cli.data.datasets import IndependentData, SequenceData
from citris_cli.data.frames import Frames, as_model_input, encode_frames, frames_at_once
from citris_cli.data.identifiability import few_latents, findings
from citris_cli.data.variables import Variables
from citris_cli.errors import InputError, InterruptedRunError
from citris_cli.evaluation.data_check.check import depends_in_sample, quick_check
from citris_cli.evaluation.data_check.within_step import effect_conditions
from citris_cli.loading import IN_MEMORY, LoadedModel, load_model
from citris_cli.training.autoencoder import AutoencoderTask
from citris_cli.training.causal_encoder import CausalEncoderTask, labels_of, learnable_factors
from citris_cli.training.citris_nf import CitrisNFTask
from citris_cli.training.citris_vae import CitrisVAETask
from citris_cli.training.encodings import cached_encodings, weights_sha256
from citris_cli.training.found_autoencoder import fitting_autoencoder, say_found
from citris_cli.training.loop import finishing
from citris_cli.training.outcome import assignment, evaluation, finish
from citris_cli.training.plan import Plan
from citris_cli.training.plans import (
    AutoencoderPlan,
    CausalEncoderPlan,
    NFPlan,
    VAEPlan,
    autoencoder_plan,
    causal_encoder_plan,
    flow_plan,
    open_for_autoencoder,
    require_possible,
    say_first,
    say_if_still,
    vae_plan,
)
from citris_cli.training.reconstructions import Pictures
from citris_cli.training.request import Request
from citris_cli.training.restarts import best_start, require_restartable
from citris_cli.training.rounds import earlier_files, flow_session, last_flow_plan, taught_plan, taught_training
from citris_cli.training.session import AnySession, Session, open_labelled, open_sequences
from citris_cli.training.teacher import SEEN, Lessons, TaughtAutoencoderTask, times_seen
from citris_cli.wording import counted, enumerated

ENCODINGS_AT_ONCE = 4096

ModuleT = TypeVar("ModuleT", bound=torch.nn.Module)


def autoencoder(request: Request) -> LoadedModel:
    """Train an autoencoder on the frames of sequences.

    Raises:
        InputError: whatever is wrong with the request or the data.
        CitrisError: as :func:`citris_cli.training.loop.train`.
    """
    session, teacher = open_for_autoencoder(request)
    plan = autoencoder_plan(session, request.changes, request.output, teacher=teacher)
    if not plan.done:
        _say_what_is_wrong(session, targets=teacher is not None)
    return _train_autoencoder(session, plan, teacher)


def citris_nf(request: Request) -> LoadedModel:
    """Train CITRIS-NF on sequences, after the autoencoder if there is none yet.

    Raises:
        InputError, CitrisError: as :func:`autoencoder`.
    """
    session = open_sequences(request)
    require_restartable(session)
    # Settled first: what is wrong with the flow is refused before anything is looked at, announced or trained.
    under, plan = flow_plan(session) if request.rounds == 1 else (None, last_flow_plan(session))
    if finished := plan.finished(session):
        return finished
    require_possible(session, plan)
    _say_what_is_identifiable(session)
    _say_what_is_wrong(session)
    if under is not None:
        _say_if_latents_are_few(session, plan.model.latents, "" if isinstance(under, Plan) else "citris train-ae ")
    _say_what_effects_need(session, plan)
    with plan.held(session):
        return _train_in_rounds(session, plan) if under is None else _train_flow(session, under, plan)


def _train_in_rounds(session: Session[SequenceData], plan: NFPlan) -> LoadedModel:
    """Train a flow, let it teach the autoencoder, train a flow on that, and so on; the last flow is the plan's."""
    rounds = session.request.rounds
    own = flow_session(session, plan, 1, None)
    under, flow = flow_plan(own)
    _say_if_latents_are_few(session, flow.model.latents, "" if isinstance(under, Plan) else "citris train-ae ")
    training = taught_training(session, under, plan.training.steps)
    if not plan.resume:
        for files in earlier_files(plan, rounds):
            files.remove_all()
        plan.files.save_state(plan.files.mark(0))  # its place is taken, and --resume finds what it is
    told: dict[str, Any] = {}
    for number in range(1, rounds):
        session.note(
            f"round {number} of {rounds}: a flow on the autoencoder{' that the last one taught' if told else ''}"
        )
        trained = flow.finished(own)
        if trained is None:
            with flow.held(own):
                trained = _between_rounds(session, _train_flow(own, under, flow))
        network = trained.network
        if not isinstance(network, CitrisNF):
            raise InputError(f"{trained.path}: is not a CITRIS-NF; run without --resume to start over")
        found = _found_by(network, session.data.variables)
        measures = trained.provenance["metrics"]
        told[f"round {number}"] = {
            "flow": trained.path.name,
            "autoencoder": (under.path if isinstance(under, LoadedModel) else under.files.model or IN_MEMORY).name,
            "found": found,
            "train_nll": measures.get("train_nll"),
        }
        plan = dataclasses.replace(plan, told={"rounds": told})
        if not found:
            session.note(
                f"round {number} of {rounds}: this flow has found no variable (all of its latents are in psi(0)) and "
                "cannot teach, so it is the last one"
            )
            return plan.adopt(session, trained.path, {}) if plan.files.stem is not None else trained
        session.note(f"round {number + 1} of {rounds}: the autoencoder is taught by {enumerated(found)}")
        own, taught = taught_plan(session, plan, number + 1, training, network)
        under = _between_rounds(session, _train_autoencoder(own, taught, network))
        if number + 1 < rounds:
            own = flow_session(session, plan, number + 1, under)
            under, flow = flow_plan(own)
    session.note(f"round {rounds} of {rounds}: the last flow")
    # With what marks its place, by which --resume finds it before its first state is saved.
    return _train_flow(session, under, dataclasses.replace(plan, resume=True))


def _between_rounds(session: Session[SequenceData], trained: LoadedModel) -> LoadedModel:
    """A model of a round that all processes go on with.

    Raises:
        InterruptedRunError: a signal came so late in its training that it was finished.
    """
    session.processes.wait()  # until the first one has written it
    if session.stop.signal_number is not None:
        raise InterruptedRunError(
            f"stopped between two training runs of {session.request.rounds} rounds; {trained.path} is finished: run "
            "the same command with --resume to continue",
            session.stop.signal_number,
        )
    return load_model(trained.path, session.device) if trained.path.is_file() else trained


def _found_by(network: CitrisNF, variables: Variables) -> list[str]:
    """Names of the variables to which a flow gives latents."""
    given = set(network.assignment.hard().tolist())
    return [name for number, name in enumerate(variables.names) if number in given]


def _train_flow(session: Session[SequenceData], under: LoadedModel | AutoencoderPlan, plan: NFPlan) -> LoadedModel:
    if isinstance(under, LoadedModel):
        say_found(session, under)
        loaded = under
    else:
        loaded = _trained_first(session, under)
    network = fitting_autoencoder(session, loaded)
    sha256 = weights_sha256(network.state_dict())
    if plan.autoencoder_sha256 not in ("", sha256):  # of one that has only now been trained to its end
        raise InputError(
            f"{plan.files.state}: was started on another autoencoder than {loaded.path}; name its file with --ae, or "
            "run without --resume to start over"
        )
    plan = plan.on_autoencoder(sha256)
    model = CitrisNF(plan.model, network, torch.Generator().manual_seed(plan.training.seed)).to(session.device)
    keeps = session.request.output is not None and loaded.path.is_file()
    data, folder = session.data, loaded.path.parent if keeps else None
    with session.processes.in_turn():
        encodings, cache, cached = cached_encodings(
            network, loaded.path, data.frames, data.sha256, folder, session.device
        )
    session.note(
        f"encodings of {counted(len(encodings), 'frame')} {'read from' if cached else 'computed'}"
        + (f" {cache}" if cached else f" and kept in {cache}" if cache else "")
    )
    if session.request.restarts > 1:
        return best_start(session, plan, citris_nf, loaded)
    evaluate, assign = evaluation(session, model), assignment(session, model)
    task = CitrisNFTask(model, encodings, data.starts, data.targets, plan.training, evaluate, assign)
    measures = plan.train(session, task, _title(plan, model, data.name), _measured_frames(session))

    def latents() -> torch.Tensor:
        return torch.cat([model.flow(chunk)[0] for chunk in encodings.split(ENCODINGS_AT_ONCE)])

    def noisy(index: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return model.add_noise(encodings[index.to(encodings.device)], generator)

    return finish(session, plan, model, measures, latents, noisy)


def citris_vae(request: Request) -> LoadedModel:
    """Train CITRIS-VAE on sequences.

    Raises:
        InputError, CitrisError: as :func:`autoencoder`.
    """
    session = open_sequences(request)
    require_restartable(session)
    plan = vae_plan(session)
    if finished := plan.finished(session):
        return finished
    require_possible(session, plan)
    model, starts = _untrained_vae(plan), _windows(session.data, plan.training.seq_len)
    _say_what_is_identifiable(session)
    _say_what_is_wrong(session)
    _say_if_latents_are_few(session, plan.model.latents, "")
    _say_what_effects_need(session, plan)
    with plan.held(session):
        return _train_vae(session, plan, model, starts)


def _untrained_vae(plan: VAEPlan) -> CitrisVAE:
    """The model of a plan.

    Raises:
        InputError: there is none of these sizes.
    """
    try:
        return CitrisVAE(plan.model, torch.Generator().manual_seed(plan.training.seed))
    except ValueError as error:
        raise InputError(
            f"these sizes do not make a VAE ({error}); choose other --networks or another --patch"
        ) from error


def _train_vae(session: Session[SequenceData], plan: VAEPlan, model: CitrisVAE, starts: torch.Tensor) -> LoadedModel:
    data = session.data
    if session.request.restarts > 1:
        return best_start(session, plan, citris_vae)
    model = _on_device(model, session)
    frames = data.frames.to(session.device)
    held_out = [session.held_out.frames.to(session.device)] if session.held_out else []
    task = CitrisVAETask(
        model,
        frames,
        starts,
        data.targets,
        held_out[0] if held_out else None,
        plan.training,
        evaluation(session, model),
        _pictures(session, plan),
        assignment(session, model),
    )
    reads = [frames, *held_out, *_measured_frames(session)]
    measures = plan.train(session, task, _title(plan, model, data.name), reads)

    def noisy(index: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        chunks = (frames.gather(chunk) for chunk in index.split(frames_at_once(frames.width)))
        return torch.cat([model.encode_noisy(as_model_input(chunk), generator).float() for chunk in chunks])

    latents = partial(encode_frames, model.encode, frames, session.device)
    trained = finish(session, plan, model, measures, latents, noisy)
    _note_pictures(session, plan)
    return trained


def causal_encoder(request: Request) -> LoadedModel:
    """Train a causal encoder on labelled frames.

    Raises:
        InputError, CitrisError: as :func:`autoencoder`.
    """
    session = open_labelled(request)
    factors, constant = learnable_factors(session.data)
    if constant:
        verb = "do" if len(constant) > 1 else "does"
        session.note(f"{', '.join(constant)} {verb} not vary: left out")
    plan = causal_encoder_plan(session, factors)
    if finished := plan.finished(session):
        return finished
    with plan.held(session):
        return _train_causal_encoder(session, plan, factors)


def _train_causal_encoder(
    session: Session[IndependentData], plan: CausalEncoderPlan, factors: Variables
) -> LoadedModel:
    model = CausalEncoder(plan.model, factors, torch.Generator().manual_seed(plan.training.seed))
    model = _on_device(model, session)
    labelled = labels_of(session.data, factors)
    if labelled is None:
        raise InputError(f"{session.data.label}: has no true values of {', '.join(factors.names)}")
    held_out = labels_of(session.held_out, factors) if session.held_out is not None else None
    if held_out is None:
        session.note("no labelled frames are held out (val_indep): measured on the training frames")
    measured = held_out.to(session.device) if held_out is not None else None
    seen = labelled.to(session.device)
    task = CausalEncoderTask(model, seen, measured, plan.training)
    reads = [one.frames for one in (seen, measured) if one is not None]
    measures = plan.train(session, task, f"{plan.kind.title} on {session.data.name}", reads)
    with finishing(plan.files, session.stop):
        return plan.write(session, model, measures, factors)


#: The trainings by the kind of model.
TRAININGS: Mapping[str, Callable[[Request], LoadedModel]] = {
    "autoencoder": autoencoder,
    "citris_nf": citris_nf,
    "citris_vae": citris_vae,
    "causal_encoder": causal_encoder,
}


def _trained_first(session: Session[SequenceData], plan: AutoencoderPlan) -> LoadedModel:
    """The autoencoder that CITRIS-NF needs, trained now and by the first process written.

    Raises:
        InterruptedRunError: a signal came so late in that training that it was finished.
    """
    loaded = plan.finished(session)
    if loaded is None:
        with plan.held(session):
            say_first(session, plan)
            loaded = _train_unfinished_autoencoder(session, plan, None)
    session.processes.wait()  # until the first one has written it
    if session.stop.signal_number is not None:
        raise InterruptedRunError(
            f"stopped before the training of CITRIS-NF; the autoencoder is finished, in {loaded.path}: run the same "
            f"command again{', without --resume,' if session.request.resume else ''} to continue",
            session.stop.signal_number,
        )
    return loaded if plan.files.stem is None else load_model(loaded.path, session.device)


def _train_autoencoder(
    session: Session[SequenceData], plan: AutoencoderPlan, teacher: CitrisNF | None = None
) -> LoadedModel:
    if finished := plan.finished(session):
        return finished
    with plan.held(session):
        return _train_unfinished_autoencoder(session, plan, teacher)


def _train_unfinished_autoencoder(
    session: Session[SequenceData], plan: AutoencoderPlan, teacher: CitrisNF | None
) -> LoadedModel:
    if not plan.resume:
        say_if_still(session, plan)
    generator = torch.Generator().manual_seed(plan.training.seed)
    model = Autoencoder(plan.model, generator)
    frames = session.data.frames.to(session.device)
    held_out = session.held_out.frames.to(session.device) if session.held_out else None
    measured = held_out, plan.training, _pictures(session, plan)
    title = f"{plan.kind.title} on {session.data.name}"
    task: AutoencoderTask
    if teacher is None:
        task = AutoencoderTask(_on_device(model, session), frames, *measured)
    else:
        own, permuted = copy.deepcopy(teacher).to(session.device).eval(), plan.training.permute_colours
        lessons = Lessons.of(own, session.data, session.device, permuted and frames.channels >= RGB)
        names = session.data.variables.names
        if coloured := [name for name, colour in zip(names, lessons.coloured, strict=True) if colour]:
            session.note(
                f"{enumerated(coloured)} {'shows' if len(coloured) == 1 else 'show'} in colours only: the lesson is "
                "about earlier values as well"
            )
        model.take_over(teacher.autoencoder)
        seen = times_seen(lessons, plan.training)
        if seen > SEEN:
            session.note(
                f"the lesson of each frame is taken {seen:,.0f} times: with random contrast, noise, hidden squares and "
                "shifts, so that none is learned by heart"
            )
        taught = TaughtAutoencoder(model, lessons.blocks, lessons.coloured, generator, augments=seen > SEEN)
        task = TaughtAutoencoderTask(_on_device(taught, session), frames, lessons, *measured)
        title += ", taught"
    reads = [one for one in (frames, held_out) if one is not None]
    measures = plan.train(session, task, title, reads)
    with finishing(plan.files, session.stop):
        trained = plan.write(session, model, measures)
    _note_pictures(session, plan)
    return trained


def _on_device(model: ModuleT, session: AnySession) -> ModuleT:
    """A model of images where it is trained, its weights laid out as convolutions go through them."""
    return model.to(session.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _say_what_effects_need(session: Session[SequenceData], plan: NFPlan | VAEPlan) -> None:
    """Notes on what keeps effects within a step from being told, of a prior that learns them."""
    if not find_prior(plan.model.prior.name).effects:
        return
    depends = depends_in_sample(session.data) if session.request.check and session.processes.first else None
    identifiable = {finding.sentence for finding in findings(session.data)}  # of which a note tells already
    for condition in effect_conditions(session.data, depends):
        for sentence in condition.sentences:
            if condition.holds is False and sentence not in identifiable:
                session.note(sentence)


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


def _say_what_is_wrong(session: Session[SequenceData], targets: bool = True) -> None:
    """Notes on faults of the frames, and of the targets if they matter, that would cost the training."""
    if session.request.check and session.processes.first:
        for problem in quick_check(session.data, targets):
            session.note(problem)


def _say_if_latents_are_few(session: Session[SequenceData], latents: int, of: str) -> None:
    """A note where there are more variables than latents; ``of`` is the command whose option ``--latents`` is."""
    if sentence := few_latents(len(session.data.variables), latents, of):
        session.note(sentence)


def _measured_frames(session: Session[SequenceData]) -> list[Frames]:
    """Frames that a causal model is measured on while it is trained and afterwards."""
    return [data.frames for data in session.measured_on()]


def _pictures(session: AnySession, plan: Plan[Any, Any]) -> Pictures | None:
    """Shows reconstructions beside the training's other files, where someone draws them."""
    if session.request.on_pictures is None or not plan.files.on_disk:
        return None
    return partial(session.request.on_pictures, plan.files.pictures)


def _note_pictures(session: AnySession, plan: Plan[Any, Any]) -> None:
    if _pictures(session, plan) is not None:
        session.note(f"reconstructions beside originals: {plan.files.pictures}")
