"""Distances between graphs, and cycles."""

import math

import numpy as np
import pytest

from citris_cli.evaluation.graphs.structure import compare, find_cycle, nearest_acyclic


def graph(count: int, *edges: tuple[int, int]) -> np.ndarray:
    made = np.zeros((count, count), bool)
    for edge in edges:
        made[edge] = True
    return made


@pytest.mark.parametrize(
    ("found", "distance", "precision", "recall"),
    [
        ([(0, 1), (1, 2)], 0, 1.0, 1.0),
        ([(1, 0), (1, 2)], 1, 0.5, 0.5),  # turned round
        ([(0, 1), (1, 0), (1, 2)], 1, 2 / 3, 1.0),
        ([(0, 1), (2, 2), (0, 2)], 3, 1 / 3, 0.5),
        ([], 2, math.nan, 0.0),
    ],
)
def test_the_distance_counts_pairs(found: list, distance: int, precision: float, recall: float) -> None:
    compared = compare(graph(3, *found), graph(3, (0, 1), (1, 2)))
    assert compared.distance == distance
    assert (compared.precision, compared.recall) == pytest.approx((precision, recall), nan_ok=True)
    assert len(compared.missing) + len(compared.surplus) == (graph(3, *found) != graph(3, (0, 1), (1, 2))).sum()


def test_without_true_edges_there_is_no_recall() -> None:
    assert math.isnan(compare(graph(2, (0, 1)), graph(2)).recall)


def test_of_a_cycle_the_least_certain_edge_is_dropped() -> None:
    ring = graph(4, (0, 1), (1, 2), (2, 0), (0, 3))
    certainty = np.full((4, 4), 0.9)
    certainty[1, 2] = 0.5
    assert sorted(find_cycle(ring)) == [0, 1, 2]
    assert (nearest_acyclic(ring, certainty) != ring).nonzero() == ([1], [2])


@pytest.mark.parametrize("seed", range(5))
def test_what_is_left_has_no_cycle_and_no_edge_could_stay(seed: int) -> None:
    random = np.random.default_rng(seed)
    made = (random.random((7, 7)) < 0.4) & ~np.eye(7, dtype=bool)
    left = nearest_acyclic(made, random.random((7, 7)))
    assert find_cycle(left) == []
    assert not (left & ~made).any()
    for edge in zip(*np.nonzero(made & ~left), strict=True):
        more = left.copy()
        more[edge] = True
        assert find_cycle(more)
