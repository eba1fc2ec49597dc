"""What the latents of a variable and its parents may tell of all other targets."""

import itertools

import pytest
import torch
from torch import Tensor

from citris_cli.core.graph_classifier import MOST_PATTERNS, GraphTargetClassifier, TargetCounts


def dependent(rows: int, variables: int) -> Tensor:
    """Targets of which every one follows the one before it half of the time."""
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(rows, variables, generator=generator) < 0.3).float()
    for index in range(1, variables):
        copied = torch.rand(rows, generator=generator) < 0.5
        targets[copied, index] = targets[copied, index - 1]
    return targets


def by_counting(targets: Tensor, known: Tensor, told: Tensor) -> Tensor:
    """The expectation over all values of the known targets, each conditional counted by itself."""
    inside, total = known.nonzero().flatten().tolist(), torch.zeros(targets.shape[1])
    for values in itertools.product([0.0, 1.0], repeat=len(inside)):
        likely, agreeing = 1.0, torch.ones(len(targets), dtype=torch.bool)
        for index, value in zip(inside, values, strict=True):
            likely *= float(told[index] if value else 1 - told[index])
            agreeing &= targets[:, index] == value
        total += likely * (targets[agreeing].mean(0) if agreeing.any() else targets.mean(0))
    return total


@pytest.mark.parametrize(("variables", "draws"), [(3, 1), (5, 1), (8, 3000), (12, 3000)])
def test_expectations_are_those_of_counting(variables: int, draws: int) -> None:
    counts, targets = TargetCounts(variables), dependent(700, variables)
    for batch in targets.split(64):
        counts.add(batch)
    torch.testing.assert_close(counts.mean, targets.mean(0))
    generator = torch.Generator().manual_seed(1)
    known = (torch.rand(4, variables, generator=generator) < 0.4).float()
    told = torch.rand(4, variables, generator=generator)
    found = counts.expected(known.repeat(draws, 1), told.repeat(draws, 1), generator).view(draws, 4, -1).mean(0)
    expected = torch.stack([by_counting(targets, *row) for row in zip(known, told, strict=True)])
    others = known == 0  # what is known itself is told by nobody else
    torch.testing.assert_close(found[others], expected[others], atol=1e-5 if draws == 1 else 0.03, rtol=1e-4)


def test_of_many_variables_the_last_rows_are_counted() -> None:
    counts, targets = TargetCounts(20), dependent(3 * MOST_PATTERNS, 20)
    for batch in targets.split(500):
        counts.add(batch)
    assert torch.equal(counts.patterns, targets[-MOST_PATTERNS:])
    assert torch.equal(counts.counts, torch.ones(MOST_PATTERNS, dtype=torch.int64))
    torch.testing.assert_close(counts.mean, targets.mean(0))
    found = counts.expected(torch.ones(3, 20), torch.rand(3, 20), torch.Generator().manual_seed(0))
    assert ((found >= 0) & (found <= 1)).all()
    counts.add(targets)  # more than are kept, at once
    assert torch.equal(counts.patterns, targets[-MOST_PATTERNS:])


def test_parents_may_be_seen_and_others_not() -> None:
    generator = torch.Generator().manual_seed(0)
    classifier = GraphTargetClassifier(3, 3, 4, generator=generator)
    z, targets = torch.randn(200, 2, 3, generator=generator), dependent(200, 3).unsqueeze(1)
    psi = torch.eye(3).expand(200, 3, 3)
    graph = torch.zeros(200, 3, 3)
    graph[:, 0, 1] = 1  # 0 -> 1
    for _ in range(300):  # what a latent is, the classifier can read
        z[:, 1] = targets[:, 0] + 0.1 * torch.randn(200, 3, generator=generator)
        if _ == 0:
            optimizer = torch.optim.Adam(classifier.network.parameters(), 1e-2)
        loss, _ignored = classifier(z, targets, psi, graph)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seen = z.clone().requires_grad_()
    # In latent 1 the target of 0 is seen: of its parent that costs nothing, of a stranger it does.
    seen.data[:, 1, 1] += targets[:, 0, 0]
    allowed = classifier.eval()(seen, targets, psi, graph)[1]
    strangers = classifier(seen, targets, psi, torch.zeros_like(graph))[1]
    assert torch.isfinite(allowed)
    assert allowed < strangers


def test_the_losses_teach_whom_they_should() -> None:
    generator = torch.Generator().manual_seed(0)
    classifier = GraphTargetClassifier(4, 2, 3, generator=generator)
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    z = torch.randn(6, 2, 4, generator=generator).requires_grad_()
    psi = torch.eye(3)[torch.randint(3, (6, 4), generator=generator)].requires_grad_()
    targets, graph = dependent(6, 2).unsqueeze(1), torch.zeros(6, 3, 3)
    loss_model, loss_z = classifier(z, targets, psi, graph)
    parameters = list(classifier.network.parameters())
    assert torch.autograd.grad(loss_model, [z, psi], retain_graph=True, allow_unused=True) == (None, None)
    assert torch.autograd.grad(loss_z, parameters, retain_graph=True, allow_unused=True) == (None,) * len(parameters)
    assert all(gradient.abs().sum() > 0 for gradient in torch.autograd.grad(loss_z, [z, psi]))
