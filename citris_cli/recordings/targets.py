"""Intervention targets and true values of recordings, read off tables: a row of each for every frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from citris_cli.data.paths import natural_key
from citris_cli.errors import InputError
from citris_cli.recordings.matching import Matched, first_number, match, placed, row_column
from citris_cli.recordings.recording import Array, Recording
from citris_cli.recordings.rows import find_rows, parted, rows_of_episodes
from citris_cli.recordings.tables import Table
from citris_cli.wording import counted, enumerated, legible

#: Names of columns that tell episodes.
_EPISODE = ("episode", "episode_id", "episode_index", "trial", "run")
#: What a cell that names no variable holds.
_NONE = ("", "0", "none", "nan", "null")


@dataclass(frozen=True)
class Reading:
    """What tables hold, as the user told.

    Attributes:
        targets: tables, or keys of the sources; one for all recordings, or one each.
        columns: of the targets; with `one_of`, the variables' names. None: all that hold only 0 and 1.
        one_of: the column that names the variable that was intervened on, or None.
        row_of: what rows are matched by, see :func:`citris_cli.recordings.matching.row_column`.
        first_frame: number of the first frame where rows are matched by frame, or None to find it.
        episode: the column that tells a row's recording, or None.
        lead: whether a row is of the step "in" to its frame or "out" of it; None: out, which is said.
        truth: columns of true values, or keys of the sources.
        events: whether there is a row for each intervention only.
    """

    targets: tuple[str, ...] = ()
    columns: tuple[str, ...] | None = None
    one_of: str | None = None
    row_of: str | None = None
    first_frame: int | None = None
    episode: str | None = None
    lead: str | None = None
    truth: tuple[str, ...] = ()
    events: bool = False


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known of the frames of one recording.

    Attributes:
        lengths: frames of each episode.
        counts: uint8 [N, K], how many interventions on each variable the rows tell of in the step out of each frame.
        truth: float32 [N, F]; no columns where there are none.
        has_row: bool [N], whether a row tells of the frame, or of the step at it.
        has_truth: bool [N], whether a row tells of the frame's true values.
        first: how many frames at the beginning of an episode need no row: 1 where rows are of the step into theirs.
        label: of the table.
    """

    lengths: tuple[int, ...]
    counts: Array
    truth: Array
    has_row: Array
    has_truth: Array
    first: int
    label: str

    def require(self, used: range, recording: Recording) -> None:
        """Refuse frames that are used and have no row.

        Args:
            used: the frames of an episode that are used.
            recording: whose they are.

        Raises:
            InputError: it names how many, and the first.
        """
        without = ~self.has_row[used.start : used.stop]
        without[0 if self.first else -1] = False  # no step leads into the first, none out of the last
        if self.truth.shape[1]:
            without = without | ~self.has_truth[used.start : used.stop]
        if without.any():
            first = used.start + int(np.argmax(without))
            called = f"{first:,}" + (f" ({recording.names[first]})" if recording.names else "")
            raise InputError(
                f"{self.label}: {counted(int(without.sum()), 'frame')} of {recording.label} "
                f"{'has' if without.sum() == 1 else 'have'} no row, the first of them frame {called}; add their rows, "
                "say with --events that there is a row for each intervention only, or leave them out with --from and "
                "--to"
            )


@dataclass(frozen=True, eq=False)
class Told:
    """What tables tell of all recordings.

    Attributes:
        variables: names of the K targets.
        factors: names of the F true values.
        labels: of each recording.
        files: the tables that were read.
        notes: sentences on what was taken for what.
    """

    variables: tuple[str, ...]
    factors: tuple[str, ...]
    labels: tuple[Labels, ...]
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def read_targets(recordings: Sequence[Recording], reading: Reading) -> Told:
    """Targets and true values of recordings.

    Args:
        recordings: in order.
        reading: what the user told of the tables.

    Raises:
        InputError: a table, a column or a key is missing, or holds what it should not; rows that belong to no frame.
    """
    given = find_rows(recordings, reading.targets, reading.columns if reading.one_of is None else None)
    tables = list({id(rows.table): rows.table for rows in given.rows}.values())
    columns = _Columns(tables, recordings, reading)
    notes = [*given.notes, *(note for table in tables for note in table.notes), *columns.notes]
    labels = []
    parts = parted(recordings, given.rows, columns.episode, columns.rows_by, reading.events)
    first, of_first = first_number([rows.table for rows in parts], recordings, columns.rows_by, reading.first_frame)
    notes += of_first
    for recording, rows in zip(recordings, parts, strict=True):
        if rows.places is None:
            matched = match(rows.table, recording, columns.rows_by, reading.events, reading.lead, first)
        else:
            if reading.events:
                raise InputError(
                    f"--events: {rows.table.label} has a row for each {'step' if rows.of_steps else 'frame'}; leave it "
                    "out"
                )
            matched = placed(rows.table, rows.places, recording, rows.of_steps)
        lengths = recording.lengths
        if (
            len(given.rows) == len(recordings) and columns.episode is not None
        ):  # a table of each, which it parts further
            lengths = _episodes(matched, recording, columns.episode)
        recording = replace(recording, lengths=lengths)
        notes += [*matched.notes, *_of_lead(matched, columns, recording, reading.lead)]
        if reading.events:
            notes += _of_no_step(matched, columns, recording, reading.lead)
        labels.append(_labels(matched, recording, columns, reading.lead))
    notes = list(dict.fromkeys(notes))
    return Told(tuple(columns.variables), tuple(columns.factors), tuple(labels), given.files, tuple(notes))


