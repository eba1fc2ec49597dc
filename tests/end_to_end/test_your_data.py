"""The recipe of docs/your-data.md, line by line: from the example's film and table to pictures of interventions."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.end_to_end.conftest import TINY_AE, TINY_NF, Citris

ROOT = Path(__file__).parents[2]
SECTION = "From a film and a table to a model"
#: What keeps a training to a moment.
SHORT = {"train-ae": [*TINY_AE, "--steps", "2"], "train-nf": [*TINY_NF, "--steps", "2"]}


def section() -> str:
    text = (ROOT / "docs/your-data.md").read_text("utf-8")
    return text.split(f"## {SECTION}\n")[1].split("\n## ")[0]


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", section(), re.DOTALL | re.MULTILINE)
    return [text for named, text in found if named == language]


def test_every_line_of_the_recipe_runs(tmp_path: Path, inside: Citris) -> None:
    pytest.importorskip("av")
    (tmp_path / "examples").mkdir()
    shutil.copytree(ROOT / "examples/recording", tmp_path / "examples/recording")
    lines = [shlex.split(line) for line in "\n".join(blocks("sh")).splitlines() if line.startswith("citris ")]
    assert [line[1] for line in lines] == ["pack", "check", "train-ae", "train-nf", "encode", "intervene"]
    said = {}
    for _, command, *arguments in lines:
        done = inside(command, *arguments, *SHORT.get(command, []), cwd=tmp_path)
        said[command] = done.stderr.decode()
        assert done.returncode == 0, said[command]
        assert (tmp_path / done.stdout.decode().splitlines()[-1]).exists()
    # What the recipe shows of the table and of what pack says is what is there.
    table, notes = blocks("")
    assert (ROOT / "examples/recording/ball.csv").read_text().startswith(table)
    assert notes in said["pack"]


def test_the_example_is_small() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "examples/recording").iterdir()) < 300_000
