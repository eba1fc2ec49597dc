"""``citris explore``: a page to play with a model."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from citris_cli.commands import options
from citris_cli.commands.completion import complete_picture
from citris_cli.wording import counted

if TYPE_CHECKING:
    from citris_cli.causal_model import CausalModel
    from citris_cli.exploring.answers import Sample
    from citris_cli.show.console import Console


def explore(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="INPUT",
            help="Samples to offer: pictures, animations, folders, datasets, frames of these (data.npz#17), or those "
            "of a packaged model (@causal3d). You can also drop pictures onto the page.",
            show_default=False,
            autocompletion=complete_picture,
        ),
    ] = None,
    model: options.Model = None,
    port: Annotated[
        int, typer.Option(help="Port on 127.0.0.1 to listen on; 0 for any free port.", min=0, max=65535)
    ] = 0,
    open_page: Annotated[
        bool | None,
        typer.Option(
            "--open/--no-open",
            help="Open the page in a browser.  \\[default: if standard output is a terminal and there is a screen]",
            show_default=False,
        ),
    ] = None,
    device: options.Device = "auto",
) -> None:
    """Explore a model on a page in the browser: change one variable, and see the new picture and what else moved.

    Prints the page's address and serves it until Ctrl-C. Only this machine can reach it, and no files are written.
    """
    from citris_cli.commands.given_model import find_model, load_causal_model
    from citris_cli.commands.inputs import require_there
    from citris_cli.commands.interruption import until_ended
    from citris_cli.devices import select_device
    from citris_cli.exploring.answers import Answers
    from citris_cli.exploring.server import ExploreServer
    from citris_cli.exploring.workbench import Workbench
    from citris_cli.show.console import Console
    from citris_cli.system import has_screen

    console = Console()
    where = select_device(device)
    require_there(inputs or [])
    loaded = load_causal_model(find_model(model, console, inputs or []), where, console)
    answers = Answers(Workbench(loaded), _samples(inputs or [], loaded, console))
    with ExploreServer(answers, port, framed=False, note=console.note) as server, until_ended():
        console.note("press Ctrl-C to stop")
        console.result(server.url)
        if open_page or (open_page is None and sys.stdout.isatty() and has_screen()):
            # Of some browsers the call comes back when they are closed.
            threading.Thread(target=_open, args=(server.url, console), daemon=True).start()
        server.serve_forever()


def _samples(inputs: list[Path], model: CausalModel, console: Console) -> list[Sample]:
    """What the page offers to choose from: the one place that decides it."""
    from citris_cli.artifacts.packaged import MARK, packaged_name
    from citris_cli.commands.inputs import gather_frames
    from citris_cli.data.paths import parse_choice
    from citris_cli.exploring.answers import MOST_SAMPLES, Sample

    if not inputs and (packaged := packaged_name(model.path)):
        inputs = [Path(MARK + packaged)]
    if not inputs:
        return []
    gathered = gather_frames(inputs, model, console)
    if len(gathered) > MOST_SAMPLES:
        console.note(
            f"the first {MOST_SAMPLES:,} of {counted(len(gathered), 'frame')} are offered; choose others with #, such "
            f"as {parse_choice(inputs[0]).path}#{MOST_SAMPLES}:{2 * MOST_SAMPLES}"
        )
        gathered = gathered.cut(0, MOST_SAMPLES)
    return [
        Sample(f"{name}#{number}" if len(frames) > 1 else name, frames.slice(number, number + 1).cpu().numpy().copy())
        for name, frames in gathered
        for number in range(len(frames))
    ]


def _open(url: str, console: Console) -> None:
    import webbrowser

    if not webbrowser.open(url):
        console.note("no browser could be opened; open the address in one yourself")
