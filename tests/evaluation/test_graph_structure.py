"""Distances between graphs."""

import math

import numpy as np
import pytest

from citris_cli.evaluation.graphs.structure import compare


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
