"""What differs between operating systems: what is done here where another one lacks something."""

from __future__ import annotations

import builtins
import ctypes
import mmap
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from citris_cli import system
from citris_cli.artifacts.files import atomic_write
from citris_cli.data.datasets import load_sequences
from citris_cli.data.npz import open_npz
from tests.data.conftest import save
from tests.waiting import PATIENCE


@pytest.fixture
def no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no /proc, as on macOS and Windows."""
    real = builtins.open

    def without_proc(file: Any, *arguments: Any, **keywords: Any) -> Any:
        if str(file).startswith("/proc"):
            raise FileNotFoundError(file)
        return real(file, *arguments, **keywords)

    monkeypatch.setattr(builtins, "open", without_proc)


@pytest.fixture
def like_windows(no_proc: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor anything else that only some systems have; directories cannot be opened."""
    real = os.open

    def no_directory(path: Any, *arguments: Any, **keywords: Any) -> int:
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **keywords)

    monkeypatch.delattr(os, "sysconf", raising=False)
    monkeypatch.delattr(mmap, "MADV_DONTNEED", raising=False)
    monkeypatch.setattr(os, "open", no_directory)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_nobody_has_waited_for_has_ended() -> None:
    """In a container, there may be nobody who ever does."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert not system.has_ended(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # which leaves it to be waited for
    os.kill(process.pid, 0)
    assert system.has_ended(process.pid)
    process.communicate()
    assert system.has_ended(process.pid)
    assert not system.has_ended(os.getpid())
    assert system.has_ended(os.getpid(), or_is_this=True)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/meminfo")
def test_linux_tells_what_is_available() -> None:
    assert 2**20 < system.available_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.usefixtures("no_proc")
@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="this system has no os.sysconf")
def test_without_proc_all_of_the_machines_memory_bounds() -> None:
    assert system.available_memory() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.usefixtures("like_windows")
def test_windows_is_asked_in_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [1]

    class Kernel32:
        @staticmethod
        def GlobalMemoryStatusEx(reference: Any) -> int:
            status = reference._obj
            assert status.length == ctypes.sizeof(status) == 64
            status.available = 3 << 30
            return told[0]

    monkeypatch.setattr(ctypes, "windll", type("windll", (), {"kernel32": Kernel32}), raising=False)
    assert system.available_memory() == 3 << 30
    told[0] = 0  # it failed
    assert system.available_memory() == sys.maxsize


@pytest.mark.usefixtures("like_windows")
def test_where_nobody_tells_there_is_no_bound() -> None:
    assert system.available_memory() == sys.maxsize


@pytest.mark.usefixtures("like_windows")
@pytest.mark.parametrize("compressed", [False, True])
def test_data_are_read_and_written_where_the_system_has_nothing_of_this(tmp_path: Path, compressed: bool) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3)).astype(np.uint8)
    targets = np.tile(np.array([[0, 1], [1, 0]], np.uint8), (3, 1))[:5]
    path = tmp_path / "new" / "a.npz"
    path.parent.mkdir()
    (np.savez_compressed if compressed else np.savez)(path, images=frames, targets=targets)
    data = load_sequences([path])
    np.testing.assert_array_equal(data.frames.slice(0, 6).numpy(), frames)
    atomic_write(tmp_path / "other" / "x", lambda file: file.write(b"whole"))
    assert (tmp_path / "other" / "x").read_bytes() == b"whole"


def test_pages_that_were_given_back_are_read_again(tmp_path: Path) -> None:
    with open_npz(save(tmp_path / "a.npz", a=np.arange(5000))) as file:
        array = file.array("a")
    mapping = array
    while not isinstance(mapping, mmap.mmap):
        mapping = mapping.obj if isinstance(mapping, memoryview) else mapping.base
    system.release_mapping(mapping)
    assert array[4999] == 4999


LOSES_PAGES = """
import os, sys, threading
import numpy as np
from citris_cli.system import end_where_pages_are_lost

end_where_pages_are_lost(lambda: os.write(2, b"told"))
np.arange(9000).tofile("a")
array = np.memmap("a", np.int64, "r")
os.truncate("a", 10)
if sys.argv[1] == "thread":
    thread = threading.Thread(target=array.sum)
    thread.start()
    thread.join()
else:
    array.sum()
print("went on")
"""


@pytest.mark.skipif(os.name != "posix", reason="what is mapped cannot be cut short on this system")
@pytest.mark.parametrize("where", ["main", "thread"])
def test_a_process_that_loses_pages_says_so_and_ends(tmp_path: Path, where: str) -> None:
    command = [sys.executable, "-c", LOSES_PAGES, where]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"told")
