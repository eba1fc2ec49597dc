"""The frames that a command is given, from any mixture of places, and where what is made of them lies."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path
from typing import Protocol

import torch

from citris_cli.artifacts.packaged import sample_pictures
from citris_cli.artifacts.runs import RUNS
from citris_cli.causal_model import CausalModel
from citris_cli.data.datasets import read_frames
from citris_cli.data.frames import Frames, require_channels
from citris_cli.data.images import PictureFile, Size, change, list_images, list_others, look_at, name_of, read_pictures
from citris_cli.data.layout import array_files, dataset_name, find_files, safe_name, split_label
from citris_cli.data.paths import Choice, is_pattern, is_there, matches, parse_choice, require_choice
from citris_cli.data.shards import look_at_frames
from citris_cli.errors import InputError
from citris_cli.show.console import Console
from citris_cli.wording import counted

STDIN = Path("-")
#: So many sizes of pictures get a note of their own.
_SIZES_TOLD = 4
# Frames of a dataset that are taken out of it at a time.
_CHUNK = 256


def default_place(inputs: list[Path]) -> tuple[Path, str]:
    """Where what is made of some inputs lies if nobody says where: by the first of them.

    Args:
        inputs: as :func:`gather_frames` takes them, at least one.

    Returns:
        ``runs/<dataset>``, ``runs/<picture>``, ``runs/causal3d-3`` for the sample frame ``@causal3d/3``, or
        ``runs/stdin``; and what tells a single input from others of its
        dataset, its split and the number of its frame (``test_indep-17``) or its slice (``1_5``), or "".
    """
    choice = parse_choice(inputs[0])
    path, chosen = choice.path, (choice.text or "").replace(":", "_")
    split = ""
    if path == STDIN:
        folder = RUNS / "stdin"
    elif sample_pictures(path):
        folder = RUNS / safe_name(path.as_posix().replace("/", "-"))
    elif path.suffix == ".npz" or path.is_dir() or is_pattern(path):
        folder, split = RUNS / dataset_name([path, *inputs[1:]]), split_label(path)
    else:
        folder = RUNS / safe_name(path.stem)
    parts = [split, chosen] if len(inputs) == 1 else []
    return folder, "-".join(part for part in parts if part)


def default_file(inputs: list[Path], stem: str, suffix: str) -> Path:
    """The file that is made of some inputs if nobody says which: ``runs/<dataset>/<stem>-test_indep-17<suffix>``.

    Args:
        inputs: as :func:`gather_frames` takes them, at least one.
        stem: beginning of its name.
        suffix: end of its name.
    """
    folder, label = default_place(inputs)
    return folder / (f"{stem}-{label}{suffix}" if label else f"{stem}{suffix}")


def require_there(inputs: Sequence[Path]) -> None:
    """Refuse what is not there, or is written wrongly, before time goes into a model.

    Args:
        inputs: as :func:`gather_frames` takes them.

    Raises:
        InputError: no such file, no match of a pattern, no choice of frames, or standard input twice.
    """
    paths = [parse_choice(given).path for given in inputs]
    if paths.count(STDIN) > 1:
        raise InputError("standard input holds one picture; name it once")
    for path in paths:
        require_choice(path)
        if is_pattern(path):
            matches(path)
        elif path != STDIN and not sample_pictures(path) and not is_there(path):
            raise InputError(f"{path}: there is no such file; check the path")


def gather_frames(inputs: Sequence[Path], model: CausalModel, console: Console) -> Gathered:
    """Frames of every input, brought to the model's size if they are pictures.

    All inputs are looked at, by their headers alone, so that what is wrong with the last is said before the first is
    read; each is read when it is its turn.

    Args:
        inputs: pictures, sequences of pictures (animations, pages), folders of them, datasets, quoted patterns, sample
            frames that come with the package (``@causal3d/1``), or ``-``; each perhaps with the frames that are chosen
            of it (``data.npz#17``, ``film.gif#1:5``).
        model: whose frames they have to be.
        console: takes the notes on what is cropped, resized, made grey or left out.

    Raises:
        InputError: whatever is wrong with one of them.
    """
    require_there(inputs)
    choices = [parse_choice(path) for path in inputs]
    piped = [index for index, choice in enumerate(choices) if choice.path == STDIN]
    notes: list[str] = []
    parts = [[] if index in piped else _understood(choice, model, notes) for index, choice in enumerate(choices)]
    for index in piped:
        # Last, as it may be long in coming.
        files = [(str(STDIN), look_at(sys.stdin.buffer, "standard input"))]
        parts[index] = [_pictures(choices[index], files, "input", notes)]
    return Gathered([part for found in parts for part in found], model, console, notes)


class Gathered:
    """The frames of some inputs, in order, none of which has been read yet.

    ``len`` is the number of frames. Iterating reads them, after the notes on them: for every picture or dataset its
    name and its frames. Of a dataset of which frames were chosen each comes alone, named ``data.npz#17``.
    """

    def __init__(self, parts: Sequence[_Part], model: CausalModel, console: Console, notes: Sequence[str] = ()) -> None:
        self._parts = parts
        self._model = model
        self._console = console
        self._notes = notes

    def __len__(self) -> int:
        return sum(len(part.numbers) for part in self._parts)

    @property
    def numbers(self) -> range:
        """The frames as their input counts them if there is one, else counted through all inputs."""
        return self._parts[0].numbers if len(self._parts) == 1 else range(len(self))

    def __iter__(self) -> Iterator[tuple[str, Frames]]:
        for note in (*self._notes, *self._changes()):
            self._console.note(note)
        for part in self._parts:
            yield from part.read(self._model, self._console)

    def cut(self, start: int, stop: int) -> Gathered:
        """Frames ``start`` to ``stop`` (exclusive) of these alone."""
        parts: list[_Part] = []
        for part in self._parts:
            numbers = part.numbers[max(start, 0) : max(stop, 0)]
            start, stop = start - len(part.numbers), stop - len(part.numbers)
            if numbers:
                parts.append(part if len(numbers) == len(part.numbers) else part.with_numbers(numbers))
        return Gathered(parts, self._model, self._console, self._notes)

    def _changes(self) -> list[str]:
        """A note for every size that pictures have and the model has not, and on what loses its colours."""
        width = self._model.width
        first: dict[Size, str] = {}
        counts: Counter[Size] = Counter()
        coloured: list[str] = []
        transparent: list[str] = []
        for part in self._parts:
            for name, size, file in part.looks():
                first.setdefault(size, name)
                counts[size] += 1
                if file.in_colour and self._model.image_channels < 3:
                    coloured.append(name)
                if file.with_alpha and self._model.image_channels in (2, 4):
                    transparent.append(name)
        changed = [size for size, _ in counts.most_common() if change(size, width)]
        notes = [
            f"{first[size]}: {change(size, width)}"
            if counts[size] == 1
            else f"{counts[size]:,} pictures {change(size, width, counts[size])}"
            for size in changed[: len(changed) if len(changed) <= _SIZES_TOLD else _SIZES_TOLD - 1]
        ]
        if rest := changed[len(notes) :]:
            number = sum(counts[size] for size in rest)
            notes.append(
                f"{number:,} pictures of {len(rest):,} other sizes cropped to their middle squares where they are not "
                f"square, and resized to {width}×{width} pixels"
            )
        if coloured:
            which = coloured[0] if len(coloured) == 1 else f"{len(coloured):,} pictures"
            notes.append(f"{which} made grey, as the model's frames are")
        if transparent:
            which = transparent[0] if len(transparent) == 1 else f"{len(transparent):,} pictures"
            notes.append(f"{which}: alpha is read as the last channel, which in the model's frames is data")
        return notes


def first_of(source: Path, gathered: Gathered) -> str:
    """How the user would name the first of an input's frames: a sample frame by its name, any other by its number."""
    path = parse_choice(source).path
    return next(iter(sample_pictures(path)), f"{path}#{gathered.numbers[0]}")


class _Part(Protocol):
    """Consecutive frames of one input."""

    @property
    def numbers(self) -> range:
        """The frames that are chosen."""

    def with_numbers(self, numbers: range) -> _Part:
        """The same input with other frames chosen."""

    def looks(self) -> Iterator[tuple[str, Size, PictureFile]]:
        """Of every chosen picture what messages call it, its size, and its file."""

    def read(self, model: CausalModel, console: Console) -> Iterator[tuple[str, Frames]]:
        """Names and frames, as :class:`Gathered` yields them."""


@dataclass(frozen=True)
class _Dataset:
    path: Path
    numbers: range
    whole: bool

    def with_numbers(self, numbers: range) -> _Part:
        return _Dataset(self.path, numbers, False)

    def looks(self) -> Iterator[tuple[str, Size, PictureFile]]:
        return iter(())  # as the model's frames are, or refused

    def read(self, model: CausalModel, console: Console) -> Iterator[tuple[str, Frames]]:
        frames, notes = read_frames(self.path, model.image_channels)
        for note in notes:
            console.note(note)
        if self.whole:
            yield str(self.path), frames
            return
        for start in range(0, len(self.numbers), _CHUNK):
            numbers = self.numbers[start : start + _CHUNK]
            stack = frames.gather(torch.tensor(numbers)).cpu().contiguous().numpy()
            for index, number in enumerate(numbers):
                yield f"{self.path}#{number}", Frames([stack[index : index + 1]])


@dataclass(frozen=True)
class _Pictures:
    # Files with what they are called; the numbers count through all of them.
    files: Sequence[tuple[str, PictureFile]]
    numbers: range

    def with_numbers(self, numbers: range) -> _Part:
        return _Pictures(self.files, numbers)

    def looks(self) -> Iterator[tuple[str, Size, PictureFile]]:
        for _, file, numbers in self._runs():
            for number in numbers:
                yield name_of(file, number), file.sizes[number], file

    def read(self, model: CausalModel, console: Console) -> Iterator[tuple[str, Frames]]:
        for called, file, numbers in self._runs():
            frames = read_pictures(file, numbers, model.width, model.image_channels)
            for number, frame in zip(numbers, frames, strict=True):
                yield name_of(file, number, called), Frames([frame[None]])

    def _runs(self) -> Iterator[tuple[str, PictureFile, list[int]]]:
        """The chosen pictures of one file after another."""
        ends = list(accumulate(len(file.sizes) for _, file in self.files))
        for index, numbers in groupby(self.numbers, key=lambda number: bisect_right(ends, number)):
            called, file = self.files[index]
            yield called, file, [number - ends[index] + len(file.sizes) for number in numbers]


def _understood(choice: Choice, model: CausalModel, notes: list[str]) -> list[_Part]:
    """What an input is, by the headers of its files."""
    path, what = choice.path, "file"
    if samples := sample_pictures(path):
        return [_pictures(choice, [(name, look_at(file, name)) for name, file in samples.items()], "sample", notes)]
    if is_pattern(path):
        found, what = matches(path), "pattern"
        datasets = [one for one in found if is_dataset(one)]
        if datasets and choice.text is None:
            return [part for one in found for part in _understood(Choice(one, None), model, notes)]
        if 0 < len(datasets) < len(found):
            raise InputError(f"{path}#{choice.text}: the pattern matches datasets and pictures; choose frames of one")
        if datasets:
            return [_dataset(choice, model, what, notes)]
    elif is_dataset(path):
        return [_dataset(choice, model, "dataset", notes)]
    else:
        found, what = (path,), "folder" if path.is_dir() else "file"
    pictures = []
    for one in found:
        pictures += list_images(one) if one.is_dir() else [one]
        if one.is_dir() and (others := list_others(one)):
            notes.append(f"{one}: {counted(len(others), 'file')} such as {others[0].name} left out; give PNG or JPEG")
    return [_pictures(choice, [(str(picture), look_at(picture, str(picture))) for picture in pictures], what, notes)]


def _pictures(choice: Choice, files: Sequence[tuple[str, PictureFile]], what: str, notes: list[str]) -> _Part:
    numbers, note = choice.numbers(sum(len(file.sizes) for _, file in files), what)
    if note:
        notes.append(note)
    return _Pictures(files, numbers)


def _dataset(choice: Choice, model: CausalModel, what: str, notes: list[str]) -> _Part:
    files = find_files(choice.path, ("train",))
    total = 0
    for file in files:
        look = look_at_frames(file)
        _require_size((look.width, look.height), choice.path, model.width)
        require_channels(look.channels, model.image_channels, str(file))
        total += look.count
    numbers, note = choice.numbers(total, what)
    notes += [one for one in (note, _left_out(choice.path, files)) if one]
    return _Dataset(choice.path, numbers, choice.text is None)


def _left_out(folder: Path, taken: Sequence[Path]) -> str | None:
    """A note on what else there is in the folder of a dataset."""
    if not folder.is_dir():
        return None
    names = [path.name for path in array_files(folder) if path not in taken]
    with suppress(InputError):  # there is none
        names.append(counted(len(list_images(folder)), "picture"))
    if not names:
        return None
    first = taken[0].name if len(taken) == 1 else f"{taken[0].name} to {taken[-1].name}"
    return f"{folder}: {first} taken, not {', '.join(names[:8])}{' and more' if len(names) > 8 else ''}"


def is_dataset(path: Path) -> bool:
    """Whether an input is a dataset as a whole (or a pattern of its files): no picture, and no chosen frames."""
    return path != STDIN and (path.suffix == ".npz" or (path.is_dir() and bool(array_files(path))))


def in_batches(gathered: Iterable[tuple[str, Frames]], size: int) -> Iterator[tuple[list[str], Frames]]:
    """Consecutive single pictures joined, so that a network sees many at a time; datasets as they are.

    Args:
        gathered: names and frames, as :func:`gather_frames` yields them.
        size: the most pictures that are joined.

    Yields:
        A name for every frame, and the frames.
    """
    names: list[str] = []
    pictures: list[torch.Tensor] = []
    for name, frames in gathered:
        if len(frames) == 1:
            names.append(name)
            pictures.append(frames.slice(0, 1))
        if names and (len(names) == size or len(frames) > 1):
            yield names, Frames([torch.cat(pictures).numpy()])
            names, pictures = [], []
        if len(frames) > 1:
            yield [name] * len(frames), frames
    if names:
        yield names, Frames([torch.cat(pictures).numpy()])


def require_width(frames: Frames, path: Path, width: int) -> None:
    """Refuse frames of another size than the model's.

    Args:
        frames: frames of a dataset.
        path: where they came from, for the message.
        width: the model's frame width and height in pixels.

    Raises:
        InputError: the frames have another size.
    """
    _require_size((frames.width, frames.height), path, width)


def _require_size(size: Size, path: Path, width: int) -> None:
    if size != (width, width):
        raise InputError(
            f"{path}: frames are {size[0]}×{size[1]} and the model was trained for {width}×{width}; "
            "use a model trained on such frames"
        )
