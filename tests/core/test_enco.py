"""ENCO's estimates, held to the definition written out edge by edge."""

import math

import torch

from citris_cli.core import enco


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_gradients_are_those_of_the_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    batch, number, count, sparsity = 5, 6, 3, 0.02
    graphs = (torch.rand(batch, number, count, count, generator=generator) < 0.5).double()
    graphs[0, :, 0, 1] = 1  # never without this edge: nothing is learnt of it there
    losses = torch.randn(batch, number, count, generator=generator).double()
    targets = (torch.rand(batch, count, generator=generator) < 0.4).double()
    gamma = torch.randn(count, count, generator=generator).double()
    theta = torch.randn(count, count, generator=generator).double()
    theta = theta - theta.T
    evidence = enco.edge_evidence(graphs, losses)
    existence = enco.existence_gradient(gamma, theta.sigmoid(), evidence, targets, sparsity)
    orientation = enco.orientation_gradient(gamma, theta, evidence, targets)
    one_way = torch.zeros(count, count).double()
    for i in range(count):
        for j in range(count):
            g, t = sigmoid(gamma[i, j].item()), sigmoid(theta[i, j].item())
            expected = 0.0
            for b in range(batch):
                having = [losses[b, n, j].item() for n in range(number) if graphs[b, n, i, j]]
                lacking = [losses[b, n, j].item() for n in range(number) if not graphs[b, n, i, j]]
                if not having or not lacking:
                    continue
                difference = sum(having) / len(having) - sum(lacking) / len(lacking)
                if not targets[b, j]:
                    expected += g * (1 - g) * t * (difference + sparsity) / batch
                if targets[b, i] and not targets[b, j]:
                    one_way[i, j] += t * (1 - t) * g * difference / batch
            assert math.isclose(existence[i, j].item(), expected, abs_tol=1e-12)
    assert torch.allclose(orientation, one_way - one_way.T)
    assert torch.equal(orientation, -orientation.T)
    assert evidence.seen[0, 0, 1] == 0


def test_a_graph_has_an_edge_that_is_likely_and_leads_this_way() -> None:
    gamma = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    theta = torch.tensor([[0.0, 2.0], [-2.0, 0.0]])
    assert enco.adjacency(gamma).tolist() == [[True, True], [True, False]]
    assert enco.adjacency(gamma, theta).tolist() == [[False, True], [False, False]]
    assert enco.edge_probabilities(gamma, theta)[0, 0] == gamma.sigmoid()[0, 0] / 2


def test_samples_have_the_edges_probabilities() -> None:
    likely = torch.tensor([[0.0, 1.0], [0.25, 0.75]])
    drawn = enco.sample_graphs(likely, (40, 100), torch.Generator().manual_seed(0))
    assert drawn.shape == (40, 100, 2, 2)
    assert torch.allclose(drawn.float().mean((0, 1)), likely, atol=0.03)
