"""What a request comes to: for each kind of model the plan of its training, and the autoencoder under a flow."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from citris_cli.artifacts.overwriting import files_read
from citris_cli.artifacts.runs import model_at, models_in, newest_model
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.config import AutoencoderConfig, CausalEncoderConfig, CitrisNFConfig, CitrisVAEConfig
from citris_cli.core.priors import find_prior
from citris_cli.data.datasets import IndependentData, SequenceData
from citris_cli.data.grouping import spelled_groups
from citris_cli.data.variables import Variables
from citris_cli.errors import CitrisError, InputError
from citris_cli.kinds import KINDS, Kind, config_from_json
from citris_cli.loading import LoadedModel, load_model
from citris_cli.training.autoencoder import mostly_still
from citris_cli.training.causal_encoder import learnable_factors
from citris_cli.training.causal_latents import require_long_enough
from citris_cli.training.config import (
    AutoencoderTrainingConfig,
    CausalTrainingConfig,
    TrainingConfig,
    VAETrainingConfig,
)
from citris_cli.training.encodings import weights_sha256
from citris_cli.training.files import AUTOENCODER, RunFiles
from citris_cli.training.place import Left
from citris_cli.training.plan import Plan, make_plan
from citris_cli.training.presets import autoencoder_preset, causal_encoder_preset, nf_preset, vae_preset
from citris_cli.training.request import Place, Request
from citris_cli.training.restarts import starts_of
from citris_cli.training.session import AnySession, Session, open_frames, open_labelled, open_sequences
from citris_cli.training.settling import IMPERFECT
from citris_cli.wording import counted, described_channels

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
    model, training = _given(session.request, AutoencoderConfig, _autoencoder_preset(session))
    learned: dict[str, str] = {}
    if teacher is not None:
        model = _with_grey_latents(teacher.autoencoder.config)
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


def _with_grey_latents(config: AutoencoderConfig) -> AutoencoderConfig:
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
    loaded = _found_autoencoder(session)
    if loaded is not None:
        network = fitting_autoencoder(session, loaded)
        own = weights_sha256(network.state_dict())
        plan = _nf_plan(session, network.config, own)
        if plan.autoencoder_sha256 != own:
            loaded = _begun_on(session, plan)  # perhaps the one inside of the model that is made longer
        elif plan.files.stem is not None:
            session.require_not_read(plan.files, files_read("autoencoder", loaded.path))
        return loaded, plan
    first = _own_autoencoder_plan(session)
    plan = _nf_plan(session, first.model, may_begin=first.resume)
    if plan.done:
        return first, plan
    if plan.resume and not first.resume:  # what the autoencoder's own state gives is looked at when it is there
        return _begun_on(session, plan), plan
    return first, plan


def say_first(session: Session[SequenceData], plan: AutoencoderPlan) -> None:
    """Notes on the autoencoder that is now trained first, and on its length where the flow's bounds it."""
    if plan.files.model is not None:
        session.note(f"no autoencoder for {session.data.name} yet: training one first, into {plan.files.model}")
    _, preset = _autoencoder_preset(session)
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


def last_flow_plan(session: Session[SequenceData]) -> NFPlan:
    """Of several rounds, the training of the last flow, on an autoencoder that is taught until then.

    Raises:
        InputError: as :func:`flow_plan`.
    """
    loaded = _found_autoencoder(session)
    first = _own_autoencoder_plan(session).model if loaded is None else fitting_autoencoder(session, loaded).config
    return _nf_plan(_without_latents(session), _with_grey_latents(first))


def _without_latents(session: Session[SequenceData]) -> Session[SequenceData]:
    """A session of a later round, for which nobody asks how many latents: those of the first and the grey ones."""
    changes = {name: value for name, value in session.request.changes.items() if name != "latents"}
    return dataclasses.replace(session, request=dataclasses.replace(session.request, changes=changes))


