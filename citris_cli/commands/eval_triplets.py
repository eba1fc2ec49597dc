"""``citris eval-triplets``: recombine the factors of two frames, and compare with the frame that truly has them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from citris_cli.commands import options


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
            help="Trained causal encoder: tells which factors are off.  \\[default: the one beside the model, if any]",
            show_default=False,
        ),
    ] = None,
    rows: Annotated[int, typer.Option(help="Triplets in the picture.", min=1, max=100)] = 8,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Where the .json goes, with a .png of the same name beside it; - for the .json on standard output.  "
            "\\[default: triplets.json beside the model]",
            show_default=False,
        ),
    ] = None,
    variables: options.Vars = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Predict the third frame of every triplet from the first two; a score from 0 (a copy) to 1 (the best possible)."""
    from citris_cli.commands import triplets

    triplets.run(data, model, causal_encoder, rows, output, variables, device, as_json)
