"""Layers of an image network one after the other, some neighbours computed together on a CUDA device."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.nn import functional

from citris_cli.core.ops.batch_norm import BatchNorm


class AddsToConvolution(nn.Module, ABC):
    """A layer that adds something of its own to the result of a convolution, and can add that one's bias with it."""

    @abstractmethod
    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Feature map [B, C, W, W], which it may overwrite, and perhaps a bias [C] -> [B, C, W, W]."""


class Layers(nn.Sequential):
    """``nn.Sequential``.

    On a CUDA device time goes by the number of times that a feature map is read and written: so a batch normalisation
    goes with the SiLU after it, and a convolution's bias, an operation of its own there, with the position's map.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Feature map [B, C, W, W] -> whatever the last layer gives."""
        return self.together(x) if x.is_cuda else super().forward(x)

    def together(self, x: Tensor) -> Tensor:
        """The same, with neighbours computed together."""
        layers = list(self)
        while layers:
            layer = layers.pop(0)
            following = layers[0] if layers else None
            if isinstance(layer, nn.Conv2d) and isinstance(following, AddsToConvolution):
                product = functional.conv2d(x, layer.weight, None, layer.stride, layer.padding)
                x = following(product, layer.bias)
                layers.pop(0)
            elif isinstance(layer, BatchNorm) and isinstance(following, nn.SiLU):
                x = layer.with_silu(x)
                layers.pop(0)
            else:
                x = layer(x)
        return x
