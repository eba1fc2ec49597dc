"""Batch normalisation of a share of a batch, here of one that is the whole, gives what ``nn.BatchNorm2d`` gives.

That shares of several processes give it together is tested with whole trainings, in tests/training/test_processes.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import distributed, nn

from citris_cli.core.ops import shares
from citris_cli.core.ops.batch_norm import BatchNorm
from citris_cli.core.ops.shares import Share

CHANNELS, ROWS = 6, 5


@pytest.fixture
def alone() -> Iterator[None]:
    """A group of one process, which is asked for sums as one of many would be."""
    if not distributed.is_available() or not distributed.is_gloo_available():
        pytest.skip("this PyTorch has no torch.distributed with gloo")
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def pair() -> tuple[nn.BatchNorm2d, BatchNorm]:
    """PyTorch's and ours, alike."""
    plain, ours = nn.BatchNorm2d(CHANNELS), BatchNorm(CHANNELS)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.uniform_(0.5, 2, generator=torch.Generator().manual_seed(1))
    ours.load_state_dict(plain.state_dict())
    return plain, ours


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
@pytest.mark.usefixtures("alone")
def test_values_gradients_and_running_statistics(
    dtype: torch.dtype, close: float, memory_format: torch.memory_format
) -> None:
    plain, ours = pair()
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        x, weight = torch.randn(2, ROWS, CHANNELS, 4, 4, generator=generator).to(dtype)
        x = (10 + 3 * x).to(memory_format=memory_format)
        inputs = x.clone().requires_grad_(), x.clone().requires_grad_()
        expected = plain(inputs[0])
        with shares.computing(Share(0, ROWS, ROWS)):
            value = ours(inputs[1])
        (expected * weight).sum().backward()
        (value * weight).sum().backward()  # also where the share is no longer being computed
        torch.testing.assert_close(value, expected, rtol=close, atol=close)
        torch.testing.assert_close(inputs[1].grad, inputs[0].grad, rtol=close, atol=close)
        for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=close, atol=close)
        for name, buffer in plain.named_buffers():
            torch.testing.assert_close(ours.get_buffer(name), buffer, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("alone")
def test_a_large_mean_costs_no_digits() -> None:
    plain, ours = pair()
    x = 1000 + 0.1 * torch.randn(ROWS, CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0))
    with shares.computing(Share(0, ROWS, ROWS)):
        ours(x)
    plain(x)
    torch.testing.assert_close(ours.running_var, plain.running_var, rtol=1e-4, atol=0)


@pytest.mark.parametrize("training", [True, False])
def test_without_shares_it_is_pytorch_s_own(training: bool) -> None:
    """As in evaluation mode on a share: nobody is asked, or this would fail without a group."""
    plain, ours = pair()
    plain.train(training), ours.train(training)
    x = torch.randn(ROWS, CHANNELS, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = plain(x)
    with shares.computing(None if training else Share(0, 2, ROWS)):
        assert torch.equal(ours(x), expected)
    for name, buffer in plain.named_buffers():
        assert torch.equal(ours.get_buffer(name), buffer)
