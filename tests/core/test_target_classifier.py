"""The target classifier: its masks, its two losses and whom each of them teaches, its running means and frozen copy."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from citris_cli.core.target_classifier import TargetClassifier

LATENTS, VARIABLES, HIDDEN = 4, 3, 6


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(**options) -> TargetClassifier:
    """A classifier that has learned something: its last layer starts at zero, where it teaches the latents nothing."""
    classifier = TargetClassifier(LATENTS, VARIABLES, HIDDEN, generator=seeded(), **options)
    last = classifier.network[-1]
    with torch.no_grad():
        last.weight.normal_(generator=seeded(1))
        last.bias.normal_(generator=seeded(2))
    classifier.frozen.load_state_dict(classifier.network.state_dict())
    return classifier


def inputs(batch: int = 5, steps: int = 2, seed: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Latents [B, T, M], targets [B, T-1, K], one-hot samples [B, M, K+1] that differ from window to window."""
    z = torch.randn(batch, steps + 1, LATENTS, generator=seeded(seed))
    targets = (torch.rand(batch, steps, VARIABLES, generator=seeded(seed + 1)) < 0.4).int()
    assigned = torch.randint(0, VARIABLES + 1, (batch, LATENTS), generator=seeded(seed + 2))
    return z, targets, torch.nn.functional.one_hot(assigned, VARIABLES + 1).float()


def plain_input(z: Tensor, sample: Tensor, b: int, t: int, mask: int) -> Tensor:
    """[z^t, z^{t+1} * m, m] of one window, step and mask."""
    m = torch.ones(LATENTS) if mask == VARIABLES + 1 else sample[b, :, mask]
    return torch.cat([z[b, t], z[b, t + 1] * m, m])


def test_the_network_sees_one_mask_a_variable_then_psi_0_then_everything() -> None:
    classifier = make().eval()
    z, targets, sample = inputs()
    seen: list[Tensor] = []
    classifier.network.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    with torch.no_grad():  # when PyTorch computes
        classifier(z, targets, sample)
    (found,) = seen
    assert found.shape == (5, 2, VARIABLES + 2, 3 * LATENTS)
    for b, t, mask in np.ndindex(5, 2, VARIABLES + 2):
        assert torch.equal(found[b, t, mask], plain_input(z, sample, b, t, mask))


@pytest.mark.parametrize("conditional", [False, True])
def test_the_losses_are_those_of_the_plain_loop(conditional: bool) -> None:
    classifier = make(conditional=conditional).eval()
    classifier.mean.copy_(torch.tensor([0.1, 0.2, 0.3]))
    classifier.conditional_mean.copy_(torch.rand(VARIABLES, 2, VARIABLES, generator=seeded(9)))
    z, targets, sample = inputs()
    model, latents = [], []
    for b, t, mask, i in np.ndindex(5, 2, VARIABLES + 2, VARIABLES):
        logit = classifier.network(plain_input(z, sample, b, t, mask))[i]
        truth = targets[b, t, i].float()
        model.append(binary_cross_entropy_with_logits(logit, truth))
        if mask in (i, VARIABLES + 1):
            latents.append(VARIABLES * binary_cross_entropy_with_logits(logit, truth))
        else:
            desired = classifier.mean[i]
            if conditional and mask < VARIABLES:
                desired = classifier.conditional_mean[mask, targets[b, t, mask], i]
            latents.append(binary_cross_entropy_with_logits(logit, desired))
    loss_model, loss_z = classifier(z, targets, sample)
    scale = (VARIABLES + 2) * 2
    torch.testing.assert_close(loss_model, scale * torch.stack(model).mean())
    torch.testing.assert_close(loss_z, scale * torch.stack(latents).mean())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_each_loss_teaches_only_its_own(momentum: float) -> None:
    classifier = make(momentum=momentum).train()
    z, targets, sample = inputs()
    z.requires_grad_()
    sample.requires_grad_()
    network = list(classifier.network.parameters())
    loss_model, loss_z = classifier(z, targets, sample)
    to_model = torch.autograd.grad(loss_model, [*network, z, sample], retain_graph=True, allow_unused=True)
    assert to_model[-2:] == (None, None)
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in to_model[:-2])
    to_latents = torch.autograd.grad(loss_z, [*network, z, sample], allow_unused=True)
    assert all(gradient is None for gradient in to_latents[:-2])
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in to_latents[-2:])
    assert not any(parameter.requires_grad for parameter in classifier.frozen.parameters())


