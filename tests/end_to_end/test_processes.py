"""Training by two processes as torchrun starts them: what they print and write, and what happens when one ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from citris_cli.artifacts.locks import held
from citris_cli.artifacts.models import read_model
from tests.end_to_end.conftest import TINY_NF, succeed
from tests.end_to_end.test_resume import logged
from tests.forks import two_together
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="this PyTorch has no torch.distributed with gloo",
)
#: Runs a command as torchrun would, and leaves its exit status, which torchrun keeps to itself.
KEEPING_STATUS = 'trap : TERM INT; "$@"; status=$?; echo $status > status.$RANK; exit $status'
#: A state is saved after every step.
STEPS = 50
TRAINING = ["--samples", 2, "--hidden", 4, "--flow-layers", 2, "--batch-size", 5, "--steps", STEPS, "--save-every", 0]


def torchrun(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    """Two processes of a command, which are started again once if one ends before its time."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    launcher += ["--max-restarts", "1"]
    command = ["bash", "-c", KEEPING_STATUS, "bash", sys.executable, "-m", "citris_cli", *map(str, arguments)]
    return subprocess.Popen(
        [*launcher, *command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def ended_by_torchrun(process: subprocess.Popen[str], cwd: Path) -> tuple[list[int], str, str]:
    """Exit statuses of both processes, what they wrote to standard output, and what to standard error."""
    output, error = process.communicate(timeout=PATIENCE)
    return [int((cwd / f"status.{rank}").read_text()) for rank in range(2)], output, error


def two(*arguments: object, cwd: Path) -> list[subprocess.Popen]:
    """Two processes of a command, without torchrun."""
    return two_together(*arguments, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(processes: list[subprocess.Popen]) -> tuple[list[int], str, str]:
    """As :func:`ended_by_torchrun`."""
    said = [process.communicate(timeout=PATIENCE) for process in processes]
    return [process.returncode for process in processes], *("".join(parts) for parts in zip(*said, strict=True))


def sentences(error: str) -> list[str]:
    """What citris itself says of a failure."""
    return [line for line in error.splitlines() if line.startswith("citris: ")]


@pytest.fixture
def folder(home: Path, tmp_path: Path) -> Path:
    """A folder with a file of few frames, and one of few triplets."""
    with np.load(home / "boxes/train.npz", allow_pickle=False) as boxes:
        np.savez(tmp_path / "d.npz", images=boxes["images"][:40], targets=boxes["targets"][:39])
    with np.load(home / "boxes/val_triplets.npz", allow_pickle=False) as boxes:
        np.savez(tmp_path / "val.npz", images=boxes["images"][:9], mask=boxes["targets"][:9])
    return tmp_path


def test_one_of_two_speaks_and_writes(home: Path, folder: Path) -> None:
    """The whole way of train-nf, which trains the autoencoder first."""
    arguments = ["train-nf", "d.npz", "--preset", "small", *TINY_NF, "--steps", 3]
    statuses, output, error = ended(two(*arguments, cwd=folder))
    assert statuses == [0, 0], error
    assert output == "runs/d/nf.safetensors\n"
    notes = re.findall(r"^(?!W\d|\s*$).+$", error, re.MULTILINE)
    assert len(notes) == len(set(notes))
    assert sum("training one first, into runs/d/ae.safetensors" in note for note in notes) == 1
    assert sum("encodings of 40 frames computed and kept" in note for note in notes) == 1
    left = sorted(path.name.split("-")[0] for path in (folder / "runs/d").iterdir())
    assert left == [
        "ae.metrics.jsonl", "ae.reconstructions.png", "ae.safetensors", "ae.state.safetensors", "encodings",
        "nf.metrics.jsonl", "nf.safetensors", "nf.state.safetensors",
    ]  # fmt: skip
    for kind in ("ae", "nf"):
        assert [line["step"] for line in logged(folder / f"runs/d/{kind}.metrics.jsonl") if "loss" in line] == [1, 2, 3]


def test_bad_input_is_told_once(tmp_path: Path) -> None:
    statuses, output, error = ended(two("train-ae", "nothing.npz", cwd=tmp_path))
    assert statuses[0] == 2
    assert output == ""
    assert sentences(error) == ["citris: nothing.npz: there is no such file or directory; check the path"]


def test_a_lost_process_a_signal_and_a_resumption_by_one(home: Path, folder: Path) -> None:
    arguments = ["train-nf", "d.npz", "--ae", home / "runs/boxes/ae.safetensors", "--val", "val.npz", *TRAINING]
    succeed(*arguments, "-o", "whole.safetensors", cwd=folder)
    arguments += ["-o", "m.safetensors"]
    state = folder / "m.state.safetensors"

    processes = two(*arguments, cwd=folder)
    after_step(5, processes[0], folder)
    processes[1].kill()
    statuses, output, error = ended(processes)
    assert statuses == [1, -signal.SIGKILL]
    assert output == ""
    (sentence,) = sentences(error)
    says = r"citris: another of the 2 processes has ended; the state of step (\d+) is kept in m.state.safetensors: "
    told = re.fullmatch(says + "run the same command with --resume to continue", sentence)
    assert told is not None
    assert read_model(state).config["step"] == int(told[1]) >= 4

    processes = two(*arguments, "--resume", cwd=folder)
    after_step(max(20, int(told[1]) + 3), processes[0], folder)  # none that was logged before
    for process in processes:
        process.send_signal(signal.SIGTERM)
    statuses, output, error = ended(processes)
    assert statuses == [143, 143], error
    (sentence,) = sentences(error)
    stopped = re.match(
        rf"citris: stopped at step (\d+) of {STEPS}; the state is saved in m.state.safetensors", sentence
    )
    assert stopped is not None
    assert read_model(state).config["step"] == int(stopped[1]) >= 20

    assert succeed(*arguments, "--resume", cwd=folder) == "m.safetensors"
    whole, resumed = (logged(folder / f"{name}.metrics.jsonl") for name in ("whole", "m"))
    assert len(whole) == len(resumed)
    for mine, theirs in zip(whole, resumed, strict=True):
        assert theirs == pytest.approx(mine, rel=1e-5, abs=1e-5)
    one, other = (read_model(folder / f"{name}.safetensors").tensors for name in ("whole", "m"))
    for key, value in one.items():
        torch.testing.assert_close(other[key], value, rtol=1e-5, atol=1e-5, msg=key)


def test_started_again_by_torchrun_it_goes_on(home: Path, folder: Path) -> None:
    """Without ``--resume``, which its first start would refuse where there is nothing yet."""
    arguments = ["train-nf", "d.npz", "--ae", home / "runs/boxes/ae.safetensors", *TRAINING, "-o", "m.safetensors"]
    process = torchrun(*arguments, cwd=folder)
    after_step(5, process, folder)
    next(child for child in workers(process) if child.environ()["RANK"] == "1").kill()
    statuses, output, error = ended_by_torchrun(process, folder)
    assert statuses == [0, 0], error
    assert output == "m.safetensors\n"
    assert [line["step"] for line in logged(folder / "m.metrics.jsonl") if "loss" in line] == list(range(1, STEPS + 1))
    assert "unfinished" not in error
    # A second one at the same time is refused as one process is, by the first of them.
    with held(folder / ".m.lock"):
        statuses, output, error = ended(two(*arguments, "--seed", 1, "--overwrite", cwd=folder))
    assert statuses[0] == 2
    (sentence,) = sentences(error)
    assert sentence.startswith("citris: m.safetensors: is being trained by process ")


def after_step(step: int, process: subprocess.Popen[str], folder: Path) -> None:
    """Wait until a training has taken a step."""
    wait_until(lambda: any(line["step"] >= step for line in logged(folder / "m.metrics.jsonl")), process)


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of a command that torchrun started, without the shells around them."""
    found = psutil.Process(process.pid).children(recursive=True)
    return [child for child in found if "citris_cli" in child.cmdline() and child.name() != "bash"]