def _episodes(matched: Matched, recording: Recording, column: str) -> tuple[int, ...]:
    """Frames of each episode, by a column that holds the same in all rows of one."""
    table = matched.table
    if len({text.strip() for text in table.columns[column]}) < 2:
        return recording.lengths
    if matched.of_steps or len(table) != recording.frames:
        raise InputError(
            f"--episode {column}: {table.label} has {counted(len(table), 'row')}, and {recording.label} "
            f"{counted(recording.frames, 'frame')}; it needs a row for each frame"
        )
    values = np.empty(recording.frames, dtype=object)
    values[matched.places] = [text.strip() for text in table.columns[column]]
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    lengths = tuple(np.diff(ends, prepend=-1).tolist())
    if len(lengths) > len(set(values.tolist())):
        raise InputError(
            f"--episode {column}: the rows of {table.label} go back to an episode that had ended; sort them, or name "
            "another column"
        )
    return lengths


class _Columns:
    """Which columns of some tables are what: the same in each of them.

    Attributes:
        variables: names of the targets.
        factors: names of the true values.
        rows_by: see :func:`row_column`.
        notes: sentences on what was taken for what.
    """

    def __init__(self, tables: Sequence[Table], recordings: Sequence[Recording], reading: Reading) -> None:
        first = tables[0]
        self._reading = reading
        self.one_of = None if reading.one_of is None else first.find(reading.one_of, "--one-of")
        self.episode = None if reading.episode is None else first.find(reading.episode, "--episode")
        # A column of the table, else an array of its own beside the frames.
        beside = [name for name in reading.truth if name not in first.columns and name in recordings[0].keys]
        self._own = [first.find(name, "--truth") for name in reading.truth if name not in beside]
        self._beside = [(name, _names_of(recordings[0], name)) for name in beside]
        self.factors = [*self._own, *(name for _, names in self._beside for name in names)]
        apart = [name for name in (self.one_of, self.episode) if name is not None]
        named = [] if reading.columns is None or self.one_of else list(reading.columns)
        self.rows_by = row_column(first, reading.row_of, (*apart, *named, *self._own), recordings)
        self.notes: list[str] = []
        if self.rows_by is not None:
            apart.append(self.rows_by[1])
            if reading.row_of is None:
                self.notes.append(
                    f"{first.label}: rows are matched with frames by {self.rows_by[1]!r} (--row-of {self.rows_by[0]})"
                )
        for table in tables[1:]:
            for name in (*apart, *self._own):
                if name not in table.columns:
                    raise InputError(f"{table.label} has no column {name!r}, as {first.label} has; give it one")
        self._tables = tables
        if self.one_of is not None:
            self.variables = self._named()
        elif reading.columns is not None:
            self.variables = [first.find(name, "--columns") for name in reading.columns]
        else:
            self.variables = self._binary(apart)
        for table in tables:
            for name in () if self.one_of else self.variables:
                if name not in table.columns:
                    raise InputError(f"{table.label} has no column {name!r}, as {first.label} has; give it one")
        used = {*apart, *self._own, *([] if self.one_of else self.variables)}
        if unused := [name for name in first.columns if name not in used]:
            self.notes.append(f"{first.label}: not used: {enumerated(unused)}")

    def _binary(self, apart: Sequence[str]) -> list[str]:
        first = self._tables[0]
        if self.episode is None and (alike := [name for name in first.columns if name.lower() in _EPISODE]):
            apart = [*apart, *alike]
            self.notes.append(
                f"{first.label}: {alike[0]!r} is read as no target; if it holds the episode of each row, give "
                f"--episode {alike[0]}"
            )
        found = [
            name
            for name in first.columns
            if name not in (*apart, *self._own)
            and all(name in table.columns and table.is_binary(name) for table in self._tables)
        ]
        for name in first.columns:
            if name in (*apart, *self._own):
                continue
            for table in self._tables:
                if name not in table.columns:
                    if first.is_binary(name):
                        raise InputError(f"{table.label} has no column {name!r}, as {first.label} has; give it one")
                elif table.is_nearly_binary(name):
                    table.binary(name)  # which says what is wrong
        if not found:
            raise InputError(
                f"{first.label}: no column holds only 0 and 1; name the targets with --columns, or with --one-of the "
                f"column that names the variable that was intervened on (it has {enumerated(first.columns)})"
            )
        self.notes.append(f"{first.label}: targets are {enumerated(found)}, the columns that hold only 0 and 1")
        return found

    @cached_property
    def _values(self) -> dict[str, str]:
        """The variable that a value of the column `one_of` names; "" for none."""
        column = self.one_of or ""
        texts = {text for table in self._tables for text in set(table.columns[column])}
        cells = {text: self._tables[0].plain(text) for text in texts}
        for cell in cells.values():
            if re.fullmatch(r"-\d+", cell):
                raise InputError(
                    f"{self._place(cell)}: the column {column!r} holds {cell} where the number of a variable is "
                    "needed; count variables from 1, and write 0 or nothing for none"
                )
        real = sorted(
            {cell for cell in cells.values() if cell.lower() not in _NONE}, key=lambda c: natural_key(Path(c))
        )
        numbered = bool(real) and all(cell.isdecimal() for cell in real)
        names = self._reading.columns
        if numbered:
            called = {cell: f"{column}_{cell}" for cell in real}
            if names is not None:
                called = {cell: names[int(cell) - 1] for cell in real if 1 <= int(cell) <= len(names)}
        else:
            called = {cell: cell for cell in real if names is None or cell in names}
        for cell in real:
            if cell not in called:
                raise InputError(
                    f"{self._place(cell)}: the column {column!r} holds {legible(cell)!r}, which --columns "
                    f"({enumerated(names or ())}) does not have; correct one of the two"
                )
        return {text: called.get(cell, "") for text, cell in cells.items()}

    def _place(self, cell: str) -> str:
        """What messages call the first row that has this in the column `one_of`."""
        column = self.one_of or ""
        for table in self._tables:
            for row, text in enumerate(table.columns[column]):
                if table.plain(text) == cell:
                    return table.at(row)
        return self._tables[0].label

    def _named(self) -> list[str]:
        found = list(dict.fromkeys(name for name in self._values.values() if name))
        if self._reading.columns is not None:
            return list(self._reading.columns)
        if not found:
            raise InputError(
                f"{self._tables[0].label}: the column {self.one_of!r} never names a variable; choose another with "
                "--one-of"
            )
        found.sort(key=lambda name: natural_key(Path(name)))
        self.notes.append(f"{self._tables[0].label}: {self.one_of!r} names {enumerated(found)}")
        return found

    def targets(self, table: Table) -> Array:
        """Bool [R, K] of a table."""
        if self.one_of is None:
            return np.stack([table.binary(name) for name in self.variables], axis=1)
        place = {name: index for index, name in enumerate(self.variables)}
        numbers = {text: place.get(name, -1) for text, name in self._values.items()}
        chosen = np.fromiter((numbers[text] for text in table.columns[self.one_of]), np.int64, len(table))
        return chosen[:, None] == np.arange(len(self.variables))

    def truth(self, matched: Matched, recording: Recording) -> tuple[Array, Array]:
        """Float32 [N, F] of a recording, and bool [N] of the frames whose values are known."""
        table, frames = matched.table, recording.frames
        values, known = np.zeros((frames, len(self.factors)), np.float32), np.ones(frames, bool)
        if self._own:
            if matched.of_steps:
                raise InputError(
                    f"--truth: {table.label} has a row for each step, and true values need one for each frame; add the "
                    "row of the last frame, or leave --truth out"
                )
            known = matched.rows >= 0
            told = np.stack([table.numbers(name) for name in self._own], axis=1)
            _require_float32(told, table.label)
            values[known, : len(self._own)] = told[matched.rows[known]]
        start = len(self._own)
        for name, names in self._beside:
            told = _beside(recording, name, len(names))
            _require_float32(told, recording.label)
            values[:, start : start + len(names)] = told
            start += len(names)
        return values, known


