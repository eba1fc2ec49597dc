import errno
import io
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest

from citris_cli.artifacts.files import (
    atomic_write,
    check_writable,
    discard_unfinished,
    write_folder,
    write_stdout,
    write_together,
)
from citris_cli.errors import CitrisError, InputError
from citris_cli.system import is_stream


def test_writes_and_replaces(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "x.bin"
    atomic_write(path, lambda file: file.write(b"one"))
    atomic_write(path, lambda file: file.write(b"two"))
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["x.bin"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_a_link_is_written_through_where_the_user_named_it(tmp_path: Path):
    (tmp_path / "real.bin").write_bytes(b"old")
    (tmp_path / "link.bin").symlink_to("real.bin")
    says = r"link\.bin: is a link to real\.bin, and only what -o names is written through a link; remove it"
    with pytest.raises(InputError, match=says):
        check_writable(tmp_path / "link.bin")
    with pytest.raises(InputError, match=says):
        atomic_write(tmp_path / "link.bin", lambda file: file.write(b"new"))
    assert (tmp_path / "real.bin").read_bytes() == b"old"
    check_writable(tmp_path / "link.bin", named=True)
    atomic_write(tmp_path / "link.bin", lambda file: file.write(b"new"), named=True)
    assert (tmp_path / "link.bin").is_symlink()
    assert (tmp_path / "real.bin").read_bytes() == b"new"
    # A folder may be a link: one that lies on a larger disk.
    (tmp_path / "folder").mkdir()
    (tmp_path / "runs").symlink_to("folder")
    atomic_write(tmp_path / "runs/x.bin", lambda file: file.write(b"new"))
    assert (tmp_path / "folder/x.bin").read_bytes() == b"new"


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
    of_another_machine = tmp_path / re.sub(r"\.\w{8}-", ".0123abcd-", left.name)
    theirs = [of_another_machine, tmp_path / f"x{left.name}", tmp_path / f"{left.name}.x", tmp_path / ".1.tmp"]
    for other in theirs:
        other.write_bytes(b"of another machine, or of no process")
    atomic_write(path, lambda file: file.write(b"meanwhile"))
    assert left.exists()  # its process lives
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert path.read_bytes() == b"meanwhile"
    assert left.exists()
    # Of a folder, too; whoever writes anything there next removes it.
    folder = tmp_path / left.name.replace(".x.bin.", ".dataset.")
    folder.mkdir()
    (folder / "train.npz").write_bytes(b"half")
    (folder / "link").symlink_to(path)
    atomic_write(tmp_path / "y.bin", lambda file: file.write(b"new"))
    assert path.read_bytes() == b"meanwhile"
    assert sorted(tmp_path.iterdir()) == sorted([path, tmp_path / "y.bin", *theirs])


def writers(*contents: bytes) -> list[Callable[[BinaryIO], object]]:
    return [partial(lambda content, file: file.write(content), content) for content in contents]


def test_files_that_belong_together_are_complete_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever the moment at which the process ends, the last file never lies beside one of another set."""
    picture, report = tmp_path / "x.png", tmp_path / "x.json"
    wholes = [{}, {"x.png": b"1", "x.json": b"1"}, {"x.png": b"2", "x.json": b"2"}]
    replace, unlink = os.replace, Path.unlink
    seen = []

    def note() -> None:
        seen.append({path.name: path.read_bytes() for path in tmp_path.iterdir() if not path.name.startswith(".")})

    def look(call: Callable[..., object], *arguments: object, **keywords: object) -> None:
        note()
        call(*arguments, **keywords)
        note()

    monkeypatch.setattr(os, "replace", partial(look, replace))
    monkeypatch.setattr(Path, "unlink", lambda *arguments, **keywords: look(unlink, *arguments, **keywords))
    for content in (b"1", b"2"):
        write_together(dict(zip((picture, report), writers(content, content), strict=True)))
    assert len(seen) == 12
    assert all(found in wholes for found in seen if "x.json" in found)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_of_files_that_belong_together_none_is_replaced_if_one_fails(tmp_path: Path):
    picture, report = tmp_path / "x.png", tmp_path / "x.json"
    write_together(dict(zip((picture, report), writers(b"old", b"old"), strict=True)))

    def fail(file: BinaryIO) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(CitrisError, match=r"x\.json: the disk is full"):
        write_together({picture: writers(b"new")[0], report: fail})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"x.png": b"old", "x.json": b"old"}


def test_a_folder_is_complete_or_absent(tmp_path: Path):
    def fail(file: BinaryIO) -> None:
        assert not (tmp_path / "d").exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "d", {"a": writers(b"1")[0], "b": fail})
    assert list(tmp_path.iterdir()) == []
    for folder in ("e/f", "d"):
        paths = write_folder(tmp_path / folder, dict(zip("ab", writers(b"1", b"2"), strict=True)))
        assert paths == [tmp_path / folder / "a", tmp_path / folder / "b"]
        assert [path.read_bytes() for path in paths] == [b"1", b"2"]
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == stat.S_IMODE((tmp_path / "e").stat().st_mode)
    (tmp_path / "d/mine").write_bytes(b"stays")
    write_folder(tmp_path / "d", dict(zip("ab", writers(b"3", b"4"), strict=True)))
    assert sorted((path.name, path.read_bytes()) for path in (tmp_path / "d").iterdir()) == [
        ("a", b"3"), ("b", b"4"), ("mine", b"stays"),
    ]  # fmt: skip
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="file/a: cannot be written"):
        write_folder(tmp_path / "file", {"a": writers(b"1")[0]})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("call", ["mkdir", "open"])
def test_a_signal_right_after_a_temporary_name_is_taken_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
):
    """Python runs a signal's handler between any two steps: here before the call that made something has come back."""
    made, real = [], getattr(os, call)

    def interrupted(path: str, *arguments: object, **named: object) -> object:
        result = real(path, *arguments, **named)
        if ".tmp" not in str(path):
            return result
        made.append(path)
        if call == "open":
            os.close(result)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, call, interrupted)
    content: Callable[[BinaryIO], object] = lambda file: file.write(b"a")  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "new", {"a": content}) if call == "mkdir" else write_together(
            dict.fromkeys([tmp_path / "a", tmp_path / "b"], content)
        )
    assert len(made) == 1
    assert not list(tmp_path.iterdir())


def test_a_pipe_gets_it_and_stays_a_pipe(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    check_writable(pipe, named=True)
    atomic_write(pipe, lambda file: (file.write(b"012"), file.seek(0), file.write(b"9")), named=True)
    reader.join(10)
    assert got == [b"912"]
    assert list(tmp_path.iterdir()) == [pipe]
    assert is_stream(pipe)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for path, named in ((tmp_path / "socket", True), (pipe, False)):
            with pytest.raises(InputError, match=rf"{path}: cannot be written \(is not a regular file\)"):
                check_writable(path, named)


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
