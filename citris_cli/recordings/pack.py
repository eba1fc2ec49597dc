"""Recordings become a dataset in the published layout: frames, targets and true values, written as they are read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from citris_cli import __version__
from citris_cli.artifacts.arrays import npz_writer
from citris_cli.artifacts.endings import names_a_file
from citris_cli.artifacts.files import Writer, check_writable, write_folder, write_together
from citris_cli.core.config import WIDTHS
from citris_cli.data.layout import KINDS_KEY, NAMES_KEY, PROVENANCE_KEY, SPLITS, TARGET_NAMES_KEY
from citris_cli.data.truth import check_values
from citris_cli.data.variables import KINDS, Variables, canonical_name, parse_vars
from citris_cli.errors import InputError
from citris_cli.recordings.choosing import used_frames
from citris_cli.recordings.digests import Digests
from citris_cli.recordings.fitting import Fitting, fitted
from citris_cli.recordings.opening import open_recordings
from citris_cli.recordings.recording import Array, Recording
from citris_cli.recordings.splitting import Split, split
from citris_cli.recordings.targets import Labels, Reading, Told, read_targets
from citris_cli.wording import counted, enumerated, legible

#: Width of the frames where those of the recordings are none that the networks take.
DEFAULT_SIZE = 64
#: Frames that are written at a time, in bytes.
_WRITTEN = 8 << 20


def _nothing(*_: Any) -> None:
    pass


@dataclass(frozen=True)
class Packing:
    """What becomes of recordings.

    Attributes:
        size: height and width in pixels, a multiple of 16 from 32 to 256; None for that of the frames if it is such a
            one, else :data:`DEFAULT_SIZE`.
        fit: of :data:`citris_cli.recordings.fitting.FITS`.
        crop: left, top, width, height in pixels, cut out first.
        grey: whether colours become one channel.
        every: only every so many frames are kept; the targets of the steps between are joined by OR.
        start, stop: the frames of each episode that are used: a number, or a time such as ``12.5s`` or ``1:02``; the
            frame of `stop` is the first that is not. None for the first and the last.
        val, test: shares of the frames, at the end, that are held out: whole episodes where these fit.
        kinds: ``name:kind,…`` of variables and true values.
        frames_key: of the frames in sources with keys.
    """

    size: int | None = None
    fit: str = "crop"
    crop: tuple[int, int, int, int] | None = None
    grey: bool = False
    every: int = 1
    start: str | None = None
    stop: str | None = None
    val: float = 0.0
    test: float = 0.0
    kinds: str | None = None
    frames_key: str | None = None


@dataclass(frozen=True)
class Packed:
    """What was written.

    Attributes:
        files: by split.
        frames, steps: of each split, in the same order.
        episodes: of all.
        size: height and width of a frame in pixels.
        channels: of a frame.
        variables: names of the targets.
        interventions: on each of them, in all splits.
        factors: names of the true values.
    """

    files: dict[str, Path]
    frames: dict[str, int]
    steps: dict[str, int]
    episodes: int
    size: int
    channels: int
    variables: tuple[str, ...]
    interventions: tuple[int, ...]
    factors: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Kept:
    """What is kept of all recordings, n frames in e episodes.

    Attributes:
        wanted: of each recording, bool [N].
        lengths: int64 [e], frames of each episode.
        targets: bool [n, K], of the step out of each frame.
        truth: float32 [n, F].
        twice: steps with several interventions on one variable.
    """

    wanted: tuple[Array, ...]
    lengths: Array
    targets: Array
    truth: Array
    twice: int


def pack(
    sources: Sequence[Path],
    output: Path,
    reading: Reading,
    packing: Packing,
    command: Sequence[str] = (),
    overwrite: bool = False,
    on_note: Callable[[str], None] = _nothing,
    on_progress: Callable[[int, int], None] = _nothing,
) -> Packed:
    """Make a dataset of recordings; it is complete or absent.

    Frames are decoded, fitted and written in one pass, a few at a time. The files are uncompressed and can be
    memory-mapped. Each has ``images``, ``interventions`` [n-1, K], ``keys``, perhaps ``kinds``, ``latents`` (the true
    values) and ``lengths`` (of several episodes), and ``provenance``: the command, the settings, and the SHA-256 of all
    that was read, as JSON.

    Args:
        sources: see :func:`citris_cli.recordings.opening.open_recordings`.
        output: a folder for ``train.npz`` (and ``val.npz``, ``test.npz``), or an ``.npz``.
        reading: what the tables hold.
        packing: what becomes of the frames.
        command: for the provenance.
        overwrite: whether files that are there are replaced.
        on_note: is given sentences that the user should read.
        on_progress: is given the number of frames that are written, and of all.

    Raises:
        InputError: whatever is wrong with sources, tables or settings, before anything is written; a film that turns
            out to be damaged.
        CitrisError: the disk is full.
    """
    with ExitStack() as stack:
        recordings = open_recordings(sources, packing.frames_key, Fitting(DEFAULT_SIZE, grey=packing.grey).channels)
        for recording in recordings:
            stack.callback(recording.close)
            if recording.missing:
                for span in recording.spans():
                    used_frames(span, recording, packing.start, packing.stop)
        told = read_targets(recordings, reading)
        variables, factors = _variables(told, packing.kinds)
        fitting = _fitting(recordings, packing)
        kept = _kept(recordings, told.labels, packing)
        of_values = (
            *_of_kinds(variables, factors),
            *check_values(kept.truth, tuple(factors), "--truth", "leave its kind out of --kinds"),
        )
        if output.suffix == ".npz" and packing.val + packing.test > 0:
            raise InputError(f"-o {output}: --val and --test make several files; name a folder")
        splits = split(kept.lengths.tolist(), packing.val, packing.test)
        paths = _paths(output, splits, overwrite)
        for note in _notes(recordings, told, fitting, kept, packing, splits, paths):
            on_note(note)
        for note in of_values:
            on_note(note)
        digests = Digests(recordings, told.files)
        stack.callback(digests.stop)
        shape = (fitting.size, fitting.size, fitting.channels(recordings[0].channels))
        frames = _frames(recordings, kept, fitting, on_progress)
        provenance = partial(_provenance, command, sources, digests)
        writers: dict[str, Writer] = {
            one.name: partial(_write, frames, one, kept, shape, variables, factors, provenance) for one in splits
        }
        _write_files(output, paths, writers)
    return _packed(kept, splits, paths, shape, variables, factors)


def _provenance(command: Sequence[str], sources: Sequence[Path], digests: Digests) -> str:
    """What a dataset was made of, as JSON; waits until all that is read was hashed."""
    versions = {"citris": __version__, "numpy": np.__version__}
    named = {"command": list(command), "sources": [str(source) for source in sources]}
    return json.dumps({**named, **digests.result(), "versions": versions})


def _packed(
    kept: _Kept,
    splits: Sequence[Split],
    paths: dict[str, Path],
    shape: tuple[int, int, int],
    variables: Variables,
    factors: Variables,
) -> Packed:
    """What was written, counted."""
    inside = {one.name: kept.targets[one.start : one.stop][one.steps()] for one in splits}
    return Packed(
        files=paths,
        frames={one.name: one.stop - one.start for one in splits},
        steps={name: len(rows) for name, rows in inside.items()},
        episodes=len(kept.lengths),
        size=shape[0],
        channels=shape[2],
        variables=variables.names,
        interventions=tuple(np.concatenate(list(inside.values())).sum(0).tolist()),
        factors=factors.names,
    )


def _write_files(output: Path, paths: dict[str, Path], writers: dict[str, Writer]) -> None:
    if output.suffix == ".npz":
        write_together({paths["train"]: writers["train"]}, [output])
    else:  # without the sequence to learn from it is no dataset
        write_folder(output, {paths[name].name: write for name, write in writers.items()}, "train.npz")


def _paths(output: Path, splits: Sequence[Split], overwrite: bool) -> dict[str, Path]:
    """The file of each split; refused where something is there already."""
    if output.suffix == ".npz":
        paths = {"train": output}
    elif os.path.isfile(output) or names_a_file(output):
        raise InputError(f"-o {output}: a dataset is an .npz or a folder; name one of these")
    else:
        paths = {one.name: output / f"{one.name}.npz" for one in splits}
    for path in paths.values():
        check_writable(path, named=path == output)
        if path.exists() and not overwrite:
            raise InputError(f"{path}: is there already; name another place with -o, or replace it with --overwrite")
    return paths


def _variables(told: Told, kinds: str | None) -> tuple[Variables, Variables]:
    """Targets and true values with their kinds; kinds that nobody told are continuous."""
    known: dict[str, str] = {}
    names = {canonical_name(name) for name in (*told.variables, *told.factors)}
    for part in kinds.split(",") if kinds else []:
        name, _, kind = (piece.strip() for piece in part.partition(":"))
        if canonical_name(name) not in names:
            raise InputError(f"--kinds: there is no column {legible(name)!r}; there are {enumerated(sorted(names))}")
        if kind.lower() not in KINDS:
            raise InputError(f"--kinds {part.strip()}: write name:kind with {', '.join(KINDS)}")
        known[canonical_name(name)] = kind.lower()
    return _described(told.variables, known), _described(told.factors, known)


def _described(names: Sequence[str], kinds: Mapping[str, str]) -> Variables:
    for name in names:
        if "," in name or ":" in name:
            raise InputError(f"the column {legible(name)!r} has a name with commas or colons; call it something else")
    given = (f"{name}:{kinds[canonical_name(name)]}" if canonical_name(name) in kinds else name for name in names)
    return parse_vars(",".join(given)) if names else Variables()


def _of_kinds(variables: Variables, factors: Variables) -> tuple[str, ...]:
    """What is not kept: a dataset tells of the kinds of its true values, or of its targets if there are none."""
    lost = [item.name for item in variables if factors and item.kind != "continuous" and item.name not in factors.names]
    if not lost:
        return ()
    return (
        f"--kinds: the kind of {enumerated(lost)} is not kept, as the dataset has the kinds of the true values "
        "instead; give it to the commands that need it with --vars",
    )


def _fitting(recordings: Sequence[Recording], packing: Packing) -> Fitting:
    fitting = Fitting(packing.size or DEFAULT_SIZE, packing.fit, packing.crop, packing.grey)
    for recording in recordings:
        fitting.check(recording.size, recording.label)
    if packing.size is None:
        sizes = {recording.size if packing.crop is None else packing.crop[2:] for recording in recordings}
        width, height = next(iter(sizes))
        if len(sizes) == 1 and width == height and width in WIDTHS:
            return Fitting(width, packing.fit, packing.crop, packing.grey)
    return fitting


def _kept(recordings: Sequence[Recording], labels: Sequence[Labels], packing: Packing) -> _Kept:
    wanted, lengths, targets, truth, twice = [], [], [], [], 0
    for recording, told in zip(recordings, labels, strict=True):
        chosen = np.zeros(recording.frames, bool)
        ends = np.cumsum((0, *told.lengths)).tolist()
        for begin, end in pairwise(ends):
            used = used_frames(range(begin, end), recording, packing.start, packing.stop)
            told.require(used, recording)
            frames = np.arange(used.start, used.stop, packing.every)
            chosen[frames] = True
            steps = told.counts[used.start : used.stop].copy()
            steps[-1:] = 0  # the step out of the last one that is used
            joined = np.add.reduceat(steps.astype(np.int64), frames - used.start, axis=0)
            joined[-1] = 0  # nor is there a step from the last one that is kept
            twice += int((joined > 1).any(1).sum())
            targets.append(joined > 0)
            truth.append(told.truth[frames])
            lengths.append(len(frames))
        wanted.append(chosen)
    if max(lengths) < 2:
        raise InputError(
            f"{recordings[0].label}: no episode has two frames, so there is no step to learn from; use more frames "
            "(--from, "
            "--to, --every)"
        )
    return _Kept(tuple(wanted), np.array(lengths), np.concatenate(targets), np.concatenate(truth), twice)


def _notes(
    recordings: Sequence[Recording],
    told: Told,
    fitting: Fitting,
    kept: _Kept,
    packing: Packing,
    splits: Sequence[Split],
    paths: dict[str, Path],
) -> Iterator[str]:
    for recording in recordings:
        yield from recording.notes
        if recording.missing:
            yield f"{recording.label}: {recording.missing}"
    for size in dict.fromkeys(recording.size for recording in recordings):
        if words := fitting.in_words(size):
            alike = [recording.label for recording in recordings if recording.size == size]
            yield f"{enumerated(alike, 80)}: frames of {size[0]}×{size[1]} are {words}"
    yield from told.notes
    if kept.twice:
        yield (
            f"{counted(kept.twice, 'step')} with several interventions on one variable, of which a target tells no "
            "more than one" + (f"; --every {packing.every} joins steps" if packing.every > 1 else "")
        )
    if single := int((kept.lengths == 1).sum()):
        yield f"{counted(single, 'episode')} of a single frame, from which no step leads"
    for one in splits:
        if one.said:
            yield one.said
    folder = paths["train"].parent
    others = [name for name in SPLITS if (folder / f"{name}.npz").exists() and name not in paths]
    if others and paths["train"].name == "train.npz":
        yield f"{folder}: {enumerated(others)} of an earlier dataset stay there; remove what is of other recordings"


def _frames(
    recordings: Sequence[Recording], kept: _Kept, fitting: Fitting, on_progress: Callable[[int, int], None]
) -> Iterator[Array]:
    """All kept frames, fitted, in order."""
    total, done = int(kept.lengths.sum()), 0
    for recording, wanted in zip(recordings, kept.wanted, strict=True):
        for frame in fitted(recording.read(wanted), fitting):
            yield frame
            done += 1
            on_progress(done, total)


def _write(
    frames: Iterator[Array],
    one: Split,
    kept: _Kept,
    shape: tuple[int, ...],
    variables: Variables,
    factors: Variables,
    provenance: Callable[[], str],
    file: BinaryIO,
) -> None:
    """Write one split, the frames of which are the next ones."""
    count = one.stop - one.start
    targets = kept.targets[one.start : one.stop].astype(np.uint8)
    targets[np.cumsum(one.lengths) - 1] = 0
    arrays: dict[str, Array] = {"interventions": targets[:-1]}
    if len(one.lengths) > 1:
        arrays["lengths"] = np.array(one.lengths, np.int64)
    named = factors or variables
    arrays[NAMES_KEY] = np.array([item.name for item in named])
    if any(item.kind != "continuous" for item in (*variables, *factors)):
        arrays[KINDS_KEY] = np.array([item.kind for item in named])
    if factors:
        arrays["latents"] = kept.truth[one.start : one.stop]
        if factors.names != variables.names:
            arrays[TARGET_NAMES_KEY] = np.array(list(variables.names))
    at_once = max(1, _WRITTEN // int(np.prod(shape)))
    with npz_writer(file) as writer:
        chunks = _chunks(frames, count, at_once)
        writer.add_chunks("images", (count, *shape), np.dtype(np.uint8), chunks)
        for name, array in arrays.items():
            writer.add(name, array)
        writer.add(PROVENANCE_KEY, np.array(provenance()))


def _chunks(frames: Iterator[Array], count: int, at_once: int) -> Iterator[Array]:
    while count > 0:
        chunk = list(islice(frames, min(count, at_once)))
        if not chunk:
            return
        count -= len(chunk)
        yield np.stack(chunk)
