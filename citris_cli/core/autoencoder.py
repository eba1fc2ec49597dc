"""The image autoencoder under CITRIS-NF: it learns what an image holds, the flow then sorts it by variable.

``x_hat = decoder(encoder(x) + sigma * eps)``: the noise makes the latent space smooth enough for the flow's densities.
Lippe et al., 2022, section 4.4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from citris_cli.core.augmentation import augmented
from citris_cli.core.config import AutoencoderConfig
from citris_cli.core.initialisation import initialise
from citris_cli.core.networks import RGB, ConvDecoder, ConvEncoder, GreyEncoder
from citris_cli.core.ops import shares

#: Least weight of a colour in a grey view, before the weights are made to add up to 1; the largest is 1 more.
LEAST_SHARE = 0.1


class Autoencoder(nn.Module):
    """Encoder [B, C, W, W] -> [B, M] and decoder back; images in [-1, 1].

    The last ``config.grey_latents`` of the latents come from a network that sees no colours; the published form has
    none of these.

    Args:
        config: sizes.
        generator: source of the random start.
    """

    def __init__(self, config: AutoencoderConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        c, latents, patch, growth = config.channels, config.latents, config.patch, config.growth
        grey = config.grey_latents
        self.encoder = ConvEncoder(config.width, c, latents - grey, patch, growth, config.image_channels)
        self.grey_encoder = GreyEncoder(config.width, grey, config.image_channels) if grey else None
        self.decoder = ConvDecoder(
            config.width, c, latents, config.decoder_blocks, patch, growth, config.image_channels
        )
        initialise(self, generator)

    def encode(self, images: Tensor) -> Tensor:
        """Images [B, C, W, W] in [-1, 1] -> encodings x [B, M], without noise."""
        codes: Tensor = self.encoder(images)
        if self.grey_encoder is None:
            return codes
        return torch.cat([codes, self.grey_encoder(images, None).to(codes.dtype)], dim=1)

    def decode(self, encodings: Tensor) -> Tensor:
        """Encodings x [B, M] -> images [B, C, W, W] in [-1, 1]."""
        return self.decoder(encodings)

    def loss(
        self, images: Tensor, generator: torch.Generator | None = None, weights: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """``MSE(x_hat, x) + lambda mean(z^2)``.

        Args:
            images: [B, C, W, W] in [-1, 1].
            generator: source of the latent noise, and of the mixtures of colours that a grey view shows.
            weights: of the squared errors of the pixels, with mean 1, [C, W, W]; None for 1 everywhere.

        Returns:
            The scalar loss and its parts, detached: ``mse`` (per pixel and channel, images in [-1, 1]; no weights).
        """
        loss, parts, _ = self.loss_and_codes(images, generator, weights)
        return loss, parts

    def loss_and_codes(
        self,
        images: Tensor,
        generator: torch.Generator | None = None,
        weights: Tensor | None = None,
        augments: bool = False,
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """:meth:`loss`, and the noisy encodings [B, M] that it was computed from.

        The grey latents see the images augmented where ``augments``: see :mod:`citris_cli.core.augmentation`.
        """
        if self.grey_encoder is None:
            latents = self.encode(images)
        else:
            latents = self.encoder(images)
            latents = torch.cat([latents, self._grey_latents(images, generator, augments).to(latents.dtype)], dim=1)
        noise = shares.noise(torch.randn, latents.shape, latents, generator)
        codes = latents + self.config.noise * noise
        decoded = self.decode(codes)
        mse = functional.mse_loss(decoded, images)
        error = mse if weights is None else ((decoded - images).square() * weights).mean()
        return error + self.config.latent_penalty * latents.square().mean(), {"mse": mse.detach()}, codes

    def noisy_grey_latents(
        self, images: Tensor, generator: torch.Generator | None = None, augments: bool = False
    ) -> Tensor:
        """The noisy grey latents [B, R] of images [B, C, W, W] alone, as :meth:`loss_and_codes` computes them.

        Raises:
            ValueError: there are none.
        """
        latents = self._grey_latents(images, generator, augments)
        return latents + self.config.noise * shares.noise(torch.randn, latents.shape, latents, generator)

    def _grey_latents(self, images: Tensor, generator: torch.Generator | None, augments: bool) -> Tensor:
        """As a training run sees them: through a grey that is mixed anew, perhaps of augmented images."""
        if self.grey_encoder is None:
            raise ValueError("an autoencoder without grey latents has none to compute")
        mixtures = _mixtures(images, generator)
        seen = augmented(images, generator) if augments else images
        latents: Tensor = self.grey_encoder(seen, mixtures)
        return latents

    def grey_parameters(self) -> list[nn.Parameter]:
        """Those of the network that sees no colours."""
        return [] if self.grey_encoder is None else list(self.grey_encoder.parameters())

    @torch.no_grad()
    def take_over(self, other: Autoencoder) -> Autoencoder:
        """Go on from a trained autoencoder of the same sizes with fewer grey latents, or as many; returns this one.

        The decoder does not listen to grey latents that the other one has not: it draws what that one draws.
        """
        own = self.state_dict()
        for name, value in other.state_dict().items():
            if own[name].shape == value.shape:
                own[name].copy_(value)
            else:  # the decoder's map of the latents
                own[name].zero_()[:, : value.shape[1]].copy_(value)
        return self


def _mixtures(images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Weights of red, green and blue in every image's grey [B, 3], adding up to 1: another grey at every look."""
    weights = LEAST_SHARE + shares.noise(torch.rand, (len(images), RGB), images, generator)
    return weights / weights.sum(1, keepdim=True)
