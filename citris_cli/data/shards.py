"""One source of frames with what lies beside them, read and checked by itself: a shard of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from citris_cli.data.arrangement import Arrangement, Form, arrangement
from citris_cli.data.columns import described_columns
from citris_cli.data.episodes import episode_ends, padded_lengths
from citris_cli.data.frames import load_frames
from citris_cli.data.identity import FileIdentity
from citris_cli.data.intensities import PIECE
from citris_cli.data.layout import (
    FRAME_KEYS,
    MASK_KEYS,
    MOST_COLUMNS,
    SHAPE_KEY,
    TARGET_KEYS,
    TRUTH_KEYS,
    Input,
    column_kinds,
    column_names,
    first_key,
    optional_key,
    target_names,
    unused_keys,
)
from citris_cli.data.sources import Source, open_source
from citris_cli.data.variables import Variables
from citris_cli.errors import InputError
from citris_cli.wording import counted

#: What ``--targets-lead`` can be: whether row i of as many targets as frames is of the step into frame i, or out of it.
LEADS = ("in", "out")


@dataclass(frozen=True)
class Reading:
    """What is known of data that a file does not tell itself.

    Attributes:
        given: the user's names of the columns, or None.
        known: the columns of the data that a model was trained on, or None.
        lead: "in" or "out", see :data:`LEADS`; None: out, with a sentence where that looks wrong.
    """

    given: Variables | None = None
    known: Variables | None = None
    lead: str | None = None


@dataclass(frozen=True)
class Shard:
    """One source's arrays, checked by themselves; N frames or triplets, K columns, F factors.

    Attributes:
        label: the file, or "the given arrays", for messages.
        where: the same, and the key of its columns where they were read.
        scale: what the numbers of its frames stand for, see :class:`~citris_cli.data.frames.Loaded`.
        parts: the frames in order, uint8 [n, height, width, C], N in all; of triplets 3N.
        columns: uint8 [N, K]: a sequence's intervention targets, of the step out of each frame, zeros where that is the
            last of its episode; or the triplets' mask; or None.
        ends: bool [N], whether a frame of a sequence is the last of its episode; None of other data.
        variables: the K columns, as the source, the user or the training data names them.
        factors: the F columns of true values, or None.
        truth: float32 [N, F] or [N, 3, F], the true values, or None.
        notes: sentences that the user should read.
        unused: names of arrays that nothing reads.
        rows_a_frame: whether a sequence has as many rows of targets as frames, so that a lead can be given.
        identity: of the file, or None of what came in no file.
    """

    label: str
    where: str
    scale: str
    parts: tuple[np.ndarray[Any, Any], ...]
    columns: np.ndarray[Any, Any] | None
    ends: np.ndarray[Any, Any] | None
    variables: Variables
    factors: Variables | None
    truth: np.ndarray[Any, Any] | None
    notes: tuple[str, ...]
    unused: tuple[str, ...]
    rows_a_frame: bool
    identity: FileIdentity | None


def read_sequence(where: Input, reading: Reading = Reading()) -> Shard:
    """Frames in time with their intervention targets.

    Args:
        where: the file, or the arrays.
        reading: what is known of them.

    Raises:
        InputError: anything that the source does wrong; triplets.
    """
    with open_source(where) as source:
        frame_key = first_key(source, FRAME_KEYS, "frames")
        target_key = first_key(source, TARGET_KEYS, "intervention targets")
        arranged = arrangement(source, frame_key)
        _refuse_triplets(source, frame_key, arranged)
        return _read_shard(source, frame_key, arranged, target_key, reading)


def read_independent(where: Input, reading: Reading = Reading()) -> Shard:
    """Frames by themselves, with their true values where the source has them; targets are not read.

    Args:
        where: the file, or the arrays.
        reading: what is known of them.

    Raises:
        InputError: anything that the source does wrong; triplets.
    """
    with open_source(where) as source:
        frame_key = first_key(source, FRAME_KEYS, "frames")
        arranged = arrangement(source, frame_key)
        _refuse_triplets(source, frame_key, arranged)
        return _read_shard(source, frame_key, arranged, None, reading)


def read_triplets(where: Input, reading: Reading = Reading()) -> Shard:
    """Triplets of frames with the mask of their third images.

    Args:
        where: the file, or the arrays.
        reading: what is known of them.

    Raises:
        InputError: anything that the source does wrong; single frames; no mask.
    """
    with open_source(where) as source:
        frame_key = first_key(source, FRAME_KEYS, "triplets of frames")
        arranged = arrangement(source, frame_key)
        if arranged.form is not Form.TRIPLETS:
            raise InputError(
                f"{source.label}: key {frame_key!r} has shape {list(source.shape(frame_key))}, {arranged.form.value}, "
                "not triplets; give a file such as val_triplets.npz with [triplets, 3, height, width, channels]"
            )
        mask_key = first_key(source, MASK_KEYS, "mask of the triplets")
        return _read_shard(source, frame_key, arranged, mask_key, reading)


def read_parts(where: Input) -> tuple[tuple[np.ndarray[Any, Any], ...], tuple[str, ...], str]:
    """Frames alone, whatever else the source holds and however they are arranged.

    Args:
        where: the file, or the arrays.

    Returns:
        uint8 [n, height, width, C] each, in order; sentences that the user should read; and what the source's numbers
        stand for, see :class:`~citris_cli.data.frames.Loaded`.

    Raises:
        InputError: anything that the source does wrong with its frames.
    """
    with open_source(where) as source:
        frame_key = first_key(source, FRAME_KEYS, "frames")
        arranged = arrangement(source, frame_key)
        loaded = load_frames(source, frame_key)
        return _parts(loaded.frames, _kept(source, arranged)), loaded.notes, loaded.scale


@dataclass(frozen=True)
class Look:
    """What the header of a source's frames tells.

    Attributes:
        count: frames, all three of each triplet, without the padding of episodes.
        width, height: in pixels.
        channels: as they are stored, 1 of frames without an axis for them.
    """

    count: int
    width: int
    height: int
    channels: int


def look_at_frames(where: Input) -> Look:
    """How many frames a source holds, and of what size; their data are not read.

    Raises:
        InputError: anything that the source does wrong with the shape of its frames.
    """
    with open_source(where) as source:
        frame_key = first_key(source, FRAME_KEYS, "frames")
        arranged = arrangement(source, frame_key)
        kept, shape = _kept(source, arranged), source.shape(frame_key)
        height, width, channels = (*shape[len(arranged.lead) :], 1)[:3]
        count = int(np.prod(arranged.lead)) if isinstance(kept, slice) else int(kept.sum())
        return Look(count, width, height, channels)


def _refuse_triplets(source: Source, frame_key: str, arranged: Arrangement) -> None:
    if arranged.form is Form.TRIPLETS:
        raise InputError(
            f"{source.label}: key {frame_key!r} has shape {list(source.shape(frame_key))}: these are triplets, not a "
            "sequence; 'citris eval-triplets' takes them"
        )


def _read_shard(
    source: Source, frame_key: str, arranged: Arrangement, column_key: str | None, reading: Reading
) -> Shard:
    """Everything in the source, the cheap arrays first, so that a bad one is refused before its frames are read."""
    shape, lead = source.shape(frame_key), arranged.lead
    kept = _kept(source, arranged)
    notes: tuple[str, ...] = ()
    columns, ends, rows_a_frame = None, None, False
    where = source.label
    if column_key is not None:
        where = f"{source.label}: key {column_key!r}"
        _require_targets(source.shape(column_key), arranged, where)
        columns = _read_binary(source, column_key, where)
        if arranged.form is not Form.TRIPLETS:
            rows_a_frame = arranged.form is not Form.PAIRS and columns.shape[-2] == arranged.lead[-1]
            columns, ends, notes = _steps(source, columns, arranged, reading.lead, where)
            columns, ends = columns[kept], ends[kept]
    truth, of_truth = _read_truth(source, lead)
    if truth is not None and arranged.form is not Form.TRIPLETS:
        truth = truth.reshape(-1, truth.shape[-1])[kept]
    count = columns.shape[-1] if columns is not None else _count_of(source)
    told = described_columns(
        count,
        None if truth is None else truth.shape[-1],
        keys=column_names(source),
        target_keys=target_names(source),
        kinds=column_kinds(source),
        frame_size=shape[len(lead) : len(lead) + 2],
        given=reading.given,
        known=reading.known,
        where=where,
    )
    notes += (*of_truth, *told.notes)
    loaded = load_frames(source, frame_key)
    return Shard(
        source.label,
        where,
        loaded.scale,
        _parts(loaded.frames, kept),
        columns,
        ends,
        told.variables,
        told.factors,
        None if told.factors is None else truth,
        (*notes, *loaded.notes),
        unused_keys(source),
        rows_a_frame,
        source.identity,
    )


def _kept(source: Source, arranged: Arrangement) -> Any:
    """What selects the frames that are real of all frames in order: a bool array where episodes are padded, or all."""
    if arranged.form is Form.EPISODES:
        episodes, frames = arranged.lead
        lengths = padded_lengths(source, episodes, frames)
        if lengths is not None:
            return (np.arange(frames) < lengths[:, None]).reshape(-1)
    return slice(None)


def _parts(images: np.ndarray[Any, Any], kept: Any) -> tuple[np.ndarray[Any, Any], ...]:
    """Frames in order, without the padding of episodes; they stay mapped where they are."""
    flat = images.reshape(-1, *images.shape[-3:])
    if isinstance(kept, slice):
        return (flat,)
    frames = images.shape[1]
    lengths = kept.reshape(-1, frames).sum(1)
    return tuple(flat[i * frames : i * frames + length] for i, length in enumerate(lengths.tolist()))


def _steps(
    source: Source, targets: np.ndarray[Any, Any], arranged: Arrangement, lead: str | None, where: str
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], tuple[str, ...]]:
    """Targets as a sequence has them, one row a frame for the step out of it, zeros where an episode ends; those ends.

    Returns:
        uint8 [frames, K] with the frames of all episodes in order, bool [frames], and sentences.
    """
    if arranged.form is Form.PAIRS:
        rows = np.stack([targets, np.zeros_like(targets)], axis=1).reshape(-1, targets.shape[-1])
        return rows, np.arange(len(rows)) % 2 == 1, _unread_lead(lead, where, "pairs have one row each")
    ends, keys = episode_ends(source, arranged.lead)
    kept = _kept(source, arranged)
    if not isinstance(kept, slice):  # where padding follows
        ends |= kept & ~np.append(kept[1:], False)
    frames = arranged.lead[-1]
    episodes = targets if len(arranged.lead) == 2 else targets[None]
    notes: tuple[str, ...] = ()
    if episodes.shape[1] == frames:
        notes = _said_of_lead(episodes, ends, lead, where)
        later = episodes[:, 1:] if lead == "in" else episodes[:, :-1]
    else:
        later = episodes
        notes = _unread_lead(lead, where, "there is one row a step")
    rows = np.zeros((len(ends), targets.shape[-1]), np.uint8)
    rows.reshape(len(episodes), frames, -1)[:, :-1] = later
    rows[ends] = 0
    if keys:
        notes += (f"{source.label}: {counted(int(ends.sum()), 'episode')}, by {' and '.join(keys)}",)
    return rows, ends, notes


def _said_of_lead(
    episodes: np.ndarray[Any, Any], ends: np.ndarray[Any, Any], lead: str | None, where: str
) -> tuple[str, ...]:
    """What the user should know of as many rows as frames, of which one an episode is of no step.

    Args:
        episodes: targets [E, T, K].
        ends: bool [E * T].
        lead: what was asked for.
        where: file and key.
    """
    if lead is not None:
        return ()
    rows = episodes.reshape(len(ends), -1)
    starts = np.roll(ends, 1)
    lost = int(rows[ends].any(1).sum())
    # Frames drawn independently of each other say that all is redrawn, and there is no step to speak of.
    if not lost or rows.all():
        return ()
    last = "the last row holds" if ends.sum() == 1 else f"the last rows of {counted(int(ends.sum()), 'episode')} hold"
    if not rows[starts].any():
        return (
            f"{where}: {last} interventions and the first none, as if each row described the step into its frame. "
            "They are read as steps out of their frames, and the last belongs to no step; --targets-lead in reads "
            "them as steps into their frames, and 'citris check' finds out from the frames which is right",
        )
    return (
        f"{where}: {last} interventions and no step follows, so they are not used; --targets-lead in reads each row "
        "as the step into its frame (and --targets-lead out as it is read now)",
    )


def _unread_lead(lead: str | None, where: str, why: str) -> tuple[str, ...]:
    if lead is None:
        return ()
    raise InputError(f"--targets-lead {lead}: {where} leaves nothing to choose, {why}; leave the option out")


def _require_targets(shape: tuple[int, ...], arranged: Arrangement, where: str) -> None:
    """Refuse targets, or a mask, whose shape fits no such frames; without the last axis, of a single variable."""
    if len(shape) not in (1, 2, 3) or 0 in shape[1:]:
        raise InputError(f"{where} has shape {list(shape)}; it needs [steps, variables] with at least one variable")
    shape = shape if len(shape) > 1 else (*shape, 1)
    _require_few(shape[-1], where)
    if arranged.form in (Form.PAIRS, Form.TRIPLETS):
        if shape[:-1] != arranged.lead[:1]:
            of = "pair" if arranged.form is Form.PAIRS else "triplet"
            raise InputError(
                f"{where} has {counted(shape[0], 'row')} for {counted(arranged.lead[0], of)}; it needs "
                f"{arranged.lead[0]}" + ("" if len(shape) == 2 else f" of {shape[-1]}, and no other axis")
            )
        return
    *expected, frames = arranged.lead
    if len(shape) != len(arranged.lead) + 1 or list(shape[: len(expected)]) != expected:
        raise InputError(
            f"{where} has shape {list(shape)}; it needs "
            f"[{', '.join(map(str, expected))}{', ' if expected else ''}{frames - 1} or {frames}, variables]"
            + ("; of a single variable, add the last axis with targets[..., None]" if len(shape) == 2 else "")
        )
    if shape[-2] not in (frames - 1, frames):
        raise InputError(
            f"{where} has {counted(shape[-2], 'row')} for {counted(frames, 'frame')}; it needs {frames - 1} "
            f"(one for each step) or {frames}"
        )


def _require_few(columns: int, where: str) -> None:
    if columns > MOST_COLUMNS:
        raise InputError(
            f"{where} has {columns:,} columns, and citris takes at most {MOST_COLUMNS:,}; save one column for each "
            "variable"
        )


def _count_of(source: Source) -> int:
    """The number of columns that a source's names belong to where its targets were not asked for; 0 if unknown."""
    key = optional_key(source, TARGET_KEYS)
    if key is None:
        return 0
    shape = source.shape(key)
    return shape[-1] if len(shape) in (2, 3) else 1


