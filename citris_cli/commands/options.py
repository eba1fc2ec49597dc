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
Val = Annotated[
    Path | None,
    typer.Option(
        "--val",
        help="Held-out data (val_indep with ground truth, val_triplets) to measure on at intervals; the best model is "
        "kept.",
        show_default=False,
    ),
]
Vars = Annotated[
    str | None,
    typer.Option(
        "--vars", help="Names of the columns: name[:kind],… (continuous, angle, categorical).", metavar="LIST"
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        "--group",
        help="Columns that are one variable: groups that the columns have (pos_o,rot_o), or name=column+column,….",
        metavar="LIST",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the unfinished training, if there is one.")]
SaveEvery = Annotated[float, typer.Option("--save-every", help="Seconds between saved states.", min=0.0)]

Steps = Annotated[
    int | None, typer.Option("--steps", help="Optimiser steps; bounds every training of the command.", min=1)
]
BatchSize = Annotated[int | None, typer.Option("--batch-size", help="Frames, pairs or windows a step.", min=1)]
LearningRate = Annotated[float | None, typer.Option("--lr", help="Learning rate at its highest.", min=0)]
Clip = Annotated[float | None, typer.Option("--clip", help="Bound on the gradient's norm.", min=0)]
Warmup = Annotated[int | None, typer.Option("--warmup", help="Steps of linear warm-up.", min=0)]
#: The largest seed; NumPy's bound, well within PyTorch's.
LARGEST_SEED = 2**32 - 1
Seed = Annotated[
    int | None,
    typer.Option("--seed", help="Of weights, batches and noise.  \\[default: 0]", min=0, max=LARGEST_SEED),
]

# Of the convolutional networks.
Channels = Annotated[int | None, typer.Option("--channels", help="Channels of every convolutional stage.", min=1)]
DecoderBlocks = Annotated[int | None, typer.Option("--decoder-blocks", help="Residual blocks a decoder stage.", min=1)]
Patch = Annotated[
    int | None,
    typer.Option("--patch", help="Side of pixel blocks folded into channels: 1 published; 2, 4 faster.", min=1, max=4),
]
Growth = Annotated[
    int | None,
    typer.Option("--growth", help="Factor on the channels where the grid halves: 1 published.", min=1, max=2),
]


class PriorName(str, Enum):
    """Forms of the transition prior; see :mod:`citris_cli.core.transition_prior`."""

    mlp = "mlp"
    autoregressive = "autoregressive"


# Of the models with causal latents.
FlowHidden = Annotated[int | None, typer.Option("--flow-hidden", help="Hidden units a latent in the flow.", min=1)]
Hidden = Annotated[
    int | None, typer.Option("--hidden", help="Width of the MLP prior's and the classifier's networks.", min=1)
]
Prior = Annotated[
    PriorName | None,
    typer.Option("--prior", help="Latents of a variable independent given the past (mlp), or not.  \\[default: mlp]"),
]
ImperfectInterventions = Annotated[
    bool | None,
    typer.Option(
        "--imperfect-interventions/--perfect-interventions",
        help="Whether a variable still depends on its past where it was intervened on.",
    ),
]
AutoregressiveHidden = Annotated[
    int | None,
    typer.Option("--autoregressive-hidden", help="Hidden units a latent in the autoregressive prior.", min=1),
]
ClassifierLayers = Annotated[
    int | None, typer.Option("--classifier-layers", help="Hidden layers of the target classifier.", min=1)
]
ClassifierMomentum = Annotated[
    float | None,
    typer.Option("--classifier-momentum", help="Momentum of the classifier's frozen copy.", min=0, max=0.9999),
]
ClassifierWeight = Annotated[
    float | None,
    typer.Option("--classifier-weight", help="Weight of the classifier's loss on the latents.", min=0),
]
ConditionalTargets = Annotated[
    bool | None,
    typer.Option("--conditional-targets/--independent-targets", help="Whether targets may tell of each other."),
]
Regulariser = Annotated[
    float | None,
    typer.Option("--regulariser", help="Pull of latents that carry no information into psi(0).", min=0),
]
RegulariserWarmup = Annotated[
    float | None,
    typer.Option(
        "--regulariser-warmup", help="Share of the steps over which --regulariser rises from 0.", min=0, max=1
    ),
]
Temperature = Annotated[float | None, typer.Option("--temperature", help="Of the Gumbel-softmax assignment.", min=0.01)]
NoiseDecay = Annotated[
    float | None,
    typer.Option("--noise-decay", help="Share of the steps over which --noise-start falls to 1.", min=0, max=1),
]
ClassifierLearningRate = Annotated[
    float | None, typer.Option("--classifier-lr", help="Learning rate of the target classifier.", min=0)
]
