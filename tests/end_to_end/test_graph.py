"""``citris graph``: the causal graph over a model's variables, as a user meets it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import networkx
import numpy as np
import pytest
import torch
from PIL import Image

from citris_cli.artifacts.models import read_model, write_model
from tests.end_to_end.conftest import Citris, succeed
from tests.end_to_end.test_bad_input import check_refusal
from tests.end_to_end.test_json import told
from tests.forks import started

pytestmark = pytest.mark.usefixtures("brief_estimate")


def sequence(home: Path, path: Path, rows: int = 200, **changed: object) -> Path:
    """The first frames of the training data; what is None is left out."""
    with np.load(home / "boxes/train.npz") as file:
        arrays = {
            name: file[name][: rows - (name == "targets")] if name in ("images", "latents", "targets") else file[name]
            for name in file.files
        }
    np.savez(path, **{name: value for name, value in {**arrays, **changed}.items() if value is not None})
    return path


def test_documents_and_page(home: Path, model: Path, tmp_path: Path, inside: Citris) -> None:
    found = told(inside, tmp_path, "graph", home / "boxes", "-m", model, "--instantaneous", "--repeats", 2)
    assert found == json.loads((tmp_path / "runs/boxes/graph.json").read_text())
    assert found["variables"] == ["ball_y", "box"]
    assert found["causes"] == ["ball_y", "box", "psi(0)"]
    for kind in ("temporal", "instantaneous"):
        assert np.shape(found[kind]["graph"]) == np.shape(found[kind]["probabilities"]) == (3, 2)
        assert len(found[kind]["edges"]) == np.sum(found[kind]["graph"])
        assert set(found[kind]["truth"]) == {"shd", "precision", "recall", "missing", "surplus"}
        assert {value for row in found[kind]["found"] for value in row} <= {0.0, 0.5, 1.0}
    page = (tmp_path / "runs/boxes/graph.html").read_text()
    assert str(model) in page
    assert page.count("<svg") >= 1


def test_the_same_seed_gives_the_same_graph(home: Path, model: Path, tmp_path: Path, inside: Citris) -> None:
    data = sequence(home, tmp_path / "d.npz")
    probabilities = [
        told(inside, tmp_path, "graph", data, "-m", model, "--seed", seed)["temporal"]["probabilities"]
        for seed in (3, 3, 4)
    ]
    assert probabilities[0] == probabilities[1] != probabilities[2]


def test_the_table_and_the_truth_are_told(home: Path, model: Path, tmp_path: Path, inside: Citris) -> None:
    done = inside("graph", home / "boxes", "-m", model, "-o", "g.json", cwd=tmp_path)
    assert done.stdout.decode() == "g.json\n"
    said = done.stderr.decode()
    assert "next step, against the true graph of 2 edges: SHD " in said
    assert "same step" not in said
    assert "page: g.html" in said


@pytest.mark.parametrize("ending", [".dot", ".graphml", ".png", ".html"])
def test_formats(ending: str, home: Path, model: Path, tmp_path: Path) -> None:
    data = sequence(home, tmp_path / "d.npz")
    assert succeed("graph", data, "-m", model, "-o", f"g{ending}", cwd=tmp_path) == f"g{ending}"
    edges = json.loads((tmp_path / "g.json").read_text())["temporal"]["edges"]
    made = tmp_path / f"g{ending}"
    if ending == ".graphml":
        assert networkx.read_graphml(made, force_multigraph=True).number_of_edges() == len(edges)
    elif ending == ".png":
        with Image.open(made) as picture:
            assert picture.width > 300
    else:
        assert made.read_text().count(' -> "' if ending == ".dot" else 'class="near"') >= len(edges)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["d.npz", f"g{ending}", "g.json"])


def test_refusals(home: Path, model: Path, tmp_path: Path, inside: Citris) -> None:
    data = sequence(home, tmp_path / "d.npz")

    def refused(says: str, *arguments: object, given: Path = data, by: Path = model) -> None:
        check_refusal(inside("graph", given, "-m", by, *arguments, cwd=tmp_path), says)

    refused(r"-o x\.pdf: .* use \.json, or \.html, \.dot, \.graphml or \.png for", "-o", "x.pdf")
    refused("--json and -o - both want", "--json", "-o", "-")
    refused("59 steps, and a graph needs at least 100", given=sequence(home, tmp_path / "short.npz", 60))
    other = sequence(home, tmp_path / "other.npz", keys=np.array(["p", "q", "r"]))
    refused("no column of its targets .* has the name of a variable of the model", given=other)
    refused(
        "holds values other than 0 and 1", given=sequence(home, tmp_path / "w.npz", graph_temporal=np.full((3, 3), 2))
    )
    file = read_model(model)
    file.tensors["assignment.logits"] = torch.eye(3)[[2, 2, 2, 2]]
    write_model(tmp_path / "rest.safetensors", file)
    refused("gave no latents to any variable", by=tmp_path / "rest.safetensors")
    refused("no causal latents", by=home / "runs/boxes/ae.safetensors")
    assert not list(tmp_path.glob("*.json"))


def test_a_model_without_an_assignment_is_refused(home: Path, tmp_path: Path, inside: Citris) -> None:
    """A baseline's training takes labels for it; a file that was made in another way may have none."""
    small = ["--steps", "2", "--latents", "4", "--channels", "8", "--hidden", "8", "--batch-size", "8"]
    vae = succeed("train-vae", home / "boxes", "--prior", "slow", *small, "-o", "slow.safetensors", cwd=tmp_path)
    data = sequence(home, tmp_path / "d.npz")
    file = read_model(tmp_path / vae)
    file.tensors["assignment.logits"] = torch.zeros(4, 3)
    write_model(tmp_path / "none.safetensors", file)
    done = inside("graph", data, "-m", "none.safetensors", cwd=tmp_path)
    check_refusal(done, "has no assignment of latents to variables")


def test_what_cannot_be_told_is_said(home: Path, model: Path, tmp_path: Path, inside: Citris) -> None:
    targets = np.load(home / "boxes/train.npz")["targets"][:199]
    targets[:, 2] = 0
    data = sequence(home, tmp_path / "d.npz", targets=targets)
    file = read_model(model)
    file.tensors["assignment.logits"] = torch.eye(3)[[0, 2, 2, 2]]
    write_model(tmp_path / "some.safetensors", file)
    done = inside("graph", data, "-m", "some.safetensors", "--instantaneous", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    said = done.stderr.decode()
    assert "199 steps: with fewer than 1,000" in said
    assert "box: no latents in this model, so not in the graph" in said
    assert "box: never intervened on in these data" in said


def test_an_interrupted_estimation_leaves_nothing(home: Path, model: Path, tmp_path: Path) -> None:
    """With the schedule as users have it, which takes seconds."""
    command = ["graph", home / "boxes", "-m", model, "--repeats", "100"]
    with started(*command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("estimating the graph"):
                break
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(60) == 130
    assert "citris: interrupted, and nothing was written; run the command again" in said
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
