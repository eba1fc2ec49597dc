"""Locks that end with the process that holds them: a file that is locked, not one that is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from citris_cli.artifacts.files import require_no_link
from citris_cli.errors import InputError


class HeldError(InputError):
    """Another process holds a lock.

    Attributes:
        process: its number, or "" where it cannot be told.
    """

    def __init__(self, path: Path, process: str) -> None:
        super().__init__(f"{path}: is locked by {f'process {process}' if process else 'another process'}")
        self.process = process


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock inside the ``with`` block.

    Args:
        path: the file that is locked; it is made, and removed at the end where that is safe.

    Raises:
        HeldError: another process holds it.
        InputError: the path is a link.
        OSError, NotImplementedError: the file system has no locks, or takes no file.
    """
    from filelock import FileLock, Timeout

    require_no_link(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    while True:
        # Whoever held the lock may remove the file between its being opened and its being locked: what is locked then
        # is no file that others find. Held open, this one keeps its number to itself, so that the one found now is
        # known to be the one found then.
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            process = _process_in(path)
            try:
                lock.acquire()
            except Timeout:
                if _is_found(path, opened):
                    raise HeldError(path, process) from None
                continue
            if _is_found(path, opened):
                break
            lock.release()
        finally:
            os.close(opened)
    try:
        with suppress(OSError):  # Windows lets nobody write to what is locked
            path.write_text(f"{os.getpid()}\n")
        yield
    finally:
        if os.name == "posix":  # elsewhere a file that is open cannot be removed, and a closed one may be locked again
            with suppress(OSError):
                path.unlink()
        lock.release()


def _is_found(path: Path, opened: int) -> bool:
    """Whether a path still leads to a file that is open."""
    try:
        return os.path.samestat(path.stat(), os.fstat(opened))
    except FileNotFoundError:
        return False


def _process_in(path: Path) -> str:
    """The process that a lock file tells of, or ""."""
    with suppress(OSError, ValueError):
        return str(int(path.read_text()))
    return ""
