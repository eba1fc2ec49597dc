"""A causal graph as a page, a picture, and a file of other programs: complete, safe with any name, readable."""

from __future__ import annotations

import io
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import networkx
import numpy as np
import pytest
from PIL import Image

from citris_cli.evaluation.graphs.estimate import Effects
from citris_cli.evaluation.graphs.report import CausalGraph, EdgeSet
from citris_cli.show.graph_files import as_dot, as_graphml
from citris_cli.show.graph_layout import LONGEST, layout
from citris_cli.show.graph_page import graph_page
from citris_cli.show.graph_picture import graph_picture, graph_png
from tests.browser import Browser

HOSTILE = ("plain", '<b>"&\\', "灯\u202eの色 of a name that goes on and on and on")


def a_graph(
    names: tuple[str, ...] = HOSTILE, *, repeats: int = 4, known: bool = True, within: bool = True, seed: int = 0
) -> CausalGraph:
    """A graph in which variables cause themselves, with more edges by chance, one not true and one missing."""
    random, count = np.random.default_rng(seed), len(names)

    def edges(found: np.ndarray) -> EdgeSet:
        shares = np.where(found, 0.75, 0.0) if repeats else None
        true = found[:count].copy()
        true[0, 1] ^= True
        effects = Effects(found * 0.97, found, found * 0.5, np.full(found.shape, 0.01), np.zeros(count, bool))
        return EdgeSet((*names, "psi(0)"), effects, shares, true if known else None)

    temporal = random.random((count + 1, count)) < 2 / count
    temporal[:count] |= np.eye(count, dtype=bool)
    below = np.vstack([np.tril(random.random((count, count)) < 2 / count, -1), np.zeros((1, count), bool)])
    return CausalGraph((*names, "psi(0)"), edges(temporal), edges(below) if within else None, repeats, 0)


def all_edges(graph: CausalGraph) -> int:
    return sum(len(kind.edges) for kind in graph.kinds.values())


def test_the_page_fetches_nothing_and_shows_names_as_text() -> None:
    page = graph_page(a_graph(), {"Model": "<script>\x1b.safetensors"})
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;b&gt;&quot;&amp;\\" in page
    assert r"&lt;script&gt;\x1b.safetensors" in page
    assert "\u202e" not in page
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(svg)


def test_every_edge_is_drawn_and_in_the_table() -> None:
    graph = a_graph()
    page = graph_page(graph, {})
    missing = sum(len(kind.missing) for kind in graph.kinds.values())
    assert len(layout(graph).lines) == all_edges(graph) + missing
    assert page.count('class="near"') == all_edges(graph) + missing
    rows = re.findall(r"<tr>.*?</tr>", page[page.index('class="edges"') :].partition("</table>")[0])
    assert len(rows) == 1 + all_edges(graph) + missing
    assert sum("75%" in row for row in rows) == all_edges(graph)
    assert sum("yes, but not found" in row for row in rows) == missing
    titles = re.findall(r"<title>(.*?)</title><path", page)
    assert len(titles) == all_edges(graph) + missing
    assert "plain → plain (next step): probability 0.97, gain 0.500 ± 0.010 nats a step, found in 75%" in titles[-1] + (
        "".join(titles)
    )


def test_without_truth_and_resamplings_nothing_is_said_of_them() -> None:
    page = graph_page(a_graph(known=False, repeats=0), {})
    assert "Found in resamplings" not in page
    assert "true" not in page.partition("<body>")[2].lower()


@pytest.mark.parametrize("count", [2, 9, 20])
def test_nodes_and_arrows_keep_clear_of_each_other(count: int) -> None:
    placed = layout(a_graph(tuple(f"variable_{i}" for i in range(count))))
    for column in (False, True):
        heights = sorted(node.y for node in placed.nodes if node.next == column)
        assert all(below - above > 30 for above, below in pairwise(heights))
    ends: dict[tuple[float, float], int] = {}
    for line in placed.lines:
        assert 0 < line.tip[0] < placed.width
        assert 0 < line.tip[1] < placed.height
        ends[line.tip] = ends.get(line.tip, 0) + 1
    assert set(ends.values()) == {1}  # every arrow ends at a place of its own
    assert all(len(node.label) <= LONGEST for node in placed.nodes)


def test_causes_within_a_step_stand_above_their_effects() -> None:
    placed = layout(a_graph(tuple(f"v{i}" for i in range(9)), known=False))
    for line in placed.lines:
        if line.when == "same step":
            assert line.curve[0][1] < line.tip[1]


