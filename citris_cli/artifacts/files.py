"""Files that are whole or absent: written beside the target, flushed to disk, then renamed; and folders' contents.

The temporary file is called ``.<target>.<machine>-<random>-<process>.tmp``. A process that is killed leaves it behind;
whoever writes in the same folder on the same machine next removes it.

A name that is a link is written through only where the user named it: a default place, and what lies beside an output,
are names that anybody may have put a link under.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias

from citris_cli.errors import CitrisError, InputError
from citris_cli.system import has_ended, is_stream, processes_home, sync_directory

#: Writes the content of a file to the binary file that it is given.
Writer: TypeAlias = Callable[[BinaryIO], object]

#: Errors that say the disk, not the path, is at fault.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: Temporary files and folders that this process is writing.
_open: set[str] = set()


def _as_sentence(path: Path, error: OSError) -> CitrisError:
    if error.errno in _FULL:
        return CitrisError(f"{path}: the disk is full; free some space and run again")
    if error.errno == errno.ENOTEMPTY:  # since this command looked at it
        return InputError(f"{path}: something else was written there in the meantime; choose another place with -o")
    reason = (error.strerror or str(error)).lower()
    return InputError(f"{path}: cannot be written ({reason}); choose another place with -o")


def require_no_link(path: Path) -> None:
    """Refuse a name of ours under which a link lies: what is written there would go elsewhere.

    Raises:
        InputError: it does.
    """
    if path.is_symlink():
        raise InputError(
            f"{path}: is a link to {os.readlink(path)}, and only what -o names is written through a link; remove it, "
            "or choose another place with -o"
        )


def atomic_write(path: Path, write: Writer, named: bool = False) -> None:
    """Write a file so that its path holds either the old content or all of the new one, even after a power cut.

    What is a pipe or a device has no old content to keep: it is written to as it is, where the user named it.

    Args:
        path: target; missing parent directories are made.
        write: writes the content to the binary file that it is given.
        named: whether the user named this very path: then a link is followed, so that its target is replaced.

    Raises:
        InputError: the path cannot be written, or is a link or a pipe that nobody named.
        CitrisError: the disk is full.
    """
    write_together({path: write}, [path] if named else [])


def write_together(files: Mapping[Path, Writer], named: Collection[Path] = (), vouches: Path | None = None) -> None:
    """Write files that belong together, each as :func:`atomic_write` does: they are complete or absent.

    None gets its name before all are whole on the disk. One of them vouches for the others: an earlier file of its
    name is removed first and it gets its name last, so that it never lies beside what belongs to another one, even if
    the process is killed in between.

    Args:
        files: what writes each, by its path, in the order in which they are written.
        named: those of the paths that the user named.
        vouches: for the others; the last one if None.

    Raises:
        InputError, CitrisError: as :func:`atomic_write`.
    """
    targets: dict[Path, Path] = {}
    ready: dict[Path, str] = {}
    path = Path()
    try:
        for path in files:
            targets[path] = _target(path, path in named)
            targets[path].parent.mkdir(parents=True, exist_ok=True)
        folders = {target.parent for target in targets.values()}
        for folder in folders:
            _sweep(folder)
        for path, write in files.items():
            if is_stream(path):
                _write_stream(path, write)
            else:
                ready[path] = _name_beside(targets[path])
                _write_new(ready[path], write)
        last = path if vouches is None else vouches
        if len(ready) > 1:
            targets[last].unlink(missing_ok=True)
        for path in sorted(ready, key=lambda one: one == last):
            if path == last and len(files) > 1:  # what it vouches for is on the disk before it
                for folder in folders:
                    sync_directory(folder)
            os.replace(ready[path], targets[path])
            _open.discard(ready.pop(path))
        for folder in folders:
            sync_directory(folder)
    except OSError as error:
        raise _as_sentence(path, error) from error
    finally:
        for left in ready.values():
            _remove(left)


def write_folder(folder: Path, files: Mapping[str, Writer], vouches: str | None = None) -> list[Path]:
    """Write files into a folder of their own: it is complete or absent where there is none yet.

    Where it has something in it already they are written as :func:`write_together` does.

    Args:
        folder: it and missing parents are made; a link to a folder is followed.
        files: what writes each, by its name.
        vouches: the one that vouches for the others; the last one if None.

    Returns:
        Their paths, in this order.

    Raises:
        InputError, CitrisError: as :func:`atomic_write`.
    """
    paths = [folder / name for name in files]
    target, temporary, path = Path(os.path.realpath(folder)), "", folder
    _sweep(target.parent)
    if os.path.lexists(folder) and not _is_empty(folder):
        write_together(dict(zip(paths, files.values(), strict=True)), (), None if vouches is None else folder / vouches)
        return paths
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _name_beside(target)
        _open.add(temporary)
        os.mkdir(temporary, 0o700)
        for path, write in zip(paths, files.values(), strict=True):
            with open(os.path.join(temporary, path.name), "xb") as file:
                _fill(file, write)
        sync_directory(Path(temporary))
        path = folder
        os.chmod(temporary, 0o777 & ~_umask())
        if target.exists():  # and is empty: not every system renames a folder to one that is there
            target.rmdir()
        os.rename(temporary, target)
        _open.discard(temporary)
        temporary = ""
        sync_directory(target.parent)
    except OSError as error:
        raise _as_sentence(path, error) from error
    finally:
        if temporary:
            _remove(temporary)
    return paths


def _is_empty(folder: Path) -> bool:
    """Whether a folder has nothing in it; what is no folder has not."""
    try:
        return not os.listdir(folder)
    except OSError:
        return False


def _target(path: Path, named: bool) -> Path:
    """The file that is replaced.

    Raises:
        InputError: it is a link that nobody named.
        OSError: a folder, a stream that nobody named, or what is neither, such as a disk.
    """
    if not named:
        require_no_link(path)
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a directory")
    if path.exists() and not path.is_file() and not (named and is_stream(path)):
        raise OSError(errno.EINVAL, "is not a regular file")
    return target


def _name_beside(target: Path) -> str:
    """A name for a temporary file or folder beside a target, which nothing there has.

    Known before anything is made: a signal may end the command at any moment, and what has no name yet would stay.
    """
    return os.path.join(target.parent, f"{_prefix(target)}{secrets.token_hex(8)}-{os.getpid()}.tmp")


def _write_new(temporary: str, write: Writer) -> None:
    """Write a temporary file, to the disk; whoever named it removes it if that fails."""
    _open.add(temporary)
    # Nobody else reads it before it is whole.
    with open(temporary, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        _fill(file, write)
    os.chmod(temporary, 0o666 & ~_umask())


def _fill(file: BinaryIO, write: Writer) -> None:
    write(file)
    file.flush()
    os.fsync(file.fileno())


def _write_stream(path: Path, write: Writer) -> None:
    content = io.BytesIO()  # a pipe cannot seek, as some formats want to
    write(content)
    with open(path, "wb") as file:
        file.write(content.getbuffer())


def _remove(temporary: str) -> None:
    """Remove a temporary file, or a folder of files, of this process or of one that has ended."""
    with suppress(OSError):
        os.unlink(temporary)
    shutil.rmtree(temporary, ignore_errors=True)  # which follows no link
    _open.discard(temporary)


def discard_unfinished() -> None:
    """Remove what this process has begun to write: it is about to end at once, by a signal."""
    for temporary in list(_open):
        _remove(temporary)


def _sweep(folder: Path) -> None:
    """Remove what killed processes of this machine left in a folder."""
    ours = re.compile(rf"\..+\.{_machine()}-\w+-(\d+)\.tmp", re.DOTALL)
    with suppress(OSError):  # a folder may be written to and not listed
        for name in os.listdir(folder):
            found = ours.fullmatch(name) if name.endswith(".tmp") else None
            left = os.path.join(folder, name)
            # One of our own number that we do not write is of an earlier process that had it.
            if found is not None and left not in _open and has_ended(int(found[1]), or_is_this=True):
                _remove(left)


def _prefix(target: Path) -> str:
    """How the names of a target's temporary files begin, on this machine."""
    # A file system takes names of 255 bytes.
    name = target.name if len(os.fsencode(target.name)) <= 200 else _short(target.name)
    return f".{name}.{_machine()}-"


def _machine() -> str:
    return _short(processes_home())


def _short(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_writable(path: Path, named: bool = False) -> None:
    """Find out before hours of work whether a file could be written; leaves nothing behind.

    Args:
        path: of the file.
        named: whether the user named this very path, as in :func:`atomic_write`.

    Raises:
        InputError: it could not.
    """
    try:
        folder = _target(path, named).parent
        if is_stream(path):
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
