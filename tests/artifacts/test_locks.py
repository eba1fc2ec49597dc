"""Locks: one process holds one, and it is free when that process has ended, however it did."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from citris_cli.artifacts.locks import HeldError, held
from tests.waiting import PATIENCE

#: Holds a lock until it is told to end.
HOLDER = """
import sys
from pathlib import Path
from citris_cli.artifacts.locks import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
#: Counts in a file, holding a lock on it; one that finds it held tries again.
COUNTER = """
import sys
from pathlib import Path
from citris_cli.artifacts.locks import HeldError, held
count, left = Path(sys.argv[2]), int(sys.argv[3])
while left:
    try:
        with held(Path(sys.argv[1])):
            count.write_text(str(int(count.read_text()) + 1))
            left -= 1
    except HeldError:
        pass
"""


def process(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("number", [None, signal.SIGKILL])
def test_a_lock_ends_with_its_process(tmp_path: Path, number: signal.Signals | None) -> None:
    path = tmp_path / "new/.x.lock"
    holder = process(HOLDER, path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    for _ in range(2):  # asking for it does not change what it tells
        with pytest.raises(HeldError) as caught, held(path):
            raise AssertionError("two hold it")
        assert caught.value.process in (str(holder.pid), "")
    holder.send_signal(number) if number is not None else None
    holder.communicate()
    assert path.exists() == (number is not None)
    with held(path):
        assert path.read_text() == f"{os.getpid()}\n"
        with pytest.raises(HeldError), held(path):  # nor do two of one process
            raise AssertionError("two hold it")
    assert not path.exists()


def test_removing_the_file_lets_no_second_one_in(tmp_path: Path) -> None:
    """Processes that take the lock in turn, as fast as they can, and remove its file each time."""
    count = tmp_path / "count"
    count.write_text("0")
    counters = [process(COUNTER, tmp_path / ".x.lock", count, 200) for _ in range(3)]
    assert [one.wait(PATIENCE) for one in counters] == [0, 0, 0]
    assert count.read_text() == "600"
    assert os.listdir(tmp_path) == ["count"]
