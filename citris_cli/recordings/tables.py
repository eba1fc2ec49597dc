"""Tables of what was done: CSV and TSV files with a header, or arrays that lie beside the frames, as named columns."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from citris_cli.data import signatures
from citris_cli.data.layout import MOST_COLUMNS
from citris_cli.errors import InputError
from citris_cli.recordings.recording import Array
from citris_cli.wording import counted, enumerated, legible, reason, size_in_words

#: Larger tables are none that somebody recorded beside frames.
_MAX_BYTES = 4 << 30
_ENCODINGS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))
#: What tables write where they mean yes or no.
_YES_OR_NO = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of R rows each, as they stand.

    Attributes:
        label: what messages call it.
        columns: text, by name, in order; R of them each.
        lines: int64 [R], by which messages call each row: its last line in the file, or its place in an array.
        decimal_comma: whether numbers are written as 1,5.
        notes: sentences on how it was read.
    """

    label: str
    columns: Mapping[str, Sequence[str]]
    lines: Array
    decimal_comma: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def find(self, name: str, option: str) -> str:
        """The column of a name, however its case and blanks are written.

        Args:
            name: that was given.
            option: by which, for the message.

        Raises:
            InputError: there is none.
        """
        if name in self.columns:
            return name
        alike = [column for column in self.columns if _folded(column) == _folded(name)]
        if len(alike) == 1:
            return alike[0]
        near = difflib.get_close_matches(_folded(name), map(_folded, self.columns), 1)
        guess = next(
            (f" (did you mean {column!r}?)" for column in self.columns if near and _folded(column) == near[0]), ""
        )
        raise InputError(
            f"{option}: {self.label} has no column {legible(name)!r}{guess}; it has {enumerated(self.columns)}"
        )

    def at(self, row: int) -> str:
        """What messages call a row, counted from 0."""
        return f"{self.label}, row {self.lines[row]}"

    def is_binary(self, name: str) -> bool:
        """Whether a column holds nothing but 0 and 1."""
        return None not in map(self._bit, set(self.columns[name]))

    def is_nearly_binary(self, name: str) -> bool:
        """Whether a column looks like a target with other cells, no numbers: most are 0 or 1, or all 1 or empty."""
        cells = Counter(text.strip() for text in self.columns[name])
        bits = {text: self._bit(text) for text in cells}
        others = [text for text, bit in bits.items() if bit is None]
        told = sum(count for text, count in cells.items() if bits[text] is not None)
        marks = others == [""] and True in bits.values()
        return bool(others) and (marks or (2 * told > len(self) and not any(map(_is_number, others))))

    def binary(self, name: str) -> Array:
        """A column of 0 and 1 as bool [R].

        Raises:
            InputError: it holds something else, naming the row.
        """
        values = {text: self._bit(text) for text in set(self.columns[name])}
        for text, bit in values.items():
            if bit is None:
                row = self.columns[name].index(text)
                shown = f"{legible(text)!r}" if text.strip() else "nothing"
                raise InputError(
                    f"{self.at(row)}: the column {name!r} holds {shown} where a target needs 0 or 1; correct it, or "
                    "choose other columns with --columns"
                )
        return np.fromiter((values[text] for text in self.columns[name]), bool, len(self))

    def plain(self, text: str) -> str:
        """A cell without blanks around it; a whole number as such: 1 of 1.0 and 01."""
        cell = text.strip()
        number = self._number(cell)
        return str(int(number)) if number.is_integer() else cell

    def _bit(self, text: str) -> bool | None:
        """Whether a cell says yes or no; None if it says something else."""
        return _YES_OR_NO.get(self.plain(text).lower())

    def _number(self, text: str) -> float:
        """The number in a cell; NaN of what is none."""
        try:
            return float(text.replace(",", ".") if self.decimal_comma else text)
        except ValueError:
            return float("nan")

    def numbers(self, name: str) -> Array:
        """A column of numbers as float64 [R].

        Raises:
            InputError: it holds something else, naming the row.
        """
        made = np.empty(len(self))
        for row, text in enumerate(self.columns[name]):
            made[row] = self._number(text)
            if not np.isfinite(made[row]):
                shown = f"{legible(text)!r}" if text.strip() else "nothing"
                raise InputError(
                    f"{self.at(row)}: the column {name!r} holds {shown} where a number is needed; correct it"
                )
        return made

    def whole(self, name: str) -> Array:
        """A column of whole numbers as int64 [R].

        Raises:
            InputError: it holds something else, naming the row.
        """
        numbers = self.numbers(name)
        odd = np.flatnonzero((numbers != np.floor(numbers)) | (np.abs(numbers) > 2**53))
        if len(odd):
            row = int(odd[0])
            raise InputError(
                f"{self.at(row)}: the column {name!r} holds {legible(self.columns[name][row])!r} where a whole number "
                "is needed; correct it"
            )
        return numbers.astype(np.int64)

    def seconds(self, name: str) -> Array:
        """A column of times as seconds, float64 [R]: numbers, or 1:02.5 and 0:01:02.5.

        Raises:
            InputError: it holds something else, naming the row.
        """
        texts = self.columns[name]
        if not any(":" in text for text in texts):
            return self.numbers(name)
        made = np.empty(len(self))
        for row, text in enumerate(texts):
            parts = (text.replace(",", ".") if self.decimal_comma else text).split(":")
            try:
                made[row] = sum(float(part) * 60**power for power, part in enumerate(reversed(parts)))
            except ValueError:
                made[row] = np.nan
            if not np.isfinite(made[row]) or len(parts) > 3:
                raise InputError(
                    f"{self.at(row)}: the column {name!r} holds {legible(text)!r} where a time is needed; write "
                    "seconds, or minutes and seconds such as 1:02.5"
                )
        return made

    def taken(self, rows: Array) -> Table:
        """The same with some of the rows."""
        chosen = rows.tolist()
        columns = {name: [values[row] for row in chosen] for name, values in self.columns.items()}
        return Table(self.label, columns, self.lines[rows], self.decimal_comma)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?[\d.,]+(e[+-]?\d+)?", text) is not None


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


