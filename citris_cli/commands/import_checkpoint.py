"""``citris import-checkpoint``: a published model as one of ours."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from citris_cli.commands import options


class PartName(str, Enum):
    """Models that a published one can keep inside; see :data:`citris_cli.conversion.PARTS`."""

    autoencoder = "autoencoder"
    causal_encoder = "causal-encoder"


def import_checkpoint(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A .ckpt of CITRIS-NF, CITRIS-VAE, an autoencoder or a causal encoder, or what 'citris export' wrote.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Where to write; - for standard output.  \\[default: runs/<file>/]",
            show_default=False,
        ),
    ] = None,
    ae: Annotated[
        Path | None,
        typer.Option(help="Autoencoder, ours or published, of a CITRIS-NF that does not bring it.", show_default=False),
    ] = None,
    part: Annotated[
        PartName | None,
        typer.Option(help="Import this, which the checkpoint keeps inside, instead of the whole.", show_default=False),
    ] = None,
    variables: Annotated[
        str | None,
        typer.Option(
            "--vars",
            metavar="LIST",
            help="Names of the intervened variables: name[:kind],… (continuous, angle, categorical).  "
            "\\[default: the file's, else Causal3DIdent's]",
            show_default=False,
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Read a published checkpoint, running nothing that is in it, and write it as a model of citris."""
    from citris_cli.commands import checkpoints

    name = None if part is None else part.value.replace("-", "_")
    checkpoints.import_file(file, output, ae, name, variables, as_json)
