"""``citris train-nf``: CITRIS-NF on the encodings of a frozen autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from citris_cli.commands import options
from citris_cli.commands.outputs import Output, output_option
from citris_cli.commands.settings import Changes, with_settings
from citris_cli.commands.training import train
from citris_cli.training.presets import nf_preset


@with_settings(nf_preset)
def train_nf(
    data: options.Data,
    *,
    ae: options.Autoencoder = None,
    val: options.Val = None,
    variables: options.Vars = None,
    targets_lead: options.TargetsLead = None,
    group: options.Group = None,
    no_check: options.NoCheck = False,
    changes: Changes,
    preset: options.Preset = options.PresetName.small,
    rounds: options.Rounds = 1,
    restarts: options.Restarts = 1,
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
    """Train CITRIS-NF: a normalizing flow from an autoencoder's encodings to latents sorted by causal variable."""
    train(
        "citris_nf",
        data,
        changes,
        Output(output, as_json),
        preset=preset.value,
        rounds=rounds,
        restarts=restarts,
        device=device,
        variables=variables,
        targets_lead=targets_lead.value if targets_lead else None,
        check=not no_check,
        resume=resume,
        overwrite=overwrite,
        save_every=save_every,
        show_config=show_config,
        val=val,
        group=group,
        ae=ae,
    )
