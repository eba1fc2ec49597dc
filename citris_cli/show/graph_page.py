"""A causal graph as one self-contained HTML page: the drawing, a table of its edges, all probabilities; no scripts."""

from __future__ import annotations

from collections.abc import Mapping

from citris_cli.data.variables import REST
from citris_cli.evaluation.graphs.report import CausalGraph, EdgeSet
from citris_cli.show.graph_layout import HALO, Layout, Line, layout
from citris_cli.show.graph_picture import EDGE_COLOURS, HEADINGS, LEGEND, shown_kinds
from citris_cli.show.heat import heat, ink
from citris_cli.show.page import beginning, scrolling, text
from citris_cli.wording import counted

#: To what part of its size the drawing shrinks on a narrow screen; where that is too wide, it scrolls.
SMALLEST = 0.7

_STYLE = f"""
:root {{ --tint: #f2f4f7; {" ".join(f"--{kind}: {light};" for kind, (light, _) in EDGE_COLOURS.items())} }}
@media (prefers-color-scheme: dark) {{
  :root {{ --tint: #1e242d; {" ".join(f"--{kind}: {dark};" for kind, (_, dark) in EDGE_COLOURS.items())} }}
}}
h2 {{ font-size: 1.1rem; margin: 2rem 0 .5rem; }}
dl {{ display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .1rem 1rem; }}
dt {{ color: var(--quiet); }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
p {{ max-width: 48rem; overflow-wrap: anywhere; }}
svg {{ display: block; }} .drawing svg {{ max-width: 100%; height: auto; }}
svg text {{ font: 13px system-ui, sans-serif; fill: var(--text); }}
.node rect {{ fill: var(--tint); stroke: var(--quiet); }} .rest rect {{ stroke-dasharray: 4 3; }}
.heading {{ fill: var(--quiet) !important; }}
.line path {{ fill: none; stroke: var(--tone); }} .line polygon {{ fill: var(--tone); }}
.line .halo {{ stroke: var(--paper); }}
.line .near {{ stroke: transparent; stroke-width: 12; pointer-events: stroke; }}
.line:hover .seen {{ stroke-width: 6; }}
.edge {{ --tone: var(--edge); }} .surplus {{ --tone: var(--surplus); }} .missing {{ --tone: var(--missing); }}
.missing .seen {{ stroke-dasharray: 6 5; }}
.legend {{ display: flex; flex-wrap: wrap; gap: .2rem 1.5rem; list-style: none; padding: 0; }}
.legend svg {{ display: inline-block; vertical-align: middle; margin-right: .4rem; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th {{ text-align: left; font-weight: 600; }} th, td {{ padding: .3rem .9rem .3rem 0; white-space: nowrap; }}
.edges tr {{ border-bottom: 1px solid var(--line); }}
.edges thead th {{ color: var(--quiet); font-weight: 400; }}
.edges td.surplus, .edges td.missing {{ color: var(--tone); font-weight: 600; }}
.edges th, .edges td {{ max-width: 16rem; overflow: hidden; text-overflow: ellipsis; }}
@media (max-width: 44rem) {{ .edges th, .edges td {{ max-width: 7rem; padding-right: .6rem; white-space: normal; }} }}
.matrix td {{ text-align: center; padding: .25rem .35rem; min-width: 2.9rem; }}
.matrix thead th {{ vertical-align: bottom; padding: 0 .3rem .4rem; font-weight: 400; }}
.matrix thead span {{ writing-mode: vertical-rl; transform: rotate(180deg); max-height: 11rem; overflow: hidden;
  text-overflow: ellipsis; }}
.matrix tbody th {{ position: sticky; left: 0; background: var(--paper); font-weight: 400; max-width: 12rem;
  overflow: hidden; text-overflow: ellipsis; }}
"""


