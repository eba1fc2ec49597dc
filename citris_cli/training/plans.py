"""What a request comes to: for each kind of model the plan of its training, and the autoencoder under a flow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from citris_cli.artifacts.overwriting import files_read
from citris_cli.artifacts.runs import model_at
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.config import AutoencoderConfig, CausalEncoderConfig, CitrisNFConfig, CitrisVAEConfig
from citris_cli.core.priors import find_prior
from citris_cli.data.datasets import IndependentData, SequenceData
from citris_cli.data.grouping import spelled_groups
from citris_cli.data.variables import Variables
from citris_cli.errors import InputError
from citris_cli.kinds import KINDS
from citris_cli.loading import LoadedModel, load_model
from citris_cli.training.autoencoder import mostly_still
from citris_cli.training.causal_latents import require_long_enough
from citris_cli.training.config import (
    AutoencoderTrainingConfig,
    CausalTrainingConfig,
    TrainingConfig,
    VAETrainingConfig,
)
from citris_cli.training.encodings import weights_sha256
from citris_cli.training.files import AUTOENCODER
from citris_cli.training.found_autoencoder import begun_on, fitting_autoencoder, found_autoencoder
from citris_cli.training.plan import Plan, make_plan
from citris_cli.training.presets import autoencoder_preset, causal_encoder_preset, nf_preset, vae_preset
from citris_cli.training.request import Place, Request
from citris_cli.training.session import AnySession, Session, open_frames, open_sequences
from citris_cli.training.settling import IMPERFECT
from citris_cli.wording import counted

#: Latents of a network that sees no colours: what turns in a world takes some two for each angle.
GREY_LATENTS = 12

AutoencoderPlan = Plan[AutoencoderConfig, AutoencoderTrainingConfig]
NFPlan = Plan[CitrisNFConfig, CausalTrainingConfig]
VAEPlan = Plan[CitrisVAEConfig, VAETrainingConfig]
CausalEncoderPlan = Plan[CausalEncoderConfig, TrainingConfig]


def autoencoder_plan(
    session: AnySession,
    changes: Mapping[str, Any],
    output: Path | Place | None,
    may_begin: bool = False,
    teacher: CitrisNF | None = None,
) -> AutoencoderPlan:
    """How an autoencoder is trained.

    Args:
        session: the frames.
        changes: single settings by name.
        output: where it goes.
        may_begin: whether it begins anew where there is nothing to resume.
        teacher: what teaches it, whose autoencoder it goes on from, or None.

    Raises:
        InputError: as :func:`~citris_cli.training.plan.make_plan`; sizes that are not the teacher's.
    """
    model, training = _given(session.request, AutoencoderConfig, frames_preset(session))
    learned: dict[str, str] = {}
    if teacher is not None:
        model = with_grey_latents(teacher.autoencoder.config)
        if other := [name for name in changes if changes[name] != getattr(model, name, changes[name])]:
            option = other[0].replace("_", "-")
            raise InputError(
                f"--{option} {changes[other[0]]}: with --teacher the autoencoder continues from the teacher's, where "
                f"it is {getattr(model, other[0])}; leave the option out"
            )
        learned["teacher_sha256"] = weights_sha256(teacher.state_dict())
    configs = _for_frames(session, model), training
    return make_plan(session, KINDS["autoencoder"], configs, changes, output, learned, may_begin=may_begin)


def open_for_autoencoder(request: Request) -> tuple[Session[SequenceData], CitrisNF | None]:
    """A session of an autoencoder, and the teacher that it has been given.

    Raises:
        InputError: as :func:`~citris_cli.training.session.open_frames`; a teacher that is none, or knows other data.
    """
    if request.teacher is None:
        return open_frames(request), None
    teacher = load_model(model_at(request.teacher)) if isinstance(request.teacher, Path) else request.teacher
    network = teacher.network
    if not isinstance(network, CitrisNF) or teacher.variables is None:
        raise InputError(
            f"{teacher.path}: is not a CITRIS-NF, which a teacher must be; train one with 'citris train-nf'"
        )
    session = open_sequences(dataclasses.replace(request, group=spelled_groups(teacher.variables) or None))
    fitting_autoencoder(session, dataclasses.replace(teacher, kind="autoencoder", network=network.autoencoder))
    found, known = session.data.variables.names, teacher.variables.names
    if found != known:
        raise InputError(
            f"{teacher.path}: this teacher knows {', '.join(known)} and {session.data.name} has targets of "
            f"{', '.join(found)}; --vars names the columns"
        )
    if found_nothing(network):
        raise InputError(
            f"{teacher.path}: this model has found no variable (all of its latents are in psi(0)), and cannot "
            "teach; train one that has"
        )
    if teacher.note:
        session.note(teacher.note)
    return session, network


def found_nothing(network: CitrisNF) -> bool:
    """Whether all of a flow's latents are psi(0)'s, so that it knows of no variable that could teach."""
    return bool((network.assignment.hard() == network.config.variables).all())


def with_grey_latents(config: AutoencoderConfig) -> AutoencoderConfig:
    """The sizes of an autoencoder that goes on from one of these: with grey latents, if it has none yet."""
    if config.grey_latents:
        return config
    return dataclasses.replace(config, latents=config.latents + GREY_LATENTS, grey_latents=GREY_LATENTS)


def flow_plan(session: Session[SequenceData]) -> tuple[LoadedModel | AutoencoderPlan, NFPlan]:
    """The autoencoder that there is, or else how one is going to be trained, and the training of the flow on it.

    A training that is resumed goes on with the autoencoder that it was begun on, unless another one is named.

    Raises:
        InputError: as :func:`~citris_cli.training.plan.make_plan`; an autoencoder that does not fit, or is no longer
            there.
    """
    loaded = found_autoencoder(session)
    if loaded is not None:
        network = fitting_autoencoder(session, loaded)
        own = weights_sha256(network.state_dict())
        plan = nf_plan(session, network.config, own)
        if plan.autoencoder_sha256 != own:
            loaded = begun_on(session, plan)  # perhaps the one inside of the model that is made longer
        elif plan.files.stem is not None:
            session.require_not_read(plan.files, files_read("autoencoder", loaded.path))
        return loaded, plan
    first = own_autoencoder_plan(session)
    plan = nf_plan(session, first.model, may_begin=first.resume)
    if plan.done:
        return first, plan
    if plan.resume and not first.resume:  # what the autoencoder's own state gives is looked at when it is there
        return begun_on(session, plan), plan
    return first, plan


def say_first(session: Session[SequenceData], plan: AutoencoderPlan) -> None:
    """Notes on the autoencoder that is now trained first, and on its length where the flow's bounds it."""
    if plan.files.model is not None:
        session.note(f"no autoencoder for {session.data.name} yet: training one first, into {plan.files.model}")
    _, preset = frames_preset(session)
    if "steps" in session.request.changes and plan.training.steps < preset.steps:
        session.note(
            f"--steps limits it to {counted(plan.training.steps, 'step')} instead of {preset.steps:,}; a longer "
            "one that 'citris train-ae' trains is used from then on"
        )


