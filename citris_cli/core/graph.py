"""The graph of effects within a step, learned together with the variables (Lippe et al., iCITRIS, 2023, section 4).

Nodes are the K intervened variables and, where there is one, psi(0) after them: N = K or K+1. ``G[i, k]`` is 1 iff i
acts on k in the same step. No node acts on itself, and psi(0) acts on others but nothing acts on it: it is never set,
so that no intervention could tell which of two directions is right.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from citris_cli.core.assignment import with_psi_0
from citris_cli.core.enco import Evidence, edge_evidence, existence_gradient, orientation_gradient
from citris_cli.core.initialisation import shapes_only
from citris_cli.core.ops import shares

#: A graph is settled when no edge has a variance ``P (1 - P)`` above this.
SETTLED = 1e-3
#: Logit of ENCO's edges at the start: nearly all are there, and evidence takes them away.
ENCO_START = 4.0
#: How far from its start a logit has to be able to get before it decides anything.
DECIDES = 4.0


class LearnedGraph(NamedTuple):
    """A graph of effects within a step; nodes are the variables and, where there is one, psi(0) last.

    Attributes:
        probabilities: of every edge i -> k [N, N].
        hard: the edges that are more likely there than not, 0 or 1 [N, N]; perhaps with cycles.
        acyclic: the same without the least likely edge of every cycle.
        dropped: these edges (i, k).
        settled: whether every edge was certain enough for it to be fixed in the training.
    """

    probabilities: Tensor
    hard: Tensor
    acyclic: Tensor
    dropped: tuple[tuple[int, int], ...]
    settled: bool

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """For JSON: ``edges``, ``cycle_edges`` (those whose removal leaves no cycle) and ``settled``.

        Args:
            names: of the nodes; that of psi(0) may be missing.
        """
        nodes = [*names, "psi(0)"]

        def edge(cause: int, effect: int) -> dict[str, Any]:
            probability = round(float(self.probabilities[cause, effect]), 6)
            return {"from": nodes[cause], "to": nodes[effect], "probability": probability}

        edges = [edge(cause, effect) for cause, effect in self.hard.nonzero().tolist()]
        return {"edges": edges, "cycle_edges": [edge(*one) for one in self.dropped], "settled": self.settled}


class InstantaneousGraph(nn.Module, ABC):
    """A distribution over graphs of N nodes, whose parameters are learned.

    Args:
        variables: number of intervened variables K.
        psi0: whether psi(0) is a node, the last.
        samples: graphs that are drawn for every row of a batch.
    """

    allowed: Tensor
    fixed: Tensor

    def __init__(self, variables: int, psi0: bool, samples: int) -> None:
        super().__init__()
        self.nodes, self.psi0, self.samples = variables + psi0, psi0, samples
        allowed = torch.ones(self.nodes, self.nodes)
        if not shapes_only():
            allowed.fill_diagonal_(0)
            if psi0:
                allowed[:, -1] = 0
        self.register_buffer("allowed", allowed, persistent=False)
        # Whether the graph has settled: from then on its hard form is the only one that is drawn.
        self.register_buffer("fixed", torch.zeros((), dtype=torch.bool))

    @abstractmethod
    def probabilities(self) -> Tensor:
        """Probability P of every edge [N, N]; 0 where there can be none."""

    @abstractmethod
    def hard(self) -> Tensor:
        """The most likely graph, float 0 or 1 [N, N]; nothing keeps it from having cycles."""

    @abstractmethod
    def draw(self, batch: int, generator: torch.Generator | None) -> Tensor:
        """Graphs [B, n, N, N] of 0 and 1 from the distribution, whether it has settled or not."""

    @abstractmethod
    def terms(self, losses: Tensor, drawn: Tensor, targets: Tensor, factor: float | Tensor) -> dict[str, Tensor]:
        """What learns the graph, as terms of the loss by name, scalars.

        Args:
            losses: of every node under each graph [B, n, N], negative log-likelihoods in nats.
            drawn: these graphs [B, n, N, N].
            targets: intervention targets of the nodes, 0 or 1, [B, N].
            factor: of the penalty on cycles, where there is one.
        """

    def sample(self, batch: int, generator: torch.Generator | None, settled: bool = False) -> Tensor:
        """Graphs [B, n, N, N] of 0 and 1: draws, and once the graph has settled its hard form.

        Args:
            batch: rows B.
            generator: source of the draws.
            settled: whether the host knows that it has: then n = 1. Else nothing waits to know; n stays what it was.
        """
        if settled:
            return self.hard().expand(batch, 1, -1, -1)
        return torch.where(self.fixed, self.hard(), self.draw(batch, generator))

    @torch.no_grad()
    def settle(self) -> None:
        """Take note of it where the graph has settled, ``max P (1 - P) < 10^-3``; there is no way back.

        That of a single sample a row (NOTEARS) has nothing to save, and is left as it is.
        """
        if self.samples > 1:
            p = self.probabilities()
            self.fixed |= (p * (1 - p)).max() < SETTLED

    def of_nodes(self, targets: Tensor) -> Tensor:
        """Targets of the variables [..., K] -> of the nodes [..., N]; psi(0) is never set."""
        return with_psi_0(targets) if self.psi0 else targets

    @torch.no_grad()
    def learned(self) -> LearnedGraph:
        """The graph as it is now, and the nearest one without cycles, on the CPU."""
        hard, probabilities = self.hard().cpu(), self.probabilities().cpu()
        acyclic, dropped = without_cycles(hard, probabilities)
        return LearnedGraph(probabilities, hard, acyclic, tuple(dropped), bool(self.fixed))


class EncoGraph(InstantaneousGraph):
    """ENCO (Lippe et al., "Efficient Neural Causal Discovery without Acyclicity Constraints", ICLR 2022).

    ``P_ij = sigmoid(gamma_ij) sigmoid(theta_ij)``, existence and direction, with ``theta_ij = -theta_ji``. Nothing is
    learned through the samples: with them, losses tell what an edge is worth.

    Args:
        variables, psi0, samples: see :class:`InstantaneousGraph`.
        sparsity: lambda, nats that an edge has to be worth.
    """

    def __init__(self, variables: int, psi0: bool, samples: int, sparsity: float) -> None:
        super().__init__(variables, psi0, samples)
        self.sparsity = sparsity
        self.gamma = nn.Parameter(torch.full((self.nodes, self.nodes), ENCO_START))
        self.theta = nn.Parameter(torch.zeros(self.nodes, self.nodes))

    def _existence(self) -> Tensor:
        return self.gamma.sigmoid() * self.allowed

    def _direction(self) -> Tensor:
        direction = self.theta.sigmoid()
        if not self.psi0:
            return direction
        return torch.cat([direction[:-1], torch.ones_like(direction[-1:])])  # all that psi(0) has lead out of it

    def probabilities(self) -> Tensor:
        """See :meth:`InstantaneousGraph.probabilities`."""
        return self._existence() * self._direction()

    def hard(self) -> Tensor:
        """``gamma > 0`` and ``theta > 0``; see :meth:`InstantaneousGraph.hard`."""
        return ((self._existence() > 0.5) & (self._direction() > 0.5)).to(self.gamma.dtype)

    @torch.no_grad()
    def draw(self, batch: int, generator: torch.Generator | None) -> Tensor:
        """Independent edges; see :meth:`InstantaneousGraph.draw`."""
        p = self.probabilities()
        uniform = shares.noise(torch.rand, (batch, self.samples, *p.shape), p, generator)
        return (uniform < p).to(p.dtype)

    def gradients(self, losses: Tensor, drawn: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Estimates of what the loss changes by with gamma and with theta, both [N, N], means over rows.

        What :mod:`citris_cli.core.enco` tells of them, among the edges that there can be.

        Args:
            losses: [B, n, N].
            drawn: [B, n, N, N].
            targets: of the nodes [B, N].
        """
        found = edge_evidence(drawn, losses)
        evidence = Evidence(found.difference * self.allowed, found.seen * self.allowed)
        of_gamma = existence_gradient(self.gamma, self._direction(), evidence, targets, self.sparsity)
        return of_gamma, orientation_gradient(self.gamma, self.theta, evidence, targets)

    def terms(self, losses: Tensor, drawn: Tensor, targets: Tensor, factor: float | Tensor) -> dict[str, Tensor]:
        """``sparsity``: lambda times the expected number of edges, whose gradient is that of :meth:`gradients`.

        See :meth:`InstantaneousGraph.terms`.
        """
        with torch.no_grad():
            of_gamma, of_theta = self.gradients(losses, drawn, targets)
            value = self.sparsity * self.probabilities().sum()
            open_still = (~self.fixed).to(value.dtype)
        gradient = open_still * ((of_gamma * self.gamma).sum() + (of_theta * self.theta).sum())
        return {"sparsity": value + gradient - gradient.detach()}


