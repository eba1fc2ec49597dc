"""One map added to all: values and gradients of the sum, in the memory of its argument."""

import pytest
import torch

from citris_cli.core.ops.position import add_to_all, add_to_all_reference
from tests.core.ops.exact import require_exact, seeded


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_the_reference(memory_format: torch.memory_format) -> None:
    x = torch.randn(5, 3, 4, 6, generator=seeded()).contiguous(memory_format=memory_format)
    one = torch.randn(3, 4, 6, generator=seeded(1))
    require_exact(lambda x, one: add_to_all(x.clone(), one), add_to_all_reference, [x, one])


def test_the_sum_is_in_the_memory_of_the_maps() -> None:
    x, one = torch.zeros(2, 3, 4, 4), torch.ones(3, 4, 4)
    assert add_to_all(x, one).data_ptr() == x.data_ptr()
    assert (x == 1).all()


def test_the_map_may_be_more_precise_than_what_it_is_added_to() -> None:
    x, one = torch.zeros(2, 3, 4, 4, dtype=torch.bfloat16), torch.ones(3, 4, 4, requires_grad=True)
    y = add_to_all(x, one)
    assert y.dtype == add_to_all_reference(x, one).dtype == torch.bfloat16
    y.sum().backward()
    assert one.grad is not None
    assert (one.grad == 2).all()
    assert one.grad.dtype == torch.float32


def test_without_a_gradient_for_the_map_there_is_none() -> None:
    x, one = torch.zeros(2, 3, 4, 4, requires_grad=True), torch.ones(3, 4, 4)
    (gradient,) = torch.autograd.grad(add_to_all(x.clone(), one).sum(), x)
    assert (gradient == 1).all()
