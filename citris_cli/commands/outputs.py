"""What commands promise of their output, in one place: ``-o FILE``, ``-o -``, ``--json`` and the default place.

- The artifact goes to the file that ``-o`` names, to standard output with ``-o -``, or to a default place.
- A default place is never one where something lies that was made of other data: what is made of the same takes the
  place of the earlier, as one expects who runs a command again, and what is made of other data goes beside it. Models
  have a rule of the same kind, in :mod:`citris_cli.artifacts.runs`. A name that was given is the user's and written to.
- Whether the place can be written is known before the work begins, and a file is whole or absent; so are several that
  belong together.
- What a command reads it does not write over, by whatever name or link; and only what ``-o`` names is written through a
  link.
- At the end, standard output has the path of what was written, or with ``--json`` one JSON document, or with ``-o -``
  the artifact and nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

from citris_cli.errors import CitrisError, InputError
from citris_cli.system import STDOUT_NAMES, is_stream

if TYPE_CHECKING:
    import numpy as np

    from citris_cli.artifacts.files import Writer
    from citris_cli.artifacts.overwriting import Read
    from citris_cli.show.console import Console

STDOUT = Path("-")


def output_option(help_text: str) -> Any:
    """The option ``-o`` of a command.

    Args:
        help_text: what it writes and where by default, which differs from command to command.
    """
    return typer.Option("-o", "--output", help=help_text, show_default=False, rich_help_panel="Output")


@dataclass(frozen=True)
class Output:
    """What the user asked for with ``-o`` and ``--json``.

    Attributes:
        given: the value of ``-o``: a file, ``-`` for standard output, or None for the default place.
        as_json: whether standard output gets one JSON document.
        beside: ending of a second file of the same name that goes beside a JSON artifact, such as ``.png``; "" if none
            does. Either of the two may be named.
        instead: endings that may be named in its place, for the message.
        ending: of an artifact that is of one kind, such as ``.npz``: a name that says another is refused; "" of others.
        what: such artifacts are called, for the message.
        read: what the command reads, see :meth:`reading`.

    Raises:
        InputError: ``--json`` and ``-o -`` both want standard output, or a name that ends like neither of two files.
    """

    given: Path | None
    as_json: bool
    beside: str = ""
    instead: tuple[str, ...] = ()
    ending: str = ""
    what: str = ""
    read: Read = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.as_json and self.to_stdout:
            raise InputError("--json and -o - both want standard output; give -o a file")
        if self.beside and self.given is not None and self.given.suffix.lower() not in ("", ".json", self.beside):
            others = " or ".join(filter(None, [", ".join([self.beside, *self.instead[:-1]]), *self.instead[-1:]]))
            raise InputError(
                f"-o {self.given}: the extension decides the format; use .json, or {others} for the file beside it"
            )

    @property
    def to_stdout(self) -> bool:
        """Whether the artifact itself goes to standard output."""
        return self.given is not None and self.given in (STDOUT, *STDOUT_NAMES)

    @property
    def names_beside(self) -> bool:
        """Whether the user named the file that goes beside the JSON artifact."""
        return self.beside != "" and self.given is not None and self.given.suffix.lower() == self.beside

    def path_beside(self, path: Path) -> Path | None:
        """Where the second file goes; None where it has no place, beside a pipe or a device.

        Args:
            path: of the JSON artifact, as :meth:`place` returned it.
        """
        if self.names_beside:
            return self.given
        return None if is_stream(path) else path.with_suffix(self.beside)

    def reading(self, called: str, *given: Path | None) -> Output:
        """The same, which writes over none of these inputs.

        Args:
            called: what the user knows them as, such as ``DATA`` or ``--ae``.
            given: files, directories and patterns; None, or what is not there, is none.

        Raises:
            InputError: one of them is the file that was named, or goes beside it.
        """
        from citris_cli.artifacts.overwriting import files_read

        asked = replace(self, read={**files_read(called, *given), **self.read})
        if asked.given is not None and not asked.to_stdout:
            asked._require_not_read(asked._named())
        return asked

    def check(self) -> None:
        """Find out whether a file that was named can be written, for a command that learns its default place later.

        Raises:
            InputError: it cannot, or its name says another kind of file.
        """
        if self.given is not None and not self.to_stdout:
            self._check(self._named())

    def place(
        self, default: Path, made_of: Sequence[object] | None = None, model_sha256: str | None = None
    ) -> Path | None:
        """Where the artifact goes, found to be writable; call it before the work begins.

        Args:
            default: the place if the user named none.
            made_of: what the artifact is made of, see :func:`free_place`; None if the default is free for it anyway.
            model_sha256: of the model that an evaluation is of, see there.

        Returns:
            The path, or None for standard output.

        Raises:
            InputError: the path cannot be written, or its name says another kind of file.
        """
        if self.to_stdout:
            return None
        if self.given is not None:
            path = self._named()
        else:
            path = default if made_of is None else free_place(default, made_of, model_sha256)
        self._check(path)
        return path

    def place_inside(self, name: str) -> Path:
        """Where one of several files goes, in the folder that was named; found to be writable.

        Args:
            name: of the file.

        Raises:
            InputError: it cannot be written.
        """
        path = (self.given or Path()) / name
        self._check(path)
        return path

    def write(self, files: Mapping[Path, Writer]) -> None:
        """Write files that belong together: they are complete or absent.

        Args:
            files: what writes each, by its path as :meth:`place` returned it; the last one vouches for the others.

        Raises:
            InputError, CitrisError: one cannot be written, or the disk is full.
        """
        from citris_cli.artifacts.files import write_together

        write_together(files, [] if self.given is None else [self.given])

    def write_bytes(self, path: Path | None, content: bytes) -> None:
        """Write an artifact whole or not at all.

        Args:
            path: the file, or None for standard output.
            content: all of it.

        Raises:
            InputError: the file cannot be written, or standard output is a terminal.
            CitrisError: the disk is full.
        """
        from citris_cli.artifacts.files import write_stdout

        if path is None:
            write_stdout(content)
        else:
            self.write({path: partial(_write, content)})

    def write_arrays(self, path: Path | None, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Write an ``.npz`` whole or not at all.

        Args:
            path: the file, or None for standard output.
            arrays: by name.

        Raises:
            InputError, CitrisError: see :meth:`write_bytes`.
        """
        from citris_cli.artifacts.arrays import npz_bytes, write_arrays

        if path is None:
            self.write_bytes(None, npz_bytes(arrays))
        else:
            self.write({path: lambda file: write_arrays(file, arrays)})

    def report(self, console: Console, document: Mapping[str, Any], *paths: Path | None) -> None:
        """Say on standard output what was made: a JSON document, or every path once.

        Args:
            console: whose standard output it is.
            document: for ``--json``, where the paths stand before it as ``files``; see docs/json.md.
            paths: as :meth:`place` returned them; of what went to standard output nothing is said there.
        """
        if self.as_json:
            files = [str(path) for path in dict.fromkeys(paths) if path is not None]
            console.result(document_text({"files": files, **document}))
            return
        for path in dict.fromkeys(paths):
            if path is not None:
                console.result(path)

    def write_report(
        self,
        console: Console,
        document: Mapping[str, Any],
        path: Path | None,
        beside: bytes | None = None,
        called: str = "",
    ) -> None:
        """Write an artifact that is a JSON document, and say so: with ``--json``, standard output gets it as well.

        Args:
            console: whose standard output it is.
            document: the artifact.
            path: as :meth:`place` returned it.
            beside: content of the second file, which is written as one with the document; None for none.
            called: what the second file is, for a note on where it lies.

        Raises:
            InputError, CitrisError: a file cannot be written, or the disk is full.
        """
        text = document_text(document, indent=None if self.as_json else 2)
        if path is not None:
            files: dict[Path, Writer] = {}
            second = None if beside is None else self.path_beside(path)
            if beside is not None and second is not None:
                files[second] = partial(_write, beside)
            files[path] = partial(_write, (text + "\n").encode())
            self.write(files)
            if beside is not None:
                where = (
                    f"not written, as {path} is not a file that it could be placed beside" if second is None else second
                )
                console.note(f"{called}: {where}")
            if self.names_beside:
                console.note(f"numbers: {path}")
        made = self.given if self.names_beside else path
        console.result(text if self.as_json or made is None else made)

    def _named(self) -> Path:
        """The file that was named, or of two the document that goes beside it."""
        given = self.given or STDOUT
        return given.with_suffix(".json") if self.names_beside else given

    def _check(self, path: Path) -> None:
        from citris_cli.artifacts.endings import require_ending
        from citris_cli.artifacts.files import check_writable

        self._require_not_read(path)
        if self.ending and self.given is not None:
            require_ending(self.given, self.ending, self.what)
        for one in self._made(path):
            check_writable(one, named=one == self.given)

    def _require_not_read(self, path: Path) -> None:
        from citris_cli.artifacts.overwriting import require_not_read

        for one in self._made(path):
            require_not_read(one, self.read, named=one == self.given)

    def _made(self, path: Path) -> list[Path]:
        second = self.path_beside(path) if self.beside else None
        return [path] if second is None else [path, second]


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def document_text(document: Mapping[str, Any], indent: int | None = None) -> str:
    """A JSON document as text: ASCII, with None for what is no finite number.

    Args:
        document: what docs/json.md says.
        indent: spaces of each level; None for one line.
    """
    from citris_cli.artifacts.models import finite

    return json.dumps(finite(document), indent=indent, allow_nan=False)


