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
    output: options.Output = None,
    seed: Annotated[int, typer.Option(help="Of the split and of the networks.", min=0)] = 0,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """R² and Spearman matrices of true factors predicted from each variable's latents, with their diag and sep."""
    import json

    import torch

    from citris_cli.artifacts.files import atomic_write, check_writable
    from citris_cli.commands.inputs import STDOUT, load_causal_model
    from citris_cli.data.datasets import load_independent
    from citris_cli.data.layout import find_split
    from citris_cli.errors import InputError
    from citris_cli.evaluation.correlation import correlation
    from citris_cli.show.console import Console, as_cells
    from citris_cli.training.devices import select_device
    from citris_cli.training.encodings import encode_frames

    console = Console()
    where = select_device(device)
    which = "test_indep" if find_split(data, "test_indep") else "val_indep"
    truth = load_independent(data, which)
    if truth.truth is None or truth.factors is None:
        raise InputError(f"{data}: has no ground truth (latents or raw_latents); eval-correlation compares with it")
    if len(truth.frames) < 10:
        raise InputError(f"{data}: {len(truth.frames)} frames are too few to fit and score on halves; give 10 or more")
    loaded = load_causal_model(model, where, console)
    if truth.frames.width != loaded.width:
        raise InputError(
            f"{data}: frames are {truth.frames.width} pixels wide and the model was trained for {loaded.width}; "
            "use a model trained on such frames"
        )
    path = output if output is not None else loaded.path.with_name("correlation.json")
    if path != STDOUT:
        check_writable(path)
    with torch.no_grad():
        z = encode_frames(loaded.network.encode, truth.frames.to(where), where)
    report = correlation(
        z,
        loaded.network.assignment.hard(),
        truth.truth.numpy(),
        truth.factors,
        loaded.variables.names,
        torch.Generator().manual_seed(seed),
    )
    for name, matrix in (("R²", report.r2), ("Spearman", report.spearman)):
        title = (
            f"{name} on {len(z) - len(z) // 2:,} frames: diag {report.diag(matrix):.3f}, sep {report.sep(matrix):.3f}"
        )
        rows = [[row, *as_cells(values)] for row, values in zip(report.rows, matrix, strict=True)]
        console.table(title, ["latents of", *report.factors], rows)
    text = json.dumps({"model": str(loaded.path), "data": str(data), **report.to_json()}, indent=None if as_json else 2)
    if as_json or path == STDOUT:
        console.result(text)
    if path != STDOUT:
        atomic_write(path, lambda file: file.write((text + "\n").encode()))
        if not as_json:
            console.result(str(path))
