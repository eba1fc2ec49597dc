"""``citris train-nf``: CITRIS-NF on the encodings of a frozen autoencoder."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from citris_cli.commands import options


class PriorName(str, Enum):
    """Forms of the transition prior; see :mod:`citris_cli.core.transition_prior`."""

    mlp = "mlp"
    autoregressive = "autoregressive"


def train_nf(
    data: options.Data,
    output: options.Output = None,
    ae: Annotated[
        Path | None,
        typer.Option(help="Trained autoencoder.  \\[default: this dataset's under runs/, else one is trained first]"),
    ] = None,
    val: Annotated[
        Path | None,
        typer.Option(
            help="Held-out data (val_indep with ground truth, val_triplets) to measure on at intervals; the best model "
            "is kept.",
            show_default=False,
        ),
    ] = None,
    preset: options.Preset = options.PresetName.small,
    latents: options.Latents = None,
    flow_layers: Annotated[int | None, typer.Option(help="Layers of the flow.", min=1)] = None,
    flow_hidden: Annotated[int | None, typer.Option(help="Hidden units a latent in the flow.", min=1)] = None,
    samples: Annotated[int | None, typer.Option(help="Noisy copies of every encoding.", min=1)] = None,
    noise: Annotated[
        float | None, typer.Option(help="Std of that noise.  \\[default: the autoencoder's]", min=0)
    ] = None,
    hidden: Annotated[
        int | None, typer.Option(help="Width of the MLP prior's and the classifier's networks.", min=1)
    ] = None,
    prior: Annotated[
        PriorName | None,
        typer.Option(help="Latents of a variable independent given the past (mlp), or not.  \\[default: mlp]"),
    ] = None,
    imperfect_interventions: Annotated[
        bool | None,
        typer.Option(
            "--imperfect-interventions/--perfect-interventions",
            help="Whether a variable still depends on its past where it was intervened on.",
        ),
    ] = None,
    autoregressive_hidden: Annotated[
        int | None, typer.Option(help="Hidden units a latent in the autoregressive prior.", min=1)
    ] = None,
    classifier_layers: Annotated[
        int | None, typer.Option(help="Hidden layers of the target classifier.", min=1)
    ] = None,
    classifier_momentum: Annotated[
        float | None, typer.Option(help="Momentum of the classifier's frozen copy.", min=0, max=0.9999)
    ] = None,
    classifier_weight: Annotated[
        float | None, typer.Option(help="Weight of the classifier's loss on the latents.", min=0)
    ] = None,
    conditional_targets: Annotated[
        bool | None,
        typer.Option("--conditional-targets/--independent-targets", help="Whether targets may tell of each other."),
    ] = None,
    regulariser: Annotated[
        float | None, typer.Option(help="Pull of latents that carry no information into psi(0).", min=0)
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Of the Gumbel-softmax assignment.", min=0.01)] = None,
    steps: options.Steps = None,
    batch_size: options.BatchSize = None,
    lr: options.LearningRate = None,
    classifier_lr: Annotated[float | None, typer.Option(help="Learning rate of the target classifier.", min=0)] = None,
    noise_start: Annotated[
        float | None, typer.Option(help="Noise at the start of the training, in multiples of --noise.", min=1)
    ] = None,
    noise_decay: Annotated[
        float | None, typer.Option(help="Share of the steps over which it falls to --noise.", min=0, max=1)
    ] = None,
    clip: options.Clip = None,
    warmup: options.Warmup = None,
    seed: options.Seed = None,
    precision: options.Precision = None,
    device: options.Device = "auto",
    variables: options.Vars = None,
    resume: options.Resume = False,
    save_every: options.SaveEvery = 30.0,
    as_json: options.Json = False,
) -> None:
    """Train CITRIS-NF: the flow that sorts an autoencoder's latents by causal variable."""
    given = {**locals(), "prior": None if prior is None else prior.value}
    from citris_cli.commands import training

    session = training.Session.start(given)
    # --vars was for the data; in the configuration, `variables` is their number.
    session.report(training.citris_nf(session, {**given, "variables": None}))
