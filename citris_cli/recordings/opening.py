"""What the user names as SOURCE, opened: by its content, whatever its name ends in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from citris_cli.data import signatures
from citris_cli.data.images import look_at
from citris_cli.data.paths import is_pattern, is_there, matches, natural_key
from citris_cli.errors import InputError
from citris_cli.recordings.arrays import inner_path, open_arrays
from citris_cli.recordings.films import open_film
from citris_cli.recordings.pictures import of_files, open_animation, open_folder
from citris_cli.recordings.recording import Recording
from citris_cli.wording import counted


def open_recordings(
    sources: Sequence[Path], frames_key: str | None = None, channels_of: Callable[[int], int] = int
) -> list[Recording]:
    """Recordings, one for each source, group or folder; still pictures that are named one by one are one recording.

    Args:
        sources: films, folders of pictures, pictures, ``.npy``, ``.npz``, HDF5 (``file.h5:/path``), quoted patterns.
        frames_key: of the frames in sources with keys; None to find it.
        channels_of: of the dataset, for frames of so many.

    Raises:
        InputError: one is not there, is nothing of the kind, or is damaged.
    """
    made: list[Recording] = []
    still: list[Path] = []
    try:
        for path, inner in _named(sources):
            opened = None if path.is_dir() else _opened(path, inner, frames_key)
            if opened is not None:
                made += opened
                continue
            if frames_key is not None:
                raise InputError(f"{path}: pictures have no keys; leave --frames-key out")
            if path.is_dir():
                made += open_folder(path)
            else:
                still.append(path)
        if still:
            made.insert(0, _one_by_one(still))
    except BaseException:
        for recording in made:
            recording.close()
        raise
    _require_alike(made, channels_of)
    return made


def _require_alike(recordings: Sequence[Recording], channels_of: Callable[[int], int]) -> None:
    first, labels = recordings[0], [recording.label for recording in recordings]
    for index, other in enumerate(recordings[1:], start=1):
        if other.label in labels[:index]:
            raise InputError(f"{other.label}: this recording is named twice; name each once")
        if channels_of(other.channels) != channels_of(first.channels):
            grey = {first.channels, other.channels} == {1, 3}
            raise InputError(
                f"{first.label} has {counted(first.channels, 'channel')} and {other.label} {other.channels}; the "
                "recordings of one dataset need the same number, "
                + ("make them grey with --grey" if grey else "pack them separately")
            )


def _named(sources: Sequence[Path]) -> list[tuple[Path, str]]:
    """Every file and folder that was named, with a path in it."""
    found = []
    for source in sources:
        given = matches(source) if is_pattern(source) and ":/" not in str(source) else (source,)
        for one in given:
            path, inner = inner_path(one)
            if str(path) == "-":
                raise InputError("-: a recording is read more than once, which standard input cannot be; name a file")
            if not is_there(path):
                raise InputError(f"{path}: there is no such file or folder; check the path")
            if not path.is_dir() and not path.is_file():
                raise InputError(f"{path}: this is not a regular file; name a film, a folder of pictures or arrays")
            found.append((path, inner))
    return found


def _opened(path: Path, inner: str, frames_key: str | None) -> list[Recording] | None:
    """The recordings in a file; None of a still picture."""
    try:
        start = signatures.beginning(path)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise InputError(f"{path}: the file cannot be read ({why}); check its permissions") from None
    if why_not := signatures.refusal(start, "recording"):
        raise InputError(f"{path}: {why_not}")
    arrays = open_arrays(path, inner, frames_key)
    if arrays is not None:
        return arrays
    found = signatures.identify(start)
    if found is not None and found.family == "film":
        if frames_key is not None:
            raise InputError(f"{path}: a film has no keys; leave --frames-key out")
        return [open_film(path)]
    # A file that no first bytes tell may still be a picture (TGA).
    try:
        picture = look_at(path, str(path))
    except InputError:
        if found is not None:
            raise
        raise InputError(
            f"{path}: this is not a film, picture or array that citris can read; name another file, or convert this one"
        ) from None
    return [open_animation(path)] if len(picture.sizes) > 1 else None


def _one_by_one(files: Sequence[Path]) -> Recording:
    """Pictures that were named one by one, as a shell's pattern names them, in natural order."""
    ordered = sorted(files, key=lambda path: (str(path.parent), natural_key(path)))
    label = f"{ordered[0]} …" if len(ordered) > 1 else str(ordered[0])
    note = f"{counted(len(ordered), 'picture')}, taken for one recording in natural order ({ordered[0].name} first)"
    return of_files(ordered, label, ordered[0].resolve().parent.name, (note,))
