"""Straight-through Gumbel-softmax samples: what the formula gives, compiled or not."""

import pytest
import torch
from torch.nn import functional

from citris_cli.core.ops.gumbel import gumbel_softmax, gumbel_softmax_reference
from tests.core.ops.exact import require_exact, seeded

LOGITS = torch.tensor([[2.0, 0.0, -1.0, 0.5], [0.0, 0.0, 0.0, 0.0], [-3.0, 1.0, 4.0, 1.0]])


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("classes", [1, 5, 8, 16, 37])
def test_samples_are_those_of_the_formula(classes: int) -> None:
    logits = (3 * torch.randn(6, classes, generator=seeded(1))).requires_grad_()
    uniform = torch.rand(50, 6, classes, generator=seeded(2)).clamp(1e-9, 1 - 1e-7)
    uniform.view(-1)[:2] = torch.tensor([1e-9, 1 - 1e-7])
    exact = logits.detach().double().requires_grad_()
    expected = ((exact - (-uniform.double().log()).log()) / 0.5).softmax(-1)
    pull = torch.randn(50, 6, classes, generator=seeded(3))
    hard = gumbel_softmax(logits, uniform, 0.5)
    torch.testing.assert_close(hard, functional.one_hot(expected.argmax(-1), classes).float(), rtol=0, atol=1e-6)
    (found,) = torch.autograd.grad(hard, logits, pull)
    (wanted,) = torch.autograd.grad(expected, exact, pull.double())
    torch.testing.assert_close(found, wanted.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
def test_compiled_samples_and_gradients_are_those_of_the_reference() -> None:
    uniform = torch.rand(50, 3, 4, generator=seeded(2)).clamp(1e-9, 1 - 1e-7)
    require_exact(
        lambda logits: gumbel_softmax(logits, uniform.to(logits.dtype, copy=True), 0.7),
        lambda logits: gumbel_softmax_reference(logits, uniform.to(logits.dtype, copy=True), 0.7),
        [LOGITS],
    )


@pytest.mark.usefixtures("form")
def test_a_sample_of_what_is_no_number_is_none() -> None:
    logits = LOGITS.clone()
    logits[1, 2] = torch.nan
    sample = gumbel_softmax(logits, torch.rand(2, 3, 4, generator=seeded()), 1.0)
    assert sample[:, 1].isnan().any(-1).all()
    assert not sample[:, [0, 2]].isnan().any()
