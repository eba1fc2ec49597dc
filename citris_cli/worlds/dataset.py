"""A world's dataset in the published layout: sequences to learn from, independent frames and triplets to measure.

The states are simulated into a temporary file, then drawn and written a few at a time: memory is that of some chunks,
however long a sequence is.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from citris_cli import __version__
from citris_cli.artifacts.arrays import npz_writer
from citris_cli.artifacts.files import Writer, check_writable, write_folder
from citris_cli.data.layout import (
    INSTANTANEOUS_GRAPH_KEY,
    KINDS_KEY,
    NAMES_KEY,
    PROVENANCE_KEY,
    SPLITS,
    TARGET_NAMES_KEY,
    TEMPORAL_GRAPH_KEY,
)
from citris_cli.data.npz import open_npz
from citris_cli.errors import CitrisError, InputError
from citris_cli.wording import counted, size_in_words
from citris_cli.worlds.drawing import Drawing, OnProgress
from citris_cli.worlds.world import Array, World, combine

#: Name of the file of as many independent frames as one likes; it is no split of the published layout.
INDEPENDENT = "independent"
#: Fewest frames of val and test, fewest independent frames and fewest triplets: with fewer a measure says little.
LEAST_HELD_OUT, LEAST_INDEPENDENT, LEAST_TRIPLETS = 100, 500, 100
#: Independent states and triplets that are drawn at once; another number would change those of a seed.
_DRAWN = 65_536
#: Which of the generators that the seed gives is whose; another order would change the bytes of a seed.
_STREAMS = ("train", "val_indep", "test_indep", "val_triplets", "test_triplets", "val", "test", INDEPENDENT)


def _nothing(*_: int) -> None:
    pass


def split_sizes(frames: int) -> dict[str, int]:
    """Frames of each split, triplets of the last two, in the proportions of the published datasets.

    The held-out sequences and the triplets are a tenth of the training sequence, the independent frames a quarter, and
    none fewer than an evaluation needs.

    Args:
        frames: of the training sequence.
    """
    held_out, triplets = max(frames // 10, LEAST_HELD_OUT), max(frames // 10, LEAST_TRIPLETS)
    independent = max(frames // 4, LEAST_INDEPENDENT)
    counts = (frames, held_out, held_out, independent, independent, triplets, triplets)
    return dict(zip(SPLITS, counts, strict=True))


def write_dataset(
    world: World,
    directory: Path,
    frames: int,
    seed: int,
    overwrite: bool = False,
    *,
    splits: Sequence[str] = SPLITS,
    independent: int = 0,
    workers: int = 1,
    on_progress: OnProgress = _nothing,
) -> list[Path]:
    """Write a dataset with ground truth: one ``.npz`` a split.

    Every split draws from a generator of its own, so that neither the length nor the absence of one changes another.
    The triplets are pairs of frames of the held-out sequence (``val`` or ``test``) and of their recombination, whether
    that sequence is written or not. The files are uncompressed and can be memory-mapped. Each has ``images``,
    ``latents`` (the true values), ``targets`` (the mask of triplets), the names and kinds of the columns (``keys``,
    ``kinds``, and ``keys_targets`` where a target is of several true values), the true graph (``graph_temporal``,
    ``graph_instantaneous``), and ``provenance``: world, constants, seed and versions, as JSON.

    The dataset is complete or absent: where there is another one already, its training sequence is removed before the
    first file is replaced, and the new one comes last.

    Args:
        world: the world.
        directory: where the files go; made if missing.
        frames: frames of the training sequence, at least 2; :func:`split_sizes` has the others.
        seed: not negative; same seed, same bytes.
        overwrite: whether files of these names that hold something else than this very dataset are replaced.
        splits: which of :data:`SPLITS` are written.
        independent: frames of ``independent.npz``, each drawn alone; 0 for no such file.
        workers: most processes that draw. They are started where it is worth it; the bytes are the same. With several,
            a program of one's own has to stand under ``if __name__ == "__main__":``.
        on_progress: is given the number of frames that are written, and of all.

    Returns:
        The files, in the order of :data:`SPLITS`.

    Raises:
        InputError: fewer than 2 frames, a split that there is not, or nothing to write; more than the disk can hold;
            the directory cannot be written, or has other data.
        CitrisError: the disk is full, or processes that draw keep dying.
    """
    counts = _counts(frames, splits, independent)
    drawn = sum(count * (3 if _is_triplets(split) else 1) for split, count in counts.items())
    _require_room(directory, drawn * (world.size**2 * world.channels + 4 * len(world.variables)))
    for split in counts:
        check_writable(directory / f"{split}.npz")
    with Drawing(world, workers, drawn, on_progress) as drawing:
        files: dict[str, Writer] = {}
        for split, count in counts.items():
            document = {"world": world.name, "settings": world.settings, "seed": seed, "split": split, "count": count}
            if _is_triplets(split):
                document["of_frames"] = split_sizes(frames)[_sequence_of(split)]
            path = directory / f"{split}.npz"
            if path.exists() and not (overwrite or _holds(path, document, _shape(world, split, count))):
                raise InputError(
                    f"{path}: holds other data; name another directory with -o, or replace the files of these names "
                    "with --overwrite"
                )
            files[path.name] = partial(_write, world, directory, split, frames, count, seed, document, drawing)
        names = [name for name in files if name != "train.npz"]
        # Without the sequence to learn from it is no dataset.
        names += ["train.npz"] if "train.npz" in files else []
        write_folder(directory, {name: files[name] for name in names})
    return [directory / name for name in files]


def _counts(frames: int, splits: Sequence[str], independent: int) -> dict[str, int]:
    """What is written, in the order of the splits."""
    if frames < 2:
        raise InputError(
            f"a training sequence of {counted(frames, 'frame')} has no step; simulate at least 2 (--frames)"
        )
    for split in splits:
        if split not in SPLITS:
            raise InputError(f"--splits: there is no split {split!r}; the splits are {', '.join(SPLITS)}")
    counts = {split: count for split, count in split_sizes(frames).items() if split in splits}
    if independent:
        counts[INDEPENDENT] = independent
    if not counts:
        raise InputError("there is nothing to write; name splits (--splits) or a number of frames (--independent)")
    return counts


def _require_room(directory: Path, needed: int) -> None:
    """Refuse a dataset that the disk has no room for."""
    free = shutil.disk_usage(_there(directory)).free
    if needed > free:
        raise InputError(
            f"{directory}: the dataset takes about {size_in_words(needed)}, and {size_in_words(free)} are free there; "
            "simulate fewer frames (--frames, --independent), or choose another place with -o"
        )


def _there(directory: Path) -> Path:
    """The directory, or what there is of the way to it."""
    there = directory.absolute()
    while not there.exists():
        there = there.parent
    return there


def _holds(path: Path, document: dict[str, Any], shape: tuple[int, ...]) -> bool:
    """Whether a file is the one that would be written, but for the versions that made it."""
    try:
        with open_npz(path) as file:
            if PROVENANCE_KEY not in file or file.dtype(PROVENANCE_KEY).kind != "U" or file.shape("images") != shape:
                return False
            told = json.loads(str(file.array(PROVENANCE_KEY)))
    except (CitrisError, ValueError, RecursionError):
        return False
    return isinstance(told, dict) and {**told, "versions": None} == {**_as_json(document), "versions": None}


def _as_json(document: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(document))
    return plain


def _is_triplets(split: str) -> bool:
    return split.endswith("_triplets")


def _sequence_of(split: str) -> str:
    """The sequence that a split's triplets are made of: val or test."""
    return split.partition("_")[0]


