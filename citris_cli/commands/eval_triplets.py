"""``citris eval-triplets``: recombine the factors of two frames, and compare with the frame that truly has them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from citris_cli.commands import options
from citris_cli.commands.outputs import Output, output_option

if TYPE_CHECKING:
    from citris_cli.causal_model import CausalModel
    from citris_cli.data.datasets import TripletData
    from citris_cli.evaluation.triplets import MatchedMask, TripletDistances, TripletMeasures
    from citris_cli.show.console import Console


def eval_triplets(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="Triplets with their mask: an .npz, or a directory (its test_triplets, else val)."
        ),
    ],
    model: options.Model = None,
    causal_encoder: Annotated[
        Path | None,
        typer.Option(
            help="Trained causal encoder, which gives the error of every factor.  \\[default: the one beside the "
            "model, if any]",
            show_default=False,
        ),
    ] = None,
    rows: Annotated[int, typer.Option(help="Number of triplets in the picture.", min=1, max=100)] = 8,
    output: Annotated[
        Path | None,
        output_option(
            "Where to write: the .json, or the .png that goes beside it under the same name; - for the .json on "
            "standard output.  \\[default: runs/<dataset>/triplets.json]"
        ),
    ] = None,
    variables: options.Vars = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Predict the third frame of every triplet from the first two; score: 0 (a copy) to 1 (the best possible)."""
    from citris_cli.commands.given_model import find_causal_encoder, find_model, load_causal_model
    from citris_cli.commands.inputs import default_file
    from citris_cli.data.truth import check_true_values
    from citris_cli.devices import select_device
    from citris_cli.evaluation.triplets import evaluate_triplets, factor_distances, match_mask
    from citris_cli.show.console import Console
    from citris_cli.show.grids import FONT_SIZE
    from citris_cli.show.lettering import spelling_note

    console = Console()
    where = select_device(device)
    asked = Output(output, as_json, beside=".png")
    model_file = find_model(model, console)
    asked = asked.reading("DATA", data).reading("--model", model_file).reading("--causal-encoder", causal_encoder)
    loaded = load_causal_model(model_file, where, console, hashed=True)
    triplets = _triplets(data, variables, loaded, console)
    encoder = find_causal_encoder(causal_encoder, loaded, console)
    if encoder is not None:  # perhaps one that was found
        asked = asked.reading("--causal-encoder", encoder[0])
        # True values are looked at only where a causal encoder is compared with them.
        for note in check_true_values(triplets):
            console.note(note)
    matched = match_mask(triplets, loaded.variables)
    for note in matched.notes:
        console.note(note)
    model_sha256 = loaded.sha256
    path = asked.place(default_file([data], "triplets", ".json"), [data], model_sha256)
    measures = evaluate_triplets(loaded, triplets, matched)
    count = len(matched.rows)
    report: dict[str, Any] = {"model": str(loaded.path), "model_sha256": model_sha256, "data": str(data)}
    summary = {name.replace(" ", "_"): values for name, values in measures.summary().items()}
    report |= {"triplets": count, "score": measures.score, "measures": summary}
    _show(console, measures, count)
    if encoder is not None:
        encoder_path, network, factors = encoder
        distances = factor_distances(loaded, triplets, matched, network, factors)
        report["distances"] = {"causal_encoder": str(encoder_path), **_distances_json(distances)}
        _show_distances(console, distances)
    picture = None
    if path is not None:
        picture = _first_rows(loaded, triplets, matched, rows)
        if spelled := spelling_note(loaded.variables.names, FONT_SIZE):
            console.note(spelled)
    asked.write_report(console, report, path, picture, "first rows")


def _triplets(path: Path, named: str | None, model: CausalModel, console: Console) -> TripletData:
    """The triplets, refused if their frames have another size than the model's."""
    from citris_cli.commands.given_model import known_columns
    from citris_cli.commands.inputs import require_width
    from citris_cli.data.datasets import load_triplets
    from citris_cli.data.layout import find_split
    from citris_cli.data.variables import parse_vars

    known = known_columns(model)
    which = "test_triplets" if path.is_dir() and find_split(path, "test_triplets") else "val_triplets"
    data = load_triplets(path, which, parse_vars(named, known) if named else None, known, channels=model.image_channels)
    for note in data.notes:
        console.note(note)
    require_width(data.frames, data.paths[0], model.width)
    return data


def _show(console: Console, measures: TripletMeasures, count: int) -> None:
    from citris_cli.show.console import as_cells

    rows = [
        [name, *as_cells([one["mse"] * 1000, one["psnr"], one["ssim"]])] for name, one in measures.summary().items()
    ]
    if math.isnan(measures.score):
        score = "no score, as the model reconstructs them no better than a copy does"
    else:
        score = f"score {measures.score:.3f} (0 a copy, 1 the best possible)"
    title = f"Third frames of {count:,} triplets: {score}"
    console.table(title, ["against the true frame", "MSE × 1000", "PSNR (dB)", "SSIM"], rows)


def _distances_json(distances: TripletDistances) -> dict[str, Any]:
    parts = {
        "prediction": distances.prediction,
        "own_error": distances.own_error,
        "copy_of_image_1": distances.copied,
    }
    return {
        "against": distances.against,
        **{name: {"mean": part.mean, "factors": part.summary()} for name, part in parts.items() if part is not None},
    }


def _show_distances(console: Console, distances: TripletDistances) -> None:
    from citris_cli.evaluation.distances import UNITS
    from citris_cli.show.console import as_cells

    columns = [distances.prediction, distances.own_error, distances.copied]
    rows = []
    for factor in distances.prediction.factors:
        values = ["" if c is None else as_cells([c.summary()[factor.name]["distance"]])[0] for c in columns]
        rows.append([factor.name, *values, UNITS[factor.kind]])
    rows.append(["all, normalised", *("" if c is None else as_cells([c.mean])[0] for c in columns), ""])
    title = f"Mean distance of each factor, as the causal encoder reads it, to {distances.against}"
    console.table(title, ["factor", "prediction", "its own error", "copy of image 1", "in"], rows)


def _first_rows(model: CausalModel, data: TripletData, matched: MatchedMask, rows: int) -> bytes:
    """A PNG of the first triplets that the model predicts, so many of them, each with its prediction."""
    from citris_cli.evaluation.triplets import frames_of, predict
    from citris_cli.show.grids import png_bytes, triplet_grid

    triplets, mask = frames_of(data, matched.rows[:rows]), matched.mask[:rows]
    return png_bytes(triplet_grid(triplets, predict(model, triplets, mask), mask, model.variables.names))
