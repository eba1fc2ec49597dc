"""Measurements as a table."""

from __future__ import annotations

from rich.table import Table

from tests.benchmarks.measure import Row


def number(value: float | None, unit: str) -> str:
    """A number for the table, times in the unit that suits them."""
    if value is None:
        return ""
    if unit == "s":
        return f"{1e3 * value:.3g} ms" if value < 1 else f"{value:.3g} s"
    return f"{value:,.0f} {unit}" if unit.endswith("/s") else f"{value:.2f} {unit}"


def target(row: Row) -> str:
    """The row's target and whether it is met, for the table."""
    if row.target is None:
        return ""
    sign, bound = ("≥" if row.target.least else "≤"), row.target.bound
    wanted = f"{sign} {number(bound, row.unit)}" if row.target.of == "ours" else f"{sign} {bound:g}×"
    if row.target.of == "floor":
        wanted += " bound"
    return f"[green]{wanted}, met[/]" if row.met else f"[bold red]{wanted}, missed[/]"


def table(rows: list[Row], title: str) -> Table:
    """All rows as a table."""
    drawn = Table(title=title, title_justify="left")
    drawn.add_column("what")
    for name in ("citris", "reference", "bound", "speed-up", "/ bound", "target"):
        drawn.add_column(name, justify="right")
    for row in rows:
        ratios = ("" if value is None else f"{value:.3g}×" for value in (row.ratio, row.above_floor))
        values = (number(value, row.unit) for value in (row.ours, row.plain, row.floor))
        drawn.add_row(row.what, *values, *ratios, target(row))
    return drawn
