"""A matrix as lines of coloured cells for a terminal of any width, in which no word of a name is ever broken."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from citris_cli.show.heat import heat, ink

#: Characters that a number takes with its colour, and the heading of the names of the rows.
CELL, ROWS = 5, "latents of"


def heatmap_lines(
    rows: Sequence[str], columns: Sequence[str], matrix: Sequence[Sequence[float]], width: int
) -> list[Text]:
    """The lines: of one table with the columns' names above it if it is narrow enough, in lines of whole words.

    Else the columns have numbers, which are told below, or there are several tables of some columns each; where
    the names of the rows take more than half of the width as well, they have numbers, too.

    Args:
        rows: one name a row.
        columns: one name a column.
        matrix: values of 0 … 1 [rows, columns]; NaN is shown as a dash.
        width: of the terminal, in characters.
    """
    headings = [_parts(name) for name in columns]
    widths = [max(CELL, *(cell_len(part) + 1 for part in parts)) for parts in headings]
    beside = max(map(cell_len, (ROWS, *rows))) + 1
    told: list[Text] = []
    if beside + sum(widths) > width and (beside + CELL * len(columns) <= width or beside + max(widths) > width):
        numbers = [str(number) for number in range(1, len(columns) + 1)]
        headings, widths = [[number] for number in numbers], [CELL] * len(columns)
        told = _legend("columns", numbers, columns, width)
        if beside > width // 2:
            numbers = [str(number) for number in range(1, len(rows) + 1)]
            told += _legend("rows", numbers, rows, width)
            rows, beside = numbers, cell_len(ROWS) + 1
    lines = []
    for some in _tables(widths, width - beside):
        if some.start > 0:
            lines.append(Text())
        lines += _heading([headings[i] for i in some], [widths[i] for i in some], beside)
        for name, values in zip(rows, matrix, strict=True):
            line = Text(_padded(name, beside))
            for i in some:
                line.append_text(_cell(values[i], widths[i]))
            lines.append(line)
    return [*lines, *told]


def _parts(name: str) -> list[str]:
    """A name in the words that it is made of, each but the first with what parts it from the one before."""
    return re.findall(r"[_\-. ]*[^_\-. ]+(?:[_\-. ]+$)?", name) or [name]


def _tables(widths: Sequence[int], room: int) -> list[range]:
    """The columns in groups that are no wider than the room, or have one column."""
    groups, start = [], 0
    for end in range(1, len(widths) + 1):
        if end == len(widths) or sum(widths[start : end + 1]) > room:
            groups.append(range(start, end))
            start = end
    return groups


def _heading(headings: Sequence[Sequence[str]], widths: Sequence[int], beside: int) -> list[Text]:
    height = max(map(len, headings))
    lines = []
    for number in range(height):
        line = _padded(ROWS if number == height - 1 else "", beside)
        for parts, width in zip(headings, widths, strict=True):
            at = number - height + len(parts)
            line += _padded(parts[at] if at >= 0 else "", width, middle=True)
        lines.append(Text(line.rstrip()))
    return lines


def _cell(value: float, width: int) -> Text:
    left = (width - CELL + 1) // 2
    shown = "  –  " if value != value else f"{value:5.2f}"
    return Text(" " * left + shown + " " * (width - CELL - left), _style(ink(value), heat(value)))


def _style(ink: tuple[int, int, int], background: tuple[int, int, int]) -> str:
    """Rich's spelling of two colours."""
    return f"rgb({','.join(map(str, ink))}) on rgb({','.join(map(str, background))})"


def _padded(text: str, width: int, middle: bool = False) -> str:
    """A text with blanks around it; in the middle its last character but one column is right of it."""
    room = width - cell_len(text)
    left = (room + 1) // 2 if middle else 0
    return " " * left + text + " " * (room - left)


def _legend(what: str, numbers: Sequence[str], names: Sequence[str], width: int) -> list[Text]:
    """What the numbers stand for, in lines that are broken between names alone."""
    lines = [f"{what}:"]
    for number, name in zip(numbers, names, strict=True):
        entry = f" {number} {name}" + ("," if number != numbers[-1] else "")
        if cell_len(lines[-1] + entry) > width:
            lines.append(" ")
        lines[-1] += entry
    return [Text(line) for line in lines]
