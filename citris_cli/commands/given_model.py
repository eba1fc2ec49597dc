"""The model that a command is given or finds, and the causal encoder beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from citris_cli.artifacts.runs import find_causal_model, newest_model
from citris_cli.causal_model import CausalModel
from citris_cli.data.variables import Variables
from citris_cli.errors import InputError
from citris_cli.loading import load_model
from citris_cli.show.console import Console
from citris_cli.wording import counted, described_channels

if TYPE_CHECKING:
    from citris_cli.core.causal_encoder import CausalEncoder


def find_model(given: Path | None, console: Console, inputs: Sequence[Path] = ()) -> Path:
    """The file of the model that a command uses, with a note on where it was found if it was not named.

    Args:
        given: the value of ``--model``.
        console: takes the note.
        inputs: pictures that the command reads, for a sample frame among them brings its model.

    Raises:
        InputError: there is none.
    """
    path, found = find_causal_model(given, inputs)
    if found:
        console.note(f"model: {path} ({found})")
    return path


def load_causal_model(path: Path, device: torch.device, console: Console, hashed: bool = False) -> CausalModel:
    """The model of a file.

    Args:
        path: of the file.
        device: where it computes.
        console: takes a note on a file that cannot be checked.
        hashed: whether the hash of the file is wanted.

    Raises:
        InputError: it has no causal latents, or cannot be read.
    """
    loaded = load_model(path, device, hashed)
    if loaded.note:
        console.note(loaded.note)
    return CausalModel(loaded)


def find_causal_encoder(
    path: Path | None, model: CausalModel, console: Console
) -> tuple[Path, CausalEncoder, Variables] | None:
    """The causal encoder that was named, or the one beside the model, with the factors that it reads; or None.

    Raises:
        InputError: what was named is none, or one for other frames than the model's.
    """
    from citris_cli.core.causal_encoder import CausalEncoder
    from citris_cli.kinds import KINDS

    if path is None:
        kind, folder = KINDS["causal_encoder"], model.path.parent
        path = newest_model(folder, kind) or folder / kind.file_name
        if not path.exists():
            return None
        console.note(f"causal encoder: {path} (beside the model)")
    loaded = load_model(path, model.device)
    if loaded.note:
        console.note(loaded.note)
    # One that is loaded always has factors: it could not be built without.
    if not isinstance(loaded.network, CausalEncoder) or loaded.variables is None:
        raise InputError(
            f"{path}: holds a model of kind {loaded.kind}, not a causal encoder; train one with 'citris "
            "train-causal-encoder'"
        )
    if loaded.image_channels != model.image_channels:
        raise InputError(
            f"{path}: this causal encoder reads {described_channels(loaded.image_channels)} frames and those of the "
            f"model are {described_channels(model.image_channels)}; train one on frames like the model's"
        )
    if loaded.width != model.width:
        raise InputError(
            f"{path}: this causal encoder reads frames {loaded.width} pixels wide and the model's have "
            f"{model.width}; train one on such frames"
        )
    return path, loaded.network, loaded.variables


def known_columns(model: CausalModel) -> Variables:
    """All columns of the data that a model was trained on, with their names and kinds as they were then.

    A file that does not tell of them (a published checkpoint) knows those that are intervened on.

    Raises:
        InputError: what the file tells of them is malformed.
    """
    if "columns" not in model.provenance:
        return model.variables
    try:
        return Variables.from_json(model.provenance["columns"])
    except InputError as error:
        raise InputError(
            f"{model.path}: its metadata is damaged ({error}); get the file again or train anew"
        ) from error


def say_unfamiliar(
    console: Console, model: CausalModel, names: Sequence[str], z: np.ndarray[Any, np.dtype[np.float32]]
) -> None:
    """A note where more than one in a hundred frames is unlike the training frames: a model reads something into any.

    Args:
        console: where to.
        model: of the latents.
        names: of the frames.
        z: their latents [N, M].
    """
    found = [name for name, unlike in zip(names, model.unfamiliar(z), strict=True) if unlike]
    if len(found) <= len(z) / 100:
        return
    which = found[0] if len(z) == 1 else f"{len(found):,} of {counted(len(z), 'frame')} (such as {found[0]})"
    console.note(
        f"{which}: unlike the frames that the model was trained on, so the latents, and whatever is made of them, mean "
        "little"
    )