def rounds_folder(plan: NFPlan) -> Path | None:
    """Where the models of all rounds but the last flow lie; None where nothing is written."""
    stem = plan.files.stem
    return None if stem is None else stem.with_name(f"{stem.name}.rounds")


def earlier_files(plan: NFPlan, rounds: int) -> list[RunFiles]:
    """What the trainings of so many rounds write but for the last flow's."""
    folder = rounds_folder(plan)
    names = [name for number in range(1, rounds) for name in (f"nf-round{number}", f"ae-round{number + 1}")]
    return [] if folder is None else [RunFiles.beside(folder / f"{name}.safetensors") for name in names]


def flow_session(session: Session[SequenceData], plan: NFPlan, number: int, ae: LoadedModel | None) -> Session[Any]:
    """A session of the flow of a round before the last.

    Args:
        session: of all rounds.
        plan: of the last flow.
        number: of the round, from 1.
        ae: the autoencoder of a later round than the first.
    """
    later = session if ae is None else _without_latents(session)
    own = _part_of(later, plan, f"nf-round{number}.safetensors", KINDS["citris_nf"])
    return own if ae is None else dataclasses.replace(own, request=dataclasses.replace(own.request, ae=ae))


def taught_plan(
    session: Session[SequenceData], plan: NFPlan, number: int, training: AutoencoderTrainingConfig, teacher: CitrisNF
) -> tuple[Session[SequenceData], AutoencoderPlan]:
    """How the autoencoder of a round is trained that the flow of the round before teaches, and its session.

    Args:
        session: of all rounds.
        plan: of the last flow.
        number: of the round, from 2.
        training: how, as :func:`taught_training` says.
        teacher: the flow of the round before.
    """
    own = _part_of(session, plan, f"ae-round{number}.safetensors", KINDS["autoencoder"])
    changes = _taught_changes(session, training)
    request = dataclasses.replace(own.request, model=None, training=training, restarts=1)
    own = dataclasses.replace(own, request=request)
    return own, autoencoder_plan(own, changes, request.output, teacher=teacher)


def _taught_changes(session: Session[SequenceData], training: AutoencoderTrainingConfig) -> dict[str, Any]:
    """Seed and precision of an autoencoder that is taught: what was asked for; bf16, too, if the first one had it."""
    asked = session.request.changes
    changes = {"precision": "bf16"} if training.precision == "bf16" else {}
    return changes | {name: asked[name] for name in ("seed", "precision") if name in asked}


def taught_training(
    session: Session[SequenceData], under: LoadedModel | AutoencoderPlan, steps: int
) -> AutoencoderTrainingConfig:
    """How the autoencoders of later rounds are trained: as the first one was, for as many steps as the preset says.

    Args:
        session: of all rounds.
        under: the first round's autoencoder.
        steps: of the flow. Fewer than its preset's were asked for, which bound the autoencoder as well.
    """
    request, width = session.request, session.data.frames.width
    _, preset = _autoencoder_preset(session)
    training = preset
    if isinstance(under, Plan):
        training = under.training
    else:
        with suppress(AttributeError, KeyError, TypeError, ValueError):  # an imported one does not tell
            training = config_from_json(AutoencoderTrainingConfig, under.provenance["settings"]["training"])
    _, flows = nf_preset(request.preset, width)
    bounded = request.training is None and ("steps" in request.changes or steps < flows.steps)
    return dataclasses.replace(training, seed=preset.seed, steps=min(steps, preset.steps) if bounded else preset.steps)


def _part_of(session: Session[SequenceData], plan: NFPlan, name: str, kind: Kind) -> Session[SequenceData]:
    """A session of one training of several rounds, written to a file of this name in their folder.

    What has begun there is gone on with as it was begun if that is asked for, and nothing else is looked after.
    """
    request, folder = session.request, rounds_folder(plan)
    path = None if folder is None else folder / name
    begun = path is not None and Left.at(path, kind).begun
    changes = dict(request.changes)
    if request.resume and begun:
        changes.pop("steps", None)
    request = dataclasses.replace(
        request, output=path, rounds=1, changes=changes, overwrite=True, resume=request.resume and begun
    )
    return dataclasses.replace(session, request=request)


