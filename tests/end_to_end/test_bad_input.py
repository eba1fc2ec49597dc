"""Every bad input gets one plain sentence and status 2; nothing is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.conftest import Citris, run_citris

FRAMES = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3)).astype(np.uint8)
TARGETS = np.tile(np.array([[0, 1], [1, 0]], np.uint8), (6, 1))[:11]


class Planted:
    """Unpickling this would create a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def _truncated(folder: Path) -> None:
    np.savez(folder / "d.npz", images=FRAMES, targets=TARGETS)
    content = (folder / "d.npz").read_bytes()
    (folder / "d.npz").write_bytes(content[: len(content) // 2])


def _pickled(folder: Path) -> None:
    objects = np.array([Planted(str(folder / "planted"))], dtype=object)
    np.savez(folder / "d.npz", images=objects, targets=TARGETS)


def _npz(**arrays: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: np.savez(folder / "d.npz", **arrays)


def _with_nan() -> np.ndarray:
    frames = FRAMES.astype(np.float32) / 255
    frames[3, 1, 2, 0] = np.nan
    return frames


BAD_DATA = {
    "not an npz": (lambda folder: (folder / "d.npz").write_text("no"), "d.npz"),
    "missing file": (lambda folder: None, "d.npz"),
    "truncated": (_truncated, "d.npz"),
    "pickled objects": (_pickled, "objects"),
    "missing key": (_npz(images=FRAMES), "intervention"),
    "wrong rank": (_npz(images=FRAMES[0], targets=np.tile(TARGETS, (3, 1))[:31]), r"\[32, 32, 3\]"),
    "interventions too short": (_npz(images=FRAMES, targets=TARGETS[:7]), "7 rows for 12 frames"),
    "odd sizes": (_npz(images=FRAMES[:, :, :20], targets=TARGETS), "20×32"),
    "NaN": (_npz(images=_with_nan(), targets=TARGETS), "frame 3"),
    "floats beyond 1": (_npz(images=FRAMES.astype(np.float32), targets=TARGETS), "255"),
    "one frame": (_npz(images=FRAMES[:1], targets=TARGETS[:0]), "at least 2"),
    "nothing intervened on": (_npz(images=FRAMES, targets=TARGETS * 0), "no variable is ever intervened on"),
    "targets beyond 1": (_npz(images=FRAMES, targets=TARGETS * 2), "2"),
}


def check_refusal(done, says: str, status: int = 2) -> None:
    error = done.stderr.decode()
    assert done.returncode == status, error
    assert done.stdout == b""
    last = error.rstrip("\n").splitlines()[-1]
    assert last.startswith("citris: ")
    assert "Traceback" not in error
    assert re.search(says, last), last


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data(tmp_path: Path, inside: Citris, case: str) -> None:
    make, says = BAD_DATA[case]
    make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    # One case as a user meets it; the others without a process of their own, which takes seconds to start.
    done = (run_citris if case == "pickled objects" else inside)("train-nf", "d.npz", cwd=tmp_path)
    check_refusal(done, says)
    assert len(done.stderr.decode().splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--device", "tpu"], "--device tpu is unknown"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--precision", "float8"], "float8"),
        (["--precision", "tf32", "--device", "cpu"], "CUDA"),
        (["-o", "/proc/nothing/nf.safetensors"], "cannot be written"),
        (["-o", "boxes"], "is a directory"),
        (["--steps", "0"], "--steps"),
        (["--save-every", "nan"], "--save-every"),
        (["--ae", "boxes/train.npz"], "citris reads models from .safetensors"),
        (["--ae", "foreign.safetensors"], "not one of citris"),
        (["--ae", "truncated.safetensors"], "truncated"),
        (["--ae", "runs/boxes/nf.safetensors"], "not an autoencoder"),
        (["--latents", "7"], "--latents 7"),
        (["--vars", "a,b"], "3"),
        (["--nonsense"], "--nonsense"),
        (["--preset", "huge"], "huge"),
        (["--json", "-o", "-"], "--json and -o - both want standard output"),
    ],
)
def test_bad_options_of_train_nf(home: Path, inside: Citris, arguments: list[str], says: str) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"w": torch.ones(2)}, home / "foreign.safetensors")
    (home / "truncated.safetensors").write_bytes((home / "runs/boxes/ae.safetensors").read_bytes()[:-100])
    before = {p: p.stat().st_mtime_ns for p in home.rglob("*") if p.is_file()}
    check_refusal(inside("train-nf", "boxes", *arguments, cwd=home), says)
    assert {p: p.stat().st_mtime_ns for p in home.rglob("*") if p.is_file()} == before


