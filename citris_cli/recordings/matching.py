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
        for name, texts in table.columns.items():
            if files and name not in taken and all(PurePath(text.strip()).name in files for text in texts):
                return "file", name
        for kind, names in ROW_OF.items():
            found = [name for name in table.columns if name.lower() in names[:3] and name not in taken]
            useful = kind == "frame" or (kind == "time" and recordings[0].times is not None)
            if found and useful and not table.is_binary(found[0]):
                return kind, found[0]
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
        f"--row-of {kind}: {table.label} has no column of a name such as {' or '.join(ROW_OF[kind][:2])}; it has "
        f"{enumerated(table.columns)}; name the column: --row-of {kind}=COLUMN"
    )


def match(table: Table, recording: Recording, by: tuple[str, str] | None, events: bool) -> Matched:
    """The frames of a recording that rows belong to.

    Args:
        table: rows of this recording.
        recording: its frames.
        by: what :func:`row_column` found.
        events: whether there is a row for each intervention only, not for each frame.

    Raises:
        InputError: as many rows as fit nothing, or rows of frames that are not there, or twice.
    """
    if by is None:
        if events:
            raise InputError(
                f"--events: {table.label} has a row for each intervention, and no column tells of which frame; name it "
                "with --row-of"
            )
        return _in_order(table, recording)
    kind, column = by
    notes: tuple[str, ...]
    if kind == "frame":
        places, notes = _by_number(table, recording, column)
    elif kind == "file":
        places, notes = _by_file(table, recording, column), ()
    else:
        return _by_time(table, recording, column, events)
    if recording.missing:  # rows of what was cut off
        kept = np.flatnonzero((places >= 0) & (places < recording.frames))
        table, places = table.taken(kept), places[kept]
    if not events:
        _require_once(table, places, column)
    return replace(placed(table, places, recording, False, events), notes=notes)


def _in_order(table: Table, recording: Recording) -> Matched:
    rows, frames, episodes = len(table), recording.frames, len(recording.lengths)
    if rows == frames:
        return placed(table, np.arange(frames), recording, False)
    if rows == frames - 1:
        return placed(table, np.arange(rows), recording, True)
    if rows == frames - episodes:
        inside = np.concatenate([np.arange(span.start, span.stop - 1) for span in recording.spans()])
        return placed(table, inside, recording, True)
    fit = f"{frames - 1:,} (one a step) or {frames:,} (one a frame)"
    raise InputError(
        f"{table.label}: {counted(rows, 'row')}, and {recording.label} has {counted(frames, 'frame')}, which need "
        f"{fit}; "
        "add the rows that are missing, or match rows by a column with --row-of"
    )


def _by_number(table: Table, recording: Recording, column: str) -> tuple[Array, tuple[str, ...]]:
    numbers, frames = table.whole(column), recording.frames
    notes: tuple[str, ...] = ()
    if int(numbers.min()) >= 1 and int(numbers.max()) == frames:
        numbers = numbers - 1
        notes = (f"{table.label}: {column!r} counts frames from 1, as its last is {frames:,}",)
    outside = np.flatnonzero((numbers < 0) | (numbers >= frames))
    if len(outside) and not recording.missing:
        row = int(outside[0])
        raise InputError(
            f"{table.at(row)}: {column!r} is {table.columns[column][row].strip()}, and {recording.label} has "
            f"{counted(frames, 'frame')}, 0 to {frames - 1:,}; correct it, or check that the table belongs to this "
            "recording"
        )
    return numbers, notes


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
        path = PurePath(text.strip().replace("\\", "/"))
        number = known.get(str(path), known.get(path.name, -1))
        if number < 0:
            raise InputError(
                f"{table.at(row)}: there is no picture {legible(text.strip())!r} in {recording.label}; correct the "
                f"column {column!r}, or check that the table belongs to these pictures"
            )
        places[row] = number
    return places


def _by_time(table: Table, recording: Recording, column: str, events: bool) -> Matched:
    if recording.times is None:
        raise InputError(
            f"--row-of time: nothing tells when the frames of {recording.label} were taken; match rows by frame or file"
        )
    times, rows = recording.times, table.seconds(column)
    interval = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    if recording.missing:  # rows of what was cut off
        kept = np.flatnonzero(rows <= times[-1] + interval / 2)
        table, rows = table.taken(kept), rows[kept]
    outside = np.flatnonzero((rows < times[0] - interval) | (rows > times[-1] + interval))
    if len(outside):
        row = int(outside[0])
        raise InputError(
            f"{table.at(row)}: {column!r} is {table.columns[column][row].strip()}, and {recording.label} lasts from "
            "0 to "
            f"{times[-1]:.2f} seconds; give seconds from its first frame on"
        )
    places = _nearest(rows, times)
    complete = np.zeros(len(times), bool)
    complete[places] = True
    if events:
        complete[:] = True
    elif len(rows) > 1:
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
            f"{first + table.first}; give each frame one row, or say with --events that there is one for each "
            "intervention"
        )
