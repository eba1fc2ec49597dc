"""Graphs of effects within a step: what is learned of their edges, and what is made of cycles."""

import pytest
import torch

from citris_cli.core.graph import (
    EncoGraph,
    InstantaneousGraph,
    NotearsGraph,
    ancestors,
    cycle_in,
    depths,
    with_ancestors,
    without_cycles,
)


def made(kind: str, psi0: bool, samples: int = 8) -> InstantaneousGraph:
    return EncoGraph(3, psi0, samples, 0.02) if kind == "enco" else NotearsGraph(3, psi0, 0.002)


@pytest.mark.parametrize("psi0", [True, False])
@pytest.mark.parametrize("kind", ["enco", "notears"])
def test_no_node_acts_on_itself_and_nothing_on_psi_0(kind: str, psi0: bool) -> None:
    graph = made(kind, psi0)
    with torch.no_grad():  # whatever the parameters say
        for parameter in graph.parameters():
            parameter.fill_(9.0)
    for edges in (graph.probabilities(), graph.hard(), graph.draw(50, torch.Generator().manual_seed(0)).mean((0, 1))):
        assert edges.shape == (3 + psi0, 3 + psi0)
        assert not edges.diagonal().any()
        if psi0:
            assert not edges[:, -1].any()
            assert (edges[-1, :-1] > 0.99).all()  # it may act on all others


def test_encos_edges_start_nearly_all_there_without_a_direction() -> None:
    p = EncoGraph(3, True, 8, 0.02).probabilities()
    assert torch.allclose(p[0, 1:3], torch.full((2,), 0.491), atol=1e-3)
    assert torch.allclose(p[3, :3], torch.full((3,), 0.982), atol=1e-3)


@pytest.mark.parametrize("kind", ["enco", "notears"])
def test_drawn_edges_are_as_frequent_as_their_probabilities(kind: str) -> None:
    graph = made(kind, True)
    with torch.no_grad():
        for parameter in graph.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    drawn = graph.draw(4000, torch.Generator().manual_seed(0))
    assert set(drawn.unique().tolist()) <= {0.0, 1.0}
    assert torch.allclose(drawn.mean((0, 1)), graph.probabilities(), atol=0.03)


def test_an_edge_is_learned_from_steps_that_did_not_set_its_child() -> None:
    graph = EncoGraph(2, False, 2, 0.1)
    drawn = torch.zeros(1, 2, 2, 2)
    drawn[0, 0, 0, 1] = 1  # the first graph has 0 -> 1, the second has not
    losses = torch.tensor([[[5.0, 1.0], [5.0, 3.0]]])  # with it, 1 loses 2 nats less
    existence, direction = graph.gamma[0, 1].sigmoid(), 0.5
    nothing, parent, child = (torch.tensor([row]) for row in ([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]))
    gamma, theta = graph.gradients(losses, drawn, nothing)
    assert torch.isclose(gamma[0, 1], existence * (1 - existence) * direction * (1.0 - 3.0 + 0.1))
    assert gamma[1, 0] == 0  # which is in neither
    assert not theta.any()  # nothing was set: no direction is told
    gamma, theta = graph.gradients(losses, drawn, parent)
    assert torch.isclose(theta[0, 1], 0.25 * existence * (1.0 - 3.0))
    assert theta[1, 0] == -theta[0, 1]
    gamma, theta = graph.gradients(losses, drawn, child)
    assert gamma[0, 1] == 0
    assert not theta.any()


def test_the_term_of_the_loss_has_the_estimates_for_gradient() -> None:
    graph, generator = EncoGraph(3, True, 4, 0.1), torch.Generator().manual_seed(0)
    drawn, targets = graph.draw(50, generator), (torch.rand(50, 4, generator=generator) < 0.3).float()
    losses = torch.randn(50, 4, 4, generator=generator)
    expected = graph.gradients(losses, drawn, targets)
    term = graph.terms(losses, drawn, targets, 1.0)["sparsity"]
    assert torch.isclose(term, 0.1 * graph.probabilities().sum())
    term.backward()
    assert graph.gamma.grad is not None
    assert torch.allclose(graph.gamma.grad, expected[0])
    assert torch.allclose(graph.theta.grad, expected[1])
    assert torch.equal(graph.theta.grad, -graph.theta.grad.T)


