"""``citris rollout``: what may follow a frame, under interventions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from citris_cli.commands import options
from citris_cli.commands.completion import complete_picture
from citris_cli.commands.outputs import Output, animation_kind, output_option
from citris_cli.errors import InputError
from citris_cli.wording import counted

if TYPE_CHECKING:
    import numpy as np

    from citris_cli.causal_model import CausalModel
    from citris_cli.commands.inputs import Gathered
    from citris_cli.evaluation.futures import Act, Futures
    from citris_cli.show.console import Console
    from citris_cli.worlds.world import World

#: Steps and futures unless the user says how many.
STEPS, FUTURES = 10, 3
#: Futures that a picture shows side by side, at most.
MOST_SHOWN = 12
#: What can be written besides animations, by the ending of its file.
ENDINGS = (".gif", ".mp4", ".html", ".png", ".npz")
_DO = re.compile(r"\s*(\d{1,9})\s*:(.+)", re.DOTALL)


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
            help="Show a single future that takes the mean at every step instead of sampling, also for interventions.",
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
    fps: Annotated[float, typer.Option(help="Frames per second; at most 50 for a GIF.", min=0.1, max=240)] = 2.0,
    seed: Annotated[int, typer.Option(help="Random seed of the samples.", min=0, max=options.LARGEST_SEED)] = 0,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Sample possible futures of a frame from the learned transitions, with or without interventions."""
    from citris_cli.commands.inputs import (
        default_file,
        find_model,
        gather_frames,
        load_causal_model,
        require_there,
        say_unfamiliar,
    )
    from citris_cli.devices import select_device
    from citris_cli.evaluation.futures import futures_of
    from citris_cli.show.console import Console

    options.require_number("--fps", fps)
    if mean and number not in (None, 1):
        raise InputError(f"--mean is a single future, and -n {number} would show it {number} times; leave one out")
    number = number or (1 if mean else FUTURES)
    asked_for = [_parse(text, steps) for text in do or ()]
    console = Console()
    where = select_device(device)
    asked = Output(output, as_json)
    kind = animation_kind(asked, ENDINGS)
    if kind != ".npz" and number + truth > MOST_SHOWN:
        raise InputError(f"-n {number}: a picture shows at most {MOST_SHOWN - truth} futures; write an .npz for more")
    sources = [one.source for one in asked_for if one.source is not None]
    require_there([image, *dict.fromkeys(sources)])
    model_file = find_model(model, console, [image])
    asked = asked.reading("IMAGE", image).reading("--do", *sources).reading("--model", model_file)
    loaded = load_causal_model(model_file, where, console)
    asked_for = _checked(asked_for, loaded)
    path = asked.place(default_file([image], "rollout", ".gif"), [image])
    gathered = gather_frames([image], loaded, console)
    if len(gathered) != 1:
        raise InputError(
            f"{image}: holds {counted(len(gathered), 'frame')}; choose the one to start from, such as "
            f"{_first(image, gathered)}"
        )
    _require_room(loaded, kind, steps, number, number + truth)
    ((name, frames),) = list(gathered)
    start = _start(image, loaded) if truth else None
    acts = _acts(asked_for, loaded, console, start is not None)
    frame = frames.slice(0, 1).cpu().numpy()
    found = futures_of(loaded, frame, steps, acts, number, 0.0 if mean else 1.0, seed)
    say_unfamiliar(console, loaded, [name], found.z[:1, 0])
    simulated = None if start is None else _simulated(loaded, start, steps, acts, seed, console)
    _write(asked, path, kind, loaded, _Shown(name, found, mean, simulated), fps, console)
    report = _report(console, loaded, found, acts, mean, seed)
    asked.report(console, report, path)


@dataclass(frozen=True)
class _Do:
    """One ``--do``: as it was given, the step, the names, and the picture that values are taken from, if any."""

    given: str
    step: int
    names: str
    source: Path | None


def _parse(given: str, steps: int) -> _Do:
    """Take a ``--do`` apart.

    Raises:
        InputError: it is none, or there is no such step.
    """
    parts = _DO.fullmatch(given)
    names, equals, source = parts[2].partition("=") if parts else ("", "", "")
    if parts is None or not names.strip() or (equals and not source.strip()):
        raise InputError(
            f"--do {given}: write STEP:VARIABLE, such as 5:hue_b, or STEP:VARIABLE=PICTURE, such as 5:hue_b=other.png"
        )
    step = int(parts[1])
    if not 1 <= step <= steps:
        raise InputError(
            f"--do {given}: the steps are 1 to {steps}; step 1 leads out of the given frame, and --steps says how many"
        )
    return _Do(given, step, names.strip(), Path(source) if equals else None)


def _checked(asked_for: list[_Do], model: CausalModel) -> list[_Do]:
    """The same, their names found to be variables of the model.

    Raises:
        InputError: no such variable, one without latents, or one that is set twice in a step.
    """
    done: set[tuple[int, int]] = set()
    for one in asked_for:
        try:
            model.block(one.names)
            indices = model.variables.resolve(one.names)
        except InputError as error:
            raise InputError(f"--do {one.given}: {error}") from None
        for index in indices:
            if (one.step, index) in done:
                raise InputError(
                    f"--do {one.given}: {model.variables[index].name} is set twice in step {one.step}; set it once"
                )
            done.add((one.step, index))
    return asked_for


