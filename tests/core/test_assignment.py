"""The causal assignment and its Gumbel-softmax samples."""

import pytest
import torch

from citris_cli.core.assignment import CausalAssignment, gumbel_softmax_sample

LOGITS = torch.tensor([[2.0, 0.0, -1.0, 0.5], [0.0, 0.0, 0.0, 0.0], [-3.0, 1.0, 4.0, 1.0]])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assignment(temperature: float = 1.0) -> CausalAssignment:
    psi = CausalAssignment(latents=3, variables=3, temperature=temperature)
    psi.logits.data.copy_(LOGITS)
    return psi


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
def test_samples_are_one_hot_and_as_frequent_as_the_probabilities(temperature: float) -> None:
    psi = assignment(temperature)
    sample = psi.sample(20_000, seeded()).detach()
    assert sample.shape == (20_000, 3, 4)
    hard = sample.round()
    torch.testing.assert_close(sample, hard, rtol=0, atol=1e-6)
    assert (hard.sum(-1) == 1).all()
    # Whatever the temperature: the largest entry does not depend on it (four standard errors are 0.014).
    torch.testing.assert_close(sample.mean(0), LOGITS.softmax(-1), rtol=0, atol=0.015)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # compiled where that is possible, and PyTorch's
def test_the_gradient_is_that_of_the_soft_sample(dtype: torch.dtype) -> None:
    logits = LOGITS.to(dtype, copy=True).requires_grad_()
    weights = torch.randn(5, 3, 4, generator=seeded(1), dtype=dtype)
    sample = gumbel_softmax_sample(logits, 5, 0.7, seeded(2))
    (sample * weights).sum().backward()
    uniform = torch.rand(5, 3, 4, generator=seeded(2), dtype=dtype)
    again = LOGITS.to(dtype, copy=True).requires_grad_()
    soft = ((again - (-uniform.log()).log()) / 0.7).softmax(-1)
    (soft * weights).sum().backward()
    assert again.grad is not None
    assert again.grad.abs().max() > 0.01
    torch.testing.assert_close(logits.grad, again.grad)
    assert torch.equal(sample.argmax(-1), soft.argmax(-1))


def test_samples_come_from_the_generator_alone() -> None:
    psi = assignment()
    before = torch.get_rng_state()
    first, second = psi.sample(50, seeded(3)), psi.sample(50, seeded(3))
    assert torch.equal(first, second)
    assert not torch.equal(first, psi.sample(50, seeded(4)))
    assert torch.equal(torch.get_rng_state(), before)
    generator = seeded(3)
    psi.sample(50, generator)
    assert not torch.equal(psi.sample(50, generator), first)


def test_an_assignment_that_is_sure_is_always_drawn() -> None:
    psi = assignment()
    psi.logits.data.copy_(30 * torch.eye(4)[[2, 0, 3]])
    assert torch.equal(psi.sample(2000, seeded()).detach().argmax(-1), torch.tensor([2, 0, 3]).expand(2000, 3))


def test_hard_and_soft_readings() -> None:
    psi = assignment()
    torch.testing.assert_close(psi.probabilities(), LOGITS.softmax(-1))
    assert psi.hard().tolist() == [0, 0, 2]
    assert psi.one_hot().tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]
    psi.logits.data[1, 3] = 1  # the last column is psi(0)
    assert psi.hard().tolist() == [0, 3, 2]


def test_nothing_is_assigned_at_the_start() -> None:
    torch.testing.assert_close(CausalAssignment(5, 3).probabilities(), torch.full((5, 4), 0.25))