def _shape(world: World, split: str, count: int) -> tuple[int, ...]:
    return (count, *((3,) if _is_triplets(split) else ()), world.size, world.size, world.channels)


def _generator(seed: int, split: str) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed).spawn(len(_STREAMS))[_STREAMS.index(split)])


def _described(world: World) -> dict[str, Array]:
    arrays = {
        NAMES_KEY: np.array(world.variables.names),
        KINDS_KEY: np.array([variable.kind for variable in world.variables]),
        TEMPORAL_GRAPH_KEY: world.graph_temporal,
        INSTANTANEOUS_GRAPH_KEY: world.graph_instantaneous,
    }
    if world.targets != world.variables.names:
        arrays[TARGET_NAMES_KEY] = np.array(world.targets)
    return arrays


def _write(
    world: World,
    directory: Path,
    split: str,
    frames: int,
    count: int,
    seed: int,
    document: dict[str, Any],
    drawing: Drawing,
    file: BinaryIO,
) -> None:
    """Write one split.

    Args:
        world: the world.
        directory: of the dataset.
        split: its name.
        frames: of the training sequence.
        count: of this split's frames or triplets.
        seed: of the dataset.
        document: for the provenance, without versions.
        drawing: draws the frames.
        file: is written to.
    """
    with ExitStack() as stack:
        spooled = partial(_spooled, stack, _there(directory))
        if _is_triplets(split):
            of = _sequence_of(split)
            length = split_sizes(frames)[of]
            states, _ = spooled(world, world.sequence(length, _generator(seed, of)))
            chunks = _triplets(world, states, count, _generator(seed, split))
        elif split.endswith("_indep") or split == INDEPENDENT:
            chunks = _independent(world, count, _generator(seed, split))
        else:
            chunks = world.sequence(count, _generator(seed, split))
        latents, targets = spooled(world, chunks)
        shape = _shape(world, split, count)
        steps = count - 1 if split in ("train", "val", "test") else count
        with npz_writer(file) as writer:
            writer.add_chunks("images", shape, np.dtype(np.uint8), drawing.frames(latents))
            writer.add("latents", latents.reshape(*shape[:-3], -1))
            writer.add("targets", targets[:steps])
            for name, array in _described(world).items():
                writer.add(name, array)
            versions = {"citris": __version__, "numpy": np.__version__}
            writer.add(PROVENANCE_KEY, np.array(json.dumps({**document, "versions": versions})))


