"""How far a graph that was found lies from the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from citris_cli.data.true_graphs import Graph

#: A cause and an effect by their places.
Edge = tuple[int, int]


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
