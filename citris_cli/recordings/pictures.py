"""Pictures: a folder of them, several files, or one that is a sequence, such as a GIF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from citris_cli.artifacts.files import listed
from citris_cli.data.images import PictureFile, list_images, list_others, look_at, read_whole
from citris_cli.data.paths import is_hidden, natural_key
from citris_cli.errors import InputError
from citris_cli.recordings.recording import Array, Recording
from citris_cli.wording import counted, enumerated


def open_folder(folder: Path) -> list[Recording]:
    """The pictures in a folder, in natural order, as a recording; or each of its sub-folders as one.

    Args:
        folder: that is there.

    Raises:
        InputError: there are no pictures, or both pictures and sub-folders of pictures.
    """
    there = [path for path in listed(folder) if not is_hidden(path.name)]
    inside = sorted((path for path in there if path.is_dir() and _has_pictures(path)), key=natural_key)
    if not inside:
        return [of_files(list_images(folder), str(folder), folder.resolve().name, _left_out(folder))]
    if _has_pictures(folder):
        raise InputError(
            f"{folder}: there are pictures in this folder and in its sub-folders "
            f"({enumerated([p.name for p in inside])}); "
            "put all of an episode into one folder, or name the folders"
        )
    return [of_files(list_images(one), str(one), one.name, _left_out(one)) for one in inside]


def of_files(
    files: Sequence[Path], label: str, name: str, notes: tuple[str, ...] = (), relative_to: Path | None = None
) -> Recording:
    """Still pictures, one a frame, as a recording.

    Args:
        files: in order.
        label: what messages call them.
        name: that a table may call them by.
        notes: sentences that are added to those of the recording.
        relative_to: folder by which frames are named, for tables; that of each file itself if None.

    Raises:
        InputError: one is no picture, damaged, or a sequence of several.
    """
    pictures = [look_at(path, str(path)) for path in files]
    for picture in pictures:
        if len(picture.sizes) > 1:
            raise InputError(
                f"{picture.label}: there are {len(picture.sizes):,} pictures in this file; name it as a SOURCE of its "
                "own, which is an episode"
            )
    return Recording(
        label=label,
        files=tuple(files),
        lengths=(len(pictures),),
        size=pictures[0].sizes[0],
        channels=3 if any(picture.in_colour for picture in pictures) else 1,
        read=lambda wanted: _still(pictures, wanted),
        name=name,
        names=tuple(str(path.relative_to(relative_to)) if relative_to else path.name for path in files),
        notes=(*notes, *_of_pictures(pictures, label)),
    )


def open_animation(path: Path) -> Recording:
    """A file with a sequence of pictures (GIF, WebP, APNG, TIFF) as a recording.

    Raises:
        InputError: it is damaged.
    """
    picture = look_at(path, str(path))
    channels = 3 if picture.in_colour else 1

    def read(wanted: Array) -> Iterator[Array]:
        return read_whole(picture, np.flatnonzero(wanted).tolist(), channels)

    return Recording(
        label=str(path),
        files=(path,),
        lengths=(len(picture.sizes),),
        size=picture.sizes[0],
        channels=channels,
        read=read,
        name=path.stem,
        notes=_of_pictures([picture], str(path)),
    )


def _still(pictures: Sequence[PictureFile], wanted: Array) -> Iterator[Array]:
    channels = 3 if any(picture.in_colour for picture in pictures) else 1
    for picture, chosen in zip(pictures, wanted, strict=True):
        if chosen:
            yield from read_whole(picture, [0], channels)


def _of_pictures(pictures: Sequence[PictureFile], label: str) -> tuple[str, ...]:
    """What the user should know: other sizes among them, alpha that is dropped."""
    notes = []
    first = pictures[0]
    width, height = first.sizes[0]
    others = [
        (picture, size) for picture in pictures for size in dict.fromkeys(picture.sizes) if size != first.sizes[0]
    ]
    if others:
        picture, size = others[0]
        notes.append(
            f"{label}: {counted(len(others), 'picture')} of {len(pictures):,} of another size than the first "
            f"({width}×{height}), such as {picture.label} ({size[0]}×{size[1]}): each is fitted by itself; check that "
            "they belong here"
        )
    if any(picture.with_alpha for picture in pictures):
        notes.append(f"{label}: transparency (alpha) is dropped")
    return tuple(notes)


def _has_pictures(folder: Path) -> bool:
    try:
        return bool(list_images(folder))
    except InputError:
        return False


def _left_out(folder: Path) -> tuple[str, ...]:
    others = [path.name for path in list_others(folder) if path.suffix.lower() != ".npy"]
    if not others:
        return ()
    return (f"{folder}: left out, as these are not pictures that citris can read: {enumerated(others)}",)
