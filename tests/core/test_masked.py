"""The products that leave the empty half out: the same values and gradients as the dense masked form."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from citris_cli.core import masked
from citris_cli.core.masked import MaskedLinear, autoregressive_mask


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def columns(rows: int, samples: int = 7) -> Tensor:
    return torch.randn(rows, samples, generator=seeded(1), dtype=torch.float64)


@pytest.mark.parametrize("block", [1, 3, 1000])
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(("inputs", "outputs", "variables"), [(1, 3, 5), (3, 3, 8), (3, 2, 7), (2, 2, 1)])
def test_columns_are_the_dense_masked_map(
    inputs: int, outputs: int, variables: int, strict: bool, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masked, "BLOCK", block)
    layer = MaskedLinear(inputs, outputs, variables, strict, seeded()).double()
    x = columns(inputs * variables).requires_grad_()
    pull = columns(outputs * variables)
    ours = layer.columns(x)
    dense = functional.linear(x.T, layer.weight * layer.mask, layer.bias).T
    torch.testing.assert_close(ours, dense)
    learned = x, layer.weight, layer.bias
    for mine, theirs in zip(
        torch.autograd.grad(ours, learned, pull), torch.autograd.grad(dense, learned, pull), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


def test_weights_above_the_blocks_are_neither_seen_nor_taught() -> None:
    layer = MaskedLinear(16, 16, 32, strict=False, generator=seeded()).double()
    x = columns(16 * 32)
    before = layer.columns(x)
    before.square().sum().backward()
    assert layer.weight.grad is not None
    assert (layer.weight.grad[layer.mask == 0] == 0).all()
    with torch.no_grad():
        layer.weight[layer.mask == 0] = 1e3
    assert torch.equal(layer.columns(x), before)


def test_gradients_are_those_of_finite_differences() -> None:
    layer = MaskedLinear(2, 3, 4, strict=False, generator=seeded()).double()
    x = columns(8, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda *_: layer.columns(x), (x, layer.weight, layer.bias))


def test_only_what_is_asked_for_gets_a_gradient() -> None:
    layer = MaskedLinear(2, 3, 4, strict=True, generator=seeded()).double().requires_grad_(False)
    x = columns(8).requires_grad_()
    layer.columns(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, layer.masked_weight().sum(0).unsqueeze(1).expand_as(x))
    assert layer.weight.grad is None


def test_half_precision_is_left_to_autocast() -> None:
    layer = MaskedLinear(2, 3, 4, strict=True, generator=seeded())
    x = columns(8).float()
    with torch.autocast("cpu", torch.bfloat16):
        half = layer.columns(x)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), layer.columns(x), rtol=0.05, atol=0.05)


def test_the_mask_orders_variables() -> None:
    assert autoregressive_mask(1, 2, 2, strict=True).tolist() == [[0, 0, 0, 0], [1, 1, 0, 0]]
    assert autoregressive_mask(2, 1, 2, strict=False).tolist() == [[1, 0], [1, 0], [1, 1], [1, 1]]
