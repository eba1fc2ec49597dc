"""The image autoencoder in its plain form: the published layers one after the other, nothing said of memory formats."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.config import AutoencoderConfig


class Position(nn.Module):
    """Adds a learned linear map of (row, column), both in [-1, 1], to a feature map [B, C, W, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.map = nn.Linear(2, channels)

    def forward(self, x: Tensor) -> Tensor:
        axis = torch.linspace(-1, 1, x.shape[-1], device=x.device)
        rows, columns = torch.meshgrid(axis, axis, indexing="ij")
        position = self.map(torch.stack([rows, columns], dim=-1).expand(len(x), -1, -1, -1))
        return x + position.permute(0, 3, 1, 2)


class Residual(nn.Module):
    """x + [BatchNorm, SiLU, conv3x3, position, BatchNorm, SiLU, conv3x3](x)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.BatchNorm2d(channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1), Position(channels),
            nn.BatchNorm2d(channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


def _encoder(config: AutoencoderConfig) -> nn.Sequential:
    c, grid = config.channels, config.width // config.patch
    layers: list[nn.Module] = [nn.PixelUnshuffle(config.patch)] if config.patch > 1 else []
    inputs, hidden, first = 3 * config.patch**2, 4 * c, True
    while grid > 4:
        layers.append(nn.Conv2d(inputs, c, 3, stride=2, padding=1, bias=False))
        if first:
            layers.append(Position(c))
        layers += [nn.BatchNorm2d(c), nn.SiLU()]
        layers += [nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c), nn.SiLU()]
        inputs, c, grid, first = c, c * config.growth, grid // 2, False
    layers += [nn.Flatten(), nn.Linear(16 * inputs, hidden), nn.LayerNorm(hidden), nn.SiLU()]
    layers.append(nn.Linear(hidden, config.latents))
    return nn.Sequential(*layers)


def _decoder(config: AutoencoderConfig) -> nn.Sequential:
    hidden, grid = 4 * config.channels, 4
    c = config.channels * config.growth ** int(math.log2(config.width // config.patch // 4))
    layers: list[nn.Module] = [
        nn.Linear(config.latents, hidden), nn.LayerNorm(hidden), nn.SiLU(), nn.Linear(hidden, 16 * c),
        nn.Unflatten(1, (c, 4, 4)),
    ]  # fmt: skip
    while grid < config.width // config.patch:
        if config.growth > 1:
            layers.append(nn.Conv2d(c, c // config.growth, 1))
            c //= config.growth
        layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True))
        layers += [Residual(c) for _ in range(config.decoder_blocks)]
        grid *= 2
    layers += [nn.BatchNorm2d(c), nn.SiLU(), nn.Conv2d(c, c, 1), Position(c)]
    layers += [nn.BatchNorm2d(c), nn.SiLU(), nn.Conv2d(c, 3 * config.patch**2, 1)]
    if config.patch > 1:
        layers.append(nn.PixelShuffle(config.patch))
    return nn.Sequential(*layers, nn.Tanh())


class PlainAutoencoder(nn.Module):
    """Encoder and decoder as chains of layers, in the default memory format.

    Args:
        model: production autoencoder, whose weights are copied; its layers come in the same order.
    """

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.config = model.config
        self.encoder = _encoder(model.config)
        self.decoder = _decoder(model.config)
        theirs = model.state_dict().values()
        with torch.no_grad():
            for mine, value in zip(self.state_dict().values(), theirs, strict=True):
                assert mine.shape == value.shape
                mine.copy_(value)

    def loss(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """As :meth:`Autoencoder.loss`, the total alone: images [B, 3, W, W] in [-1, 1]."""
        latents = self.encoder(images)
        noise = torch.randn(latents.shape, generator=generator)
        reconstruction = self.decoder(latents + self.config.noise * noise)
        return ((reconstruction - images) ** 2).mean() + self.config.latent_penalty * (latents**2).mean()


def as_images(frames: Tensor) -> Tensor:
    """Frames uint8 [B, H, W, 3] to images [B, 3, H, W] in [-1, 1], one frame at a time as a data loader does."""
    return torch.stack([frame.permute(2, 0, 1).float() / 255 * 2 - 1 for frame in frames])
