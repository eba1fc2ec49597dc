"""Makes ``rounds.svg``: what each round of ``train-nf --rounds`` finds against the time it takes.

``python docs/pictures/rounds.py`` draws ``rounds.json``, which is written by hand from the log of a run and the JSON of
``citris eval-correlation``: for each round the minutes from the first step on, and R².
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FIGURES = HERE / "rounds.json"
WIDTH, HEIGHT = 720, 400
LEFT, TOP, RIGHT, BOTTOM = 60, 46, 600, 340
#: Minutes between lines of the grid.
GRID = 20

STYLE = """
    .page { fill: #ffffff }
    text { font: 13px system-ui, sans-serif; fill: #1c1f2b }
    .middle { text-anchor: middle } .end { text-anchor: end }
    .grid { stroke: #dcdee6 }
    polyline { fill: none; stroke-width: 2.5 }
    .s0 { stroke: #14509e } .s1 { stroke: #a3500f } .s2 { stroke: #5f7a0b } .s3 { stroke: #8d3a80 }
    circle.s0 { fill: #14509e } circle.s1 { fill: #a3500f } circle.s2 { fill: #5f7a0b } circle.s3 { fill: #8d3a80 }
    @media (prefers-color-scheme: dark) {
      .page { fill: #1b1e27 }
      text { fill: #eceef4 }
      .grid { stroke: #363b49 }
      .s0 { stroke: #7fb0f0 } .s1 { stroke: #eaa566 } .s2 { stroke: #b5d24f } .s3 { stroke: #d590c9 }
      circle.s0 { fill: #7fb0f0 } circle.s1 { fill: #eaa566 } circle.s2 { fill: #b5d24f } circle.s3 { fill: #d590c9 }
    }
"""


def picture(minutes: Sequence[float], series: dict[str, Sequence[float]], title: str) -> str:
    """A line for each of at most four series, R² from 0 to 1 against minutes, as SVG."""
    last = GRID * -(-max(minutes) // GRID)

    def place(minute: float, r2: float) -> tuple[float, float]:
        return LEFT + minute / last * (RIGHT - LEFT), BOTTOM - max(r2, 0) * (BOTTOM - TOP)

    marks = [f'<text x="{LEFT}" y="{TOP - 20}">R² on independent frames</text>']
    for step in range(6):
        _, y = place(0, step / 5)
        marks.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{RIGHT}" y2="{y:.1f}"/>')
        marks.append(f'<text class="end" x="{LEFT - 8}" y="{y + 4:.1f}">{step / 5:g}</text>')
    for minute in range(0, int(last) + 1, GRID):
        x, _ = place(minute, 0)
        marks.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{BOTTOM}"/>')
        marks.append(f'<text class="middle" x="{x:.1f}" y="{BOTTOM + 20}">{minute}</text>')
    middle = (LEFT + RIGHT) / 2
    marks.append(f'<text class="middle" x="{middle}" y="{BOTTOM + 44}">minutes of training, one CPU thread</text>')
    free = 0.0
    for number, (name, values) in sorted(enumerate(series.items()), key=lambda one: -one[1][1][-1]):
        points = [place(*point) for point in zip(minutes, values, strict=True)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        marks.append(f'<polyline class="s{number}" points="{line}"/>')
        marks += [f'<circle class="s{number}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in points]
        free = max(points[-1][1] + 4, free + 18)
        marks.append(f'<text x="{points[-1][0] + 10:.1f}" y="{free:.1f}">{name}</text>')
    inside = "\n  ".join(marks)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-labelledby="t">\n  <title id="t">{title}</title>\n  <style>{STYLE}  </style>\n  '
        f'<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="10"/>\n  {inside}\n</svg>\n'
    )


def main() -> None:
    """Draw the recorded run."""
    run: dict[str, Any] = json.loads(FIGURES.read_text())
    minutes = [one["minutes"] for one in run["rounds"]]
    series = {name: [one[key] for one in run["rounds"]] for key, name in run["series"].items()}
    (HERE / "rounds.svg").write_text(picture(minutes, series, run["title"]))


if __name__ == "__main__":
    main()