def free_place(path: Path, made_of: Sequence[object], model_sha256: str | None = None) -> Path:
    """``path``, or ``<stem>-<8 hex digits><suffix>`` beside it if what lies there was made of something else.

    Args:
        path: the default.
        made_of: what the file is going to be made of: inputs as the user gave them.
        model_sha256: of the model that an evaluation is of. One trained anew is another model under the same name.
    """
    import hashlib

    ours = [os.path.abspath(str(one)) for one in made_of]
    theirs, their_model = _recorded(path)
    if their_model in (None, model_sha256) and all(_is_of(place, ours) for place in map(os.path.abspath, theirs)):
        return path
    told = chr(10).join([*ours, *([model_sha256] if model_sha256 else [])])
    return path.with_stem(f"{path.stem}-{hashlib.sha256(os.fsencode(told)).hexdigest()[:8]}")


def _is_of(place: str, ours: Sequence[str]) -> bool:
    """Whether what a file records belongs to our inputs."""
    from fnmatch import fnmatchcase

    from citris_cli.data.paths import parse_choice

    if place in ours or any(place == os.path.dirname(one) for one in ours):
        return True  # the second: a dataset may have been named by its directory
    # Folders, patterns, animations and slices are recorded picture by picture.
    choices = [parse_choice(Path(one)) for one in ours]
    inputs = {str(choice.path) for choice in choices if choice.text is None or ":" in choice.text}
    held = {place, str(parse_choice(Path(place)).path)}
    return any(name in inputs or os.path.dirname(name) in inputs for name in held) or any(
        fnmatchcase(name, one) for name in held for one in inputs
    )


