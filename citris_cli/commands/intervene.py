"""``citris intervene``: what if a variable changed?"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from citris_cli.commands import options
from citris_cli.commands.outputs import Output, output_option, write_arrays, write_bytes
from citris_cli.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from citris_cli.causal_model import CausalModel
    from citris_cli.evaluation.interventions import Intervention, Outcome
    from citris_cli.show.console import Console

#: Milliseconds that each picture of a GIF is shown.
GIF_DURATION = 120
#: What can be written, by the ending of its file.
ENDINGS = (".png", ".gif", ".npz")


def intervene(
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE",
            help="Pictures, folders of pictures, frames of a dataset (data.npz#17); - reads one from standard input.",
            show_default=False,
        ),
    ],
    variables: Annotated[
        str,
        typer.Option("--var", metavar="LIST", help="Variables or groups to intervene on: rot_o or pos_x,hue_b."),
    ],
    other: Annotated[
        Path | None,
        typer.Option("--from", metavar="OTHER", help="Take the variables from this picture or frame (data.npz#17)."),
    ] = None,
    number: Annotated[
        int | None,
        typer.Option("-n", help="Draw so many values from what the model learned.  \\[default: 4]", min=1, max=1000),
    ] = None,
    sweep: Annotated[
        int | None, typer.Option(help="Walk through the variables' range in so many places.", min=2, max=1000)
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Factor on the standard deviation of the draws; 0 gives their mean.", min=0)
    ] = 1.0,
    model: options.Model = None,
    output: Annotated[
        Path | None,
        output_option(
            "A .png strip, a .gif, or an .npz with images and latents; for many pictures a folder or an .npz; "
            "- for a PNG on standard output.  \\[default: runs/<image>/]"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draws.", min=0, max=options.LARGEST_SEED)] = 0,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Change one variable of a picture and leave the others: from another picture, drawn anew, or swept through."""
    from citris_cli.commands.inputs import STDIN, load_causal_model
    from citris_cli.devices import select_device
    from citris_cli.evaluation.interventions import DRAWS, Intervention, intervene_on
    from citris_cli.show.console import Console

    _check_one_way({"--from": other, "-n": number, "--sweep": sweep})
    options.require_number("--temperature", temperature)
    console = Console()
    where = select_device(device)
    asked = Output(output, as_json)
    if [*images, other].count(STDIN) > 1:
        raise InputError("standard input holds one picture; name it once")
    loaded = load_causal_model(model, where, console)
    loaded.block(variables)  # a wrong name is refused before anything is read
    source = None if other is None else _other_picture(other, loaded, console)
    pictures = _pictures(images, loaded, console)
    paths = _places(asked, [name for name, _ in pictures], variables)
    values = loaded.encode(source) if source is not None else loaded.sweep(variables, sweep) if sweep else None
    what = Intervention(variables, values, source, number or DRAWS, temperature, seed)
    outcomes = [intervene_on(loaded, what, name, frame) for name, frame in pictures]
    _write(paths, loaded, what, outcomes)
    report = _moved(console, loaded, what, outcomes)
    asked.report(console, report, *paths)


def _check_one_way(ways: dict[str, object]) -> None:
    given = [way for way, value in ways.items() if value]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)}: choose one way to intervene")


def _other_picture(path: Path, model: CausalModel, console: Console) -> np.ndarray[Any, Any]:
    """The one picture or frame that the variables are taken from, uint8 [1, W, W, 3]."""
    from citris_cli.commands.inputs import gather_frames

    _, stack = next(gather_frames([path], model.width, console))
    if len(stack) > 1:
        raise InputError(f"--from {path}: holds {len(stack)} frames; name one, such as {path}#0")
    return stack.slice(0, 1).cpu().numpy()