def test_a_graph_that_has_settled_stays_as_it_is() -> None:
    graph = EncoGraph(3, False, 8, 0.02)
    graph.settle()
    assert not graph.fixed
    with torch.no_grad():
        graph.theta.copy_(20 * (torch.ones(3, 3).triu(1) - torch.ones(3, 3).tril(-1)))
        graph.gamma.fill_(20.0)
    graph.settle()
    assert graph.fixed
    with torch.no_grad():
        graph.gamma.fill_(2.0)  # no longer certain
    graph.settle()
    drawn = graph.sample(6, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, torch.ones(3, 3).triu(1).expand(6, 8, 3, 3))
    assert torch.equal(graph.sample(6, None, settled=True), drawn[:, :1])
    assert not graph.terms(torch.randn(6, 8, 3), drawn, torch.zeros(6, 3), 1.0)["sparsity"].requires_grad or (
        torch.autograd.grad(graph.terms(torch.randn(6, 8, 3), drawn, torch.zeros(6, 3), 1.0)["sparsity"], graph.gamma)[
            0
        ]
        .abs()
        .max()
        == 0
    )


def graph_of(edges: list[tuple[int, int]], nodes: int = 4) -> torch.Tensor:
    graph = torch.zeros(nodes, nodes)
    for edge in edges:
        graph[edge] = 1
    return graph


def test_ancestors_are_parents_of_parents() -> None:
    chain = graph_of([(0, 1), (1, 2), (2, 3)])
    assert torch.equal(ancestors(chain), torch.ones(4, 4).triu(1))
    cyclic = graph_of([(0, 1), (1, 2), (2, 1), (2, 3)])
    found = ancestors(cyclic)
    assert found[:, 3].tolist() == [1, 1, 1, 0]
    assert torch.equal(found[:, 1:3], cyclic[:, 1:3])  # nodes on a cycle keep their parents
    generator = torch.Generator().manual_seed(0)
    some = with_ancestors(chain.expand(2000, 4, 4), 0.3, generator)
    assert abs(float((some[:, 0, 3] == 1).float().mean()) - 0.3) < 0.04


def test_the_least_certain_edge_of_every_cycle_goes() -> None:
    graph = graph_of([(0, 1), (1, 2), (2, 0), (2, 3)])
    certainty = torch.full((4, 4), 0.9)
    certainty[1, 2] = 0.6
    assert sorted(cycle_in(graph)) == [0, 1, 2]
    acyclic, dropped = without_cycles(graph, certainty)
    assert dropped == [(1, 2)]
    assert cycle_in(acyclic) == []
    assert torch.equal(acyclic, graph_of([(0, 1), (2, 0), (2, 3)]))
    assert depths(acyclic) == [1, 2, 0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_left_has_no_cycle_and_no_edge_could_stay(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    made = (torch.rand(7, 7, generator=generator) < 0.4).float().fill_diagonal_(0)
    left, dropped = without_cycles(made, torch.rand(7, 7, generator=generator))
    assert cycle_in(left) == []
    assert {tuple(edge) for edge in (made - left).nonzero().tolist()} == set(dropped)
    for edge in dropped:
        more = left.clone()
        more[edge] = 1
        assert cycle_in(more)


def test_the_penalty_on_cycles_is_nothing_without_one() -> None:
    graph = NotearsGraph(3, False, 0.1)
    with torch.no_grad():
        graph.logits.copy_(torch.where(torch.ones(3, 3).triu(1) > 0, 40.0, -40.0))
    sparsity, acyclicity = graph.penalties()
    assert torch.isclose(sparsity, torch.tensor(0.3))
    assert abs(acyclicity) < 1e-5
    with torch.no_grad():
        graph.logits[2, 0] = 40.0
    assert graph.penalties()[1] > 0.5


def test_what_is_told_of_a_graph() -> None:
    graph = EncoGraph(2, True, 8, 0.02)
    with torch.no_grad():
        graph.theta.copy_(torch.tensor([[0.0, 3.0, 0.0], [-3.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
        graph.gamma[2, 0] = -5.0
    told = graph.learned().to_json(["a", "b"])
    assert [(edge["from"], edge["to"]) for edge in told["edges"]] == [("a", "b"), ("psi(0)", "b")]
    assert told["edges"][0]["probability"] == pytest.approx(graph.probabilities()[0, 1].item(), abs=1e-6)
    assert told["cycle_edges"] == []
    assert told["settled"] is False
