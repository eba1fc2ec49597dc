"""``citris intervene``: what if a variable changed?"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from citris_cli.commands import options
from citris_cli.commands.completion import complete_picture, complete_variables
from citris_cli.commands.outputs import Output, output_option
from citris_cli.errors import InputError
from citris_cli.system import is_stream
from citris_cli.wording import counted

if TYPE_CHECKING:
    import numpy as np

    from citris_cli.causal_model import CausalModel
    from citris_cli.commands.inputs import Gathered
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
            help="Pictures, animations, folders of pictures, quoted patterns, frames of any of these or of a dataset "
            "(data.npz#17, film.gif#1:5), sample frames (@causal3d/1); - reads one from standard input.",
            show_default=False,
            autocompletion=complete_picture,
        ),
    ],
    variables: Annotated[
        str,
        typer.Option(
            "--var",
            metavar="LIST",
            help="Variables or groups to intervene on ('citris info MODEL' lists them): rot_o or pos_x,hue_b.",
            autocompletion=complete_variables,
        ),
    ],
    other: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="OTHER",
            help="Take the variables from this picture or frame (data.npz#17), or from one for each picture.",
            autocompletion=complete_picture,
        ),
    ] = None,
    number: Annotated[
        int | None,
        typer.Option(
            "-n",
            help="Number of values to sample from the learned interventional distribution.  \\[default: 4]",
            min=1,
            max=1000,
        ),
    ] = None,
    sweep: Annotated[
        int | None,
        typer.Option(help="Number of pictures in a sweep through the variables' range (a traversal).", min=2, max=1000),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="Factor on the standard deviation of the samples; 0 gives their mean, of a mixture that of its "
            "likeliest component.  \\[default: 1]",
            min=0,
        ),
    ] = None,
    effects: Annotated[
        bool,
        typer.Option(
            "--effects",
            help="Also update what the variables act on within the step, by the graph that an iCITRIS model learned.",
        ),
    ] = False,
    model: options.Model = None,
    output: Annotated[
        Path | None,
        output_option(
            "A .png strip, a .gif, or an .npz with images and latents; for many pictures a folder or an .npz; "
            "- for a PNG on standard output.  \\[default: runs/<image>/]"
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Random seed of the samples.  \\[default: 0]", min=0, max=options.LARGEST_SEED),
    ] = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Change one variable of a picture and keep the others: take it from another picture, sample it, or sweep it."""
    import numpy as np

    from citris_cli.commands.given_model import find_model, load_causal_model, say_unfamiliar
    from citris_cli.commands.inputs import gather_frames, require_there
    from citris_cli.data.npz import require_memory
    from citris_cli.data.paths import parse_choice
    from citris_cli.devices import select_device
    from citris_cli.evaluation.interventions import DRAWS, Intervention, intervene_on
    from citris_cli.show.console import Console

    _check_one_way({"--from": other, "-n": number, "--sweep": sweep})
    console = Console()
    if temperature is not None:
        options.require_number("--temperature", temperature)
    of_samples = [name for name, value in (("--temperature", temperature), ("--seed", seed)) if value is not None]
    if of_samples and (sweep or other is not None):
        console.note(f"{' and '.join(of_samples)}: {'--sweep' if sweep else '--from'} samples nothing, so ignored")
    where = select_device(device)
    asked = Output(output, as_json)
    given = images if other is None else [*images, other]
    require_there(given)
    model_file = find_model(model, console, given)
    asked = asked.reading("IMAGE", *images).reading("--from", other).reading("--model", model_file)
    loaded = load_causal_model(model_file, where, console)
    loaded.block(variables)  # a wrong name is refused before anything is read
    if effects:
        _say_effects(console, loaded, variables)
    # All that is given is looked at before any of it is read.
    gathered = gather_frames(images, loaded, console)
    from_others = None if other is None else _others(other, len(gathered), loaded, console)
    shown = 3 + (sweep or number or DRAWS if other is None else 1)
    require_memory(
        len(gathered) * shown * loaded.width**2 * loaded.image_channels,
        f"intervening on {counted(len(gathered), 'picture')}",
        f"choose some of them, such as {parse_choice(images[0]).path}#:100",
    )
    # One picture for all of them, or one for each.
    pictures = _pictures(gathered)
    paths = _places(asked, [name for name, _ in pictures], variables)
    values = loaded.sweep(variables, sweep) if sweep else None
    what = Intervention(
        variables, values, None, number or DRAWS, 1.0 if temperature is None else temperature, seed or 0, effects
    )
    each = [what]
    if from_others is not None:
        each = [replace(what, values=loaded.encode(frame), other=frame) for _, frame in _pictures(from_others)]
        if any(loaded.unfamiliar(one.values).any() for one in each if one.values is not None):
            console.note(f"--from {other}: unlike the frames that the model was trained on, so its values mean little")
    each = each * len(pictures) if len(each) == 1 else each
    outcomes = [intervene_on(loaded, one, name, frame) for (name, frame), one in zip(pictures, each, strict=True)]
    say_unfamiliar(console, loaded, [one.name for one in outcomes], np.concatenate([one.before for one in outcomes]))
    _write(asked, paths, loaded, what, outcomes, console)
    report = _moved(console, loaded, what, outcomes)
    asked.report(console, report, *paths)