def require_possible(session: Session[SequenceData], plan: NFPlan | VAEPlan) -> None:
    """Refuse a training from which its prior could learn nothing, before anything is trained or announced.

    Raises:
        InputError: it learns no assignment and no labels can give it one; it looks at whole batches, and several
            processes share them; or the training is too short for it.
    """
    if plan.done:
        return
    name = plan.model.prior.name
    prior = find_prior(name)
    if not prior.assigns and session.labelled() is None:
        raise InputError(
            f"--prior {name} does not learn an assignment, which it takes from labels instead: put a val_indep.npz "
            "with ground truth beside the training data, or name one with --val"
        )
    if not prior.rows_apart and session.processes.size > 1:
        raise InputError(
            f"--prior {name} compares the rows of a batch with each other, so several processes cannot share a batch; "
            "train in one process, without torchrun"
        )
    require_long_enough(plan.model, plan.training)


def own_autoencoder_plan(session: Session[SequenceData]) -> AutoencoderPlan:
    """The autoencoder that CITRIS-NF needs and this dataset does not have yet."""
    request = session.request
    # A whole configuration, sizes and rates that were asked for are the flow's; the autoencoder takes its preset's.
    # Steps bound all trainings. A place that was named is the flow's, and so is what may be replaced there.
    changes = {name: request.changes[name] for name in ("latents", "seed", "precision") if name in request.changes}
    if "steps" in request.changes:
        _, preset = frames_preset(session)
        changes["steps"] = min(request.changes["steps"], preset.steps)
    own = dataclasses.replace(request, model=None, training=None, overwrite=False)
    where = None if request.output is None else Place.RUNS
    return autoencoder_plan(dataclasses.replace(session, request=own), changes, where, may_begin=True)


def nf_plan(
    session: Session[SequenceData], autoencoder: AutoencoderConfig, sha256: str = "", may_begin: bool = False
) -> NFPlan:
    """How a flow is trained on an autoencoder, or on the one that it was begun on where none is named.

    Args:
        session: the data.
        autoencoder: sizes of the autoencoder.
        sha256: hash of its weights; "" if it is trained first.
        may_begin: see :func:`~citris_cli.training.plan.make_plan`.
    """
    request, data, kind = session.request, session.data, KINDS["citris_nf"]
    latents = autoencoder.latents
    asked = request.changes.get("latents", latents)
    on_any = request.resume and request.ae is None
    if asked != latents and not on_any:
        raise InputError(f"--latents {asked}: the autoencoder has {latents}; leave the option out")
    model, training = _given(request, CitrisNFConfig, nf_preset(request.preset, data.frames.width))
    noise = autoencoder.noise if request.model is None else model.noise
    model = dataclasses.replace(model, latents=latents, variables=len(data.variables), noise=noise)
    learned, changes = {**_learned(session), AUTOENCODER: sha256}, _changes(session)
    learned["rounds"] = str(request.rounds) if request.rounds > 1 else ""
    plan = make_plan(session, kind, (model, training), changes, request.output, learned, may_begin, on_any)
    if asked != latents and not plan.resume:
        raise InputError(f"--latents {asked}: the autoencoder has {latents}; leave the option out")
    return plan


