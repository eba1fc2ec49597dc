"""``citris train-causal-encoder``: the supervised network that reads true factors from frames."""

from __future__ import annotations

from typing import Annotated

import typer

from citris_cli.commands import options


def train_causal_encoder(
    data: options.Data,
    output: options.Output = None,
    preset: options.Preset = options.PresetName.small,
    channels: options.Channels = None,
    patch: options.Patch = None,
    norm_penalty: Annotated[
        float | None, typer.Option(help="Weight that keeps the vectors of angles at norm 2.", min=0)
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
    """Train the causal encoder: frames in, true factors out; it measures triplets. Needs frames with ground truth."""
    given = dict(locals())
    from citris_cli.commands import training
    from citris_cli.data.datasets import load_labelled

    session = training.Session.start(given, load_labelled)
    session.report(training.causal_encoder(session, given))
