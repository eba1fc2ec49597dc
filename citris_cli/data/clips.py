"""A sequence to look at: its frames, and the interventions of the step that led into each, if its files tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from citris_cli.data.datasets import load_sequences
from citris_cli.data.frames import Frames, load_frames
from citris_cli.data.layout import FRAME_KEYS, TARGET_KEYS, column_names, find_files, first_key, optional_key
from citris_cli.data.npz import NpzFile, open_npz
from citris_cli.data.variables import Variables
from citris_cli.errors import InputError


@dataclass(frozen=True, eq=False)
class Clip:
    """N frames in order, of one file or of several shards, each a sequence of its own.

    Attributes:
        frames: the N images.
        columns: every column of the files' targets; none where nothing is ever intervened on.
        targets: uint8 [N, C]; row i tells which columns were intervened on in the step that led into frame i, zeros
            where no step did.
        told: bool [N]; whether the files tell of a step that led into frame i: not for the first frame of a file, nor
            for any frame of files without targets.
    """

    frames: Frames
    columns: Variables
    targets: np.ndarray[Any, Any]
    told: np.ndarray[Any, Any]

    @classmethod
    def without_targets(cls, frames: Frames) -> Clip:
        """Frames of which nothing more is known, such as pictures."""
        return cls(frames, Variables(), np.zeros((len(frames), 0), np.uint8), np.zeros(len(frames), bool))


def load_clip(paths: Sequence[Path], given: Variables | None = None, known: Variables | None = None) -> Clip:
    """A sequence with or without intervention targets; unlike for training, nothing need ever be intervened on.

    Args:
        paths: files, shards, quoted patterns, or directories (their ``train`` split, else ``val``, else ``test``).
        given: the user's names of the intervention columns, or None.
        known: names of the columns of files that bring none and have as many, such as those that a model was trained
            on; or None.

    Raises:
        InputError: anything that the files do wrong; triplets.
    """
    files = [file for path in paths for file in find_files(path, ("train", "val", "test"))]
    told = True
    for path in files:
        with open_npz(path) as file:
            key = optional_key(file, TARGET_KEYS)
            if key is not None and _intervenes(file, key):
                return _with_targets(files, given or _known_columns(file, key, known))
            told = told and key is not None
    parts = [_frames(path) for path in files]
    if len({part.shape[1:3] for part in parts}) > 1:
        raise InputError(f"{files[0]}: the files hold frames of different sizes; give them one by one")
    lengths = [len(part) for part in parts]
    led = np.full(sum(lengths), told)
    led[np.cumsum([0, *lengths[:-1]])] = False
    return Clip(Frames(parts), Variables(), np.zeros((len(led), 0), np.uint8), led)


def _intervenes(file: NpzFile, key: str) -> bool:
    # What are no numbers counts as well: reading them as targets says what is wrong.
    return file.dtype(key).kind not in "buif" or bool(file.array(key).any())


def _known_columns(file: NpzFile, key: str, known: Variables | None) -> Variables | None:
    fit = known is not None and file.shape(key)[1:] == (len(known),) and column_names(file) is None
    return known if fit else None


def _with_targets(files: Sequence[Path], given: Variables | None) -> Clip:
    data = load_sequences(files, given)
    into = data.starts.numpy() + 1
    targets = np.zeros((len(data.frames), len(data.columns)), np.uint8)
    used = [data.columns.names.index(name) for name in data.variables.names]
    targets[into[:, None], used] = data.targets[data.starts].numpy()
    told = np.zeros(len(targets), bool)
    told[into] = True
    return Clip(data.frames, data.columns, targets, told)


def _frames(path: Path) -> np.ndarray[Any, Any]:
    with open_npz(path) as file:
        key = first_key(file, FRAME_KEYS, "frames")
        if len(file.shape(key)) == 5:
            raise InputError(
                f"{path}: key {key!r} has shape {list(file.shape(key))}, these are triplets and no sequence; "
                "'citris eval-triplets' takes them"
            )
        return load_frames(file, key)