def graph_page(graph: CausalGraph, facts: Mapping[str, str]) -> str:
    """The page.

    Args:
        graph: what was found. Names may hold anything; they are shown as text.
        facts: what it was found in (model, data, …), shown in order.
    """
    placed = layout(graph)
    parts = [
        beginning("citris: causal graph", _STYLE + _highlights(placed)),
        "<main><h1>Which variable causes which</h1><dl>",
        *(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in facts.items()),
        f"</dl><p>{_summary(graph)}</p>",
        *(f"<p>{text(sentence)}</p>" for sentence in _sentences(graph)),
        _legend(placed),
        f'<div class="drawing">{scrolling(_svg(placed), "The graph as a drawing")}</div>',
        '<p class="quiet">Lines lead from a cause to its effect; the wider and stronger one is, the surer. Point at a '
        "variable to see its edges alone, at an edge to see its numbers, which are in the table as well.</p>",
        f"<h2>Edges</h2>{scrolling(_table(graph), 'Edges')}",
    ]
    for when, kind in graph.kinds.items():
        title = f"Probabilities of effects in the {when}"
        parts += [f"<h2>{title}</h2>", scrolling(_matrix(kind, title), title)]
    return "\n".join([*parts, "</main></body></html>\n"])


def _summary(graph: CausalGraph) -> str:
    numbers = [f"{counted(len(kind.edges), 'effect')} in the {when}" for when, kind in graph.kinds.items()]
    rest = any(kind.effects.found[-1].any() for kind in graph.kinds.values())
    about = " psi(0) is what belongs to no variable." if rest else ""
    return f"Found: {' and '.join(numbers)}.{about}"


def _sentences(graph: CausalGraph) -> list[str]:
    said = []
    if graph.undecided:
        said.append(f"{counted(graph.undecided, 'edge')} not decided when the estimation ended, so uncertain.")
    if graph.cycle:
        ring = " → ".join([*graph.cycle, graph.cycle[0]])
        left = ", ".join(f"{cause} → {effect}" for cause, effect in graph.dropped)
        said.append(
            f"The effects within a step have a cycle ({ring}), which a causal graph cannot have. The nearest acyclic "
            f"graph leaves out {left}."
        )
    for when, kind in graph.kinds.items():
        if (compared := kind.comparison) is not None:
            shares = [
                f"{name} {value:.2f}" if value == value else f"{name} –"
                for name, value in (("precision", compared.precision), ("recall", compared.recall))
            ]
            said.append(
                f"Against the true graph, {when}: structural Hamming distance {compared.distance}, {', '.join(shares)}."
            )
    return said


def _highlights(placed: Layout) -> str:
    """Of what is pointed at, its own edges alone are seen."""
    places = sorted({node.place for node in placed.nodes})
    return "".join(f"svg:has(.n{place}:hover) .line:not(.v{place}) {{ opacity: .07; }}\n" for place in places)


def _legend(placed: Layout) -> str:
    if not (kinds := shown_kinds(placed)):
        return ""
    line = '<svg width="34" height="10" aria-hidden="true"><path class="seen" d="M0 5H34" stroke-width="3"/></svg>'
    entries = "".join(f'<li class="line {kind}">{line}{LEGEND[kind]}</li>' for kind in kinds)
    return f'<ul class="legend" aria-label="Lines">{entries}</ul>'


def _svg(placed: Layout) -> str:
    width, height = round(placed.width), round(placed.height)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'style="min-width: {SMALLEST * width:.0f}px" role="img" '
        'aria-label="The graph; its edges are in the table below">'
    ]
    for x, heading in zip(placed.columns, HEADINGS, strict=True):
        middle = x + placed.node_width / 2
        parts.append(f'<text class="heading" x="{middle:.1f}" y="26" text-anchor="middle">{heading}</text>')
    parts += [_line(line) for line in placed.lines]
    for node in placed.nodes:
        middle = node.x + placed.node_width / 2
        rest = " rest" if node.name == REST else ""
        parts.append(
            f'<g class="node n{node.place}{rest}"><title>{text(node.name)}</title><rect x="{node.x:.1f}" '
            f'y="{node.y - node.height / 2:.1f}" width="{placed.node_width}" height="{node.height:.1f}" rx="6"/>'
            f'<text x="{middle:.1f}" y="{node.y + 4.5:.1f}" text-anchor="middle">{text(node.label)}</text></g>'
        )
    return "".join([*parts, "</svg>"])


