"""``citris train-nf``: CITRIS-NF on the encodings of a frozen autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from citris_cli.commands import options


def train_nf(
    data: options.Data,
    output: options.Output = None,
    ae: Annotated[
        Path | None,
        typer.Option(help="Trained autoencoder.  \\[default: this dataset's under runs/, else one is trained first]"),
    ] = None,
    val: options.Val = None,
    preset: options.Preset = options.PresetName.small,
    latents: options.Latents = None,
    flow_layers: Annotated[int | None, typer.Option(help="Layers of the flow.", min=1)] = None,
    flow_hidden: options.FlowHidden = None,
    samples: Annotated[int | None, typer.Option(help="Noisy copies of every encoding.", min=1)] = None,
    noise: Annotated[
        float | None, typer.Option(help="Std of that noise.  \\[default: the autoencoder's]", min=0)
    ] = None,
    hidden: options.Hidden = None,
    prior: options.Prior = None,
    imperfect_interventions: options.ImperfectInterventions = None,
    autoregressive_hidden: options.AutoregressiveHidden = None,
    classifier_layers: options.ClassifierLayers = None,
    classifier_momentum: options.ClassifierMomentum = None,
    classifier_weight: options.ClassifierWeight = None,
    conditional_targets: options.ConditionalTargets = None,
    regulariser: options.Regulariser = None,
    temperature: options.Temperature = None,
    steps: options.Steps = None,
    batch_size: options.BatchSize = None,
    lr: options.LearningRate = None,
    classifier_lr: options.ClassifierLearningRate = None,
    noise_start: Annotated[
        float | None, typer.Option(help="Noise at the start of the training, in multiples of --noise.", min=1)
    ] = None,
    noise_decay: options.NoiseDecay = None,
    regulariser_warmup: options.RegulariserWarmup = None,
    clip: options.Clip = None,
    warmup: options.Warmup = None,
    seed: options.Seed = None,
    precision: options.Precision = None,
    device: options.Device = "auto",
    variables: options.Vars = None,
    group: options.Group = None,
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
