"""The true causal graph that data may carry, over their columns or over the variables of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from citris_cli.data.datasets import SequenceData
from citris_cli.data.layout import INSTANTANEOUS_GRAPH_KEY, TEMPORAL_GRAPH_KEY, Input
from citris_cli.data.sources import Source, open_source
from citris_cli.data.variables import Variables
from citris_cli.errors import InputError

Graph = np.ndarray[Any, np.dtype[np.bool_]]
#: Of the two graphs.
KEYS = (TEMPORAL_GRAPH_KEY, INSTANTANEOUS_GRAPH_KEY)


@dataclass(frozen=True)
class TrueGraphs:
    """What truly causes what among K variables: bool [K, K]; entry [i, j] is true where i is a cause of j.

    Attributes:
        temporal: from one frame to the next, or None if that is not told.
        instantaneous: within a frame, or None; the diagonal is false.
        notes: a sentence on what files tell but do not tell alike, which is None.
    """

    temporal: Graph | None
    instantaneous: Graph | None
    notes: tuple[str, ...] = ()

    def of_variables(self, columns: Variables, variables: Variables) -> TrueGraphs:
        """The same over variables that columns were merged into; columns that belong to none of them are left out.

        Args:
            columns: that this graph is over.
            variables: such as a model's.
        """
        owners = [variables.owner(column) for column in columns]
        temporal, within = (
            None if graph is None else _merged(graph, owners, len(variables))
            for graph in (self.temporal, self.instantaneous)
        )
        if within is not None:
            np.fill_diagonal(within, False)
        return TrueGraphs(temporal, within, self.notes)


def read_true_graphs(data: SequenceData) -> TrueGraphs:
    """The graphs of a dataset over its columns; what its files do not all tell, and tell alike, is None.

    Raises:
        InputError: a graph of another shape than the columns', or with values other than 0 and 1.
    """
    found = []
    inputs: list[Input] = [*data.paths, *data.arrays]
    for where in inputs:
        with open_source(where) as source:
            found.append([_graph(source, key, len(data.columns)) for key in KEYS])
    told = list(zip(*found, strict=True))
    temporal, within = map(_common, told)
    notes = tuple(
        f"{data.label}: the files do not all have the same true graph ({key}), so nothing is compared with it"
        for key, graphs, common in zip(KEYS, told, (temporal, within), strict=True)
        if common is None and any(graph is not None for graph in graphs)
    )
    return TrueGraphs(temporal, within, notes)


def _graph(source: Source, key: str, columns: int) -> Graph | None:
    if key not in source:
        return None
    where = f"{source.label}: key {key!r}"
    if source.shape(key) != (columns, columns) or source.dtype(key).kind not in "buif":
        raise InputError(
            f"{where} holds {source.dtype(key)} of shape {list(source.shape(key))}; it needs 0 or 1 for every pair of "
            f"the {columns} columns of targets: [{columns}, {columns}]"
        )
    graph = source.array(key)
    if not np.isin(graph, (0, 1)).all():
        raise InputError(f"{where} holds values other than 0 and 1; entry [i, j] is 1 where column i is a cause of j")
    return graph.astype(bool)


def _common(graphs: tuple[Graph | None, ...]) -> Graph | None:
    """The graph that all files tell, or None."""
    told = [one for one in graphs if one is not None]
    alike = len(told) == len(graphs) and all(np.array_equal(one, told[0]) for one in told)
    return told[0] if alike else None


def _merged(graph: Graph, owners: list[int | None], count: int) -> Graph:
    merged = np.zeros((count, count), bool)
    for i, j in zip(*np.nonzero(graph), strict=True):
        cause, effect = owners[i], owners[j]
        if cause is not None and effect is not None:
            merged[cause, effect] = True
    return merged