def test_at_the_start_nothing_is_known_and_the_latents_are_taught_nothing() -> None:
    classifier = TargetClassifier(LATENTS, VARIABLES, HIDDEN, generator=seeded()).train()
    z, targets, sample = inputs()
    z.requires_grad_()
    loss_model, loss_z = classifier(z, targets, sample)
    torch.testing.assert_close(loss_model, torch.tensor((VARIABLES + 2) * 2 * np.log(2), dtype=torch.float32))
    loss_z.backward()
    assert z.grad is not None
    assert (z.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # compiled where that is possible, and PyTorch's
def test_running_means_are_those_of_all_targets_seen(dtype: torch.dtype) -> None:
    classifier = make().to(dtype).train()
    seen = []
    for batch, steps in ((5, 1), (3, 2), (40, 1)):
        z, targets, sample = inputs(batch, steps, seed=10 * batch)
        targets[..., 2] = 0  # never intervened on: what comes with it is not known
        classifier(z.to(dtype), targets, sample.to(dtype))
        seen.append(targets.reshape(-1, VARIABLES).numpy())
    rows = np.concatenate(seen)
    np.testing.assert_allclose(classifier.mean, rows.mean(0), atol=1e-6)
    for j in range(VARIABLES):
        for value in (0, 1):
            given = rows[rows[:, j] == value]
            expected = given.mean(0) if len(given) else np.full(VARIABLES, 0.5)
            np.testing.assert_allclose(classifier.conditional_mean[j, value], expected, atol=1e-6)
            assert classifier.conditional_count[j, value] == len(given)
    assert classifier.conditional_count[2, 1] == 0


def test_the_frozen_copy_follows_with_momentum() -> None:
    classifier = make(momentum=0.9).train()
    expected = copy.deepcopy(classifier.frozen[0].weight)
    for step in range(3):
        with torch.no_grad():
            classifier.network[0].weight.add_(1.0 + step)
        expected = 0.9 * expected + 0.1 * classifier.network[0].weight.detach()
        classifier(*inputs())
        torch.testing.assert_close(classifier.frozen[0].weight.detach(), expected)


def test_without_momentum_the_frozen_copy_is_the_classifier() -> None:
    classifier = make(momentum=0.0).train()
    with torch.no_grad():
        for parameter in classifier.network.parameters():
            parameter.add_(1.0)
    classifier(*inputs())
    for frozen, current in zip(classifier.frozen.parameters(), classifier.network.parameters(), strict=True):
        torch.testing.assert_close(frozen, current.detach())


def test_evaluation_moves_nothing() -> None:
    classifier = make(momentum=0.5).eval()
    with torch.no_grad():
        classifier.network[0].weight.add_(1.0)
    before = copy.deepcopy(classifier.state_dict())
    classifier(*inputs())
    assert all(torch.equal(before[name], value) for name, value in classifier.state_dict().items())


@pytest.mark.parametrize(("layers", "widths"), [(1, [12]), (3, [12, 6, 6])])
def test_widths_of_the_hidden_layers(layers: int, widths: list[int]) -> None:
    classifier = make(layers=layers)
    linear = [module for module in classifier.network if isinstance(module, torch.nn.Linear)]
    assert [module.out_features for module in linear] == [*widths, VARIABLES]
    assert linear[0].in_features == 3 * LATENTS
    loss_model, loss_z = classifier(*inputs())
    assert loss_model.isfinite()
    assert loss_z.isfinite()
