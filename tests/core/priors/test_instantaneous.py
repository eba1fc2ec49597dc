"""iCITRIS's prior: who sees what, by every way of computing it."""

from functools import partial

import pytest
import torch
from torch import Tensor

from citris_cli.core.config import ICitrisPriorConfig
from citris_cli.core.ops.graph_losses import ONE_IN, graph_losses, graph_losses_reference, samples_scored
from citris_cli.core.ops.owner_networks import Sight, owner_networks, owner_networks_reference
from citris_cli.core.priors import InstantaneousPrior

BATCH, SAMPLES, LATENTS, VARIABLES = 40, 2, 5, 3
OWNERS = [0, 1, 1, 2, 0]


def prior_of(**settings: object) -> InstantaneousPrior:
    generator = torch.Generator().manual_seed(0)
    prior = InstantaneousPrior(LATENTS, VARIABLES, 6, ICitrisPriorConfig(**settings), generator)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in prior.networks.parameters():  # not all zeros in the last map, no gain of 1
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    return prior.double()


def sight_of(prior: InstantaneousPrior, graphs: int = 3) -> tuple[Sight, Tensor]:
    generator = torch.Generator().manual_seed(1)
    nodes = prior.graph.nodes
    z_t, z_t1 = torch.randn(2, BATCH, SAMPLES, LATENTS, generator=generator, dtype=torch.float64)
    targets = (torch.rand(BATCH, VARIABLES, generator=generator) < 0.3).double()
    owners = torch.randint(nodes, (BATCH, LATENTS), generator=generator)
    psi = torch.eye(nodes, dtype=torch.float64)[owners]
    drawn = (torch.rand(BATCH, graphs, nodes, nodes, generator=generator) < 0.5).double() * prior.graph.allowed
    return Sight(z_t, z_t1.requires_grad_(), prior.graph.of_nodes(targets), psi.requires_grad_()), drawn


FORMS = [{"autoregressive": autoregressive, "psi0": psi0} for autoregressive in (False, True) for psi0 in (False, True)]


