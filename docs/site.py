"""Hooks of the documentation's site (mkdocs.yml): its first page, and links that leave it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
INDEX = "index.md"
#: A link of Markdown to a place in the repository, perhaps with a part of the page.
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|mailto:|#)([^)\s]+)\)")
#: A role of Sphinx in a docstring, such as :func:`~citris_cli.load`.
_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr):<code>~?([\w.]+)</code>")


def on_files(files: Files, config: Any) -> Files:
    """The README is the first page."""
    text = (ROOT / "README.md").read_text("utf-8")
    # There, pages lie in docs/, here all around.
    files.append(File.generated(config, INDEX, content=re.sub(r"(\]\(|src=\")docs/", r"\1", text)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """A link to a file that is no page becomes that file's name; whether all others lead somewhere, mkdocs checks."""
    index = page.file.src_uri == INDEX

    def shown(link: re.Match[str]) -> str:
        place = link[2].partition("#")[0]
        target = (DOCS / page.file.src_uri).parent.joinpath(place).resolve()
        if index and not target.exists():
            target = ROOT / place
        if not target.exists() or target.is_relative_to(DOCS):
            return link[0]
        name = target.relative_to(ROOT).as_posix()
        return f"`{name}`" if name.startswith(link[1].strip("`")) else f"{link[1]} (`{name}`)"

    return _LINK.sub(shown, markdown)


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Names in docstrings without the roles that Sphinx would read."""
    return _ROLE.sub(lambda role: f"<code>{role[1]}</code>", html)
