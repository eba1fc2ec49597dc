"""The rows that tell of each recording: of one table for all, of one each, or of an array beside the frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from citris_cli.data.layout import TARGET_KEYS
from citris_cli.data.paths import is_there
from citris_cli.errors import InputError
from citris_cli.recordings.recording import Array, Recording
from citris_cli.recordings.tables import Table, of_array, read_table
from citris_cli.wording import counted, enumerated, legible


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows that tell of one recording, or of all.

    Attributes:
        table: the rows.
        places: where each of them belongs, if the form of an array tells; else None.
        of_steps: whether these places are steps.
    """

    table: Table
    places: Array | None = None
    of_steps: bool = False


@dataclass(frozen=True, eq=False)
class Given:
    """Where targets are read from.

    Attributes:
        rows: of each recording; one for all where there is one table and several recordings.
        files: tables that were read.
        notes: sentences on what was taken for what.
    """

    rows: tuple[Rows, ...]
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def find_rows(recordings: Sequence[Recording], given: Sequence[str], columns: Sequence[str] | None) -> Given:
    """Tables or keys of targets, read.

    Args:
        recordings: in order.
        given: files or keys, one or as many as recordings; none to look for a key of a usual name.
        columns: names that an array's columns get if there are as many and the file has none.

    Raises:
        InputError: there is none, or not as many as are needed.
    """
    notes: tuple[str, ...] = ()
    if not given:
        key = next((key for key in TARGET_KEYS if all(key in recording.keys for recording in recordings)), None)
        if key is None:
            raise InputError(
                f"{recordings[0].label}: it is not known which variables were intervened on; name the table, or a key "
                "of the same file, with --targets"
            )
        given, notes = (key,), (f"targets are read from {key!r}",)
    if len(given) not in (1, len(recordings)):
        raise InputError(
            f"{counted(len(given), 'table')} for {counted(len(recordings), 'recording')}; give one --targets for "
            "all, or "
            "one for each, in order"
        )
    if not is_there(Path(given[0])) and any(given[0] in recording.keys for recording in recordings):
        keys = list(given) * len(recordings) if len(given) == 1 else list(given)
        return Given(tuple(map(_of_key, recordings, keys, [columns] * len(recordings))), (), notes)
    for name in given:
        if not is_there(Path(name)):
            beside = [key for recording in recordings[:1] for key in recording.keys]
            has = f" (it has {enumerated(beside)})" if beside else ""
            raise InputError(
                f"--targets {name}: there is no such file, and no key of that name in {recordings[0].label}{has}; "
                "check "
                "the path"
            )
    files = tuple(map(Path, given))
    return Given(tuple(Rows(read_table(path)) for path in files), files, notes)


def _of_key(recording: Recording, key: str, columns: Sequence[str] | None) -> Rows:
    label = f"{recording.label}: {key!r}"
    if key not in recording.keys:
        raise InputError(f"--targets {key}: {recording.label} has {enumerated(recording.keys)}; name one of these")
    array = recording.keys[key]()
    lead = array.shape[:2] if array.ndim == 3 else None
    if lead is not None:
        array = array.reshape(-1, array.shape[-1])
    width = array.shape[1] if array.ndim == 2 else 1
    names = recording.described.get(width, ()) if array.ndim == 2 else ()
    if not names and columns is not None and len(columns) == width:
        names = tuple(columns)
    if not array.size and array.ndim in (1, 2):  # of a recording of one frame
        empty = names or [f"{key.rsplit('/', 1)[-1]}_{index}" for index in range(width)] if width > 1 else [key]
        table = Table(label, {name: [] for name in (names or empty)}, np.zeros(0, np.int64))
        return Rows(table, np.zeros(0, np.int64), of_steps=True)
    table = of_array(label, array, names, key)
    if lead is None:
        return Rows(table)
    steps = int(lead[1] == max(recording.lengths) - 1)
    kept = rows_of_episodes(lead, recording, steps)
    inside = [np.arange(span.start, span.stop - steps) for span in recording.spans()]
    return Rows(table.taken(kept), np.concatenate(inside), of_steps=bool(steps))


def rows_of_episodes(lead: tuple[int, ...], recording: Recording, fewer: int) -> Array:
    """Which of E·T rows are no padding.

    Args:
        lead: E and T.
        recording: whose episodes they are.
        fewer: by how many rows fewer than frames an episode has.

    Raises:
        InputError: the recording has other episodes.
    """
    episodes, length = lead
    if episodes != len(recording.lengths) or length < max(recording.lengths) - fewer:
        raise InputError(
            f"{recording.label}: an array of {episodes:,} × {length:,} rows for "
            f"{counted(len(recording.lengths), 'episode')} of up to {counted(max(recording.lengths), 'frame')}; give "
            "each "
            "episode as many rows as frames, or as steps"
        )
    return np.concatenate([index * length + np.arange(one - fewer) for index, one in enumerate(recording.lengths)])


