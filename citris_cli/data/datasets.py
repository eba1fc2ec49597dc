"""Shards joined to a dataset: sequences to learn from, independent frames and triplets to measure on."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from citris_cli.data.arrangement import Form, arrangement
from citris_cli.data.frames import Frames, joined, require_one_scale
from citris_cli.data.identity import FileIdentity
from citris_cli.data.layout import (
    FRAME_KEYS,
    KNOWN_KEYS,
    TRUTH_KEYS,
    Input,
    dataset_name,
    find_inputs,
    find_split,
    first_key,
    label_of,
)
from citris_cli.data.shards import Reading, Shard, read_independent, read_parts, read_sequence, read_triplets
from citris_cli.data.sources import ArraySource, Data, open_source
from citris_cli.data.variables import MAX_NAME_LENGTH, Variables
from citris_cli.errors import InputError
from citris_cli.wording import counted, enumerated


@dataclass(frozen=True, eq=False)
class _Data:
    """What every kind of data has.

    Attributes:
        name: the dataset's name, for `runs/<name>`; "arrays" of what came in no file.
        paths: the files that were read, in order; none of data that came in no file.
        frames: the images.
        columns: every column that the files have, in order, whether it was ever intervened on or not.
        factors: the variables whose true values are known, perhaps finer than the columns, or None.
        notes: sentences that the user should read.
        identities: of the files, as they were opened, in order.
        arrays: what came in no file, in order.
        unused: names of arrays in the files that nothing reads.
    """

    name: str
    paths: tuple[Path, ...]
    frames: Frames
    columns: Variables
    factors: Variables | None
    notes: tuple[str, ...]
    identities: tuple[FileIdentity, ...] = field(default=(), kw_only=True)
    arrays: tuple[ArraySource, ...] = field(default=(), kw_only=True)
    unused: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def label(self) -> str:
        """What messages call the data: its first file, or "the given arrays"."""
        return str(self.paths[0]) if self.paths else self.arrays[0].label

    @cached_property
    def sha256(self) -> str:
        """SHA-256 over the contents of the files in order, in hexadecimal; computed when first asked for.

        Of given arrays, which follow the files, it is over names, types, shapes and contents.

        Raises:
            InputError: a file is no longer the one that was read.
        """
        digest = hashlib.sha256()
        for path in self.paths:
            with suppress(FileNotFoundError), path.open("rb") as stream:  # what is no longer there is told below
                while block := stream.read(4 << 20):
                    digest.update(block)
        for changed in self.changes():
            raise InputError(f"{changed} while it was read; run the command again once nothing writes to it")
        for arrays in self.arrays:
            arrays.update(digest)
        return digest.hexdigest()

    def changes(self) -> tuple[str, ...]:
        """What became of the files since they were opened, a clause each; nothing of those that are as they were."""
        return tuple(f"{one.path} {how}" for one in self.identities if (how := one.change()))


@dataclass(frozen=True, eq=False)
class SequenceData(_Data):
    """Frames in time with intervention targets; N frames, P pairs, K variables that are intervened on, F factors.

    Attributes:
        starts: int64 [P], index i of every pair (i, i+1) of consecutive frames; no pair crosses a shard or an episode.
        targets: uint8 [N, K]; row i is the intervention-target vector of the step from frame i to i+1, zeros where
            frame i is the last of its episode.
        variables: the K variables that are intervened on at least once.
        dropped: the variables that never are.
        truth: float32 [N, F], the true values of `factors`, or None.
        rows_a_frame: whether the files have as many rows of targets as frames, so that a lead can be given.
    """

    starts: torch.Tensor
    targets: torch.Tensor
    variables: Variables
    dropped: Variables
    truth: torch.Tensor | None
    rows_a_frame: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, eq=False)
class IndependentData(_Data):
    """Frames that are measured one by one; N frames, F factors.

    Attributes:
        truth: float32 [N, F], the true values of `factors`, or None.
    """

    truth: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class TripletData(_Data):
    """Triplets of frames, the third combining factors of the first two; N triplets, K variables, F factors.

    Attributes:
        frames: 3N frames; image j of triplet i is frame 3i + j.
        mask: int8 [N, K]; 1 where that variable of the third image comes from the second, 0 from the first.
        variables: the K variables, one a column of the mask.
        truth: float32 [N, 3, F], the true values of `factors`, or None.
    """

    mask: torch.Tensor
    variables: Variables
    truth: torch.Tensor | None


def load_sequences(
    paths: Sequence[Data],
    given: Variables | None = None,
    known: Variables | None = None,
    *,
    lead: str | None = None,
    channels: int | None = None,
) -> SequenceData:
    """Frames with intervention targets, for training.

    Args:
        paths: files, shards, quoted patterns, or directories (their `train` split), or arrays by name; each file, and
            each mapping of arrays, is its own sequence.
        given: the user's names of the intervention columns, or None for the file's or Causal3DIdent's.
        known: the columns of other data, or None; see :func:`~citris_cli.data.variables.infer_variables`.
        lead: "in" or "out", of targets with as many rows as frames: whether a row is of the step into its frame or out
            of it; None: out, with a note where that looks wrong.
        channels: of a model's frames, which these have to fit; None if they need not.

    Raises:
        InputError: anything that the files do wrong; triplets; no two frames in a row; no variable intervened on.
    """
    inputs = _all_inputs(paths, ("train",))
    shards = [read_sequence(one, Reading(given, known, lead)) for one in inputs]
    _check_agreement(shards)
    columns = np.concatenate([_required(shard.columns) for shard in shards])
    ends = np.concatenate([_required(shard.ends) for shard in shards])
    starts = np.flatnonzero(~ends)
    if not len(starts):
        raise InputError(
            f"{shards[0].where}: {counted(len(ends), 'frame')} and no step between two; a sequence needs at least 2"
        )
    frames, notes = _join_frames(shards, channels)
    single = int((ends & np.append(True, ends[:-1])).sum())
    if single:
        notes += (f"{counted(single, 'episode')} of one frame: without a step, so skipped",)
    everything = shards[0].variables
    used = columns.any(axis=0)
    variables = everything.select(np.flatnonzero(used).tolist())
    dropped = everything.select(np.flatnonzero(~used).tolist())
    if not variables:
        raise InputError(
            f"{shards[0].where}: no variable is ever intervened on; training needs interventions on at least one"
        )
    factors, truth = _join_truth(shards)
    return SequenceData(
        name=dataset_name(paths),
        paths=_files(inputs),
        frames=frames,
        columns=everything,
        factors=factors,
        notes=notes,
        starts=torch.from_numpy(starts.astype(np.int64)),
        targets=torch.from_numpy(np.ascontiguousarray(columns[:, used])),
        variables=variables,
        dropped=dropped,
        truth=truth,
        rows_a_frame=all(shard.rows_a_frame for shard in shards),
        identities=_identities(shards),
        arrays=_given_arrays(inputs),
        unused=_unused(shards),
    )


def load_independent(
    path: Data,
    which: str | None = None,
    given: Variables | None = None,
    known: Variables | None = None,
    *,
    channels: int | None = None,
) -> IndependentData:
    """Frames to be measured one by one, with their true factors where the file has them.

    Args:
        path: a file (any with single frames; a sequence's order is ignored), a pattern, a directory, or arrays by
            name.
        which: the directory's split, such as "test_indep"; None for val_indep, else test_indep.
        given: the user's names of the columns, or None.
        known: the columns of the training data, or None; see :func:`~citris_cli.data.variables.infer_variables`.
        channels: of the frames that these have to fit, such as a model's; None if they need not.

    Raises:
        InputError: anything that the files do wrong; triplets.
    """
    inputs = _all_inputs([path], (which,) if which else ("val_indep", "test_indep"))
    return _independent([path], [read_independent(one, Reading(given, known)) for one in inputs], inputs, channels)


def load_labelled(paths: Sequence[Data], given: Variables | None = None) -> IndependentData:
    """Frames with their true factors, for supervised training; the order of a sequence and its targets are ignored.

    Args:
        paths: files, shards, quoted patterns, or directories (their `train` split), or arrays by name.
        given: the user's names of the columns, or None for the file's or Causal3DIdent's.

    Raises:
        InputError: anything that the files do wrong; triplets; a file without true values.
    """
    inputs = _all_inputs(paths, ("train",))
    shards = [read_independent(one, Reading(given)) for one in inputs]
    if lacking := next((shard for shard in shards if shard.truth is None), None):
        told = [note for note in lacking.notes if "true values" in note]
        found = ", ".join(told) or "has no true values to learn from"
        raise InputError(f"{lacking.where}: {found}; save one column for each variable as {' or '.join(TRUTH_KEYS)}")
    data = _independent(paths, shards, inputs)
    if data.truth is None:
        raise InputError(
            f"{data.label}: the files have different numbers of columns of true values; give all files the same columns"
        )
    return data


def _independent(
    paths: Sequence[Data], shards: Sequence[Shard], inputs: Sequence[Input], channels: int | None = None
) -> IndependentData:
    _check_agreement(shards)
    frames, notes = _join_frames(shards, channels)
    factors, truth = _join_truth(shards)
    return IndependentData(
        name=dataset_name(paths),
        paths=_files(inputs),
        frames=frames,
        columns=shards[0].variables,
        factors=factors,
        notes=notes,
        truth=truth,
        identities=_identities(shards),
        arrays=_given_arrays(inputs),
        unused=_unused(shards),
    )


def load_held_out(
    paths: Sequence[Data], data: SequenceData | IndependentData, names: Variables | None = None
) -> IndependentData | None:
    """The independent frames that a dataset in the published layout brings for validation, named as its columns.

    Args:
        paths: the data that is trained on, as it was named.
        data: the same, loaded.
        names: the user's names of the columns, or None.

    Raises:
        InputError: anything that the file does wrong.
    """
    where = paths[0] if len(paths) == 1 else None
    if not isinstance(where, Path) or not where.is_dir():
        return None
    files = find_split(where, "val_indep")
    # A directory with a single file offers it for every split; frames trained on are not held out.
    if not files or set(files) & set(data.paths):
        return None
    return load_independent(where, "val_indep", names, data.columns, channels=data.frames.channels)


def load_triplets(
    path: Data,
    which: str | None = None,
    given: Variables | None = None,
    known: Variables | None = None,
    *,
    channels: int | None = None,
) -> TripletData:
    """Triplets of frames with the mask that says which factors of the third come from the second.

    Args:
        path: a file, a pattern, a directory, or arrays by name.
        which: the directory's split, such as "test_triplets"; None for val_triplets, else test_triplets.
        given: names of the mask's columns, or None.
        known: the columns of the training data, or None; see :func:`~citris_cli.data.variables.infer_variables`.
        channels: of the frames that these have to fit, such as a model's; None if they need not.

    Raises:
        InputError: anything that the files do wrong; single frames; no mask.
    """
    inputs = _all_inputs([path], (which,) if which else ("val_triplets", "test_triplets"))
    shards = [read_triplets(one, Reading(given, known)) for one in inputs]
    _check_agreement(shards)
    frames, notes = _join_frames(shards, channels)
    factors, truth = _join_truth(shards)
    mask = np.concatenate([_required(shard.columns) for shard in shards])
    return TripletData(
        name=dataset_name([path]),
        paths=_files(inputs),
        frames=frames,
        columns=shards[0].variables,
        factors=factors,
        notes=notes,
        mask=torch.from_numpy(mask.astype(np.int8)),
        variables=shards[0].variables,
        truth=truth,
        identities=_identities(shards),
        arrays=_given_arrays(inputs),
        unused=_unused(shards),
    )


def holds_triplets(path: Data) -> bool:
    """Whether the frames of a file, a pattern, a directory or arrays are triplets.

    Raises:
        InputError: nothing there that can be read, or no frames.
    """
    with open_source(_all_inputs([path], ("val_triplets", "test_triplets", "val_indep", "test_indep"))[0]) as source:
        return arrangement(source, first_key(source, FRAME_KEYS, "frames")).form is Form.TRIPLETS


def read_frames(path: Data, channels: int | None = None) -> tuple[Frames, tuple[str, ...]]:
    """Frames alone, whatever else the file holds: those of a sequence, independent ones, or all three of each triplet.

    Args:
        path: a file, a pattern, a directory (its `train` split), or arrays by name.
        channels: of the frames that these have to fit, such as a model's; None if they need not.

    Returns:
        The frames, and sentences on how they were read.

    Raises:
        InputError: anything that the files do wrong with their frames.
    """
    frames, notes, _ = frames_of(_all_inputs([path], ("train",)), channels)
    return frames, notes


def frames_of(inputs: Sequence[Input], channels: int | None = None) -> tuple[Frames, tuple[str, ...], tuple[int, ...]]:
    """The frames of several inputs alone.

    Args:
        inputs: at least one.
        channels: see :func:`read_frames`.

    Returns:
        The frames, sentences on how they were read, and how many follow each other in each file or episode.

    Raises:
        InputError: anything that the inputs do wrong with their frames.
    """
    parts: list[np.ndarray[Any, Any]] = []
    labels: list[str] = []
    notes: list[str] = []
    scales: list[str] = []
    for one in inputs:
        found, how, scale = read_parts(one)
        parts.extend(found)
        labels.extend([label_of(one)] * len(found))
        notes.extend(how)
        scales.extend([scale] * len(found))
    require_one_scale(scales, labels)
    frames, of_channels = joined(parts, labels, channels)
    return frames, tuple(dict.fromkeys((*notes, *of_channels))), tuple(map(len, parts))


def _all_inputs(paths: Sequence[Data], splits: Sequence[str]) -> tuple[Input, ...]:
    if not paths:
        raise InputError("no data was named; give an .npz file or a directory")
    inputs = find_inputs(paths, splits)
    files = _files(inputs)
    if repeated := [file for i, file in enumerate(files) if file in files[:i]]:
        raise InputError(f"{repeated[0]}: this file is named twice; name every file once")
    return inputs


def _files(inputs: Sequence[Input]) -> tuple[Path, ...]:
    return tuple(one for one in inputs if isinstance(one, Path))


def _identities(shards: Sequence[Shard]) -> tuple[FileIdentity, ...]:
    return tuple(shard.identity for shard in shards if shard.identity is not None)


def _given_arrays(inputs: Sequence[Input]) -> tuple[ArraySource, ...]:
    return tuple(one for one in inputs if isinstance(one, ArraySource))


def _required(array: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
    if array is None:
        raise ValueError("data was read without its targets")
    return array


def _join_frames(shards: Sequence[Shard], channels: int | None) -> tuple[Frames, tuple[str, ...]]:
    """The frames of all shards, and all sentences that the user should read."""
    require_one_scale([shard.scale for shard in shards], [shard.label for shard in shards])
    parts = [(part, shard.label) for shard in shards for part in shard.parts]
    frames, of_channels = joined([part for part, _ in parts], [label for _, label in parts], channels)
    notes = [note for shard in shards for note in shard.notes]
    if unused := _unused(shards):
        close = {name: difflib.get_close_matches(name[:MAX_NAME_LENGTH], KNOWN_KEYS, n=1) for name in unused}
        told = [name + (f" (did you mean {close[name][0]!r}?)" if close[name] else "") for name in unused]
        notes.append(f"not used, as citris does not read keys of these names: {enumerated(told)}")
    return frames, tuple(dict.fromkeys((*notes, *of_channels)))


def _unused(shards: Sequence[Shard]) -> tuple[str, ...]:
    """Names of arrays that nothing reads, of all shards."""
    return tuple(dict.fromkeys(name for shard in shards for name in shard.unused))


def _check_agreement(shards: Sequence[Shard]) -> None:
    first = shards[0]
    for shard in shards[1:]:
        if first.variables != shard.variables:
            kinds = first.variables.names == shard.variables.names
            columns = [_listed(each.variables, kinds) for each in (first, shard)]
            raise InputError(
                f"{first.where} has the columns {columns[0]} and {shard.where} has {columns[1]}; "
                "shards need the same columns"
            )


def _listed(variables: Variables, kinds: bool) -> str:
    return enumerated(f"{item.name}:{item.kind}" if kinds else item.name for item in variables)


def _join_truth(shards: Sequence[Shard]) -> tuple[Variables | None, torch.Tensor | None]:
    """The factors and their values over all shards; None where a shard lacks them or has other ones."""
    truths = [shard.truth for shard in shards if shard.truth is not None]
    if len(truths) != len(shards) or any(shard.factors != shards[0].factors for shard in shards):
        return None, None
    return shards[0].factors, torch.from_numpy(np.concatenate(truths))