class NotearsGraph(InstantaneousGraph):
    """Edges ``P_ij = sigmoid(W_ij)``, kept from cycles by a penalty (Zheng et al., "DAGs with NO TEARS", NeurIPS 2018).

    Samples are straight-through Gumbel-softmax ones, through which the likelihood itself teaches the graph.

    Args:
        variables, psi0: see :class:`InstantaneousGraph`.
        sparsity: lambda, weight of the expected number of edges.
    """

    def __init__(self, variables: int, psi0: bool, sparsity: float) -> None:
        super().__init__(variables, psi0, samples=1)
        self.sparsity = sparsity
        self.logits = nn.Parameter(torch.zeros(self.nodes, self.nodes))

    def probabilities(self) -> Tensor:
        """See :meth:`InstantaneousGraph.probabilities`."""
        return self.logits.sigmoid() * self.allowed

    def hard(self) -> Tensor:
        """``W > 0``; see :meth:`InstantaneousGraph.hard`."""
        return (self.logits > 0).to(self.logits.dtype) * self.allowed

    def draw(self, batch: int, generator: torch.Generator | None) -> Tensor:
        """One-hot of (no edge, edge) by Gumbel-softmax, temperature 1; see :meth:`InstantaneousGraph.draw`.

        The difference of two Gumbel variables is a logistic one, so one uniform number an edge is enough.
        """
        shape = (batch, self.samples, *self.logits.shape)
        uniform = shares.noise(torch.rand, shape, self.logits, generator).clamp_(1e-7, 1 - 1e-7)
        soft = (self.logits + uniform.logit()).sigmoid() * self.allowed
        return (soft > 0.5).to(soft.dtype) + (soft - soft.detach())

    def penalties(self) -> tuple[Tensor, Tensor]:
        """``lambda sum_ij P_ij`` and ``tr exp(P) - N``, which is 0 only without cycles."""
        p = self.probabilities()
        return self.sparsity * p.sum(), torch.matrix_exp(p).trace() - self.nodes

    def terms(self, losses: Tensor, drawn: Tensor, targets: Tensor, factor: float | Tensor) -> dict[str, Tensor]:
        """``sparsity`` and ``acyclicity``, the latter times ``factor``; see :meth:`InstantaneousGraph.terms`."""
        sparsity, acyclicity = self.penalties()
        return {"sparsity": sparsity, "acyclicity": factor * acyclicity}


