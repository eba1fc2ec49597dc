"""What a training would use, as --show-config prints it."""

from __future__ import annotations

import dataclasses
from typing import Any

from citris_cli.data.datasets import SequenceData
from citris_cli.kinds import KINDS
from citris_cli.loading import LoadedModel
from citris_cli.training.causal_encoder import learnable_factors
from citris_cli.training.found_autoencoder import fitting_autoencoder
from citris_cli.training.plan import Plan
from citris_cli.training.plans import (
    AutoencoderPlan,
    NFPlan,
    autoencoder_plan,
    causal_encoder_plan,
    flow_plan,
    open_for_autoencoder,
    require_possible,
    vae_plan,
    with_grey_latents,
)
from citris_cli.training.request import Request
from citris_cli.training.restarts import starts_of
from citris_cli.training.rounds import flow_session, last_flow_plan, rounds_folder, taught_changes, taught_training
from citris_cli.training.session import AnySession, Session, open_labelled, open_sequences


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
    changes = {"precision": last.training.precision, **taught_changes(session, training)}
    training = dataclasses.replace(training, **changes)
    taught = Plan(KINDS["autoencoder"], with_grey_latents(first), training, last.files).to_json()
    flows = [plan.to_json(), *[last.to_json() for _ in range(2, rounds)]]
    described = []
    for number, flow in enumerate(flows, 1):
        autoencoder = told(under) if number == 1 else {**taught, "output": _within(last, f"ae-round{number}")}
        described.append({"autoencoder": autoencoder, **flow, "output": _within(last, f"nf-round{number}")})
    return last, {"autoencoder": {**taught, "output": _within(last, f"ae-round{rounds}")}, "rounds": described}


def _within(plan: NFPlan, name: str) -> str | None:
    folder = rounds_folder(plan)
    return None if folder is None else str(folder / f"{name}.safetensors")
