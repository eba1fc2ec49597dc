"""iCITRIS's parts against their formulas written down with loops, in float64, for weights of our own drawing."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from citris_cli.core.config import ICitrisPriorConfig
from citris_cli.core.graph import EncoGraph
from citris_cli.core.graph_classifier import GraphTargetClassifier
from citris_cli.core.mutual_information import Groups, MutualInformationEstimator
from citris_cli.core.priors import Given, InstantaneousPrior

BATCH, SAMPLES, LATENTS, VARIABLES, GRAPHS = 4, 2, 4, 2, 3


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def drawn(module: nn.Module) -> nn.Module:
    """In float64, no weight as it starts."""
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.6 * torch.randn(parameter.shape))
    return module


def hidden(x: Tensor, weight: Tensor, bias: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    """A linear map, LayerNorm and SiLU of one vector."""
    x = weight @ x + bias
    x = (x - x.mean()) / torch.sqrt(((x - x.mean()) ** 2).mean() + 1e-5) * gain + offset
    return x / (1 + torch.exp(-x))


def owned(
    prior: InstantaneousPrior, m: int, k: int, seen: tuple[Tensor, Tensor], u: list[float], target: float
) -> Tensor:
    """Mean and log-std that network m gives as if latent m were k's."""
    nets, (z_t, z_t1) = prior.networks, seen
    shown = [target if k == i else 0.0 for i in range(VARIABLES)]
    x = [*(float(z) * v for z, v in zip(z_t1, u, strict=True)), *(2 * v - 1 for v in u), *shown, *z_t.tolist()]
    h = torch.tensor(x, dtype=torch.float64)
    h = hidden(h, nets.first_weight[m], nets.first_bias[m], nets.first_gain[m], nets.first_offset[m])
    h = hidden(h, nets.middle_weight[m], nets.middle_bias[m], nets.middle_gain[m], nets.middle_offset[m])
    h, s = nets.last_weight[m] @ h + nets.last_bias[m], nets.log_bounds[m].exp()
    return s * torch.tanh(h / s)


@pytest.mark.parametrize("psi0", [False, True])
@pytest.mark.parametrize("autoregressive", [False, True])
def test_prior_and_its_graph(autoregressive: bool, psi0: bool) -> None:
    config = ICitrisPriorConfig(autoregressive=autoregressive, psi0=psi0, graph_samples=GRAPHS, sparsity=0.3)
    prior = drawn(InstantaneousPrior(LATENTS, VARIABLES, 3, config))
    assert isinstance(prior, InstantaneousPrior)
    graph, nodes = prior.graph, VARIABLES + psi0
    assert isinstance(graph, EncoGraph)
    z_t, z_t1 = torch.randn(2, BATCH, SAMPLES, LATENTS, dtype=torch.float64)
    targets = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=torch.float64)
    owner = torch.randint(nodes, (BATCH, LATENTS))
    pi = torch.randn(LATENTS, nodes, dtype=torch.float64).softmax(-1)
    graphs = (torch.rand(BATCH, GRAPHS, nodes, nodes) < 0.5).double() * graph.allowed
    prior.graph.sample = lambda *_, **__: graphs  # type: ignore[method-assign]
    found = prior.train().nll(z_t, z_t1, Given(targets, pi, torch.eye(nodes, dtype=torch.float64)[owner]))

    lost = torch.zeros(BATCH, GRAPHS, nodes, LATENTS, dtype=torch.float64)
    set_ = [[*row, 0.0][:nodes] for row in targets.tolist()]
    for b, g, k, m, s in itertools.product(*map(range, (BATCH, GRAPHS, nodes, LATENTS, SAMPLES))):
        u = [0.0] * LATENTS
        for j in range(LATENTS):
            of = int(owner[b, j])
            u[j] = (1 - set_[b][k]) * float(graphs[b, g, of, k]) if j != m else 0.0
            u[j] += 1.0 if autoregressive and of == k and j < m else 0.0
        mean, log_std = owned(prior, m, k, (z_t[b, s], z_t1[b, s]), u, set_[b][k])
        for other in range(SAMPLES):
            error = (z_t1[b, other, m] - mean) / log_std.exp()
            nll = 0.5 * error**2 + log_std + 0.5 * math.log(2 * math.pi)
            lost[b, g, k, m] += nll.detach() / SAMPLES**2
    value = [
        sum(float((pi[m, k] + 1e-4) * lost[b, 0, k, m]) for k in range(nodes) for m in range(LATENTS))
        for b in range(BATCH)
    ]
    pull = 0.01 * float((1 - pi[:, -1]).mean()) if psi0 else 0.0
    torch.testing.assert_close(found.value, torch.tensor(value, dtype=torch.float64) + pull)

    of_node = torch.einsum("bgkm,mk->bgk", lost, pi)
    of_gamma, half = torch.zeros(2, nodes, nodes, dtype=torch.float64)
    for b, i, j in itertools.product(range(BATCH), range(nodes), range(nodes)):
        having = [float(of_node[b, g, j]) for g in range(GRAPHS) if graphs[b, g, i, j]]
        without = [float(of_node[b, g, j]) for g in range(GRAPHS) if not graphs[b, g, i, j]]
        if i == j or not having or not without:
            continue
        worth = sum(having) / len(having) - sum(without) / len(without)
        exists = graph.gamma[i, j].sigmoid().item()
        points = 1.0 if psi0 and i == nodes - 1 else graph.theta[i, j].sigmoid().item()
        of_gamma[i, j] += exists * (1 - exists) * points * (worth + 0.3) * (1 - set_[b][j]) / BATCH
        half[i, j] += points * (1 - points) * exists * worth * set_[b][i] * (1 - set_[b][i] * set_[b][j]) / BATCH
    found.terms["sparsity"].backward()
    assert graph.gamma.grad is not None
    torch.testing.assert_close(graph.gamma.grad, of_gamma)
    torch.testing.assert_close(graph.theta.grad, half - half.T)


