"""``citris train-ae``: the image autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from citris_cli.commands import options
from citris_cli.commands.outputs import Output, output_option
from citris_cli.commands.settings import Changes, with_settings
from citris_cli.commands.training import train
from citris_cli.training.presets import autoencoder_preset


@with_settings(autoencoder_preset)
def train_ae(
    data: options.Data,
    *,
    teacher: options.Teacher = None,
    variables: options.Vars = None,
    targets_lead: options.TargetsLead = None,
    no_check: options.NoCheck = False,
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
    """Train the image autoencoder, which maps every frame to a compact code and back."""
    train(
        "autoencoder",
        data,
        changes,
        Output(output, as_json),
        preset=preset.value,
        device=device,
        variables=variables,
        targets_lead=targets_lead.value if targets_lead else None,
        check=not no_check,
        resume=resume,
        overwrite=overwrite,
        save_every=save_every,
        show_config=show_config,
        teacher=teacher,
    )
