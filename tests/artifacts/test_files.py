import errno
import io
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from citris_cli.artifacts.files import atomic_write, check_writable, discard_unfinished, write_stdout
from citris_cli.errors import CitrisError, InputError


def test_writes_and_replaces(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "x.bin"
    atomic_write(path, lambda file: file.write(b"one"))
    atomic_write(path, lambda file: file.write(b"two"))
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["x.bin"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_a_link_is_written_through(tmp_path: Path):
    (tmp_path / "real.bin").write_bytes(b"old")
    (tmp_path / "link.bin").symlink_to("real.bin")
    atomic_write(tmp_path / "link.bin", lambda file: file.write(b"new"))
    assert (tmp_path / "link.bin").is_symlink()
    assert (tmp_path / "real.bin").read_bytes() == b"new"


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, CitrisError), (errno.EIO, InputError)])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, number: int, kind: type[Exception]):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")

    def fail(file) -> None:
        file.write(b"half")
        raise OSError(number, os.strerror(number))

    with pytest.raises(kind, match=r"x\.bin") as caught:
        atomic_write(path, fail)
    assert type(caught.value) is kind
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.bin"]


def test_a_full_disk_is_said_in_one_sentence(tmp_path: Path):
    with pytest.raises(CitrisError, match="disk is full"):
        atomic_write(tmp_path / "x.bin", lambda file: os.write(os.open("/dev/full", os.O_WRONLY), b"x"))
    assert os.listdir(tmp_path) == []


def test_killed_while_writing_keeps_the_old_file(tmp_path: Path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    script = (
        "import sys, time; from pathlib import Path; from citris_cli.artifacts.files import atomic_write\n"
        "def slow(file):\n    file.write(b'half'); file.flush(); print('writing', flush=True); time.sleep(60)\n"
        f"atomic_write(Path({str(path)!r}), slow)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"writing\n"
    time.sleep(0.05)
    (left,) = tmp_path.glob(".*.tmp")
    others = [tmp_path / left.name.replace(".x.bin.", name) for name in (".y.bin.", ".x.bin.elsewhere", ".x.bin.x.")]
    for other in others:
        other.write_bytes(b"of another target, or of another machine")
    atomic_write(path, lambda file: file.write(b"meanwhile"))
    assert left.exists()  # its process lives
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert path.read_bytes() == b"meanwhile"
    assert left.exists()
    atomic_write(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


def test_what_is_being_written_can_be_discarded(tmp_path: Path):
    def interrupted(file) -> None:
        file.write(b"half")
        assert len(os.listdir(tmp_path)) == 1
        discard_unfinished()
        assert os.listdir(tmp_path) == []
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "x.bin", interrupted)
    assert os.listdir(tmp_path) == []


def test_names_may_be_as_long_as_the_file_system_takes(tmp_path: Path):
    path = tmp_path / ("x" * 255)
    atomic_write(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("target", ["file/below", "folder"])
def test_unwritable_places_are_found_before_the_work(tmp_path: Path, target: str):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=target):
        check_writable(tmp_path / target)
    with pytest.raises(InputError, match=target):
        atomic_write(tmp_path / target, lambda file: file.write(b""))


def test_the_check_leaves_nothing(tmp_path: Path):
    check_writable(tmp_path / "not" / "there" / "x.bin")
    assert os.listdir(tmp_path) == []


class Unbuffered(io.BytesIO):
    """A standard output that takes three bytes at a time, as a raw file may."""

    def write(self, content) -> int:
        return super().write(bytes(content[:3]))


def test_standard_output_gets_all_of_it(monkeypatch: pytest.MonkeyPatch):
    for buffer in (io.BytesIO(), Unbuffered()):
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer))
        write_stdout(b"0123456789")
        assert buffer.getvalue() == b"0123456789"


def test_a_terminal_gets_no_binary_data(monkeypatch: pytest.MonkeyPatch):
    terminal = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", terminal)
    with pytest.raises(InputError, match="standard output is a terminal"):
        write_stdout(b"0123456789")
    assert terminal.buffer.tell() == 0
