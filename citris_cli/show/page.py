"""What all HTML pages have in common: colours on light and on dark paper, letters, pictures that they bring along."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

from PIL import Image

from citris_cli.show.colours import PAPER_DARK, PAPER_LIGHT, TEXT_DARK, TEXT_LIGHT
from citris_cli.show.grids import png_bytes
from citris_cli.wording import visible

#: The part of every page's style that is the same. A `.scroll` is a box in which something wide scrolls by itself.
STYLE = f"""
:root {{ color-scheme: light dark; --paper: {PAPER_LIGHT}; --text: {TEXT_LIGHT}; --quiet: #5b6472; --line: #d5dae2; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --paper: {PAPER_DARK}; --text: {TEXT_DARK}; --quiet: #9aa4b2; --line: #343b47; }}
}}
* {{ box-sizing: border-box; }}
body {{ background: var(--paper); color: var(--text); font: 15px/1.5 system-ui, sans-serif; margin: 1.5rem auto;
  max-width: 72rem; padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; overflow-wrap: anywhere; }}
.quiet {{ color: var(--quiet); }}
.scroll {{ overflow: auto; }}
:focus-visible {{ outline: 2px solid #3b82f6; outline-offset: 2px; }}
"""


def filled(template: str, values: Mapping[str, str]) -> str:
    """A page from a template of this package.

    Args:
        template: its file's name.
        values: what stands in place of each ``{{name}}``.
    """
    page = files("citris_cli.show").joinpath(template).read_text("utf-8")
    # In one pass: what is put in is never searched for places to put something in.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: values[place[1]], page)


def embedded_json(value: Any) -> str:
    """JSON that may stand inside a ``<script>`` element: no character in it can end the element or open a comment."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def text(words: str) -> str:
    """Words, perhaps with names from files, as HTML that shows them and nothing else, also between quotation marks."""
    return escape(visible(words))


def beginning(title: str, style: str) -> str:
    """A page without scripts up to its body; its own policy forbids all network access.

    Args:
        title: of the window, plain text.
        style: CSS after that of all pages.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        f'<link rel="icon" href="data:,"><title>{text(title)}</title>\n<style>{STYLE}{style}</style></head>\n<body>'
    )


def scrolling(content: str, name: str) -> str:
    """HTML in a box that scrolls by itself, with the keyboard too.

    Args:
        content: HTML.
        name: what a screen reader calls the box, plain text.
    """
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{text(name)}">{content}</div>'


def data_uri(picture: Image.Image) -> str:
    """A picture as an address that holds all of it, as PNG."""
    return "data:image/png;base64," + b64encode(png_bytes(picture)).decode("ascii")
