"""What is measured of a model with causal latents while it is trained, and what is done with it at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from citris_cli.causal_model import CausalModel
from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.core.reference import ReferenceLatents
from citris_cli.data.datasets import SequenceData
from citris_cli.data.variables import Variables
from citris_cli.evaluation.validation import assignment_by_labels, independent_correlation
from citris_cli.loading import LoadedModel
from citris_cli.training.loop import finishing
from citris_cli.training.noise_only import judged, leave_to_rest
from citris_cli.training.plan import Plan
from citris_cli.training.session import Session
from citris_cli.wording import counted, enumerated

#: Frames whose latents a model keeps, so that it knows what its variables' values look like.
REFERENCE_FRAMES = 4096


def evaluation(session: Session[SequenceData], model: CausalLatentsModel) -> Callable[[], dict[str, float]] | None:
    """Measures of a model in training on what was given with ``val``, or None."""
    validation, variables = session.validation, session.data.variables
    if validation is None:
        return None
    return lambda: validation.measure(CausalModel.of(model, variables))


def assignment(session: Session[SequenceData], model: CausalLatentsModel) -> Callable[[], None] | None:
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


def finish(
    session: Session[SequenceData],
    plan: Plan[Any, Any],
    model: CausalLatentsModel,
    measures: Mapping[str, Any],
    latents: Callable[[], torch.Tensor],
    noisy: Callable[[torch.Tensor, torch.Generator], torch.Tensor],
) -> LoadedModel:
    """Measure a trained model with causal latents and write it with latents of training frames.

    Args:
        session: the data.
        plan: where it goes.
        model: the trained model.
        measures: its last validation's.
        latents: computes the causal latents of all training frames [N, M].
        noisy: computes those of the frames of an index, with the noise of training.
    """
    data = session.data
    if not session.processes.first:
        return plan.write(session, model, measures, data.variables)
    with finishing(plan.files, session.stop, at_once=True):
        assign = assignment(session, model)
        if assign is not None:  # the best model's latents, perhaps not the last one's
            assign()
        model.eval()
        with torch.no_grad():
            z, index = latents(), judged(len(data.frames))
            generator = torch.Generator().manual_seed(plan.training.seed)
            moved = leave_to_rest(model, z[index.to(z.device)], noisy(index, generator))
        if moved:
            session.note(_moved_told(moved, data.variables))
            evaluate = evaluation(session, model)
            measures = {**measures, **(evaluate() if evaluate else {})}  # of the model as it is written
        seen = CausalModel.of(model, data.variables)
        identified = _identification(session, seen)
        if without := [name for k, name in enumerate(seen.variables.names) if not (seen.assignment == k).any()]:
            session.note(
                f"{enumerated(without)}: no latents, so not found; train longer, or ask 'citris check' whether "
                "interventions show"
            )
        if (graph := seen.graph()) is not None:
            session.note(_graph_told(graph))
        reference = ReferenceLatents.spread_over(z, data.starts, data.targets, REFERENCE_FRAMES)
        return plan.write(session, model, {**measures, **identified}, data.variables, reference)


def _moved_told(moved: list[int], variables: Variables) -> str:
    """A sentence on latents that went to psi(0), by the number of the variable that each belonged to."""
    names = [name for k, name in enumerate(variables.names) if k in moved]
    holds = "holds" if len(moved) == 1 else "hold"
    return f"{counted(len(moved), 'latent')} of {enumerated(names)} {holds} nothing but noise: moved to psi(0)"


def _graph_told(graph: Mapping[str, Any]) -> str:
    """A sentence on effects within a step that were learned, and on cycles among them."""

    def listed(edges: list[Mapping[str, Any]]) -> str:
        return ", ".join(f"{one['from']} -> {one['to']} ({one['probability']:.2f})" for one in edges)

    told = f"effects within a step: {listed(graph['edges']) or 'none'}"
    if graph["cycle_edges"]:
        told += (
            "; these form cycles, which effects within a step cannot: without the least certain edges, "
            f"{listed(graph['cycle_edges'])}, there are none"
        )
    return told if graph["settled"] else f"{told}; some edge was still uncertain at the end of the training run"


def _identification(session: Session[SequenceData], model: CausalModel) -> dict[str, Any]:
    """R² of each variable's latents against ground truth, where there are independent frames with it."""
    data = session.labelled()
    return {} if data is None else {"identification": independent_correlation(model, data).to_json()}
