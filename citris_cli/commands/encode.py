"""``citris encode``: causal latents of images and datasets."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from citris_cli.commands import options
from citris_cli.commands.completion import complete_picture
from citris_cli.commands.outputs import Output, output_option
from citris_cli.wording import counted

if TYPE_CHECKING:
    import numpy as np

    from citris_cli.causal_model import CausalModel
    from citris_cli.show.console import Console


def encode(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            help="Pictures, animations, folders of pictures, datasets (.npz or directory), quoted patterns, frames of "
            "any of these (data.npz#17, film.gif#1:5), sample frames (@causal3d/1); - reads a picture from standard "
            "input.",
            show_default=False,
            autocompletion=complete_picture,
        ),
    ],
    model: options.Model = None,
    output: Annotated[
        Path | None,
        output_option(
            "The .npz to write, uncompressed so that it can be memory-mapped; - for standard output.  \\[default: "
            "runs/<dataset>/]"
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Frames per batch.  \\[default: 256, fewer above 128 pixels]", min=1, show_default=False),
    ] = None,
    device: options.Device = "auto",
    precision: options.Precision = None,
    as_json: options.Json = False,
) -> None:
    """Write the causal latents of every frame, and the variable that each latent belongs to, to an .npz file."""
    from citris_cli.commands.given_model import find_model, load_causal_model, say_unfamiliar
    from citris_cli.commands.inputs import default_file, require_there
    from citris_cli.data.variables import REST
    from citris_cli.devices import select_device
    from citris_cli.show.console import Console
    from citris_cli.training.devices import compute_in, keep_freed_memory, resolve_precision

    console = Console()
    where = select_device(device)
    keep_freed_memory()
    settled = resolve_precision(precision or "auto", where)
    asked = Output(output, as_json, ending=".npz", what="latents")
    require_there(inputs)
    model_file = find_model(model, console, inputs)
    asked = asked.reading("INPUT", *inputs).reading("--model", model_file)
    path = asked.place(default_file(inputs, "latents", ".npz"), inputs)
    loaded = load_causal_model(model_file, where, console)
    started = time.monotonic()
    with compute_in(settled, where):
        z, sources = _encoded(loaded, inputs, batch_size, console)
    seconds = time.monotonic() - started
    blocks = {name: loaded.assignment == index for index, name in enumerate((*loaded.variables.names, REST))}
    asked.write_arrays(path, _arrays(loaded, z, sources, blocks))
    say_unfamiliar(console, loaded, sources, z)
    speed = counted(round(len(z) / max(seconds, 1e-9)), "frame")
    console.note(f"{counted(len(z), 'frame')}, {counted(z.shape[1], 'latent')}, {speed} a second")
    document = {
        "frames": len(z),
        "latents": z.shape[1],
        "latents_per_variable": {name: int(block.sum()) for name, block in blocks.items()},
        "model": str(loaded.path),
    }
    asked.report(console, document, path)


def _encoded(
    model: CausalModel, inputs: list[Path], batch_size: int | None, console: Console
) -> tuple[np.ndarray[Any, Any], list[str]]:
    """Causal latents float32 [N, M] of the frames of all inputs, in order, and for each where it came from."""
    import numpy as np

    from citris_cli.commands.inputs import gather_frames, in_batches
    from citris_cli.data.frames import encode_frames, frames_at_once

    chunks: list[np.ndarray[Any, Any]] = []
    sources: list[str] = []
    size = batch_size or frames_at_once(model.width)
    for names, frames in in_batches(gather_frames(inputs, model, console), size):
        z = encode_frames(model.network.encode, frames.to(model.device), model.device, size)
        chunks.append(z.cpu().numpy())
        model.require_finite(chunks[-1])
        sources += names
    return np.concatenate(chunks), sources


def _arrays(
    model: CausalModel, z: np.ndarray[Any, Any], sources: list[str], blocks: dict[str, np.ndarray[Any, Any]]
) -> dict[str, np.ndarray[Any, Any]]:
    """What the file holds; ``z_<name>`` are the columns of z that a mask bool [M] in ``blocks`` tells of."""
    import numpy as np

    return {
        "z": z,
        "assignment": model.assignment,
        "variables": np.array(model.variables.names),
        "sources": np.array(sources),
        **{f"z_{name}": z[:, block] for name, block in blocks.items()},
    }
