"""What is read is not written over: an output that is an input, by another name or through a link, is refused."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from citris_cli.data.images import list_images
from citris_cli.data.layout import SPLITS, array_files, find_split
from citris_cli.data.paths import is_pattern, matches, parse_choice
from citris_cli.errors import InputError

#: Files by the device that they are on and their number there, which all names of one share; each with what it is to
#: the user: "DATA d/train.npz".
Read: TypeAlias = Mapping[tuple[int, int], str]

_STDIN = Path("-")


def files_read(called: str, *given: Path | None) -> Read:
    """The files that are read where some inputs are given.

    Args:
        called: what the user knows the inputs as, such as ``DATA`` or ``--ae``.
        given: files, directories, quoted patterns, with chosen frames perhaps (``d.npz#3``); ``-`` for standard input.
            What is not there, or None, is no file; whoever reads it says so.
    """
    found: dict[tuple[int, int], str] = {}
    for one in given:
        if one == _STDIN:
            with suppress(OSError, ValueError):  # there is none
                _add(found, os.fstat(sys.stdin.fileno()), f"{called} on standard input")
        elif one is not None:
            with suppress(InputError, OSError, ValueError):
                for path in _files_of(parse_choice(one).path):
                    with suppress(OSError, ValueError):
                        _add(found, path.stat(), f"{called} {path}")
    return found


def require_not_read(path: Path, read: Read, named: bool = False) -> None:
    """Refuse an output that is one of the files that are read.

    Args:
        path: where something is going to be written.
        read: see :func:`files_read`.
        named: whether the user named this very path.

    Raises:
        InputError: it is.
    """
    with suppress(OSError):
        about = path.stat()
        if called := read.get((about.st_dev, about.st_ino)):
            name = ("-o ", "") if named else ("", " with -o")
            raise InputError(f"{name[0]}{path}: is also an input ({called}); name another file{name[1]}")


def _add(found: dict[tuple[int, int], str], about: os.stat_result, called: str) -> None:
    if stat.S_ISREG(about.st_mode):  # what is written to a device does not change what comes from it
        found.setdefault((about.st_dev, about.st_ino), called)


def _files_of(path: Path) -> Iterator[Path]:
    """The files that an input may be read from: of a folder those of all splits, or its pictures."""
    for one in matches(path) if is_pattern(path) else (path,):
        if not one.is_dir():
            yield one
        elif array_files(one):
            for split in SPLITS:
                yield from find_split(one, split)
        else:
            yield from list_images(one)
