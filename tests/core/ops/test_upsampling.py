"""Bilinear upsampling: its gradient as two products is the one that PyTorch adds up."""

import pytest
import torch
from torch import nn

from citris_cli.core.ops.upsampling import _Enlarged, enlarge, enlarge_reference
from tests.core.ops.exact import seeded


def test_the_reference_is_pytorchs_layer() -> None:
    x = torch.randn(2, 3, 4, 4, generator=seeded())
    plain = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)(x)
    assert torch.equal(enlarge_reference(x, 8), plain)
    assert torch.equal(enlarge(x, 8), plain)


def test_corners_stay_where_the_side_is_not_doubled() -> None:
    x = torch.arange(25.0).view(1, 1, 5, 5)  # linear in the row and in the column
    wide = enlarge(x, 9)[0, 0]
    torch.testing.assert_close(wide[0], torch.linspace(0, 4, 9))
    torch.testing.assert_close(wide[:, 8], torch.linspace(4, 24, 9))


@pytest.mark.parametrize(("width", "wide"), [(4, 8), (7, 14), (5, 9), (7, 13)])
def test_values_and_gradients_in_float64(width: int, wide: int) -> None:
    x = torch.randn(2, 3, width, width, generator=seeded(), dtype=torch.float64).requires_grad_()
    pull = torch.randn(2, 3, wide, wide, generator=seeded(1), dtype=torch.float64)
    ours, theirs = _Enlarged.apply(x, wide), enlarge_reference(x, wide)
    assert torch.equal(ours, theirs)
    (of_ours,), (of_theirs,) = (torch.autograd.grad(value, x, pull) for value in (ours, theirs))
    # The products' shares are of float32's own interpolation.
    torch.testing.assert_close(of_ours, of_theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("width", "wide"), [(4, 8), (8, 16), (32, 64), (5, 9), (26, 52)])
def test_the_gradient_of_upsampling_as_products_is_pytorchs_own(width: int, wide: int) -> None:
    x = torch.randn(2, 5, width, width, generator=seeded()).contiguous(memory_format=torch.channels_last)
    gradient = torch.randn(2, 5, wide, wide, generator=seeded(1))
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    ours, theirs = _Enlarged.apply(x, wide), enlarge_reference(x, wide)
    assert torch.equal(ours, theirs)
    (of_ours,), (of_theirs,) = (torch.autograd.grad(value, x, gradient) for value in (ours, theirs))
    torch.testing.assert_close(of_ours, of_theirs, rtol=1e-5, atol=1e-5)
    assert of_ours.is_contiguous(memory_format=torch.channels_last)
