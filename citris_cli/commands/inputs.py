"""What commands that use a trained model are given: the model, and frames from any mixture of places."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from citris_cli.artifacts.runs import RUNS, find_causal_model
from citris_cli.causal_model import CausalModel
from citris_cli.data.datasets import read_frames
from citris_cli.data.frames import Frames
from citris_cli.data.images import list_images, read_image
from citris_cli.data.layout import dataset_name, split_label
from citris_cli.data.variables import Variables
from citris_cli.errors import InputError
from citris_cli.loading import load_model
from citris_cli.show.console import Console
from citris_cli.wording import counted

STDIN = Path("-")
_FRAME_OF = re.compile(r"(.+)#(\d+)")


def load_causal_model(given: Path | None, device: torch.device, console: Console) -> CausalModel:
    """The model that a command uses, with a note on where it was found if it was not named.

    Raises:
        InputError: there is none, or it has no causal latents.
    """
    path, found = find_causal_model(given)
    if found:
        console.note(f"model: {path} ({found})")
    return CausalModel(load_model(path, device))


def known_columns(model: CausalModel) -> Variables:
    """All columns of the data that a model was trained on, with their names and kinds as they were then.

    A file that does not tell of them (a published checkpoint) knows those that are intervened on.

    Raises:
        InputError: what the file tells of them is malformed.
    """
    if "columns" not in model.provenance:
        return model.variables
    try:
        return Variables.from_json(model.provenance["columns"])
    except InputError as error:
        raise InputError(
            f"{model.path}: its metadata is damaged ({error}); get the file again or train anew"
        ) from error


def default_place(inputs: list[Path]) -> tuple[Path, str]:
    """Where what is made of some inputs lies if nobody says where: by the first of them.

    Args:
        inputs: as :func:`gather_frames` takes them, at least one.

    Returns:
        ``runs/<dataset>``, ``runs/<picture>`` or ``runs/stdin``; and what tells a single input from others of its
        dataset, its split and the number of its frame (``test_indep-17``), or "".
    """
    first = inputs[0]
    if first == STDIN:
        return RUNS / "stdin", ""
    frame = None if first.exists() else _FRAME_OF.fullmatch(str(first))
    path = first if frame is None else Path(frame[1])
    if frame is None and path.suffix != ".npz" and not path.is_dir():
        return RUNS / path.stem, ""
    parts = [split_label(path), frame[2] if frame is not None else ""] if len(inputs) == 1 else []
    return RUNS / dataset_name([path, *inputs[1:]]), "-".join(part for part in parts if part)


def default_file(inputs: list[Path], stem: str, suffix: str) -> Path:
    """The file that is made of some inputs if nobody says which: ``runs/<dataset>/<stem>-test_indep-17<suffix>``.

    Args:
        inputs: as :func:`gather_frames` takes them, at least one.
        stem: beginning of its name.
        suffix: end of its name.
    """
    folder, label = default_place(inputs)
    return folder / (f"{stem}-{label}{suffix}" if label else f"{stem}{suffix}")


def gather_frames(inputs: list[Path], model: CausalModel, console: Console) -> Iterator[tuple[str, Frames]]:
    """Frames of every input, brought to the model's size if they are pictures; each is read when it is its turn.

    Args:
        inputs: pictures, folders of pictures, datasets, single frames of datasets (``data.npz#17``), or ``-``.
        model: whose frames they have to be.
        console: takes the notes on what was cropped or resized.

    Yields:
        For every picture or dataset its name and its frames.

    Raises:
        InputError: whatever is wrong with one of them.
    """
    if inputs.count(STDIN) > 1:
        raise InputError("standard input holds one picture; name it once")
    for path in inputs:
        frame = None if path.exists() else _FRAME_OF.fullmatch(str(path))
        if frame is not None:
            yield str(path), _one_frame(Path(frame[1]), int(frame[2]), model, console)
        elif is_dataset(path):
            yield str(path), _dataset_frames(path, model, console)
        else:
            pictures = list_images(path) if path != STDIN and path.is_dir() else [path]
            for picture in pictures:
                content = sys.stdin.buffer.read() if picture == STDIN else picture
                label = "standard input" if picture == STDIN else str(picture)
                image, note = read_image(content, label, model.width, model.image_channels)
                if note:
                    console.note(note)
                yield str(picture), Frames([image[None]])


def is_dataset(path: Path) -> bool:
    """Whether an input is a dataset as a whole (or a pattern of its files): no picture, and no single frame."""
    return path != STDIN and (path.suffix == ".npz" or (path.is_dir() and any(path.glob("*.npz"))))


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
    if frames.width != width:
        raise InputError(
            f"{path}: frames are {frames.height}×{frames.width} and the model was trained for {width}×{width}; "
            "use a model trained on such frames"
        )


def _dataset_frames(path: Path, model: CausalModel, console: Console) -> Frames:
    frames, notes = read_frames(path, model.image_channels)
    for note in notes:
        console.note(note)
    require_width(frames, path, model.width)
    return frames


def _one_frame(path: Path, number: int, model: CausalModel, console: Console) -> Frames:
    frames = _dataset_frames(path, model, console)
    if number >= len(frames):
        raise InputError(f"{path}#{number}: the dataset has {counted(len(frames), 'frame')}, counted from 0")
    return Frames([frames.slice(number, number + 1).cpu().contiguous().numpy()])
