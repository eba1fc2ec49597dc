"""What ``citris intervene`` does: encode, replace the variables' latents, decode, and say what else moved."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from citris_cli.artifacts.arrays import write_npz
from citris_cli.artifacts.files import atomic_write, check_writable, write_stdout
from citris_cli.causal_model import CausalModel
from citris_cli.commands.inputs import STDIN, STDOUT, default_place, gather_frames, load_causal_model
from citris_cli.commands.outputs import free_place
from citris_cli.errors import InputError
from citris_cli.show.animation import gif_bytes
from citris_cli.show.console import Console, as_cells
from citris_cli.show.grids import image_grid, png_bytes
from citris_cli.training.devices import select_device

DRAWS = 4
#: Milliseconds that each picture of a GIF is shown.
GIF_DURATION = 120
_SUFFIXES = (".png", ".gif", ".npz")


@dataclass(frozen=True)
class Request:
    """Which intervention: at most one of ``other``, ``number`` and ``sweep`` is set; none means four draws.

    Attributes:
        variables: comma list of variables and groups.
        other: picture that they are taken from, or None.
        number: number of draws, or None.
        sweep: number of places on the walk, or None.
        temperature: of the draws.
        seed: of the draws.
    """

    variables: str
    other: Path | None
    number: int | None
    sweep: int | None
    temperature: float
    seed: int

    def __post_init__(self) -> None:
        given = [
            name for name, value in (("--from", self.other), ("-n", self.number), ("--sweep", self.sweep)) if value
        ]
        if len(given) > 1:
            raise InputError(f"{' and '.join(given)}: choose one way to intervene")


@dataclass(frozen=True)
class Result:
    """One picture before and after.

    Attributes:
        name: of the picture.
        images: uint8 [2 + n, W, W, 3]: original, reconstruction, results.
        labels: of the images.
        before: causal latents of the original [1, M].
        after: latents that were decoded [n, M].
        reencoded: latents that the results encode to [n, M].
        baseline: latents that the reconstruction encodes to [1, M].
    """

    name: str
    images: np.ndarray[Any, Any]
    labels: list[str]
    before: np.ndarray[Any, Any]
    after: np.ndarray[Any, Any]
    reencoded: np.ndarray[Any, Any]
    baseline: np.ndarray[Any, Any]


def run(
    images: list[Path],
    request: Request,
    model_path: Path | None,
    output: Path | None,
    device_name: str,
    as_json: bool,
) -> None:
    """Intervene on every picture and write the results; see :func:`citris_cli.commands.intervene.intervene`."""
    console = Console()
    device = select_device(device_name)
    if as_json and output == STDOUT:
        raise InputError("--json and -o - both want standard output; give -o a file")
    if images.count(STDIN) > 1 or (request.other == STDIN and STDIN in images):
        raise InputError("standard input holds one picture; name it once")
    model = load_causal_model(model_path, device, console)
    model.block(request.variables)  # a wrong name is refused before anything is read
    values, source = _values(model, request, console)
    frames = [
        (f"{name}#{number}" if len(stack) > 1 else name, stack.slice(number, number + 1).cpu().numpy())
        for name, stack in gather_frames(images, model.width, console)
        for number in range(len(stack))
    ]
    paths = _paths(output, [name for name, _ in frames], request.variables)
    results = [_intervene(model, request, name, frame, values, source) for name, frame in frames]
    for result, path in zip(results, paths, strict=False):
        _write_picture(path, result)
    if paths[0].suffix == ".npz":
        write_npz(paths[0], _arrays(model, request, results))
    report = _report(model, request, results)
    _show(console, model, request, report)
    if as_json:
        console.result(json.dumps({"files": [str(path) for path in dict.fromkeys(paths)], **report}))
    elif paths[0] != STDOUT:
        for path in dict.fromkeys(paths):
            console.result(str(path))


def _values(
    model: CausalModel, request: Request, console: Console
) -> tuple[np.ndarray[Any, Any] | None, list[np.ndarray[Any, Any]]]:
    """Latents whose blocks replace the picture's, where they do not depend on it; pictures that they come from."""
    if request.other is not None:
        _, stack = next(gather_frames([request.other], model.width, console))
        if len(stack) > 1:
            raise InputError(f"--from {request.other}: holds {len(stack)} frames; name one, such as {request.other}#0")
        other = stack.slice(0, 1).cpu().numpy()
        return model.encode(other), [other[0]]
    if request.sweep is not None:
        return model.sweep(request.variables, request.sweep), []
    return None, []


