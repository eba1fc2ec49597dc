"""What ``citris encode`` does: gather frames from any mixture of inputs, encode them, write the arrays."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from citris_cli.artifacts.arrays import npz_bytes, write_npz
from citris_cli.artifacts.files import check_writable, write_stdout
from citris_cli.artifacts.runs import CAUSAL_KINDS, RUNS, find_causal_model
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.data.datasets import read_frames
from citris_cli.data.frames import Frames
from citris_cli.data.images import list_images, read_image
from citris_cli.errors import InputError
from citris_cli.loading import LoadedModel, load_model
from citris_cli.show.console import Console
from citris_cli.training.devices import compute_in, resolve_precision, select_device
from citris_cli.training.encodings import encode_frames

STDIN = STDOUT = Path("-")


def load_causal_model(given: Path | None, device: torch.device, console: Console) -> tuple[LoadedModel, CitrisNF]:
    """The model that a command uses, with a note on where it was found if it was not named.

    Raises:
        InputError: there is none, or it has no causal latents.
    """
    path, found = find_causal_model(given)
    if found:
        console.note(f"model: {path} ({found})")
    loaded = load_model(path, device)
    if loaded.kind not in CAUSAL_KINDS or not isinstance(loaded.network, CitrisNF):
        raise InputError(
            f"{path}: holds an {loaded.kind}, which has no causal latents; train one with 'citris train-nf'"
        )
    return loaded, loaded.network


def run(
    inputs: list[Path],
    model: Path | None,
    output: Path | None,
    batch_size: int,
    device_name: str,
    precision: str | None,
    as_json: bool,
) -> None:
    """Encode all inputs in order and write one .npz; see :func:`citris_cli.commands.encode.encode`."""
    console = Console()
    device = select_device(device_name)
    settled = resolve_precision(precision or "auto", device)
    if as_json and output == STDOUT:
        raise InputError("--json and -o - both want standard output; give -o a file")
    path = output if output is not None else _default_output(inputs[0])
    if path != STDOUT:
        check_writable(path)
    loaded, network = load_causal_model(model, device, console)
    assert loaded.variables is not None
    started = time.monotonic()
    chunks, sources = [], []
    with compute_in(settled, device):
        for source, frames in _frames(inputs, loaded.width, console):
            chunks.append(encode_frames(network.encode, frames.to(device), device, batch_size).cpu().numpy())
            sources += [source] * len(frames)
    z = np.concatenate(chunks)
    seconds = time.monotonic() - started
    names = loaded.variables.names
    assignment = network.assignment.hard().cpu().numpy()
    arrays = {"z": z, "assignment": assignment, "variables": np.array(names), "sources": np.array(sources)}
    for index, name in enumerate((*names, "psi0")):
        arrays[f"z_{name}"] = z[:, assignment == index]
    if path == STDOUT:
        write_stdout(npz_bytes(arrays))
    else:
        write_npz(path, arrays)
    console.note(f"{len(z):,} frames, {z.shape[1]} latents, {len(z) / max(seconds, 1e-9):,.0f} frames a second")
    if as_json:
        blocks = {name: int((assignment == index).sum()) for index, name in enumerate((*names, "psi0"))}
        console.result(
            json.dumps(
                {"latents": str(path), "frames": len(z), "latents_per_variable": blocks, "model": str(loaded.path)}
            )
        )
    elif path != STDOUT:
        console.result(str(path))


def _default_output(first: Path) -> Path:
    name = "stdin" if first == STDIN else first.resolve().name.removesuffix(".npz") or "input"
    return RUNS / name / "latents.npz"


def _frames(inputs: list[Path], width: int, console: Console) -> list[tuple[str, Frames]]:
    """Frames of every input, brought to the model's size if they are pictures."""
    gathered = []
    for path in inputs:
        if path != STDIN and (path.suffix == ".npz" or (path.is_dir() and any(path.glob("*.npz")))):
            frames = read_frames(path)
            if frames.width != width:
                raise InputError(
                    f"{path}: frames are {frames.height}×{frames.width} and the model was trained for {width}×{width}; "
                    "use a model trained on such frames"
                )
            gathered.append((str(path), frames))
            continue
        if path != STDIN and path.is_dir():
            pictures = list_images(path)
        else:
            pictures = [path]
        for picture in pictures:
            content = sys.stdin.buffer.read() if picture == STDIN else picture
            image, note = read_image(content, "standard input" if picture == STDIN else str(picture), width)
            if note:
                console.note(note)
            gathered.append((str(picture), Frames([image[None]])))
    return gathered
