"""Files that are whole or absent: written beside the target, flushed to disk, then renamed; and folders' contents.

The temporary file is called ``.<target>.<machine>-<random>-<process>.tmp``. A process that is killed leaves it behind;
whoever writes the same target on the same machine next removes it.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from citris_cli.errors import CitrisError, InputError
from citris_cli.system import has_ended, processes_home, sync_directory

#: Errors that say the disk, not the path, is at fault.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: Temporary files that this process is writing.
_open: set[str] = set()


def _as_sentence(path: Path, error: OSError) -> CitrisError:
    if error.errno in _FULL:
        return CitrisError(f"{path}: the disk is full; free some space and run again")
    reason = (error.strerror or str(error)).lower()
    return InputError(f"{path}: cannot be written ({reason}); choose another place with -o")


def atomic_write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that its path holds either the old content or all of the new one, even after a power cut.

    What is no regular file (a device, a named pipe) has no old content to keep: it is written to as it is.

    Args:
        path: target; missing parent directories are made; a link is followed, so that its target is replaced.
        write: writes the content to the binary file that it is given.

    Raises:
        InputError: the path cannot be written.
        CitrisError: the disk is full.
    """
    target = Path(os.path.realpath(path))
    temporary: str | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a directory")
        if path.exists() and not path.is_file():
            content = io.BytesIO()  # a pipe cannot seek, as some formats want to
            write(content)
            with open(path, "wb") as file:
                file.write(content.getbuffer())
            return
        _sweep(target)
        descriptor, temporary = tempfile.mkstemp(f"-{os.getpid()}.tmp", _prefix(target), target.parent)
        _open.add(temporary)
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        os.replace(temporary, target)
        _open.discard(temporary)
        temporary = None
        sync_directory(target.parent)
    except OSError as error:
        raise _as_sentence(path, error) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
            _open.discard(temporary)


def discard_unfinished() -> None:
    """Remove what this process has begun to write: it is about to end at once, by a signal."""
    for temporary in list(_open):
        with suppress(OSError):
            os.unlink(temporary)


def _sweep(target: Path) -> None:
    """Remove what killed processes of this machine left of the same target."""
    name = re.compile(re.escape(_prefix(target)) + r"\w+-(\d+)\.tmp")
    with suppress(OSError):  # a folder may be written to and not listed
        for left in target.parent.iterdir():
            found = name.fullmatch(left.name)
            # One of our own number that we do not write is of an earlier process that had it.
            if found is not None and str(left) not in _open and has_ended(int(found[1]), or_is_this=True):
                with suppress(OSError):
                    left.unlink()


def _prefix(target: Path) -> str:
    """How the names of a target's temporary files begin, on this machine."""
    # A file system takes names of 255 bytes.
    name = target.name if len(os.fsencode(target.name)) <= 200 else _short(target.name)
    return f".{name}.{_short(processes_home())}-"


def _short(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_writable(path: Path) -> None:
    """Find out before hours of work whether a file could be written; leaves nothing behind.

    Raises:
        InputError: it could not.
    """
    target = Path(os.path.realpath(path))
    folder = target.parent
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a directory")
        if path.exists() and not path.is_file():
            return
        while not folder.exists():
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _as_sentence(path, error) from error


def listed(folder: Path) -> list[Path]:
    """What lies in a folder, in the order of the names.

    Raises:
        InputError: it cannot be read; a folder that seems to be empty as nobody may look into it is none.
    """
    try:
        os.stat(os.path.join(folder, "."))  # of what lies in it nothing could be told
        return sorted(folder / name for name in os.listdir(folder))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{folder}: the folder cannot be read ({reason}); check its permissions") from None


def write_stdout(content: bytes) -> None:
    """Write an artifact to standard output.

    Raises:
        InputError: standard output is a terminal, which binary data would only garble.
        BrokenPipeError: the reader went away.
    """
    if sys.stdout.isatty():
        raise InputError("-o - writes binary data, and standard output is a terminal; pipe it or give -o a file")
    rest = memoryview(content)
    try:
        while len(rest):  # an unbuffered standard output (PYTHONUNBUFFERED) may take less than it is given
            rest = rest[sys.stdout.buffer.write(rest) :]
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _as_sentence(Path("standard output"), error) from error
