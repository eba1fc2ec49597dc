"""Results on standard output, all else on standard error; progress in plain lines where nobody watches live."""

from __future__ import annotations

import io
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.cells import cell_len

from citris_cli.data.variables import CAUSAL3DIDENT
from citris_cli.show import console as module
from citris_cli.show.console import FIRST_LINE, LATER_LINES, Console, Progress, as_cells
from citris_cli.show.heatmap import heatmap_lines

Captured = pytest.CaptureFixture[str]


class Terminal(io.StringIO):
    """Standard error that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    """Standard error whose reader went away."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the console sees, in its only entry."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_results_and_notes_do_not_mix(capsys: Captured) -> None:
    console = Console()
    console.note("a note")
    console.result("the result")
    console.table("numbers", ["of", "a"], [["x", "1"]])
    captured = capsys.readouterr()
    assert captured.out == "the result\n"
    assert "a note\n" in captured.err
    assert "numbers\n" in captured.err


def test_what_an_encoding_lacks_is_said_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="cp437") for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    module.say_all()
    Console().note("R² … \u20ac ä \udcff")
    Console().result("32×32")
    assert streams["stderr"].buffer.getvalue() == b"R\xfd ... \\u20ac \x84 \\xff\n"
    assert streams["stdout"].buffer.getvalue() == b"32x32\n"