def _require_float32(values: Array, label: str) -> None:
    largest = float(np.max(np.abs(values.astype(np.float64)), initial=0))
    if largest > float(np.finfo(np.float32).max):
        raise InputError(f"--truth: {label} holds {largest:g}, larger than float32 takes; give it in another unit")


def _names_of(recording: Recording, key: str) -> list[str]:
    """Names of the columns of an array that lies beside the frames."""
    columns = _flat(recording, key, recording.keys[key]()).shape[1]
    if columns == 1:
        return [key.rsplit("/", 1)[-1]]
    return list(recording.described.get(columns, ())) or [f"{key.rsplit('/', 1)[-1]}_{i}" for i in range(columns)]


def _beside(recording: Recording, key: str, columns: int) -> Array:
    """Values [N, columns] of an array that lies beside the frames."""
    if key not in recording.keys:
        raise InputError(f"--truth: {recording.label} has no {key!r}, as the other sources have; give it one")
    values = _flat(recording, key, recording.keys[key]())
    if values.shape != (recording.frames, columns) or values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise InputError(
            f"--truth: {recording.label}: {key!r} holds {values.dtype} of shape {list(values.shape)}; it needs finite "
            f"numbers [{recording.frames}, {columns}], a row for each frame"
        )
    return values


def _flat(recording: Recording, key: str, array: Array) -> Array:
    """An array [N], [N, F] or [E, T, F] as [N, F]."""
    if array.ndim == 3:
        array = array.reshape(-1, array.shape[-1])[rows_of_episodes(array.shape[:2], recording, 0)]
    return array[:, None] if array.ndim == 1 else array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)


