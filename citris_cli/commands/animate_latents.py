"""``citris animate-latents``: the frames of a sequence beside their causal latents."""

from __future__ import annotations

from collections.abc import Callable
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
    from citris_cli.causal_model import CausalModel
    from citris_cli.data.clips import Clip
    from citris_cli.show.console import Console
    from citris_cli.show.latents import Group, LatentSequence

#: Frames that are shown unless the user asks for more.
FRAMES = 100


def animate_latents(
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA",
            help="A sequence: an .npz, a directory, several shards; or animations, pictures and folders of them in "
            "the order of their names (no interventions are marked); or frames of one of these (data.npz#10:60), "
            "or sample frames (@causal3d); - reads a picture from standard input.",
            show_default=False,
            autocompletion=complete_picture,
        ),
    ],
    model: options.Model = None,
    output: Annotated[
        Path | None,
        output_option(
            "A .gif, an .mp4, or an .html page with a slider; - for a GIF on standard output.  "
            "\\[default: runs/<dataset>/latents.gif]"
        ),
    ] = None,
    start: Annotated[int, typer.Option(help="The first frame to show, counted from 0.", min=0)] = 0,
    frames: Annotated[
        int | None, typer.Option(help="Number of frames to show.  \\[default: 100, or as many as there are]", min=1)
    ] = None,
    fps: Annotated[float, typer.Option(help="Frames per second; at most 50 for a GIF.", min=0.1, max=240)] = 5.0,
    variables: options.Vars = None,
    targets_lead: options.TargetsLead = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Animate a sequence: every frame beside bars of its causal latents, with the interventions marked."""
    from citris_cli.commands.given_model import find_model, load_causal_model
    from citris_cli.commands.inputs import default_file, default_place, require_there
    from citris_cli.devices import select_device
    from citris_cli.show.console import Console
    from citris_cli.show.latent_animation import KINDS, animation_bytes, slower_than_asked
    from citris_cli.show.latent_bars import FONT_SIZE
    from citris_cli.show.latents import latent_groups
    from citris_cli.show.lettering import spelling_note

    options.require_number("--fps", fps)
    console = Console()
    where = select_device(device)
    asked = Output(output, as_json)
    kind = animation_kind(asked, KINDS)
    require_there(data)
    model_file = find_model(model, console, data)
    asked = asked.reading("DATA", *data).reading("--model", model_file)
    path = asked.place(default_file(data, "latents", ".gif"), data)
    loaded = load_causal_model(model_file, where, console)
    found = _frames_of(data, variables, targets_lead.value if targets_lead else None, loaded, console)
    groups = latent_groups(loaded.variables.names, loaded.assignment)
    chosen = _choose(start, frames, len(found.numbers), loaded, kind, groups)
    clip = found.read(chosen.start, chosen.stop)
    folder, label = default_place(data)
    first = found.numbers[start] if found.numbers.step == 1 else start
    sequence = _shown(f"{folder.name} {label}".strip(), first, clip, loaded, groups)
    _say_frames(console, found, chosen, clip)
    _say_interventions(console, found, clip, loaded, sequence)
    if slower := slower_than_asked(kind, fps):
        console.note(slower)
    if kind != ".html":
        captions = map(sequence.caption, range(len(chosen)))
        if spelled := spelling_note(sequence.names, FONT_SIZE) or spelling_note(captions, FONT_SIZE):
            console.note(spelled)
    asked.write_bytes(path, animation_bytes(kind, sequence, fps, list(map(str, data))))
    asked.report(console, _about(clip, loaded, sequence), path)


@dataclass(frozen=True)
class _Sequence:
    """Frames that can be shown.

    Attributes:
        numbers: of the frames in their dataset, or counted through all inputs.
        whole: whether these are all frames of the inputs, and none were chosen with ``#``.
        read: gives those of them from one place to another.
        unmarked: why, where no frame is marked.
    """

    numbers: range
    whole: bool
    read: Callable[[int, int], Clip]
    unmarked: str = "the data has no steps with intervention targets: nothing is marked"


def _frames_of(
    data: list[Path], named: str | None, lead: str | None, model: CausalModel, console: Console
) -> _Sequence:
    """The sequence: of datasets with what they tell of its steps; of anything else the pictures, in their order."""
    from citris_cli.commands.given_model import known_columns
    from citris_cli.commands.inputs import gather_frames, is_dataset
    from citris_cli.data.clips import Clip, load_clip
    from citris_cli.data.paths import parse_choice
    from citris_cli.data.variables import parse_vars

    choices = [parse_choice(path) for path in data]
    whole = all(choice.text is None for choice in choices)
    datasets = [is_dataset(choice.path) for choice in choices]
    if all(datasets) and (whole or len(data) == 1):
        known = known_columns(model)
        names = parse_vars(named, known) if named else None
        paths = [choice.path for choice in choices]
        clip = load_clip(paths, names, known, lead=lead, channels=model.image_channels)
        for told in clip.notes:
            console.note(told)
        if clip.frames.width != model.width:
            raise InputError(
                f"the data's frames are {clip.frames.width}×{clip.frames.height} and {model.path} was trained for "
                f"{model.width}×{model.width}; use a model trained on such frames"
            )
        numbers, note = choices[0].numbers(len(clip.frames), "dataset")
        if note:
            console.note(note)
        return _Sequence(numbers, whole, lambda start, stop: clip.select(numbers[start:stop]))
    if lead is not None:
        raise InputError("--targets-lead is about a dataset's targets, and pictures have none; leave it out")
    if named:
        raise InputError("--vars names the columns of a dataset's targets, and pictures have none; leave it out")
    gathered = gather_frames(data, model, console)
    whole = whole or len(data) > 1  # frames of several inputs are counted through

    def read(start: int, stop: int) -> Clip:
        import numpy as np

        from citris_cli.data.frames import Frames

        stacks = [frames.slice(0, len(frames)).numpy() for _, frames in gathered.cut(start, stop)]
        return Clip.without_targets(Frames([np.concatenate(stacks)]))

    if any(datasets):
        mixed = "interventions are marked where datasets are given whole, or frames of a single one: nothing is marked"
        return _Sequence(gathered.numbers, whole, read, mixed)
    return _Sequence(gathered.numbers, whole, read)


def _choose(
    start: int, frames: int | None, total: int, model: CausalModel, kind: str, groups: tuple[Group, ...]
) -> range:
    """The places of the frames to show; refused before any of them takes memory if they are too many."""
    from citris_cli.show.latent_animation import KINDS, frames_on_a_page, frames_that_fit

    if start >= total:
        raise InputError(f"--start {start}: the data has {counted(total, 'frame')}, counted from 0")
    fit = frames_that_fit(kind, model.width, groups, model.image_channels)
    count = min(total - start, frames if frames is not None else min(FRAMES, fit))
    if count > fit:
        page = frames_on_a_page(model.width, groups, model.image_channels)
        instead = f", or write an .html page, which holds {page:,}" if page > fit else ""
        raise InputError(
            f"--frames {frames}: {counted(fit, 'frame')} of this size fit into {KINDS[kind]}; choose fewer, "
            f"and others with --start{instead}"
        )
    return range(start, start + count)


def _shown(title: str, first: int, clip: Clip, model: CausalModel, groups: tuple[Group, ...]) -> LatentSequence:
    """The frames with their latents, and the interventions by the names that the model has for them.

    Raises:
        CitrisError: the model gives latents that are not finite.
    """
    from citris_cli.show.latents import LatentSequence

    images = clip.frames.slice(0, len(clip.frames)).numpy()
    z = model.encode(images)
    owners = [model.variables.owner(column) for column in clip.columns]
    names = [
        column.name if owner is None else model.variables[owner].name
        for column, owner in zip(clip.columns, owners, strict=True)
    ]
    intervened = tuple(
        tuple(dict.fromkeys(name for name, target in zip(names, targets, strict=True) if target)) if told else None
        for targets, told in zip(clip.targets, clip.told, strict=True)
    )
    source = f"{model.path.parent.name}/{model.path.name}"
    return LatentSequence(title, source, images, first, z, groups, intervened)


def _say_frames(console: Console, data: _Sequence, chosen: range, clip: Clip) -> None:
    """Notes on which frames are shown."""
    total = len(data.numbers)
    more = "; choose others with --start and --frames" if len(chosen) < total else ""
    chose = f"({f'{len(chosen):,} of the' if more else 'all'} {total:,} chosen)"
    of = f"of {total:,}" if data.whole else chose
    console.note(f"frames {data.numbers[chosen[0]]} to {data.numbers[chosen[-1]]} {of}{more}")
    if data.numbers.step != 1:
        marks = "; marks show the step into each, not the steps into frames that are left out" if clip.columns else ""
        console.note(f"the chosen frames are counted from 0 in the pictures{marks}")


def _say_interventions(
    console: Console, data: _Sequence, clip: Clip, model: CausalModel, sequence: LatentSequence
) -> None:
    """Notes on interventions that the marks cannot show."""
    if not clip.told.any():
        console.note(data.unmarked)
    elif clip.columns:
        happened = {name for step in sequence.intervened for name in step or ()}
        owned = {model.variables.owner(column) for column in clip.columns}
        if missing := [name for index, name in enumerate(model.variables.names) if index not in owned]:
            console.note(f"{', '.join(missing)}: not a column of the data (see --vars), so never marked")
        if foreign := [name for name in clip.columns.names if name in happened - set(model.variables.names)]:
            console.note(f"{', '.join(foreign)}: not a variable of the model, so named only below the frame")


def _about(clip: Clip, model: CausalModel, sequence: LatentSequence) -> dict[str, Any]:
    """What ``--json`` says of the animation besides its file."""
    counts = clip.targets.sum(0).tolist()
    return {
        "frames": len(clip.frames),
        "start": sequence.first,
        "steps_with_intervention": dict(zip(clip.columns.names, counts, strict=True)),
        "latents_per_variable": {group.name: len(group.latents) for group in sequence.groups},
        "model": str(model.path),
    }