def through(network: nn.Sequential, x: Tensor) -> Tensor:
    """A network of Linear, LayerNorm, SiLU, …, Linear, for one vector."""
    layers = list(network)
    for first in range(0, len(layers) - 1, 3):
        linear, norm = layers[first], layers[first + 1]
        x = hidden(x, linear.weight, linear.bias, norm.weight, norm.bias)
    return layers[-1].weight @ x + (0.0 if layers[-1].bias is None else layers[-1].bias)


def test_mutual_information() -> None:
    estimator = drawn(MutualInformationEstimator(LATENTS, VARIABLES, 3)).eval()
    z_t, z_t1 = torch.randn(2, BATCH, LATENTS, dtype=torch.float64)
    owner = torch.randint(VARIABLES, (BATCH, LATENTS))
    graphs = torch.tensor([[0, 1], [0, 0]], dtype=torch.float64).expand(BATCH, -1, -1)
    entries = [(0, 1, 2, 1.0), (2, 1, 0, 1.0), (3, 0, 3, 1.0), (1, 0, 2, 0.0)]
    groups = Groups(*(torch.tensor(column) for column in zip(*entries, strict=True)))
    psi = torch.eye(VARIABLES, dtype=torch.float64)[owner]
    loss_model, loss_z = estimator(z_t, z_t1, psi, graphs, groups)
    of_model, of_z = [], []
    for step, k, other, weight in entries:
        role = [-1.0 if o == k else float(graphs[step, o, k]) for o in owner[step].tolist()]
        kind = [1.0 if k == i else 0.0 for i in range(VARIABLES)]
        scores: dict[str, list[Tensor]] = {"network": [], "frozen": []}
        for shuffled in (False, True):
            z = [float(z_t1[other if shuffled and r < 0 else step, m]) * abs(r) for m, r in enumerate(role)]
            x = torch.tensor([*z_t[step].tolist(), *z, *role, *kind], dtype=torch.float64)
            for name, found in scores.items():
                found.append(through(getattr(estimator, name), x)[0])
        (real, fake), (copy_real, copy_fake) = scores["network"], scores["frozen"]
        if weight:
            of_model.append(torch.log(real.exp() + fake.exp()) - real + 0.001 * (real**2 + fake**2) / 2)
            of_z.append(torch.log(copy_real.exp() + copy_fake.exp()) - copy_fake)
    torch.testing.assert_close(loss_model, torch.stack(of_model).mean())
    torch.testing.assert_close(loss_z, torch.stack(of_z).mean())


@pytest.mark.parametrize("psi0", [False, True])
def test_target_classifier(psi0: bool) -> None:
    variables, nodes = 3, 3 + psi0
    classifier = drawn(GraphTargetClassifier(LATENTS, variables, 3))
    assert isinstance(classifier, GraphTargetClassifier)
    seen = (torch.rand(60, variables) < 0.4).double()
    classifier.eval().seen.add(seen)
    z = torch.randn(BATCH, 2, LATENTS, dtype=torch.float64)
    targets = (torch.rand(BATCH, 1, variables) < 0.5).double()
    owner = torch.randint(nodes, (BATCH, LATENTS))
    graphs = torch.zeros(BATCH, nodes, nodes, dtype=torch.float64)
    graphs[:, 0, 1] = graphs[1:, 2, 1] = 1
    if psi0:
        graphs[:, -1, 0] = 1  # which the classifier does not see: psi(0) has no target
    loss_model, loss_z = classifier(z, targets, torch.eye(nodes, dtype=torch.float64)[owner], graphs)

    def cross_entropy(logit: Tensor, label: float) -> float:
        p = float(logit.detach().sigmoid())
        return -label * math.log(p) - (1 - label) * math.log(1 - p)

    of_model = of_z = 0.0
    for b, number in itertools.product(range(BATCH), range(variables + 2)):
        parents = [i for i in range(variables) if number < variables and graphs[b, i, number]]
        family = [*parents, number] if number < variables else [variables] if psi0 and number == variables else []
        mask = [1.0 if number == variables + 1 or o in family else 0.0 for o in owner[b].tolist()]
        shown = [float(value) * m for value, m in zip(z[b, 1], mask, strict=True)]
        x = torch.tensor([*z[b, 0].tolist(), *shown, *mask], dtype=torch.float64)
        logits, read = through(classifier.network, x), through(classifier.frozen, x)
        for j in range(variables):
            truth = float(targets[b, 0, j])
            of_model += cross_entropy(logits[j], truth)
            if number == variables + 1 or j == number:
                of_z += variables * cross_entropy(read[j], truth)
            elif number == variables:
                of_z += cross_entropy(read[j], float(seen[:, j].mean()))
            elif j not in parents:
                of_z += cross_entropy(read[j], _expected(seen, family, read, j))
    scale = (variables + 2) / (BATCH * (variables + 2) * variables)
    torch.testing.assert_close(float(loss_model.detach()), of_model * scale)
    torch.testing.assert_close(float(loss_z), of_z * scale, rtol=1e-6, atol=1e-6)


def _expected(seen: Tensor, known: list[int], read: Tensor, j: int) -> float:
    total = 0.0
    for values in itertools.product((0.0, 1.0), repeat=len(known)):
        likely, rows = 1.0, torch.ones(len(seen), dtype=torch.bool)
        for i, value in zip(known, values, strict=True):
            p = float(read[i].sigmoid())
            likely *= p if value else 1 - p
            rows &= seen[:, i] == value
        total += likely * float((seen[rows] if rows.any() else seen)[:, j].mean())
    return total
