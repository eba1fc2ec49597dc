"""Which row of a table belongs to which frame of a recording: in order, or by a column of frames, times or files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np

from citris_cli.errors import InputError
from citris_cli.recordings.recording import Array, Recording
from citris_cli.recordings.tables import Table
from citris_cli.wording import counted, enumerated, legible

#: What a column can tell of a row's frame, and names by which it is found if nobody says which column it is.
ROW_OF = {
    "frame": ("frame", "frame_id", "frame_index", "frame_number", "frame_no", "image_index", "index"),
    "time": ("time", "timestamp", "seconds", "t", "time_s", "time_sec", "sec"),
    "file": ("file", "filename", "file_name", "image", "image_file", "picture", "path", "name"),
}
#: Rows this many usual intervals apart have a gap between them.
_GAP = 1.5
#: An intervention this part of an interval before or after a frame is at it, as times are rounded.
_AT = 0.1


@dataclass(frozen=True, eq=False)
class Matched:
    """Which frames the R rows of a table belong to.

    Attributes:
        table: the rows.
        places: int64 [R], the frame of each row, or the step that leads out of that frame.
        rows: int64 [N], the row whose values are those of each frame; -1 where there is none.
        of_steps: whether rows are of steps.
        complete: bool [N], frames that need no row of their own: they have one, or lie where the rows have no gap.
        notes: sentences on what was taken for what.
    """

    table: Table
    places: Array
    rows: Array
    of_steps: bool
    complete: Array
    notes: tuple[str, ...] = ()


def placed(table: Table, places: Array, recording: Recording, of_steps: bool, complete: bool = True) -> Matched:
    """Rows of which each belongs to one frame or step.

    Args:
        table: the rows, R.
        places: int64 [R].
        recording: whose frames they are.
        of_steps: whether rows are of steps.
        complete: whether no other frame needs a row.
    """
    rows = np.full(recording.frames, -1)
    if not of_steps:
        rows[places] = np.arange(len(places))
    return Matched(table, places, rows, of_steps, (rows >= 0) | complete)


def row_column(
    table: Table, row_of: str | None, taken: Sequence[str], recordings: Sequence[Recording]
) -> tuple[str, str] | None:
    """What rows are matched by: of :data:`ROW_OF`, and the column; None for their order.

    Args:
        table: the rows.
        row_of: what was asked for: ``frame``, ``time`` or ``file``, or with the column's name ``file=image_file``; None
            to look for a column of a usual name, or one that holds the names of the frames' files.
        taken: columns that are something else.
        recordings: whose frames the rows are of.

    Raises:
        InputError: there is no such column, or several could be it.
    """
    if row_of is None:
        files = {PurePath(name).name for recording in recordings for name in recording.names}
        known = {name: [_path(text).name in files for text in texts] for name, texts in table.columns.items()}
        for name in table.columns:
            if name not in taken and known[name] and all(known[name]):
                return "file", name
        for kind, names in ROW_OF.items():
            for name in table.columns:
                # Of a column of files most are known, or it is of other files; which are not is said later.
                useful = {
                    "frame": True,
                    "time": recordings[0].times is not None,
                    "file": 2 * sum(known[name]) > len(table),
                }
                if name.lower() in names[:3] and name not in taken and useful[kind]:
                    return kind, name
        return None
    kind, _, named = row_of.partition("=")
    if kind not in ROW_OF:
        raise InputError(f"--row-of {row_of}: write frame, time or file, and after = the column if it has another name")
    if named:
        return kind, table.find(named, f"--row-of {row_of}")
    for name in ROW_OF[kind]:
        found = [column for column in table.columns if column.lower().replace(" ", "_") == name]
        if found:
            return kind, found[0]
    raise InputError(
        f"--row-of {kind}: {table.label} has no column with a name such as {' or '.join(ROW_OF[kind][:2])}; it has "
        f"{enumerated(table.columns)}; name the column: --row-of {kind}=COLUMN"
    )


def first_number(
    tables: Sequence[Table], recordings: Sequence[Recording], by: tuple[str, str] | None, told: int | None
) -> tuple[int, tuple[str, ...]]:
    """The number of a recording's first frame, in a column of frames: the same for all recordings; and notes.

    Args:
        tables: the rows of each recording.
        recordings: in the same order.
        by: what :func:`row_column` found.
        told: by the user, or None: 1 if no row has 0 and one has as many as there are frames, else 0.

    Raises:
        InputError: there is no column of frames, and the user told of its first number.
    """
    if by is None or by[0] != "frame":
        if told is not None:
            raise InputError(
                f"--first-frame {told}: no column has the numbers of frames; name it with --row-of frame=COLUMN"
            )
        return 0, ()
    if told is not None:
        return told, ()
    parts = [(table.whole(by[1]), recording.frames) for table, recording in zip(tables, recordings, strict=True)]
    parts = [(numbers, frames) for numbers, frames in parts if len(numbers)]
    if not parts or min(int(numbers.min()) for numbers, _ in parts) != 1:
        return 0, ()
    label = f"{tables[0].label}: {by[1]!r}"
    for numbers, frames in parts:
        if int(numbers.max()) == frames:
            return 1, (f"{label} counts frames from 1, as its last is {frames:,}",)
    return 0, (
        f"{label} is taken to count frames from 0, of which it has no row; if its first frame is 1, give --first-frame "
        "1",
    )


def match(
    table: Table, recording: Recording, by: tuple[str, str] | None, events: bool, lead: str | None, first: int
) -> Matched:
    """The frames of a recording that rows belong to.

    Args:
        table: rows of this recording.
        recording: its frames.
        by: what :func:`row_column` found.
        events: whether there is a row for each intervention only, not for each frame.
        lead: whether rows are of the step "in" to their frame, or out of it.
        first: what :func:`first_number` found.

    Raises:
        InputError: as many rows as fit nothing, or rows of frames that are not there, or twice.
    """
    if by is not None and not len(table):  # an episode in which nothing was intervened on, or of a single frame
        return placed(table, np.zeros(0, np.int64), recording, False, events)
    if by is None:
        if events:
            raise InputError(
                f"--events: {table.label} has a row for each intervention, and no column says for which frame; name "
                "it with --row-of"
            )
        return _in_order(table, recording)
    kind, column = by
    if kind == "frame":
        places = _by_number(table, recording, column, first)
    elif kind == "file":
        places = _by_file(table, recording, column)
    else:
        return _by_time(table, recording, column, events, lead)
    if recording.missing:  # rows of what was cut off
        kept = np.flatnonzero((places >= 0) & (places < recording.frames))
        table, places = table.taken(kept), places[kept]
    if not events:
        _require_once(table, places, column)
    return placed(table, places, recording, False, events)


def _in_order(table: Table, recording: Recording) -> Matched:
    rows, frames, episodes = len(table), recording.frames, len(recording.lengths)
    if rows == frames:
        return placed(table, np.arange(frames), recording, False)
    if rows == frames - 1:
        return placed(table, np.arange(rows), recording, True)
    if rows == frames - episodes:
        inside = np.concatenate([np.arange(span.start, span.stop - 1) for span in recording.spans()])
        return placed(table, inside, recording, True)
    fit = f"{frames - 1:,} (one for each step) or {frames:,} (one for each frame)"
    adjust = "add the rows that are missing" if rows < frames else "remove the rows that belong to no frame"
    raise InputError(
        f"{table.label}: {counted(rows, 'row')}, and {recording.label} has {counted(frames, 'frame')}, which need "
        f"{fit}; {adjust}, or match rows by a column with --row-of"
    )


def _by_number(table: Table, recording: Recording, column: str, first: int) -> Array:
    frames, places = recording.frames, table.whole(column) - first
    outside = np.flatnonzero((places < 0) | (places >= frames))
    if len(outside) and not recording.missing:
        row = int(outside[0])
        raise InputError(
            f"{table.at(row)}: {column!r} is {table.columns[column][row].strip()}, and {recording.label} has "
            f"{counted(frames, 'frame')}, {first:,} to {first + frames - 1:,}; correct it, or check that the table "
            "belongs to this recording"
        )
    return places


def _by_file(table: Table, recording: Recording, column: str) -> Array:
    if not recording.names:
        raise InputError(
            f"--row-of file: the frames of {recording.label} are not files of their own; match rows by frame or time"
        )
    known: dict[str, int] = {}
    for number, name in enumerate(recording.names):
        # In the folder, in the recording's own folder, and without the ending, if that is enough to tell them apart.
        for spelled in (name, f"{recording.name}/{name}", str(PurePath(name).with_suffix(""))):
            known[spelled] = number if known.get(spelled, number) == number else -1
    places = np.empty(len(table), np.int64)
    for row, text in enumerate(table.columns[column]):
        path = _path(text)
        number = known.get(str(path), known.get(path.name, -1))
        if number < 0:
            raise InputError(
                f"{table.at(row)}: there is no picture {legible(text.strip())!r} in {recording.label}; correct the "
                f"column {column!r}, or check that the table belongs to these pictures"
            )
        places[row] = number
    return places


def _by_time(table: Table, recording: Recording, column: str, events: bool, lead: str | None) -> Matched:
    if recording.times is None:
        raise InputError(
            f"--row-of time: it is not known when the frames of {recording.label} were taken; match rows by frame or "
            "file"
        )
    times, rows = recording.times, table.seconds(column)
    interval = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    if recording.missing:  # rows of what was cut off
        kept = np.flatnonzero(rows <= times[-1] + interval / 2)
        table, rows = table.taken(kept), rows[kept]
        if not len(kept):
            return placed(table, kept, recording, False, events)
    outside = np.flatnonzero((rows < times[0] - interval) | (rows > times[-1] + interval))
    if len(outside):
        row = int(outside[0])
        raise InputError(
            f"{table.at(row)}: {column!r} is {table.columns[column][row].strip()}, and {recording.label} lasts from "
            "0 to "
            f"{times[-1]:.2f} seconds; give seconds from its first frame on"
        )
    if events:
        places = _of_moments(rows, times, interval * _AT, lead)
        shown = np.flatnonzero((places >= 0) & (places < len(times)))
        matched = placed(table.taken(shown), places[shown], recording, False)
        if not (lost := len(places) - len(shown)):
            return matched
        note = (
            f"{table.label}: {counted(lost, 'row')} before the first frame of {recording.label} or after its last; no "
            f"step shows {'it' if lost == 1 else 'them'}, so left out"
        )
        return replace(matched, notes=(note,))
    places = _nearest(rows, times)
    complete = np.zeros(len(times), bool)
    complete[places] = True
    if len(rows) > 1:
        # A frame between two rows as close as most has none of its own because it comes more often than they do.
        in_order = np.sort(rows)
        usual = max(float(np.median(np.diff(in_order))), interval) * _GAP
        after = np.searchsorted(in_order, times)
        inside = (after > 0) & (after < len(rows))
        gap = in_order[np.minimum(after, len(rows) - 1)] - in_order[np.maximum(after - 1, 0)]
        complete |= inside & (gap <= usual)
    order = np.argsort(rows, kind="stable")
    nearest = np.where(complete, order[_nearest(times, rows[order])], -1)
    joined = len(places) - len(np.unique(places))
    notes: tuple[str, ...] = ()
    if joined:
        notes = (
            f"{table.label}: {counted(len(rows), 'row')} for {counted(len(times), 'frame')}; rows that are nearest "
            "to the "
            "same frame are joined, and its targets are 1 if one of theirs is",
        )
    return Matched(table, places, nearest, False, complete, notes)


def _path(text: str) -> PurePath:
    """A cell that names a file, perhaps as Windows writes it."""
    return PurePath(text.strip().replace("\\", "/"))


def _of_moments(moments: Array, times: Array, near: float, lead: str | None) -> Array:
    """The frames whose steps hold moments: what is done between two frames is of the step from one to the other.

    Only of what is done at a frame, or `near` it, `lead` tells which of two steps it is. Beyond the first and the last
    frame are -1 and len(times).
    """
    if lead == "in":
        return np.searchsorted(times, moments - near)
    return np.searchsorted(times, moments + near, side="right") - 1


def _nearest(values: Array, among: Array) -> Array:
    """For each value, the number of the nearest of some that rise."""
    after = np.clip(np.searchsorted(among, values), min(1, len(among) - 1), len(among) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(values - among[before] <= among[after] - values, before, after)


def _require_once(table: Table, places: Array, column: str) -> None:
    order = np.argsort(places, kind="stable")
    twice = np.flatnonzero(np.diff(places[order]) == 0)
    if len(twice):
        first, second = (int(order[twice[0] + step]) for step in (0, 1))
        raise InputError(
            f"{table.at(second)}: {column!r} is {table.columns[column][second].strip()}, as in row "
            f"{table.lines[first]}; give each frame one row, or say with --events that there is one for each "
            "intervention"
        )
