"""Sequences to learn from, independent frames and triplets to measure on, as published or as users save them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from citris_cli.data.frames import Frames, check_frames_shape, load_frames
from citris_cli.data.layout import (
    FRAME_KEYS,
    MASK_KEYS,
    SHAPE_KEY,
    TARGET_KEYS,
    TRUTH_KEYS,
    column_names,
    dataset_name,
    find_files,
    first_key,
    optional_key,
)
from citris_cli.data.npz import NpzFile, open_npz
from citris_cli.data.variables import Variables, infer_variables
from citris_cli.errors import InputError
from citris_cli.wording import counted


@dataclass(frozen=True, eq=False)
class _Data:
    """What every kind of data has.

    Attributes:
        name: the dataset's name, for `runs/<name>`.
        paths: the files that were read, in order.
        frames: the images.
        columns: every column that the files have, in order, whether it was ever intervened on or not.
        factors: the variables whose true values are known, or None.
        notes: sentences that the user should read.
    """

    name: str
    paths: tuple[Path, ...]
    frames: Frames
    columns: Variables
    factors: Variables | None
    notes: tuple[str, ...]

    @cached_property
    def sha256(self) -> str:
        """SHA-256 over the contents of the files in order, in hexadecimal; computed when first asked for."""
        digest = hashlib.sha256()
        for path in self.paths:
            with path.open("rb") as stream:
                while block := stream.read(4 << 20):
                    digest.update(block)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class SequenceData(_Data):
    """Frames in time with intervention targets; N frames, P pairs, K variables that are intervened on, F factors.

    Attributes:
        starts: int64 [P], index i of every pair (i, i+1) of consecutive frames; no pair crosses a shard.
        targets: uint8 [N, K]; row i is the intervention-target vector of the step from frame i to i+1, zeros where
            frame i is a shard's last.
        variables: the K variables that are intervened on at least once.
        dropped: the variables that never are.
        truth: float32 [N, F], the true values of `factors`, or None.
    """

    starts: torch.Tensor
    targets: torch.Tensor
    variables: Variables
    dropped: Variables
    truth: torch.Tensor | None


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


@dataclass(frozen=True)
class _Shard:
    """One file's arrays, checked by themselves; `where` names the file and its columns' key in messages."""

    where: str
    images: np.ndarray[Any, Any]
    columns: np.ndarray[Any, Any] | None
    variables: Variables
    truth: np.ndarray[Any, Any] | None
    notes: tuple[str, ...]


def load_sequences(paths: Sequence[Path], given: Variables | None = None) -> SequenceData:
    """Frames with intervention targets, for training.

    Args:
        paths: files, shards, quoted patterns, or directories (their `train` split); each file is its own sequence.
        given: the user's names of the intervention columns, or None for the file's or Causal3DIdent's.

    Raises:
        InputError: anything that the files do wrong; triplets; fewer than 2 frames; no variable intervened on.
    """
    files = _all_files(paths, ("train",))
    shards = [_read_sequence(path, given) for path in files]
    _check_agreement(shards)
    lengths = [len(shard.images) for shard in shards]
    columns = np.concatenate([_one_row_a_frame(shard) for shard in shards])
    ends = np.cumsum(lengths)
    starts = np.setdiff1d(np.arange(ends[-1]), ends - 1)
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
        paths=files,
        frames=Frames([shard.images for shard in shards]),
        columns=everything,
        factors=factors,
        notes=_join_notes(shards),
        starts=torch.from_numpy(starts.astype(np.int64)),
        targets=torch.from_numpy(np.ascontiguousarray(columns[:, used])),
        variables=variables,
        dropped=dropped,
        truth=truth,
    )


def load_independent(
    path: Path, which: str | None = None, given: Variables | None = None, known: Variables | None = None
) -> IndependentData:
    """Frames to be measured one by one, with their true factors where the file has them.

    Args:
        path: a file (any with single frames; a sequence's order is ignored), a pattern, or a directory.
        which: the directory's split, such as "test_indep"; None for val_indep, else test_indep.
        given: the user's names of the columns, or None.
        known: the columns of the training data, or None; see :func:`~citris_cli.data.variables.infer_variables`.

    Raises:
        InputError: anything that the files do wrong; triplets.
    """
    files = _all_files([path], (which,) if which else ("val_indep", "test_indep"))
    return _independent([path], [_read_independent(file, given, known) for file in files], files)


def load_labelled(paths: Sequence[Path], given: Variables | None = None) -> IndependentData:
    """Frames with their true factors, for supervised training; the order of a sequence and its targets are ignored.

    Args:
        paths: files, shards, quoted patterns, or directories (their `train` split).
        given: the user's names of the columns, or None for the file's or Causal3DIdent's.

    Raises:
        InputError: anything that the files do wrong; triplets; a file without true values.
    """
    files = _all_files(paths, ("train",))
    shards = [_read_independent(file, given) for file in files]
    if lacking := next((shard for shard in shards if shard.truth is None), None):
        found = ", ".join(lacking.notes) or "has no true values to learn from"
        raise InputError(f"{lacking.where}: {found}; save one column a variable as {' or '.join(TRUTH_KEYS)}")
    data = _independent(paths, shards, files)
    if data.truth is None:
        raise InputError(f"{files[0]}: the files have different numbers of columns of true values; give them alike")
    return data


def _independent(paths: Sequence[Path], shards: Sequence[_Shard], files: tuple[Path, ...]) -> IndependentData:
    _check_agreement(shards)
    factors, truth = _join_truth(shards)
    return IndependentData(
        name=dataset_name(paths),
        paths=files,
        frames=Frames([shard.images for shard in shards]),
        columns=shards[0].variables,
        factors=factors,
        notes=_join_notes(shards),
        truth=truth,
    )


def load_triplets(
    path: Path, which: str | None = None, given: Variables | None = None, known: Variables | None = None
) -> TripletData:
    """Triplets of frames with the mask that says which factors of the third come from the second.

    Args:
        path: a file, a pattern, or a directory.
        which: the directory's split, such as "test_triplets"; None for val_triplets, else test_triplets.
        given: names of the mask's columns, or None.
        known: the columns of the training data, or None; see :func:`~citris_cli.data.variables.infer_variables`.

    Raises:
        InputError: anything that the files do wrong; single frames; no mask.
    """
    files = _all_files([path], (which,) if which else ("val_triplets", "test_triplets"))
    shards = [_read_triplets(file, given, known) for file in files]
    _check_agreement(shards)
    factors, truth = _join_truth(shards)
    mask = np.concatenate([shard.columns for shard in shards if shard.columns is not None])
    return TripletData(
        name=dataset_name([path]),
        paths=files,
        frames=Frames([shard.images.reshape(-1, *shard.images.shape[2:]) for shard in shards]),
        columns=shards[0].variables,
        factors=factors,
        notes=_join_notes(shards),
        mask=torch.from_numpy(mask.astype(np.int8)),
        variables=shards[0].variables,
        truth=truth,
    )


def read_frames(path: Path) -> Frames:
    """Frames alone, whatever else the file holds: those of a sequence, independent ones, or all three of each triplet.

    Args:
        path: a file, a pattern, or a directory (its `train` split).

    Raises:
        InputError: anything that the files do wrong with their frames.
    """
    parts = []
    for file_path in _all_files([path], ("train",)):
        with open_npz(file_path) as file:
            images = load_frames(file, first_key(file, FRAME_KEYS, "frames"))
        parts.append(images.reshape(-1, *images.shape[-3:]))
    sizes = {part.shape[1:3] for part in parts}
    if len(sizes) > 1:
        raise InputError(f"{path}: its files hold frames of different sizes; give them one by one")
    return Frames(parts)


def _all_files(paths: Sequence[Path], splits: Sequence[str]) -> tuple[Path, ...]:
    if not paths:
        raise InputError("no data was named; give an .npz file or a directory")
    files = [file for path in paths for file in find_files(path, splits)]
    if repeated := [file for i, file in enumerate(files) if file in files[:i]]:
        raise InputError(f"{repeated[0]}: this file is named twice; name every file once")
    return tuple(files)


def _read_sequence(path: Path, given: Variables | None) -> _Shard:
    with open_npz(path) as file:
        frame_key = first_key(file, FRAME_KEYS, "frames")
        target_key = first_key(file, TARGET_KEYS, "intervention targets")
        shape = file.shape(frame_key)
        _refuse_triplets(file, frame_key)
        check_frames_shape(shape, f"{path}: key {frame_key!r}")
        if shape[0] == 1:
            raise InputError(f"{path}: key {frame_key!r} holds 1 frame; a sequence needs at least 2")
        _check_columns_shape(file, target_key, (shape[0] - 1, shape[0]), "frame", " (one a step)")
        return _read_shard(file, frame_key, target_key, given)


def _read_independent(path: Path, given: Variables | None, known: Variables | None = None) -> _Shard:
    with open_npz(path) as file:
        frame_key = first_key(file, FRAME_KEYS, "frames")
        _refuse_triplets(file, frame_key)
        return _read_shard(file, frame_key, None, given, known)


def _read_triplets(path: Path, given: Variables | None, known: Variables | None = None) -> _Shard:
    with open_npz(path) as file:
        frame_key = first_key(file, FRAME_KEYS, "triplets of frames")
        shape = file.shape(frame_key)
        if len(shape) == 4:
            raise InputError(
                f"{path}: key {frame_key!r} has shape {list(shape)}, single frames and no triplets; "
                "give a file such as val_triplets.npz with [triplets, 3, height, width, channels]"
            )
        check_frames_shape(shape, f"{path}: key {frame_key!r}")
        mask_key = first_key(file, MASK_KEYS, "mask of the triplets")
        _check_columns_shape(file, mask_key, (shape[0],), "triplet", "")
        return _read_shard(file, frame_key, mask_key, given, known)


def _refuse_triplets(file: NpzFile, frame_key: str) -> None:
    shape = file.shape(frame_key)
    if len(shape) == 5:
        raise InputError(
            f"{file.path}: key {frame_key!r} has shape {list(shape)}, these are triplets and no sequence; "
            "`citris eval-triplets` takes them"
        )


def _read_shard(
    file: NpzFile, frame_key: str, column_key: str | None, given: Variables | None, known: Variables | None = None
) -> _Shard:
    """Everything in the file, the cheap arrays first, so that a bad file is refused before its frames are read."""
    shape = file.shape(frame_key)
    lead = shape[: len(shape) - 3]
    # Independent frames come here unjudged.
    check_frames_shape(shape, f"{file.path}: key {frame_key!r}")
    names = column_names(file)
    truth, truth_notes = _read_truth(file, lead)
    columns = None if column_key is None else _read_binary(file, column_key)
    if columns is not None:
        count = columns.shape[1]
    else:
        # Nothing was asked of the targets, but they still say how many columns the names belong to.
        key = optional_key(file, TARGET_KEYS)
        told = key is not None and len(file.shape(key)) == 2
        count = file.shape(key)[1] if key is not None and told else truth.shape[-1] if truth is not None else 0
    where = f"{file.path}: key {column_key!r}" if column_key else file.path
    variables = Variables()
    if count:
        variables = infer_variables(count, names, (shape[-3], shape[-2]), given, where, known)
    truth, match_notes = _match_truth(truth, len(variables))
    images = load_frames(file, frame_key)
    return _Shard(where, images, columns, variables, truth, (*truth_notes, *match_notes))


def _check_columns_shape(file: NpzFile, key: str, rows: tuple[int, ...], of: str, unit: str) -> None:
    shape = file.shape(key)
    where = f"{file.path}: key {key!r}"
    if len(shape) != 2 or shape[1] == 0:
        raise InputError(f"{where} has shape {list(shape)}; it needs [steps, variables] with at least one variable")
    if shape[0] not in rows:
        wanted = " or ".join([f"{rows[0]}{unit}", *map(str, rows[1:])])
        raise InputError(f"{where} has {counted(shape[0], 'row')} for {counted(rows[-1], of)}; it needs {wanted}")


def _read_binary(file: NpzFile, key: str) -> np.ndarray[Any, Any]:
    """An array of zeros and ones in any number type, as uint8."""
    array = file.array(key)
    where = f"{file.path}: key {key!r}"
    if array.dtype.kind not in "buif":
        raise InputError(f"{where} holds {array.dtype}; intervention targets are 0 or 1")
    wrong = (array != 0) & (array != 1)
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise InputError(f"{where} holds {array[row, column]:g} in row {row}, column {column}; targets are 0 or 1")
    return array.astype(np.uint8)


def _read_truth(file: NpzFile, lead: tuple[int, ...]) -> tuple[np.ndarray[Any, Any] | None, tuple[str, ...]]:
    """True values float32 [*lead, F] of the file, its shape columns last, or None."""
    key = optional_key(file, TRUTH_KEYS)
    if key is None:
        return None, ()
    parts, notes = [], []
    for name in (key, SHAPE_KEY):
        if name not in file:
            continue
        where, shape = f"{file.path}: key {name!r}", file.shape(name)
        if file.dtype(name).kind not in "buif":
            raise InputError(f"{where} holds {file.dtype(name)}; true values are numbers")
        if name == SHAPE_KEY and shape[:-1] != lead:
            notes.append(f"{where} has shape {list(shape)} for {list(lead)} images: ignored")
            continue
        if shape[:-1] != lead or len(shape) != len(lead) + 1:
            raise InputError(f"{where} has shape {list(shape)}; it needs {[*lead]} rows of values as the frames have")
        values = file.array(name).astype(np.float32)
        if not np.isfinite(values).all():
            raise InputError(f"{where} holds NaN or infinite values; true values must be finite, or leave the key out")
        parts.append(values)
    return np.concatenate(parts, axis=-1), tuple(notes)


def _match_truth(
    truth: np.ndarray[Any, Any] | None, columns: int
) -> tuple[np.ndarray[Any, Any] | None, tuple[str, ...]]:
    """The true values if their columns are the variables' (or all but Causal3DIdent's two of shape), else None."""
    if truth is None or truth.shape[-1] == columns or (columns, truth.shape[-1]) == (12, 10):
        return truth, ()
    found = f"{counted(truth.shape[-1], 'column')} of true values for {counted(columns, 'variable')}"
    return None, (f"{found}: true values ignored",)


def _one_row_a_frame(shard: _Shard) -> np.ndarray[Any, Any]:
    """The targets uint8 [frames, columns] with zeros in the last row, which is no step."""
    assert shard.columns is not None
    rows = np.zeros((len(shard.images), shard.columns.shape[1]), dtype=np.uint8)
    rows[:-1] = shard.columns[: len(rows) - 1]
    return rows


def _check_agreement(shards: Sequence[_Shard]) -> None:
    first = shards[0]
    for shard in shards[1:]:
        sizes = [f"{s.images.shape[-3]}×{s.images.shape[-2]}" for s in (first, shard)]
        if sizes[0] != sizes[1]:
            raise InputError(
                f"{first.where} goes with frames of {sizes[0]} and {shard.where} with {sizes[1]}; "
                "shards need frames of one size"
            )
        if first.variables != shard.variables:
            raise InputError(
                f"{first.where} has the columns {', '.join(first.variables.names) or 'none'} and {shard.where} has "
                f"{', '.join(shard.variables.names) or 'none'}; shards need the same columns"
            )


def _join_truth(shards: Sequence[_Shard]) -> tuple[Variables | None, torch.Tensor | None]:
    """The factors and their values over all shards; None where a shard lacks them or has other columns of them."""
    truths = [shard.truth for shard in shards if shard.truth is not None]
    if len(truths) != len(shards) or len({truth.shape[-1] for truth in truths}) != 1:
        return None, None
    factors = shards[0].variables[: truths[0].shape[-1]]
    return factors, torch.from_numpy(np.concatenate(truths))


def _join_notes(shards: Sequence[_Shard]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(note for shard in shards for note in shard.notes))
