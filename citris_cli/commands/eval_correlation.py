"""``citris eval-correlation``: what of the true factors each variable's latents tell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from citris_cli.commands import options


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
        typer.Option(
            "-o",
            "--output",
            help="Where the .json goes, with an .html of the same name beside it; - for the .json on standard output.  "
            "\\[default: correlation.json beside the model]",
            show_default=False,
        ),
    ] = None,
    variables: options.Vars = None,
    seed: Annotated[int, typer.Option(help="Of the split and of the networks.", min=0, max=options.LARGEST_SEED)] = 0,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """R² and Spearman matrices of true factors predicted from each variable's latents, with their diag and sep."""
    from citris_cli.commands import correlation_report

    correlation_report.run(data, model, output, variables, seed, device, as_json)
