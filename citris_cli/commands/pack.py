"""``citris pack``: films, pictures and arrays, with a table of what was done, become a dataset."""

from __future__ import annotations

import shlex
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from citris_cli.commands import options
from citris_cli.commands.options import DATA, OUTPUT

if TYPE_CHECKING:
    from citris_cli.recordings.pack import Packed
    from citris_cli.show.console import Console

#: Panels of the help page.
TABLE, FRAMES = "Table", "Frames"


class Fit(str, Enum):
    """How a frame becomes square: see :mod:`citris_cli.recordings.fitting`."""

    crop = "crop"
    pad = "pad"
    stretch = "stretch"


def pack(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE",
            help="Films, folders of pictures, .npy, .npz, HDF5 (file.h5:/path); each is an episode of its own.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder for the dataset, or an .npz.", rich_help_panel=OUTPUT),
    ],
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--targets",
            help="The table of interventions: a CSV or TSV file, or a key of the source; once for all sources, or "
            "once for each.",
            metavar="TABLE",
            rich_help_panel=TABLE,
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            help="Columns of targets, one per variable, that hold 0 and 1.  \\[default: all that hold only 0 and 1]",
            metavar="LIST",
            rich_help_panel=TABLE,
        ),
    ] = None,
    one_of: Annotated[
        str | None,
        typer.Option(
            "--one-of",
            help="Column with the name of the variable that was intervened on; 0 or empty for none.",
            metavar="COLUMN",
            rich_help_panel=TABLE,
        ),
    ] = None,
    row_of: Annotated[
        str | None,
        typer.Option(
            "--row-of",
            help="How to match rows to frames: by frame, time (in seconds) or file; frame=COLUMN if the column has "
            "another name.  \\[default: a column of that name, else the order]",
            metavar="KIND",
            rich_help_panel=TABLE,
        ),
    ] = None,
    first_frame: Annotated[
        int | None,
        typer.Option(
            "--first-frame",
            help="Number of the first frame in the table.  \\[default: 1 if the last number is the number of frames, "
            "else 0]",
            metavar="N",
            rich_help_panel=TABLE,
        ),
    ] = None,
    episode: Annotated[
        str | None,
        typer.Option(
            "--episode",
            help="Column with the episode of each row: the source's name or number.",
            metavar="COLUMN",
            rich_help_panel=TABLE,
        ),
    ] = None,
    lead: Annotated[
        options.Lead | None,
        typer.Option(
            "--lead",
            help="Whether a frame's row describes the step into it or out of it.  \\[default: out]",
            rich_help_panel=TABLE,
        ),
    ] = None,
    events: Annotated[
        bool,
        typer.Option(
            "--events", help="The table has a row for each intervention, not for each frame.", rich_help_panel=TABLE
        ),
    ] = False,
    truth: Annotated[
        str | None,
        typer.Option(
            "--truth", help="Columns or keys of true values to include.", metavar="LIST", rich_help_panel=TABLE
        ),
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option(
            "--kinds",
            help="Kinds of variables: name:kind,… (continuous, angle, categorical).",
            metavar="LIST",
            rich_help_panel=TABLE,
        ),
    ] = None,
    frames_key: Annotated[
        str | None,
        typer.Option(
            "--frames-key", help="Key of the frames in an .npz or HDF5 file.", metavar="KEY", rich_help_panel=FRAMES
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            help="Width and height of the frames in pixels, a multiple of 16.  \\[default: the frames' own if it is "
            "one, else 64]",
            rich_help_panel=FRAMES,
        ),
    ] = None,
    fit: Annotated[
        Fit,
        typer.Option(
            "--fit",
            help="How to make frames square: crop to the centre, pad with black, or stretch.",
            rich_help_panel=FRAMES,
        ),
    ] = Fit.crop,
    crop: Annotated[
        str | None,
        typer.Option(
            "--crop",
            help="Region to cut out first: left, top, width and height in pixels.",
            metavar="X,Y,W,H",
            rich_help_panel=FRAMES,
        ),
    ] = None,
    grey: Annotated[bool, typer.Option("--grey", help="Convert frames to greyscale.", rich_help_panel=FRAMES)] = False,
    every: Annotated[
        int,
        typer.Option("--every", help="Keep every n-th frame.", metavar="N", min=1, rich_help_panel=FRAMES),
    ] = 1,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="First frame to use: its number, counted from 0, or a time (12.5s).",
            metavar="T",
            rich_help_panel=FRAMES,
        ),
    ] = None,
    stop: Annotated[
        str | None,
        typer.Option("--to", help="Stop before this frame: its number or a time.", metavar="T", rich_help_panel=FRAMES),
    ] = None,
    val: Annotated[
        float,
        typer.Option(
            "--val", help="Fraction of the frames for val.npz.", metavar="SHARE", min=0.0, max=0.9, rich_help_panel=DATA
        ),
    ] = 0.0,
    test: Annotated[
        float,
        typer.Option(
            "--test",
            help="Fraction of the frames for test.npz.",
            metavar="SHARE",
            min=0.0,
            max=0.9,
            rich_help_panel=DATA,
        ),
    ] = 0.0,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace existing files.  \\[default: the command refuses]", rich_help_panel=OUTPUT
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Make a dataset from your own recording: a film, pictures or arrays, with a table of the interventions."""
    import sys

    from citris_cli.artifacts.overwriting import files_read, require_not_read
    from citris_cli.commands.interruption import ends_clean
    from citris_cli.core.config import WIDTHS, WIDTHS_TOLD
    from citris_cli.data.frames import nearest_widths
    from citris_cli.errors import InputError
    from citris_cli.recordings.fitting import parse_crop
    from citris_cli.recordings.pack import Packing
    from citris_cli.recordings.pack import pack as make
    from citris_cli.recordings.targets import Reading
    from citris_cli.show.console import Console, WorkProgress

    if str(output) in ("-", "/dev/stdout"):
        raise InputError(
            "-o -: a dataset is several files, which cannot go to standard output; name a folder or an .npz"
        )
    if size is not None and size not in WIDTHS:
        near = " or ".join(map(str, nearest_widths(size)))
        raise InputError(f"--size {size}: frames are {WIDTHS_TOLD} pixels wide; take {near}")
    for option, value in (("--val", val), ("--test", test)):
        options.require_number(option, value)
    read = {**files_read("SOURCE", *sources), **files_read("--targets", *map(Path, targets or []))}
    for name in (
        [output] if output.suffix == ".npz" else [output / f"{split}.npz" for split in ("train", "val", "test")]
    ):
        require_not_read(name, read, named=name == output)
    reading = Reading(
        targets=tuple(targets or ()),
        columns=_listed("--columns", columns),
        one_of=one_of,
        row_of=row_of,
        first_frame=first_frame,
        episode=episode,
        lead=lead.value if lead else None,
        truth=_listed("--truth", truth) or (),
        events=events,
    )
    packing = Packing(
        size=size,
        fit=fit.value,
        crop=None if crop is None else parse_crop(crop),
        grey=grey,
        every=every,
        start=start,
        stop=stop,
        val=val,
        test=test,
        kinds=kinds,
        frames_key=frames_key,
    )
    console = Console()
    with ends_clean("run the command again"), WorkProgress("packing", "frame") as shown:
        packed = make(
            sources,
            output,
            reading,
            packing,
            command=["citris", *sys.argv[1:]],
            overwrite=overwrite,
            on_note=console.note,
            on_progress=shown.update,
        )
    _report(console, packed, output, as_json)


def _report(console: Console, packed: Packed, output: Path, as_json: bool) -> None:
    """Say what was made."""
    from citris_cli.commands.outputs import document_text

    interventions = dict(zip(packed.variables, packed.interventions, strict=True))
    steps = sum(packed.steps.values())
    rows = [[name, f"{count:,}"] for name, count in interventions.items()]
    console.table(f"Interventions in {steps:,} steps", ["variable", "steps"], rows)
    console.note(f"look at it before training: citris check {shlex.quote(str(output))}")
    if not as_json:
        console.result(output)
        return
    document = {
        "files": [str(path) for path in packed.files.values()],
        "dataset": str(output),
        "frames": sum(packed.frames.values()),
        "frames_per_split": packed.frames,
        "steps": steps,
        "episodes": packed.episodes,
        "frame_size": [packed.size, packed.size],
        "channels": packed.channels,
        "variables": list(packed.variables),
        "interventions": interventions,
        "factors": list(packed.factors),
    }
    console.result(document_text(document))


def _listed(option: str, text: str | None) -> tuple[str, ...] | None:
    """Names in a comma list."""
    from citris_cli.errors import InputError

    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise InputError(f"{option} {text}: write different names with commas between them")
    return names
