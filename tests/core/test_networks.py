"""Convolutional encoder and decoder: shapes at every size, what a seed decides, sizes that make no network."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.config import PATCHES, WIDTHS, AutoencoderConfig
from citris_cli.core.initialisation import initialise
from citris_cli.core.networks import AttentionPool, ConvDecoder, ConvEncoder, GreyEncoder, PositionLayer, grid_sides

#: Of autoencoders of published widths, before there were others.
PUBLISHED = Path(__file__).with_name("published_widths.json")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("growth", [1, 2])
@pytest.mark.parametrize("patch", PATCHES)
@pytest.mark.parametrize("width", WIDTHS)
def test_shapes(width: int, patch: int, growth: int) -> None:
    encoder = initialise(ConvEncoder(width, channels=2, outputs=6, patch=patch, growth=growth), seeded())
    decoder = initialise(ConvDecoder(width, channels=2, latents=6, blocks=1, patch=patch, growth=growth), seeded())
    images = torch.rand(2, 3, width, width, generator=seeded()) * 2 - 1
    latents = encoder(images)
    assert latents.shape == (2, 6)
    rendered = decoder(10 * latents)
    assert rendered.shape == (2, 3, width, width)
    assert rendered.abs().max() <= 1
    assert rendered.std() > 0
    assert len(encoder.stages) == len(decoder.stages) == len(grid_sides(width, patch)) - 1


@pytest.mark.parametrize("patch", PATCHES)
def test_every_grid_is_half_of_the_one_before_and_the_last_is_small(patch: int) -> None:
    for width in WIDTHS:
        sides = grid_sides(width, patch)
        assert sides[0] == width // patch
        assert all(2 * small - large in (0, 1) for large, small in pairwise(sides))
        assert 4 <= sides[-1] < 8 <= sides[-2]
    assert [grid_sides(width, 1)[-1] for width in (32, 64, 128, 256)] == [4] * 4
    assert grid_sides(144, 2) == (72, 36, 18, 9, 5)


def test_no_head_is_large() -> None:
    """The largest last grid has 49 places, the published ones 16."""
    sizes = []
    for width in WIDTHS:
        with torch.device("meta"):
            encoder = ConvEncoder(width, channels=64, outputs=32)
        sizes.append(sum(weight.numel() for weight in encoder.head.parameters()))
    assert max(sizes) <= 7**2 / 4**2 * min(sizes)


@pytest.mark.parametrize("which", json.loads(PUBLISHED.read_text()))
def test_networks_of_published_widths_are_what_they_were(which: str) -> None:
    """Names, shapes and a seed's weights, byte by byte; what they compute, to rounding."""
    before = json.loads(PUBLISHED.read_text())[which]
    model = Autoencoder(AutoencoderConfig(**before["config"]), seeded()).eval()
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {list(weight.shape)} {weight.dtype}".encode() + weight.numpy().tobytes())
    assert digest.hexdigest() == before["weights"]
    config = model.config
    shape = (2, config.image_channels, config.width, config.width)
    images = torch.linspace(-1, 1, torch.Size(shape).numel()).sin().view(shape)
    with torch.no_grad():
        encodings = model.encode(images)
        decoded = model.decode(encodings)
    torch.testing.assert_close(encodings, torch.tensor(before["encodings"]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(decoded[:, :, ::31, 0].flatten(), torch.tensor(before["pixels"]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize("image_channels", range(1, 9))
@pytest.mark.parametrize("width", [32, 80])
def test_images_of_other_channels(image_channels: int, patch: int, width: int) -> None:
    encoder = ConvEncoder(width, channels=4, outputs=6, patch=patch, image_channels=image_channels)
    decoder = ConvDecoder(width, channels=4, latents=6, blocks=1, patch=patch, image_channels=image_channels)
    images = torch.rand(2, image_channels, width, width, generator=seeded()) * 2 - 1
    assert decoder(encoder(images)).shape == images.shape


@pytest.mark.parametrize(("width", "patch", "stages"), [(32, 4, 1), (64, 4, 2), (64, 1, 4)])
def test_channels_grow_where_the_grid_halves(width: int, patch: int, stages: int) -> None:
    encoder = ConvEncoder(width, channels=4, outputs=6, patch=patch, growth=2)
    decoder = ConvDecoder(width, channels=4, latents=6, blocks=1, patch=patch, growth=2)
    wide = [layer.out_channels for layer in encoder.modules() if isinstance(layer, nn.Conv2d)]
    assert wide == [4 * 2**stage for stage in range(stages) for _ in range(2)]
    narrowing = [stage[0][0] for stage in decoder.stages]
    assert [layer.in_channels for layer in narrowing] == [4 * 2**stage for stage in range(stages, 0, -1)]
    assert [layer.out_channels for layer in narrowing] == [4 * 2**stage for stage in range(stages - 1, -1, -1)]
    images = torch.rand(2, 3, width, width, generator=seeded()) * 2 - 1
    assert decoder(encoder(images)).shape == images.shape


def test_without_growth_no_convolution_comes_before_the_upsampling() -> None:
    names = ConvDecoder(32, channels=4, latents=6, blocks=1).state_dict()
    assert not [name for name in names if name.startswith("stages.0.0.")]
    assert "stages.0.1.net.0.weight" in names


@pytest.mark.parametrize("blocks", [1, 3])
def test_residual_blocks_a_stage(blocks: int) -> None:
    decoder = ConvDecoder(32, channels=4, latents=6, blocks=blocks)
    assert [len(stage) for stage in decoder.stages] == [1 + blocks] * 3


@pytest.mark.parametrize(
    ("width", "patch", "says"),
    [
        (100, 1, "width is 100; it must be a multiple of 16 from 32 to 256"),
        (16, 1, "width is 16"),
        (272, 4, "width is 272"),
        (48, 3, "patch is 3; it can be 1, 2 or 4"),
        (64, 8, "patch is 8"),
    ],
)
def test_sizes_that_no_network_takes_are_refused(width: int, patch: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ConvEncoder(width, channels=4, outputs=6, patch=patch)
    with pytest.raises(ValueError, match=says):
        ConvDecoder(width, channels=4, latents=6, blocks=1, patch=patch)


def test_same_seed_same_weights_whatever_the_global_generator() -> None:
    torch.manual_seed(1)
    first = initialise(ConvEncoder(32, 4, 6), seeded(5)).state_dict()
    torch.manual_seed(2)
    second = initialise(ConvEncoder(32, 4, 6), seeded(5)).state_dict()
    other = initialise(ConvEncoder(32, 4, 6), seeded(6)).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    drawn = [name for name in first if not torch.equal(first[name], other[name])]
    layers = [m for m in ConvEncoder(32, 4, 6).modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(drawn) == len(layers) + sum(layer.bias is not None for layer in layers)


def test_weights_start_within_one_over_the_root_of_their_inputs() -> None:
    network = initialise(nn.Sequential(nn.Linear(25, 400), nn.Conv2d(4, 400, 3)), seeded())
    for layer, inputs in ((network[0], 25), (network[1], 36)):
        bound = inputs**-0.5
        assert 0.95 * bound < layer.weight.abs().max() <= bound
        assert 0.9 * bound < layer.bias.abs().max() <= bound


def test_the_position_layer_adds_a_linear_map_of_row_and_column() -> None:
    layer = PositionLayer(channels=2, width=5)
    with torch.no_grad():
        layer.map.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 10.0]]))  # channel 0 shows the row, channel 1 the column
        layer.map.bias.copy_(torch.tensor([0.5, 0.0]))
    shown = layer(torch.zeros(1, 2, 5, 5)).detach()[0]
    axis = torch.linspace(-1, 1, 5)
    torch.testing.assert_close(shown[0], (axis + 0.5)[:, None].expand(5, 5))
    torch.testing.assert_close(shown[1], (10 * axis)[None].expand(5, 5))


def test_the_position_layer_has_the_gradients_of_the_sum() -> None:
    layer = PositionLayer(channels=3, width=4).double()
    x = torch.randn(5, 3, 4, 4, generator=seeded(), dtype=torch.float64, requires_grad=True)
    towards = torch.randn(5, 3, 4, 4, generator=seeded(1), dtype=torch.float64)
    inputs = [x, *layer.parameters()]
    mine = torch.autograd.grad(layer(x.clone()), inputs, towards)
    plain = torch.autograd.grad(x + layer.map(layer.grid).permute(2, 0, 1), inputs, towards)
    for one, other in zip(mine, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_training_in_both_precisions_changes_every_weight(dtype: torch.dtype) -> None:
    encoder = initialise(ConvEncoder(32, channels=4, outputs=6), seeded())
    decoder = initialise(ConvDecoder(32, channels=4, latents=6, blocks=1), seeded())
    images = torch.rand(4, 3, 32, 32, generator=seeded()) * 2 - 1
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        error = (decoder(encoder(images)).float() - images).square().mean()
    error.backward()
    for name, weight in [*encoder.named_parameters(), *decoder.named_parameters()]:
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name


def test_a_head_is_a_mean_over_places_by_weights_that_know_the_place() -> None:
    pool = initialise(AttentionPool(5, 2, 3), seeded())
    x = torch.randn(2, 5, 3, 3, generator=seeded(1))
    expected = torch.zeros(2, 2, 5)
    axis = (-1.0, 0.0, 1.0)
    for image in range(2):
        keys, values = torch.zeros(9, 2), torch.zeros(9, 5)
        for place in range(9):
            row, column = divmod(place, 3)
            features = x[image, :, row, column]
            position = pool.keys[1].map(torch.tensor([axis[row], axis[column]]))  # type: ignore[operator]
            keys[place] = pool.keys[0].weight[:, :, 0, 0] @ features + pool.keys[0].bias + position  # type: ignore[operator, index]
            values[place] = pool.values.weight[:, :, 0, 0] @ features + pool.values.bias  # type: ignore[operator]
        expected[image] = keys.softmax(0).T @ values
    torch.testing.assert_close(pool(x), expected.flatten(1))


@pytest.mark.parametrize(("width", "channels"), [(32, 3), (64, 4), (48, 1), (32, 2)])
def test_a_grey_encoder_sees_one_mixture_of_the_colours_and_further_channels(width: int, channels: int) -> None:
    encoder = initialise(GreyEncoder(width, 5, channels, channels=4, heads=2), seeded()).eval()
    images = torch.rand(2, channels, width, width, generator=seeded(1)) * 2 - 1
    features = encoder(images)
    assert features.shape == (2, 5)
    if channels >= 3:
        turned = torch.cat([images[:, [1, 2, 0]], images[:, 3:]], dim=1)
        torch.testing.assert_close(encoder(turned), features)
        red = torch.tensor([[1.0, 0.0, 0.0]]).expand(2, -1)
        only_red = torch.cat([images[:, :1].expand(-1, 3, -1, -1), images[:, 3:]], dim=1)
        torch.testing.assert_close(encoder(images, red), encoder(only_red))
        assert not torch.allclose(encoder(images, red), features)
    other = images.clone()
    other[:, -1] *= -1
    assert not torch.allclose(encoder(other), features)