def ancestors(graphs: Tensor) -> Tensor:
    """Everything that acts on a node through others, too; nodes on a cycle keep their parents.

    Args:
        graphs: 0 or 1 [..., N, N].

    Returns:
        0 or 1 [..., N, N]: entry (i, k) is 1 iff a path leads from i to k.
    """
    reached = graphs
    for _ in range(max(1, (graphs.shape[-1] - 1).bit_length())):  # paths of twice the length each time
        reached = (reached + reached @ reached).clamp(max=1)
    on_cycle = reached.diagonal(dim1=-2, dim2=-1).unsqueeze(-2)
    return torch.where(on_cycle > 0, graphs, reached)


def with_ancestors(graphs: Tensor, probability: float | Tensor, generator: torch.Generator | None) -> Tensor:
    """Graphs [B, N, N] in which, with this probability for every one of them, parents are all ancestors."""
    uniform = shares.noise(torch.rand, (len(graphs), 1, 1), graphs, generator)
    return torch.where(uniform < probability, ancestors(graphs), graphs)


def cycle_in(adjacency: Tensor) -> list[int]:
    """Nodes of a cycle of a graph [N, N], each acting on the next and the last on the first; empty without one."""
    edges = adjacency.bool().tolist()
    state = [0] * len(edges)  # 0 not seen, 1 on the path, 2 done
    path: list[int] = []

    def visit(node: int) -> list[int]:
        state[node] = 1
        path.append(node)
        for child, acts in enumerate(edges[node]):
            if acts and state[child] == 1:
                return path[path.index(child) :]
            if acts and state[child] == 0 and (found := visit(child)):
                return found
        state[node] = 2
        path.pop()
        return []

    for node in range(len(edges)):
        if state[node] == 0 and (found := visit(node)):
            return found
    return []


def without_cycles(adjacency: Tensor, certainty: Tensor) -> tuple[Tensor, list[tuple[int, int]]]:
    """The graph without the least certain edge of every cycle, and with all that can stay once others are gone.

    Args:
        adjacency: 0 or 1 [N, N].
        certainty: of every edge [N, N]; the lowest of a cycle goes first.

    Returns:
        A graph [N, N] without cycles, and the edges (i, k) that were taken out of it, in order.
    """
    graph, dropped = adjacency.clone(), []
    while cycle := cycle_in(graph):
        edges = list(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
        weakest = min(edges, key=lambda edge: (float(certainty[edge]), edge))
        graph[weakest] = 0
        dropped.append(weakest)
    for edge in sorted(dropped, key=lambda edge: -float(certainty[edge])):
        graph[edge] = adjacency[edge]
        if cycle_in(graph):
            graph[edge] = 0
        else:
            dropped.remove(edge)
    return graph, dropped


def depths(adjacency: Tensor) -> list[int]:
    """Of every node of a graph without cycles [N, N], how many edges the longest path to it has."""
    edges: Sequence[Sequence[bool]] = adjacency.bool().tolist()
    found = [0] * len(edges)
    for _ in range(len(edges)):
        found = [
            max([0, *(found[parent] + 1 for parent in range(len(edges)) if edges[parent][node])])
            for node in range(len(edges))
        ]
    return found