def _recorded(path: Path) -> tuple[list[str], str | None]:
    """What a file says that it was made of, and of which model; nothing if there is none, or it says nothing of it.

    An evaluation of before models' hashes were recorded is of another model, for all that is known.
    """
    if not path.is_file():
        return [], None
    from PIL import Image

    from citris_cli.data.npz import open_npz
    from citris_cli.show.grids import SOURCES

    try:
        if path.suffix == ".npz":
            with open_npz(path) as file:
                return sorted(set(map(str, file.array("sources").tolist()))) if "sources" in file else [], None
        if path.suffix == ".json":
            document: Any = json.loads(path.read_text("utf-8"))
            return [document["data"]], document.get("model_sha256", "") if document.get("model") else None
        with Image.open(path) as picture:
            told = picture.info.get(SOURCES, picture.info.get("comment", ""))
            return (told.decode() if isinstance(told, bytes) else told).splitlines(), None
    except (CitrisError, OSError, ValueError, KeyError, TypeError, Image.DecompressionBombError):
        return [], None


def animation_kind(asked: Output, endings: Collection[str]) -> str:
    """The ending that decides what a command which makes animations writes: a GIF unless the path says otherwise.

    Args:
        asked: where it goes.
        endings: those of what the command can write, such as ``.gif``.

    Raises:
        InputError: it is none of these, or an MP4 cannot be made here.
    """
    from citris_cli.show.animation import check_mp4

    if asked.given is None or asked.to_stdout:
        return ".gif"
    suffix = asked.given.suffix.lower()
    if not suffix and is_stream(asked.given):
        return ".gif"
    if suffix not in endings:
        raise InputError(f"-o {asked.given}: the extension decides the format; use {', '.join(endings)}")
    if suffix == ".mp4":
        check_mp4()
    return suffix
