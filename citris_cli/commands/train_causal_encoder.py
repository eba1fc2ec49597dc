"""``citris train-causal-encoder``: the supervised network that reads true factors from frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from citris_cli.commands import options
from citris_cli.commands.outputs import Output, output_option
from citris_cli.commands.settings import Changes, with_settings
from citris_cli.commands.training import train
from citris_cli.training.presets import causal_encoder_preset


@with_settings(causal_encoder_preset)
def train_causal_encoder(
    data: options.Data,
    *,
    variables: options.Vars = None,
    changes: Changes,
    preset: options.Preset = options.PresetName.small,
    device: options.TrainingDevice = "auto",
    resume: options.Resume = False,
    save_every: options.SaveEvery = 30.0,
    output: Annotated[
        Path | None, output_option("Where to write; - for standard output.  \\[default: runs/<dataset>/]")
    ] = None,
    overwrite: options.Overwrite = False,
    show_config: options.ShowConfig = False,
    as_json: options.Json = False,
) -> None:
    """Train the causal encoder, which predicts the true factors of a frame, for evaluation only. Needs ground truth."""
    train(
        "causal_encoder",
        data,
        changes,
        Output(output, as_json),
        preset=preset.value,
        device=device,
        variables=variables,
        resume=resume,
        overwrite=overwrite,
        save_every=save_every,
        show_config=show_config,
    )
