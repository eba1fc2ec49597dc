"""Notes, tables and progress on standard error; results on standard output."""

from __future__ import annotations

import codecs
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from citris_cli.system import name_bytes
from citris_cli.wording import shortened, visible

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

#: Seconds between the plain lines of a progress that no terminal shows: the first soon, then now and then.
FIRST_LINE, LATER_LINES = 5.0, 30.0
#: Most characters of a note: more than of an error, for it may hold a command to copy.
MOST_NOTED = 1000
#: Name of what is done with a character that the encoding of an output does not have; see :func:`say_all`.
STAND_IN = "citris.stand-in"
#: Characters that the commands say and code pages lack, in ASCII.
_IN_ASCII = {"…": "...", "→": "->", "–": "-", "—": "-", "·": "-", "×": "x", "²": "2", "±": "+-", "≥": ">=", "ψ": "psi"}


def say_all() -> None:
    """Let nothing that is said fail for the encoding of standard output and standard error.

    A character that the encoding does not have is said in ASCII, such as ``...`` or ``\\xe9``; a byte of a result's
    name that is no text in the system's encoding is written as that byte. What is binary (``-o -``) does not come this
    way.
    """
    codecs.register_error(STAND_IN, _stand_in)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where something of another kind was put in its place
            stream.reconfigure(errors=STAND_IN)