def test_the_picture_is_drawn_in_colours_of_its_edges() -> None:
    graph = a_graph()
    with Image.open(io.BytesIO(graph_png(graph))) as picture:
        assert picture.size == graph_picture(graph).size
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20) or []}
    assert (0xB3, 0x20, 0x2A) in colours  # what is not true
    assert (0x83, 0x54, 0x00) in colours  # what is missing


def test_graphml_holds_all_numbers() -> None:
    graph = a_graph()
    read = networkx.parse_graphml(as_graphml(graph).decode(), force_multigraph=True)
    assert set(read.nodes) <= {"plain", '<b>"&\\', r"灯\u202eの色 of a name that goes on and on and on", "psi(0)"}
    assert read.number_of_edges() == all_edges(graph)
    assert {data["lag"] for *_, data in read.edges(data=True)} == {0, 1}
    assert {(data["probability"], data["gain"], data["found"]) for *_, data in read.edges(data=True)} == {
        (0.97, 0.5, 0.75)
    }


def test_dot_holds_all_edges_and_no_escapes_but_its_own() -> None:
    graph = a_graph()
    lines = as_dot(graph).splitlines()
    assert (lines[0], lines[-1]) == ("digraph citris {", "}")
    edges = [line for line in lines if " -> " in line]
    assert len(edges) == all_edges(graph)
    assert all('probability="0.97"' in line and 'found="0.75"' in line for line in edges)
    assert '  "<b>\\"&\\\\";' in lines


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("count", [3, 20])
def test_in_a_browser(browser: Browser, tmp_path: Path, width: int, count: int) -> None:
    """Only boxes scroll sideways; what is pointed at stands out; colours follow what the reader prefers."""
    path = tmp_path / "page.html"
    path.write_text(graph_page(a_graph(tuple(f"variable_{i}" for i in range(count))), {"Data": "d" * 200}), "utf-8")
    browser.events.clear()
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    browser.open(path)
    assert browser.complaints() == []
    assert browser.value("document.documentElement.scrollWidth <= innerWidth")
    papers = []
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        papers.append(browser.value("getComputedStyle(document.body).backgroundColor"))
    assert len(set(papers)) == 2
    place = layout(a_graph(tuple(f"variable_{i}" for i in range(count)))).nodes[0].place
    browser.point_at(f".n{place} rect")
    faint = f"getComputedStyle(document.querySelector('g.line:not(.v{place})')).opacity"
    browser.wait(f"Number({faint}) < 0.1")
    assert browser.value(f"getComputedStyle(document.querySelector('g.line.v{place}')).opacity") == "1"
    browser.value("document.querySelector('[aria-label=\"Edges\"]').focus()")
    assert browser.value("document.activeElement.getAttribute('aria-label')") == "Edges"


TWENTY = tuple(f"variable_{number}" for number in range(20))


def test_every_edge_of_many_has_room_of_its_own_at_both_ends() -> None:
    placed = layout(a_graph(TWENTY, seed=1))
    ends: dict[tuple[float, float], list[tuple[float, float]]] = {}
    for line in placed.lines:
        half = (line.head[2][1] - line.head[0][1]) / 2
        for x, y in (line.curve[0], line.tip):
            ends.setdefault((round(x), 0), []).append((y, half))
    for (x, _), here in ends.items():
        for (y, half), (below, other) in pairwise(sorted(here)):
            assert below - y >= half + other - 0.7, x
    for node in placed.nodes:
        nearest = [
            y for line in placed.lines for _, y in (line.curve[0], line.tip) if abs(y - node.y) < node.height / 2
        ]
        assert all(abs(y - node.y) <= node.height / 2 - 4 for y in nearest)
    assert all(above.y + above.height / 2 < node.y - node.height / 2 for above, node in pairwise(placed.nodes[:20]))


def test_an_effect_and_its_reverse_are_apart() -> None:
    found, missing = (line for line in layout(a_graph(("a", "b"))).lines if line.when == "same step")
    assert found.names == missing.names[::-1]
    assert abs(found.curve[1][0] - missing.curve[1][0]) > 10


@pytest.mark.parametrize(("names", "fits"), [(TWENTY[:5], True), (TWENTY, False)])
def test_on_a_phone_a_small_graph_fits_and_a_large_one_scrolls(
    browser: Browser, tmp_path: Path, names: tuple[str, ...], fits: bool
) -> None:
    (tmp_path / "g.html").write_text(graph_page(a_graph(names), {}), "utf-8")
    browser.call("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
    browser.open(tmp_path / "g.html")
    box = "document.querySelector('.drawing .scroll')"
    assert browser.value(f"{box}.scrollWidth <= {box}.clientWidth") is fits
    assert browser.value("document.documentElement.scrollWidth") == 390
