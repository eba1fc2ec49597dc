"""The autoencoder's training step, each form in a process of its own: ours as the command runs it, the plain one as is.

How a process handles its memory (:func:`~citris_cli.training.devices.keep_freed_memory`) is part of what the command
does for speed, and in one process both forms would have it. Here the plain form has what glibc does by itself. The two
processes take steps in turn, one waiting while the other computes.

``python -m tests.benchmarks.apart ours|plain`` is such a process: it takes a step for every line that it reads.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from citris_cli.core.config import AutoencoderConfig
from citris_cli.training.devices import keep_freed_memory
from tests.benchmarks.measure import Effort, Row, Target, interleaved
from tests.benchmarks.steps import autoencoder_forms, autoencoder_title


def autoencoder_apart(effort: Effort) -> list[Row]:
    """One step of the published autoencoder at batch 64, in two processes."""
    ours, plain = _Stepper("ours"), _Stepper("plain")
    try:
        taken = interleaved({"ours": ours.step, "plain": plain.step}, effort)
    finally:
        ours.end()
        plain.end()
    title = autoencoder_title("paper", AutoencoderConfig())
    return [Row(f"{title}, each in its own process", "s", taken["ours"], taken["plain"], target=Target("ratio", 1.8))]


class _Stepper:
    """A process that takes a training step whenever it is asked for one."""

    def __init__(self, form: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.apart", form],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        )

    def step(self) -> None:
        """One step, to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("step\n")
        self._process.stdin.flush()
        if not self._process.stdout.readline():
            raise RuntimeError(f"the process ended with status {self._process.wait()}")

    def end(self) -> None:
        """No more steps."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    form = sys.argv[1]
    if form == "ours":
        keep_freed_memory()
    ours, plain = autoencoder_forms(AutoencoderConfig())
    step = ours if form == "ours" else plain
    for _ in sys.stdin:
        step()
        print("done", flush=True)


if __name__ == "__main__":
    main()
