"""What a path means that the user gave: hidden files, quoted patterns, frames that are chosen with ``#``."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from pathlib import Path, PurePath

from citris_cli.errors import InputError
from citris_cli.wording import counted

# Not more digits than Python turns into a number without complaint.
_INT = r"-?\d{1,18}"
_CHOICE = re.compile(rf"(.+)#({_INT}|(?:{_INT})?:(?:{_INT})?(?::(?:{_INT})?)?)", re.DOTALL)


@dataclass(frozen=True)
class Choice:
    """An input, and which of its frames were chosen.

    Attributes:
        path: the file, the folder or the pattern.
        text: what stood after ``#``: a number or a slice, as Python writes them; None for all frames.
    """

    path: Path
    text: str | None

    def numbers(self, total: int, what: str) -> tuple[range, str | None]:
        """The chosen frames, counted from 0, and a note if there are fewer than was asked for.

        Args:
            total: frames that the input has.
            what: what it is, for messages: "dataset", "folder".

        Raises:
            InputError: there is no frame of this number, or none in the slice.
        """
        if self.text is None:
            return range(total), None
        has = f"{self.path}#{self.text}: the {what} has {counted(total, 'frame')}, counted from 0"
        if ":" not in self.text:
            number = int(self.text)
            if not -total <= number < total:
                raise InputError(f"{has}; choose one of these")
            return range(number % total, number % total + 1), None
        bounds = [int(part) if part else None for part in self.text.split(":")]
        if bounds[2:] == [0]:
            raise InputError(f"{self.path}#{self.text}: the step cannot be 0; write, for example, #::2")
        numbers = range(*slice(*bounds).indices(total))
        if not numbers:
            raise InputError(f"{has}; choose some of these")
        beyond = any(bound is not None and not -total <= bound <= total for bound in bounds[:2])
        return numbers, f"{has}; {counted(len(numbers), 'frame')} chosen" if beyond else None


def is_there(path: Path) -> bool:
    """Whether there is a file or a folder of this name; not if it can be no name at all."""
    try:
        return path.exists()
    except PermissionError:
        return True  # whoever opens it says so
    except (OSError, ValueError):  # too long, or not a path at all
        return False


def parse_choice(given: Path) -> Choice:
    """Take an input apart: ``film.gif#3``, ``folder#-1``, ``data.npz#1:5``; a file of that very name is itself."""
    found = None if is_there(given) else _CHOICE.fullmatch(str(given))
    return Choice(given, None) if found is None else Choice(Path(found[1]), found[2])


def require_choice(given: Path) -> None:
    """Refuse an input that is there but for what stands after its ``#``, which is no choice of frames (InputError)."""
    before, mark, after = str(given).rpartition("#")
    if mark and before and not is_there(given) and is_there(Path(before)):
        raise InputError(f"{given}: '#{after}' chooses no frames; write a number or a slice, such as #3, #1:5 or #::2")


def is_pattern(path: Path) -> bool:
    """Whether a path stands for what it matches: it has ``*``, ``?`` or ``[``, and there is no file of that name."""
    return any(character in str(path) for character in "*?[") and not is_there(path)


def matches(pattern: Path) -> tuple[Path, ...]:
    """What a quoted pattern matches, 2 before 10; ``**`` is any depth, and hidden files only match a dot.

    Raises:
        InputError: nothing.
    """
    found = sorted((Path(name) for name in glob.glob(str(pattern), recursive=True)), key=_natural_path_key)
    if pattern.name == "**":
        # All files at any depth: the folders among them would count everything again.
        found = [path for path in found if not path.is_dir()]
    if not found:
        raise InputError(f"{pattern}: no file matches this pattern; check the path")
    return tuple(found)


def is_hidden(name: str) -> bool:
    """Whether a file is one that systems keep for themselves, and never data or a picture unless it is named.

    Args:
        name: its path inside a folder or an archive: ``._frame.png``, ``.DS_Store``, ``__MACOSX/images.npy``.
    """
    parts = name.split("/")
    return parts[0] == "__MACOSX" or any(part.startswith(".") and part not in (".", "..") for part in parts)


def natural_key(path: PurePath) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key by which numbers in a file name order by value; names equal in value order as text."""
    parts = re.split(r"(\d+)", path.name)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part.lower()) for part in parts], path.name


def _natural_path_key(path: PurePath) -> list[tuple[list[tuple[int, int, str]], str]]:
    """Sort key by which the files of a folder stay together, each name in the order of :func:`natural_key`."""
    return [natural_key(part) for part in (*reversed(path.parents), path)]