def _intervene(
    model: CausalModel,
    request: Request,
    name: str,
    frame: np.ndarray[Any, Any],
    values: np.ndarray[Any, Any] | None,
    source: list[np.ndarray[Any, Any]],
) -> Result:
    before = model.encode(frame)
    if values is None:
        generator = torch.Generator().manual_seed(request.seed)
        values = model.draw(before, request.variables, request.number or DRAWS, generator, request.temperature)
    after = model.intervene(before, request.variables, values)
    pictures = model.decode(np.concatenate([before, after]))
    again = model.encode(pictures)
    results = [request.variables] if source else [str(number + 1) for number in range(len(after))]
    images = np.concatenate([frame, pictures[:1], *[one[None] for one in source], pictures[1:]])
    labels = ["original", "reconstruction", *["from"] * len(source), *results]
    return Result(name, images, labels, before, after, again[1:], again[:1])


def _paths(output: Path | None, names: list[str], variables: str) -> list[Path]:
    """Where each picture's strip goes (one path for all: an .npz, or standard output); checked to be writable."""
    label = variables.replace(",", "+").replace(" ", "")
    places = [default_place([Path(name)]) for name in names]
    stems = [place or folder.name for folder, place in places]
    if output == STDOUT:
        if len(names) > 1:
            raise InputError(f"-o - takes one picture, and {len(names)} were given; give -o a folder or an .npz")
        return [STDOUT]
    if output is not None and output.suffix.lower() == ".npz":
        paths = [output]
    elif output is not None and output.suffix and len(names) == 1 and not output.is_dir():
        if output.suffix.lower() not in _SUFFIXES:
            raise InputError(f"-o {output}: the ending says what is written; use {', '.join(_SUFFIXES)}")
        paths = [output]
    else:
        if output is not None and output.suffix.lower() in (".png", ".gif"):
            raise InputError(f"-o {output}: {len(names)} pictures were given; give -o a folder or an .npz")
        repeated = Counter(stems)
        stems = [f"{stem}-{i}" if repeated[stem] > 1 else stem for i, stem in enumerate(stems)]
        files = [f"{stem}-{label}.png" for stem in stems]
        if output is not None:
            paths = [output / file for file in files]
        else:
            paths = [
                free_place(folder / file, [name]) for (folder, _), file, name in zip(places, files, names, strict=True)
            ]
    for path in paths[:1]:
        check_writable(path)
    return paths


def _write_picture(path: Path, result: Result) -> None:
    if path.suffix.lower() == ".npz":
        return
    if path.suffix.lower() == ".gif":
        shown = result.images[result.labels.index("reconstruction") + 1 :]
        content = gif_bytes([image_grid([[image]], cell=256) for image in shown], GIF_DURATION, sources=[result.name])
    else:
        content = png_bytes(image_grid([list(result.images)], column_labels=result.labels), [result.name])
    if path == STDOUT:
        write_stdout(content)
    else:
        atomic_write(path, lambda file: file.write(content))


def _arrays(model: CausalModel, request: Request, results: list[Result]) -> dict[str, np.ndarray[Any, Any]]:
    # `images` holds the results alone: what a next step of a pipeline reads as frames.
    count = len(results[0].after)
    return {
        "images": np.concatenate([result.images[-count:] for result in results]),
        "originals": np.stack([result.images[0] for result in results]),
        "reconstructions": np.stack([result.images[1] for result in results]),
        "z_before": np.concatenate([result.before for result in results]),
        "z_after": np.concatenate([result.after for result in results]),
        "z_reencoded": np.concatenate([result.reencoded for result in results]),
        "sources": np.array([result.name for result in results]),
        "assignment": model.assignment,
        "variables": np.array(model.variables.names),
        "intervened": np.array([model.variables[i].name for i in model.variables.resolve(request.variables)]),
    }


def _report(model: CausalModel, request: Request, results: list[Result]) -> dict[str, Any]:
    """Mean movement of the re-encoded results on every variable, in standard deviations of that variable."""
    moved = [model.moved(result.before, result.reencoded) for result in results]
    floor = [model.moved(result.before, result.baseline) for result in results]
    return {
        "model": str(model.path),
        "intervened": [model.variables[i].name for i in model.variables.resolve(request.variables)],
        "moved": {name: float(np.mean([one[name] for one in moved])) for name in moved[0]},
        "moved_by_reconstruction": {name: float(np.mean([one[name] for one in floor])) for name in floor[0]},
    }


def _show(console: Console, model: CausalModel, request: Request, report: dict[str, Any]) -> None:
    rows = []
    for name, value in report["moved"].items():
        mark = "intervened on" if name in report["intervened"] else ""
        rows.append([name, *as_cells([value, report["moved_by_reconstruction"][name]]), mark])
    console.table(
        "How far the re-encoded result moved, in standard deviations of each variable",
        ["variable", "moved", "by decoding alone", ""],
        rows,
    )
