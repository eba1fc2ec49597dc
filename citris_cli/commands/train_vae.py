"""``citris train-vae``: CITRIS-VAE on windows of consecutive frames."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from citris_cli.commands import options


class NetworksName(str, Enum):
    """Pairs of encoder and decoder; see :mod:`citris_cli.core.vae_networks`."""

    pyramid = "pyramid"
    small = "small"


class VAEPriorName(str, Enum):
    """Forms of the transition prior, and the priors of two baselines; see :mod:`citris_cli.core.causal_latents`."""

    mlp = "mlp"
    autoregressive = "autoregressive"
    ivae = "ivae"
    slow = "slow"


def train_vae(
    data: options.Data,
    output: options.Output = None,
    val: options.Val = None,
    preset: options.Preset = options.PresetName.small,
    latents: options.Latents = None,
    networks: Annotated[
        NetworksName | None,
        typer.Option(help="Encoder and decoder.  \\[default: pyramid; of preset paper small for frames of 32 pixels]"),
    ] = None,
    channels: options.Channels = None,
    decoder_blocks: options.DecoderBlocks = None,
    patch: options.Patch = None,
    kl_weight: Annotated[
        float | None, typer.Option(help="Weight of the divergence between posterior and prior.", min=0)
    ] = None,
    flow_layers: Annotated[
        int | None, typer.Option(help="Layers of the flow; 0: the VAE's latents are the causal ones.", min=0)
    ] = None,
    flow_hidden: options.FlowHidden = None,
    hidden: options.Hidden = None,
    prior: Annotated[
        VAEPriorName | None,
        typer.Option(
            help="Latents of a variable independent given the past (mlp), or not; or a baseline, iVAE* (ivae) or "
            "SlowVAE (slow).  \\[default: mlp]"
        ),
    ] = None,
    imperfect_interventions: options.ImperfectInterventions = None,
    autoregressive_hidden: options.AutoregressiveHidden = None,
    classifier_layers: options.ClassifierLayers = None,
    classifier_momentum: options.ClassifierMomentum = None,
    classifier_weight: options.ClassifierWeight = None,
    conditional_targets: options.ConditionalTargets = None,
    regulariser: options.Regulariser = None,
    temperature: options.Temperature = None,
    seq_len: Annotated[int | None, typer.Option(help="Frames of a window.", min=2)] = None,
    steps: options.Steps = None,
    batch_size: options.BatchSize = None,
    lr: options.LearningRate = None,
    classifier_lr: options.ClassifierLearningRate = None,
    kl_start: Annotated[
        float | None, typer.Option(help="The divergence's weight at the start, in multiples of --kl-weight.", min=1e-6)
    ] = None,
    kl_peak: Annotated[
        float | None, typer.Option(help="Its weight after the warm-up, in multiples of --kl-weight.", min=1)
    ] = None,
    kl_warmup: Annotated[
        int | None, typer.Option(help="Steps over which it rises from the one to the other.", min=0)
    ] = None,
    kl_hold: Annotated[
        float | None, typer.Option(help="Share of the steps after which it is --kl-weight.", min=0, max=1)
    ] = None,
    noise_start: Annotated[
        float | None,
        typer.Option(help="Noise on what the prior sees at the start, in multiples of the posterior's.", min=1),
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
    """Train CITRIS-VAE: a variational autoencoder whose latents are sorted by causal variable, in one training."""
    given = {**locals(), "prior": prior and prior.value, "networks": networks and networks.value}
    from citris_cli.commands import training

    session = training.Session.start(given)
    # --vars was for the data; in the configuration, `variables` is their number.
    session.report(training.citris_vae(session, {**given, "variables": None}))