@pytest.mark.parametrize("settings", FORMS, ids=str)
def test_rows_in_chunks_are_the_networks_by_definition(settings: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("citris_cli.core.ops.owner_networks.CHUNK", 64 * LATENTS * 6 + 1)  # several chunks and a rest
    prior = prior_of(**settings)
    sight, graphs = sight_of(prior)
    graphs.requires_grad_()
    weights = torch.randn(2, BATCH, 3, prior.graph.nodes, SAMPLES, LATENTS, dtype=torch.float64)
    found = []
    for form in (owner_networks, owner_networks_reference):
        out = form(prior.networks, sight, graphs)
        loss = (weights[0] * out[0] + weights[1] * out[1]).sum()
        seen = [sight.z_t1, sight.psi, graphs, *prior.networks.parameters()]
        found.append([*out, *torch.autograd.grad(loss, seen)])
    for ours, reference in zip(*found, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("settings", FORMS, ids=str)
def test_what_is_not_evaluated_is_known_without(settings: dict) -> None:
    prior = prior_of(**settings)
    sight, graphs = sight_of(prior)
    graphs = torch.cat([graphs, graphs[:, :2]], dim=1)  # some are the same
    pi = torch.rand(LATENTS, prior.graph.nodes, dtype=torch.float64).softmax(-1)
    found = []
    for form in (graph_losses_reference, partial(graph_losses, exact=False)):
        value, losses = form(prior.networks, sight, graphs, pi, 1e-4, samples_scored(sight.z_t1))
        assert not losses.requires_grad
        found.append([value, losses, *torch.autograd.grad(value.sum(), [sight.z_t1, *prior.networks.parameters()])])
    for reference, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-6, atol=1e-8)


def test_what_is_unlikely_counts_the_same_on_average() -> None:
    prior = prior_of()
    sight, graphs = sight_of(prior, 1)
    pi = torch.full((LATENTS, prior.graph.nodes), 1e-5, dtype=torch.float64)
    pi[:, 0] = 1
    expected = graph_losses_reference(prior.networks, sight, graphs, pi, 1e-4, samples_scored(sight.z_t1))[0]
    total = 0.0
    for shift in range(0, BATCH, BATCH // ONE_IN):  # every row is once among those that are asked
        moved = Sight(*(part.roll(-shift, 0) for part in sight))
        value, _ = graph_losses(
            prior.networks, moved, graphs.roll(-shift, 0), pi, 1e-4, samples_scored(moved.z_t1), exact=False
        )
        total += value.mean().item()
    assert total / ONE_IN == pytest.approx(expected.mean().item(), rel=1e-9)
    one = graph_losses(prior.networks, sight, graphs, pi, 1e-4, samples_scored(sight.z_t1), exact=False)[0].detach()
    assert not torch.allclose(one, expected)


@pytest.mark.parametrize("autoregressive", [False, True])
def test_a_latent_sees_the_past_and_its_parents_and_under_intervention_no_parents(autoregressive: bool) -> None:
    prior = prior_of(autoregressive=autoregressive, psi0=False)
    psi = torch.eye(VARIABLES, dtype=torch.float64)[OWNERS].unsqueeze(0)
    graph = torch.zeros(1, 1, VARIABLES, VARIABLES, dtype=torch.float64)
    graph[..., 0, 1] = 1  # 0 -> 1
    z_t = torch.randn(LATENTS, dtype=torch.float64)
    z = torch.randn(LATENTS, dtype=torch.float64)

    def means(z_t: Tensor, z_t1: Tensor, targets: list[float]) -> Tensor:
        told = torch.tensor([targets], dtype=torch.float64)
        mean, _ = prior.gaussians(z_t.view(1, 1, -1), z_t1.view(1, 1, -1), told, psi, graph)
        return mean[0, 0, :, 0]  # [N, M]

    def seen(targets: list[float]) -> Tensor:
        return torch.autograd.functional.jacobian(lambda z: means(z_t, z, targets), z) != 0  # [N, M, M]

    earlier = torch.ones(LATENTS, LATENTS).tril(-1).bool() & autoregressive
    of = torch.tensor(OWNERS)
    for targets in ([0.0, 0.0, 0.0], [0.0, 1.0, 0.0]):
        found = seen(targets)
        for node in range(VARIABLES):
            parents = (of == 0) & (node == 1) & (targets[1] == 0)
            others = ~torch.eye(LATENTS, dtype=torch.bool)
            expected = (parents & others) | ((of == node) & earlier)
            assert torch.equal(found[node], expected), (node, targets)
    past = torch.autograd.functional.jacobian(lambda z_t: means(z_t, z, [0.0, 1.0, 0.0]), z_t)
    assert (past != 0).all()  # the earlier frame, always


def test_draws_go_from_causes_to_effects() -> None:
    prior = prior_of(psi0=False)
    with torch.no_grad():
        prior.graph.theta.fill_(-5.0)
        for cause, effect in ((2, 0), (0, 1)):
            prior.graph.theta[cause, effect] = 5.0
    owners = torch.tensor(OWNERS)
    z_t = torch.randn(1, LATENTS, dtype=torch.float64)
    targets = torch.zeros(1, VARIABLES)
    drawn = prior.sample(z_t, targets, owners, torch.Generator().manual_seed(0), temperature=0.0)
    psi = torch.eye(VARIABLES, dtype=torch.float64)[owners].unsqueeze(0)
    graph = prior.learned_graph().acyclic.double().expand(1, 1, -1, -1)
    mean, _ = prior.gaussians(z_t.unsqueeze(1), drawn.unsqueeze(1), targets, psi, graph)
    own = mean[0, 0, owners, 0, torch.arange(LATENTS)]
    torch.testing.assert_close(drawn[0], own)  # every latent is what its parents, as drawn, make it
    with torch.no_grad():
        prior.graph.theta[1, 2] = 3.0  # a cycle, whose least certain edge is left out
    assert prior.learned_graph().dropped == ((1, 2),)
    again = prior.sample(z_t, targets, owners, torch.Generator().manual_seed(0), temperature=0.0)
    torch.testing.assert_close(again, drawn)


@pytest.mark.parametrize("autoregressive", [False, True])
def test_what_is_known_of_the_later_frame_stays_and_is_followed(autoregressive: bool) -> None:
    prior = prior_of(autoregressive=autoregressive)
    with torch.no_grad():
        prior.graph.gamma.fill_(-5.0)
        prior.graph.gamma[0, 1] = 5.0  # 0 -> 1, and 2 by itself
        prior.graph.theta[0, 1], prior.graph.theta[1, 0] = 3.0, -3.0
    owners = torch.tensor(OWNERS)
    z_t = torch.randn(2, LATENTS, dtype=torch.float64)
    known = torch.full((2, LATENTS), torch.nan, dtype=torch.float64)
    known[:, owners == 0] = torch.tensor([[1.0, -1.0], [2.0, 3.0]], dtype=torch.float64)
    targets = torch.tensor([[1.0, 0.0, 0.0]]).expand(2, -1)
    z_t[1] = z_t[0]

    def drawn(known: Tensor) -> Tensor:
        return prior.sample_beside(known, z_t, targets, owners, torch.Generator().manual_seed(0), temperature=0.0)

    after = drawn(known)
    torch.testing.assert_close(after[:, owners == 0], known[:, owners == 0])
    assert (after[0, owners == 1] != after[1, owners == 1]).all()  # the child follows what is known
    torch.testing.assert_close(after[0, owners == 2], after[1, owners == 2])
    everything = torch.randn(2, LATENTS, dtype=torch.float64)
    torch.testing.assert_close(drawn(everything), everything)


def test_stages_are_shares_of_the_run() -> None:
    prior = prior_of(graph_start=0.1, graph_full=0.3, parents_start=0.2, parents_full=0.7)
    at = {share: prior.schedule(share) for share in (0.0, 0.1, 0.2, 0.45, 0.7, 1.0)}
    assert [at[share]["graph"] for share in (0.0, 0.1, 0.2, 0.45)] == pytest.approx([0.0, 0.0, 0.5, 1.0])
    assert [at[share]["parents"] for share in (0.0, 0.2, 0.45, 0.7, 1.0)] == pytest.approx(
        [0.004, 0.004, 0.502, 1.0, 1.0]
    )
    notears = prior_of(graph_learning="notears")
    factors = [notears.schedule(share)["acyclicity"] for share in (0.0, 0.55, 1.0)]
    assert factors == pytest.approx([2.7183**-6, 2.7183**-1, 2.7183**4], rel=1e-3)
    graph, _ = prior.parameter_groups()
    assert graph.schedule is not None
    assert graph.schedule(0.2) == pytest.approx(0.5)
