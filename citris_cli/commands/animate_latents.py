"""``citris animate-latents``: the frames of a sequence beside their causal latents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from citris_cli.commands import options


def animate_latents(
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA",
            help="A sequence: an .npz, a directory, several shards; or pictures and folders of pictures in the order "
            "of their names (without marks of interventions); - reads one from standard input.",
            show_default=False,
        ),
    ],
    model: options.Model = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="A .gif, an .mp4, or an .html page with a slider; - for a GIF on standard output.  "
            "\\[default: runs/<dataset>/latents.gif]",
            show_default=False,
        ),
    ] = None,
    start: Annotated[int, typer.Option(help="The first frame shown, counted from 0.", min=0)] = 0,
    frames: Annotated[
        int | None, typer.Option(help="How many frames.  \\[default: 100, or as many as there are]", min=1)
    ] = None,
    fps: Annotated[float, typer.Option(help="Frames a second.", min=0.1, max=50)] = 5.0,
    variables: options.Vars = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Show every frame of a sequence beside bars of its causal latents, and what was intervened on."""
    from citris_cli.commands import latent_animation

    request = latent_animation.Request(start, frames, fps, variables)
    latent_animation.run(data, request, model, output, device, as_json)
