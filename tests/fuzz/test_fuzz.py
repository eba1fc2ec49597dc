"""A few bad files and a few kills; ``python -m tests.fuzz`` does the same for as long as one likes."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz.checks import MEMORY, Good, Seen, problems
from tests.fuzz.fuzz import chosen, every_case
from tests.fuzz.known import KNOWN
from tests.fuzz.run import Done
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")

#: How many bad files, each read by all commands of its kind, and how many kills: some ten seconds together.
FILES, KILLS = 6, 4


def fuzz(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_bad_files_are_refused_or_read_and_nothing_else() -> None:
    done = fuzz("--cases", FILES, "--seed", 1)
    assert done.returncode == 0, done.stdout + done.stderr


def test_killed_commands_leave_whole_files_and_end_the_same_when_run_again() -> None:
    done = fuzz("--kill", "--cases", KILLS, "--seed", 1)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_case_that_is_not_there_is_told() -> None:
    with pytest.raises(SystemExit, match="no such kind of file or mutation"):
        chosen(argparse.Namespace(case="nonsense"))
    assert chosen(argparse.Namespace(case="nf/truncate")) == [("nf", "truncate")]


def test_what_is_known_names_cases_that_there_are() -> None:
    pairs = {"/".join(pair) for pair in every_case()}
    assert all(known.case in ("", *pairs) for known in KNOWN)
    assert len({known.pattern for known in KNOWN}) == len(KNOWN)


SENTENCE = b"citris: d.npz: there is no such file; check the path\n"
REFUSED = Done(2, b"", SENTENCE, 0, 0.1)
READ = Done(0, b"z.npz\n", b"a note\n", 0, 0.1)


def write_nan(folder: Path) -> None:
    np.savez(folder / "work/z.npz", z=np.full(3, np.nan))


@pytest.mark.parametrize(
    ("done", "change", "says"),
    [
        (REFUSED, None, ""),
        (READ, lambda folder: np.savez(folder / "work/z.npz", z=np.zeros(3)), ""),
        (Done(None, b"", b"", 0, 60.0), None, "hangs"),
        (Done(-7, b"", b"", 0, 0.1), None, "signal 7"),
        (Done(70, b"", b"Traceback ...\nValueError: no\n", 0, 0.1), None, "status 70"),
        (Done(70, b"", b"Traceback ...\nValueError: no\n", 0, 0.1), None, "a traceback: ValueError"),
        (Done(1, b"", b"citris: unexpected KeyError: 'a'; run again\n", 0, 0.1), None, "unexpected KeyError: 'a'"),
        (Done(1, b"", b"something\n", 0, 0.1), None, "no sentence of citris"),
        (Done(2, b"", b"citris: " + b"x" * 400 + b"\n", 0, 0.1), None, "a line of more than 400"),
        (Done(0, b"a name\x1b[31m\n", b"", 0, 0.1), None, "standard output holds control characters"),
        (Done(0, b"name\ncitris: forged line\n", b"", 0, 0.1), None, "a line that the file forged"),
        (Done(0, b"a forged markup\n", b"", 0, 0.1), None, "takes a name for markup"),
        (Done(0, b'{"a": NaN}\n', b"", 0, 0.1), None, "no strict JSON: standard output"),
        (Done(0, b"", b"/x.py:7: UserWarning: no\n", 0, 0.1), None, "UserWarning of Python"),
        (Done(0, b"", b"", 20 + MEMORY + 20 * 16, 0.1), None, "memory: more than"),
        (Done(1, b"", b"citris: out of memory; try\n", 0, 0.1), None, "memory: it went out"),
        (READ, write_nan, "wrote NaN"),
        (READ, lambda folder: (folder / "work/z.npz").write_bytes(b"PK"), "wrote z.npz, which is not whole"),
        (READ, lambda folder: (folder / "work/a.json").write_text("[Infinity]"), "no strict JSON: a.json"),
        (READ, lambda folder: (folder / "work/a.html").write_text("<script>forged()"), "a name is a script"),
        (READ, lambda folder: (folder / "work/.z.npz.x.tmp").touch(), "a temporary file stays in work"),
        (READ, lambda folder: (folder / "in/new").touch(), "wrote into in: in/new"),
        (READ, lambda folder: (folder / "in/d.npz").write_bytes(b"other"), "an input was changed: in/d.npz"),
        (READ, lambda folder: (folder / "in/d.npz").unlink(), "an input was removed: in/d.npz"),
        (READ, lambda folder: (folder.parent / "escaped").touch(), "wrote beside the case's folder: escaped"),
        (READ, lambda folder: (folder.parent / "samples/a").touch(), "changed among the other inputs: a"),
        (REFUSED, lambda folder: (folder / "work/m.json").write_text("{}"), "refused, and yet wrote m.json"),
    ],
)
def test_the_checks_find_what_they_are_for(
    tmp_path: Path, done: Done, change: Callable[[Path], object] | None, says: str
) -> None:
    folder = tmp_path / "case"
    for name in ("case/in", "case/work", "samples"):
        (tmp_path / name).mkdir(parents=True)
    (folder / "in/d.npz").write_bytes(b"something")
    seen = Seen.of(folder, tmp_path / "samples", set())
    if change is not None:
        change(folder)
    found = problems(done, seen, 9, Good(10))
    assert any(says in problem for problem in found) if says else found == []
