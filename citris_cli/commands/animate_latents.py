"""``citris animate-latents``: the frames of a sequence beside their causal latents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from citris_cli.commands import options
from citris_cli.commands.outputs import Output, output_option, write_bytes
from citris_cli.errors import CitrisError, InputError
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
            help="A sequence: an .npz, a directory, several shards; or pictures and folders of pictures in the order "
            "of their names (without marks of interventions); - reads one from standard input.",
            show_default=False,
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
    from citris_cli.commands.inputs import default_file, default_place, load_causal_model
    from citris_cli.devices import select_device
    from citris_cli.show.console import Console
    from citris_cli.show.latent_animation import animation_bytes
    from citris_cli.show.latents import latent_groups

    options.require_number("--fps", fps)
    console = Console()
    where = select_device(device)
    asked = Output(output, as_json)
    kind = _kind(asked)
    path = asked.place(default_file(data, "latents", ".gif"), data)
    loaded = load_causal_model(model, where, console)
    clip = _clip(data, variables, loaded, console)
    groups = latent_groups(loaded.variables.names, loaded.assignment)
    chosen = _choose(start, frames, clip, loaded, kind, groups)
    folder, label = default_place(data)
    sequence = _sequence(f"{folder.name} {label}".strip(), chosen, clip, loaded, groups)
    _say(console, chosen, clip, loaded, sequence)
    write_bytes(path, animation_bytes(kind, sequence, fps, list(map(str, data))))
    asked.report(console, _about(chosen, clip, loaded, sequence), path)


def _kind(asked: Output) -> str:
    """The ending that says what is written.

    Raises:
        InputError: it is none of those that can be written, or an MP4 cannot be made here.
    """
    from citris_cli.show.animation import check_mp4
    from citris_cli.show.latent_animation import KINDS

    if asked.given is None or asked.to_stdout:
        return ".gif"
    suffix = asked.given.suffix.lower()
    if suffix not in KINDS:
        raise InputError(f"-o {asked.given}: the ending says what is written; use {', '.join(KINDS)}")
    if suffix == ".mp4":
        check_mp4()
    return suffix


def _clip(data: list[Path], named: str | None, model: CausalModel, console: Console) -> Clip:
    """The sequence: of datasets with what they tell of its steps; of anything else the pictures, in their order."""
    import torch

    from citris_cli.commands.inputs import gather_frames, is_dataset, known_columns
    from citris_cli.data.clips import Clip, load_clip
    from citris_cli.data.frames import Frames
    from citris_cli.data.variables import parse_vars

    if all(map(is_dataset, data)):
        known = known_columns(model)
        return load_clip(data, parse_vars(named, known) if named else None, known)
    if named:
        raise InputError("--vars names the columns of a dataset's targets, and pictures have none; leave it out")
    stacks = [frames.slice(0, len(frames)) for _, frames in gather_frames(data, model.width, console)]
    return Clip.without_targets(Frames([torch.cat(stacks).numpy()]))


def _choose(
    start: int, frames: int | None, clip: Clip, model: CausalModel, kind: str, groups: tuple[Group, ...]
) -> range:
    """The frames to show; refused before any of them takes memory if they are too many."""
    from citris_cli.show.latent_animation import KINDS, frames_on_a_page, frames_that_fit

    total = len(clip.frames)
    if clip.frames.width != model.width:
        raise InputError(
            f"the data's frames are {clip.frames.height}×{clip.frames.width} and {model.path} was trained for "
            f"{model.width}×{model.width}; use a model trained on such frames"
        )
    if start >= total:
        raise InputError(f"--start {start}: the data has {counted(total, 'frame')}, counted from 0")
    fit = frames_that_fit(kind, model.width, groups)
    count = min(total - start, frames if frames is not None else min(FRAMES, fit))
    if count > fit:
        page = frames_on_a_page(model.width, groups)
        instead = f", or write an .html page, which holds {page:,}" if page > fit else ""
        raise InputError(
            f"--frames {frames}: {counted(fit, 'frame')} of this size fit into {KINDS[kind]}; choose fewer, "
            f"and others with --start{instead}"
        )
    return range(start, start + count)


def _sequence(title: str, chosen: range, clip: Clip, model: CausalModel, groups: tuple[Group, ...]) -> LatentSequence:
    """The chosen frames with their latents, and the interventions by the names that the model has for them.

    Raises:
        CitrisError: the model gives latents that are not finite.
    """
    import numpy as np

    from citris_cli.show.latents import LatentSequence

    images = clip.frames.slice(chosen.start, chosen.stop).cpu().contiguous().numpy()
    z = model.encode(images)
    if not np.isfinite(z).all():
        frame = chosen.start + int(np.argmin(np.isfinite(z).all(axis=1)))
        raise CitrisError(f"{model.path}: gives frame {frame} latents that are not finite; train another model")
    owners = [model.variables.owner(column) for column in clip.columns]
    names = [
        column.name if owner is None else model.variables[owner].name
        for column, owner in zip(clip.columns, owners, strict=True)
    ]
    intervened = tuple(
        tuple(dict.fromkeys(name for name, target in zip(names, clip.targets[frame], strict=True) if target))
        if clip.told[frame]
        else None
        for frame in chosen
    )
    source = f"{model.path.parent.name}/{model.path.name}"
    return LatentSequence(title, source, images, chosen.start, z, groups, intervened)


def _say(console: Console, chosen: range, clip: Clip, model: CausalModel, sequence: LatentSequence) -> None:
    """Notes on what is shown, and on interventions that the marks cannot show."""
    more = "; choose others with --start and --frames" if len(chosen) < len(clip.frames) else ""
    console.note(f"frames {chosen.start} to {chosen.stop - 1} of {len(clip.frames):,}{more}")
    if not clip.told.any():
        console.note("the data tells of no steps with intervention targets: nothing is marked")
    elif clip.columns:
        happened = {name for step in sequence.intervened for name in step or ()}
        owned = {model.variables.owner(column) for column in clip.columns}
        if missing := [name for index, name in enumerate(model.variables.names) if index not in owned]:
            console.note(f"{', '.join(missing)}: no column of the data (--vars names them), so never marked")
        if foreign := [name for name in clip.columns.names if name in happened - set(model.variables.names)]:
            console.note(f"{', '.join(foreign)}: no variable of the model, so named below the frame only")


def _about(chosen: range, clip: Clip, model: CausalModel, sequence: LatentSequence) -> dict[str, Any]:
    """What ``--json`` says of the animation besides its file."""
    keys = (*model.variables.names, "psi0")
    counts = clip.targets[chosen.start : chosen.stop].sum(0).tolist()
    return {
        "frames": len(chosen),
        "start": chosen.start,
        "steps_with_intervention": dict(zip(clip.columns.names, counts, strict=True)),
        "latents_per_variable": {key: len(group.latents) for key, group in zip(keys, sequence.groups, strict=True)},
        "model": str(model.path),
    }
