"""``-o FILE``, ``-o -``, ``--json`` and the default place: one contract that every command keeps."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.end_to_end.conftest import Citris, first_rows, succeed
from tests.end_to_end.test_bad_input import check_refusal

#: Every command that makes an artifact of a finished model: its arguments, its file's ending and its default place.
MAKES: dict[str, tuple[list[str], str, str]] = {
    "encode": (["d/test_indep.npz", "-m", "m.safetensors"], ".npz", "runs/d/latents-test_indep.npz"),
    "intervene": (
        ["d/test_indep.npz#3", "--var", "box", "-m", "m.safetensors"], ".png", "runs/d/test_indep-3-box.png"
    ),
    "animate-latents": (
        ["d/test_indep.npz", "--frames", "2", "-m", "m.safetensors"], ".gif", "runs/d/latents-test_indep.gif"
    ),
    "rollout": (
        ["d/test_indep.npz#3", "--steps", "2", "-m", "m.safetensors"], ".gif", "runs/d/rollout-test_indep-3.gif"
    ),
    "eval-rollout": (
        ["d/walk.npz", "--steps", "2", "--starts", "3", "-n", "1", "-m", "m.safetensors"], ".json",
        "runs/walk/futures.json",
    ),
    "eval-triplets": (["d/test_triplets.npz", "-m", "m.safetensors"], ".json", "runs/d/triplets-test_triplets.json"),
    "eval-correlation": (
        ["d/test_indep.npz", "-m", "m.safetensors"], ".json", "runs/d/correlation-test_indep.json"
    ),
    "export": (["m.safetensors"], ".safetensors", "m.published.safetensors"),
    "import-checkpoint": (["p.safetensors"], ".safetensors", "runs/p/nf.safetensors"),
}  # fmt: skip
TRAINS = ["train-ae", "train-nf", "train-vae", "train-causal-encoder"]
#: What a command cannot do without being given it.
NEEDS = {"intervene": ["--var", "box"]}


@pytest.fixture(scope="module")
def data(home: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, the same under published names, and a few frames and triplets."""
    folder = tmp_path_factory.mktemp("contract")
    (folder / "d").mkdir()
    for name in ("test_indep", "test_triplets"):
        np.savez(folder / f"d/{name}.npz", **first_rows(home / f"boxes/{name}.npz", 12))
    walk = dict(np.load(home / "boxes/train.npz", allow_pickle=False))
    count = len(walk["images"])
    # Half of the frames are to learn from how factors are read.
    for name, rows in (("images", 2 * count), ("latents", 2 * count), ("targets", 2 * count - 1)):
        walk[name] = np.resize(walk[name], (rows, *walk[name].shape[1:]))
    np.savez(folder / "d/walk.npz", **walk)
    shutil.copy(model, folder / "m.safetensors")
    assert succeed("export", "m.safetensors", "-o", "p.safetensors", cwd=folder) == "p.safetensors"
    return folder


@pytest.fixture
def folder(data: Path, tmp_path: Path) -> Path:
    """A copy of it to write into."""
    return shutil.copytree(data, tmp_path / "home")


