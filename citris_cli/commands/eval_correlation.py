"""``citris eval-correlation``: what of the true factors each variable's latents tell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from citris_cli.commands import options
from citris_cli.commands.outputs import Output, output_option
from citris_cli.errors import InputError
from citris_cli.wording import counted

if TYPE_CHECKING:
    import numpy as np

    from citris_cli.causal_model import CausalModel
    from citris_cli.data.datasets import IndependentData
    from citris_cli.evaluation.correlation import Correlation
    from citris_cli.show.console import Console


def eval_correlation(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="Independent frames with ground truth: an .npz, or a directory (its test_indep)."
        ),
    ],
    model: options.Model = None,
    output: Annotated[
        Path | None,
        output_option(
            "Where to write: the .json, or the .html that goes beside it under the same name; - for the .json on "
            "standard output.  \\[default: runs/<dataset>/correlation.json]"
        ),
    ] = None,
    variables: options.Vars = None,
    seed: Annotated[
        int, typer.Option(help="Random seed of the split and the networks.", min=0, max=options.LARGEST_SEED)
    ] = 0,
    noise: Annotated[
        bool,
        typer.Option(
            "--noise",
            help="Add the noise of training to the latents first. What is lost in that noise costs a model nothing, so "
            "no training run removes it.  \\[default: no noise]",
        ),
    ] = False,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Measure identification: R² and Spearman matrices of true factors predicted from each variable's latents."""
    from citris_cli.commands.given_model import find_model, load_causal_model
    from citris_cli.commands.inputs import default_file
    from citris_cli.devices import select_device
    from citris_cli.evaluation.validation import independent_correlation
    from citris_cli.show.console import Console, WorkProgress
    from citris_cli.show.correlation_page import correlation_page

    console = Console()
    where = select_device(device)
    asked = Output(output, as_json, beside=".html")
    model_file = find_model(model, console)
    asked = asked.reading("DATA", data).reading("--model", model_file)
    loaded = load_causal_model(model_file, where, console, hashed=True)
    truth, owners = _ground_truth(data, variables, loaded, console)
    model_sha256 = loaded.sha256
    path = asked.place(
        default_file([data], "correlation-noise" if noise else "correlation", ".json"), [data], model_sha256
    )
    with WorkProgress("reading the factors from the latents", "epoch", after=1.0) as shown:
        report = independent_correlation(loaded, truth, seed, shown.update, noise=noise)
    without = [name for index, name in enumerate(loaded.variables.names) if index not in owners]
    if without and len(without) < len(loaded.variables):
        console.note(f"{', '.join(without)}: no ground truth under this name, so left out of diag")
    matrices = _titled(report, len(truth.frames) - len(truth.frames) // 2, noise)
    for title, matrix in matrices.items():
        console.heatmap(title, report.rows, report.factors, matrix.tolist())
    about = {"model": str(loaded.path), "model_sha256": model_sha256, "data": str(data), "noise": noise}
    page = None
    if path is not None:
        facts = {"Model": str(loaded.path), "Its SHA-256": model_sha256, "Data": str(data)}
        facts["Frames"] = f"{len(truth.frames):,}, one half to fit, one to score"
        facts["Noise"] = "that of training" if noise else "none"
        text = correlation_page(report.rows, report.factors, report.own, matrices, facts)
        page = text.encode(errors="replace")
    asked.write_report(console, {**about, "frames": len(truth.frames), **report.to_json()}, path, page, "heat-maps")


def _ground_truth(
    path: Path, named: str | None, model: CausalModel, console: Console
) -> tuple[IndependentData, set[int]]:
    """Frames with ground truth, and the numbers of the model's variables that a factor of it belongs to.

    Raises:
        InputError: a bad file, no ground truth, too few frames, or frames of another size than the model's.
    """
    from citris_cli.commands.given_model import known_columns
    from citris_cli.commands.inputs import require_width
    from citris_cli.data.datasets import load_independent
    from citris_cli.data.layout import find_split
    from citris_cli.data.truth import check_true_values
    from citris_cli.data.variables import parse_vars
    from citris_cli.evaluation.validation import require_halves

    known = known_columns(model)
    which = "test_indep" if path.is_dir() and find_split(path, "test_indep") else "val_indep"
    names = parse_vars(named, known) if named else None
    data = load_independent(path, which, names, known, channels=model.image_channels)
    for note in (*data.notes, *check_true_values(data)):
        console.note(note)
    if data.truth is None or data.factors is None:
        raise InputError(f"{path}: has no ground truth (latents or raw_latents); eval-correlation compares with it")
    require_halves(data)
    require_width(data.frames, path, model.width)
    owners = {owner for factor in data.factors if (owner := model.variables.owner(factor)) is not None}
    if not owners:
        console.note(
            f"no factor ({', '.join(data.factors.names)}) has the name of a variable of the model "
            f"({', '.join(model.variables.names)}); rename the columns with --vars"
        )
    return data, owners


def _titled(report: Correlation, scored: int, noise: bool) -> dict[str, np.ndarray]:
    """Both matrices, each under a title with its diag, sep and average sep on so many frames."""
    frames = f"{counted(scored, 'frame')} with noise" if noise else counted(scored, "frame")
    return {
        f"{name} on {frames}: diag {report.diag(matrix):.3f}, sep {report.sep(matrix):.3f}, average sep "
        f"{report.average_sep(matrix):.3f}": matrix
        for name, matrix in (("R²", report.r2), ("Spearman", report.spearman))
    }
