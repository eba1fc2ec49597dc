"""Arrays of frames: ``.npy``, ``.npz`` with any keys, HDF5. They are read piece by piece, in whatever type they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from citris_cli.core.config import MOST_CHANNELS
from citris_cli.data import signatures
from citris_cli.data.episodes import episode_ends, padded_lengths
from citris_cli.data.intensities import Scale, find_scale, to_bytes
from citris_cli.data.layout import (
    EPISODE_KEYS,
    FRAME_KEYS,
    NAMES_KEY,
    TARGET_NAMES_KEY,
    column_names,
    optional_key,
    target_names,
)
from citris_cli.data.paths import natural_key
from citris_cli.data.sources import ArraySource, Source, open_source
from citris_cli.errors import InputError
from citris_cli.recordings.hdf5 import Hdf5Source, open_file
from citris_cli.recordings.recording import Array, Recording
from citris_cli.wording import counted, described_channels, enumerated, reason

#: Bytes of an array that are read at a time.
_PIECE = 16 << 20
#: Arrays with fewer rows and columns than this are no pictures.
_LEAST_SIDE = 8
_MAX_PIXELS = 64_000_000


@dataclass(frozen=True)
class _Form:
    """How an array of frames is arranged.

    Attributes:
        lead: axes before a frame's own: [N], or [E, T].
        height, width, channels: of a frame.
        moved: whether the channels stand before height and width.
        grey: whether there is no axis of channels.
    """

    lead: tuple[int, ...]
    height: int
    width: int
    channels: int
    moved: bool = False
    grey: bool = False

    def frames(self, piece: Array) -> Array:
        """Some rows of the array as frames [n, H, W, C]."""
        if self.grey:
            piece = piece[..., None]
        if self.moved:
            piece = np.moveaxis(piece, -3, -1)
        return piece.reshape(-1, self.height, self.width, self.channels)


def open_npy(path: Path) -> list[Recording]:
    """A single array of frames as a recording.

    Raises:
        InputError: it is damaged, or no frames.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, OverflowError, SyntaxError, TokenError) as error:
        raise InputError(f"{path}: this .npy cannot be read ({reason(error)}); save it again with np.save") from None
    source = ArraySource({"array": array}, str(path))
    return [_recording(source, "array", path, path.stem)]


def open_npz_frames(path: Path, key: str | None) -> list[Recording]:
    """The frames of an ``.npz`` as a recording.

    Args:
        path: of the file.
        key: of the frames; None to find it.

    Raises:
        InputError: it is damaged, or there are no frames.
    """
    source = open_source(path)
    found, notes = _frames_key(source, key)
    return [_with_notes(_recording(source, found, path, path.stem), notes)]


def open_hdf5(path: Path, inner: str, key: str | None) -> list[Recording]:
    """The frames in an HDF5 file: of a dataset, of a group, or of each of the groups in it that have such.

    Args:
        path: of the file.
        inner: what follows the colon in ``file.h5:/path``; "" for the whole file.
        key: of the frames, relative to a group; None to find it.

    Raises:
        InputError: it is damaged, or there are no frames.
    """
    file = open_file(path)
    try:
        return _in_file(file, path, inner, key)
    except BaseException:
        file.close()
        raise


def _in_file(file: Any, path: Path, inner: str, key: str | None) -> list[Recording]:
    label, wanted = f"{path}:{inner}" if inner else str(path), inner.strip("/")
    try:
        item = file[wanted] if wanted else file
    except (KeyError, ValueError, RuntimeError):
        here = [f"/{name}" for name in file]
        raise InputError(f"{label}: there is no such group or dataset; the file has {enumerated(here)}") from None
    if item.file != file:
        raise InputError(f"{label}: this lies in another file, {item.file.filename}, which is not read; name that one")
    if hasattr(item, "dtype"):
        if key is not None:
            raise InputError(f"{label}: this is a dataset already; leave --frames-key out, or name its group")
        group, key = item.parent, item.name.rsplit("/", 1)[1]
        return [_of_group(file, group, group.name, path, key)]
    whole = Hdf5Source(file, item, label, path)
    groups, key, notes = _groups_with_frames(whole, key)
    made = []
    for name in groups:
        group = item[name] if name else item
        made.append(_of_group(file, group, group.name, path, key))
    made[0] = _with_notes(made[0], notes)
    return made