@pytest.fixture
def nothing_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever takes time ends the test."""

    def work(*_: object, **__: object) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr(torch.nn.Module, "__call__", work)
    for name in ("published_of", "model_file_of"):
        monkeypatch.setattr(f"citris_cli.conversion.{name}", work)


def tree(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def comparable(command: str, content: bytes) -> Any:
    """What of an artifact does not depend on where it was sent."""
    if command == "import-checkpoint":
        return content[-1000:]  # its metadata tell of the command line
    return json.loads(content) if MAKES[command][1] == ".json" else content


@pytest.mark.parametrize("command", MAKES)
def test_every_way_of_asking(command: str, folder: Path, inside: Citris) -> None:
    arguments, ending, default = MAKES[command]
    named, other = f"new/x{ending}", f"y{ending}"
    assert succeed(command, *arguments, "-o", named, cwd=folder) == named
    artifact = comparable(command, (folder / named).read_bytes())
    before = tree(folder)
    piped = inside(command, *arguments, "-o", "-", cwd=folder)
    assert piped.returncode == 0, piped.stderr.decode()
    assert comparable(command, piped.stdout) == artifact
    assert tree(folder) == before
    told = inside(command, *arguments, "--json", "-o", other, cwd=folder)
    assert told.returncode == 0, told.stderr.decode()
    assert told.stdout.count(b"\n") == 1
    document = json.loads(told.stdout)
    assert comparable(command, (folder / other).read_bytes()) == artifact
    assert document == artifact if ending == ".json" else other in [*document.values(), *document.get("files", [])]
    assert succeed(command, *arguments, cwd=folder) == default
    assert comparable(command, (folder / default).read_bytes()) == artifact
    # Nothing is left of what was being written.
    assert not [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


@pytest.mark.parametrize("command", [*MAKES, *TRAINS])
def test_two_results_on_standard_output_are_refused_before_anything_is_read(
    command: str, tmp_path: Path, inside: Citris
) -> None:
    done = inside(command, "none.npz", *NEEDS.get(command, []), "--json", "-o", "-", cwd=tmp_path)
    check_refusal(done, "^citris: --json and -o - both want standard output; give -o a file$")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("nothing_computed")
@pytest.mark.parametrize("command", MAKES)
def test_a_place_that_cannot_be_written_is_found_before_the_work(command: str, folder: Path, inside: Citris) -> None:
    arguments, ending, default = MAKES[command]
    (folder / "text").write_text("no folder")
    (folder / default).mkdir(parents=True)
    before = tree(folder)
    done = inside(command, *arguments, "-o", f"text/x{ending}", cwd=folder)
    check_refusal(done, rf"^citris: text/x{ending}: cannot be written \(.*\); choose another place with -o$")
    check_refusal(inside(command, *arguments, cwd=folder), rf"^citris: {default}: cannot be written \(is a directory\)")
    assert tree(folder) == before


@pytest.mark.usefixtures("nothing_computed")
@pytest.mark.parametrize("command", MAKES)
def test_what_it_reads_it_does_not_write_over(command: str, folder: Path, inside: Citris) -> None:
    """By its own name, as a link, as a hard link; the model as well as the data."""
    arguments, ending, _ = MAKES[command]
    read = [arguments[0].split("#")[0], *(["m.safetensors"] if "-m" in arguments else [])]
    for number, name in enumerate(read):  # under an ending that the output may have
        (folder / f"link{number}{ending}").symlink_to(folder / name)
        os.link(folder / name, folder / f"hard{number}{ending}")
    before = tree(folder)
    for number, name in enumerate(read):
        for out in (f"link{number}{ending}", f"hard{number}{ending}", *([name] if name.endswith(ending) else [])):
            done = inside(command, *arguments, "-o", out, cwd=folder)
            called = "--model" if number else "(INPUT|DATA|IMAGE|FILE)"
            check_refusal(done, rf"^citris: -o {out}: is also an input \({called} {name}\); name another file$")
    assert tree(folder) == before


@pytest.mark.usefixtures("nothing_computed")
def test_nor_what_else_it_reads(folder: Path, inside: Citris) -> None:
    shutil.copy(folder / "m.safetensors", folder / "c.json")
    with np.load(folder / "d/test_indep.npz") as file:
        (folder / "photos").mkdir()
        for number in range(2):
            Image.fromarray(file["images"][number]).save(folder / f"photos/{number}.png")
    before = tree(folder)
    m = ["-m", "m.safetensors"]
    for arguments, out, what in (
        (["eval-triplets", "d", *m, "--causal-encoder", "c.json"], "c.json", "--causal-encoder c.json"),
        (["import-checkpoint", "p.safetensors", "--ae", "m.safetensors"], "m.safetensors", "--ae m.safetensors"),
        (
            ["intervene", "d/test_indep.npz#1", *m, "--var", "box", "--from", "photos/1.png"],
            "photos/1.png",
            "--from .*",
        ),
        (["encode", "photos", *m], "photos/0.png", "INPUT photos/0.png"),
        (["encode", "photos/*", *m], "photos/0.png", "INPUT photos/0.png"),
        (["encode", "d", *m], "d/test_indep.npz", "INPUT d/test_indep.npz"),
        (["train-ae", "d"], "d/test_indep.npz", "DATA d/test_indep.npz"),
        (["train-vae", "d", "--val", "m.safetensors"], "m.safetensors", "--val m.safetensors"),
    ):
        done = inside(*arguments, "-o", out, cwd=folder)
        check_refusal(done, rf"^citris: -o {out}: is also an input \({what}\); name another file$")
    piped = subprocess.run(
        [sys.executable, "-m", "citris_cli", "encode", "-", *m, "-o", "photos/0.png"],
        stdin=(folder / "photos/0.png").open("rb"), cwd=folder, capture_output=True, check=False,
    )  # fmt: skip
    check_refusal(piped, r"^citris: -o photos/0.png: is also an input \(INPUT on standard input\); name another file$")
    assert tree(folder) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("command", MAKES)
def test_a_pipe_gets_it_whole(command: str, folder: Path, inside: Citris) -> None:
    arguments, ending, _ = MAKES[command]
    assert succeed(command, *arguments, "-o", f"x{ending}", cwd=folder) == f"x{ending}"
    names = ["pipe"] if ending == ".json" else [f"pipe{ending}", "pipe"]
    for name in names:
        os.mkfifo(folder / name)
        got: list[bytes] = []
        reader = threading.Thread(target=lambda pipe, got: got.append(pipe.read_bytes()), args=(folder / name, got))
        reader.start()
        before = tree(folder)
        done = inside(command, *arguments, "-o", name, cwd=folder)
        reader.join(10)
        assert done.stdout.decode() == f"{name}\n", done.stderr.decode()
        assert comparable(command, got[0]) == comparable(command, (folder / f"x{ending}").read_bytes())
        assert tree(folder) == before  # nothing lies beside it
        assert (folder / name).is_fifo()


@pytest.mark.parametrize("command", MAKES)
def test_nothing_is_left_beside_a_device(command: str, folder: Path, inside: Citris) -> None:
    before = sorted(os.listdir("/dev"))
    assert succeed(command, *MAKES[command][0], "-o", os.devnull, cwd=folder) == os.devnull
    assert inside(command, *MAKES[command][0], "-o", "/dev/stdout", cwd=folder).stdout[:5] != b"/dev/"
    assert sorted(os.listdir("/dev")) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("command", TRAINS)
def test_a_training_takes_no_pipe(command: str, tmp_path: Path, inside: Citris) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", os.devnull):
        done = inside(command, "none.npz", "-o", name, cwd=tmp_path)
        check_refusal(
            done, f"^citris: -o {name}: is not a regular file, and a training run keeps its log and its state"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.parametrize("command", TRAINS)
def test_a_training_finds_it_before_its_data_are_read(command: str, tmp_path: Path, inside: Citris) -> None:
    (tmp_path / "text").write_text("no folder")
    done = inside(command, "none.npz", "-o", "text/x.safetensors", cwd=tmp_path)
    check_refusal(done, r"^citris: text/x\.safetensors: cannot be written \(.*\); choose another place with -o$")


@pytest.mark.usefixtures("nothing_computed")
@pytest.mark.parametrize(("command", "beside"), [("eval-triplets", ".png"), ("eval-correlation", ".html")])
def test_so_is_the_file_beside_a_report(command: str, beside: str, folder: Path, inside: Citris) -> None:
    (folder / f"x{beside}").mkdir()
    done = inside(command, *MAKES[command][0], "-o", "x.json", cwd=folder)
    check_refusal(done, rf"^citris: x{beside}: cannot be written \(is a directory\)")
    assert not (folder / "x.json").exists()


@pytest.mark.parametrize(("command", "beside"), [("eval-triplets", ".png"), ("eval-correlation", ".html")])
def test_the_file_beside_a_report_can_be_named_instead(command: str, beside: str, folder: Path, inside: Citris) -> None:
    arguments = MAKES[command][0]
    assert succeed(command, *arguments, "-o", "a.json", cwd=folder) == "a.json"
    done = inside(command, *arguments, "-o", f"b{beside}", cwd=folder)
    assert done.stdout.decode() == f"b{beside}\n"
    assert "numbers: b.json\n" in done.stderr.decode()
    assert (folder / f"b{beside}").read_bytes() == (folder / f"a{beside}").read_bytes()
    assert json.loads((folder / "b.json").read_text()) == json.loads((folder / "a.json").read_text())
    check_refusal(inside(command, *arguments, "-o", "x.pdf", cwd=folder), rf"x\.pdf: .* use \.json, or \{beside} for")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device that is always full")
@pytest.mark.parametrize("command", MAKES)
def test_a_full_disk_is_one_sentence(command: str, folder: Path, inside: Citris) -> None:
    arguments, ending, _ = MAKES[command]
    (folder / f"x{ending}").symlink_to("/dev/full")
    done = inside(command, *arguments, "-o", f"x{ending}", cwd=folder)
    check_refusal(done, rf"^citris: x{ending}: the disk is full; free some space and run again$", status=1)
    assert (folder / f"x{ending}").is_symlink()  # a device is written to, never replaced
