"""Convolutional encoder and decoder of the image models.

One architecture serves every frame size: a pyramid of stages between the image grid and one of 4x4 to 7x7 places, and
a small fully-connected head between that grid and the latents. Lippe et al., "CITRIS: Causal Identifiability from
Temporal Intervened Sequences", ICML 2022, appendix C.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from citris_cli.core.config import PATCHES, WIDTHS, WIDTHS_TOLD
from citris_cli.core.initialisation import shapes_only
from citris_cli.core.ops.batch_norm import BatchNorm
from citris_cli.core.ops.convolution import conv3x3
from citris_cli.core.ops.layers import AddsToConvolution, Layers
from citris_cli.core.ops.position import add_to_all
from citris_cli.core.ops.upsampling import enlarge

#: A pyramid ends at the first grid with a smaller side.
COARSE = 8
#: Widest frames of which shapes are read at every second pixel; of wider ones, they are larger and dear.
FINE_WIDTH = 64
#: Channels that are mixed into a grey one.
RGB = 3


def at_least_float32(x: Tensor) -> Tensor:
    """What a network computed in bfloat16 as float32; float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def grid_sides(width: int, patch: int) -> tuple[int, ...]:
    """Sides of the grids of a pyramid, from that of the image to the one that its head sees.

    Each is half of the one before, rounded up, until one is smaller than 8. The last is 4 where the first is a power of
    two, as in the published networks, and 4 to 7 elsewhere.

    Args:
        width: image width and height in pixels, one of :data:`~citris_cli.core.config.WIDTHS`.
        patch: side of the pixel blocks that are folded into channels first, 1, 2 or 4.

    Returns:
        At least two, one more than the stages that halve (or double) the grid.

    Raises:
        ValueError: a width or patch that no network is made for.
    """
    if width not in WIDTHS:
        raise ValueError(f"width is {width}; it must be {WIDTHS_TOLD}")
    if patch not in PATCHES:
        raise ValueError(f"patch is {patch}; it can be {', '.join(map(str, PATCHES[:-1]))} or {PATCHES[-1]}")
    sides = [width // patch]
    while sides[-1] >= COARSE:
        sides.append(-(-sides[-1] // 2))
    return tuple(sides)


class PositionLayer(AddsToConvolution):
    """Adds a learned linear map of the (row, column) position, both in [-1, 1]: a convolution cannot tell where it is.

    It adds to its input in place, which must not be needed by anyone else: the result of a convolution is not.

    Args:
        channels: channels C of the feature map.
        width: side W of the (square) feature map.
    """

    grid: Tensor

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.map = nn.Linear(2, channels)
        self.register_buffer("grid", _positions(width), persistent=False)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Feature map [B, C, W, W] -> [B, C, W, W]; a bias [C] is added with the position."""
        positions = self.map(self.grid) if bias is None else self.map(self.grid) + bias
        return add_to_all(x, positions.permute(2, 0, 1))


class Conv3x3(nn.Conv2d):
    """Convolution 3x3 of stride 1, zeros around.

    Args:
        inputs: channels I of the input.
        outputs: channels O of the result.
        bias: whether a bias is added.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map [B, I, H, W] -> [B, O, H, W]."""
        return conv3x3(x, self.weight, self.bias)


class Enlarge(nn.Module):
    """Bilinear upsampling, corners aligned: [B, C, W, W] -> [B, C, V, V].

    Args:
        width: side V of the result.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return enlarge(x, self.width)


def _positions(width: int) -> Tensor:
    """Row and column of every place of a grid, in [-1, 1]: [width, width, 2]."""
    if shapes_only():
        return torch.empty(width, width, 2)
    axis = torch.linspace(-1.0, 1.0, width)
    return torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1)


class AttentionPool(nn.Module):
    """Feature map [B, C, W, W] -> [B, heads C]: every head's mean over places, by weights that it gives them.

    ``sum_p softmax_p(k(x_p) + l(p)) v(x_p)`` with linear maps k, l and v of features x and positions p. The values do
    not know where they are taken from: what an object looks like (how it is turned, say) is learned once for all
    places, where a map of the flattened grid learns it at every place anew.

    Args:
        channels: channels C of the feature map.
        heads: number of heads.
        width: side W of the feature map.
    """

    def __init__(self, channels: int, heads: int, width: int) -> None:
        super().__init__()
        self.keys = Layers(nn.Conv2d(channels, heads, 1), PositionLayer(heads, width))
        self.values = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        weights = at_least_float32(self.keys(x)).flatten(2).softmax(-1)
        values = self.values(x).flatten(2)
        return torch.einsum("bhp,bcp->bhc", weights.to(values.dtype), values).flatten(1)


class ConvEncoder(nn.Module):
    """Image [B, C, W, W] in [-1, 1] -> features [B, outputs].

    Each stage, from one of :func:`grid_sides` to the next, is conv3x3 stride 2 (first stage: + position) -> BatchNorm
    -> SiLU -> conv3x3 -> BatchNorm -> SiLU; stage i (from 0) has ``c growth^i`` channels. Then Linear from all of the
    last grid to 4c -> LayerNorm -> SiLU -> Linear 4c -> outputs.

    Args:
        width: image width and height W in pixels, one of :data:`~citris_cli.core.config.WIDTHS`.
        channels: channels c of the first stage.
        outputs: number of output features.
        patch: side of the pixel blocks folded into channels before the first stage; 1 is the published network,
            2 makes a network with a quarter of the work in its most expensive stage, 4 leaves that stage out.
        growth: factor on the channels where the grid halves; 1 is the published network, 2 spends the same work on
            every grid.
        image_channels: channels C of the image, 3 of an RGB one.
    """

    def __init__(
        self, width: int, channels: int, outputs: int, patch: int = 1, growth: int = 1, image_channels: int = 3
    ) -> None:
        super().__init__()
        self.patch = patch
        sides, inputs, c = grid_sides(width, patch), image_channels * patch**2, channels
        stages = []
        for stage, grid in enumerate(sides[1:]):
            c = channels * growth**stage
            stages.append(
                Layers(
                    nn.Conv2d(inputs, c, 3, stride=2, padding=1, bias=False),
                    PositionLayer(c, grid) if stage == 0 else nn.Identity(),
                    BatchNorm(c),
                    nn.SiLU(),
                    Conv3x3(c, c, bias=False),
                    BatchNorm(c),
                    nn.SiLU(),
                )
            )
            inputs = c
        self.stages = nn.Sequential(*stages)
        self.head = nn.Sequential(
            nn.Linear(sides[-1] ** 2 * c, 4 * channels),
            nn.LayerNorm(4 * channels),
            nn.SiLU(),
            nn.Linear(4 * channels, outputs),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, W, W] in [-1, 1] -> [B, outputs]."""
        if self.patch > 1:
            images = functional.pixel_unshuffle(images, self.patch)
        return self.head(self.stages(images).flatten(1))


class GreyEncoder(nn.Module):
    """Image [B, C, W, W] in [-1, 1] -> features [B, outputs] of its shapes alone.

    Red, green and blue are mixed into one channel, further channels stay; blocks of 2x2 pixels, of frames wider than 64
    of 4x4, are folded into channels. conv3x3 -> BatchNorm -> SiLU on the first of
    :func:`grid_sides`; then, for each but the last, conv3x3 stride 2 -> BatchNorm -> SiLU -> conv3x3 -> BatchNorm ->
    SiLU, with c, 3c/2, 2c, … channels; an :class:`AttentionPool` -> LayerNorm -> Linear -> SiLU -> LayerNorm -> Linear.

    Where hues are variables of the system, what follows them in a training sequence can be guessed from the colours;
    and where an object is tells how it is turned, as far as the one follows the other. A network that sees neither has
    to look at the object.

    Args:
        width: image width and height W in pixels, one of :data:`~citris_cli.core.config.WIDTHS`.
        outputs: number of features.
        image_channels: channels C of the image.
        channels: channels c on the finest grid.
        heads: heads of the attention.
    """

    def __init__(self, width: int, outputs: int, image_channels: int = 3, channels: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.colours = RGB if image_channels >= RGB else 0
        self.patch = 2 if width <= FINE_WIDTH else 4
        sides = grid_sides(width, self.patch)[:-1]
        inputs = (image_channels - max(0, self.colours - 1)) * self.patch**2
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, channels, 3, padding=1, bias=False),
            BatchNorm(channels),
            nn.SiLU(),
        ]
        inputs = c = channels
        for stage in range(1, len(sides)):
            c = channels + stage * channels // 2
            layers += [nn.Conv2d(inputs, c, 3, stride=2, padding=1, bias=False), BatchNorm(c), nn.SiLU()]
            layers += [Conv3x3(c, c, bias=False), BatchNorm(c), nn.SiLU()]
            inputs = c
        self.stages = Layers(*layers)
        self.pool = AttentionPool(c, heads, sides[-1])
        self.head = nn.Sequential(
            nn.LayerNorm(heads * c),
            nn.Linear(heads * c, 4 * channels),
            nn.SiLU(),
            nn.LayerNorm(4 * channels),
            nn.Linear(4 * channels, outputs),
        )

    def forward(self, images: Tensor, mixture: Tensor | None = None) -> Tensor:
        """Images [B, C, W, W] -> [B, outputs].

        Args:
            images: in [-1, 1].
            mixture: weights of red, green and blue in every image's grey [B, 3], adding up to 1; None: a third each.
        """
        if self.colours:
            rgb = images[:, : self.colours]
            weights = mixture if mixture is not None else torch.full_like(images[:, :RGB, 0, 0], 1 / RGB)
            grey = (rgb * weights[:, :, None, None]).sum(1, keepdim=True)
            images = torch.cat([grey, images[:, self.colours :]], dim=1)
        features = self.pool(self.stages(functional.pixel_unshuffle(images, self.patch)))
        return self.head(at_least_float32(features))


class ResidualBlock(nn.Module):
    """x + [BatchNorm, SiLU, conv3x3, position, BatchNorm, SiLU, conv3x3](x), pre-activated.

    Args:
        channels: channels C of the feature map.
        width: side W of the feature map.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.net = Layers(
            BatchNorm(channels),
            nn.SiLU(),
            Conv3x3(channels, channels),
            PositionLayer(channels, width),
            BatchNorm(channels),
            nn.SiLU(),
            Conv3x3(channels, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, W, W] -> [B, C, W, W]."""
        return self.net(x).add_(x)


class ConvDecoder(nn.Module):
    """Latents [B, M] -> image [B, C, W, W] in [-1, 1].

    Linear M -> 4c -> LayerNorm -> SiLU -> Linear 4c -> the last of :func:`grid_sides`; each stage is bilinear
    upsampling (corners aligned) to the grid before it and ``blocks`` residual blocks; then BatchNorm -> SiLU -> conv1x1
    -> position -> BatchNorm -> SiLU -> conv1x1 -> tanh. The first grid has ``c growth^stages`` channels, and every
    stage ``growth`` times fewer than what it upsamples, brought down by a conv1x1 before it does (where ``growth`` is 1
    there is none).

    Args:
        width: image width and height W in pixels, one of :data:`~citris_cli.core.config.WIDTHS`.
        channels: channels c of the last stage.
        latents: number of latents M.
        blocks: residual blocks a stage: 2 in the published autoencoder, 1 in the published VAE.
        patch: side of the pixel blocks that the last convolution writes at once (sub-pixel convolution); 1 is the
            published network.
        growth: factor on the channels where the grid halves, as in :class:`ConvEncoder`.
        image_channels: channels C of the image, 3 of an RGB one.
    """

    def __init__(
        self,
        width: int,
        channels: int,
        latents: int,
        blocks: int,
        patch: int = 1,
        growth: int = 1,
        image_channels: int = 3,
    ) -> None:
        super().__init__()
        self.patch = patch
        sides = grid_sides(width, patch)[::-1]
        self.start = (channels * growth ** (len(sides) - 1), sides[0], sides[0])
        self.head = nn.Sequential(
            nn.Linear(latents, 4 * channels),
            nn.LayerNorm(4 * channels),
            nn.SiLU(),
            nn.Linear(4 * channels, math.prod(self.start)),
        )
        c = self.start[0]
        stages = []
        for grid in sides[1:]:
            enlarge: nn.Module = Enlarge(grid)
            if growth > 1:
                enlarge = nn.Sequential(nn.Conv2d(c, c // growth, 1), enlarge)
            c //= growth
            stages.append(nn.Sequential(enlarge, *[ResidualBlock(c, grid) for _ in range(blocks)]))
        self.stages = nn.Sequential(*stages)
        self.tail = Layers(
            BatchNorm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 1),
            PositionLayer(channels, sides[-1]),
            BatchNorm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, image_channels * patch**2, 1),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Latents [B, M] -> images [B, C, W, W] in [-1, 1]."""
        x = self.head(latents).unflatten(1, self.start).contiguous(memory_format=torch.channels_last)
        x = self.tail(self.stages(x))
        if self.patch > 1:
            x = functional.pixel_shuffle(x, self.patch)
        return torch.tanh(x)
