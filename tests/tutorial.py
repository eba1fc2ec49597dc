"""The tutorial's commands, in its page and its notebook, as the tests run them and as its pictures are made."""

from __future__ import annotations

import ast
import io
import json
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE, NOTEBOOK = ROOT / "docs/tutorial.md", ROOT / "examples/tutorial.ipynb"
#: What the tests add to commands, by the beginning of their names. The page tells its readers of the same options.
BUDGETS = {"simulate": ["--frames", "1000"], "train": ["--steps", "20"]}
#: A picture of the page: ``tutorial-NAME.png`` is what a command above it wrote as ``NAME.png`` or ``NAME.html``.
PICTURE = re.compile(r"!\[[^\]]*\]\(pictures/tutorial-([\w.-]+)\.png\)")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

#: Runs a command of citris with its arguments.
Run = Callable[[list[str]], object]


def blocks() -> Iterator[tuple[str, str]]:
    """The page's blocks, in order: ``sh`` or ``python`` if it is to be run, nothing if it quotes output; its text."""
    return ((match[1], match[2]) for match in _BLOCK.finditer(PAGE.read_text("utf-8")))


def commands(block: str) -> list[list[str]]:
    """The arguments of every command in a block of shell lines, each of which calls citris."""
    lines = [shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines()]
    assert all(line[0] == "citris" for line in lines if line), f"not a line of citris alone:\n{block}"
    return [line[1:] for line in lines if line]


def budgeted(arguments: list[str]) -> list[str]:
    """A command with the small budget of its kind, if it has one."""
    return arguments + next((more for name, more in BUDGETS.items() if arguments[0].startswith(name)), [])


def run_page(run: Run) -> None:
    """Run every block of the page, in the current folder."""
    for number, (language, text) in enumerate(blocks(), 1):
        if language == "sh":
            for arguments in commands(text):
                run(arguments)
        elif language == "python":
            exec(compile(text, f"{PAGE.name}, block {number}", "exec"), {"__name__": "__main__"})


def run_notebook(run: Run) -> list[tuple[str, Any]]:
    """Run the notebook's cells in order, in the current folder: what each code cell prints, and its last line's value.

    A line that begins with ``!citris`` goes to ``run``; IPython gives it to a shell.
    """
    document = json.loads(NOTEBOOK.read_text("utf-8"))
    names: dict[str, Any] = {"__name__": "__main__", "_citris": lambda line: run(shlex.split(line, comments=True)[1:])}
    results = []
    for number, cell in enumerate(document["cells"], 1):
        if cell["cell_type"] != "code":
            continue
        source = re.sub(r"^!(citris .*)$", lambda line: f"_citris({line[1]!r})", "".join(cell["source"]), flags=re.M)
        tree, where = ast.parse(source), f"{NOTEBOOK.name}, cell {number}"
        shown = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        value = None
        with redirect_stdout(io.StringIO()) as printed:
            exec(compile(tree, where, "exec"), names)
            if shown is not None:
                value = eval(compile(ast.Expression(shown.value), where, "eval"), names)
        results.append((printed.getvalue(), value))
    return results