def vae_plan(session: Session[SequenceData]) -> VAEPlan:
    """How CITRIS-VAE is trained.

    Raises:
        InputError: as :func:`~citris_cli.training.plan.make_plan`.
    """
    request, data, kind = session.request, session.data, KINDS["citris_vae"]
    width = data.frames.width
    model, training = _given(request, CitrisVAEConfig, vae_preset(request.preset, width))
    model = dataclasses.replace(_for_frames(session, model), variables=len(data.variables))
    return make_plan(session, kind, (model, training), _changes(session), request.output, _learned(session))


def causal_encoder_plan(session: Session[IndependentData], factors: Variables) -> CausalEncoderPlan:
    """How a causal encoder is trained that reads these factors.

    Raises:
        InputError: as :func:`~citris_cli.training.plan.make_plan`.
    """
    request, width = session.request, session.data.frames.width
    model, training = _given(request, CausalEncoderConfig, causal_encoder_preset(request.preset, width))
    # Names and kinds; ranges follow from the data.
    learned = {"factors": ",".join(f"{factor.name}:{factor.kind}" for factor in factors)}
    preset = _for_frames(session, model), training
    return make_plan(session, KINDS["causal_encoder"], preset, request.changes, request.output, learned)


def _for_frames(session: AnySession, model: Any) -> Any:
    """A configuration of a network for the session's frames."""
    frames = session.data.frames
    return dataclasses.replace(model, width=frames.width, image_channels=frames.channels)


def frames_preset(session: AnySession) -> tuple[AutoencoderConfig, AutoencoderTrainingConfig]:
    """The preset of the session's autoencoder, for its frames; ``paper`` is the same for all, so that none is read."""
    preset, frames = session.request.preset, session.data.frames
    return autoencoder_preset(preset, frames.width, still=preset == "small" and mostly_still(frames))


def say_if_still(session: AnySession, plan: AutoencoderPlan) -> None:
    """A note on what the preset takes of a plan's settings for frames most of which hardly ever changes."""
    name = session.request.preset
    plain: tuple[Any, Any] = autoencoder_preset(name, session.data.frames.width)
    options = [
        f"--{field.name.replace('_', '-')} {value:g}"
        for before, after, own in zip(plain, frames_preset(session), (plan.model, plan.training), strict=True)
        for field in dataclasses.fields(before)
        if (value := getattr(after, field.name)) != getattr(before, field.name) and value == getattr(own, field.name)
    ]
    if options:
        session.note_once(
            f"most of each frame hardly ever changes, so --preset {name} takes {' '.join(options)}: small objects are "
            "learned sooner that way"
        )


def _given(request: Request, config: type, preset: tuple[Any, Any]) -> tuple[Any, Any]:
    """The preset, or what was given in its place."""
    model, training = preset
    for name, given, form in ("model", request.model, config), ("training", request.training, type(training)):
        if given is not None and type(given) is not form:
            raise InputError(f"{name}: {type(given).__name__} is given and this training run needs a {form.__name__}")
    return request.model or model, request.training or training


def _changes(session: Session[SequenceData]) -> Mapping[str, Any]:
    """The settings that were asked for; the one that names variables with their numbers in the place of the names.

    Raises:
        InputError: no such variable, or some of the variables and all of them at once.
    """
    changes, variables = session.request.changes, session.data.variables
    named = changes.get(IMPERFECT)
    if not isinstance(named, str):
        return changes
    if changes.get("imperfect_interventions"):
        raise InputError("--imperfect-variables names some variables and --imperfect-interventions means all; give one")
    try:
        numbers = tuple(sorted(variables.resolve(named)))
    except InputError as error:
        raise InputError(f"--imperfect-variables: {error}") from None
    if len(numbers) < len(variables):
        return {**changes, IMPERFECT: numbers}
    session.note("--imperfect-variables names all variables, which is --imperfect-interventions")
    return {name: value for name, value in changes.items() if name != IMPERFECT} | {"imperfect_interventions": True}


def _learned(session: Session[SequenceData]) -> dict[str, str]:
    return {
        "groups": spelled_groups(session.data.variables),
        "variables": ",".join(f"{variable.name}:{variable.kind}" for variable in session.data.variables),
        "targets_lead": session.request.targets_lead or "",
        "validation_sha256": session.validation_sha256,
        "restarts": str(session.request.restarts) if session.request.restarts > 1 else "",
    }
