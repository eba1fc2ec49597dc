"""A world's dataset in the published layout: a sequence to learn from, independent frames and triplets to measure."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from citris_cli.artifacts.arrays import npz_writer
from citris_cli.artifacts.files import Writer, check_writable, write_folder
from citris_cli.data.layout import INSTANTANEOUS_GRAPH_KEY, KINDS_KEY, NAMES_KEY, TEMPORAL_GRAPH_KEY
from citris_cli.data.npz import open_npz
from citris_cli.errors import CitrisError, InputError
from citris_cli.system import available_memory
from citris_cli.wording import counted
from citris_cli.worlds.world import Array, World

#: Frames (or triplets) drawn at a time: bounds the memory of a long sequence.
CHUNK = 2048
#: Independent frames and triplets that a dataset comes with.
INDEPENDENT = 2000
TRIPLETS = 250
SPLITS = ("train", "val_indep", "test_indep", "val_triplets", "test_triplets")
# Bytes a frame and variable, about, of a sequence's states and of the random draws that they come from.
_STATE = 32


def write_dataset(world: World, directory: Path, frames: int, seed: int, overwrite: bool = False) -> list[Path]:
    """Write a dataset with ground truth: one ``.npz`` a split, of :data:`SPLITS`.

    Every split draws from a generator of its own, so the length of one does not change the others. Frames are drawn
    and written in chunks. Every file also has the names (``keys``) and kinds (``kinds``) of the columns, and the true
    graph (``graph_temporal``, ``graph_instantaneous``).

    The dataset is complete or absent: where there is another one already, its training sequence is removed before the
    first file is replaced, and the new one comes last.

    Args:
        world: the world.
        directory: where the files go; made if missing.
        frames: frames of the training sequence, at least 2.
        seed: not negative; same seed, same bytes.
        overwrite: whether files of these names that hold something else than this very dataset are replaced.

    Returns:
        The files, in the order of :data:`SPLITS`.

    Raises:
        InputError: fewer than 2 frames, or more than the memory can hold the states of; the directory cannot be
            written, or has other data.
        CitrisError: the disk is full.
    """
    if frames < 2:
        raise InputError(
            f"a training sequence of {counted(frames, 'frame')} has no step; simulate at least 2 (--frames)"
        )
    needed = frames * len(world.variables) * _STATE
    if needed > available_memory():
        raise InputError(
            f"the states of {frames:,} frames need about {needed / 2**30:.1f} GiB of memory, more than is available; "
            "simulate fewer (--frames)"
        )
    for split in SPLITS:
        check_writable(directory / f"{split}.npz")
    files: dict[str, Writer] = {}
    for split, child in zip(SPLITS, np.random.SeedSequence(seed).spawn(len(SPLITS)), strict=True):
        latents, key, columns = _drawn(world, split, frames, np.random.default_rng(child))
        arrays = {key: columns, "latents": latents, **_described(world)}
        path = directory / f"{split}.npz"
        if path.exists() and not (overwrite or _holds(path, arrays)):
            raise InputError(
                f"{path}: holds other data; name another directory with -o, or replace the files of these names with "
                "--overwrite"
            )
        files[path.name] = partial(_write, world, arrays)
    first, *others = files  # without the sequence to learn from it is no dataset
    write_folder(directory, {name: files[name] for name in (*others, first)})
    return [directory / name for name in files]


def _holds(path: Path, arrays: dict[str, Array]) -> bool:
    """Whether a file holds these arrays, which tell all of a dataset but what its frames look like."""
    try:
        with open_npz(path) as file:
            return all(name in file and np.array_equal(file.array(name), array) for name, array in arrays.items())
    except CitrisError:
        return False


def _drawn(world: World, split: str, frames: int, rng: np.random.Generator) -> tuple[Array, str, Array]:
    """The latents of a split, and the key and values of what is told of interventions on its columns."""
    if split.endswith("_triplets"):
        latents, mask = world.triplets(TRIPLETS, rng)
        return latents, "mask", mask
    if split.endswith("_indep"):
        # What is redrawn between two independent frames is everything that interventions reach.
        redrawn = np.tile(world.intervened_on.astype(np.uint8), (INDEPENDENT - 1, 1))
        return world.independent(INDEPENDENT, rng), "targets", redrawn
    latents, targets = world.simulate(frames, rng)
    return latents, "targets", targets


def _described(world: World) -> dict[str, Array]:
    return {
        NAMES_KEY: np.array(world.keys),
        KINDS_KEY: np.array([variable.kind for variable in world.variables]),
        TEMPORAL_GRAPH_KEY: world.graph_temporal,
        INSTANTANEOUS_GRAPH_KEY: world.graph_instantaneous,
    }


def _write(world: World, arrays: dict[str, Array], file: BinaryIO) -> None:
    latents = arrays["latents"]
    with npz_writer(file) as writer:
        shape = (*latents.shape[:-1], world.size, world.size, 3)
        chunks = (world.render(latents[start : start + CHUNK]) for start in range(0, len(latents), CHUNK))
        writer.add_chunks("images", shape, np.dtype(np.uint8), chunks)
        for name, array in arrays.items():
            writer.add(name, array)