@pytest.mark.skipif(os.name != "posix", reason="names are text on this system")
@pytest.mark.parametrize("encoding", ["ascii", "cp1251", "gbk", "utf-8"])
def test_a_path_is_the_bytes_of_its_name(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    module.say_all()
    name = "д€".encode() + b"\xff\x98"
    Console().result(Path(os.fsdecode(name)))
    assert sys.stdout.buffer.getvalue() == name + b"\n"


def test_a_table_is_aligned_text_where_there_is_no_terminal(capsys: Captured) -> None:
    Console().table("R²", ["latents of", "box", "y"], [["x", "0.123", "–"], ["psi(0)", "1.000", "-0.500"]])
    assert capsys.readouterr().err.splitlines() == [
        "R²",
        "  latents of    box       y",
        "  x           0.123       –",
        "  psi(0)      1.000  -0.500",
    ]


@pytest.mark.parametrize("name", ["[link=http://a]b[/link]", "[red]", ":smile:", "x\x1b[2J", "a\nb", "[/]"])
def test_names_are_text_on_a_terminal(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    shown = name.replace("\x1b", r"\x1b").replace("\n", r"\n")
    for size in ("200", "20"):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("COLUMNS", size)
        Console().table(name, [name, name], [[name, name]])
        assert terminal.getvalue().count(shown) == 5
        Console().heatmap(name, [name], [name], [[0.5]])
        with Progress(3, name, "frames") as progress:
            progress.update(1, 1.0, {name: 1.0})
        assert "\x1b]" not in terminal.getvalue()
        assert name not in terminal.getvalue() or name == shown


def test_a_table_without_rows(capsys: Captured) -> None:
    Console().table("nothing", ["a", "b"], [])
    assert capsys.readouterr().err.splitlines() == ["nothing", "  a  b"]


def test_a_table_is_drawn_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    Console().table("R²", ["latents of", "box"], [["x", "0.123"]])
    assert all(text in terminal.getvalue() for text in ("R²", "latents of", "box", "x", "0.123"))
    assert "─" in terminal.getvalue() or "━" in terminal.getvalue()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("width", [30, 40, 50, 60, 62, 64, 80])
def test_a_table_breaks_no_name_however_narrow_the_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", str(width))
    Console().table("moved", ["variable", "moved", "by decoding alone"], [[name, "0.123", "0.5"] for name in LONG])
    assert all(name in terminal.getvalue() for name in LONG)
    assert terminal.getvalue().count("0.123") == len(LONG)
    assert "by decoding alone" in terminal.getvalue()


def test_cells_have_three_digits_and_nan_is_a_dash() -> None:
    assert as_cells([1.23456, -0.0001, float("nan"), 12]) == ["1.235", "-0.000", "–", "12.000"]


def test_progress_is_a_plain_line_now_and_then(clock: list[float], capsys: Captured) -> None:
    with Progress(10_000, "flow on d", "pairs") as progress:
        assert capsys.readouterr().err == "flow on d: 10,000 steps\n"
        clock[0] += FIRST_LINE - 1
        progress.update(50, 100.0, {"loss": 2.0})
        assert capsys.readouterr().err == ""
        clock[0] += 1
        # 50 steps in the second since the first update: the other 9,900 take 198.
        progress.update(100, 1234.5, {"loss": 1.98765, "nll": -3.0, "gradient_norm": 7.0})
        assert capsys.readouterr().err == "flow on d: step 100/10,000  1,234 pairs/s  loss 1.988  nll -3  3:18 left\n"
        clock[0] += LATER_LINES - 1
        progress.update(1000, 100.0, {"loss": 1.0})
        assert capsys.readouterr().err == ""
        clock[0] += 1
        # 2,050 steps in the 31 seconds since the first update: the other 7,900 take 119 more.
        progress.update(2100, 100.0, {"loss": 1.0})
        assert capsys.readouterr().err.endswith("step 2,100/10,000  100 pairs/s  loss 1  1:59 left\n")
        progress.update(10_000, 1.25, {})  # the last step is always told
        assert capsys.readouterr().err == "flow on d: step 10,000/10,000  1.2 pairs/s\n"


def test_progress_on_a_terminal_is_live(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    with Progress(20, "flow on d", "pairs") as progress:
        progress.update(10, 1234.5, {"loss": 1.98765, "gradient_norm": 7.0})
        progress.update(20, 1234.5, {"loss": 0.25, "gradient_norm": 7.0})
    shown = terminal.getvalue()
    assert all(text in shown for text in ("flow on d", "20/20", "1,234 pairs/s", "loss 0.25"))
    assert "gradient_norm" not in shown
    assert capsys.readouterr().out == ""


def test_works_side_by_side_share_a_display(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    with Progress(20, "seed 0", "pairs") as first, Progress(30, "seed 1", "pairs", beside=first) as second:
        first.update(10, 5.0, {"loss": 1.5})
        second.update(15, 5.0, {"loss": 2.5})
    last = terminal.getvalue().rpartition("seed 0")[2]  # below it, in one frame of the display
    assert "10/20" in last
    assert "seed 1" in last
    assert "15/30" in last
    assert "loss 2.5" in last
    assert capsys.readouterr().out == ""


def test_an_error_ends_the_live_display_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    progress = Progress(20, "flow on d", "pairs")
    with pytest.raises(ZeroDivisionError), progress:
        raise ZeroDivisionError
    assert progress._rich is not None
    assert not progress._rich.live.is_started


def test_a_reader_of_standard_error_that_went_away_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    monkeypatch.setattr(sys, "stderr", Closed())
    Console().note("a note")
    Console().table("t", ["a"], [["1"]])
    with Progress(10, "flow", "pairs") as progress:
        clock[0] += FIRST_LINE
        progress.update(5, 1.0, {"loss": 1.0})
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    Console().note("a note")


def test_the_reader_of_the_result_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(BrokenPipeError):
        Console().result("the result")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (90061, "25:01:01")],
)
def test_durations(seconds: float, text: str) -> None:
    assert module._duration(seconds) == text


def test_the_clock_is_the_monotonic_one() -> None:
    assert module.time is time


@pytest.mark.parametrize("watched", [True, False], ids=["terminal", "elsewhere"])
def test_a_heatmap_shows_every_name_and_number(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, watched: bool
) -> None:
    terminal = Terminal()
    if watched:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("COLUMNS", "80")
    names = [f"rot_{i}" for i in range(10)]
    Console().heatmap("R²", ["pos_x", "psi(0)"], names, [[i / 10 for i in range(10)], [float("nan")] * 9 + [-0.04]])
    shown = terminal.getvalue() if watched else capsys.readouterr().err
    shown = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert all(f"0.{i}" in shown for i in range(10))
    assert "-0.04" in shown
    assert shown.count("–") == 9
    assert "pos_x" in shown
    assert "psi(0)" in shown
    assert all(len(line) <= 80 for line in shown.splitlines()) or not watched


LONG = ["temperature_of_the_inlet", "background", "illumination", "Hintergrundbeleuchtungsintensität", "x", "灯の色"]
PONG = ["ball_x", "ball_y", "ball_vel_dir", "paddle_left_y", "paddle_right_y", "score_left", "score_right"]


@pytest.mark.parametrize("width", [30, 40, 60, 80])
@pytest.mark.parametrize(
    "names", [CAUSAL3DIDENT.names, PONG, LONG, ["a" * 64]], ids=["causal3d", "pong", "long", "one"]
)
def test_a_heatmap_breaks_no_word_however_narrow_the_terminal(
    monkeypatch: pytest.MonkeyPatch, names: Sequence[str], width: int
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", str(width))
    matrix = [[(i * len(names) + j) / 100 for j in range(len(names))] for i in range(len(names) + 1)]
    Console().heatmap("R²", [*names, "psi(0)"], names, matrix)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", sys.stderr.getvalue())
    words = re.findall(r"[^\W_]+", shown)
    for word in re.findall(r"[^\W_]+", " ".join(names)):
        # As often in the headings (or the legend) as in the rows.
        assert words.count(word) >= 2
    numbers = re.findall(r"\d\.\d\d", shown)
    assert sorted(numbers) == sorted(f"{value:.2f}" for row in matrix for value in row)
    fits = (
        line for line in shown.splitlines() if not any(cell_len(name) + 6 > width and name in line for name in names)
    )
    assert all(cell_len(line) <= width for line in fits)


def test_columns_of_a_heatmap_are_named_where_they_can_be_and_else_numbered() -> None:
    def plain(rows: Sequence[str], names: Sequence[str], width: int) -> list[str]:
        return [str(line).rstrip() for line in heatmap_lines(rows, names, [[0.5] * len(names)] * len(rows), width)]

    assert plain(["a"], ["ball_x", "background"], 80) == [
        "            ball",
        "latents of   _x  background",
        "a           0.50    0.50",
    ]
    assert plain(["a"], ["x", "background"], 22) == [
        "latents of   1    2",
        "a           0.50 0.50",
        "columns: 1 x,",
        "  2 background",
    ]
    assert plain(["long_names_", "b"], ["x", "y", "z"], 16)[-7:] == [
        "1           0.50",
        "2           0.50",
        "columns: 1 x,",
        "  2 y, 3 z",
        "rows:",
        "  1 long_names_,",
        "  2 b",
    ]
