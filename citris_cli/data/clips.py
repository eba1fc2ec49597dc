"""A sequence to look at: its frames, and the interventions of the step that led into each, if its files tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from citris_cli.data.arrangement import Form, arrangement
from citris_cli.data.datasets import SequenceData, frames_of, load_sequences
from citris_cli.data.frames import Frames
from citris_cli.data.intensities import PIECE
from citris_cli.data.layout import FRAME_KEYS, TARGET_KEYS, Input, find_inputs, first_key, optional_key
from citris_cli.data.sources import Data, Source, open_source
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
        notes: sentences that the user should read.
    """

    frames: Frames
    columns: Variables
    targets: np.ndarray[Any, Any]
    told: np.ndarray[Any, Any]
    notes: tuple[str, ...] = ()

    @classmethod
    def without_targets(cls, frames: Frames) -> Clip:
        """Frames of which nothing more is known, such as pictures."""
        return cls(frames, Variables(), np.zeros((len(frames), 0), np.uint8), np.zeros(len(frames), bool))

    def select(self, numbers: range) -> Clip:
        """Some of the frames, each with what is told of the step that led into it where it was."""
        chosen = self.frames.gather(torch.tensor(numbers)).cpu().contiguous().numpy()
        return Clip(Frames([chosen]), self.columns, self.targets[numbers], self.told[numbers])


def load_clip(
    paths: Sequence[Data],
    given: Variables | None = None,
    known: Variables | None = None,
    *,
    lead: str | None = None,
    channels: int | None = None,
) -> Clip:
    """A sequence with or without intervention targets; unlike for training, nothing need ever be intervened on.

    Args:
        paths: files, shards, quoted patterns, or directories (their ``train`` split, else ``val``, else ``test``); or
            arrays by name.
        given: the user's names of the intervention columns, or None.
        known: what is known of the columns, such as those that a model was trained on, or None; see
            :func:`~citris_cli.data.variables.infer_variables`.
        lead, channels: see :func:`~citris_cli.data.datasets.load_sequences`.

    Raises:
        InputError: anything that the files do wrong; triplets.
    """
    inputs = find_inputs(paths, ("train", "val", "test"))
    told = True
    for one in inputs:
        with open_source(one) as source:
            key = optional_key(source, TARGET_KEYS)
            if key is not None and _intervenes(source, key):
                return _with_targets(load_sequences(inputs, given, known, lead=lead, channels=channels))
            told = told and key is not None
    for one in inputs:
        _refuse_triplets(one)
    frames, notes, lengths = frames_of(inputs, channels)
    led = np.full(len(frames), told)
    led[np.cumsum([0, *lengths[:-1]])] = False
    return Clip(frames, Variables(), np.zeros((len(led), 0), np.uint8), led, notes)


def _intervenes(source: Source, key: str) -> bool:
    # What are no numbers counts as well: reading them as targets says what is wrong.
    if source.dtype(key).kind not in "buif" or not source.shape(key):
        return True
    return any(bool(piece.any()) for piece in source.pieces(key, PIECE))


def _with_targets(data: SequenceData) -> Clip:
    into = data.starts.numpy() + 1
    targets = np.zeros((len(data.frames), len(data.columns)), np.uint8)
    used = [data.columns.names.index(name) for name in data.variables.names]
    targets[into[:, None], used] = data.targets[data.starts].numpy()
    told = np.zeros(len(targets), bool)
    told[into] = True
    return Clip(data.frames, data.columns, targets, told, data.notes)


def _refuse_triplets(where: Input) -> None:
    with open_source(where) as source:
        key = first_key(source, FRAME_KEYS, "frames")
        if arrangement(source, key).form is Form.TRIPLETS:
            raise InputError(
                f"{source.label}: key {key!r} has shape {list(source.shape(key))}: these are triplets, not a "
                "sequence; 'citris eval-triplets' takes them"
            )
