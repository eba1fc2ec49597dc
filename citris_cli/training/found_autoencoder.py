"""The autoencoder that a flow is trained on: the one that was named, or that the dataset has."""

from __future__ import annotations

import copy
import dataclasses
from contextlib import suppress
from typing import Any

from citris_cli.artifacts.runs import models_in, newest_model
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.data.datasets import SequenceData
from citris_cli.errors import CitrisError, InputError
from citris_cli.kinds import KINDS
from citris_cli.loading import LoadedModel, load_model
from citris_cli.training.encodings import weights_sha256
from citris_cli.training.plan import Plan
from citris_cli.training.session import AnySession, Session
from citris_cli.wording import described_channels


def found_autoencoder(session: Session[SequenceData]) -> LoadedModel | None:
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


def begun_on(session: Session[SequenceData], plan: Plan[Any, Any]) -> LoadedModel:
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
