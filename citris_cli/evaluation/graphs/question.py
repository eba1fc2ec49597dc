"""What the graph of a model is asked of: the steps of a dataset in its latents, and what they cannot tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from citris_cli.causal_model import CausalModel
from citris_cli.data.datasets import SequenceData
from citris_cli.data.frames import encode_frames
from citris_cli.data.variables import REST
from citris_cli.errors import InputError
from citris_cli.evaluation.graphs.estimate import Steps
from citris_cli.wording import counted

#: With fewer steps in which a variable was left alone nothing is told of its causes.
FEWEST_STEPS = 100
#: With fewer, a graph may well be another one on other data.
FEW_STEPS = 1000
#: Interventions on a variable that tell the direction of effects within a step.
FEW_INTERVENTIONS = 30


def require_assignment(model: CausalModel) -> None:
    """Refuse a model of which nobody knows what latents belong to which variable.

    Raises:
        InputError: it learns no assignment, and had no labels to get one from.
    """
    network = model.network
    if not network.prior.assigns and not bool(network.assignment.logits.any()):
        raise InputError(
            f"{model.path}: this model has no assignment of latents to variables (its prior learns none, and there "
            "were no labels after its training), so there are no variables to draw a graph of; train one with CITRIS"
        )


def targets_of(model: CausalModel, data: SequenceData) -> tuple[Tensor, list[str]]:
    """Which of the model's variables was intervened on in the step out of each frame, by the columns' names.

    Args:
        model: whose variables.
        data: sequences.

    Returns:
        Targets float32 [N, K], and sentences on what data and model do not have in common.

    Raises:
        InputError: no column of the data belongs to a variable of the model.
    """
    variables = model.variables
    owned = {variables.owner(column) for column in data.columns} - {None}
    if not owned:
        raise InputError(
            f"{data.label}: no column of its targets ({', '.join(data.columns.names)}) has the name of a variable of "
            f"the model ({', '.join(variables.names)}); rename the columns with --vars"
        )
    targets = torch.zeros(len(data.targets), len(variables))
    foreign = []
    for place, column in enumerate(data.variables):
        owner = variables.owner(column)
        if owner is None:
            foreign.append(column.name)
        else:
            targets[:, owner] = torch.maximum(targets[:, owner], data.targets[:, place].float())
    notes = []
    if foreign:
        notes.append(f"{', '.join(foreign)}: not a variable of the model, so its interventions are ignored")
    if lacking := [name for place, name in enumerate(variables.names) if place not in owned]:
        notes.append(f"{', '.join(lacking)}: not a column of the data (see --vars), taken as never intervened on")
    return targets, notes


@dataclass(frozen=True)
class Question:
    """Steps to estimate a graph on.

    Attributes:
        steps: in latents.
        names: of the variables and psi(0): the possible causes.
        latents: int64 [K + 1], how many each has.
        interventions: int64 [K], steps with one.
        notes: sentences on what the steps cannot tell.
    """

    steps: Steps
    names: tuple[str, ...]
    latents: np.ndarray[Any, Any]
    interventions: np.ndarray[Any, Any]
    notes: tuple[str, ...]


def learned_effects(model: CausalModel, instantaneous: bool) -> tuple[Tensor | None, str]:
    """Effects within a step that the model itself learned (iCITRIS), to start from.

    Args:
        model: any.
        instantaneous: whether effects within a step are looked for.

    Returns:
        bool [K, K], or None where there is nothing to start from; and a note, or "".
    """
    if (known := model.network.prior.learned_graph()) is None:
        return None, ""
    if not instantaneous:
        return None, "the model learned effects within a step, too; --instantaneous estimates these with it"
    count = len(model.variables)
    return known.hard[:count, :count].bool(), (
        "effects within a step: those that the model learned, in the directions that it learned; only whether each "
        "is there is estimated anew"
    )


@torch.no_grad()
def pose(model: CausalModel, data: SequenceData, targets: Tensor, instantaneous: bool) -> Question:
    """Encode the frames, and look at what their steps can tell.

    Args:
        model: trained.
        data: sequences of the model's width.
        targets: [N, K], of :func:`targets_of`.
        instantaneous: whether effects within a step are asked for.

    Raises:
        InputError: too few steps, or no variable has latents.
        CitrisError: latents that are not finite.
    """
    count = len(model.variables)
    of_steps = targets[data.starts]
    latents = np.bincount(model.assignment, minlength=count + 1)
    if not latents[:count].any():
        raise InputError(
            f"{model.path}: the model gave no latents to any variable, so there is no graph; train longer or on more "
            "interventions"
        )
    if len(of_steps) < FEWEST_STEPS:
        raise InputError(
            f"{data.label}: {counted(len(of_steps), 'step')}, and a graph needs at least {FEWEST_STEPS}; give a "
            "longer sequence"
        )
    z = encode_frames(model.network.encode, data.frames.to(model.device), model.device)
    model.require_finite(z.cpu().numpy())
    assignment = torch.from_numpy(model.assignment).to(z.device)
    steps = Steps.of(z, data.starts.to(z.device), of_steps.to(z.device), assignment)
    notes = _notes(model, of_steps, latents, steps, instantaneous)
    interventions = of_steps.sum(0).long().numpy()
    return Question(steps, (*model.variables.names, REST), latents, interventions, tuple(notes))


def _notes(
    model: CausalModel, targets: Tensor, latents: np.ndarray[Any, Any], steps: Steps, instantaneous: bool
) -> list[str]:
    names = (*model.variables.names, REST)
    count = len(names) - 1
    notes = []
    if len(targets) < FEW_STEPS:
        notes.append(
            f"{counted(len(targets), 'step')}: with fewer than {FEW_STEPS:,}, other data may give another graph; "
            "--repeats shows how certain the edges are"
        )
    if without := [name for name, number in zip(names[:count], latents, strict=False) if not number]:
        notes.append(f"{', '.join(without)}: no latents in this model, so not in the graph")
    for place in range(count):
        block = model.assignment == place
        if block.any() and bool(steps.constant.cpu().numpy()[block].all()):
            notes.append(f"{names[place]}: its latents do not vary in these data, so no effects of it can be found")
    times = targets.sum(0)
    if rarely := [name for name, set_ in zip(names[:count], times, strict=False) if len(targets) - set_ < FEWEST_STEPS]:
        notes.append(f"{', '.join(rarely)}: intervened on in nearly every step, so the causes cannot be determined")
    if never := [name for name, set_ in zip(names[:count], times, strict=False) if not set_]:
        told = "; of effects within a step only interventions tell the direction" if instantaneous else ""
        notes.append(f"{', '.join(never)}: never intervened on in these data, so these edges are less certain{told}")
    few = [name for name, set_ in zip(names[:count], times, strict=False) if 0 < set_ < FEW_INTERVENTIONS]
    if few and instantaneous:
        notes.append(
            f"{', '.join(few)}: intervened on in fewer than {FEW_INTERVENTIONS} steps, so the directions of "
            "effects within a step are uncertain"
        )
    if count == 1 and not latents[count]:
        notes.append(f"{names[0]} is the only variable, so the only edge there can be is from it to itself")
    return notes
