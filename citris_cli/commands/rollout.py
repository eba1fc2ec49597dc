"""``citris rollout``: what may follow a frame, under interventions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from citris_cli.commands import options
from citris_cli.commands.completion import complete_picture
from citris_cli.commands.outputs import Output, animation_kind, output_option
from citris_cli.commands.rollout_do import acts_of, checked_names, parse_do
from citris_cli.commands.rollout_truth import Simulated, simulated_from, true_start
from citris_cli.errors import InputError
from citris_cli.wording import counted

if TYPE_CHECKING:
    import numpy as np

    from citris_cli.causal_model import CausalModel
    from citris_cli.evaluation.futures import Act, Futures
    from citris_cli.show.console import Console

#: Steps and futures unless the user says how many.
STEPS, FUTURES = 10, 3
#: Futures that a picture shows side by side, at most.
MOST_SHOWN = 12
#: What can be written besides animations, by the ending of its file.
ENDINGS = (".gif", ".mp4", ".html", ".png", ".npz")


def rollout(
    image: Annotated[
        Path,
        typer.Argument(
            metavar="IMAGE",
            help="The frame to start from: a picture, or one of a dataset or an animation (data.npz#17); - reads one "
            "from standard input.",
            show_default=False,
            autocompletion=complete_picture,
        ),
    ],
    steps: Annotated[int, typer.Option(help="Number of steps.", min=1, max=100_000)] = STEPS,
    do: Annotated[
        list[str] | None,
        typer.Option(
            "--do",
            metavar="STEP:VAR[=FROM]",
            help="Intervene on variables or groups in a step, counted from 1: 5:hue_b samples a value, "
            "5:hue_b=other.png or 5:hue_b=data.npz#3 takes it from a picture. May be repeated.",
            show_default=False,
        ),
    ] = None,
    number: Annotated[
        int | None, typer.Option("-n", help="Number of futures, shown side by side.  \\[default: 3]", min=1, max=10_000)
    ] = None,
    mean: Annotated[
        bool,
        typer.Option(
            "--mean",
            help="Show a single future: the mean of every step and of every intervention, instead of samples.",
        ),
    ] = False,
    truth: Annotated[
        bool,
        typer.Option(
            "--truth",
            help="Also show the simulator's own future from the same state under the same interventions. Needs a "
            "frame of a dataset that citris simulated.",
        ),
    ] = False,
    model: options.Model = None,
    output: Annotated[
        Path | None,
        output_option(
            "A .gif, an .mp4, an .html page with a slider, a .png strip, or an .npz with frames and latents; - for a "
            "GIF on standard output.  \\[default: runs/<image>/rollout.gif]"
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(help="Frames per second; at most 50 for a GIF.  \\[default: 2]", min=0.1, max=240),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the samples.", min=0, max=options.LARGEST_SEED)] = 0,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Sample possible futures of a frame from the learned transitions, with or without interventions."""
    from citris_cli.commands.given_model import find_model, load_causal_model, say_unfamiliar
    from citris_cli.commands.inputs import default_file, first_of, gather_frames, require_there
    from citris_cli.devices import select_device
    from citris_cli.evaluation.futures import futures_of
    from citris_cli.show.console import Console

    if fps is not None:
        options.require_number("--fps", fps)
    if mean and number not in (None, 1):
        raise InputError(f"--mean is a single future, and -n {number} would show it {number} times; leave one out")
    number = number or (1 if mean else FUTURES)
    asked_for = [parse_do(text, steps) for text in do or ()]
    console = Console()
    where = select_device(device)
    asked = Output(output, as_json)
    kind = animation_kind(asked, ENDINGS)
    if fps is not None and kind in (".png", ".npz"):
        console.note(f"--fps {fps:g}: ignored, as a {kind} does not move")
    if kind != ".npz" and number + truth > MOST_SHOWN:
        raise InputError(f"-n {number}: a picture shows at most {MOST_SHOWN - truth} futures; write an .npz for more")
    sources = [one.source for one in asked_for if one.source is not None]
    require_there([image, *dict.fromkeys(sources)])
    model_file = find_model(model, console, [image])
    asked = asked.reading("IMAGE", image).reading("--do", *sources).reading("--model", model_file)
    loaded = load_causal_model(model_file, where, console)
    asked_for = checked_names(asked_for, loaded)
    path = asked.place(default_file([image], "rollout", ".gif"), [image])
    gathered = gather_frames([image], loaded, console)
    if len(gathered) != 1:
        raise InputError(
            f"{image}: holds {counted(len(gathered), 'frame')}; choose the one to start from, such as "
            f"{first_of(image, gathered)}"
        )
    _require_room(loaded, kind, steps, number, number + truth)
    ((name, frames),) = list(gathered)
    start = true_start(image, loaded) if truth else None
    acts = acts_of(asked_for, loaded, console, start)
    frame = frames.slice(0, 1).cpu().numpy()
    found = futures_of(loaded, frame, steps, acts, number, 0.0 if mean else 1.0, seed)
    say_unfamiliar(console, loaded, [name], found.z[:1, 0])
    simulated = None if start is None else simulated_from(start, loaded, steps, acts, seed, console)
    _write(asked, path, kind, loaded, _Shown(name, found, mean, simulated), 2.0 if fps is None else fps, console)
    report = _report(console, loaded, found, acts, mean, seed)
    asked.report(console, report, path)