def _say_effects(console: Console, model: CausalModel, variables: str) -> None:
    """Notes on what follows an intervention within a step, and on what stands in the way of trusting it.

    Raises:
        InputError: the model knows no effects within a step.
    """
    affected = model.affected(variables)
    if affected:
        console.note(
            f"{', '.join(affected)}: {'follows' if len(affected) == 1 else 'follow'} within the step that starts from "
            "the picture; everything else stays as it is"
        )
    else:
        console.note(f"{variables}: acts on nothing within a step in the learned graph, so nothing follows")
    graph = model.graph()
    if graph is not None and graph["cycle_edges"]:
        edges = ", ".join(f"{edge['from']} -> {edge['to']}" for edge in graph["cycle_edges"])
        console.note(f"the learned graph has cycles; followed without the least certain edge of each ({edges})")


def _check_one_way(ways: dict[str, object]) -> None:
    given = [way for way, value in ways.items() if value]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)}: choose one way to intervene")


def _others(path: Path, count: int, model: CausalModel, console: Console) -> Gathered:
    """The pictures or frames that the variables are taken from, one, or one for each of so many; not read yet.

    Raises:
        InputError: it has neither one nor as many.
    """
    from citris_cli.commands.inputs import first_of, gather_frames

    gathered = gather_frames([path], model, console)
    if len(gathered) not in (1, count):
        raise InputError(
            f"--from {path}: holds {counted(len(gathered), 'frame')} for {counted(count, 'picture')}; name one, such "
            f"as {first_of(path, gathered)}, or give one for each picture"
        )
    if len(gathered) > 1:
        console.note(f"each picture takes its values from the one at the same place in {path}, in order")
    return gathered


def _pictures(gathered: Gathered) -> list[tuple[str, np.ndarray[Any, Any]]]:
    """Every picture or frame uint8 [1, W, W, 3] with its name."""
    return [
        (f"{name}#{number}" if len(stack) > 1 else name, stack.slice(number, number + 1).cpu().numpy())
        for name, stack in gathered
        for number in range(len(stack))
    ]


def _places(asked: Output, names: list[str], variables: str) -> list[Path | None]:
    """Where each picture's strip goes, all of them found to be writable; one place for an .npz or standard output.

    Raises:
        InputError: an ending that cannot be written, one file for many pictures, or a place that cannot be written.
    """
    from citris_cli.artifacts.endings import names_a_file

    given = asked.given
    if given is None:
        return _default_places(asked, names, variables)
    suffix = given.suffix.lower()
    if asked.to_stdout:
        if len(names) > 1:
            raise InputError(f"-o - takes one picture, and {len(names)} were given; give -o a folder or an .npz")
    elif not suffix and is_stream(given):
        if len(names) > 1:
            raise InputError(f"-o {given} takes one picture, and {len(names)} were given; give -o a folder or an .npz")
    elif suffix != ".npz" and (not suffix or len(names) > 1 or given.is_dir()):
        if suffix in ENDINGS or (names_a_file(given) and not given.is_dir()):
            raise InputError(f"-o {given}: {len(names)} pictures were given; give -o a folder or an .npz")
        return _default_places(asked, names, variables)
    elif suffix not in ENDINGS:
        raise InputError(f"-o {given}: the extension decides the format; use {', '.join(ENDINGS)}")
    return [asked.place(given)]


