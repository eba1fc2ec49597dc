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

#: Least height of a node, the room between two, what a letter takes, what a node has beside its name; all in pixels.
NODE, BETWEEN, LETTER, BESIDE = 26, 12, 7.6, 22
#: From one end of an edge to the next at a node, which is as high as it takes, and room above and below them.
PORT, PORTS_ROOM = 7.0, 10
#: Room around everything, and for the headings above.
MARGIN, TOP = 12, 40
#: More letters of a name than this are left out of the drawing.
LONGEST = 24
#: Length of an arrow's head.
HEAD = 9
#: How much farther an effect within a step goes out if it leads upwards.
UPWARDS = 16
#: What is left free on both sides of an edge, so that crossing edges can be followed.
HALO = 1.6

Point = tuple[float, float]


@dataclass(frozen=True)
class Node:
    """A variable in one of the columns.

    Attributes:
        name: in full.
        label: as it is drawn.
        place: of the variable among all.
        x, y: left end and middle.
        height: in pixels.
        next: whether it is in the column of the next step.
    """

    name: str
    label: str
    place: int
    x: float
    y: float
    height: float
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

    @property
    def head(self) -> list[Point]:
        """Corners of the arrow's head, which is no wider than the room that an edge has at a node."""
        (x, y), (tip, _) = self.curve[3], self.tip
        half = 1.2 + 0.7 * self.width
        return [(x, y - half), (tip, y), (x, y + half)]


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
    edges = _edges(graph, rows)
    ports = _ports(edges, rows)
    heights = dict.fromkeys(order, float(NODE))
    for (number, side), port in ports.items():
        place = edges[number][:2][side]
        heights[place] = max(heights[place], 2 * abs(port) + PORTS_ROOM)
    middle, bottom = {}, float(TOP)
    for place in order:
        middle[place] = bottom + BETWEEN / 2 + heights[place] / 2
        bottom += BETWEEN + heights[place]
    last = len(graph.names) - 1
    within = {edge[0] for edge in edges if edge[2] == INSTANTANEOUS}
    columns = (left, order), (right, [i for i in order if i != last or last in within])
    nodes = [
        Node(graph.names[i], labels[i], i, x, middle[i], heights[i], x == right) for x, some in columns for i in some
    ]
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
            # One that leads upwards, against the order, keeps clear of its reverse.
            upwards = UPWARDS if middle[effect] < middle[cause] else 0
            bulge = 30 + 0.4 * abs(middle[cause] - middle[effect]) + upwards
            reach = max(reach, 0.8 * bulge + HEAD)
            curve = ((x, start), (x + bulge, start), (tip + HEAD + bulge, end), (tip + HEAD, end))
        lines.append(Line(cause, effect, when, edge, curve, (tip, end), (graph.names[cause], graph.names[effect])))
    # What was not found lies below, then the surer edges above.
    lines.sort(key=lambda line: (line.edge is not None, line.confidence))
    width = right + node_width + reach + MARGIN
    return Layout(width, bottom + MARGIN, node_width, (left, right), tuple(nodes), tuple(lines))


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
        for rank, (_, number, end) in enumerate(sorted(here)):
            found[number, end] = (rank - (len(here) - 1) / 2) * PORT
    return found
