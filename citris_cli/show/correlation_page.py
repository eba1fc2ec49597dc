"""R² and Spearman matrices as one self-contained HTML page: SVG heat-maps, the numbers beside them, no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from rich.cells import cell_len

from citris_cli.show.heat import heat, ink
from citris_cli.show.page import beginning, scrolling, text

#: Size of a cell, and the least of the row labels' column and the column labels' row, in SVG units (pixels at 100 %).
CELL_WIDTH, CELL_HEIGHT, LABELS, HEADER = 62, 34, 96, 78
#: More than a letter of a label takes, on average; a wide one (CJK) takes two. And what one of 45 degrees has of it.
LETTER, SLANTED = 7.5, math.sqrt(0.5)

_STYLE = """
h2 { font-size: 1.1rem; margin-top: 2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; } dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
svg { display: block; } svg text { font: 13px system-ui, sans-serif; }
svg .label { fill: var(--text); } svg .own { fill: none; stroke: #d1742a; stroke-width: 2.5; }
p.note { color: var(--quiet); max-width: 46rem; }
"""

_EXPLANATION = (
    "Every row is a small network that sees only the latents of one variable (psi(0): the latents of none) and "
    "predicts every true factor from them; it is scored on frames that it was not trained on. Framed: the variable's "
    "own factors, which should be near 1; all else in the row should be near 0. diag is the mean of the framed values, "
    "sep the mean over variables of the largest other value, average sep that of the mean of all others."
)


def correlation_page(
    rows: Sequence[str],
    factors: Sequence[str],
    own: Sequence[int | None],
    matrices: Mapping[str, np.ndarray],
    facts: Mapping[str, str],
) -> str:
    """The page.

    Args:
        rows: whose latents were read, one name a row of the matrices.
        factors: names of the true factors, one a column.
        own: for each factor the row of the variable that it belongs to, which is framed, or None.
        matrices: title of each matrix, and its values [rows, factors]; NaN for a factor that does not vary.
        facts: what is said above them (model, data, …), shown in order.
    """
    parts = [
        beginning("citris: correlation", _STYLE),
        "<h1>What the latents of each variable say about the true factors</h1><dl>",
        *(f"<dt>{escape(name)}</dt><dd>{text(value)}</dd>" for name, value in facts.items()),
        f'</dl><p class="note">{_EXPLANATION}</p>',
    ]
    for title, matrix in matrices.items():
        parts += [f"<h2>{escape(title)}</h2>", scrolling(_svg(rows, factors, own, matrix, title), title)]
    return "\n".join([*parts, "</body></html>\n"])


def _svg(rows: Sequence[str], factors: Sequence[str], own: Sequence[int | None], matrix: np.ndarray, title: str) -> str:
    left = max(LABELS, *(round(cell_len(row) * LETTER) + 12 for row in rows))
    slanted = [round(cell_len(factor) * LETTER * SLANTED) + 12 for factor in factors]
    top = max(HEADER, *(length + 8 for length in slanted))
    ends = [left + (j + 0.5) * CELL_WIDTH + length for j, length in enumerate(slanted)]
    width = round(max(left + CELL_WIDTH * len(factors), *ends)) + 4
    height = top + CELL_HEIGHT * len(rows) + 4
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img"><title>{escape(title)}</title>'
    ]
    for j, factor in enumerate(factors):
        x = left + (j + 0.5) * CELL_WIDTH
        parts.append(
            f'<text class="label" transform="translate({x:.1f} {top - 8}) rotate(-45)">{escape(factor)}</text>'
        )
    for i, row in enumerate(rows):
        y = top + i * CELL_HEIGHT
        parts.append(
            f'<text class="label" x="{left - 8}" y="{y + CELL_HEIGHT / 2 + 4}" text-anchor="end">{escape(row)}</text>'
        )
        parts += [_cell(row, factor, float(matrix[i, j]), left + j * CELL_WIDTH, y) for j, factor in enumerate(factors)]
    for j, own_row in enumerate(own):
        if own_row is not None:
            x, y = left + j * CELL_WIDTH, top + own_row * CELL_HEIGHT
            size = f'width="{CELL_WIDTH - 2}" height="{CELL_HEIGHT - 2}"'
            parts.append(f'<rect class="own" x="{x + 1}" y="{y + 1}" {size}/>')
    return "".join([*parts, "</svg>"])


def _cell(row: str, factor: str, value: float, x: int, y: int) -> str:
    background, letters = (f"rgb{colour}" for colour in (heat(value), ink(value)))
    shown = "–" if math.isnan(value) else f"{value:.2f}"
    exact = "does not vary" if math.isnan(value) else f"{value:.4f}"
    return (
        f'<g><title>{escape(factor)} from {escape(row)}: {exact}</title><rect x="{x}" y="{y}" width="{CELL_WIDTH}" '
        f'height="{CELL_HEIGHT}" fill="{background}"/><text x="{x + CELL_WIDTH / 2}" y="{y + CELL_HEIGHT / 2 + 4}" '
        f'text-anchor="middle" fill="{letters}">{shown}</text></g>'
    )
