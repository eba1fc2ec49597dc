"""``citris train-ae``: the image autoencoder."""

from __future__ import annotations

from typing import Annotated

import typer

from citris_cli.commands import options


def train_ae(
    data: options.Data,
    output: options.Output = None,
    preset: options.Preset = options.PresetName.small,
    latents: options.Latents = None,
    channels: options.Channels = None,
    decoder_blocks: options.DecoderBlocks = None,
    patch: options.Patch = None,
    growth: options.Growth = None,
    noise: Annotated[float | None, typer.Option(help="Std of the noise on the latents in training.", min=0)] = None,
    latent_penalty: Annotated[float | None, typer.Option(help="Weight of the mean squared latent.", min=0)] = None,
    permute_colours: Annotated[
        bool | None,
        typer.Option(
            help="Train on frames whose red, green and blue are in random order: for hues that are variables."
        ),
    ] = None,
    steps: options.Steps = None,
    batch_size: options.BatchSize = None,
    lr: options.LearningRate = None,
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
    """Train the image autoencoder: frames in, a compact code of every frame out."""
    given = dict(locals())
    from citris_cli.commands import training

    session = training.Session.start(given)
    session.report(training.autoencoder(session, given))
