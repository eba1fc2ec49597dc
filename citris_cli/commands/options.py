"""Options and arguments that several commands share, each spelled once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    list[Path],
    typer.Argument(
        metavar="DATA", help="An .npz, a directory in the published layout, or several shards.", show_default=False
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        help="Where to write; - for standard output.  \\[default: runs/<dataset>/]",
        show_default=False,
    ),
]
Model = Annotated[
    Path | None,
    typer.Option("-m", "--model", help="Trained model.  \\[default: $CITRIS_MODEL, else the newest under runs/]"),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:0 or mps.")]
Precision = Annotated[
    str | None,
    typer.Option("--precision", help="auto, float32, tf32 or bf16.  \\[default: tf32 on CUDA, else float32]"),
]


class PresetName(str, Enum):
    """Named settings; see :mod:`citris_cli.training.presets`."""

    small = "small"
    paper = "paper"


Preset = Annotated[PresetName, typer.Option("--preset", help="small: a laptop's CPU; paper: the published sizes.")]
Latents = Annotated[int | None, typer.Option("--latents", help="Number of latents M.", min=1)]
Vars = Annotated[
    str | None,
    typer.Option(
        "--vars", help="Names of the columns: name[:kind],… (continuous, angle, categorical).", metavar="LIST"
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the unfinished training, if there is one.")]
SaveEvery = Annotated[float, typer.Option("--save-every", help="Seconds between saved states.", min=0.0)]

Steps = Annotated[
    int | None, typer.Option("--steps", help="Optimiser steps; bounds every training of the command.", min=1)
]
BatchSize = Annotated[int | None, typer.Option("--batch-size", help="Frames or pairs a step.", min=1)]
LearningRate = Annotated[float | None, typer.Option("--lr", help="Learning rate at its highest.", min=0)]
Clip = Annotated[float | None, typer.Option("--clip", help="Bound on the gradient's norm.", min=0)]
Warmup = Annotated[int | None, typer.Option("--warmup", help="Steps of linear warm-up.", min=0)]
Seed = Annotated[int | None, typer.Option("--seed", help="Of weights, batches and noise.  \\[default: 0]", min=0)]