def read_table(path: Path) -> Table:
    """A CSV or TSV file with a header; commas, semicolons or tabs between cells, UTF-8, UTF-16 or Windows' encoding.

    Raises:
        InputError: missing, no table, rows of another length than the header, or names twice.
    """
    text, notes = _text(path)
    lines = text.splitlines()
    header = next((line for line in lines if line.strip()), "")
    separator = max("\t;,", key=header.count)
    if header.count(separator) == 0 and len(header.split()) > 1:
        raise InputError(
            f"{path}: the columns of a table must be separated by commas, semicolons or tabs; save it as CSV"
        )
    rows = _rows(text, separator, path)
    number, names = next(rows, (0, []))
    names = [name.strip() for name in names]
    while names and not names[-1]:
        names.pop()  # a separator at the end of every line
    if not names:
        raise InputError(f"{path}: the table is empty; it needs a header and rows")
    if all(re.fullmatch(r"[\s\d.,+-]*", name) for name in names):
        raise InputError(
            f"{path}: the first line ({enumerated(names, 60)}) holds numbers where the names of the columns are "
            "needed; "
            "add a header"
        )
    if len(names) > MOST_COLUMNS:
        raise InputError(f"{path}: {counted(len(names), 'column')}; at most {MOST_COLUMNS:,} are read")
    for index, name in enumerate(names):
        if not name or name in names[:index]:
            what = f"the name {legible(name)!r} twice" if name else f"no name for column {index + 1}"
            raise InputError(f"{path}: its header has {what}; give every column a name of its own")
    columns: dict[str, list[str]] = {name: [] for name in names}
    filled = list(columns.values())
    numbers: list[int] = []
    for number, cells in rows:
        if len(names) == 1 and numbers and number > numbers[-1] + 1 + cells[0].count("\n"):
            raise InputError(
                f"{path}, row {number - 1}: an empty line in a table of one column may be a row or none; write 0 into "
                "it, or remove it"
            )
        numbers.append(number)
        if len(cells) < len(names) or any(cell.strip() for cell in cells[len(names) :]):
            raise InputError(
                f"{path}, row {number}: {counted(len(cells), 'cell')} under a header of {len(names)}; give every row "
                "as many"
            )
        for column, cell in zip(filled, cells, strict=False):
            column.append(cell)
    if not filled[0]:
        raise InputError(f"{path}: the table has a header and no rows; add a row for each frame or step")
    return Table(str(path), columns, np.array(numbers), decimal_comma=separator == ";", notes=notes)


def _text(path: Path) -> tuple[str, tuple[str, ...]]:
    try:
        if path.is_dir() or not path.is_file():
            raise InputError(f"--targets {path}: this is not a file; name a table in CSV or TSV")
        size = path.stat().st_size
        start = signatures.beginning(path)
        if size > _MAX_BYTES:
            raise InputError(f"{path}: a table of {size_in_words(size)} is too large; leave out what is not needed")
        content = path.read_bytes()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise InputError(f"{path}: the table cannot be read ({why}); check the path") from None
    found = signatures.identify(start)
    if found is not None and found.family not in ("table", "text"):
        what = f"this is {found.name}" if found.name else "the file is empty"
        raise InputError(f"{path}: {what} where a table was expected; save it as CSV or TSV, with a header")
    encoding = next((encoding for mark, encoding in _ENCODINGS if content.startswith(mark)), "utf-8")
    if encoding != "utf-16" and b"\0" in content[:4096]:
        raise InputError(f"{path}: this is not text, and a table was expected; save it as CSV or TSV, with a header")
    try:
        return content.decode(encoding), ()
    except UnicodeDecodeError:
        pass
    note = f"{path}: not in UTF-8, read as Windows' Western European encoding"
    return content.decode("cp1252", errors="replace"), (note,)


def _rows(text: str, separator: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not empty, with the number of their line in the file."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise InputError(
            f"{path}, row {reader.line_num}: not valid CSV ({reason(error)}); correct its quotation marks"
        ) from None


def of_array(label: str, array: Array, names: Sequence[str], found: str) -> Table:
    """An array that lies beside the frames, as a table.

    Args:
        label: what messages call it.
        array: [R] or [R, K] of numbers or text.
        names: of its columns, K; none where nobody knows.
        found: the array's own name, of which names are made then.

    Raises:
        InputError: another shape.
    """
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or not array.size or array.shape[1] > MOST_COLUMNS:
        raise InputError(
            f"{label} has shape {list(array.shape)}; a table needs [rows] or [rows, columns], and at most "
            f"{MOST_COLUMNS} "
            "columns"
        )
    if not names:
        short = found.rsplit("/", 1)[-1]
        names = [short] if array.shape[1] == 1 else [f"{short}_{index}" for index in range(array.shape[1])]
    columns = {name: _texts(array[:, index]) for index, name in enumerate(names)}
    return Table(label, columns, np.arange(len(array)))


def _texts(values: Array) -> list[str]:
    """Values as a table in text would have them."""
    if values.dtype.kind == "b":
        return ["1" if value else "0" for value in values.tolist()]
    texts: dict[Any, str] = {}
    made = []
    for value in values.tolist():
        if value not in texts:
            texts[value] = value.decode(errors="replace") if isinstance(value, bytes) else _plain(value)
        made.append(texts[value])
    return made


def _plain(value: Any) -> str:
    """A number as short as it can be written without loss; text as it is."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
