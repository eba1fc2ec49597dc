"""One source of frames with what lies beside them, read and checked by itself: a shard of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from citris_cli.data.frames import check_frames_shape, load_frames
from citris_cli.data.layout import (
    FRAME_KEYS,
    MASK_KEYS,
    SHAPE_KEY,
    TARGET_KEYS,
    TRUTH_KEYS,
    Input,
    column_kinds,
    column_names,
    first_key,
    optional_key,
)
from citris_cli.data.sources import Source, open_source
from citris_cli.data.variables import Variables, infer_variables
from citris_cli.errors import InputError
from citris_cli.wording import counted


@dataclass(frozen=True)
class Shard:
    """One source's arrays, checked by themselves; N frames or triplets, K columns, F factors.

    Attributes:
        where: the file (or "the given arrays"), and the key of its columns where they were read, for messages.
        images: uint8 [N, height, width, 3], or [N, 3, height, width, 3] of triplets.
        columns: uint8 [N or N-1, K], a sequence's intervention targets or the triplets' mask, or None.
        variables: the K columns, as the source, the user or the training data names them.
        truth: float32 [N, F] or [N, 3, F], the true values of the first F variables, or None.
        notes: sentences that the user should read.
    """

    where: str
    images: np.ndarray[Any, Any]
    columns: np.ndarray[Any, Any] | None
    variables: Variables
    truth: np.ndarray[Any, Any] | None
    notes: tuple[str, ...]


def read_sequence(where: Input, given: Variables | None, known: Variables | None = None) -> Shard:
    """Frames in time with their intervention targets.

    Args:
        where: the file, or the arrays.
        given: the user's names of the intervention columns, or None for the source's or Causal3DIdent's.
        known: the columns of other data, or None; see :func:`~citris_cli.data.variables.infer_variables`.

    Raises:
        InputError: anything that the source does wrong; triplets; fewer than 2 frames.
    """
    with open_source(where) as source:
        frame_key = first_key(source, FRAME_KEYS, "frames")
        target_key = first_key(source, TARGET_KEYS, "intervention targets")
        shape = source.shape(frame_key)
        _refuse_triplets(source, frame_key)
        check_frames_shape(shape, f"{source.label}: key {frame_key!r}")
        if shape[0] == 1:
            raise InputError(f"{source.label}: key {frame_key!r} holds 1 frame; a sequence needs at least 2")
        _check_columns_shape(source, target_key, (shape[0] - 1, shape[0]), "frame", " (one a step)")
        return _read_shard(source, frame_key, target_key, given, known)


def read_independent(where: Input, given: Variables | None, known: Variables | None = None) -> Shard:
    """Frames by themselves, with their true values where the source has them; targets are not read.

    Args:
        where: the file, or the arrays.
        given: the user's names of the columns, or None.
        known: the columns of the training data, or None; see :func:`~citris_cli.data.variables.infer_variables`.

    Raises:
        InputError: anything that the source does wrong; triplets.
    """
    with open_source(where) as source:
        frame_key = first_key(source, FRAME_KEYS, "frames")
        _refuse_triplets(source, frame_key)
        return _read_shard(source, frame_key, None, given, known)


def read_triplets(where: Input, given: Variables | None, known: Variables | None = None) -> Shard:
    """Triplets of frames with the mask of their third images.

    Args:
        where: the file, or the arrays.
        given: names of the mask's columns, or None.
        known: the columns of the training data, or None; see :func:`~citris_cli.data.variables.infer_variables`.

    Raises:
        InputError: anything that the source does wrong; single frames; no mask.
    """
    with open_source(where) as source:
        frame_key = first_key(source, FRAME_KEYS, "triplets of frames")
        shape = source.shape(frame_key)
        if len(shape) == 4:
            raise InputError(
                f"{source.label}: key {frame_key!r} has shape {list(shape)}, single frames and no triplets; "
                "give a file such as val_triplets.npz with [triplets, 3, height, width, channels]"
            )
        check_frames_shape(shape, f"{source.label}: key {frame_key!r}")
        mask_key = first_key(source, MASK_KEYS, "mask of the triplets")
        _check_columns_shape(source, mask_key, (shape[0],), "triplet", "")
        return _read_shard(source, frame_key, mask_key, given, known)


def _refuse_triplets(source: Source, frame_key: str) -> None:
    shape = source.shape(frame_key)
    if len(shape) == 5:
        raise InputError(
            f"{source.label}: key {frame_key!r} has shape {list(shape)}, these are triplets and no sequence; "
            "'citris eval-triplets' takes them"
        )


def _read_shard(
    source: Source, frame_key: str, column_key: str | None, given: Variables | None, known: Variables | None
) -> Shard:
    """Everything in the source, the cheap arrays first, so that a bad one is refused before its frames are read."""
    shape = source.shape(frame_key)
    lead = shape[: len(shape) - 3]
    # Independent frames come here unjudged.
    check_frames_shape(shape, f"{source.label}: key {frame_key!r}")
    names, kinds = column_names(source), column_kinds(source)
    truth, truth_notes = _read_truth(source, lead)
    columns = None if column_key is None else _read_binary(source, column_key)
    if columns is not None:
        count = columns.shape[1]
    else:
        # Nothing was asked of the targets, but they still say how many columns the names belong to.
        key = optional_key(source, TARGET_KEYS)
        told = key is not None and len(source.shape(key)) == 2
        count = source.shape(key)[1] if key is not None and told else truth.shape[-1] if truth is not None else 0
    where = f"{source.label}: key {column_key!r}" if column_key else source.label
    variables = Variables()
    if count:
        variables = infer_variables(count, names, (shape[-3], shape[-2]), given, where, known, kinds)
    truth, match_notes = _match_truth(truth, len(variables))
    images = load_frames(source, frame_key)
    return Shard(where, images, columns, variables, truth, (*truth_notes, *match_notes))


def _check_columns_shape(source: Source, key: str, rows: tuple[int, ...], of: str, unit: str) -> None:
    shape = source.shape(key)
    where = f"{source.label}: key {key!r}"
    if len(shape) != 2 or shape[1] == 0:
        raise InputError(f"{where} has shape {list(shape)}; it needs [steps, variables] with at least one variable")
    if shape[0] not in rows:
        wanted = " or ".join([f"{rows[0]}{unit}", *map(str, rows[1:])])
        raise InputError(f"{where} has {counted(shape[0], 'row')} for {counted(rows[-1], of)}; it needs {wanted}")


def _read_binary(source: Source, key: str) -> np.ndarray[Any, Any]:
    """An array of zeros and ones in any number type, as uint8."""
    array = source.array(key)
    where = f"{source.label}: key {key!r}"
    if array.dtype.kind not in "buif":
        raise InputError(f"{where} holds {array.dtype}; intervention targets are 0 or 1")
    wrong = (array != 0) & (array != 1)
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise InputError(f"{where} holds {array[row, column]:g} in row {row}, column {column}; targets are 0 or 1")
    return array.astype(np.uint8)


def _read_truth(source: Source, lead: tuple[int, ...]) -> tuple[np.ndarray[Any, Any] | None, tuple[str, ...]]:
    """True values float32 [*lead, F] of the source, its shape columns last, or None."""
    key = optional_key(source, TRUTH_KEYS)
    if key is None:
        return None, ()
    parts, notes = [], []
    for name in (key, SHAPE_KEY):
        if name not in source:
            continue
        where, shape = f"{source.label}: key {name!r}", source.shape(name)
        if source.dtype(name).kind not in "buif":
            raise InputError(f"{where} holds {source.dtype(name)}; true values are numbers")
        if name == SHAPE_KEY and shape[:-1] != lead:
            notes.append(f"{where} has shape {list(shape)} for {list(lead)} images: ignored")
            continue
        if shape[:-1] != lead or len(shape) != len(lead) + 1:
            raise InputError(f"{where} has shape {list(shape)}; it needs {[*lead]} rows of values as the frames have")
        values = source.array(name).astype(np.float32)
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
