"""``citris intervene``: what if a variable changed?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from citris_cli.commands import options


def intervene(
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE",
            help="Pictures, folders of pictures, frames of a dataset (data.npz#17); - reads one from standard input.",
            show_default=False,
        ),
    ],
    variables: Annotated[
        str,
        typer.Option("--var", metavar="LIST", help="Variables or groups to intervene on: rot_o or pos_x,hue_b."),
    ],
    other: Annotated[
        Path | None,
        typer.Option("--from", metavar="OTHER", help="Take the variables from this picture or frame (data.npz#17)."),
    ] = None,
    number: Annotated[
        int | None,
        typer.Option("-n", help="Draw so many values from what the model learned.  \\[default: 4]", min=1, max=1000),
    ] = None,
    sweep: Annotated[
        int | None, typer.Option(help="Walk through the variables' range in so many places.", min=2, max=1000)
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Factor on the standard deviation of the draws; 0 gives their mean.", min=0)
    ] = 1.0,
    model: options.Model = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="A .png strip, a .gif, or an .npz with images and latents; for many pictures a folder or an .npz; "
            "- for a PNG on standard output.  \\[default: runs/<image>/]",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draws.", min=0, max=options.LARGEST_SEED)] = 0,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Change one variable of a picture and leave the others: from another picture, drawn anew, or swept through."""
    from citris_cli.commands import intervention

    request = intervention.Request(variables, other, number, sweep, temperature, seed)
    intervention.run(images, request, model, output, device, as_json)