def parted(
    recordings: Sequence[Recording],
    rows: Sequence[Rows],
    episode: str | None,
    by: tuple[str, str] | None,
    events: bool,
) -> list[Rows]:
    """The rows of each recording.

    Args:
        recordings: in order.
        rows: as :func:`find_rows` found them.
        episode: the column that names a row's recording, or None.
        by: how rows are matched with frames, see :func:`citris_cli.recordings.matching.row_column`.
        events: whether a recording may have none, as nothing was intervened on.

    Raises:
        InputError: nothing tells whose they are, or they are of a recording that is not there.
    """
    if len(rows) == len(recordings):
        return list(rows)
    table = rows[0].table
    if episode is not None:
        whose = _by_episode(recordings, table, episode)
    elif by is None:
        whose = _in_order(recordings, table)
    elif by[0] == "file":
        whose = _by_file(recordings, table, by[1])
    else:
        raise InputError(
            f"{table.label}: {counted(len(recordings), 'recording')} and one table, and its column {by[1]!r} does not "
            "say which row belongs to which; name the column that does with --episode, or give one --targets for each"
        )
    parts = []
    for index, recording in enumerate(recordings):
        mine = np.flatnonzero(whose == index)
        if not len(mine) and recording.frames > 1 and not events:
            raise InputError(f"{table.label}: no row belongs to {recording.label}; add its rows, or leave it out")
        parts.append(Rows(table.taken(mine)))
    return parts


def _by_episode(recordings: Sequence[Recording], table: Table, column: str) -> Array:
    texts = [text.strip() for text in table.columns[column]]
    named: dict[str, int] = {}
    for index, recording in enumerate(recordings):
        for name in (recording.name, recording.label, *(path.name for path in recording.files[:1])):
            named[name] = index if named.get(name, index) == index else -1
    labels = [recording.label for recording in recordings]
    if not set(texts) <= set(named) and all(text.isdecimal() for text in texts):
        numbers = {int(text) for text in texts}
        if numbers.isdisjoint({0, len(recordings)}):
            raise InputError(
                f"{table.label}: nothing tells whether the column {column!r} counts the {len(recordings)} recordings "
                f"from 0 or from 1, as it has no row of 0 and none of {len(recordings)}; write their names instead: "
                f"{enumerated(labels)}"
            )
        start = 0 if 0 in numbers else 1
        named = {text: int(text) - start for text in texts if int(text) - start < len(recordings)}
    for row, text in enumerate(texts):
        if named.get(text) == -1:
            raise InputError(
                f"{table.at(row)}: several recordings are called {legible(text)!r}; write in the column {column!r} "
                f"which is meant: {enumerated(labels)}"
            )
        if text not in named:
            raise InputError(
                f"{table.at(row)}: the column {column!r} holds {legible(text)!r}, and the recordings are "
                f"{enumerated([recording.name for recording in recordings])} (or 0 to {len(recordings) - 1}); correct "
                "it"
            )
    return np.array([named[text] for text in texts])


def _in_order(recordings: Sequence[Recording], table: Table) -> Array:
    frames = np.array([recording.frames for recording in recordings])
    for counts in (frames, frames - 1):
        if len(table) == counts.sum():
            return np.repeat(np.arange(len(recordings)), counts)
    raise InputError(
        f"{table.label}: {counted(len(table), 'row')} for {counted(len(recordings), 'recording')} of together "
        f"{counted(int(frames.sum()), 'frame')} and {counted(int((frames - 1).sum()), 'step')}; give one row for "
        "each of "
        "either, or match them by columns with --episode and --row-of"
    )


def _by_file(recordings: Sequence[Recording], table: Table, column: str) -> Array:
    known: dict[str, int] = {}
    for index, recording in enumerate(recordings):
        for name in recording.names:
            for spelled in (f"{recording.name}/{name}", name):
                known[spelled] = index if known.get(spelled, index) == index else -1
    whose = np.empty(len(table), np.int64)
    for row, text in enumerate(table.columns[column]):
        path = PurePath(text.strip().replace("\\", "/"))
        found = [known[one] for one in ("/".join(path.parts[-2:]), path.name) if known.get(one, -1) >= 0]
        if not found:
            raise InputError(
                f"{table.at(row)}: {legible(text.strip())!r} is not a picture of any of the "
                f"{counted(len(recordings), 'recording')}; correct the column {column!r}, with the folder before the "
                "name"
            )
        whose[row] = found[0]
    return whose
