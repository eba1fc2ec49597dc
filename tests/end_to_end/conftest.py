"""Commands run as a user runs them, in a folder of their own.

In this very process where one of their own, which takes seconds to start, would prove nothing more.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from citris_cli.artifacts.models import read_model, write_model
from citris_cli.evaluation.graphs.estimate import Schedule
from citris_cli.evaluation.graphs.report import find_graph
from tests.once import made_once
from tests.waiting import PATIENCE

#: Options that make a training take a second or two.
TINY_AE = ["--steps", "30", "--latents", "4", "--channels", "8", "--batch-size", "16"]
TINY_NF = ["--steps", "30", "--batch-size", "16", "--samples", "2", "--hidden", "8", "--flow-layers", "2"]
#: Frames and triplets that the trainings are validated on.
VALIDATION_FRAMES, VALIDATION_TRIPLETS = 200, 60
#: Variable of each of the four latents: ball_y is 0, box is 1, psi(0) is 2.
ASSIGNMENT = [1, 0, 2, 1]

Citris = Callable[..., subprocess.CompletedProcess]


def run_citris(*arguments: object, cwd: Path, stdin: bytes = b"", **variables: str) -> subprocess.CompletedProcess:
    """Run a command to its end; output as bytes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **variables}
    environment.pop("CITRIS_MODEL", None) if "CITRIS_MODEL" not in variables else None
    return subprocess.run(
        [sys.executable, "-m", "citris_cli", *map(str, arguments)],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        env=environment,
        timeout=PATIENCE,
        check=False,
    )


def run_inside(
    *arguments: object, cwd: Path, stdin: bytes = b"", encoding: str = "utf-8", **variables: str
) -> subprocess.CompletedProcess:
    """:func:`run_citris` without a process of its own; with one thread, as there.

    ``encoding`` is that of its output, as ``PYTHONIOENCODING`` would have it.
    """
    from citris_cli.app import main

    errors = "strict", "backslashreplace"  # as Python opens the two
    outputs = [io.TextIOWrapper(io.BytesIO(), encoding, one, write_through=True) for one in errors]
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        patch.delenv("CITRIS_MODEL", raising=False)
        for name, value in {"COLUMNS": "200", **variables}.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["citris", *map(str, arguments)])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        patch.setattr(sys, "stdout", outputs[0])
        patch.setattr(sys, "stderr", outputs[1])
        torch.set_num_threads(1)
        try:
            with pytest.raises(SystemExit) as caught:
                main()
        finally:
            torch.set_num_threads(threads)
    status = caught.value.code
    assert isinstance(status, int)
    return subprocess.CompletedProcess(list(arguments), status, *(output.buffer.getvalue() for output in outputs))


def succeed(*arguments: object, cwd: Path, **keywords) -> str:
    """Run a command inside that must succeed; its standard output without the final newline."""
    done = run_inside(*arguments, cwd=cwd, **keywords)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().rstrip("\n")


#: What takes so long to import that no completion may.
HEAVY = {"torch", "numpy", "scipy", "PIL", "imageio", "safetensors", "networkx", "typer.rich_utils"}


def complete(line: str, cwd: Path) -> list[str]:
    """What Bash is offered where Tab is pressed at the end of a line; nothing heavy may be imported to find it out."""
    environment = {
        **os.environ,
        "_CITRIS_COMPLETE": "complete_bash",
        "COMP_WORDS": f"citris {line}",
        "COMP_CWORD": str(len(line.split(" "))),
    }
    environment.pop("CITRIS_MODEL", None)
    command = [sys.executable, "-X", "importtime", "-m", "citris_cli"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, env=environment, text=True, check=False)
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "citris_cli.app" in imported
    assert not HEAVY & imported
    assert "Traceback" not in done.stderr
    return done.stdout.split()


def first_rows(path: Path, rows: int) -> dict[str, np.ndarray]:
    """The arrays of a file with the first of its frames or triplets only."""
    with np.load(path, allow_pickle=False) as file:
        return {
            name: values[:rows] if name in ("images", "latents", "targets") else values for name, values in file.items()
        }


def shorten(path: Path, rows: int) -> None:
    """Leave a file only the first of its frames or triplets: every validation reads all that there are."""
    np.savez(path, **first_rows(path, rows))


def make_home(folder: Path) -> None:
    """A small simulated dataset and both models trained on it, under runs/."""
    assert succeed("simulate", "ball-in-boxes", "-o", "boxes", "--frames", 300, cwd=folder) == "boxes"
    shorten(folder / "boxes/val_indep.npz", VALIDATION_FRAMES)
    shorten(folder / "boxes/val_triplets.npz", VALIDATION_TRIPLETS)
    assert succeed("train-ae", "boxes", *TINY_AE, cwd=folder) == "runs/boxes/ae.safetensors"
    assert succeed("train-nf", "boxes", *TINY_NF, cwd=folder) == "runs/boxes/nf.safetensors"


@pytest.fixture(scope="session")
def home(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small simulated dataset and both models trained on it, under runs/."""
    return made_once(pytestconfig, tmp_path_factory, "home", make_home)


@pytest.fixture(scope="session")
def model(home: Path) -> Path:
    """The model of the home folder with latents that are known to belong to every variable."""
    file = read_model(home / "runs/boxes/nf.safetensors")
    file.tensors["assignment.logits"] = torch.eye(3)[ASSIGNMENT]
    path = home / "assigned.safetensors"
    write_model(path, file)
    return path


@pytest.fixture
def few(home: Path, tmp_path: Path) -> Path:
    """A folder with a dataset of few frames: what is tested is not how well anything is found."""
    folder = tmp_path / "few"
    folder.mkdir()
    for split in ("train", "val_indep", "test_triplets"):
        arrays = first_rows(home / f"boxes/{split}.npz", 60)
        if split == "train":
            arrays["targets"] = arrays["targets"][:59]
        np.savez(folder / f"{split}.npz", **arrays)
    return tmp_path


@pytest.fixture
def inside() -> Citris:
    """:func:`run_inside`."""
    return run_inside


@pytest.fixture
def brief_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    """``citris graph``, inside this process, takes a moment: it finds something, not what is true."""
    schedule = Schedule(warm_up=20, rounds=2, fitting=5, judging=5, last=5, batch=32, judged=8, graphs=4, hidden=8)
    defaults = find_graph.__kwdefaults__
    monkeypatch.setitem(defaults, "schedule", schedule)
