"""Where a dataset's files lie, what a run on it is called, and which keys of a file mean what."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from citris_cli.data.npz import NpzFile
from citris_cli.errors import InputError

SPLITS = ("train", "val", "test", "val_indep", "test_indep", "val_triplets", "test_triplets")

FRAME_KEYS = ("images", "imgs")
TARGET_KEYS = ("interventions", "targets")
MASK_KEYS = ("mask", *TARGET_KEYS)
# The raw values come first: `latents` are the same scaled to −1…1 where a file has both.
TRUTH_KEYS = ("raw_latents", "latents")
SHAPE_KEY = "shape_latents"
NAMES_KEY = "keys"

_SPLIT_STEM = re.compile(r"(train|val|test)([-_].*)?", re.IGNORECASE)


def find_split(path: Path, split: str) -> tuple[Path, ...]:
    """The files of one split: `path` itself if it is a file, else from the directory.

    In a directory: `<split>.npz`, else the shards `<split>-*.npz` or `<split>_*.npz` in natural order; else, for
    any split, the only `.npz` that there is.

    Args:
        path: a file or a directory.
        split: one of `SPLITS`.

    Returns:
        The files, empty where the directory has none for this split.

    Raises:
        InputError: the path does not exist or cannot be listed.
        ValueError: `split` is none of `SPLITS`.
    """
    if split not in SPLITS:
        raise ValueError(f"no such split: {split}")
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{path}: there is no such file or directory; check the path")
        return (path,)
    try:
        files = sorted((p for p in path.iterdir() if p.suffix == ".npz"), key=natural_key)
    except OSError as error:
        raise InputError(f"{path}: the directory cannot be read ({error.strerror}); check its permissions") from None
    exact = tuple(p for p in files if p.stem == split)
    # `val_indep.npz` is a split of its own and no shard of `val`.
    shards = tuple(p for p in files if re.fullmatch(rf"{split}[-_](?!indep|triplets).+", p.stem))
    return exact or shards or (tuple(files) if len(files) == 1 else ())


def find_files(path: Path, splits: Sequence[str]) -> tuple[Path, ...]:
    """The files of the first of `splits` that a directory has; a file, or what a quoted glob matches, is itself.

    Raises:
        InputError: nothing there, naming what was looked for and what was found.
    """
    if not path.exists() and any(character in str(path) for character in "*?["):
        matches = tuple(sorted(map(Path, glob.glob(str(path))), key=natural_key))
        if not matches:
            raise InputError(f"{path}: no file matches this pattern; check the path")
        return matches
    for split in splits:
        if found := find_split(path, split):
            return found
    here = sorted(p.name for p in path.glob("*.npz"))
    listing = f"it has {', '.join(here[:8])}" if here else "it has no .npz file"
    wanted = " or ".join(f"{split}.npz" for split in splits)
    raise InputError(f"{path}: the directory has no {wanted}, {listing}; name the file itself")


def dataset_name(paths: Sequence[Path]) -> str:
    """The name of a dataset for `runs/<name>`: of its directory, or its file's stem.

    A file named after a split (train, val_indep, train-0003) takes its directory's name; of other shards
    (`a-1.npz`, `a-2.npz`) the number is left out. Only letters, digits, `.`, `_` and `-` remain, at most 64.

    Raises:
        ValueError: no paths.
    """
    if not paths:
        raise ValueError("a dataset has at least one path")
    path = paths[0].resolve()
    if path.is_dir():
        name = path.name
    elif _SPLIT_STEM.fullmatch(path.stem):
        name = path.parent.name
    else:
        name = path.stem
        if len(paths) > 1 or any(character in name for character in "*?["):
            name = re.sub(r"[-_]?[\d*?\[\]-]*$", "", name) or name
    return re.sub(r"[^\w.-]+", "_", name).strip("._")[:64] or "data"


def split_label(path: Path) -> str:
    """What tells a file named after a split from the others of its dataset: `test_indep`, `train-0003`.

    Empty for every other path, whose own name is the dataset's (see `dataset_name`).
    """
    path = path.resolve()
    if path.is_dir() or not _SPLIT_STEM.fullmatch(path.stem):
        return ""
    return re.sub(r"[^\w.-]+", "", path.stem).rstrip("-_.")


def natural_key(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key by which numbers in a file name order by value; names equal in value order as text."""
    parts = re.split(r"(\d+)", path.name)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part.lower()) for part in parts], path.name


def first_key(file: NpzFile, candidates: Sequence[str], what: str) -> str:
    """The first of the candidate keys that the file has; InputError naming what was looked for and what is there."""
    key = optional_key(file, candidates)
    if key is None:
        raise InputError(
            f"{file.path}: no {what}, looked for the keys {' or '.join(candidates)} and found "
            f"{', '.join(file.names)}; save them under one of these keys"
        )
    return key


def optional_key(file: NpzFile, candidates: Sequence[str]) -> str | None:
    """The first of the candidate keys that the file has, or None."""
    return next((key for key in candidates if key in file), None)


def column_names(file: NpzFile) -> list[str] | None:
    """The file's own names of its columns (`keys`, text or bytes), or None where it has none.

    Raises:
        InputError: `keys` is no list of text, or holds bytes that are no UTF-8.
    """
    if NAMES_KEY not in file:
        return None
    shape, kind = file.shape(NAMES_KEY), file.dtype(NAMES_KEY).kind
    if len(shape) != 1 or kind not in "US":
        raise InputError(
            f"{file.path}: key 'keys' holds {file.dtype(NAMES_KEY)} of shape {list(shape)}; it needs a list of names"
        )
    try:
        return [n.decode() if isinstance(n, bytes) else str(n) for n in file.array(NAMES_KEY).tolist()]
    except ValueError:
        raise InputError(f"{file.path}: key 'keys' holds bytes that are no text; save the names as text") from None
