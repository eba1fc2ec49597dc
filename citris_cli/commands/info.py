"""``citris info``: what is in any file of ours, or in a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from citris_cli.commands import options


def info(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Model, latents, dataset file or directory.")],
    as_json: options.Json = False,
) -> None:
    """Say what is in a model, a file of latents or a dataset."""
    import json

    from citris_cli.commands.describe import describe
    from citris_cli.show.console import Console

    description = describe(path)
    console = Console()
    if as_json:
        console.result(json.dumps(description))
        return
    for line in _lines(description):
        console.result(line)


def _lines(description: dict[str, object], indent: str = "") -> list[str]:
    """``key: value`` lines, aligned, nested entries indented below their key."""
    lines = []
    width = max((len(key) for key in description), default=0)
    for key, value in description.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key.ljust(width)}  {value}")
    return lines
