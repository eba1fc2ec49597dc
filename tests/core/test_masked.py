"""Masked maps: what the mask lets through, and what it does not."""

import torch

from citris_cli.core.masked import MaskedLinear, autoregressive_mask


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_weights_above_the_blocks_are_neither_seen_nor_taught() -> None:
    layer = MaskedLinear(4, 4, 8, strict=False, generator=seeded()).double()
    x = torch.randn(7, 4 * 8, generator=seeded(1), dtype=torch.float64)
    before = layer(x)
    before.square().sum().backward()
    assert layer.weight.grad is not None
    assert (layer.weight.grad[layer.mask == 0] == 0).all()
    with torch.no_grad():
        layer.weight[layer.mask == 0] = 1e3
    assert torch.equal(layer(x), before)


def test_the_mask_orders_variables() -> None:
    assert autoregressive_mask(1, 2, 2, strict=True).tolist() == [[0, 0, 0, 0], [1, 1, 0, 0]]
    assert autoregressive_mask(2, 1, 2, strict=False).tolist() == [[1, 0], [1, 0], [1, 1], [1, 1]]