def _read_binary(source: Source, key: str, where: str) -> np.ndarray[Any, Any]:
    """An array of zeros and ones in any number type, as uint8 [..., K]; of a single variable the last axis may lack."""
    shape, dtype = source.shape(key), source.dtype(key)
    if dtype.kind not in "buif":
        raise InputError(f"{where} holds {dtype}; intervention targets are 0 or 1")
    source.require_room(key)
    array, start = np.empty(shape, np.uint8), 0
    for piece in source.pieces(key, PIECE):
        wrong = (piece != 0) & (piece != 1)
        if wrong.any():
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            row, *rest = place[0] + start, *place[1:], *([0] if len(shape) == 1 else [])
            at = f"row {row}, column {rest[0]}" if len(rest) == 1 else f"place {[row, *rest]}"
            raise InputError(f"{where} holds {piece[place]:g} in {at}; targets are 0 or 1")
        array[start : start + len(piece)] = piece
        start += len(piece)
    return array[:, None] if len(shape) == 1 else array


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
        if shape != lead and (shape[:-1] != lead or len(shape) != len(lead) + 1):
            raise InputError(f"{where} has shape {list(shape)}; it needs {[*lead]} rows of values as the frames have")
        _require_few(1 if shape == lead else shape[-1], where)
        parts.append(_read_finite(source, name, where).reshape(*lead, -1))
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1), tuple(notes)


def _read_finite(source: Source, key: str, where: str) -> np.ndarray[Any, Any]:
    """An array of finite numbers in any type, as float32 of the same shape."""
    source.require_room(key, kept=np.dtype(np.float32).itemsize)
    array, start = np.empty(source.shape(key), np.float32), 0
    for piece in source.pieces(key, PIECE):
        rows = array[start : start + len(piece)]
        with np.errstate(over="ignore"):  # what no float32 holds is infinite, and refused
            rows[...] = piece
        if not np.isfinite(rows).all():
            raise InputError(f"{where} holds NaN or infinite values; true values must be finite, or leave the key out")
        start += len(piece)
    return array
