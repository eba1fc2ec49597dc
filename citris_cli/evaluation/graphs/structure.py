"""Graphs as they were decided: cycles and what is left without them, and how far one lies from the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Graph = np.ndarray[Any, np.dtype[np.bool_]]
#: A cause and an effect by their places.
Edge = tuple[int, int]


def find_cycle(graph: Graph) -> list[int]:
    """The nodes of a directed cycle in order, or none.

    Args:
        graph: bool [K, K]; entry [i, j] is an edge from i to j.
    """
    import networkx

    try:
        edges = networkx.find_cycle(networkx.from_numpy_array(graph, create_using=networkx.DiGraph))
    except networkx.NetworkXNoCycle:
        return []
    return [int(edge[0]) for edge in edges]


def nearest_acyclic(graph: Graph, certainty: np.ndarray[Any, Any]) -> Graph:
    """A graph without cycles: of every cycle the least certain edge is dropped, and none that can stay.

    Args:
        graph: bool [K, K].
        certainty: of its edges, [K, K].
    """
    left, dropped = graph.copy(), []
    while cycle := find_cycle(left):
        edges = list(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
        least = min(edges, key=lambda edge: (certainty[edge], edge))
        left[least] = False
        dropped.append(least)
    # What was dropped for one cycle may be needed for none once others are gone.
    for edge in sorted(dropped, key=lambda edge: -certainty[edge]):
        left[edge] = True
        if find_cycle(left):
            left[edge] = False
    return left


@dataclass(frozen=True)
class Comparison:
    """A found graph beside the true one.

    Attributes:
        distance: structural Hamming distance: pairs of variables with a wrong edge. What is wrong in both directions of
            a pair, such as an edge that is turned round, counts once; so does an edge from a variable to itself.
        precision: share of the found edges that are true; NaN if none was found.
        recall: share of the true edges that were found; NaN if there are none.
        missing: true edges that were not found, in order.
        surplus: found edges that are not true, in order.
    """

    distance: int
    precision: float
    recall: float
    missing: tuple[Edge, ...]
    surplus: tuple[Edge, ...]


def compare(found: Graph, true: Graph) -> Comparison:
    """How far a graph lies from the truth, both bool [K, K]."""
    wrong = found != true
    right = int((found & true).sum())
    return Comparison(
        distance=int(np.triu(wrong | wrong.T).sum()),
        precision=right / found.sum() if found.any() else float("nan"),
        recall=right / true.sum() if true.any() else float("nan"),
        missing=_edges(true & ~found),
        surplus=_edges(found & ~true),
    )


def _edges(graph: Graph) -> tuple[Edge, ...]:
    return tuple((int(i), int(j)) for i, j in zip(*np.nonzero(graph), strict=True))
