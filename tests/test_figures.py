"""Tables of measurements in the documentation, held to the benchmarks' files that they are made of."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs/figures"


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("figures", FIGURES / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tables = _script()


def test_every_table_is_what_the_benchmarks_measured() -> None:
    drawn = set()
    for path in tables.documents():
        text = path.read_text("utf-8")
        drawn.update(marked[2] for marked in tables.MARKED.finditer(text))
        assert tables.filled(text) == text, f"run python docs/figures/tables.py: {path.relative_to(ROOT)} is behind"
        assert text.count("<!-- figures:") == text.count("<!-- end of figures -->") == len(tables.MARKED.findall(text))
    assert drawn == set(tables.TABLES)


BENCHMARKS = sorted(path for path in FIGURES.glob("*.json") if path.stem != "results")


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_ratios_of_a_file_are_those_of_its_numbers(path: Path) -> None:
    for row in json.loads(path.read_text("utf-8"))["rows"]:
        faster = row["unit"].endswith("/s")
        for ratio, other in (("ratio", "plain"), ("above_floor", "floor")):
            if row["ours"] is not None and row[other] is not None:
                ours_first = faster == (ratio == "ratio")
                is_ = row["ours"] / row[other] if ours_first else row[other] / row["ours"]
                assert row[ratio] == pytest.approx(is_, rel=0.05), row["what"]


def test_a_changed_number_changes_the_documents(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path in FIGURES.glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text("utf-8"), "utf-8")
    changed = json.loads((tmp_path / "cpu.json").read_text("utf-8"))
    row = next(one for one in changed["rows"] if one["what"] == tables.CITRIS_NF)
    row["ours"], row["ratio"] = 0.0123, 29.9
    (tmp_path / "cpu.json").write_text(json.dumps(changed), "utf-8")
    monkeypatch.setattr(tables, "HERE", tmp_path)
    text = tables.filled((ROOT / "docs/performance.md").read_text("utf-8"))
    assert "12.3 ms" in text
    assert "29.9×" in text
