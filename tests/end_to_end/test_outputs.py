"""Where files go that nobody gave a name: over what was made of the same data, never over what was made of other."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from citris_cli.artifacts.models import read_model, read_model_header, write_model
from citris_cli.commands.outputs import free_place
from citris_cli.data.layout import safe_name
from citris_cli.show.animation import gif_bytes
from citris_cli.show.grids import png_bytes
from tests.end_to_end.conftest import TINY_NF, Citris, run_inside, succeed
from tests.end_to_end.test_bad_input import check_refusal


@pytest.fixture
def folder(home: Path, tmp_path: Path) -> Path:
    """A folder with two datasets of one name, A/x and B/x, in each of which lies a picture of one name."""
    with np.load(home / "boxes/test_indep.npz", allow_pickle=False) as boxes:
        images, latents, keys = (boxes[name] for name in ("images", "latents", "keys"))
    for start, place in ((0, "A/x"), (20, "B/x")):
        (tmp_path / place / "photos").mkdir(parents=True)
        rows = slice(start, start + 12)
        np.savez(tmp_path / place / "train.npz", images=images[rows], latents=latents[rows], keys=keys)
        Image.fromarray(images[start]).save(tmp_path / place / "photos/1.png")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "options", "name", "default"),
    [
        ("encode", [], "x", "runs/x/latents.npz"),
        ("encode", [], "x/photos", "runs/photos/latents.npz"),
        ("encode", [], "x/photos/1.png", "runs/1/latents.npz"),
        ("intervene", ["--var", "box"], "x/photos/1.png", "runs/1/1-box.png"),
        ("animate-latents", [], "x", "runs/x/latents.gif"),
        ("eval-correlation", [], "x", "runs/x/correlation.json"),
    ],
)
def test_two_of_one_name_do_not_meet(
    folder: Path, model: Path, command: str, options: list[str], name: str, default: str
) -> None:
    shutil.copy(model, folder / "m.safetensors")

    def made_of(path: str) -> tuple[Path, bytes]:
        out = folder / succeed(command, path, "-m", "m.safetensors", *options, cwd=folder)
        return out, out.read_bytes()

    first, content = made_of(f"A/{name}")
    assert first == folder / default
    other, _ = made_of(f"B/{name}")
    assert other.parent == first.parent
    assert other.stem.removeprefix(first.stem)[1:].isalnum()
    assert other.suffix == first.suffix
    assert first.read_bytes() == content
    # Again, and under another spelling, each takes its own earlier place.
    assert made_of(f"./A/../A/{name}")[0] == first
    assert made_of(str(folder / "B" / name))[0] == other
    assert len(list(first.parent.glob(f"*{first.suffix}"))) == 2


def test_evaluations_of_two_models_do_not_meet(folder: Path, model: Path) -> None:
    """Two are two by what they hold: one that was trained anew under the same name is another."""

    def evaluated(name: str) -> tuple[str, dict[str, str]]:
        path = succeed("eval-correlation", "A/x", "-m", name, cwd=folder)
        return path, json.loads((folder / path).read_text())

    shutil.copy(model, folder / "nf.safetensors")
    first, report = evaluated("nf.safetensors")
    assert first == "runs/x/correlation.json"
    assert report["model"] == "nf.safetensors"
    assert report["model_sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    shutil.copy(model, folder / "moved.safetensors")
    assert evaluated("moved.safetensors")[0] == first
    contents = read_model(model)
    write_model(folder / "nf.safetensors", replace(contents, provenance={**contents.provenance, "seed": 7}))
    other, report = evaluated("nf.safetensors")
    assert other not in (first, "runs/x/correlation.json")
    assert report["model_sha256"] != json.loads((folder / first).read_text())["model_sha256"]
    assert evaluated("nf.safetensors")[0] == other
    # One of before hashes were recorded tells too little to be replaced.
    (folder / first).write_text(json.dumps({"model": "nf.safetensors", "data": "A/x"}))
    assert evaluated("nf.safetensors")[0] == other


def test_nothing_is_written_beside_a_model_that_lies_elsewhere(home: Path, model: Path, tmp_path: Path) -> None:
    """It may lie in a folder that others share, or that cannot be written to."""
    (tmp_path / "shared").mkdir()
    shutil.copy(model, tmp_path / "shared/m.safetensors")
    for command, data, written in (
        ("eval-triplets", "val_triplets", "triplets-val_triplets"),
        ("eval-correlation", "val_indep", "correlation-val_indep"),
    ):
        path = succeed(command, home / f"boxes/{data}.npz", "-m", "shared/m.safetensors", cwd=tmp_path)
        assert path == f"runs/boxes/{written}.json"
        assert len(list((tmp_path / "runs/boxes").glob(f"{written}.*"))) == 2  # a picture or a page, too
    assert [path.name for path in (tmp_path / "shared").iterdir()] == ["m.safetensors"]


@pytest.mark.parametrize("name", ["..", ".", ".hidden", "a\nb\x1b[31m", "nul", "é" * 120, "x y"])
def test_a_file_of_any_name_gets_a_folder_of_its_own_under_runs(folder: Path, model: Path, name: str) -> None:
    shutil.copy(folder / "A/x/photos/1.png", folder / f"{name}.png")
    shutil.copy(model, folder / "m.safetensors")
    succeed("export", "m.safetensors", "-o", f"{name}.safetensors", cwd=folder)
    before = {path for path in folder.rglob("*") if path.is_file()}
    for command in (
        ["encode", f"{name}.png", "-m", "m.safetensors"],
        ["intervene", f"{name}.png", "--var", "box", "-m", "m.safetensors"],
        ["import-checkpoint", f"{name}.safetensors"],
    ):
        path = Path(succeed(*command, cwd=folder))
        assert path.parts[0] == "runs"
        assert len(path.parts) == 3
        assert path.parts[1] == safe_name(name)
    made = {path.relative_to(folder).parent for path in folder.rglob("*") if path.is_file() and path not in before}
    assert made == {Path("runs") / safe_name(name)}


def test_links_under_runs_lead_nowhere(folder: Path, model: Path) -> None:
    """Whoever can write there could make citris write anywhere else; only the folders themselves may be links."""
    shutil.copy(model, folder / "m.safetensors")
    (folder / "mine").write_text("of mine")
    (folder / "large").mkdir()
    (folder / "runs").symlink_to("large")
    (folder / "runs/x").mkdir()
    for name in (
        "latents.npz", "correlation.json", "correlation.html", *map(
            "causal_encoder{}".format, (".safetensors", ".state.safetensors", ".best.safetensors", ".metrics.jsonl")
        ), ".causal_encoder.lock",
    ):  # fmt: skip
        link = folder / "runs/x" / name
        command = ["train-causal-encoder", "A/x/train.npz", "--steps", "2", "--overwrite"]
        if "causal_encoder" not in name:
            command = ["encode" if name == "latents.npz" else "eval-correlation", "A/x", "-m", "m.safetensors"]
        says = (
            rf"^citris: runs/x/{name}: is a link to {{}}, and only what -o names is written through a link; remove it"
        )
        for target in (folder / "mine", folder / "not there"):
            link.unlink(missing_ok=True)
            link.symlink_to(target)
            check_refusal(run_inside(*command, cwd=folder), says.format(target))
        link.unlink()
    assert (folder / "mine").read_text() == "of mine"
    assert not (folder / "not there").exists()
    assert list((folder / "runs/x").iterdir()) == []
    assert succeed("encode", "A/x", "-m", "m.safetensors", cwd=folder) == "runs/x/latents.npz"
    (folder / "named.npz").symlink_to("large/z.npz")
    assert succeed("encode", "A/x", "-m", "m.safetensors", "-o", "named.npz", cwd=folder) == "named.npz"
    assert (folder / "named.npz").is_symlink()
    assert (folder / "large/z.npz").read_bytes() == (folder / "runs/x/latents.npz").read_bytes()


def test_an_evaluation_that_is_killed_is_complete_or_absent(folder: Path, model: Path) -> None:
    shutil.copy(model, folder / "m.safetensors")
    evaluate = ["eval-correlation", "A/x", "-m", "m.safetensors", "-o", "out.json"]
    script = (
        "import os, signal, sys; from citris_cli.app import main\n"
        "replace, left = os.replace, [int(sys.argv.pop(1))]\n"
        "def counted(*names):\n    left[0] or os.kill(os.getpid(), signal.SIGKILL)\n    left[0] -= 1; replace(*names)\n"
        "os.replace = counted; main()"
    )
    for before_it in range(2):
        died = subprocess.run(
            [sys.executable, "-c", script, str(before_it), *evaluate], cwd=folder, capture_output=True, check=False
        )
        assert died.returncode == -signal.SIGKILL, died.stderr.decode()
        assert not (folder / "out.json").exists()
        assert (folder / "out.html").exists() == (before_it == 1)
    # What they left goes when anything is written there.
    assert len(list(folder.glob(".out.*.tmp"))) == 1  # of the second one, which has removed what the first one left
    succeed("encode", "A/x", "-m", "m.safetensors", "-o", "z.npz", cwd=folder)
    assert not list(folder.glob(".*.tmp"))


def test_a_name_that_was_given_is_written_to(folder: Path, model: Path) -> None:
    for place in ("A/x", "B/x"):
        assert succeed("encode", place, "-m", model, "-o", "z.npz", cwd=folder) == "z.npz"
    with np.load(folder / "z.npz") as latents:
        assert set(latents["sources"]) == {"B/x"}


def test_pictures_say_what_they_were_made_of(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 4))
    for path, content in (
        (tmp_path / "a.png", png_bytes(picture, ["ä/x", "b"])),
        (tmp_path / "a.gif", gif_bytes([picture], 100, sources=["ä/x", "b"])),
    ):
        path.write_bytes(content)
        assert free_place(path, ["ä/x", "b"]) == path
        assert free_place(path, ["b", "ä/x", "c"]) == path
        assert free_place(path, ["b"]).parent == tmp_path
        assert free_place(path, ["b"]) not in (path, free_place(path, ["c"]))


@pytest.mark.parametrize("content", [b"", b"no such thing", b"{}", b"[1]", png_bytes(Image.new("RGB", (1, 1)))])
@pytest.mark.parametrize("suffix", [".npz", ".json", ".png", ".gif"])
def test_a_file_that_says_nothing_is_written_over(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    assert free_place(path, ["x"]) == path


def test_models_with_merged_columns_and_baselines_have_folders_of_their_own(
    home: Path, tmp_path: Path, inside: Citris
) -> None:
    with np.load(home / "boxes/train.npz", allow_pickle=False) as boxes:
        np.savez(tmp_path / "d.npz", images=boxes["images"][:40], targets=boxes["targets"][:39], keys=boxes["keys"])
    with np.load(home / "boxes/val_indep.npz", allow_pickle=False) as boxes:
        np.savez(tmp_path / "v.npz", images=boxes["images"][:20], latents=boxes["latents"][:20], keys=boxes["keys"])
    nf = ["train-nf", "d.npz", "--ae", home / "runs/boxes/ae.safetensors", *TINY_NF, "--steps", 2]
    vae = ["train-vae", "d.npz", "--steps", 2, "--channels", 4, "--latents", 4, "--batch-size", 8]
    for arguments, path in (
        (nf, "runs/d/nf.safetensors"),
        ([*nf, "--group", "ball=ball_y+box"], "runs/d-ball/nf.safetensors"),
        (vae, "runs/d/vae.safetensors"),
        ([*vae, "--prior", "ivae", "--val", "v.npz"], "runs/d-ivae/vae.safetensors"),
    ):
        assert succeed(*arguments, cwd=tmp_path) == path
    header = read_model_header(tmp_path / "runs/d/nf.safetensors")
    assert header.variables is not None
    assert [variable["name"] for variable in header.variables] == ["ball_y", "box"]
    done = inside("encode", "d.npz", cwd=tmp_path)
    assert "model: runs/d-ivae/vae.safetensors (the newest under runs/)" in done.stderr.decode()
