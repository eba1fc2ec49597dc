"""What ``citris animate-latents`` does: choose frames, encode them, match the targets by name, draw, write."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from citris_cli.artifacts.files import atomic_write, check_writable, write_stdout
from citris_cli.causal_model import CausalModel
from citris_cli.commands.inputs import (
    STDOUT,
    default_place,
    gather_frames,
    is_dataset,
    known_columns,
    load_causal_model,
)
from citris_cli.commands.outputs import free_place
from citris_cli.data.clips import Clip, load_clip
from citris_cli.data.frames import Frames
from citris_cli.data.npz import available_memory
from citris_cli.data.variables import parse_vars
from citris_cli.errors import CitrisError, InputError
from citris_cli.show.animation import check_mp4, gif_bytes, mp4_bytes, shared_palette
from citris_cli.show.console import Console, Progress
from citris_cli.show.latent_bars import WIDEST, LatentBars, picture_height
from citris_cli.show.latents import Group, LatentSequence, latent_groups
from citris_cli.show.latents_page import frames_that_fit, latents_page
from citris_cli.training.devices import select_device
from citris_cli.wording import counted

#: Frames that are shown unless the user asks for more.
FRAMES = 100
#: What can be written, by the ending of its file.
KINDS = {".gif": "a GIF", ".mp4": "an MP4", ".html": "a page"}
#: Bytes that a GIF's pictures (one a pixel), or an MP4's frames, may take in memory.
GIF_BYTES, MP4_BYTES = 256 << 20, 512 << 20
#: Frames from which a GIF takes its colours, spread over the sequence.
PALETTE_FRAMES = 256
#: From so many pictures on their drawing takes long enough for a progress display.
LONG = 400


@dataclass(frozen=True)
class Request:
    """What of the data is shown, and how fast.

    Attributes:
        start: the first frame, counted from 0.
        frames: how many, or None for at most :data:`FRAMES`.
        rate: frames a second.
        variables: names of the data's columns as the user gave them, or None.
    """

    start: int
    frames: int | None
    rate: float
    variables: str | None


def run(
    data: list[Path],
    request: Request,
    model_path: Path | None,
    output: Path | None,
    device_name: str,
    as_json: bool,
) -> None:
    """Animate; see :func:`citris_cli.commands.animate_latents.animate_latents`."""
    console = Console()
    device = select_device(device_name)
    if as_json and output == STDOUT:
        raise InputError("--json and -o - both want standard output; give -o a file")
    kind = _kind(output)
    folder, label = default_place(data)
    default = folder / (f"latents-{label}.gif" if label else "latents.gif")
    path = output if output is not None else free_place(default, data)
    if path != STDOUT:
        check_writable(path)
    model = load_causal_model(model_path, device, console)
    clip = _clip(data, request, model, console)
    groups = latent_groups(model.variables.names, model.assignment)
    chosen = _choose(request, clip, model, kind, groups)
    title = f"{folder.name} {label}".strip()
    sequence = _sequence(title, chosen, clip, model, groups)
    _say(console, chosen, clip, model, sequence)
    content = _drawn(kind, sequence, request.rate, list(map(str, data)))
    if path == STDOUT:
        write_stdout(content)
    else:
        atomic_write(path, lambda file: file.write(content))
    if as_json:
        console.result(json.dumps({"animation": str(path), **_report(chosen, clip, model, sequence)}))
    elif path != STDOUT:
        console.result(str(path))


def _kind(output: Path | None) -> str:
    if output is None or output == STDOUT:
        return ".gif"
    suffix = output.suffix.lower()
    if suffix not in KINDS:
        raise InputError(f"-o {output}: the ending says what is written; use {', '.join(KINDS)}")
    if suffix == ".mp4":
        check_mp4()
    return suffix


def _clip(data: list[Path], request: Request, model: CausalModel, console: Console) -> Clip:
    """The sequence: of datasets with what they tell of its steps; of anything else the pictures, in their order."""
    if all(map(is_dataset, data)):
        known = known_columns(model)
        return load_clip(data, parse_vars(request.variables, known) if request.variables else None, known)
    if request.variables:
        raise InputError("--vars names the columns of a dataset's targets, and pictures have none; leave it out")
    stacks = [frames.slice(0, len(frames)) for _, frames in gather_frames(data, model.width, console)]
    return Clip.without_targets(Frames([torch.cat(stacks).numpy()]))


def _choose(request: Request, clip: Clip, model: CausalModel, kind: str, groups: tuple[Group, ...]) -> range:
    """The frames to show; refused before any of them takes memory if they are too many."""
    total = len(clip.frames)
    if clip.frames.width != model.width:
        raise InputError(
            f"the data's frames are {clip.frames.height}×{clip.frames.width} and {model.path} was trained for "
            f"{model.width}×{model.width}; use a model trained on such frames"
        )
    if request.start >= total:
        raise InputError(f"--start {request.start}: the data has {counted(total, 'frame')}, counted from 0")
    fit = _frames_that_fit(kind, groups, model)
    count = min(total - request.start, request.frames if request.frames is not None else min(FRAMES, fit))
    if count > fit:
        page = frames_that_fit(model.width, model.latents)
        instead = f", or write an .html page, which holds {page:,}" if page > fit else ""
        raise InputError(
            f"--frames {request.frames}: {counted(fit, 'frame')} of this size fit into {KINDS[kind]}; choose fewer, "
            f"and others with --start{instead}"
        )
    return range(request.start, request.start + count)


def _frames_that_fit(kind: str, groups: tuple[Group, ...], model: CausalModel) -> int:
    frame_bytes = model.width * model.width * 3
    if kind == ".html":
        fit, each = frames_that_fit(model.width, model.latents), frame_bytes
    elif kind == ".mp4":
        fit, each = MP4_BYTES // frame_bytes, frame_bytes  # its pictures are drawn and encoded one by one
    else:
        each = WIDEST * picture_height(groups)
        fit = GIF_BYTES // each
    # Twice, for what is made of them is in memory together with them.
    return max(1, min(fit, available_memory() // (2 * each)))


def _sequence(title: str, chosen: range, clip: Clip, model: CausalModel, groups: tuple[Group, ...]) -> LatentSequence:
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


def _drawn(kind: str, sequence: LatentSequence, rate: float, sources: list[str]) -> bytes:
    if kind == ".html":
        return latents_page(sequence, rate).encode()
    bars = LatentBars(sequence)
    pictures = _with_progress(bars, len(bars)) if len(bars) >= LONG else iter(bars)
    if kind == ".mp4":
        return mp4_bytes(pictures, rate)
    spread = np.linspace(0, len(bars) - 1, min(len(bars), PALETTE_FRAMES)).round().astype(int)
    frames = [Image.fromarray(sequence.images[number]) for number in spread]
    return gif_bytes(pictures, 1000 / rate, shared_palette(frames, bars.exact_colours), sources)


def _with_progress(pictures: Iterable[Image.Image], count: int) -> Iterator[Image.Image]:
    started = time.monotonic()
    with Progress(count, "drawing", unit="frames") as display:
        for number, picture in enumerate(pictures, start=1):
            yield picture
            display.update(number, number / max(time.monotonic() - started, 1e-9), {})


def _report(chosen: range, clip: Clip, model: CausalModel, sequence: LatentSequence) -> dict[str, Any]:
    keys = (*model.variables.names, "psi0")
    counts = clip.targets[chosen.start : chosen.stop].sum(0).tolist()
    return {
        "frames": len(chosen),
        "start": chosen.start,
        "steps_with_intervention": dict(zip(clip.columns.names, counts, strict=True)),
        "latents_per_variable": {key: len(group.latents) for key, group in zip(keys, sequence.groups, strict=True)},
        "model": str(model.path),
    }