def _require_room(model: CausalModel, kind: str, steps: int, number: int, tiles: int) -> None:
    """Refuse more than a file, or memory, can hold, before anything is computed."""
    from citris_cli.data.npz import require_memory
    from citris_cli.show.latent_animation import KINDS, frames_that_fit
    from citris_cli.show.latents import latent_groups

    each = model.width**2 * model.image_channels + 8 * model.latents
    require_memory(
        number * (steps + 1) * each * 3,
        f"{counted(number, 'future')} of {counted(steps, 'step')}",
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


@dataclass(frozen=True)
class _Start:
    """The state that a future starts from, in its world."""

    world: World
    state: np.ndarray[Any, Any]


def _start(image: Path, model: CausalModel) -> _Start:
    """World and true values of a frame of a dataset.

    Raises:
        InputError: it is no frame of a dataset that citris simulated.
    """
    found = _state_of(image)
    if found is None:
        raise InputError(
            f"{image}: --truth needs a frame of a dataset that 'citris simulate' wrote, such as data/test.npz#17, as "
            "only there the true state and the simulator are known; leave --truth out"
        )
    if (found.world.size, found.world.channels) != (model.width, model.image_channels):
        raise InputError(
            f"{image}: the world {found.world.name!r} draws other frames than the model's; leave --truth out"
        )
    return found


def _state_of(image: Path) -> _Start | None:
    """World and true values of a frame, where its file tells."""
    from citris_cli.commands.inputs import is_dataset
    from citris_cli.data.layout import find_files
    from citris_cli.data.npz import open_npz
    from citris_cli.data.paths import parse_choice
    from citris_cli.data.shards import look_at_frames
    from citris_cli.worlds.recorded import recorded_world

    choice = parse_choice(image)
    if not is_dataset(choice.path):
        return None
    files = find_files(choice.path, ("train",))
    counts = [look_at_frames(file).count for file in files]
    number = choice.numbers(sum(counts), "dataset")[0][0]
    for file, count in zip(files, counts, strict=True):
        if number < count:
            world = recorded_world(file)
            if world is None:
                return None
            with open_npz(file) as arrays:
                states = arrays.array("latents").reshape(-1, len(world.variables))
            return _Start(world, states[number])
        number -= count
    return None


def _first(source: Path, gathered: Gathered) -> str:
    """How the first of several frames is written: the name of a sample frame, else its number in the file."""
    from citris_cli.artifacts.packaged import sample_pictures
    from citris_cli.data.paths import parse_choice

    path = parse_choice(source).path
    return next(iter(sample_pictures(path)), f"{path}#{gathered.numbers[0]}")


def _acts(asked_for: list[_Do], model: CausalModel, console: Console, truth: bool) -> list[Act]:
    """What is done, with the latents of the pictures that values are taken from.

    Raises:
        InputError: one holds several pictures, or cannot be read.
    """
    from citris_cli.commands.inputs import gather_frames
    from citris_cli.evaluation.futures import Act

    latents: dict[Path, Any] = {}
    acts = []
    for one in asked_for:
        if one.source is None:
            acts.append(Act(one.step, one.names))
            continue
        if one.source not in latents:
            gathered = gather_frames([one.source], model, console)
            if len(gathered) != 1:
                raise InputError(
                    f"--do {one.given}: {one.source} holds {counted(len(gathered), 'frame')}; choose one, such as "
                    f"{_first(one.source, gathered)}"
                )
            ((_, frames),) = list(gathered)
            latents[one.source] = model.encode(frames.slice(0, 1).cpu().numpy())
        found = _state_of(one.source) if truth else None
        state = None if found is None else found.state
        acts.append(Act(one.step, one.names, latents[one.source], str(one.source), state))
    return acts


@dataclass(frozen=True, eq=False)
class _Simulated:
    """The simulator's future: true values [T+1, F] and frames uint8 [T+1, W, W, C]."""

    latents: np.ndarray[Any, Any]
    images: np.ndarray[Any, Any]


def _simulated(
    model: CausalModel, start: _Start, steps: int, acts: list[Act], seed: int, console: Console
) -> _Simulated:
    from citris_cli.evaluation.futures import simulated_future

    latents = simulated_future(model, start.world, start.state, steps, acts, seed)
    drawn = [act for act in acts if act.state is None]
    if drawn:
        console.note(
            "the simulator draws its own values where the model does, and where a picture's true values are not known; "
            "values of other frames of the dataset (5:x=data.npz#3) are the same for both"
        )
    return _Simulated(latents, start.world.render(latents))


@dataclass(frozen=True, eq=False)
class _Shown:
    """What is written: the name of the frame, its futures, whether they are the mean path, the simulator's future."""

    name: str
    futures: Futures
    mean: bool
    simulated: _Simulated | None

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
    from citris_cli.show.animation import GIF_FASTEST
    from citris_cli.show.grids import FONT_SIZE, image_grid, png_bytes
    from citris_cli.show.latent_animation import animation_bytes
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
    if kind == ".gif" and fps > GIF_FASTEST:
        console.note(
            f"--fps {fps:g}: a GIF shows at most {GIF_FASTEST:g} frames per second, and so does this one; write an "
            ".mp4 or an .html for more"
        )
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
    from citris_cli.evaluation.futures import spread_of, strayed
    from citris_cli.show.console import as_cells

    count, length = found.z.shape[:2]
    last = found.z[:, -1]
    moved = {name: float(one.mean()) for name, one in model.moved(found.z[:1, 0], last).items()}
    spread = spread_of(model, last) if count > 1 else None
    names = {name for step in found.intervened for name in step or ()}
    if held := strayed(model, found.z):
        console.note(
            f"{held} of {counted(count, 'future')} left the range of the training frames and "
            f"{'was' if held == 1 else 'were'} held at its edge: do not rely on {'it' if held == 1 else 'them'} from "
            "there on"
        )
    rows = [
        [
            name,
            *as_cells([value, *([] if spread is None else [spread[name]])]),
            "intervened on" if name in names else "",
        ]
        for name, value in moved.items()
    ]
    steps = counted(length - 1, "step")
    title = f"Distance of the latents from those of the frame after {steps}, in standard deviations of each variable"
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
