"""``citris encode``: causal latents of images and datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from citris_cli.commands import options


def encode(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            help="Pictures, folders of pictures, datasets (.npz or directory); - reads one from standard input.",
            show_default=False,
        ),
    ],
    model: options.Model = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="The .npz, uncompressed: so it can be memory-mapped, and latents hardly shrink; - for standard "
            "output.  \\[default: runs/<dataset>/]",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Frames at a time.", min=1)] = 256,
    device: options.Device = "auto",
    precision: options.Precision = None,
    as_json: options.Json = False,
) -> None:
    """Write the causal latents of every frame, and which variable each latent belongs to, as an .npz."""
    from citris_cli.commands import encoding

    encoding.run(inputs, model, output, batch_size, device, precision, as_json)
