"""Named settings: ``small`` for a laptop's CPU, ``paper`` for the published sizes.

Sizes that follow from the data (frame width, number of variables) are filled in by the command.
"""

from __future__ import annotations

from citris_cli.core.autoencoder import AutoencoderConfig
from citris_cli.core.citris_nf import CitrisNFConfig
from citris_cli.training.citris_nf import FlowTrainingConfig
from citris_cli.training.loop import TrainingConfig

AUTOENCODER: dict[str, tuple[AutoencoderConfig, TrainingConfig]] = {
    "small": (
        AutoencoderConfig(latents=16, channels=32, decoder_blocks=1, patch=2),
        TrainingConfig(steps=4000, batch_size=64, lr=1e-3, clip=0.1),
    ),
    "paper": (AutoencoderConfig(), TrainingConfig(steps=50_000, batch_size=256, lr=5e-4, clip=0.1)),
}

CITRIS_NF: dict[str, tuple[CitrisNFConfig, FlowTrainingConfig]] = {
    "small": (
        CitrisNFConfig(),
        FlowTrainingConfig(steps=4000, batch_size=64, lr=1e-3, clip=1.0),
    ),
    "paper": (CitrisNFConfig(), FlowTrainingConfig(steps=100_000, batch_size=512, lr=1e-3, clip=1.0)),
}
