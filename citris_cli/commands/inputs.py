"""What commands that use a trained model are given: the model, and frames from any mixture of places."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch

from citris_cli.artifacts.runs import find_causal_model
from citris_cli.causal_model import CausalModel
from citris_cli.data.datasets import read_frames
from citris_cli.data.frames import Frames
from citris_cli.data.images import list_images, read_image
from citris_cli.errors import InputError
from citris_cli.loading import load_model
from citris_cli.show.console import Console

STDIN = STDOUT = Path("-")
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


def gather_frames(inputs: list[Path], width: int, console: Console) -> list[tuple[str, Frames]]:
    """Frames of every input, brought to the model's size if they are pictures.

    Args:
        inputs: pictures, folders of pictures, datasets, single frames of datasets (``data.npz#17``), or ``-``.
        width: the model's frame width and height in pixels.
        console: takes the notes on what was cropped or resized.

    Returns:
        For every picture or dataset its name and its frames.

    Raises:
        InputError: whatever is wrong with one of them.
    """
    gathered = []
    for path in inputs:
        frame = None if path.exists() else _FRAME_OF.fullmatch(str(path))
        if frame is not None:
            gathered.append((str(path), _one_frame(Path(frame[1]), int(frame[2]), width)))
        elif path != STDIN and (path.suffix == ".npz" or (path.is_dir() and any(path.glob("*.npz")))):
            gathered.append((str(path), _dataset_frames(path, width)))
        else:
            pictures = list_images(path) if path != STDIN and path.is_dir() else [path]
            for picture in pictures:
                content = sys.stdin.buffer.read() if picture == STDIN else picture
                image, note = read_image(content, "standard input" if picture == STDIN else str(picture), width)
                if note:
                    console.note(note)
                gathered.append((str(picture), Frames([image[None]])))
    return gathered


def _dataset_frames(path: Path, width: int) -> Frames:
    frames = read_frames(path)
    if frames.width != width:
        raise InputError(
            f"{path}: frames are {frames.height}×{frames.width} and the model was trained for {width}×{width}; "
            "use a model trained on such frames"
        )
    return frames


def _one_frame(path: Path, number: int, width: int) -> Frames:
    frames = _dataset_frames(path, width)
    if number >= len(frames):
        raise InputError(f"{path}#{number}: the dataset has {len(frames)} frames, counted from 0")
    return Frames([frames.slice(number, number + 1).cpu().contiguous().numpy()])