def _pictures(images: list[Path], model: CausalModel, console: Console) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """Every picture or frame uint8 [1, W, W, 3] with its name."""
    from citris_cli.commands.inputs import gather_frames

    return [
        (f"{name}#{number}" if len(stack) > 1 else name, stack.slice(number, number + 1).cpu().numpy())
        for name, stack in gather_frames(images, model.width, console)
        for number in range(len(stack))
    ]


def _places(asked: Output, names: list[str], variables: str) -> list[Path | None]:
    """Where each picture's strip goes, all of them found to be writable; one place for an .npz or standard output.

    Raises:
        InputError: an ending that cannot be written, one file for many pictures, or a place that cannot be written.
    """
    given = asked.given
    if given is None:
        return _default_places(asked, names, variables)
    suffix = given.suffix.lower()
    if asked.to_stdout:
        if len(names) > 1:
            raise InputError(f"-o - takes one picture, and {len(names)} were given; give -o a folder or an .npz")
    elif suffix != ".npz" and (not suffix or len(names) > 1 or given.is_dir()):
        if suffix in ENDINGS:
            raise InputError(f"-o {given}: {len(names)} pictures were given; give -o a folder or an .npz")
        return _default_places(asked, names, variables)
    elif suffix not in ENDINGS:
        raise InputError(f"-o {given}: the ending says what is written; use {', '.join(ENDINGS)}")
    return [asked.place(given)]


def _default_places(asked: Output, names: list[str], variables: str) -> list[Path | None]:
    """A strip for every picture, in the folder that was given or in one for each under ``runs/``."""
    from citris_cli.commands.inputs import default_place

    label = variables.replace(",", "+").replace(" ", "")
    folders = [default_place([Path(name)]) for name in names]
    stems = [stem or folder.name for folder, stem in folders]
    repeated = Counter(stems)
    files = [f"{stem}-{i}" if repeated[stem] > 1 else stem for i, stem in enumerate(stems)]
    paths = []
    for (folder, _), file, name in zip(folders, files, names, strict=True):
        strip = f"{file}-{label}.png"
        one = asked if asked.given is None else replace(asked, given=asked.given / strip)
        paths.append(one.place(folder / strip, [name]))
    return paths


def _write(paths: list[Path | None], model: CausalModel, what: Intervention, outcomes: list[Outcome]) -> None:
    """Write a strip or a GIF for every outcome, or one .npz of all."""
    from citris_cli.evaluation.interventions import outcome_arrays
    from citris_cli.show.animation import gif_bytes
    from citris_cli.show.grids import image_grid, png_bytes

    if paths[0] is not None and paths[0].suffix.lower() == ".npz":
        write_arrays(paths[0], outcome_arrays(model, what, outcomes))
        return
    for path, one in zip(paths, outcomes, strict=True):
        if path is not None and path.suffix.lower() == ".gif":
            # Not the original and its reconstruction: the other picture, if there is one, and the results.
            shown = one.images[one.labels.index("reconstruction") + 1 :]
            content = gif_bytes([image_grid([[image]], cell=256) for image in shown], GIF_DURATION, sources=[one.name])
        else:
            content = png_bytes(image_grid([list(one.images)], column_labels=one.labels), [one.name])
        write_bytes(path, content)


def _moved(console: Console, model: CausalModel, what: Intervention, outcomes: list[Outcome]) -> dict[str, Any]:
    """How far the results moved on every variable: shown as a table, and given for the report."""
    from citris_cli.evaluation.interventions import movement
    from citris_cli.show.console import as_cells

    intervened = what.names(model)
    moved, floor = movement(model, outcomes)
    rows = [
        [name, *as_cells([value, floor[name]]), "intervened on" if name in intervened else ""]
        for name, value in moved.items()
    ]
    title = "How far the re-encoded result moved, in standard deviations of each variable"
    console.table(title, ["variable", "moved", "by decoding alone", ""], rows)
    return {
        "model": str(model.path),
        "intervened": intervened,
        "moved": moved,
        "moved_by_reconstruction": floor,
    }
