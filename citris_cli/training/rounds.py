"""The plans of several rounds: flows in turn, each after the first on an autoencoder that the one before taught."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from pathlib import Path
from typing import Any

from citris_cli.core.citris_nf import CitrisNF
from citris_cli.data.datasets import SequenceData
from citris_cli.kinds import KINDS, Kind, config_from_json
from citris_cli.loading import LoadedModel
from citris_cli.training.config import AutoencoderTrainingConfig
from citris_cli.training.files import RunFiles
from citris_cli.training.found_autoencoder import fitting_autoencoder, found_autoencoder
from citris_cli.training.place import Left
from citris_cli.training.plan import Plan
from citris_cli.training.plans import (
    AutoencoderPlan,
    NFPlan,
    autoencoder_plan,
    frames_preset,
    nf_plan,
    own_autoencoder_plan,
    with_grey_latents,
)
from citris_cli.training.presets import nf_preset
from citris_cli.training.session import Session


def last_flow_plan(session: Session[SequenceData]) -> NFPlan:
    """Of several rounds, the training of the last flow, on an autoencoder that is taught until then.

    Raises:
        InputError: as :func:`~citris_cli.training.plans.flow_plan`.
    """
    loaded = found_autoencoder(session)
    first = own_autoencoder_plan(session).model if loaded is None else fitting_autoencoder(session, loaded).config
    return nf_plan(_without_latents(session), with_grey_latents(first))


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
    changes = taught_changes(session, training)
    request = dataclasses.replace(own.request, model=None, training=training, restarts=1)
    own = dataclasses.replace(own, request=request)
    return own, autoencoder_plan(own, changes, request.output, teacher=teacher)


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
    _, preset = frames_preset(session)
    training = preset
    if isinstance(under, Plan):
        training = under.training
    else:
        with suppress(AttributeError, KeyError, TypeError, ValueError):  # an imported one does not tell
            training = config_from_json(AutoencoderTrainingConfig, under.provenance["settings"]["training"])
    _, flows = nf_preset(request.preset, width)
    bounded = request.training is None and ("steps" in request.changes or steps < flows.steps)
    return dataclasses.replace(training, seed=preset.seed, steps=min(steps, preset.steps) if bounded else preset.steps)


def taught_changes(session: Session[SequenceData], training: AutoencoderTrainingConfig) -> dict[str, Any]:
    """Seed and precision of an autoencoder that is taught: what was asked for; bf16, too, if the first one had it."""
    asked = session.request.changes
    changes = {"precision": "bf16"} if training.precision == "bf16" else {}
    return changes | {name: asked[name] for name in ("seed", "precision") if name in asked}


def rounds_folder(plan: NFPlan) -> Path | None:
    """Where the models of all rounds but the last flow lie; None where nothing is written."""
    stem = plan.files.stem
    return None if stem is None else stem.with_name(f"{stem.name}.rounds")


def earlier_files(plan: NFPlan, rounds: int) -> list[RunFiles]:
    """What the trainings of so many rounds write but for the last flow's."""
    folder = rounds_folder(plan)
    names = [name for number in range(1, rounds) for name in (f"nf-round{number}", f"ae-round{number + 1}")]
    return [] if folder is None else [RunFiles.beside(folder / f"{name}.safetensors") for name in names]


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


def _without_latents(session: Session[SequenceData]) -> Session[SequenceData]:
    """A session of a later round, for which nobody asks how many latents: those of the first and the grey ones."""
    changes = {name: value for name, value in session.request.changes.items() if name != "latents"}
    return dataclasses.replace(session, request=dataclasses.replace(session.request, changes=changes))