def _of_group(file: Any, group: Any, name: str, path: Path, key: str) -> Recording:
    label = f"{path}:{name}" if name != "/" else str(path)
    source = Hdf5Source(file, group, label, path)
    made = _recording(source, key, path, name.rsplit("/", 1)[1] or path.stem)
    own = source.described()
    return replace(made, described={len(own): own, **made.described}, close=file.close)


def _with_notes(recording: Recording, notes: tuple[str, ...]) -> Recording:
    return replace(recording, notes=(*notes, *recording.notes))


def _groups_with_frames(source: Hdf5Source, key: str | None) -> tuple[list[str], str, tuple[str, ...]]:
    """The groups that have frames, in natural order, "" for the source's own; the key of the frames in each; notes."""
    keys = (key,) if key is not None else FRAME_KEYS
    notes: tuple[str, ...] = ()
    for one in keys:
        if groups := _holders(source.names, one):
            return groups, one, notes
    if key is not None:
        raise InputError(
            f"{source.label}: no group has a dataset {key!r}; there are {enumerated(source.names)}; name one of them "
            "with --frames-key"
        )
    pictures = [name for name in source.names if _form(source.shape(name)) and source.dtype(name).kind in "buif"]
    last = {name.rsplit("/", 1)[-1] for name in pictures}
    if len(last) != 1:
        raise _which(source.label, pictures, source.names)
    found = last.pop()
    return _holders(source.names, found), found, (f"{source.label}: frames are read from {found!r}",)


def _holders(names: tuple[str, ...], key: str) -> list[str]:
    """The groups among whose datasets one has this path, in natural order, none inside of another."""
    groups = ["" if name == key else name[: -len(key) - 1] for name in names if f"/{name}".endswith(f"/{key}")]
    if "" in groups:
        return [""]
    return sorted(groups, key=lambda group: [natural_key(Path(part)) for part in group.split("/")])


def _frames_key(source: Source, key: str | None) -> tuple[str, tuple[str, ...]]:
    if key is not None:
        if key not in source:
            raise InputError(
                f"{source.label}: there is no key {key!r}; there are {enumerated(source.names)}; name one of them with "
                "--frames-key"
            )
        return key, ()
    if (known := optional_key(source, FRAME_KEYS)) is not None:
        return known, ()
    pictures = [name for name in source.names if _form(source.shape(name)) and source.dtype(name).kind in "buif"]
    if len(pictures) != 1:
        raise _which(source.label, pictures, source.names)
    return pictures[0], (f"{source.label}: frames are read from {pictures[0]!r}",)


def _which(label: str, pictures: list[str], names: tuple[str, ...]) -> InputError:
    if pictures:
        return InputError(
            f"{label}: several arrays could be the frames ({enumerated(pictures)}); choose with --frames-key"
        )
    return InputError(f"{label}: none of its arrays holds frames ({enumerated(names)}); name one with --frames-key")


def _form(shape: tuple[int, ...]) -> _Form | None:
    """How an array of this shape holds frames; None where it cannot."""
    if len(shape) not in (3, 4, 5) or 0 in shape:
        return None
    if len(shape) == 3:
        found = _Form(shape[:1], shape[1], shape[2], 1, grey=True)
    elif shape[-1] <= MOST_CHANNELS:
        found = _Form(shape[:-3], shape[-3], shape[-2], shape[-1])
    elif shape[-3] <= MOST_CHANNELS:
        found = _Form(shape[:-3], shape[-2], shape[-1], shape[-3], moved=True)
    elif len(shape) == 4:
        found = _Form(shape[:2], shape[2], shape[3], 1, grey=True)
    else:
        return None
    return found if min(found.height, found.width) >= _LEAST_SIDE else None


