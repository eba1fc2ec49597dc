"""The estimate of what a variable that was set still tells of its past and parents."""

import math

import torch

from citris_cli.core.mutual_information import MutualInformationEstimator, intervened_groups


def test_steps_are_shuffled_among_those_that_set_the_same_variable() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(50, 3, generator=generator) < 0.4).to(torch.uint8)
    groups = intervened_groups(targets, generator)
    moved = 0
    for k in range(3):
        own = (groups.variable == k) & (groups.weight > 0)
        setting = targets[:, k].nonzero().flatten().tolist()
        assert groups.step[own].tolist() == setting
        assert sorted(groups.other[own].tolist()) == setting
        moved += int((groups.other[own] != groups.step[own]).sum())
    assert moved > 30
    assert groups.weight.sum() == targets.sum()


def test_it_finds_what_depends_and_tells_the_latents_only_that() -> None:
    generator = torch.Generator().manual_seed(0)
    found = []
    for depends in (True, False):
        estimator = MutualInformationEstimator(2, 1, 8, generator)
        optimizer = torch.optim.Adam(estimator.network.parameters(), 1e-2)
        psi, graph = torch.ones(256, 2, 1), torch.zeros(256, 1, 1)
        targets = torch.ones(256, 1)
        for _ in range(150):
            z_t = torch.randn(256, 2, generator=generator)
            z = (z_t if depends else torch.randn(256, 2, generator=generator)).clone().requires_grad_()
            loss_model, loss_z = estimator(z_t, z, psi, graph, intervened_groups(targets, generator))
            optimizer.zero_grad()
            loss_model.backward()
            optimizer.step()
        found.append((float(loss_model), float(loss_z)))
        estimator.zero_grad()
        assert torch.autograd.grad(loss_z, z)[0].abs().sum() > 0
        assert all(parameter.grad is None for parameter in estimator.network.parameters())
    assert found[0][0] < 0.2 < 0.65 < found[1][0]
    assert found[0][1] > 2 > found[1][1]


def test_where_nothing_was_set_there_is_nothing_to_tell() -> None:
    estimator = MutualInformationEstimator(3, 2, 4)
    z_t, z_t1 = torch.randn(2, 5, 3)
    psi, graphs = torch.eye(2)[[0, 1, 0]].expand(5, 3, 2), torch.zeros(5, 2, 2)
    targets = torch.zeros(5, 2)
    losses = estimator(z_t, z_t1, psi, graphs, intervened_groups(targets, None))
    assert [float(loss) for loss in losses] == [0.0, 0.0]
    losses = estimator(z_t, z_t1, psi, graphs, intervened_groups(targets + 1, None))
    assert [float(loss) for loss in losses] == [math.log(2)] * 2 or torch.allclose(
        torch.stack(losses), torch.full((2,), math.log(2))
    )
