"""Where the nodes and edges of a causal graph are drawn: what a page and a picture have in common.

Two columns of the same variables, one below the other: of a step on the left and of the next step on the right. Effects
from one step to the next lead across, those within a step are arcs at the right edge. So every edge has a place of its
own whatever the number of variables, and none is mistaken for its reverse.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.cells import cell_len

from citris_cli.evaluation.graphs.report import INSTANTANEOUS, TEMPORAL, CausalGraph, Edge
from citris_cli.wording import visible

#: Height of a row and of a node in it, what a letter takes, what a node has beside its name; all in pixels.
ROW, NODE, LETTER, BESIDE = 38, 26, 7.6, 22
#: Room around everything, and for the headings above.
MARGIN, TOP = 12, 40
#: More letters of a name than this are left out of the drawing.
LONGEST = 24
#: Length of an arrow's head.
HEAD = 9

Point = tuple[float, float]


@dataclass(frozen=True)
class Node:
    """A variable in one of the columns.

    Attributes:
        name: in full.
        label: as it is drawn.
        place: of the variable among all.
        x, y: left end and middle.
        next: whether it is in the column of the next step.
    """

    name: str
    label: str
    place: int
    x: float
    y: float
    next: bool


@dataclass(frozen=True)
class Line:
    """An edge, found or missing.

    Attributes:
        cause, effect: places of its variables.
        when: it takes place.
        edge: what is known of it; None of a true edge that was not found.
        curve: start, both control points and end of a cubic curve; the head of the arrow begins there.
        tip: of the arrow.
        names: of cause and effect.
    """

    cause: int
    effect: int
    when: str
    edge: Edge | None
    curve: tuple[Point, Point, Point, Point]
    tip: Point
    names: tuple[str, str]

    @property
    def kind(self) -> str:
        """`missing`, `surplus` (not true), or `edge`."""
        if self.edge is None:
            return "missing"
        return "surplus" if self.edge.true is False else "edge"

    @property
    def confidence(self) -> float:
        """0 … 1, by which it is weighted."""
        return 1.0 if self.edge is None else self.edge.confidence

    @property
    def width(self) -> float:
        """Of the line, in pixels."""
        return 1.0 + 2.5 * self.confidence


@dataclass(frozen=True)
class Layout:
    """A drawing: its size in pixels, the width of nodes, x of both columns, and what is in it."""

    width: float
    height: float
    node_width: float
    columns: tuple[float, float]
    nodes: tuple[Node, ...]
    lines: tuple[Line, ...]


def layout(graph: CausalGraph) -> Layout:
    """Place a graph."""
    order = _order(graph)
    rows = {place: row for row, place in enumerate(order)}
    labels = [_label(name) for name in graph.names]
    node_width = max(round(max(cell_len(labels[place]) for place in order) * LETTER) + BESIDE, 72)
    left, right = float(MARGIN), MARGIN + node_width + 110 + 8.0 * len(order)
    middle = {place: TOP + (row + 0.5) * ROW for place, row in rows.items()}
    edges = _edges(graph, rows)
    last = len(graph.names) - 1
    within = {edge[0] for edge in edges if edge[2] == INSTANTANEOUS}
    nodes = [Node(graph.names[i], labels[i], i, left, middle[i], False) for i in order]
    nodes += [Node(graph.names[i], labels[i], i, right, middle[i], True) for i in order if i != last or last in within]
    ports = _ports(edges, rows)
    lines, reach = [], 0.0
    for number, (cause, effect, when, edge) in enumerate(edges):
        start, end = (middle[place] + ports[number, side] for side, place in enumerate((cause, effect)))
        if when == TEMPORAL:
            x, tip = left + node_width, right - 1
            pull = 0.45 * (right - left - node_width)
            curve = ((x, start), (x + pull, start), (tip - HEAD - pull, end), (tip - HEAD, end))
        else:
            x = right + node_width
            tip = x + 1
            bulge = 30 + 15 * abs(rows[cause] - rows[effect])
            reach = max(reach, 0.8 * bulge + HEAD)
            curve = ((x, start), (x + bulge, start), (tip + HEAD + bulge, end), (tip + HEAD, end))
        lines.append(Line(cause, effect, when, edge, curve, (tip, end), (graph.names[cause], graph.names[effect])))
    # What was not found lies below, then the surer edges above.
    lines.sort(key=lambda line: (line.edge is not None, line.confidence))
    width = right + node_width + reach + MARGIN
    return Layout(width, TOP + ROW * len(order) + MARGIN, node_width, (left, right), tuple(nodes), tuple(lines))


def _label(name: str) -> str:
    label = visible(name)
    while cell_len(label) > LONGEST:
        label = label.removesuffix("…")[:-1] + "…"
    return label


def _edges(graph: CausalGraph, rows: dict[int, int]) -> list[tuple[int, int, str, Edge | None]]:
    """Found edges and missing ones, by places; of what has no row there are none."""
    edges: list[tuple[int, int, str, Edge | None]] = []
    places = {name: place for place, name in enumerate(graph.names)}
    for when, kind in graph.kinds.items():
        edges += [(places[edge.cause], places[edge.effect], when, edge) for edge in kind.edges]
        edges += [(places[cause], places[effect], when, None) for cause, effect in kind.missing]
    return [edge for edge in edges if edge[0] in rows and edge[1] in rows]


def _order(graph: CausalGraph) -> list[int]:
    """Rows from top to bottom: causes within a step above their effects, else what is connected close together.

    psi(0) is the last, where it has an effect at all.
    """
    import networkx

    count = len(graph.names) - 1
    temporal = graph.temporal.among_variables
    place = _by_connection(temporal | temporal.T)
    within = np.zeros((count, count), bool) if graph.instantaneous is None else graph.acyclic[:-1]
    directed = networkx.from_numpy_array(within, create_using=networkx.DiGraph)
    order = [int(node) for node in networkx.lexicographical_topological_sort(directed, key=lambda node: place[node])]
    if any(kind.effects.found[count].any() for kind in graph.kinds.values()):
        order.append(count)
    return order


def _by_connection(graph: np.ndarray[Any, Any]) -> dict[int, int]:
    """Rank of every node, neighbours near each other: by the second eigenvector of the graph's Laplacian."""
    count = len(graph)
    weights = graph.astype(float)
    np.fill_diagonal(weights, 0.0)
    weights += 1e-3  # so that parts without a connection have an order, too
    laplacian = np.diag(weights.sum(0)) - weights
    ranks = np.linalg.eigh(laplacian)[1][:, min(1, count - 1)].round(6)
    ranks = ranks if ranks[np.abs(ranks).argmax()] < 0 else -ranks  # an eigenvector has no sign of its own
    return {int(node): rank for rank, node in enumerate(np.lexsort((np.arange(count), ranks)))}


def _ports(edges: list[tuple[int, int, str, Edge | None]], rows: dict[int, int]) -> dict[tuple[int, int], float]:
    """How far above or below the middle of its node each end of each edge is: (edge, 0 or 1) to pixels."""
    ends: defaultdict[tuple[int, str], list[tuple[int, int, int]]] = defaultdict(list)
    for number, (cause, effect, when, _) in enumerate(edges):
        sides = ("out", "in") if when == TEMPORAL else ("within", "within")
        for end, (place, other) in enumerate(((cause, effect), (effect, cause))):
            ends[place, sides[end]].append((rows[other], number, end))
    found = {}
    for here in ends.values():
        step = min(5.0, (NODE - 6) / max(len(here) - 1, 1))
        for rank, (_, number, end) in enumerate(sorted(here)):
            found[number, end] = (rank - (len(here) - 1) / 2) * step
    return found