@pytest.mark.skipif(sys.platform != "linux", reason="other systems may promise memory that they do not have")
def test_networks_beyond_the_memory_are_told(home: Path, tmp_path: Path, inside: Citris) -> None:
    done = inside("train-ae", home / "boxes", "--channels", 10**9, "-o", "x.safetensors", cwd=tmp_path)
    check_refusal(
        done, "^citris: out of memory; try a smaller --batch-size, smaller networks or fewer frames", status=1
    )


@pytest.mark.parametrize(("command", "suffix"), [("eval-triplets", ".png"), ("eval-correlation", ".html")])
def test_a_report_ends_like_one_of_its_two_files(tmp_path: Path, inside: Citris, command: str, suffix: str) -> None:
    for name in ("x.txt", "x.npz"):
        done = inside(command, "d.npz", "-o", name, cwd=tmp_path)
        check_refusal(
            done,
            f"^citris: -o {name}: the extension decides the format; use .json, or {suffix} for the file beside it$",
        )


@pytest.mark.parametrize(
    ("command", "name", "what", "ending"),
    [
        ("train-ae boxes", "x.npz", "models", ".safetensors"),
        ("train-nf boxes", "x.PNG", "models", ".safetensors"),
        ("train-vae boxes", "x.ckpt", "models", ".safetensors"),
        ("train-causal-encoder boxes", "x.metrics.jsonl", "models", ".safetensors"),
        ("train-ae boxes --show-config", "x.json", "models", ".safetensors"),
        ("import-checkpoint runs/boxes/nf.safetensors", "x.pt", "models", ".safetensors"),
        ("export runs/boxes/nf.safetensors", "x.npz", "exported models", ".safetensors"),
    ],
)
def test_a_name_that_says_another_kind_of_file_is_refused(
    home: Path, inside: Citris, command: str, name: str, what: str, ending: str
) -> None:
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    done = inside(*command.split(), "-o", name, cwd=home)
    check_refusal(done, f"citris: -o {name}: citris writes {what} as {ending}; use a name that ends in {ending}$")
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


def test_a_dataset_is_not_a_folder_with_the_name_of_a_file(tmp_path: Path, inside: Citris) -> None:
    done = inside("simulate", "pong", "--frames", "2", "-o", "pong.npz", cwd=tmp_path)
    check_refusal(done, "citris: -o pong.npz: a dataset is a directory of files; name one, such as pong$")
    assert list(tmp_path.iterdir()) == []


def test_train_ae_has_one_standard_output(home: Path, inside: Citris) -> None:
    done = inside("train-ae", "boxes", "--json", "-o", "-", cwd=home)
    check_refusal(done, "--json and -o - both want standard output; give -o a file")


def test_an_autoencoder_for_other_frames_is_refused(home: Path, tmp_path: Path, inside: Citris) -> None:
    large = FRAMES.repeat(2, axis=1).repeat(2, axis=2)
    np.savez(tmp_path / "d.npz", images=large, targets=TARGETS)
    done = inside("train-nf", "d.npz", "--ae", home / "runs/boxes/ae.safetensors", cwd=tmp_path)
    check_refusal(done, "trained for 32×32 frames and d has 64×64")
    assert not (tmp_path / "runs").exists()


def test_encode_refuses_what_is_no_picture_and_frames_of_another_size(
    home: Path, tmp_path: Path, inside: Citris
) -> None:
    (tmp_path / "no.png").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "d.npz", images=FRAMES.repeat(2, axis=1).repeat(2, axis=2))
    model = ["--model", home / "runs/boxes/nf.safetensors"]
    check_refusal(inside("encode", "no.png", *model, cwd=tmp_path), "no.png")
    check_refusal(inside("encode", "empty", *model, cwd=tmp_path), "no picture in this folder")
    check_refusal(inside("encode", "d.npz", *model, cwd=tmp_path), "trained for 32×32")
    check_refusal(inside("encode", "d.npz", cwd=tmp_path), "train one with")
    check_refusal(inside("encode", "-", *model, cwd=tmp_path, stdin=b""), "empty")
    assert not (tmp_path / "runs").exists()


def test_a_full_disk_fails_with_one_sentence_and_no_half_file(home: Path, inside: Citris) -> None:
    # A limit on the size of files stands in for a full disk: the write fails halfway.
    script = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    script += "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
    script += "sys.argv = ['citris', 'encode', 'boxes/test_indep.npz', '-o', 'z.npz'];"
    script += "from citris_cli.app import main; main()"
    done = subprocess.run([sys.executable, "-c", script], cwd=home, capture_output=True, check=False)
    check_refusal(done, "z.npz: the disk is full", status=1)
    assert not list(home.glob("*z.npz*"))
    if os.path.exists("/dev/full"):
        done = inside("encode", "boxes/test_indep.npz", "-o", "/dev/full", cwd=home)
        check_refusal(done, "/dev/full: the disk is full", status=1)
        assert not os.path.isfile("/dev/full")  # a device is written to, never replaced
