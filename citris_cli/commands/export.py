"""``citris export``: a model of ours under published names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from citris_cli.commands import options


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A trained model of citris.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Where to write; - for standard output.  \\[default: <model>.published.safetensors beside it]",
            show_default=False,
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write a model's weights under the names of the published code, as a plain .safetensors."""
    from citris_cli.commands import checkpoints

    checkpoints.export_file(file, output, as_json)
