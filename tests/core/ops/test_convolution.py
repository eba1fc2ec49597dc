"""Winograd's convolution against PyTorch's: values, gradients, and where it is used."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from citris_cli.core.networks import Conv3x3
from citris_cli.core.ops import convolution, library
from citris_cli.core.ops.convolution import _Convolution, conv3x3_reference


def drawn(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


@pytest.mark.compiled
@pytest.mark.usefixtures("processor", "threads")
@pytest.mark.parametrize(
    ("inputs", "outputs", "height", "width"),
    [(16, 40, 4, 4), (17, 16, 8, 12), (33, 21, 12, 4), (16, 17, 13, 10), (20, 16, 7, 9), (16, 16, 6, 1)],
)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("chunk", [1, 40, 100, 4096])
def test_value_and_gradients_are_the_plain_ones(
    monkeypatch: pytest.MonkeyPatch, inputs: int, outputs: int, height: int, width: int, bias: bool, chunk: int
) -> None:
    monkeypatch.setattr(convolution, "CHUNK", chunk)
    arguments = [last(drawn(6, inputs, height, width)), drawn(outputs, inputs, 3, 3, seed=1)]
    arguments += [drawn(outputs, seed=2)] if bias else []
    mine = [a.float().requires_grad_() for a in arguments]
    plain = [a.float().double().requires_grad_() for a in arguments]
    y = _Convolution.apply(*mine, *([] if bias else [None]))
    expected = conv3x3_reference(*plain)
    assert y.is_contiguous(memory_format=torch.channels_last)
    towards = drawn(*y.shape, seed=3).float()  # not channels last
    found = y, *torch.autograd.grad(y, mine, towards)
    for one, other in zip(found, (expected, *torch.autograd.grad(expected, plain, towards.double())), strict=True):
        assert (one - other).abs().max() < 1e-5 * other.abs().max()


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize(("height", "width"), [(5, 7), (6, 9), (13, 13)])
def test_tiles_that_reach_beyond_the_map_write_nothing_there(height: int, width: int) -> None:
    memory = torch.full((2 * height * width * 16 + 2048,), 7.0)
    images = memory[1024:-1024].view(2, height, width, 16)
    tiles = 2 * convolution._tiles(height, width)
    convolution._gather(images, 0, height, torch.zeros(36, tiles, 16))
    assert (images == 0).all()
    assert (memory[:1024] == 7).all()
    assert (memory[-1024:] == 7).all()
    values = torch.full((36 * tiles * 16 + 2048,), 7.0)
    for transform in (convolution._windows, convolution._spread):
        transform(images, 0, height, values[1024:-1024].view(36, tiles, 16))
        assert (values[1024:-1024] == 0).all()
        assert (values[:1024] == 7).all()
        assert (values[-1024:] == 7).all()
        values[1024:-1024] = 7


@pytest.mark.compiled
def test_the_same_bytes_every_time(threads: int) -> None:
    arguments = [last(drawn(40, 16, 8, 8)).float(), drawn(16, 16, 3, 3, seed=1).float(), None]
    weight = arguments[1].requires_grad_()

    def computed() -> list[Tensor]:
        y = _Convolution.apply(*arguments)
        return [y.detach(), *torch.autograd.grad(y.square().sum(), weight)]

    first = computed()
    for _ in range(3):
        assert all(torch.equal(one, again) for one, again in zip(first, computed(), strict=True))


@pytest.mark.compiled
def test_only_the_gradients_that_are_wanted_are_made() -> None:
    x, weight, bias = last(drawn(2, 16, 4, 4)).float(), drawn(16, 16, 3, 3, seed=1).float(), drawn(16, seed=2).float()
    y = _Convolution.apply(x, weight.requires_grad_(), bias)
    y.sum().backward()
    assert weight.grad is not None
    assert x.grad is None
    assert bias.grad is None


@pytest.mark.compiled
def test_float32_is_as_exact_as_the_direct_sum() -> None:
    """Value and both gradients, as root mean squares: nearly."""
    x, weight = drawn(4, 64, 32, 32, dtype=torch.float32), drawn(64, 64, 3, 3, dtype=torch.float32, seed=1) / 24
    towards = drawn(*x.shape, dtype=torch.float32, seed=2)

    def computed(form: Callable[..., Tensor], dtype: torch.dtype) -> list[Tensor]:
        arguments = [last(x).to(dtype).requires_grad_(), weight.to(dtype).requires_grad_()]
        y = form(*arguments, None)
        return [y.detach(), *torch.autograd.grad(y, arguments, towards.to(dtype))]

    plain = partial(nn.functional.conv2d, padding=1)
    exact, direct = computed(plain, torch.float64), computed(plain, torch.float32)
    for mine, theirs, value in zip(computed(_Convolution.apply, torch.float32), direct, exact, strict=True):
        error = (mine - value).norm() / value.norm()
        assert error < 2e-6
        assert error < 6 * (theirs - value).norm() / value.norm()


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("channels", "height", "width", "used"),
    [
        (64, 8, 8, True), (64, 64, 64, True), (64, 30, 32, True), (64, 13, 13, True), (32, 32, 32, False),
        (64, 4, 4, False), (64, 7, 7, False), (64, 9, 9, False),
    ],
)  # fmt: skip
def test_where_it_is_used(monkeypatch: pytest.MonkeyPatch, channels: int, height: int, width: int, used: bool) -> None:
    taken = []
    monkeypatch.setattr(convolution._Convolution, "apply", lambda x, weight, bias: taken.append(x) or x)
    layer = Conv3x3(channels, channels)
    x = drawn(16, channels, height, width, dtype=torch.float32)
    layer(x)
    assert bool(taken) is used
    if used:
        assert taken[0].is_contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(x).dtype == torch.bfloat16
        layer(x.double().to(torch.bfloat16).float())
        assert len(taken) == 2  # not under autocast
        layer(x[:1, :, :4])
        assert len(taken) == 2  # nor for a few tiles alone


@pytest.mark.parametrize("compiled", [True, False])
def test_the_layer_is_a_convolution_with_the_same_weights(monkeypatch: pytest.MonkeyPatch, compiled: bool) -> None:
    if not compiled:
        monkeypatch.setattr(library, "level", lambda: 0)
    layer, plain = Conv3x3(64, 64), nn.Conv2d(64, 64, 3, padding=1)
    plain.load_state_dict(layer.state_dict())
    x = drawn(3, 64, 32, 32, dtype=torch.float32)
    torch.testing.assert_close(layer(x), plain(x), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), plain(x), rtol=1e-5, atol=1e-5)
