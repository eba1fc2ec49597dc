"""Where a dataset's files lie, what a run on it is called, and which keys of a file mean what."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from citris_cli.artifacts.files import listed
from citris_cli.data.paths import is_hidden, is_pattern, is_there, matches, natural_key, parse_choice
from citris_cli.data.sources import GIVEN_ARRAYS, ArraySource, Data, Source
from citris_cli.data.variables import MAX_NAME_LENGTH
from citris_cli.errors import InputError
from citris_cli.system import name_as_utf8, name_of_utf8
from citris_cli.wording import enumerated

SPLITS = ("train", "val", "test", "val_indep", "test_indep", "val_triplets", "test_triplets")

FRAME_KEYS = ("images", "imgs")
TARGET_KEYS = ("interventions", "targets")
MASK_KEYS = ("mask", *TARGET_KEYS)
# The raw values come first: `latents` are the same scaled to −1…1 where a file has both.
TRUTH_KEYS = ("raw_latents", "latents")
SHAPE_KEY = "shape_latents"
NAMES_KEY = "keys"
# Names of the targets' columns where `keys` are those of the true values: one target for several of these.
TARGET_NAMES_KEY = "keys_targets"
KINDS_KEY = "kinds"
# Keys that tell where an episode ends; see `episodes.py`.
EPISODE_KEYS = ("dones", "terminals", "episode_ends", "episode_starts", "episode_ids", "lengths")
# The true graph over the columns, uint8 [K, K]; entry [i, j] is 1 iff i causes j, one frame later or within a frame.
TEMPORAL_GRAPH_KEY = "graph_temporal"
INSTANTANEOUS_GRAPH_KEY = "graph_instantaneous"
# Where a dataset comes from, as JSON.
PROVENANCE_KEY = "provenance"

KNOWN_KEYS = (
    *FRAME_KEYS,
    *MASK_KEYS,
    *TRUTH_KEYS,
    SHAPE_KEY,
    NAMES_KEY,
    TARGET_NAMES_KEY,
    KINDS_KEY,
    *EPISODE_KEYS,
    TEMPORAL_GRAPH_KEY,
    INSTANTANEOUS_GRAPH_KEY,
    PROVENANCE_KEY,
)

#: Most columns of targets or of true values that are read: what is held of a frame is bounded, and every pair of them
#: is compared.
MOST_COLUMNS = 1000

#: One input to be opened: a file, or arrays that came in none.
Input: TypeAlias = Path | ArraySource

#: Letters and bytes of a name that is made of another; file systems take 255 bytes, and it is not the whole one.
_LONGEST, _LONGEST_BYTES = 64, 200

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
    if not is_there(path):
        if parse_choice(path).text is not None:
            raise InputError(f"{path}: this command takes whole files; leave out the # and what follows it")
        raise InputError(f"{path}: there is no such file or directory; check the path")
    if not path.is_dir():
        return (path,)
    files = array_files(path)
    exact = tuple(p for p in files if p.stem == split)
    # `val_indep.npz` is a split of its own and no shard of `val`.
    shards = tuple(p for p in files if re.fullmatch(rf"{split}[-_](?!indep|triplets).+", p.stem))
    return exact or shards or (tuple(files) if len(files) == 1 else ())


def array_files(folder: Path) -> list[Path]:
    """The ``.npz`` files in a folder (not below it) in natural order; hidden ones are nobody's data.

    Raises:
        InputError: the folder cannot be read.
    """
    found = (path for path in listed(folder) if path.suffix == ".npz" and not is_hidden(path.name))
    return sorted(found, key=natural_key)


def find_files(path: Path, splits: Sequence[str]) -> tuple[Path, ...]:
    """The files of the first of `splits` that a directory has; a file, or what a quoted glob matches, is itself.

    Raises:
        InputError: nothing there, naming what was looked for and what was found.
    """
    if is_pattern(path):
        return matches(path)
    for split in splits:
        if found := find_split(path, split):
            return found
    here = [p.name for p in array_files(path)]
    listing = f"it has {enumerated(here)}" if here else "it has no .npz file"
    wanted = " or ".join(f"{split}.npz" for split in splits)
    raise InputError(f"{path}: the directory has no {wanted}, {listing}; name the file itself")


def find_inputs(where: Sequence[Data], splits: Sequence[str]) -> tuple[Input, ...]:
    """Everything that was given as files and arrays to be opened, in order.

    Args:
        where: files, directories, quoted patterns, and arrays by name.
        splits: what to look for in a directory; see `find_files`.

    Raises:
        InputError: a path with nothing there; arrays that cannot be used.
    """
    several = sum(not isinstance(one, Path) for one in where) > 1
    found: list[Input] = []
    for number, one in enumerate(where, 1):
        if isinstance(one, Path):
            found.extend(find_files(one, splits))
        elif isinstance(one, ArraySource):
            found.append(one)
        else:
            # Of several, a message has to tell which.
            found.append(ArraySource(one, f"{GIVEN_ARRAYS} (number {number})" if several else GIVEN_ARRAYS))
    return tuple(found)


def label_of(where: Data) -> str:
    """What messages call an input: its path, or "the given arrays"."""
    if isinstance(where, Path):
        return str(where)
    return where.label if isinstance(where, ArraySource) else GIVEN_ARRAYS


def dataset_name(paths: Sequence[Data]) -> str:
    """The name of a dataset for `runs/<name>`: of its directory, or its file's stem; "arrays" for what is no file.

    A file named after a split (train, val_indep, train-0003) takes its directory's name; of other shards
    (`a-1.npz`, `a-2.npz`) the number is left out; and a `safe_name` is made of it.

    Raises:
        ValueError: no paths.
    """
    if not paths:
        raise ValueError("a dataset has at least one path")
    if not isinstance(paths[0], Path):
        return "arrays"
    path = paths[0].resolve()
    if path.is_dir():
        name = path.name
    elif _SPLIT_STEM.fullmatch(path.stem):
        name = path.parent.name
    else:
        name = path.stem
        if len(paths) > 1 or any(character in name for character in "*?["):
            # Of a pattern that matches everything in a folder, the folder's name.
            outer = next((part.name for part in path.parents if not any(c in part.name for c in "*?[")), "")
            name = re.sub(r"[-_]?[\d*?\[\]-]*$", "", name) or (outer if name.startswith("*") else name)
    return safe_name(name)


def safe_name(text: str, keep: str = "") -> str:
    """A name of a file or folder, made of any text: of one part, not hidden, and one that every system takes.

    Letters of any script, digits, ``.``, ``_`` and ``-`` remain, neither ``.`` nor ``_`` at either end, and so do bytes
    of a file's name that are no UTF-8; what Windows keeps for devices (``con``, ``nul.x``) gets a ``_``; at most 64
    letters and 200 bytes, of which the last eight tell of a text that is longer; "data" where nothing remains. All this
    holds for the name's bytes, so that it is the same in every locale.

    Args:
        text: such as the stem of a file.
        keep: other characters that remain.
    """
    name = re.sub(rf"[^\w.{re.escape(keep)}\udc80-\udcff-]+", "_", name_as_utf8(text)).strip("._")
    if len(name) > _LONGEST or len(_bytes(name)) > _LONGEST_BYTES:
        start = name[: _LONGEST - 9]
        while len(_bytes(start)) > _LONGEST_BYTES - 9:
            start = start[:-1]
        name = f"{start.rstrip('._-')}-{hashlib.sha256(_bytes(name)).hexdigest()[:8]}"
    if re.fullmatch(r"(con|prn|aux|nul|(com|lpt)\d)(\..*)?", name, re.IGNORECASE):
        device, dot, rest = name.partition(".")
        name = f"{device}_{dot}{rest}"
    return name_of_utf8(name) or "data"


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def split_label(path: Path) -> str:
    """What tells a file named after a split from the others of its dataset: `test_indep`, `train-0003`.

    Empty for every other path, whose own name is the dataset's (see `dataset_name`).
    """
    path = path.resolve()
    return "" if path.is_dir() or not _SPLIT_STEM.fullmatch(path.stem) else safe_name(path.stem).rstrip("-")


def first_key(source: Source, candidates: Sequence[str], what: str) -> str:
    """The first of the candidate keys that the source has; InputError naming what was looked for and what is there."""
    key = optional_key(source, candidates)
    if key is None:
        raise InputError(
            f"{source.label}: no {what}, looked for the keys {' or '.join(candidates)} and found "
            f"{enumerated(source.names)}; save them under one of these keys"
        )
    return key


def optional_key(source: Source, candidates: Sequence[str]) -> str | None:
    """The first of the candidate keys that the source has, or None."""
    return next((key for key in candidates if key in source), None)


def column_names(source: Source) -> list[str] | None:
    """The source's own names of its columns (`keys`, text or bytes), or None where it has none.

    Raises:
        InputError: `keys` is no list of text, or holds bytes that are no UTF-8.
    """
    return texts(source, NAMES_KEY, "names")


def target_names(source: Source) -> list[str] | None:
    """The source's names of its targets where `keys` are those of its true values (`keys_targets`), or None.

    Raises:
        InputError: `keys_targets` is no list of text, or holds bytes that are no UTF-8.
    """
    return texts(source, TARGET_NAMES_KEY, "names")


def unused_keys(source: Source) -> tuple[str, ...]:
    """Names of arrays that nothing reads."""
    return tuple(name for name in source.names if name not in KNOWN_KEYS)


def column_kinds(source: Source) -> list[str] | None:
    """The source's own kinds of its columns (`kinds`, text or bytes), not yet judged, or None where it has none.

    Raises:
        InputError: `kinds` is no list of text, or holds bytes that are no UTF-8.
    """
    return texts(source, KINDS_KEY, "kinds")


def texts(source: Source, key: str, what: str = "names") -> list[str] | None:
    """A list of names in a source, or None where it has none under this key.

    Args:
        source: what is open.
        key: of an array of text or bytes.
        what: what they are, for messages.

    Raises:
        InputError: no list of text, more or longer ones than a source of :data:`MOST_COLUMNS` columns has, which is
            judged before they are read, or bytes that are no UTF-8.
    """
    if key not in source:
        return None
    shape, dtype = source.shape(key), source.dtype(key)
    where = f"{source.label}: key {key!r}"
    if len(shape) != 1 or dtype.kind not in "US":
        raise InputError(f"{where} holds {dtype} of shape {list(shape)}; it needs a list of {what}")
    each = dtype.itemsize // (4 if dtype.kind == "U" else 1)
    if shape[0] > MOST_COLUMNS or shape[0] * each > MOST_COLUMNS * MAX_NAME_LENGTH:
        raise InputError(
            f"{where} has room for {shape[0]:,} {what} of {each:,} characters; "
            f"save at most {MOST_COLUMNS:,} {what} of {MAX_NAME_LENGTH} characters"
        )
    try:
        return [n.decode() if isinstance(n, bytes) else str(n) for n in source.array(key).tolist()]
    except ValueError:
        raise InputError(f"{where} holds bytes that are not text; save the {what} as text") from None
