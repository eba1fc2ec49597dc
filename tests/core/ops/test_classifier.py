"""Both losses of a target classifier and the running means: values and gradients of their references in float64."""

import copy

import pytest
import torch
from torch import Tensor, nn

from citris_cli.core.ops.classifier import (
    target_losses,
    target_losses_reference,
    update_target_means,
    update_target_means_reference,
)
from citris_cli.core.target_classifier import TargetClassifier
from tests.core.ops.exact import in_double, require_close, seeded

LATENTS, VARIABLES = 4, 3


def inputs(batch: int = 5, steps: int = 2, seed: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Latents [B, T, M], targets [B, T-1, K], one-hot samples [B, M, K+1] that differ from window to window."""
    z = 4 * torch.randn(batch, steps + 1, LATENTS, generator=seeded(seed))
    targets = (torch.rand(batch, steps, VARIABLES, generator=seeded(seed + 1)) < 0.4).float()
    assigned = torch.randint(0, VARIABLES + 1, (batch, LATENTS), generator=seeded(seed + 2))
    return z, targets, nn.functional.one_hot(assigned, VARIABLES + 1).float()


def networks(hidden: int, layers: int) -> tuple[nn.Sequential, nn.Sequential]:
    """A network that has learned something, and another in the place of its frozen copy."""
    network = TargetClassifier(LATENTS, VARIABLES, hidden, layers, generator=seeded()).network
    with torch.no_grad():
        for seed, parameter in enumerate(network.parameters()):
            parameter += 0.3 * torch.randn(parameter.shape, generator=seeded(seed))
    frozen = copy.deepcopy(network)
    with torch.no_grad():
        for seed, parameter in enumerate(frozen.parameters()):
            parameter += 0.3 * torch.randn(parameter.shape, generator=seeded(50 + seed))
    return network, frozen.requires_grad_(False)


@pytest.mark.compiled
@pytest.mark.usefixtures("processor", "threads")
@pytest.mark.parametrize(("layers", "hidden", "batch"), [(1, 20, 1), (1, 64, 40), (3, 11, 30)])
@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("alike", [False, True])
def test_compiled_losses_and_gradients(layers: int, hidden: int, batch: int, conditional: bool, alike: bool) -> None:
    network, frozen = networks(hidden, layers)
    if alike:
        frozen.load_state_dict(network.state_dict())
    z, targets, sample = inputs(batch)
    mean = torch.rand(VARIABLES, generator=seeded(8))
    given = torch.rand(VARIABLES, 2, VARIABLES, generator=seeded(9)) if conditional else None
    results = []
    for dtype in (torch.float32, torch.float64):
        own, copied = (network, frozen) if dtype == torch.float32 else (in_double(network), in_double(frozen))
        learned = [one.to(dtype, copy=True).requires_grad_() for one in (z, sample)]
        means = mean.to(dtype), None if given is None else given.to(dtype)
        if dtype == torch.float32:
            losses = target_losses(*learned, targets, means, own, copied, alike)
        else:
            losses = target_losses_reference(*learned, targets.to(dtype), means, own, copied)
        learned += own.parameters()
        results.append([*losses, *torch.autograd.grad(2 * losses[0] + 3 * losses[1], learned)])
    require_close(*results)


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
def test_compiled_losses_of_large_logits_are_finite_and_of_no_number_none() -> None:
    network, frozen = networks(20, 1)
    with torch.no_grad():
        network[-1].bias.copy_(torch.tensor([1e4, -1e4, 0.0]))
    z, targets, sample = inputs()
    means = torch.full((VARIABLES,), 0.5), None
    losses = target_losses(z, sample, targets, means, network, frozen, False)
    exact = target_losses_reference(
        z.double(), sample.double(), targets.double(), (means[0].double(), None), in_double(network), in_double(frozen)
    )
    torch.testing.assert_close(losses, exact, check_dtype=False)
    z[0, 0, 0] = torch.nan
    assert all(loss.isnan() for loss in target_losses(z, sample, targets, means, network, frozen, False))


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("loss", [0, 1])
def test_either_loss_alone_has_gradients(loss: int) -> None:
    network, frozen = networks(20, 1)
    z, targets, sample = inputs()
    learned = [z.requires_grad_(), sample.requires_grad_(), *network.parameters()]
    means = torch.full((VARIABLES,), 0.5), None
    losses = target_losses(z, sample, targets, means, network, frozen, False)
    gradients = torch.autograd.grad(losses[loss], learned, allow_unused=True)
    assert [one is None for one in gradients[:2]] == [loss == 0] * 2
    assert {one is None for one in gradients[2:]} == {loss == 1}


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
def test_running_means_are_those_of_the_reference() -> None:
    def start(dtype: torch.dtype) -> list[Tensor]:
        sizes = (), (VARIABLES,), (VARIABLES, 2), (VARIABLES, 2, VARIABLES)
        return [torch.zeros(size, dtype=dtype) + 0.5 * (number % 2) for number, size in enumerate(sizes)]

    ours, theirs = start(torch.float32), start(torch.float64)
    for seed, rows in enumerate((1, 7, 40)):
        targets = (torch.rand(rows, VARIABLES, generator=seeded(seed)) < 0.4).float()
        targets[:, 2] = 0  # never intervened on: what comes with it is not known
        update_target_means(targets, *ours)
        update_target_means_reference(targets.double(), *theirs)
        require_close(ours, theirs)
    assert ours[0] == 48
    assert ours[2][2].tolist() == [48, 0]
    assert (ours[3][2, 1] == 0.5).all()