def _line(line: Line) -> str:
    (a, b), (c, d), (e, f), (x, y) = line.curve
    way = f"M{a:.1f} {b:.1f}C{c:.1f} {d:.1f} {e:.1f} {f:.1f} {x:.1f} {y:.1f}"
    corners = " ".join(f"{across:.1f},{down:.1f}" for across, down in line.head)
    opacity = 0.35 + 0.65 * line.confidence
    return (
        f'<g class="line {line.kind} v{line.cause} v{line.effect}"><title>{text(_numbers(line))}</title>'
        f'<path class="near" d="{way}"/><path class="halo" d="{way}" stroke-width="{line.width + 2 * HALO:.1f}"/>'
        f'<g opacity="{opacity:.2f}"><path class="seen" d="{way}" '
        f'stroke-width="{line.width:.1f}"/><polygon points="{corners}"/></g></g>'
    )


def _numbers(line: Line) -> str:
    cause, effect = line.names
    if (edge := line.edge) is None:
        return f"{cause} → {effect} ({line.when}): true, but not found"
    said = f"{cause} → {effect} ({line.when}): probability {edge.probability:.2f}, gain {edge.gain:.3f} ± "
    said += f"{edge.gain_error:.3f} nats a step"
    if edge.found is not None:
        said += f", found in {edge.found:.0%} of the resamplings"
    return said + (", not true" if edge.true is False else "")


def _table(graph: CausalGraph) -> str:
    known = any(kind.true is not None for kind in graph.kinds.values())
    columns = ["Cause", "Effect", "When", "Probability", "Gain (nats a step)"]
    columns += ["Found in resamplings"] * bool(graph.repeats) + ["True"] * known
    rows = []
    for when, kind in graph.kinds.items():
        for edge in kind.edges:
            gain = f"{edge.gain:.3f}\xa0±\xa0{edge.gain_error:.3f}"  # is not broken over lines
            cells = [text(edge.effect), when.replace(" ", "\xa0"), f"{edge.probability:.2f}", gain]
            cells += [] if edge.found is None else [f"{edge.found:.0%}"]
            row = "".join(f"<td>{cell}</td>" for cell in cells)
            if known:
                said = {True: ("", "yes"), False: ("surplus", "no"), None: ("", "")}[edge.true]
                row += f'<td class="{said[0]}">{said[1]}</td>'
            rows.append(f'<tr><th scope="row">{text(edge.cause)}</th>{row}</tr>')
        for cause, effect in kind.missing:
            cells = [text(effect), when.replace(" ", "\xa0"), *["–"] * (3 if graph.repeats else 2)]
            row = "".join(f"<td>{cell}</td>" for cell in cells) + '<td class="missing">yes, but not found</td>'
            rows.append(f'<tr><th scope="row">{text(cause)}</th>{row}</tr>')
    if not rows:
        return "<p>There are none.</p>"
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    return f'<table class="edges"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _matrix(kind: EdgeSet, title: str) -> str:
    head = "".join(f'<th scope="col" title="{text(name)}"><span>{text(name)}</span></th>' for name in kind.names[:-1])
    rows = []
    for name, values in zip(kind.names, kind.effects.probability, strict=True):
        cells = []
        for value in map(float, values):
            paper, letters = (f"rgb{colour}" for colour in (heat(value), ink(value)))
            shown = "–" if value != value else f"{value:.2f}"
            cells.append(f'<td style="background:{paper};color:{letters}">{shown}</td>')
        rows.append(f'<tr><th scope="row" title="{text(name)}">{text(name)}</th>{"".join(cells)}</tr>')
    return (
        f'<table class="matrix" aria-label="{title}: causes in rows, effects in columns">'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )
