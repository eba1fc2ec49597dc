"""What ``citris encode`` does: gather frames from any mixture of inputs, encode them, write the arrays."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from citris_cli.artifacts.arrays import npz_bytes, write_npz
from citris_cli.artifacts.files import check_writable, write_stdout
from citris_cli.commands.inputs import STDOUT, default_place, gather_frames, in_batches, load_causal_model
from citris_cli.commands.outputs import free_place
from citris_cli.errors import InputError
from citris_cli.show.console import Console
from citris_cli.training.devices import compute_in, keep_freed_memory, resolve_precision, select_device
from citris_cli.training.encodings import encode_frames
from citris_cli.wording import counted


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
    keep_freed_memory()
    settled = resolve_precision(precision or "auto", device)
    if as_json and output == STDOUT:
        raise InputError("--json and -o - both want standard output; give -o a file")
    path = output if output is not None else _default_output(inputs)
    if path != STDOUT:
        check_writable(path)
    loaded = load_causal_model(model, device, console)
    started = time.monotonic()
    chunks: list[np.ndarray[Any, Any]] = []
    sources: list[str] = []
    with compute_in(settled, device):
        for inputs_of, frames in in_batches(gather_frames(inputs, loaded.width, console), batch_size):
            chunks.append(encode_frames(loaded.network.encode, frames.to(device), device, batch_size).cpu().numpy())
            sources += inputs_of
    z = np.concatenate(chunks)
    seconds = time.monotonic() - started
    names = loaded.variables.names
    assignment = loaded.assignment
    arrays = {"z": z, "assignment": assignment, "variables": np.array(names), "sources": np.array(sources)}
    for index, name in enumerate((*names, "psi0")):
        arrays[f"z_{name}"] = z[:, assignment == index]
    if path == STDOUT:
        write_stdout(npz_bytes(arrays))
    else:
        write_npz(path, arrays)
    speed = counted(round(len(z) / max(seconds, 1e-9)), "frame")
    console.note(f"{counted(len(z), 'frame')}, {counted(z.shape[1], 'latent')}, {speed} a second")
    if as_json:
        blocks = {name: int((assignment == index).sum()) for index, name in enumerate((*names, "psi0"))}
        console.result(
            json.dumps(
                {"latents": str(path), "frames": len(z), "latents_per_variable": blocks, "model": str(loaded.path)}
            )
        )
    elif path != STDOUT:
        console.result(str(path))


def _default_output(inputs: list[Path]) -> Path:
    folder, label = default_place(inputs)
    return free_place(folder / (f"latents-{label}.npz" if label else "latents.npz"), inputs)
