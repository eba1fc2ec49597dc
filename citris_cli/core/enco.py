"""ENCO's estimate of how a graph's parameters should move (Lippe, Cohen and Gavves, ICLR 2022): no gradient is taken.

An edge i -> j has a logit gamma_ij that it exists and a logit theta_ij = -theta_ji that it leads from i to j; its
probability is sigmoid(gamma) * sigmoid(theta), or sigmoid(gamma) alone where time gives the direction. Graphs are
sampled, a child's loss is evaluated in each, and an edge is judged by the losses with and without it.

Letters: B elements of a batch, G sampled graphs of each, P possible parents, K children.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Evidence(NamedTuple):
    """What sampled graphs tell of every edge.

    Attributes:
        difference: [B, P, K], mean loss of the child over the graphs with the edge minus that over those without; 0
            where not both kinds were sampled.
        seen: [B, P, K], 1 where both were, else 0.
    """

    difference: Tensor
    seen: Tensor


def edge_evidence(graphs: Tensor, losses: Tensor) -> Evidence:
    """Judge every edge by its child's losses with and without it.

    Args:
        graphs: 0 or 1, [B, G, P, K]; entry [b, g, i, k] says whether graph g has the edge i -> k.
        losses: of every child in every graph, [B, G, K].
    """
    total = graphs.shape[1]
    having = graphs.sum(1)
    with_edge = torch.einsum("bgik,bgk->bik", graphs, losses)
    return evidence_of_sums(having, with_edge, losses.sum(1).unsqueeze(1), total)


def evidence_of_sums(having: Tensor, with_edge: Tensor, everything: Tensor, total: int) -> Evidence:
    """The same of sums over the graphs of an element, for who has a quicker way to them.

    Args:
        having: number of graphs with the edge [B, P, K].
        with_edge: the child's losses summed over these [B, P, K].
        everything: its losses summed over all graphs, broadcast to [B, P, K].
        total: number G of graphs.
    """
    lacking = total - having
    seen = ((having > 0) & (lacking > 0)).to(with_edge.dtype)
    difference = with_edge / having.clamp(min=1) - (everything - with_edge) / lacking.clamp(min=1)
    return Evidence(difference * seen, seen)


def existence_gradient(
    gamma: Tensor, direction: Tensor | float, evidence: Evidence, set_children: Tensor, sparsity: float
) -> Tensor:
    """Gradient of gamma [P, K]: mean over the batch of v * s'(gamma) * direction * (difference + sparsity).

    A step in which the child was set tells nothing of its causes.

    Args:
        gamma: logits of existence [P, K].
        direction: probabilities sigmoid(theta) [P, K] of the edges' directions, or 1 where time gives them.
        evidence: of these edges.
        set_children: 1 where the child was intervened on, [B, K].
        sparsity: nats that an edge must be worth.
    """
    probability = gamma.sigmoid()
    weight = evidence.seen * (1 - set_children).unsqueeze(1)
    return (weight * (evidence.difference + sparsity)).mean(0) * probability * (1 - probability) * direction


def orientation_gradient(gamma: Tensor, theta: Tensor, evidence: Evidence, targets: Tensor) -> Tensor:
    """Gradient of theta [K, K], antisymmetric: h - h', h being the mean over the batch of v * s'(theta) * s(gamma) * d.

    Only steps count in which the parent was set and the child was not.

    Args:
        gamma: logits of existence [K, K].
        theta: logits of direction [K, K], antisymmetric.
        evidence: of the edges among the K variables.
        targets: 1 where a variable was intervened on, [B, K].
    """
    forward = theta.sigmoid()
    weight = targets.unsqueeze(2) * (1 - targets).unsqueeze(1)
    one_way = (weight * evidence.difference).mean(0) * forward * (1 - forward) * gamma.sigmoid()
    return one_way - one_way.T


def adjacency(gamma: Tensor, theta: Tensor | None = None) -> Tensor:
    """The decided graph, bool [P, K]: what is likelier there than not and, with theta, leads this way."""
    return gamma > 0 if theta is None else (gamma > 0) & (theta > 0)


def edge_probabilities(gamma: Tensor, theta: Tensor | None = None) -> Tensor:
    """Probabilities of the edges [P, K]."""
    return gamma.sigmoid() if theta is None else gamma.sigmoid() * theta.sigmoid()


def sample_graphs(probabilities: Tensor, number: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Graphs of independent edges, bool [*number, *probabilities.shape]."""
    uniform = torch.rand((*number, *probabilities.shape), generator=generator, device=probabilities.device)
    return uniform < probabilities
