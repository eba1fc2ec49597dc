"""The tutorial: every command and block of its page, and every cell of its notebook, with small budgets.

The budgets are those of ``tests.tutorial.BUDGETS``, which the page tells its readers of, and a brief estimate of the
graph. All else is as it stands there.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from tests.end_to_end.conftest import run_inside
from tests.tutorial import BUDGETS, NOTEBOOK, PAGE, PICTURE, Run, blocks, budgeted, run_notebook, run_page

PICTURES = PAGE.parent / "pictures"


def run_in(folder: Path, told: list[str]) -> Run:
    """Runs a command there with a small budget; what it tells is added to ``told``."""

    def run(arguments: list[str]) -> None:
        done = run_inside(*budgeted(arguments), cwd=folder)
        assert done.returncode == 0, (arguments, done.stderr.decode())
        told.append(done.stdout.decode() + done.stderr.decode())

    return run


def names_of(pattern: re.Pattern[str]) -> list[str]:
    return list(dict.fromkeys(pattern.findall(PAGE.read_text("utf-8"))))


@pytest.mark.usefixtures("brief_estimate")
def test_every_command_of_the_page_works_and_writes_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    run_page(run_in(tmp_path, told))
    for name in names_of(PICTURE):
        places = (f"{name}.png", f"{name}.html", f"runs/ball_in_boxes/{name}.png")
        assert any((tmp_path / place).is_file() for place in places), f"nothing on the page makes {name}"
    # What the page explains is what the commands say, whatever the budget.
    everything = " ".join(" ".join([*told, capsys.readouterr().out]).split())
    for quoted in (text for language, text in blocks() if language == ""):
        if not quoted.startswith(("columns", "R²")):  # which depend on how many frames there are
            assert " ".join(quoted.split()) in everything
    for said in (
        "box: the value after an intervention still depends on the frame before",
        "ball_x is never intervened on: dropped",
        "ball_y and box are always intervened on in the same steps: nothing shows which latents belong to which",
    ):
        assert said in everything


@pytest.mark.usefixtures("brief_estimate")
def test_every_cell_of_the_notebook_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    results = run_notebook(run_in(tmp_path, told))
    assert sum(isinstance(value, Image.Image) for _, value in results) >= 7
    assert len(told) == sum(
        "".join(c["source"]).count("!citris") for c in json.loads(NOTEBOOK.read_text())["cells"][1:]
    )


def test_the_page_tells_of_the_small_budgets() -> None:
    text = " ".join(PAGE.read_text("utf-8").split())
    for options in BUDGETS.values():
        assert f"`{' '.join(options)}`" in text


def test_its_pictures_are_there_and_small() -> None:
    pages = {PICTURES / f"tutorial-{name}.png" for name in names_of(PICTURE)}
    assert set(PICTURES.glob("tutorial-*.png")) == pages
    for path in pages:
        with Image.open(path) as picture:
            picture.verify()
        assert path.stat().st_size < 200_000


def test_its_diagrams_have_their_own_ground_and_colours_for_dark_surroundings() -> None:
    diagrams = names_of(re.compile(r"!\[[^\]]*\]\(pictures/(tutorial-[\w-]+\.svg)\)"))
    assert diagrams == ["tutorial-citris-vae.svg", "tutorial-citris-nf.svg"]
    for name in diagrams:
        root = ElementTree.parse(PICTURES / name).getroot()
        space = {"svg": "http://www.w3.org/2000/svg"}
        assert root.find("svg:title", space) is not None
        ground = root.find("svg:rect", space)
        assert ground is not None
        assert (ground.get("class"), ground.get("width")) == ("page", root.get("width"))
        assert "prefers-color-scheme: dark" in (root.findtext("svg:style", "", space))
