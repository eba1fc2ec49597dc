"""Where one recording ends and the next begins, as those tell who record: a step across is no step of the system."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from citris_cli.data.layout import EPISODE_KEYS
from citris_cli.data.sources import Source
from citris_cli.data.variables import MAX_NAME_LENGTH
from citris_cli.errors import InputError
from citris_cli.wording import counted

Array = np.ndarray[Any, Any]


def episode_ends(source: Source, lead: tuple[int, ...]) -> tuple[Array, tuple[str, ...]]:
    """Which of a source's frames are the last of their episode, and the keys that told; the very last always is.

    ``dones`` and ``terminals`` are 1 at the last frame of an episode, ``episode_starts`` at the first; ``episode_ends``
    are 1 at the last frame too, or the numbers of these frames, or of the frames after them; ``episode_ids`` are the
    same in an episode; ``lengths`` are the episodes' numbers of frames. Where several are given, each of them counts.

    Args:
        source: what is open.
        lead: [N] of a sequence, or [E, T] of episodes, of which each also ends after T frames. (Their ``lengths`` are
            :func:`padded_lengths`.)

    Returns:
        bool [N], or [E * T] in order; and names of keys.

    Raises:
        InputError: one of the keys fits no episodes of so many frames.
    """
    frames = int(np.prod(lead))
    ends = np.zeros(frames, bool)
    ends[lead[-1] - 1 :: lead[-1]] = True
    used = []
    for key in EPISODE_KEYS:
        if key not in source or (len(lead) == 2 and (key == "lengths" or source.shape(key) == lead[:1])):
            continue
        values = _values(source, key, lead)
        where = f"{source.label}: key {key!r}"
        if key == "lengths":
            ends |= _by_lengths(values, frames, where)
        elif key == "episode_ids":
            _require_length(values, frames, where, "one a frame, the same in an episode")
            ends[:-1] |= values[1:] != values[:-1]
        elif key == "episode_starts":
            ends[:-1] |= _marked(values, frames, where, counts_after=False)[1:]
        elif key == "episode_ends":
            ends |= _marked(values, frames, where, counts_after=True)
        else:
            _require_length(values, frames, where, "one a frame, 1 where it is the last of its episode")
            if not np.isin(values, (0, 1)).all():
                raise InputError(f"{where} holds values other than 0 and 1; it needs 1 at the last frame of an episode")
            ends |= values.astype(bool)
        used.append(key)
    return ends, tuple(used)


def padded_lengths(source: Source, episodes: int, frames: int) -> Array | None:
    """How many frames of each of several episodes [E] are real, where a source of [E, T, …] tells; or None.

    Raises:
        InputError: ``lengths`` are not one an episode, from 1 to T.
    """
    if "lengths" not in source:
        return None
    values, where = _values(source, "lengths", (episodes,)), f"{source.label}: key 'lengths'"
    _require_length(values, episodes, where, "one an episode")
    lengths = _whole(values)
    if lengths is None or lengths.min() < 1 or lengths.max() > frames:
        raise InputError(f"{where} needs whole numbers from 1 to {frames}, the frames of an episode")
    return lengths


def _values(source: Source, key: str, lead: tuple[int, ...]) -> Array:
    """A list of values, of no more than there are frames or episodes."""
    shape, dtype = source.shape(key), source.dtype(key)
    where = f"{source.label}: key {key!r}"
    if dtype.kind not in "biuf" and key != "episode_ids":
        raise InputError(f"{where} holds {dtype}; it needs numbers that tell where episodes end")
    if dtype.itemsize > MAX_NAME_LENGTH * 4:
        raise InputError(f"{where} holds {dtype}; the name of an episode has at most {MAX_NAME_LENGTH} characters")
    listed = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    if 0 in shape or (shape not in (lead, (*lead, 1)) and not listed):
        raise InputError(f"{where} has shape {list(shape)}; it needs a list that tells where episodes end")
    if math.prod(shape) > math.prod(lead):
        raise InputError(
            f"{where} has {counted(math.prod(shape), 'value')} instead of at most {math.prod(lead):,}; "
            "it needs a list that tells where episodes end"
        )
    return source.array(key).reshape(-1)


def _require_length(values: Array, count: int, where: str, wanted: str) -> None:
    if len(values) != count:
        raise InputError(f"{where} has {counted(len(values), 'value')} instead of {count:,}; it needs {wanted}")


def _marked(values: Array, frames: int, where: str, counts_after: bool) -> Array:
    """Bool [frames] of what is that already as 0 and 1, or of numbers of frames.

    Args:
        values: from the file.
        frames: N.
        where: file and key.
        counts_after: whether numbers may be those of the frames after the marked ones, as Python counts ends: then the
            last of them is N.
    """
    if len(values) == frames and np.isin(values, (0, 1)).all():
        return values.astype(bool)
    whole = _whole(values)
    numbers = np.array([-1]) if whole is None else whole
    if counts_after and numbers[-1] == frames:
        numbers = numbers - 1
    if numbers.min() < 0 or numbers.max() >= frames or (np.diff(numbers) <= 0).any():
        raise InputError(
            f"{where} needs 0 or 1 for each of {counted(frames, 'frame')}, or frame numbers in ascending order"
        )
    marked = np.zeros(frames, bool)
    marked[numbers] = True
    return marked


def _by_lengths(values: Array, frames: int, where: str) -> Array:
    lengths = _whole(values)
    if lengths is None or lengths.min() < 1:
        least = f"; it holds {values.min():g}" if lengths is not None else ""
        raise InputError(f"{where} needs the number of frames of each episode, a whole number of at least 1{least}")
    if int(lengths.sum()) != frames:
        raise InputError(
            f"{where} adds up to {counted(int(lengths.sum()), 'frame')}, and there are {frames:,}; it needs the "
            "number of frames of every episode"
        )
    ends = np.zeros(frames, bool)
    ends[np.cumsum(lengths) - 1] = True
    return ends


def _whole(values: Array) -> Array | None:
    """Values as int64; None where one is no whole number."""
    if values.dtype.kind == "f" and not bool((values == np.floor(values)).all()):
        return None
    return values.astype(np.int64) if values.dtype.kind in "iuf" else None
