"""Commands run as a user runs them: in a process of their own, in a folder of their own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from citris_cli.artifacts.models import read_model, write_model

#: Options that make a training take a second or two.
TINY_AE = ["--steps", "30", "--latents", "4", "--channels", "8", "--batch-size", "16"]
TINY_NF = ["--steps", "30", "--batch-size", "16", "--samples", "2", "--hidden", "8", "--flow-layers", "2"]
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
        timeout=300,
        check=False,
    )


def succeed(*arguments: object, cwd: Path, **keywords) -> str:
    """Run a command that must succeed; its standard output without the final newline."""
    done = run_citris(*arguments, cwd=cwd, **keywords)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().rstrip("\n")


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small simulated dataset and both models trained on it, under runs/."""
    folder = tmp_path_factory.mktemp("home")
    assert succeed("simulate", "ball-in-boxes", "-o", "boxes", "--frames", 300, cwd=folder) == "boxes"
    assert succeed("train-ae", "boxes", *TINY_AE, cwd=folder) == "runs/boxes/ae.safetensors"
    assert succeed("train-nf", "boxes", *TINY_NF, cwd=folder) == "runs/boxes/nf.safetensors"
    return folder


@pytest.fixture(scope="session")
def model(home: Path) -> Path:
    """The model of the home folder with latents that are known to belong to every variable."""
    file = read_model(home / "runs/boxes/nf.safetensors")
    file.tensors["assignment.logits"] = torch.eye(3)[ASSIGNMENT]
    path = home / "assigned.safetensors"
    write_model(path, file)
    return path


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Citris:
    """:func:`run_citris` without a process of its own, which takes seconds to start; for what needs none."""
    from citris_cli.app import main

    def run(*arguments: object, cwd: Path, stdin: bytes = b"", **variables: str) -> subprocess.CompletedProcess:
        with monkeypatch.context() as patch:
            patch.chdir(cwd)
            patch.delenv("CITRIS_MODEL", raising=False)
            for name, value in {"COLUMNS": "200", **variables}.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["citris", *map(str, arguments)])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            capsysbinary.readouterr()
            with pytest.raises(SystemExit) as caught:
                main()
            output, error = capsysbinary.readouterr()
        status = caught.value.code
        assert isinstance(status, int)
        return subprocess.CompletedProcess(list(arguments), status, output, error)

    return run
