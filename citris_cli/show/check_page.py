"""A check of a dataset as a page."""

from __future__ import annotations

import html

from citris_cli.evaluation.data_check.report import DataCheck


def check_page(check: DataCheck) -> str:
    """The page as one text.

    Args:
        check: what was found.
    """
    said = [check.alignment.sentence, *check.problems, *check.hints, *check.unchecked]
    rows = [f"<tr><td>{html.escape(one.name)}</td><td>{one.interventions}</td></tr>" for one in check.variables]
    lines = [f"<p>{html.escape(one)}</p>" for one in said]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(check.data)}</title>'
    return "\n".join([head, "<table>", *rows, "</table>", *lines, "</html>"])
