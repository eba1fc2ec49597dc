"""What only a process of its own shows: how soon help answers, and how much memory a large dataset takes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch

from citris_cli.artifacts.arrays import npz_writer
from tests.benchmarks.measure import Effort, Row, Target, interleaved

#: Bytes of the large dataset's frames, and the most that a training on it may take.
DATA, MOST = 3e9, 1.5e9
SIDE = 64
TRAINING = ["train-ae", "d.npz", "--steps", "5", "--batch-size", "64", "--channels", "16", "--seed", "0"]

#: Runs a command and then writes the most memory that it had resident, in bytes, mapped files included.
#: Where there is no /proc, the system's own account of the process must do.
AND_TELL_PEAK = """
import atexit, pathlib, resource, sys
from citris_cli.app import main

def tell():
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        peak = int(line.split()[1]) * 1024
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    pathlib.Path("peak").write_text(str(peak))

atexit.register(tell)
main()
"""


def help_time(effort: Effort) -> list[Row]:
    """``citris --help`` from start to end; the floor is a Python that does nothing."""
    quiet = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL)
    forms = {
        "ours": partial(quiet, [sys.executable, "-m", "citris_cli", "--help"]),
        "floor": partial(quiet, [sys.executable, "-c", "pass"]),
    }
    taken = interleaved(forms, effort)
    target = Target("ours", 0.3, least=False)
    return [Row("citris --help", "s", taken["ours"], None, taken["floor"], target)]


def memory(effort: Effort) -> list[Row]:
    """Peak memory of ``citris train-ae`` on 3 GB of frames; the floor is the same command on 100 frames."""
    floor, ours = _peak(100), _peak(int(DATA / (SIDE * SIDE * 3)))
    target = Target("ours", MOST / 1e9, least=False)
    return [Row("memory of train-ae, 3 GB of frames", "GB", ours / 1e9, None, floor / 1e9, target)]


def _peak(frames: int) -> int:
    """Most bytes resident while an autoencoder is trained for a few steps on so many frames."""
    with tempfile.TemporaryDirectory(prefix="citris-benchmark-") as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        chunk = rng.integers(0, 256, (min(frames, 1000), SIDE, SIDE, 3), dtype=np.uint8)
        chunks = (chunk[: frames - start] for start in range(0, frames, len(chunk)))
        targets = (rng.random((frames - 1, 3)) < 0.2).astype(np.uint8)
        with open(folder / "d.npz", "wb") as file, npz_writer(file) as writer:
            writer.add_chunks("images", (frames, SIDE, SIDE, 3), np.dtype(np.uint8), chunks)
            writer.add("targets", targets)
        environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
        command = [sys.executable, "-c", AND_TELL_PEAK, *TRAINING]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the training ended with status {done.returncode}: {done.stderr}")
        return int((folder / "peak").read_text())
