"""A causal graph in the formats of other programs: DOT (Graphviz) and GraphML."""

from __future__ import annotations

from io import BytesIO

from citris_cli.evaluation.graphs.report import INSTANTANEOUS, CausalGraph, Edge
from citris_cli.wording import visible


def as_dot(graph: CausalGraph) -> str:
    """A digraph for Graphviz: a node for every variable, an edge for every effect with its numbers as attributes.

    ``lag`` is 1 of an effect in the next step and 0 of one in the same; the latter are dashed.
    """
    lines = ["digraph citris {", "  node [shape=box, style=rounded];"]
    lines += [f"  {_quoted(name)};" for name in _nodes(graph)]
    for edge, lag in _edges(graph):
        numbers = ", ".join(f"{name}={_quoted(f'{value:.6g}')}" for name, value in _numbers(edge, lag).items())
        style = f'penwidth="{0.5 + 2.5 * edge.confidence:.2f}"' + ("" if lag else ", style=dashed")
        lines.append(f"  {_quoted(edge.cause)} -> {_quoted(edge.effect)} [{numbers}, {style}];")
    return "\n".join([*lines, "}\n"])


def as_graphml(graph: CausalGraph) -> bytes:
    """The same as GraphML."""
    import networkx

    made = networkx.MultiDiGraph()
    made.add_nodes_from(map(visible, _nodes(graph)))
    for edge, lag in _edges(graph):
        made.add_edge(visible(edge.cause), visible(edge.effect), **_numbers(edge, lag))
    file = BytesIO()
    networkx.write_graphml_xml(made, file)
    return file.getvalue()


def _nodes(graph: CausalGraph) -> list[str]:
    """All variables, and psi(0) where it has an effect."""
    rest = any(kind.effects.found[-1].any() for kind in graph.kinds.values())
    return list(graph.names if rest else graph.names[:-1])


def _edges(graph: CausalGraph) -> list[tuple[Edge, int]]:
    """Every edge with its lag."""
    return [(edge, 0 if when == INSTANTANEOUS else 1) for when, kind in graph.kinds.items() for edge in kind.edges]


def _numbers(edge: Edge, lag: int) -> dict[str, float]:
    numbers = {"lag": lag, "probability": edge.probability, "gain": edge.gain, "gain_error": edge.gain_error}
    return numbers if edge.found is None else {**numbers, "found": edge.found}


def _quoted(text: str) -> str:
    """A DOT string that shows this text and nothing else: a backslash would begin an escape of labels."""
    escaped = visible(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
