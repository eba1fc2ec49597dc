"""What ``citris eval-correlation`` does: encode, compare with ground truth, and show the matrices three ways."""

from __future__ import annotations

import json
from pathlib import Path

from citris_cli.artifacts.files import atomic_write, check_writable
from citris_cli.commands.inputs import STDOUT, known_columns, load_causal_model, require_width
from citris_cli.commands.outputs import check_beside, free_place
from citris_cli.data.datasets import load_independent
from citris_cli.data.layout import find_split
from citris_cli.data.variables import parse_vars
from citris_cli.errors import InputError
from citris_cli.evaluation.validation import independent_correlation, require_halves
from citris_cli.show.console import Console
from citris_cli.show.correlation_page import correlation_page
from citris_cli.training.devices import select_device
from citris_cli.wording import counted


def run(
    data: Path,
    model: Path | None,
    output: Path | None,
    variables: str | None,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """Evaluate and write; see :func:`citris_cli.commands.eval_correlation.eval_correlation`."""
    console = Console()
    where = select_device(device)
    if as_json and output == STDOUT:
        raise InputError("--json and -o - both want standard output; give -o a file")
    if output is not None:
        check_beside(output, ".html")
    loaded = load_causal_model(model, where, console)
    known = known_columns(loaded)
    which = "test_indep" if data.is_dir() and find_split(data, "test_indep") else "val_indep"
    truth = load_independent(data, which, parse_vars(variables, known) if variables else None, known)
    for note in truth.notes:
        console.note(note)
    if truth.truth is None or truth.factors is None:
        raise InputError(f"{data}: has no ground truth (latents or raw_latents); eval-correlation compares with it")
    require_halves(truth)
    require_width(truth.frames, data, loaded.width)
    owners = {loaded.variables.owner(factor) for factor in truth.factors} - {None}
    if not owners:
        console.note(
            f"no factor ({', '.join(truth.factors.names)}) is called like a variable of the model "
            f"({', '.join(loaded.variables.names)}); --vars gives the columns other names"
        )
    default = loaded.path.with_name("correlation.json")
    path = output if output is not None else free_place(default, [loaded.path, data])
    if path != STDOUT:
        check_writable(path)
    report = independent_correlation(loaded, truth, seed)
    without = [name for index, name in enumerate(loaded.variables.names) if index not in owners]
    if without and len(without) < len(loaded.variables):
        console.note(f"{', '.join(without)}: no ground truth under this name, so left out of diag")
    scored = counted(len(truth.frames) - len(truth.frames) // 2, "frame")
    matrices = {
        f"{name} on {scored}: diag {report.diag(matrix):.3f}, sep {report.sep(matrix):.3f}": matrix
        for name, matrix in (("R²", report.r2), ("Spearman", report.spearman))
    }
    for title, matrix in matrices.items():
        console.heatmap(title, report.rows, report.factors, matrix.tolist())
    text = json.dumps({"model": str(loaded.path), "data": str(data), **report.to_json()}, indent=None if as_json else 2)
    if path != STDOUT:
        facts = {
            "model": str(loaded.path),
            "data": str(data),
            "frames": f"{len(truth.frames):,}, one half to fit, one to score",
        }
        page = correlation_page(report.rows, report.factors, report.own, matrices, facts)
        html = path.with_suffix(".html")
        atomic_write(html, lambda file: file.write(page.encode()))
        console.note(f"heat-maps: {html}")
        atomic_write(path, lambda file: file.write((text + "\n").encode()))
    console.result(text if as_json or path == STDOUT else str(path))
