"""Forms in float32 compared with what PyTorch computes in float64.

Nothing here says ``assert``: pytest makes assertions of test modules alone work under ``python -O``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

#: Rounding errors of a sum in float32, relative to the largest number of the result.
ROUNDING = 1e-5


def seeded(seed: int = 0) -> torch.Generator:
    """A generator in the state of a seed."""
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers whose rows have a norm of about 1."""
    return torch.randn(shape, generator=seeded(seed)) / math.sqrt(shape[-1])


def trained(model: nn.Module) -> nn.Module:
    """The model with weights as far from their start as a training takes them."""
    with torch.no_grad():
        for seed, parameter in enumerate(model.parameters()):
            parameter += 0.1 * torch.randn(parameter.shape, generator=seeded(100 + seed))
    return model


def in_double(model: nn.Module) -> nn.Module:
    """A copy in float64, which PyTorch computes."""
    return copy.deepcopy(model).double()


def require_close(ours: Sequence[Tensor], theirs: Sequence[Tensor], rounding: float = ROUNDING) -> None:
    """Refuse tensors that differ by more than rounding.

    Raises:
        AssertionError: two of them differ in shape or by more than ``rounding`` of the largest number.
    """
    for number, (mine, expected) in enumerate(zip(ours, theirs, strict=True)):
        mine, expected = mine.detach(), expected.detach()
        if mine.shape != expected.shape:
            raise AssertionError(f"tensor {number} is {tuple(mine.shape)}, not {tuple(expected.shape)}")
        off, largest = float((mine - expected).abs().max()), float(expected.abs().max())
        if not off <= rounding * max(largest, 1e-3):
            raise AssertionError(f"tensor {number} is off by {off}, where the largest is {largest}")


def values_and_gradients(
    function: Callable[..., Tensor | tuple[Tensor, ...]], learned: Sequence[Tensor], dtype: torch.dtype
) -> list[Tensor]:
    """What a function gives, and the gradients that it passes on.

    Args:
        function: of the learned tensors.
        learned: what it is computed of, and differentiated by.
        dtype: in which to compute.

    Returns:
        The values, then the gradients of their sum with random weights, 0 where there is none.
    """
    inputs = [one.detach().to(dtype, copy=True).requires_grad_() for one in learned]
    given = function(*inputs)
    values = [given] if isinstance(given, Tensor) else list(given)
    pulls = [torch.randn(value.shape, generator=seeded(90 + seed)).to(dtype) for seed, value in enumerate(values)]
    gradients = torch.autograd.grad(values, inputs, pulls, allow_unused=True)
    none = [torch.zeros_like(one) if of is None else of for one, of in zip(inputs, gradients, strict=True)]
    return [*(value.detach() for value in values), *none]


def require_exact(
    function: Callable[..., Tensor | tuple[Tensor, ...]],
    reference: Callable[..., Tensor | tuple[Tensor, ...]],
    learned: Sequence[Tensor],
    rounding: float = ROUNDING,
) -> None:
    """Compare an operation in float32 with its reference in float64, values and gradients.

    Args:
        function: the operation as a function of the learned tensors.
        reference: its reference in plain PyTorch, likewise.
        learned: float32.
        rounding: see :func:`require_close`.

    Raises:
        AssertionError: they differ.
    """
    ours = values_and_gradients(function, learned, torch.float32)
    require_close(ours, values_and_gradients(reference, learned, torch.float64), rounding)
