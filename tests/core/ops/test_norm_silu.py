"""Batch normalisation and SiLU in one: what the two give, in float64. On a CUDA device, or by Triton's interpreter."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from importlib import metadata

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from citris_cli.core.ops import library
from citris_cli.core.ops.norm_silu import _NormSiLU, _Plan, norm_silu, norm_silu_reference, usable

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
HERE = torch.cuda.is_available() or INTERPRETED
DEVICE = torch.device("cpu" if INTERPRETED or not HERE else "cuda")
needs_kernels = pytest.mark.skipif(not HERE, reason="runs in a process of its own (Triton's interpreter)")

SHAPES = {
    "one tile": (2, 64, 3, 5),
    "tails": (3, 24, 7, 9),
    "four channels": (5, 4, 11, 13),
    "many channels": (3, 130, 5, 7),
    "many tiles": (5, 128, 17, 16),
}


@pytest.mark.skipif(HERE, reason="the kernels run in this very process")
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton (pip install triton)")
def test_by_the_interpreter() -> None:
    if metadata.version("triton").startswith("3.0."):
        pytest.skip("the interpreter of Triton 3.0 takes no kernel that calls another one with constants")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def features(shape: tuple[int, ...], dtype: torch.dtype, mean: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    scale = torch.linspace(0.5, 3.0, shape[1])[:, None, None]
    x = mean + scale * torch.randn(shape, generator=generator) + torch.linspace(-2, 2, shape[1])[:, None, None]
    return x.to(DEVICE, dtype).contiguous(memory_format=torch.channels_last)


def norm(channels: int) -> nn.BatchNorm2d:
    generator = torch.Generator().manual_seed(1)
    made = nn.BatchNorm2d(channels, device=DEVICE)
    with torch.no_grad():
        for tensor in (made.weight, made.bias, made.running_mean, made.running_var):
            assert tensor is not None
            tensor.copy_(torch.rand(channels, generator=generator) + 0.5)
    return made


def both(x: Tensor, of_y: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Value, gradients of x, weight and bias, and running statistics: ours, and PyTorch's in float64."""
    ours, theirs = norm(x.shape[1]), norm(x.shape[1]).double()
    found = []
    for layer, values, gradient in ((ours, x, of_y), (theirs, x.double(), of_y.double())):
        values = values.detach().requires_grad_()
        if layer is ours:
            learned = layer.weight, layer.bias, layer.running_mean, layer.running_var
            y = _NormSiLU.apply(values, *learned, 0.1, 1e-5)  # by the interpreter, on a CPU too
        else:
            y = functional.silu(layer(values))
        y.backward(gradient)
        found.append(
            [y.detach(), values.grad, layer.weight.grad, layer.bias.grad, layer.running_mean, layer.running_var]
        )
    return found[0], found[1]  # type: ignore[return-value]


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", SHAPES)
def test_it_is_what_the_two_layers_give(name: str, dtype: torch.dtype) -> None:
    x = features(SHAPES[name], dtype)
    of_y = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).to(DEVICE, dtype)  # not channels last
    ours, theirs = both(x, of_y)
    assert ours[0].dtype == ours[1].dtype == dtype
    assert ours[0].is_contiguous(memory_format=torch.channels_last)
    for one, other in zip(ours, theirs, strict=True):
        rounding = 2e-2 if one.dtype == torch.bfloat16 else 2e-5
        torch.testing.assert_close(one.double(), other, rtol=rounding, atol=rounding)
    again, _ = both(x, of_y)
    assert all(torch.equal(one, other) for one, other in zip(ours, again, strict=True))


@needs_kernels
def test_a_mean_far_from_zero_keeps_its_digits() -> None:
    x = features((4, 8, 9, 9), torch.float32, mean=1000.0)
    ours, theirs = both(x, torch.ones_like(x))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=1e-3)


@needs_kernels
def test_a_channel_that_does_not_vary() -> None:
    x = features((2, 8, 4, 4), torch.float32)
    x[:, 3] = 5.0
    ours, theirs = both(x, torch.ones_like(x))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=1e-3)  # 1 / sqrt(eps) times rounding


def test_every_row_is_somebodys() -> None:
    for shape in ((1, 1, 1, 2), (256, 64, 64, 64), (3, 1000, 5, 7), (256, 512, 128, 128)):
        plan = _Plan(torch.empty(shape, device="meta"))
        assert plan.programs <= 1024
        assert (plan.programs - 1) * plan.tiles * plan.tile < plan.rows <= plan.programs * plan.tiles * plan.tile
        assert plan.padded >= plan.channels


def test_it_is_for_cuda_devices() -> None:
    assert not usable(torch.zeros(2, 8, 4, 4).contiguous(memory_format=torch.channels_last))


def test_elsewhere_it_is_the_reference() -> None:
    """In float64, with the statistics of ``nn.BatchNorm2d``."""
    x = features(SHAPES["tails"], torch.float32).cpu().double()
    plain, ours = (norm(x.shape[1]).cpu().double() for _ in range(2))
    learned = ours.weight, ours.bias, ours.running_mean, ours.running_var
    expected = functional.silu(plain(x))
    for form in (norm_silu, norm_silu_reference):
        torch.testing.assert_close(form(x, *learned, 0.1, 1e-5), expected)  # type: ignore[arg-type]
        if form is norm_silu:
            torch.testing.assert_close(ours.running_var, plain.running_var)
            torch.testing.assert_close(ours.running_mean, plain.running_mean)


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnDevice:
        """A feature map on a CUDA device, as far as the decision looks."""

        is_cuda, dtype, device, shape = True, torch.float32, torch.device("cuda"), (2, 8, 4, 4)

        def dim(self) -> int:
            return 4

        def is_contiguous(self, memory_format: torch.memory_format) -> bool:
            return True

    monkeypatch.setattr("citris_cli.core.ops.norm_silu._works", lambda device: True)
    monkeypatch.delenv(library.SWITCH, raising=False)
    assert usable(OnDevice())  # type: ignore[arg-type]
    monkeypatch.setenv(library.SWITCH, "0")
    assert not usable(OnDevice())  # type: ignore[arg-type]
