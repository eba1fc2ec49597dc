"""``citris simulate WORLD``: sequences with ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from citris_cli.commands import options

simulate_app = typer.Typer(help="Write sequences of a simulated world, with ground truth.", no_args_is_help=True)


@simulate_app.command("ball-in-boxes")
def ball_in_boxes(
    output: Annotated[Path, typer.Option("-o", "--output", help="Directory for the dataset.")] = Path(
        "data/ball_in_boxes"
    ),
    frames: Annotated[int, typer.Option(help="Frames of the training sequence.", min=2)] = 20_000,
    seed: Annotated[int, typer.Option(help="Same seed, same files.", min=0, max=options.LARGEST_SEED)] = 0,
    as_json: options.Json = False,
) -> None:
    """A ball in one of two boxes; interventions move it to the other box or redraw its height."""
    import json

    from citris_cli.errors import InputError
    from citris_cli.show.console import Console
    from citris_cli.worlds.ball_in_boxes import BallInBoxes, write_dataset

    if output == Path("-"):
        raise InputError("-o -: a dataset is a directory of files, which standard output cannot take; name a directory")
    files = write_dataset(BallInBoxes(), output, frames=frames, seed=seed)
    console = Console()
    if as_json:
        console.result(json.dumps({"dataset": str(output), "files": [str(path) for path in files]}))
    else:
        console.result(str(output))
