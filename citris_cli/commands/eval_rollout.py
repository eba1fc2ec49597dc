"""``citris eval-rollout``: how far futures go astray, step by step."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from citris_cli.commands import options
from citris_cli.commands.outputs import Output, output_option
from citris_cli.errors import InputError
from citris_cli.wording import counted

if TYPE_CHECKING:
    from citris_cli.causal_model import CausalModel
    from citris_cli.data.datasets import SequenceData
    from citris_cli.evaluation.future_errors import FutureErrors
    from citris_cli.show.console import Console
    from citris_cli.worlds.world import World


def eval_rollout(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Sequences with ground truth: an .npz, or a directory (its test split, else its train split).",
            show_default=False,
        ),
    ],
    steps: Annotated[int, typer.Option(help="Number of steps in each future.", min=1, max=1000)] = 10,
    starts: Annotated[int, typer.Option(help="Number of frames to start from.", min=1, max=10_000)] = 100,
    number: Annotated[
        int,
        typer.Option(
            "-n", help="Number of futures from each start, of the model and of the simulator.", min=1, max=1000
        ),
    ] = 4,
    model: options.Model = None,
    causal_encoder: Annotated[
        Path | None,
        typer.Option(
            help="Trained causal encoder, to predict true factors from the decoded futures.  \\[default: the one "
            "beside the model, if any; else a network learns to predict them from the latents]",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        output_option(
            "Where to write: the .json, or the .png that goes beside it under the same name; - for the .json on "
            "standard output.  \\[default: runs/<dataset>/futures.json]"
        ),
    ] = None,
    variables: options.Vars = None,
    targets_lead: options.TargetsLead = None,
    seed: Annotated[int, typer.Option(help="Random seed of all samples.", min=0, max=options.LARGEST_SEED)] = 0,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Measure how far sampled futures are from the recorded one, compared with the simulator and with a copy."""
    from citris_cli.commands.given_model import find_causal_encoder, find_model, load_causal_model
    from citris_cli.commands.inputs import default_file
    from citris_cli.commands.interruption import ends_clean
    from citris_cli.devices import select_device
    from citris_cli.evaluation.future_errors import (
        future_errors,
        latent_reader,
        picture_reader,
        recorded_windows,
    )
    from citris_cli.show.console import Console, WorkProgress

    console = Console()
    where = select_device(device)
    asked = Output(output, as_json, beside=".png")
    model_file = find_model(model, console)
    asked = asked.reading("DATA", data).reading("--model", model_file).reading("--causal-encoder", causal_encoder)
    loaded = load_causal_model(model_file, where, console, hashed=True)
    encoder = find_causal_encoder(causal_encoder, loaded, console)
    if encoder is not None:  # perhaps one that was found
        asked = asked.reading("--causal-encoder", encoder[0])
    path = asked.place(default_file([data], "futures", ".json"), [data], loaded.sha256)
    lead = targets_lead.value if targets_lead else None
    with ends_clean("run the command again"):
        held_out, known = _sequences(data, variables, lead, loaded, console)
        half = len(held_out.frames) // 2
        last = half if known is held_out else len(known.frames)
        recorded = recorded_windows(held_out, loaded.variables, half if known is held_out else 0, steps, starts)
        if (possible := len(recorded.truth)) < starts:
            console.note(
                f"{held_out.label}: futures start from {counted(possible, 'frame')} instead of {starts:,}; "
                f"no more held-out frames have {counted(steps, 'step')} after them"
            )
        if recorded.world_targets.all():
            console.note(
                f"{held_out.label}: every step sets all variables, as in independent frames: no frame depends on the "
                "one before, so these errors do not tell how well the model predicts"
            )
        world = _world(held_out, loaded, console)
        if encoder is None:
            with WorkProgress("learning to read the factors", "epoch", after=1.0) as shown:
                reader = latent_reader(loaded, known, last, seed, shown.update)
        else:
            reader = picture_reader(loaded, held_out, encoder[1], encoder[2])
        with WorkProgress("sampling futures", "step", after=1.0) as shown:
            errors = future_errors(loaded, held_out.frames, recorded, reader, world, number, seed, shown.update)
        _show(console, errors)
        report: dict[str, Any] = {
            "model": str(loaded.path),
            "model_sha256": loaded.sha256,
            "data": str(data),
            "world": None if world is None else world.name,
            "causal_encoder": None if encoder is None else str(encoder[0]),
            "starts": errors.starts,
            "steps": steps,
            "futures": number,
            "seed": seed,
            "score": errors.score,
            "factors": {factor.name: factor.kind for factor in errors.factors},
            "errors": {
                name: {
                    "mean": errors.mean(name).tolist(),
                    "factors": dict(zip(errors.factors.names, values.T.tolist(), strict=True)),
                }
                for name, values in errors.distance.items()
            },
        }
        asked.write_report(console, report, path, None if path is None else _picture(errors), "curves")


