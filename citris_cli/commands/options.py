"""Options and arguments that several commands share, each spelled once.

Those of the trainings' settings are made of the configurations' fields: :mod:`citris_cli.commands.settings`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from citris_cli.commands.completion import complete_model
from citris_cli.errors import InputError
from citris_cli.training.config import LARGEST_SEED

__all__ = ["LARGEST_SEED"]

#: Panels of a help page.
DATA, MODEL, TRAINING, OUTPUT = "Data", "Model", "Training", "Output"

Data = Annotated[
    list[Path],
    typer.Argument(
        metavar="DATA",
        help="An .npz file, a directory such as 'citris simulate' and 'citris pack' write, or several shards of one "
        "dataset.",
        show_default=False,
    ),
]
Model = Annotated[
    Path | None,
    typer.Option(
        "-m",
        "--model",
        help="A trained model, its folder, or the name of one that comes with citris (see 'citris models').  "
        "\\[default: $CITRIS_MODEL, else the model of the sample frame, else the newest under runs/]",
        autocompletion=complete_model,
        rich_help_panel=MODEL,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output.", rich_help_panel=OUTPUT)
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:0 or mps.")]
Precision = Annotated[
    str | None,
    typer.Option("--precision", help="auto, float32, tf32 or bf16.  \\[default: tf32 on CUDA, else float32]"),
]
Vars = Annotated[
    str | None,
    typer.Option(
        "--vars",
        help="Names of the columns: name[:kind],… (continuous, angle, categorical).",
        metavar="LIST",
        rich_help_panel=DATA,
    ),
]


class Lead(str, Enum):
    """What a row of targets tells of where there are as many as frames: see :data:`citris_cli.data.shards.LEADS`."""

    into = "in"
    out = "out"


TargetsLead = Annotated[
    Lead | None,
    typer.Option(
        "--targets-lead",
        help="If there are as many rows of targets as frames: whether row i describes the step into frame i or out of "
        "it.  \\[default: out]",
        show_default=False,
        rich_help_panel=DATA,
    ),
]


def choice(words: Sequence[str]) -> Any:
    """A type of one of these words, as Typer takes it."""
    return Enum("Choice", {word: word for word in words}, type=str)


def require_number(option: str, value: float) -> None:
    """Refuse NaN and infinity, which some versions of Typer let through its bounds.

    Raises:
        InputError: the value is one of these.
    """
    if not math.isfinite(value):
        raise InputError(f"{option} {value}: it needs a number")


# Of the trainings.
class PresetName(str, Enum):
    """Named settings; see :mod:`citris_cli.training.presets`."""

    small = "small"
    paper = "paper"


Preset = Annotated[
    PresetName,
    typer.Option(
        "--preset",
        help="small: for a laptop's CPU; paper: the published sizes. Some settings depend on the frames and on the "
        "method; --show-config prints those of a run.",
        rich_help_panel=TRAINING,
    ),
]
Val = Annotated[
    Path | None,
    typer.Option(
        "--val",
        help="Held-out data (val_indep with ground truth, val_triplets) for validation at intervals; the best model "
        "is kept.",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        "--group",
        help="Columns to treat as one variable: groups of the data (pos_o,rot_o), or name=column+column,….",
        metavar="LIST",
        rich_help_panel=DATA,
    ),
]
Autoencoder = Annotated[
    Path | None,
    typer.Option(
        "--ae",
        help="Trained autoencoder.  \\[default: this dataset's autoencoder under runs/; if there is none, one is "
        "trained first]",
        rich_help_panel=DATA,
    ),
]
Teacher = Annotated[
    Path | None,
    typer.Option(
        "--teacher",
        help="A CITRIS-NF trained on the same data: continue training its autoencoder, which also learns to predict "
        "the causal latents one step ahead. Helps to encode rotations, for example.",
        rich_help_panel=DATA,
    ),
]
Rounds = Annotated[
    int,
    typer.Option(
        "--rounds",
        help="Number of flows to train in turn, each after the first on an autoencoder that the previous flow has "
        "taught (train-ae --teacher). Finds variables that the first flow misses, such as rotations.",
        min=1,
        rich_help_panel=TRAINING,
    ),
]
Restarts = Annotated[
    int,
    typer.Option(
        "--restarts",
        help="Number of training runs to start, with consecutive seeds from --seed on, in parallel; the one with the "
        "lowest final loss is kept. Needs no labels.",
        min=1,
        rich_help_panel=TRAINING,
    ),
]
TrainingDevice = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:0 or mps.", rich_help_panel=TRAINING)
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Continue an unfinished training run; with more --steps, a finished one.",
        rich_help_panel=TRAINING,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace a model that was trained with other settings.  \\[default: under runs/, the new model is "
        "written beside it; with -o, the command refuses]",
        rich_help_panel=OUTPUT,
    ),
]
NoCheck = Annotated[
    bool,
    typer.Option(
        "--no-check",
        help="Skip the check for faults in the data, such as shifted rows of targets, before training.",
        rich_help_panel=DATA,
    ),
]
SaveEvery = Annotated[
    float, typer.Option("--save-every", help="Seconds between saved states.", min=0.0, rich_help_panel=TRAINING)
]
ShowConfig = Annotated[
    bool,
    typer.Option(
        "--show-config",
        help="Print the settings of the training run as JSON, without training.",
        rich_help_panel=OUTPUT,
    ),
]