def _default_places(asked: Output, names: list[str], variables: str) -> list[Path | None]:
    """A strip for every picture, in the folder that was given or in one for each under ``runs/``."""
    from citris_cli.commands.inputs import default_place, is_dataset
    from citris_cli.data.layout import safe_name
    from citris_cli.data.paths import parse_choice

    # Names of variables are whatever the data call them.
    label = safe_name("+".join(safe_name(name) for name in variables.split(",")), keep="+")
    folders = [default_place([Path(name)]) for name in names]
    stems = [
        # A picture of an animation is called after it as well.
        stem if stem and is_dataset(parse_choice(Path(name)).path) else "-".join(filter(None, (folder.name, stem)))
        for (folder, stem), name in zip(folders, names, strict=True)
    ]
    repeated = Counter(stems)
    files = [f"{stem}-{i}" if repeated[stem] > 1 else stem for i, stem in enumerate(stems)]
    paths = []
    for (folder, _), file, name in zip(folders, files, names, strict=True):
        strip = f"{file}-{label}.png"
        paths.append(asked.place(folder / strip, [name]) if asked.given is None else asked.place_inside(strip))
    return paths


def _write(
    asked: Output,
    paths: list[Path | None],
    model: CausalModel,
    what: Intervention,
    outcomes: list[Outcome],
    console: Console,
) -> None:
    """Write a strip or a GIF for every outcome, all of them or none, or one .npz of all."""
    from citris_cli.evaluation.interventions import outcome_arrays
    from citris_cli.show.grids import FONT_SIZE
    from citris_cli.show.lettering import spelling_note

    if paths[0] is not None and paths[0].suffix.lower() == ".npz":
        asked.write_arrays(paths[0], outcome_arrays(model, what, outcomes))
        return
    if (paths[0] is None or paths[0].suffix.lower() == ".png") and (
        spelled := spelling_note(outcomes[0].labels, FONT_SIZE)
    ):
        console.note(spelled)
    if paths[0] is None:
        asked.write_bytes(None, _drawn(outcomes[0], ".png"))
        return
    asked.write(
        {
            path: partial(lambda one, suffix, file: file.write(_drawn(one, suffix)), outcome, path.suffix.lower())
            for path, outcome in zip(paths, outcomes, strict=True)
            if path is not None
        }
    )


def _drawn(outcome: Outcome, suffix: str) -> bytes:
    """A picture's strip, or its GIF."""
    from citris_cli.show.animation import gif_bytes
    from citris_cli.show.grids import image_grid, png_bytes

    if suffix != ".gif":
        return png_bytes(image_grid([list(outcome.images)], column_labels=outcome.labels), [outcome.name])
    # Not the original and its reconstruction: the other picture, if there is one, and the results.
    shown = outcome.images[outcome.labels.index("reconstruction") + 1 :]
    return gif_bytes([image_grid([[image]], cell=256) for image in shown], GIF_DURATION, sources=[outcome.name])


def _moved(console: Console, model: CausalModel, what: Intervention, outcomes: list[Outcome]) -> dict[str, Any]:
    """How far the results moved on every variable: shown as a table, and given for the report."""
    from citris_cli.data.variables import REST
    from citris_cli.evaluation.interventions import effects_and_leaks, movement
    from citris_cli.show.console import as_cells

    intervened = what.names(model)
    moved, floor = movement(model, outcomes)
    affected = model.affected(what.variables) if what.effects else ()
    roles = {
        REST: "of no variable",
        **dict.fromkeys(affected, "follows"),
        **dict.fromkeys(intervened, "intervened on"),
    }
    columns = {"moved": moved, "by decoding alone": floor}
    report: dict[str, Any] = {
        "model": str(model.path),
        "intervened": intervened,
        "moved": moved,
        "moved_by_reconstruction": floor,
    }
    if what.effects:
        effect, leak = effects_and_leaks(model, outcomes)
        effect = {name: value for name, value in effect.items() if name in affected}
        columns = {"moved": moved, "by effect": effect, "by leak": leak, "by decoding alone": floor}
        report |= {"affected": list(affected), "moved_by_effect": effect, "moved_by_leak": leak}
    rows = [
        [name, *("" if name not in one else as_cells([one[name]])[0] for one in columns.values()), roles.get(name, "")]
        for name in moved
    ]
    title = "How far the re-encoded result moved, in standard deviations of each variable"
    console.table(title, ["variable", *columns, ""], rows)
    return report