def _labels(matched: Matched, recording: Recording, columns: _Columns, lead: str | None) -> Labels:
    targets, truth = columns.targets(matched.table), columns.truth(matched, recording)
    counts = np.zeros((recording.frames, targets.shape[1]), np.int64)
    np.add.at(counts, matched.places, targets)
    first = int(lead == "in" and not matched.of_steps)
    if first:
        counts = np.roll(counts, -1, axis=0)
    for span in recording.spans():
        counts[span.stop - 1] = 0
    counts = np.minimum(counts, 255).astype(np.uint8)
    values, known = truth
    return Labels(recording.lengths, counts, values, matched.complete, known, first, matched.table.label)


def _of_lead(matched: Matched, columns: _Columns, recording: Recording, lead: str | None) -> tuple[str, ...]:
    """What the user should know of rows that are of frames, or why they cannot be chosen."""
    label = matched.table.label
    if matched.of_steps:
        if lead is not None:
            raise InputError(
                f"--lead {lead}: {label} has a row for each step, which leaves nothing to choose; leave it out"
            )
        return ()
    if lead is not None:
        return ()
    targets: list[bool] = np.any(columns.targets(matched.table), axis=1).tolist()
    first = {span.start for span in recording.spans()}
    last = {span.stop - 1 for span in recording.spans()}
    places = matched.places.tolist()
    at_last = any(told and place in last for place, told in zip(places, targets, strict=True))
    at_first = any(told and place in first for place, told in zip(places, targets, strict=True))
    if at_last and not at_first:
        return (
            f"{label}: interventions in the last row and none in the first: the rows look as if they were of the step "
            "into their frame; they are read as of the step out of it, --lead in reads them so",
        )
    return (f"{label}: a row is taken for the step out of its frame; if it is of the step into it, give --lead in",)


def _of_no_step(matched: Matched, columns: _Columns, recording: Recording, lead: str | None) -> tuple[str, ...]:
    """What the user should know of interventions at the end of an episode where there is no step of theirs."""
    into = lead == "in"
    edges = [span.start if into else span.stop - 1 for span in recording.spans()]
    lost = int((columns.targets(matched.table).any(axis=1) & np.isin(matched.places, edges)).sum())
    if not lost:
        return ()
    edge, way = ("first", "into") if into else ("last", "out of")
    where = f"{recording.label} at the {edge} frame of an episode, which no step leads {way}"
    return (f"{matched.table.label}: {counted(lost, 'row')} of {where}, so left out",)