def _sequences(
    path: Path, named: str | None, lead: str | None, model: CausalModel, console: Console
) -> tuple[SequenceData, SequenceData]:
    """The sequences that futures are compared with, and those from which reading is learnt; of one file the same.

    Raises:
        InputError: a bad file, or frames of another size than the model's.
    """
    from citris_cli.commands.given_model import known_columns
    from citris_cli.commands.inputs import require_width
    from citris_cli.data.datasets import load_sequences
    from citris_cli.data.layout import find_split
    from citris_cli.data.truth import check_true_values
    from citris_cli.data.variables import parse_vars

    columns = known_columns(model)
    names = parse_vars(named, columns) if named else None
    train = find_split(path, "train") if path.is_dir() else ()
    test = find_split(path, "test") if path.is_dir() else ()
    parts = [files for files in dict.fromkeys((test, train)) if files] or [(path,)]
    loaded = [load_sequences(list(files), names, columns, lead=lead, channels=model.image_channels) for files in parts]
    for note in dict.fromkeys(note for one in loaded for note in (*one.notes, *check_true_values(one))):
        console.note(note)
    for one in loaded:
        require_width(one.frames, path, model.width)
    owned = {model.variables.owner(column) for column in loaded[0].variables}
    foreign = [column.name for column in loaded[0].variables if model.variables.owner(column) is None]
    if owned == {None}:
        raise InputError(
            f"{path}: no column that is intervened on ({', '.join(loaded[0].variables.names)}) has the name of a "
            f"variable of the model ({', '.join(model.variables.names)}); rename the columns with --vars"
        )
    if foreign:
        them = "it" if len(foreign) == 1 else "them"
        console.note(f"{', '.join(foreign)}: not a variable of the model, so interventions on {them} are ignored")
    return loaded[0], loaded[-1]


def _world(data: SequenceData, model: CausalModel, console: Console) -> World | None:
    """The world that the data were simulated in; None, with a note, of other data."""
    from citris_cli.data.variables import canonical_name
    from citris_cli.worlds.recorded import columns_of, recorded_world

    found = recorded_world(data.paths[0])
    if found is None:
        console.note(f"{data.label}: was not written by 'citris simulate', so there is no simulator to compare with")
    elif (
        columns_of(found).names != data.columns.names
        or data.factors is None
        or ([canonical_name(one.name) for one in found.variables] != [canonical_name(one.name) for one in data.factors])
    ):
        raise InputError(f"{data.label}: its columns are not those of the world {found.name!r}; simulate it again")
    return found


def _show(console: Console, errors: FutureErrors) -> None:
    from citris_cli.evaluation.future_errors import CURVES
    from citris_cli.show.console import as_cells

    steps = len(errors.mean("futures"))
    shown = sorted({1, *(max(1, round(steps * share)) for share in (0.2, 0.5, 1))})
    rows = [
        [f"{name} ({CURVES[name]})", *as_cells([errors.mean(name)[step - 1] for step in shown])]
        for name in errors.distance
    ]
    if not math.isnan(errors.score):
        score = f": score {errors.score:.3f} (0: a copy with the values that were set, 1: the simulator)"
    elif "simulator" in errors.distance:
        score = ": no score, as a copy with the values that were set comes as close as the simulator"
    else:
        score = ""
    title = f"Normalised error of the true factors in futures of {counted(errors.starts, 'frame')}{score}"
    console.table(title, ["", *(f"step {step}" for step in shown)], rows)


def _picture(errors: FutureErrors) -> bytes:
    """A PNG with the curves of all factors together, and of each."""
    from citris_cli.evaluation.distances import UNITS
    from citris_cli.evaluation.future_errors import CURVES
    from citris_cli.show.curves import Panel, curves_picture
    from citris_cli.show.grids import png_bytes

    panels = [Panel("all, normalised", {name: errors.mean(name) for name in errors.distance})]
    for j, factor in enumerate(errors.factors):
        title = f"{factor.name}, {UNITS[factor.kind]}"
        panels.append(Panel(title, {name: values[:, j] for name, values in errors.distance.items()}))
    return png_bytes(curves_picture(panels, "steps", CURVES))
