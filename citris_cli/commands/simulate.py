"""``citris simulate WORLD``: sequences with ground truth, of every world in the table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from citris_cli.commands import options
from citris_cli.worlds import WORLDS

simulate_app = typer.Typer(help="Write sequences of a simulated world, with ground truth.", no_args_is_help=True)


def _command(name: str) -> Callable[..., None]:
    """The command that writes a dataset of one world."""
    default = Path("data") / name.replace("-", "_")

    def simulate(
        output: Annotated[Path, typer.Option("-o", "--output", help="Directory for the dataset.")] = default,
        frames: Annotated[int, typer.Option(help="Frames of the training sequence.", min=2)] = 20_000,
        seed: Annotated[int, typer.Option(help="Same seed, same files.", min=0, max=options.LARGEST_SEED)] = 0,
        overwrite: Annotated[
            bool,
            typer.Option("--overwrite", help="Replace files of another dataset there.  \\[default: it is refused]"),
        ] = False,
        as_json: options.Json = False,
    ) -> None:
        from citris_cli.commands.outputs import document_text
        from citris_cli.errors import InputError
        from citris_cli.show.console import Console
        from citris_cli.worlds import load_world
        from citris_cli.worlds.dataset import write_dataset

        if output == Path("-"):
            raise InputError(
                "-o -: a dataset is a directory of files, which standard output cannot take; name a directory"
            )
        files = write_dataset(load_world(name), output, frames, seed, overwrite)
        console = Console()
        if as_json:
            document = {"files": [str(path) for path in files], "dataset": str(output), "frames": frames, "seed": seed}
            console.result(document_text(document))
        else:
            console.result(output)

    return simulate


for _name, _entry in WORLDS.items():
    simulate_app.command(_name, help=_entry.summary)(_command(_name))
