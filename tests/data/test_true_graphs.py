"""The true graph that data may carry: read, merged as columns are, and refused where it is none."""

from pathlib import Path

import numpy as np
import pytest

from citris_cli.data.datasets import load_sequences
from citris_cli.data.true_graphs import read_true_graphs
from citris_cli.data.variables import Variable, Variables
from citris_cli.errors import InputError

FRAMES = np.zeros((4, 32, 32, 3), np.uint8)
TARGETS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]], np.uint8)
CHAIN = np.array([[1, 1, 0], [0, 0, 1], [0, 0, 0]], np.uint8)


def saved(path: Path, **arrays: object) -> Path:
    np.savez(path, images=FRAMES, targets=TARGETS, keys=np.array(["a", "b", "c"]), **arrays)
    return path


def test_a_graph_over_columns_becomes_one_over_variables(tmp_path: Path) -> None:
    path = saved(tmp_path / "d.npz", graph_temporal=CHAIN, graph_instantaneous=CHAIN * (1 - np.eye(3, dtype=np.uint8)))
    data = load_sequences([path])
    graphs = read_true_graphs(data)
    assert graphs.temporal is not None
    assert graphs.temporal.tolist() == CHAIN.astype(bool).tolist()
    merged = graphs.of_variables(data.columns, Variables([Variable("ab", members=("a", "b")), Variable("c")]))
    assert merged.temporal is not None
    assert merged.instantaneous is not None
    assert merged.temporal.tolist() == [[True, True], [False, False]]
    assert merged.instantaneous.tolist() == [[False, True], [False, False]]  # none from a variable to itself
    # c is never intervened on, so that a model does not have it.
    assert graphs.of_variables(data.columns, data.variables).temporal.tolist() == [[True, True], [False, False]]


def test_shards_that_do_not_agree_tell_nothing(tmp_path: Path) -> None:
    first = saved(tmp_path / "d-1.npz", graph_temporal=CHAIN)
    for other in ({"graph_temporal": CHAIN.T}, {}):
        graphs = read_true_graphs(load_sequences([first, saved(tmp_path / "d-2.npz", **other)]))
        assert (graphs.temporal, graphs.instantaneous) == (None, None)
        assert "do not all have the same true graph (graph_temporal), so" in "".join(graphs.notes)
        assert len(graphs.notes) == 1


@pytest.mark.parametrize(("graph", "says"), [(CHAIN[:2], r"of shape \[2, 3\]"), (CHAIN * 2, "other than 0 and 1")])
def test_what_is_no_graph_is_refused(tmp_path: Path, graph: np.ndarray, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_true_graphs(load_sequences([saved(tmp_path / "d.npz", graph_temporal=graph)]))