def _stand_in(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    said = b""
    for character in error.object[error.start : error.end]:
        if "\udc80" <= character <= "\udcff":  # how Python writes a byte of a name that it cannot decode
            said += bytes([ord(character) - 0xDC00])
        else:
            said += _IN_ASCII.get(character, character).encode("ascii", "backslashreplace")
    return said, error.end


def _is_terminal(stream: TextIO | None = None) -> bool:
    try:
        return (stream or sys.stderr).isatty()
    except (AttributeError, ValueError):  # closed or replaced
        return False


def _line(text: str) -> None:
    # A reader of standard error that went away must not end hours of training.
    with suppress(OSError, ValueError):
        print(visible(text), file=sys.stderr, flush=True)


def _terminal() -> RichConsole:
    """Standard error as Rich draws on it; in names, ``[red]``, ``[link=…]`` and ``:smile:`` are text to it."""
    from rich.console import Console as RichConsole

    return RichConsole(stderr=True, markup=False, emoji=False)


class Console:
    """Where a command speaks: :meth:`result` on standard output, all else on standard error.

    Names may come from any file: what would act on a terminal is shown as :func:`~citris_cli.wording.visible` has it.
    """

    def note(self, text: str) -> None:
        """One line that the user may want to know."""
        _line(shortened(visible(text), MOST_NOTED))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table of strings: drawn on a terminal that is wide enough, aligned plain text elsewhere."""
        from rich.cells import cell_len

        title, columns, rows = visible(title), _visible(columns), [_visible(row) for row in rows]
        widths = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
        if _is_terminal():
            from rich.table import Table

            terminal = _terminal()
            if sum(widths) + 3 * len(widths) + 1 <= terminal.width:  # each between two blanks and two lines
                table = Table(title=title, title_justify="left")
                for index, column in enumerate(columns):
                    table.add_column(column, justify="left" if index == 0 else "right")
                for row in rows:
                    table.add_row(*row)
                terminal.print(table)
                return
        _line(title)
        for row in (columns, *rows):
            blanks = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
            cells = [row[0] + blanks[0], *(blank + cell for cell, blank in zip(row[1:], blanks[1:], strict=True))]
            _line(("  " + "  ".join(cells)).rstrip())

    def heatmap(
        self, title: str, rows: Sequence[str], columns: Sequence[str], matrix: Sequence[Sequence[float]]
    ) -> None:
        """A matrix with entries of 0 … 1 as a table: cells coloured by value on a terminal, aligned numbers elsewhere.

        Args:
            title: above the table; the first column's heading is "latents of".
            rows: one name a row.
            columns: one name a column.
            matrix: values [rows, columns]; NaN is shown as a dash.
        """
        if not _is_terminal():
            self.table(title, ["latents of", *columns], [[n, *as_cells(v)] for n, v in zip(rows, matrix, strict=True)])
            return
        from citris_cli.show.heatmap import heatmap_lines

        terminal = _terminal()
        for line in (visible(title), *heatmap_lines(_visible(rows), _visible(columns), matrix, terminal.width)):
            terminal.print(line, soft_wrap=True, highlight=False, style="italic" if line is title else "")

    def result(self, said: str | Path) -> None:
        """One line of the command's result.

        Args:
            said: the line; or a path, of which the bytes of its name are written whatever the output's encoding, so
                that ``model=$(citris …)`` names the very file. On a terminal, where nobody but eyes reads it, it is
                visible as all else.

        Raises:
            BrokenPipeError: the reader went away.
        """
        if isinstance(said, Path):
            name = None if _is_terminal(sys.stdout) else name_bytes(said)
            encoding = getattr(sys.stdout, "encoding", None)  # what was put in its place may have none
            text = visible(str(said)) if name is None or not encoding else name.decode(encoding, "surrogateescape")
        else:
            text = "\n".join(map(visible, said.split("\n")))  # a document in JSON may have several lines
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


class Progress:
    """Progress of a long work: a live display on a terminal, a plain line now and then elsewhere.

    Args:
        total: number of steps.
        title: what is being done.
        unit: what a step handles, for the rate ("frames", "pairs").
        step: what a step is called.
        beside: the progress of another work that goes on, below which this one is shown.
    """

    def __init__(self, total: int, title: str, unit: str, step: str = "step", beside: Progress | None = None) -> None:
        self._beside = beside
        self._step = step
        self._total = total
        self._title = visible(title)
        self._unit = unit
        self._rich: RichProgress | None = None
        self._task: TaskID | None = None
        self._first_step: int | None = None

    def __enter__(self) -> Progress:
        self._started = time.monotonic()
        self._next_line = self._started + FIRST_LINE
        if not _is_terminal():
            _line(f"{self._title}: {self._total:,} {self._step}s")
            return self
        if self._beside is not None and self._beside._rich is not None:
            self._rich = self._beside._rich
            self._task = self._rich.add_task(self._title, total=self._total, rate="", losses="")
            return self
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._rich = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TextColumn("{task.fields[losses]}", markup=False),
            TimeRemainingColumn(),
            console=_terminal(),
        )
        self._rich.start()
        self._task = self._rich.add_task(self._title, total=self._total, rate="", losses="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rich is not None and self._beside is None:
            self._rich.stop()

    def update(self, step: int, rate_per_second: float, losses: Mapping[str, float]) -> None:
        """Show the state of the work.

        Args:
            step: steps done.
            rate_per_second: units a second.
            losses: current losses by name.
        """
        rate = f"{rate_per_second:,.{0 if rate_per_second >= 10 else 1}f} {self._unit}/s"
        shown = visible("  ".join(f"{name} {value:.4g}" for name, value in losses.items() if name != "gradient_norm"))
        if self._rich is not None and self._task is not None:
            if self._first_step is None and step > 1:
                self._rich.reset(self._task, completed=step)  # a resumed run: its rate starts here
            self._first_step = step
            with suppress(OSError, ValueError):
                self._rich.update(self._task, completed=step, rate=rate, losses=shown)
            return
        now = time.monotonic()
        if self._first_step is None:  # of a resumed run, another one than the first
            self._first_step, self._first_time = step, now
        if now < self._next_line and step < self._total:
            return
        self._next_line = now + LATER_LINES
        done = step - self._first_step
        unfinished = done and step < self._total
        left = f"{_duration((now - self._first_time) / done * (self._total - step))} left" if unfinished else ""
        parts = (f"{self._title}: {self._step} {step:,}/{self._total:,}", rate, shown, left)
        _line("  ".join(filter(None, parts)))


class WorkProgress:
    """The progress of a work that tells how much is done: of one that is over at once nothing is shown.

    Args:
        title: what is being done.
        step: what is done one after another.
        after: seconds of work from which on it is shown.
    """

    def __init__(self, title: str, step: str, after: float = 0.0) -> None:
        self._title, self._step, self._after = title, step, after
        self._display: Progress | None = None
        self._began = self._shown = time.monotonic()

    def __enter__(self) -> WorkProgress:
        self._began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._display is not None:
            self._display.__exit__(kind, error, trace)

    def update(self, done: int, total: int) -> None:
        """Show how many of all are done; called as often as one likes."""
        now = time.monotonic()
        if self._display is None:
            if now - self._began < self._after:
                return
            # Known before it begins: an interrupt while it does must find it, as it hides the terminal's cursor.
            self._display = Progress(total, self._title, unit=f"{self._step}s", step=self._step)
            self._display.__enter__()
        elif now - self._shown < 0.05 and done < total:
            return
        self._shown = now
        self._display.update(done, done / max(now - self._began, 1e-6), {})


def _visible(names: Sequence[str]) -> list[str]:
    return list(map(visible, names))


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def as_cells(values: Sequence[Any]) -> list[str]:
    """Numbers of a table with three digits; NaN as a dash."""
    return ["–" if value != value else f"{value:.3f}" for value in values]
