"""What ``--json`` prints, held to docs/json.md: every document has the keys of its table, with the types there."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from citris_cli.data.signatures import FileType, beginning, identify
from tests.end_to_end.conftest import TINY_AE, TINY_NF, Citris
from tests.end_to_end.test_output_contract import MAKES, TRAINS, data, folder

__all__ = ["data", "folder"]  # fixtures
DOCS = Path(__file__).parents[2] / "docs/json.md"
PLAIN: dict[str, tuple[type, ...]] = {
    "text": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "object": (dict,),
}  # fmt: skip
#: A training of each kind that takes a moment.
SMALL = {
    "train-ae": [*TINY_AE, "--steps", "2"],
    "train-nf": [*TINY_NF, "--steps", "2"],
    "train-vae": ["--steps", "2", "--latents", "4", "--channels", "8", "--hidden", "8", "--batch-size", "8"],
    "train-causal-encoder": ["--steps", "2", "--channels", "8", "--batch-size", "8"],
}


def tables() -> dict[str, dict[str, str]]:
    """The type of every key, by the heading above its table; a heading may be of several commands."""
    found: dict[str, dict[str, str]] = {}
    headings: list[str] = []
    for line in DOCS.read_text("utf-8").splitlines():
        if heading := re.match(r"##+ (.+)", line):
            headings = heading[1].split(", ")
        elif row := re.match(r"\| (`.+?`) \| (.+?) \| ", line):
            for name in headings:
                found.setdefault(name, {}).update(dict.fromkeys(re.findall(r"`(.+?)`", row[1]), row[2]))
    return found


TABLES = tables()


def faults(value: Any, written: str, where: str) -> list[str]:
    """Where a value is not of the type that is written: "list of integer", "number or null", "finding", ….

    The name of another table is the type of an object with the keys of that table.
    """
    if written.endswith(" by name"):
        if not isinstance(value, dict):
            return [f"{where} is no object"]
        return [
            one for key, entry in value.items() for one in faults(entry, written[: -len(" by name")], f"{where}.{key}")
        ]
    if written.startswith("list of "):
        if not isinstance(value, list):
            return [f"{where} is no list"]
        return [one for entry in value for one in faults(entry, written[len("list of ") :], f"{where}[]")]
    if written.endswith(" or null"):
        return [] if value is None else faults(value, written[: -len(" or null")], where)
    if written in PLAIN:
        right = type(value) in PLAIN[written] and not (isinstance(value, float) and not math.isfinite(value))
        return [] if right else [f"{where} is {value!r}, no {written}"]
    table = TABLES[written]
    if not isinstance(value, dict):
        return [f"{where} is no object"]
    found = [f"{where}.{key} is not in the table of {written}" for key in value.keys() - table.keys()]
    for key, kind in table.items():
        if key in value:
            found += faults(value[key], kind.removesuffix(", optional"), f"{where}.{key}")
        elif not kind.endswith(", optional"):
            found.append(f"{where}.{key} is missing")
    return found


def told(inside: Citris, home: Path, command: str, *arguments: object, status: int = 0) -> dict[str, Any]:
    """The document of a command, which has the form that is written down."""
    done = inside(*command.split(), *arguments, "--json", cwd=home)
    assert done.returncode == status, done.stderr.decode()
    assert done.stdout.isascii()
    assert done.stdout.count(b"\n") == 1
    found = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert not faults(found, command.partition(" ")[0], command)
    return found


def test_the_tables_are_read_and_faults_are_found() -> None:
    assert {*MAKES, *TRAINS, "check", "simulate", "info", "models"} < TABLES.keys()
    for table in TABLES.values():
        for written in table.values():
            bare = written.removesuffix(", optional").removesuffix(" or null").removesuffix(" by name")
            assert re.sub("^(list of )+", "", bare) in PLAIN.keys() | TABLES.keys(), written
    right = {"files": ["x"], "dataset": "x", "frames": 3, "seed": 0}
    right |= {"world": "x", "settings": {}, "rows_per_split": {"train": 3}}
    assert faults(right, "simulate", "x") == []
    for wrong in ({"frames": "3"}, {"frames": True}, {"files": "x"}, {"files": [1]}, {"dataset": None}, {"new": 1}):
        assert len(faults(right | wrong, "simulate", "x")) == 1
    assert faults({"files": ["x"]}, "simulate", "x") != []
    assert faults([1, math.nan, None, "a"], "list of number or null", "x") == [
        "x[] is nan, no number", "x[] is 'a', no number"
    ]  # fmt: skip


@pytest.mark.parametrize("command", MAKES)
def test_documents_of_results(folder: Path, inside: Citris, command: str) -> None:
    found = told(inside, folder, command, *MAKES[command][0])
    default = MAKES[command][2]
    assert found.get("files", [default]) == [default]
    assert found["model"] == (default if command == "import-checkpoint" else "m.safetensors")
    if "latents_per_variable" in found:
        assert sum(found["latents_per_variable"].values()) == 4
    if default.endswith(".json"):
        assert identify(beginning(folder / default)) == FileType("a report that citris wrote", "own text")


def test_the_documents_of_distances(home: Path, tmp_path: Path, inside: Citris) -> None:
    encoder = tmp_path / "causal_encoder.safetensors"
    told(inside, tmp_path, "train-causal-encoder", home / "boxes", *SMALL["train-causal-encoder"], "-o", encoder)
    model = home / "runs/boxes/nf.safetensors"
    arguments = [home / "boxes/val_triplets.npz", "-m", model, "--causal-encoder", encoder, "-o", "t.json"]
    found = told(inside, tmp_path, "eval-triplets", *arguments)
    assert set(found["distances"]) == {"causal_encoder", "against", "prediction", "own_error", "copy_of_image_1"}


@pytest.mark.parametrize("command", ["train-ae", "train-nf", "train-vae"])
def test_documents_of_trainings(home: Path, tmp_path: Path, inside: Citris, command: str) -> None:
    ae = ["--ae", home / "runs/boxes/ae.safetensors"] if command == "train-nf" else []
    found = told(inside, tmp_path, command, home / "boxes", *SMALL[command], *ae, "-o", "m.safetensors")
    assert (found["files"], found["model"], found["metrics_log"]) == (
        ["m.safetensors"], "m.safetensors", "m.metrics.jsonl"
    )  # fmt: skip


def test_documents_of_a_check(home: Path, tmp_path: Path, inside: Citris) -> None:
    found = told(inside, tmp_path, "check", home / "boxes")
    assert found["variables"] == list(found["interventions"])
    frames = np.zeros((3, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "little.npz", images=frames, targets=[[1], [0]])
    assert told(inside, tmp_path, "check", "little.npz")["fit"] is False


def test_models(inside: Citris, tmp_path: Path) -> None:
    assert len(told(inside, tmp_path, "models")["models"]) == 2


def test_the_document_of_a_simulation(tmp_path: Path, inside: Citris) -> None:
    found = told(inside, tmp_path, "simulate ball-in-boxes", "--frames", 2, "--seed", 7)
    assert (found["dataset"], found["frames"], found["seed"]) == ("data/ball_in_boxes", 2, 7)


def test_the_document_of_a_packing(tmp_path: Path, inside: Citris) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3)).astype(np.uint8)
    np.savez(tmp_path / "d.npz", images=frames, interventions=np.arange(11)[:, None] % 2)
    found = told(inside, tmp_path, "pack", "d.npz", "--val", 0.25, "-o", "made")
    assert found["frames_per_split"] == {"train": 9, "val": 3}
    assert (found["steps"], found["interventions"]) == (10, {"interventions": 5})
    assert told(inside, tmp_path, "info", "made/train.npz")["provenance"]["recordings"][0]["frames"] == 12


def test_documents_of_info(folder: Path, home: Path, model: Path, inside: Citris) -> None:
    kinds = {}

    def add(*paths: object, status: int = 0) -> None:
        found = told(inside, folder, "info", *paths, status=status)
        kinds[found["kind"]] = found

    frames = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3)).astype(np.uint8)
    told(inside, folder, "encode", *MAKES["encode"][0], "-o", "z.npz")
    told(inside, folder, "intervene", *MAKES["intervene"][0], "-o", "i.npz")
    np.savez(folder / "indep.npz", images=frames, latents=np.random.default_rng(0).random((12, 3)))
    np.savez(folder / "refused.npz", images=frames)
    (folder / "p").mkdir()
    Image.new("RGB", (12, 8)).save(folder / "p/a.png")
    (folder / "film.mp4").write_bytes(b"\0\0\0\x14ftypisom" + bytes(40))
    add("m.safetensors")
    add(home / "runs/boxes/ae.safetensors")
    add("p.safetensors")
    add(home / "boxes")
    add(home / "boxes/train.npz")
    add("d/test_triplets.npz")
    add("indep.npz")
    add("z.npz")
    add("i.npz")
    add("p")
    add("p/a.png")
    add(home / "runs/boxes")
    add("m.safetensors", "z.npz")
    add(home / "boxes/train.npz", home / "boxes/train.npz", status=2)
    add("refused.npz", status=2)
    add("film.mp4", status=2)
    add("m.safetensors", "film.mp4", status=2)
    assert set(kinds) == {
        "citris_nf", "autoencoder", "published checkpoint", "dataset", "triplets", "independent frames",
        "causal latents", "interventions", "pictures", "picture", "artifacts", "files", "film (MP4)",
    }  # fmt: skip