def _require_room(model: CausalModel, kind: str, steps: int, number: int, tiles: int) -> None:
    """Refuse more than a file, or memory, can hold, before anything is computed."""
    from citris_cli.data.npz import require_memory
    from citris_cli.show.latent_animation import KINDS, frames_that_fit
    from citris_cli.show.latents import latent_groups

    each = model.width**2 * model.image_channels + 8 * model.latents
    require_memory(
        number * (steps + 1) * each * 3,
        f"computing {counted(number, 'future')} of {counted(steps, 'step')}",
        "take fewer of them (-n) or fewer steps (--steps)",
    )
    if kind in KINDS:
        groups = latent_groups(model.variables.names, model.assignment)
        fit = frames_that_fit(kind, model.width, groups, model.image_channels, tiles)
        if steps + 1 > fit:
            raise InputError(
                f"--steps {steps}: {counted(fit - 1, 'step')} fit into {KINDS[kind]}; take fewer, or an .npz"
            )
    elif kind == ".png" and steps > MOST_COLUMNS:
        raise InputError(f"--steps {steps}: a strip shows at most {MOST_COLUMNS}; take fewer, or write a .gif")


#: Steps of a strip.
MOST_COLUMNS = 100


@dataclass(frozen=True, eq=False)
class _Shown:
    """What is written: the name of the frame, its futures, whether they are the mean path, the simulator's future."""

    name: str
    futures: Futures
    mean: bool
    simulated: Simulated | None

    @property
    def labels(self) -> list[str]:
        """Of every row or tile."""
        count = len(self.futures.z)
        own = (
            ["mean path"]
            if self.mean
            else [f"future {number + 1}" if count > 1 else "future" for number in range(count)]
        )
        return [*own, *([] if self.simulated is None else ["simulator"])]

    @property
    def images(self) -> np.ndarray[Any, Any]:
        """uint8 [tiles, T+1, W, W, C]."""
        import numpy as np

        if self.simulated is None:
            return self.futures.images
        return np.concatenate([self.futures.images, self.simulated.images[None]])

    @property
    def legend(self) -> str:
        """The labels in a line."""
        count = len(self.futures.z)
        own = "the mean path" if self.mean else counted(count, "future")
        return own if self.simulated is None else f"{own}, then the simulator's"


def _write(
    asked: Output, path: Path | None, kind: str, model: CausalModel, shown: _Shown, fps: float, console: Console
) -> None:
    from citris_cli.show.grids import FONT_SIZE, image_grid, png_bytes
    from citris_cli.show.latent_animation import animation_bytes, slower_than_asked
    from citris_cli.show.lettering import spelling_note

    if kind == ".npz":
        asked.write_arrays(path, _arrays(model, shown))
        return
    if kind == ".png":
        columns = [
            f"{step}: {', '.join(names)}" if names else str(step) for step, names in enumerate(shown.futures.intervened)
        ]
        if spelled := spelling_note(columns, FONT_SIZE):
            console.note(spelled)
        rows = [list(row) for row in shown.images]
        asked.write_bytes(path, png_bytes(image_grid(rows, shown.labels, columns), [shown.name]))
        return
    if slower := slower_than_asked(kind, fps):
        console.note(slower)
    sequence = _sequence(model, shown)
    if kind != ".html" and (spelled := spelling_note(sequence.names, FONT_SIZE)):
        console.note(spelled)
    asked.write_bytes(path, animation_bytes(kind, sequence, fps, [shown.name]))


