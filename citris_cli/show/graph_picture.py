"""A causal graph as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from citris_cli.evaluation.graphs.report import CausalGraph
from citris_cli.show.colours import PAPER_LIGHT, TEXT_LIGHT, mixed, rgb
from citris_cli.show.graph_layout import HALO, Layout, Line, Point, layout
from citris_cli.show.grids import png_bytes
from citris_cli.show.lettering import lettered

FONT_SIZE = 14
#: Pixels of the picture for each of the drawing, and how much finer it is drawn before.
SCALE, FINER = 2, 2
#: Colours of edges on light and on dark paper, by their kind.
EDGE_COLOURS = {"edge": ("#14509f", "#8bb2fb"), "surplus": ("#b3202a", "#ff8f86"), "missing": ("#835400", "#e5b75b")}
#: What a kind of edge is where the true graph is known.
LEGEND = {"edge": "found", "surplus": "found, but not true", "missing": "true, but not found"}
#: Above the columns.
HEADINGS = ("step t", "step t + 1")
#: Lengths of a dash and of the gap after it, in pixels.
DASH, GAP = 6.0, 5.0
#: Height of the legend.
_FOOT = 30


def graph_png(graph: CausalGraph) -> bytes:
    """A PNG on light paper; its edges are weighted by confidence."""
    return png_bytes(graph_picture(graph))


def graph_picture(graph: CausalGraph) -> Image.Image:
    """The picture of :func:`graph_png`."""
    placed, factor = layout(graph), SCALE * FINER
    kinds = shown_kinds(placed)
    height = placed.height + (_FOOT if kinds else 0)
    width = max(placed.width, 170.0 * len(kinds))
    canvas = Image.new("RGB", (round(width * factor), round(height * factor)), PAPER_LIGHT)
    draw = ImageDraw.Draw(canvas)
    for x, heading in zip(placed.columns, HEADINGS, strict=True):
        _write(draw, (x + placed.node_width / 2, 22), heading, factor, "#5b6472")
    for line in placed.lines:
        _line(draw, line, factor)
    for node in placed.nodes:
        half = node.height / 2
        box = [node.x, node.y - half, node.x + placed.node_width, node.y + half]
        draw.rounded_rectangle(
            [value * factor for value in box], 6 * factor, fill="#f2f4f7", outline="#5b6472", width=factor
        )
        _write(draw, (node.x + placed.node_width / 2, node.y), node.label, factor, TEXT_LIGHT)
    for number, kind in enumerate(kinds):
        x, y = 14.0 + 170 * number, placed.height + 10
        _strokes(draw, [(x, y), (x + 24, y)], kind, 3.0, rgb(EDGE_COLOURS[kind][0]), factor)
        _write(draw, (x + 32, y), LEGEND[kind], factor, TEXT_LIGHT, "lm")
    return canvas.resize((canvas.width // FINER, canvas.height // FINER), Image.Resampling.LANCZOS)


def shown_kinds(placed: Layout) -> list[str]:
    """Kinds of edges that a legend tells apart; none where the true graph is not known."""
    known = any(line.edge is None or line.edge.true is not None for line in placed.lines)
    return [kind for kind in LEGEND if any(line.kind == kind for line in placed.lines)] if known else []


def _line(draw: ImageDraw.ImageDraw, line: Line, factor: int) -> None:
    colour = mixed(EDGE_COLOURS[line.kind][0], PAPER_LIGHT, 0.3 + 0.7 * line.confidence)
    points = [_at(line.curve, part / 80) for part in range(81)]
    _stroke(draw, points, line.width + 2 * HALO, rgb(PAPER_LIGHT), factor)
    _strokes(draw, points, line.kind, line.width, colour, factor)
    draw.polygon([(a * factor, b * factor) for a, b in line.head], fill=colour)


def _strokes(
    draw: ImageDraw.ImageDraw,
    points: list[Point],
    kind: str,
    width: float,
    colour: tuple[int, int, int],
    factor: int,
) -> None:
    """A line through points, with gaps for what is missing."""
    if kind != "missing":
        _stroke(draw, points, width, colour, factor)
        return
    passed = np.append(0.0, np.cumsum([math.dist(*pair) for pair in pairwise(points)]))
    x, y = zip(*points, strict=True)
    count = max(1, round(passed[-1] / (DASH + GAP)))
    for number in range(count):
        at = np.linspace(0, DASH, 5) / (DASH + GAP) * passed[-1] / count + number * passed[-1] / count
        dash = zip(np.interp(at, passed, x).tolist(), np.interp(at, passed, y).tolist(), strict=True)
        _stroke(draw, list(dash), width, colour, factor)


def _stroke(
    draw: ImageDraw.ImageDraw, points: Sequence[Point], width: float, colour: tuple[int, int, int], factor: int
) -> None:
    """A line of any width through points: its outline filled, since Pillow's thick lines have kinks."""
    way = np.array(points) * factor
    along = np.gradient(way, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    across *= width * factor / 2 / np.maximum(np.hypot(*across.T), 1e-9)[:, None]
    outline = np.concatenate([way + across, (way - across)[::-1]])
    draw.polygon([(x, y) for x, y in outline.tolist()], fill=colour)


def _at(curve: tuple[Point, Point, Point, Point], part: float) -> Point:
    """A place on a cubic curve."""
    rest = 1 - part
    weights = (rest**3, 3 * rest**2 * part, 3 * rest * part**2, part**3)
    x, y = (sum(weight * point[axis] for weight, point in zip(weights, curve, strict=True)) for axis in (0, 1))
    return x, y


def _write(draw: ImageDraw.ImageDraw, place: Point, text: str, factor: int, colour: str, anchor: str = "mm") -> None:
    shown, font = lettered(text, FONT_SIZE * factor)
    draw.text((place[0] * factor, place[1] * factor), shown, fill=colour, font=font, anchor=anchor)