def _spooled(
    stack: ExitStack, folder: Path, world: World, chunks: Iterator[tuple[Array, Array]]
) -> tuple[Array, Array]:
    """States and targets in temporary files beside what is written, memory-mapped.

    Args:
        stack: closes the files, which are gone then.
        folder: where they lie.
        world: whose they are.
        chunks: latents [n, F] and targets [n, K], to be joined.
    """
    files = [stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in range(2)]  # noqa: SIM115 - it is
    for chunk in chunks:
        for file, array, kind in zip(files, chunk, (np.float32, np.uint8), strict=True):
            file.write(np.ascontiguousarray(array, kind).data)
    arrays: list[Array] = []
    for file, columns, kind in zip(
        files, (len(world.variables), len(world.targets)), (np.float32, np.uint8), strict=True
    ):
        file.flush()
        arrays.append(np.memmap(file, dtype=kind, mode="r").reshape(-1, columns))
    return arrays[0], arrays[1]


def _independent(world: World, count: int, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    for start in range(0, count, _DRAWN):
        size = min(_DRAWN, count - start)
        yield world.independent(size, rng), np.ones((size, len(world.targets)), np.uint8)


def _triplets(world: World, states: Array, count: int, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    """Two random states and their recombination, one after another [3n, F], and the masks [n, K].

    The mask is uniform over the variables that interventions reach, but for none of them and, where they are three or
    more, for all: there is more to tell from a mixture.
    """
    reached = np.flatnonzero(world.intervened_on)
    for start in range(0, count, _DRAWN):
        size = min(_DRAWN, count - start)
        first, second = (states[rows] for rows in rng.integers(0, len(states), (2, size)))
        mask = np.zeros((size, len(world.targets)), np.uint8)
        codes = rng.integers(1, 2 ** len(reached) - (len(reached) > 2), size)
        mask[:, reached] = codes[:, None] >> np.arange(len(reached)) & 1
        third = combine(world, first, second, mask)
        yield np.stack([first, second, third], axis=1).reshape(3 * size, -1), mask
