"""Encoder and decoder of CITRIS-VAE: the image networks with a Gaussian on top, and a small pair for 32x32 frames.

Lippe et al., "CITRIS: Causal Identifiability from Temporal Intervened Sequences", ICML 2022, appendix C.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from citris_cli.core.config import NETWORKS, SMALL_WIDTH
from citris_cli.core.networks import ConvDecoder, ConvEncoder, PositionLayer, at_least_float32
from citris_cli.core.ops.layers import Layers

#: Side of the grid between the small pair's convolutions and its linear maps.
GRID = 4
#: Bound on the log standard deviations of the small pair.
SMALL_MAX_LOG_STD = 4.0
#: Where :meth:`GaussianEncoder.narrow` puts the log standard deviations, before their bound, and a learned bound.
START_LOG_STD, START_MAX_LOG_STD = -3.0, 4.0


class GaussianEncoder(nn.Module):
    """Images [B, C, W, W] -> mean and log standard deviation [B, M] of the posterior ``q(x | image)``.

    The log-std passes ``s tanh(. / s)``, so that no posterior collapses or explodes: s = 4 in the small pair, a learned
    ``softplus(scale)`` a latent in the pyramid.

    Args:
        network: images -> [B, 2M], the means before the log-stds.
        latents: number of latents M.
        learned_bound: whether s is learned.
    """

    def __init__(self, network: nn.Module, latents: int, learned_bound: bool) -> None:
        super().__init__()
        self.network = network
        self.scale = nn.Parameter(torch.zeros(latents)) if learned_bound else None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, C, W, W] in [-1, 1] -> mean, log standard deviation, at least float32, [B, M] each."""
        mean, log_std = at_least_float32(self.network(images)).chunk(2, dim=-1)
        if self.scale is None:
            return mean, SMALL_MAX_LOG_STD * torch.tanh(log_std / SMALL_MAX_LOG_STD)
        bound = functional.softplus(self.scale)
        return mean, bound * torch.tanh(log_std / bound)

    @torch.no_grad()
    def narrow(self) -> GaussianEncoder:
        """Let a training start with narrow posteriors, the same for every image, std about 0.08; returns the encoder.

        At random weights all images have nearly the same means; with posteriors of width 1 around these, the decoder
        would learn that latents are noise, and the divergence would then keep them so.
        """
        last = [module for module in self.network.modules() if isinstance(module, nn.Linear)][-1]
        half = last.out_features // 2
        last.weight[half:] = 0
        last.bias[half:] = START_LOG_STD
        if self.scale is not None:
            self.scale.fill_(math.log(math.expm1(START_MAX_LOG_STD)))  # softplus's inverse
        return self


class SmallEncoder(Layers):
    """Images [B, C, 32, 32] in [-1, 1] -> [B, outputs].

    conv3x3/2 (C -> c) + position, conv (c -> c), conv/2 (c -> 2c), conv (2c -> 2c), conv/2 (2c -> 2c),
    Linear 32c -> 4c, a SiLU after each; then Linear 4c -> outputs.

    Args:
        channels: c.
        outputs: number of output features.
        image_channels: channels C of the image.
    """

    def __init__(self, channels: int, outputs: int, image_channels: int = 3) -> None:
        c = channels
        super().__init__(
            nn.Conv2d(image_channels, c, 3, stride=2, padding=1),
            PositionLayer(c, SMALL_WIDTH // 2),
            nn.SiLU(),
            nn.Conv2d(c, c, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(c, 2 * c, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * c, 2 * c, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * c, 2 * c, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(2 * c * GRID**2, 4 * c),
            nn.SiLU(),
            nn.Linear(4 * c, outputs),
        )


class SmallDecoder(Layers):
    """Latents [B, M] -> images [B, C, 32, 32] in [-1, 1]: :class:`SmallEncoder` backwards.

    Linear M -> 4c, Linear 4c -> 32c, a SiLU after each, reshaped to [2c, 4, 4]; three transposed convolutions of
    stride 2 (2c -> 2c -> c -> C) with a convolution between two of them, a position layer and a SiLU after each but the
    last; tanh.

    Args:
        channels: c.
        latents: number of latents M.
        image_channels: channels C of the image.
    """

    def __init__(self, channels: int, latents: int, image_channels: int = 3) -> None:
        c = channels
        super().__init__(
            nn.Linear(latents, 4 * c),
            nn.SiLU(),
            nn.Linear(4 * c, 2 * c * GRID**2),
            nn.SiLU(),
            nn.Unflatten(1, (2 * c, GRID, GRID)),
            nn.ConvTranspose2d(2 * c, 2 * c, 3, stride=2, padding=1, output_padding=1),
            PositionLayer(2 * c, 2 * GRID),
            nn.SiLU(),
            nn.Conv2d(2 * c, 2 * c, 3, padding=1),
            PositionLayer(2 * c, 2 * GRID),
            nn.SiLU(),
            nn.ConvTranspose2d(2 * c, c, 3, stride=2, padding=1, output_padding=1),
            PositionLayer(c, 4 * GRID),
            nn.SiLU(),
            nn.Conv2d(c, c, 3, padding=1),
            PositionLayer(c, 4 * GRID),
            nn.SiLU(),
            nn.ConvTranspose2d(c, image_channels, 3, stride=2, padding=1, output_padding=1),
            nn.Tanh(),
        )


def vae_networks(
    networks: str, width: int, channels: int, latents: int, decoder_blocks: int, patch: int, image_channels: int = 3
) -> tuple[GaussianEncoder, nn.Module]:
    """Encoder and decoder of a VAE, not yet initialised.

    Args:
        networks: ``pyramid`` (:class:`~citris_cli.core.networks.ConvEncoder` and its decoder) or ``small``.
        width: frame width and height in pixels, one of :data:`~citris_cli.core.config.WIDTHS`; 32 for the small pair.
        channels: channels c.
        latents: number of latents M.
        decoder_blocks: residual blocks a decoder stage of the pyramid.
        patch: side of the pixel blocks that the pyramid folds into channels; 1 for the small pair.
        image_channels: channels of the frames, 3 of RGB ones.

    Raises:
        ValueError: sizes that make no such networks, or no such networks.
    """
    if networks == "pyramid":
        pyramid = ConvEncoder(width, channels, 2 * latents, patch, image_channels=image_channels)
        encoder = GaussianEncoder(pyramid, latents, learned_bound=True)
        return encoder, ConvDecoder(width, channels, latents, decoder_blocks, patch, image_channels=image_channels)
    if networks != "small":
        raise ValueError(f"networks is {networks!r}; it can be {' or '.join(NETWORKS)}")
    if width != SMALL_WIDTH or patch != 1:
        raise ValueError(
            f"the small networks are for {SMALL_WIDTH}x{SMALL_WIDTH} frames with patch 1, not for width {width} with "
            f"patch {patch}"
        )
    encoder = GaussianEncoder(SmallEncoder(channels, 2 * latents, image_channels), latents, learned_bound=False)
    return encoder, SmallDecoder(channels, latents, image_channels)