def _own_autoencoder_plan(session: Session[SequenceData]) -> AutoencoderPlan:
    """The autoencoder that CITRIS-NF needs and this dataset does not have yet."""
    request = session.request
    # A whole configuration, sizes and rates that were asked for are the flow's; the autoencoder takes its preset's.
    # Steps bound all trainings. A place that was named is the flow's, and so is what may be replaced there.
    changes = {name: request.changes[name] for name in ("latents", "seed", "precision") if name in request.changes}
    if "steps" in request.changes:
        _, preset = _autoencoder_preset(session)
        changes["steps"] = min(request.changes["steps"], preset.steps)
    own = dataclasses.replace(request, model=None, training=None, overwrite=False)
    where = None if request.output is None else Place.RUNS
    return autoencoder_plan(dataclasses.replace(session, request=own), changes, where, may_begin=True)


def _nf_plan(
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


def _autoencoder_preset(session: AnySession) -> tuple[AutoencoderConfig, AutoencoderTrainingConfig]:
    """The preset of the session's autoencoder, for its frames; ``paper`` is the same for all, so that none is read."""
    preset, frames = session.request.preset, session.data.frames
    return autoencoder_preset(preset, frames.width, still=preset == "small" and mostly_still(frames))


def say_if_still(session: AnySession, plan: AutoencoderPlan) -> None:
    """A note on what the preset takes of a plan's settings for frames most of which hardly ever changes."""
    name = session.request.preset
    plain: tuple[Any, Any] = autoencoder_preset(name, session.data.frames.width)
    options = [
        f"--{field.name.replace('_', '-')} {value:g}"
        for before, after, own in zip(plain, _autoencoder_preset(session), (plan.model, plan.training), strict=True)
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


def _found_autoencoder(session: Session[SequenceData]) -> LoadedModel | None:
    """The autoencoder that was given, else this dataset's under ``runs/``, else None."""
    request = session.request
    if isinstance(request.ae, LoadedModel):
        # The flow's own: it is frozen and moved, and whoever gave it may go on with theirs.
        return dataclasses.replace(request.ae, network=copy.deepcopy(request.ae.network))
    if request.ae is not None:
        return _noted(session, load_model(request.ae, session.device))
    if request.output is None:
        return None
    kind = KINDS["autoencoder"]
    folder = session.place(kind).parent
    path = newest_model(folder, kind, session.data.sha256)
    return None if path is None else _noted(session, load_model(path, session.device))


def _noted(session: AnySession, loaded: LoadedModel) -> LoadedModel:
    if loaded.note:
        session.note(loaded.note)
    return loaded


def _begun_on(session: Session[SequenceData], plan: NFPlan) -> LoadedModel:
    """The autoencoder that a resumed training was begun on: among the dataset's, or in the model that it made.

    Raises:
        InputError: it is no longer there.
    """
    kind = KINDS["autoencoder"]
    folder = session.place(kind).parent
    for path in models_in(folder, kind):
        with suppress(CitrisError):  # whatever else is called so
            loaded = load_model(path, session.device)
            if weights_sha256(loaded.network.state_dict()) == plan.autoencoder_sha256:
                return loaded
    made = plan.files.model
    if made is not None and made.is_file():
        with suppress(CitrisError, AttributeError):  # what lies there may be another model
            inside = getattr(load_model(made, session.device).network, kind.name)
            if weights_sha256(inside.state_dict()) == plan.autoencoder_sha256:
                return LoadedModel(kind.name, inside, None, made, {})
    raise InputError(
        f"{plan.files.state}: was started on an autoencoder that is no longer in {folder}; name its file with --ae, "
        "or run without --resume to start over"
    )


def say_found(session: Session[SequenceData], loaded: LoadedModel) -> None:
    """A note on which autoencoder was found, where none was named."""
    if session.request.ae is not None:
        return
    kind = KINDS["autoencoder"]
    folder = session.place(kind).parent
    which = ""
    if len(models_in(folder, kind)) > 1:
        newest = loaded.path == newest_model(folder, kind, session.data.sha256)
        which = ", the newest there" if newest else ", the one that the training run was started on"
    session.note(f"autoencoder: {loaded.path} (this dataset's{which})")


def fitting_autoencoder(session: Session[SequenceData], loaded: LoadedModel) -> Autoencoder:
    """The network of an autoencoder, on the session's device.

    Raises:
        InputError: it is another model, or for frames of another size than the data's.
    """
    network, frames = loaded.network, session.data.frames
    if not isinstance(network, Autoencoder):
        raise InputError(f"{loaded.path}: holds a {loaded.kind}, not an autoencoder; train one with 'citris train-ae'")
    if loaded.width != frames.width:
        raise InputError(
            f"{loaded.path}: this autoencoder was trained for {loaded.width}×{loaded.width} frames and "
            f"{session.data.name} has {frames.width}×{frames.width}; train one for it with 'citris train-ae'"
        )
    if loaded.image_channels != frames.channels:
        raise InputError(
            f"{loaded.path}: this autoencoder was trained on {described_channels(loaded.image_channels)} frames and "
            f"those of {session.data.name} are {described_channels(frames.channels)}; train one for them with "
            "'citris train-ae'"
        )
    return network.to(session.device)


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
        labelled = open_labelled(request)
        factors = learnable_factors(labelled.data)[0]
        session, plan = labelled, causal_encoder_plan(labelled, factors)
        more["factors"] = list(factors.names)
    elif kind == "autoencoder":
        session, teacher = open_for_autoencoder(request)
        plan = autoencoder_plan(session, request.changes, request.output, teacher=teacher)
    else:
        sequences = open_sequences(request)
        more["variables"] = list(sequences.data.variables.names)
        if kind == "citris_nf":
            plan, told = _flow_settings(sequences)
            more |= told
        else:
            plan = vae_plan(sequences)
        require_possible(sequences, plan)
        session = sequences
        if request.restarts > 1:
            more["starts"] = [{"seed": one.seed, "output": str(one.model)} for one in starts_of(plan, request.restarts)]
    data = {"name": session.data.name, "frames": len(session.data.frames), "sha256": session.data.sha256}
    return {**plan.to_json(), **more, "device": str(session.device), "data": data}


def _flow_settings(session: Session[SequenceData]) -> tuple[NFPlan, dict[str, Any]]:
    """The training of a flow, of several rounds the last one, and what comes before it, for JSON."""

    def told(under: LoadedModel | AutoencoderPlan) -> Any:
        return str(under.path) if isinstance(under, LoadedModel) else under.to_json()

    rounds = session.request.rounds
    if rounds == 1:
        under, plan = flow_plan(session)
        return plan, {"autoencoder": told(under)}
    last = last_flow_plan(session)
    under, plan = flow_plan(flow_session(session, last, 1, None))
    first = under.model if isinstance(under, Plan) else fitting_autoencoder(session, under).config
    training = taught_training(session, under, last.training.steps)
    changes = {"precision": last.training.precision, **_taught_changes(session, training)}
    training = dataclasses.replace(training, **changes)
    taught = Plan(KINDS["autoencoder"], _with_grey_latents(first), training, last.files).to_json()
    flows = [plan.to_json(), *[last.to_json() for _ in range(2, rounds)]]
    described = []
    for number, flow in enumerate(flows, 1):
        autoencoder = told(under) if number == 1 else {**taught, "output": _within(last, f"ae-round{number}")}
        described.append({"autoencoder": autoencoder, **flow, "output": _within(last, f"nf-round{number}")})
    return last, {"autoencoder": {**taught, "output": _within(last, f"ae-round{rounds}")}, "rounds": described}


def _within(plan: NFPlan, name: str) -> str | None:
    folder = rounds_folder(plan)
    return None if folder is None else str(folder / f"{name}.safetensors")
