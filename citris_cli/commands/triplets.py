"""What ``citris eval-triplets`` does: predict third frames, measure them beside their anchors, draw the first rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from citris_cli.artifacts.files import atomic_write, check_writable
from citris_cli.artifacts.runs import FILE_NAMES
from citris_cli.causal_model import CausalModel
from citris_cli.commands.inputs import STDOUT, known_columns, load_causal_model, require_width
from citris_cli.commands.outputs import check_beside, free_place
from citris_cli.core.causal_encoder import CausalEncoder
from citris_cli.data.datasets import TripletData, load_triplets
from citris_cli.data.layout import find_split
from citris_cli.data.variables import parse_vars
from citris_cli.errors import InputError
from citris_cli.evaluation.distances import UNITS
from citris_cli.evaluation.triplets import (
    MatchedMask,
    TripletDistances,
    TripletMeasures,
    evaluate_triplets,
    factor_distances,
    frames_of,
    match_mask,
    predict,
)
from citris_cli.loading import LoadedModel, load_model
from citris_cli.show.console import Console, as_cells
from citris_cli.show.grids import image_grid, png_bytes
from citris_cli.training.devices import select_device

#: Columns of the picture.
COLUMNS = ("image 1", "image 2", "truth", "prediction")


def run(
    path: Path,
    model_path: Path | None,
    encoder_path: Path | None,
    rows: int,
    output: Path | None,
    variables: str | None,
    device_name: str,
    as_json: bool,
) -> None:
    """Evaluate and write; see :func:`citris_cli.commands.eval_triplets.eval_triplets`."""
    console = Console()
    device = select_device(device_name)
    if as_json and output == STDOUT:
        raise InputError("--json and -o - both want standard output; give -o a file")
    if output is not None:
        check_beside(output, ".png")
    model = load_causal_model(model_path, device, console)
    known = known_columns(model)
    which = "test_triplets" if path.is_dir() and find_split(path, "test_triplets") else "val_triplets"
    data = load_triplets(path, which, parse_vars(variables, known) if variables else None, known)
    for note in data.notes:
        console.note(note)
    require_width(data.frames, data.paths[0], model.width)
    encoder = _causal_encoder(encoder_path, model, console)
    matched = match_mask(data, model.variables)
    for note in matched.notes:
        console.note(note)
    default = model.path.with_name("triplets.json")
    target = output if output is not None else free_place(default, [model.path, path])
    if target != STDOUT:
        check_writable(target)
    measures = evaluate_triplets(model, data, matched)
    report: dict[str, Any] = {
        "model": str(model.path),
        "data": str(path),
        "triplets": len(matched.rows),
        "score": None if np.isnan(measures.score) else measures.score,
        "measures": measures.summary(),
    }
    _show(console, measures, len(matched.rows))
    if encoder is not None:
        assert isinstance(encoder.network, CausalEncoder)
        assert encoder.variables is not None
        distances = factor_distances(model, data, matched, encoder.network, encoder.variables)
        report["distances"] = _distances_json(encoder, distances)
        _show_distances(console, distances)
    text = json.dumps(_finite(report), indent=None if as_json else 2)
    if target != STDOUT:
        picture = target.with_suffix(".png")
        content = png_bytes(_grid(model, data, matched, rows))
        atomic_write(picture, lambda file: file.write(content))
        console.note(f"first rows: {picture}")
        atomic_write(target, lambda file: file.write((text + "\n").encode()))
    if as_json or target == STDOUT:
        console.result(text)
    else:
        console.result(str(target))


def _show(console: Console, measures: TripletMeasures, count: int) -> None:
    rows = [
        [name, *as_cells([one["mse"] * 1000, one["psnr"], one["ssim"]])] for name, one in measures.summary().items()
    ]
    if np.isnan(measures.score):
        score = "no score, for the model reconstructs them no better than a copy does"
    else:
        score = f"score {measures.score:.3f} (0 a copy, 1 the best possible)"
    title = f"Third frames of {count:,} triplets: {score}"
    console.table(title, ["against the true frame", "MSE × 1000", "PSNR (dB)", "SSIM"], rows)


def _causal_encoder(path: Path | None, model: CausalModel, console: Console) -> LoadedModel | None:
    """The causal encoder that was named, or the one beside the model, or None."""
    if path is None:
        path = model.path.with_name(FILE_NAMES["causal_encoder"])
        if not path.exists():
            return None
        console.note(f"causal encoder: {path} (beside the model)")
    loaded = load_model(path, model.device)
    if loaded.kind != "causal_encoder":
        raise InputError(
            f"{path}: holds a model of kind {loaded.kind}, no causal encoder; train one with "
            "'citris train-causal-encoder'"
        )
    if loaded.width != model.width:
        raise InputError(
            f"{path}: this causal encoder reads frames {loaded.width} pixels wide and the model makes them "
            f"{model.width}; train one on such frames"
        )
    return loaded


def _distances_json(encoder: LoadedModel, distances: TripletDistances) -> dict[str, Any]:
    parts = {
        "prediction": distances.prediction,
        "own_error": distances.own_error,
        "copy of image 1": distances.copied,
    }
    return {
        "causal_encoder": str(encoder.path),
        "against": distances.against,
        **{name: {"mean": part.mean, "factors": part.summary()} for name, part in parts.items() if part is not None},
    }


def _show_distances(console: Console, distances: TripletDistances) -> None:
    columns = [distances.prediction, distances.own_error, distances.copied]
    rows = []
    for factor in distances.prediction.factors:
        values = ["" if c is None else as_cells([c.summary()[factor.name]["distance"]])[0] for c in columns]
        rows.append([factor.name, *values, UNITS[factor.kind]])
    rows.append(["all, normalised", *("" if c is None else as_cells([c.mean])[0] for c in columns), ""])
    title = f"Mean distance of each factor, as the causal encoder reads it, to {distances.against}"
    console.table(title, ["factor", "prediction", "its own error", "copy of image 1", "in"], rows)


def _grid(model: CausalModel, data: TripletData, matched: MatchedMask, rows: int) -> Any:
    triplets, mask = frames_of(data, matched.rows[:rows]), matched.mask[:rows]
    predictions = predict(model, triplets, mask)
    labels = [
        "\n".join(name for name, taken in zip(model.variables.names, row, strict=True) if taken) or "nothing"
        for row in mask
    ]
    images = [[*triplet, prediction] for triplet, prediction in zip(triplets, predictions, strict=True)]
    return image_grid(images, row_labels=labels, column_labels=COLUMNS)


def _finite(value: Any) -> Any:
    """JSON has no infinity: the PSNR of equal pictures becomes None."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value