def _sequence(model: CausalModel, shown: _Shown) -> Any:
    """The futures as the sequence that is drawn: their frames as tiles, bars of their mean with their ends."""
    import numpy as np

    from citris_cli.show.latents import LatentSequence, latent_groups
    from citris_cli.show.panels import tiled

    z, images = shown.futures.z, shown.images
    tiles = len(images)
    spread = np.stack([z.min(0), z.max(0)]) if len(z) > 1 else None
    return LatentSequence(
        f"Futures of {shown.name}",
        "/".join(model.path.parts[-2:]),
        images[0] if tiles == 1 else tiled(images),
        0,
        z.mean(0),
        latent_groups(model.variables.names, model.assignment),
        shown.futures.intervened,
        spread,
        tiles,
        shown.legend,
    )


def _arrays(model: CausalModel, shown: _Shown) -> dict[str, np.ndarray[Any, Any]]:
    """What the ``.npz`` holds: docs/file-formats.md has the keys."""
    import numpy as np

    futures = shown.futures
    count, length = futures.z.shape[:2]
    targets = np.concatenate([futures.targets(model), np.zeros((1, len(model.variables)), np.uint8)])
    arrays = {
        "images": futures.images.reshape(-1, *futures.images.shape[2:]),
        "z": futures.z.reshape(-1, model.latents),
        "targets": np.tile(targets, (count, 1)),
        "keys": np.array(model.variables.names),
        "kinds": np.array([variable.kind for variable in model.variables]),
        "episode_ids": np.repeat(np.arange(count), length),
        "assignment": model.assignment,
        "variables": np.array(model.variables.names),
        "sources": np.array([shown.name]),
    }
    if shown.simulated is not None:
        arrays |= {"simulated_images": shown.simulated.images, "simulated_latents": shown.simulated.latents}
    return arrays


def _report(
    console: Console, model: CausalModel, found: Futures, acts: list[Act], mean: bool, seed: int
) -> dict[str, Any]:
    """How far the futures went, shown as a table, and what ``--json`` says."""
    from citris_cli.data.variables import REST
    from citris_cli.evaluation.futures import spread_of, strayed
    from citris_cli.show.console import as_cells

    count, length = found.z.shape[:2]
    last = found.z[:, -1]
    moved = {name: float(one.mean()) for name, one in model.moved(found.z[:1, 0], last).items()}
    spread = spread_of(model, last) if count > 1 else None
    names = {name for step in found.intervened for name in step or ()}
    held, places = strayed(model, found.z)
    if held:
        console.note(
            f"{held} of {counted(count, 'future')} left the range of the training frames and "
            f"{'was' if held == 1 else 'were'} held at its edge in {', '.join(places)}: do not rely on "
            f"{'it' if held == 1 else 'them'} from there on"
        )
    rows = [
        [
            name,
            *as_cells([value, *([] if spread is None else [spread[name]])]),
            "intervened on" if name in names else "of no variable" if name == REST else "",
        ]
        for name, value in moved.items()
    ]
    steps = counted(length - 1, "step")
    title = f"Distance of the latents after {steps} from those of the frame, in standard deviations of each variable"
    columns = ["variable", "moved", *([] if spread is None else ["futures apart"]), ""]
    console.table(title, columns, rows)
    return {
        "model": str(model.path),
        "steps": length - 1,
        "futures": count,
        "mean": mean,
        "seed": seed,
        "interventions": [
            {
                "step": act.step,
                "variables": [model.variables[k].name for k in model.variables.resolve(act.variables)],
                "from": act.source,
            }
            for act in acts
        ],
        "moved": moved,
        "spread": spread,
        "strayed": held,
    }