def _recording(source: Source, key: str, path: Path, name: str) -> Recording:
    shape, where = source.shape(key), f"{source.label}: {key!r}" if len(source.names) > 1 else source.label
    form = _form(shape)
    if form is None:
        raise InputError(
            f"{where} has shape {list(shape)}; frames need [frames, height, width, channels], "
            f"[frames, height, width] if they are grey, or an axis of episodes before these, and at most "
            f"{MOST_CHANNELS} "
            "channels"
        )
    if form.height * form.width > _MAX_PIXELS:
        raise InputError(f"{where}: frames of {form.width}×{form.height} are more than {_MAX_PIXELS:,} pixels")
    notes: tuple[str, ...] = ()
    if form.moved:
        notes += (f"{where}: shape {list(shape)}, read as channels first",)
    if len(form.lead) == 2:
        notes += (f"{where}: shape {list(shape)}, read as {counted(form.lead[0], 'episode')}",)
    if form.channels > 3:
        notes += (f"{where}: {form.channels} channels, {described_channels(form.channels)}",)
    lengths, padded, told = _episodes(source, form)
    scale, of_scale = find_scale(lambda: source.pieces(key, _PIECE), source.dtype(key), where)
    return Recording(
        label=source.label,
        files=(path,),
        lengths=lengths,
        size=(form.width, form.height),
        channels=form.channels,
        read=partial(_read, source, key, form, padded, scale, where),
        name=name,
        keys={one: partial(source.array, one) for one in source.names if one != key},
        described=_described(source),
        notes=(*notes, *told, *of_scale),
        close=source.close,
    )


def _episodes(source: Source, form: _Form) -> tuple[tuple[int, ...], Array | None, tuple[str, ...]]:
    """Frames of each episode; which of an array's frames are no padding, or None; notes."""
    if len(form.lead) == 2 and (real := padded_lengths(source, *form.lead)) is not None:
        kept = (np.arange(form.lead[1]) < real[:, None]).reshape(-1)
        return tuple(real.tolist()), None if kept.all() else kept, ()
    if not any(key in source for key in EPISODE_KEYS):
        return (form.lead if len(form.lead) == 1 else (form.lead[1],) * form.lead[0]), None, ()
    ends, keys = episode_ends(source, form.lead)
    lengths = np.diff(np.flatnonzero(ends), prepend=-1)
    told = f"{source.label}: {counted(len(lengths), 'episode')}, by {' and '.join(keys)}"
    return tuple(lengths.tolist()), None, (told,) if keys else ()


def _described(source: Source) -> dict[int, tuple[str, ...]]:
    """Names that the file has of columns, those of its targets before those of its true values."""
    own = {}
    for key, names_in in ((NAMES_KEY, column_names), (TARGET_NAMES_KEY, target_names)):
        if key in source and (names := names_in(source)):
            own[len(names)] = tuple(names)
    return own


def _read(
    source: Source, key: str, form: _Form, padded: Array | None, scale: Scale, where: str, wanted: Array
) -> Iterator[Array]:
    """The wanted frames; what follows the last of them is not read."""
    last, real, number = int(np.flatnonzero(wanted)[-1]), 0, 0
    for piece in source.pieces(key, _PIECE):
        frames = form.frames(to_bytes(piece, scale, number // max(1, int(np.prod(form.lead[1:]))), where))
        for frame in frames:
            if padded is None or padded[number]:
                if wanted[real]:
                    yield frame
                real += 1
            number += 1
            if real > last:
                return


#: What opens an array file, by its family.
_OPENERS: dict[str, Callable[[Path, str | None], list[Recording]]] = {
    "npz": open_npz_frames,
    "zip": open_npz_frames,
    "checkpoint": open_npz_frames,
}


def open_arrays(path: Path, inner: str, key: str | None) -> list[Recording] | None:
    """The frames of an array file, by its first bytes; None of a file that is none.

    Args:
        path: of a file.
        inner: what follows the colon in ``file.h5:/path``.
        key: of the frames; None to find it.

    Raises:
        InputError: it is damaged, holds no frames, or has no keys where one was named.
    """
    found = signatures.identify(signatures.beginning(path))
    family = "" if found is None else found.family
    if family == "HDF5":
        return open_hdf5(path, inner, key)
    if inner:
        raise InputError(
            f"{path}:{inner}: only HDF5 files have paths in them, and this is not one; leave '{inner}' out"
        )
    if family == "npy":
        if key is not None:
            raise InputError(f"{path}: a single .npy has no keys; leave --frames-key out")
        return open_npy(path)
    return _OPENERS[family](path, key) if family in _OPENERS else None


def inner_path(given: Path) -> tuple[Path, str]:
    """``file.h5:/path`` taken apart: the file, and the path in it or ""; a file of that very name is itself."""
    match = None if given.exists() else re.fullmatch(r"(.+?):(/.*)?", str(given), re.DOTALL)
    return (given, "") if match is None or not Path(match[1]).is_file() else (Path(match[1]), match[2] or "")
