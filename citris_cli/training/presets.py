"""Named settings: ``small`` for a laptop's CPU, ``paper`` for the published sizes.

Sizes that follow from the data (frame width, number of variables) are filled in by the command.
The small flow takes the same work a step as the published sizes would at a quarter of the batch, but spends it on more
pairs with fewer noisy copies each, which cuts the gradient's noise; its noise starts higher and falls (see
:class:`CausalTrainingConfig`). Every latent outside psi(0) has a price, which keeps latents that hold nothing out of
the variables; it rises slowly, lest variables go there before their interventions are understood
(docs/log/regulariser.md).
For frames of 32x32 pixels it has six layers: with four, most seeds leave what no intervention touches with a variable,
mirrored, because the flow cannot unfold it (docs/log/causal-variables-of-ball-in-boxes.md).
The small VAE has both too, its pull only after the variables' interventions have been understood, and a divergence that
weighs more for a while (see :class:`VAETrainingConfig`).
"""

from __future__ import annotations

from dataclasses import replace

from citris_cli.core.config import (
    SMALL_WIDTH,
    AutoencoderConfig,
    CausalEncoderConfig,
    CitrisNFConfig,
    CitrisVAEConfig,
    MLPPriorConfig,
)
from citris_cli.training.config import (
    AutoencoderTrainingConfig,
    CausalTrainingConfig,
    TrainingConfig,
    VAETrainingConfig,
)

#: Names of the presets.
PRESETS = ("small", "paper")
#: Widest frames that networks were published for. A step on wider ones would take up to four times as long and as much
#: memory; ``small`` makes up for that.
LARGE_WIDTH = 128
#: What a preset gives for frames up to these widths may differ from what it gives for wider ones.
WIDTH_STEPS = (SMALL_WIDTH, LARGE_WIDTH)

AUTOENCODER: dict[str, tuple[AutoencoderConfig, AutoencoderTrainingConfig]] = {
    "small": (
        AutoencoderConfig(latents=16, channels=32, decoder_blocks=1, patch=2),
        AutoencoderTrainingConfig(steps=4000, batch_size=64, lr=1e-3, clip=0.1),
    ),
    "paper": (AutoencoderConfig(), AutoencoderTrainingConfig(steps=50_000, batch_size=256, lr=5e-4, clip=0.1)),
}

#: Of the small flow.
PRICE = MLPPriorConfig(regulariser=0.03, regulariser_form="price", regulariser_warmup=0.6)

CITRIS_NF: dict[str, tuple[CitrisNFConfig, CausalTrainingConfig]] = {
    "small": (
        CitrisNFConfig(flow_layers=6, samples=2, prior=PRICE),
        CausalTrainingConfig(steps=4000, batch_size=256, lr=4e-3, clip=1.0, noise_start=6.0),
    ),
    "paper": (CitrisNFConfig(), CausalTrainingConfig(steps=100_000, batch_size=512, lr=1e-3, clip=1.0)),
}

CITRIS_VAE: dict[str, tuple[CitrisVAEConfig, VAETrainingConfig]] = {
    "small": (
        CitrisVAEConfig(
            latents=16, channels=32, patch=2, prior=MLPPriorConfig(regulariser=0.1, regulariser_warmup=0.4)
        ),
        VAETrainingConfig(
            steps=4000,
            batch_size=128,
            lr=2e-3,
            clip=50.0,
            kl_peak=4.0,
            kl_warmup=600,
            noise_start=4.0,
            noise_decay=0.7,
        ),
    ),
    "paper": (CitrisVAEConfig(), VAETrainingConfig(steps=250_000, batch_size=512, lr=1e-3, clip=50.0, kl_warmup=1000)),
}

CAUSAL_ENCODER: dict[str, tuple[CausalEncoderConfig, TrainingConfig]] = {
    "small": (
        CausalEncoderConfig(channels=32, patch=2, shapes=True),
        TrainingConfig(steps=4000, batch_size=64, lr=2e-3, clip=1.0),
    ),
    "paper": (CausalEncoderConfig(), TrainingConfig(steps=100_000, batch_size=256, lr=1e-3, clip=1.0, warmup=500)),
}


def autoencoder_preset(
    preset: str, width: int, still: bool = False
) -> tuple[AutoencoderConfig, AutoencoderTrainingConfig]:
    """A preset of the autoencoder for frames of a width; larger ones show more than those of 32x32 pixels.

    Args:
        preset: its name.
        width: frame width and height in pixels.
        still: whether most of a frame hardly ever changes. What does is small then, and ``small`` sees to it that it is
            learned (docs/log/balance.md).
    """
    config, training = AUTOENCODER[preset]
    if preset == "small" and still:
        config = replace(config, growth=2, noise=0.02)
        training = replace(training, lr=2e-3, balance=0.7)
        if width <= SMALL_WIDTH:
            # In wider frames (Pinball), fully balanced errors leave undrawn what changes often. With the clipping of
            # other frames, pictures of Pong are as good, and a flow on the encodings finds less.
            config = replace(config, latent_penalty=1e-4)
            training = replace(training, balance=1.0, clip=1.0)
    if preset == "small" and width > SMALL_WIDTH:
        # Features at every fourth pixel only, but many of them where a grid is coarse and they cost little.
        config = replace(config, latents=24, channels=64, patch=4, growth=2)
    if preset == "small" and width > LARGE_WIDTH:
        # Half of them: from its second grid on, that is the network of frames half as wide.
        config = replace(config, channels=32)
    return replace(config, width=width), training


def nf_preset(preset: str, width: int) -> tuple[CitrisNFConfig, CausalTrainingConfig]:
    """A preset of CITRIS-NF for frames of a width.

    Args:
        preset: its name.
        width: frame width and height in pixels.
    """
    config, training = CITRIS_NF[preset]
    if preset == "small" and width > SMALL_WIDTH:
        config = replace(config, flow_layers=4)  # more found no more in them
    return config, training


def causal_encoder_preset(preset: str, width: int) -> tuple[CausalEncoderConfig, TrainingConfig]:
    """A preset of the causal encoder for frames of a width.

    Args:
        preset: its name.
        width: frame width and height in pixels.
    """
    config, training = CAUSAL_ENCODER[preset]
    if preset == "small" and width > LARGE_WIDTH:
        config = replace(config, patch=4)
    return replace(config, width=width), training


def vae_preset(preset: str, width: int) -> tuple[CitrisVAEConfig, VAETrainingConfig]:
    """A preset of CITRIS-VAE for frames of a width; those of 32x32 pixels show less, and take smaller networks.

    Args:
        preset: its name.
        width: frame width and height in pixels.
    """
    config, training = CITRIS_VAE[preset]
    if width == SMALL_WIDTH:
        smaller = {"networks": "small"} if preset == "paper" else {"latents": 8, "channels": 24}
        config = replace(config, **smaller)
    if preset == "small" and width > LARGE_WIDTH:
        config = replace(config, patch=4)
    return replace(config, width=width), training
