"""The image autoencoder under CITRIS-NF: it learns what an image holds, the flow then sorts it by variable.

``x_hat = decoder(encoder(x) + sigma * eps)``: the noise makes the latent space smooth enough for the flow's densities.
Lippe et al., 2022, section 4.4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from citris_cli.core.config import AutoencoderConfig
from citris_cli.core.initialisation import initialise
from citris_cli.core.networks import ConvDecoder, ConvEncoder
from citris_cli.core.ops import shares


class Autoencoder(nn.Module):
    """Encoder [B, C, W, W] -> [B, M] and decoder back; images in [-1, 1].

    Args:
        config: sizes.
        generator: source of the random start.
    """

    def __init__(self, config: AutoencoderConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        c, latents, patch, growth = config.channels, config.latents, config.patch, config.growth
        self.encoder = ConvEncoder(config.width, c, latents, patch, growth, config.image_channels)
        self.decoder = ConvDecoder(
            config.width, c, latents, config.decoder_blocks, patch, growth, config.image_channels
        )
        initialise(self, generator)

    def encode(self, images: Tensor) -> Tensor:
        """Images [B, C, W, W] in [-1, 1] -> encodings x [B, M], without noise."""
        return self.encoder(images)

    def decode(self, encodings: Tensor) -> Tensor:
        """Encodings x [B, M] -> images [B, C, W, W] in [-1, 1]."""
        return self.decoder(encodings)

    def loss(
        self, images: Tensor, generator: torch.Generator | None = None, weights: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """``MSE(x_hat, x) + lambda mean(z^2)``.

        Args:
            images: [B, C, W, W] in [-1, 1].
            generator: source of the latent noise.
            weights: of the squared errors of the pixels, with mean 1, [C, W, W]; None for 1 everywhere.

        Returns:
            The scalar loss and its parts, detached: ``mse`` (per pixel and channel, images in [-1, 1]; no weights).
        """
        latents = self.encode(images)
        noise = shares.noise(torch.randn, latents.shape, latents, generator)
        decoded = self.decode(latents + self.config.noise * noise)
        mse = functional.mse_loss(decoded, images)
        error = mse if weights is None else ((decoded - images).square() * weights).mean()
        return error + self.config.latent_penalty * latents.square().mean(), {"mse": mse.detach()}
