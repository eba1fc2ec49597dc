"""Tiny trainings by several processes, each of which writes down what it met: the other half of test_processes.

``python -m torch.distributed.run --standalone --nproc-per-node 2 -m tests.training.together FOLDER``
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

from citris_cli.core.config import AutoregressivePriorConfig, MLPPriorConfig
from citris_cli.errors import InputError, InterruptedRunError
from citris_cli.training.config import TrainingConfig
from citris_cli.training.loop import train
from citris_cli.training.processes import Processes, join
from tests.training.tasks import (
    TASKS,
    AnyTask,
    Display,
    autoencoder_task,
    citris_nf_task,
    files_in,
    settings,
    signal_at,
)

#: Every step of so many is logged; two processes cannot share a batch of five equally.
CONFIG = replace(settings(steps=12), batch_size=5)
#: The four trainings, and the flow with every form of the prior and all that its classifier keeps.
CASES: dict[str, Callable[[TrainingConfig], AnyTask]] = {
    # iCITRIS compares the rows of a batch with each other: several processes are refused.
    **{name: task for name, task in TASKS.items() if not name.startswith("icitris")},
    "imperfect": partial(
        citris_nf_task,
        prior=MLPPriorConfig(imperfect_interventions=True),
        classifier_momentum=0.9,
        conditional_targets=False,
    ),
    "autoregressive": partial(
        citris_nf_task, prior=AutoregressivePriorConfig(regulariser=0.3), classifier_momentum=0.5
    ),
}
#: The step in which one of the processes receives a signal.
STOPPED = 7


def main(folder: Path) -> None:
    processes = join(torch.device("cpu"))
    own = folder / str(processes.rank)
    own.mkdir()
    for name in CASES:
        files = replace(files_in(own / name), writes=processes.first)
        task = CASES[name](CONFIG)
        measures = train(task, CONFIG, files, Display(), save_every=-1.0, processes=processes)
        assert bool(measures) == processes.first
        weights = {key: value.clone().contiguous() for key, value in task.model.state_dict().items()}
        save_file(weights, own / f"{name}.weights.safetensors")
    told = {
        "reads": frames_read(processes, own),
        "stopped": stopped(processes, folder),
        "refused": refused(processes),
        "first's": [processes.from_first(text if processes.first else "of another") for text in ("ψ and more", "")],
    }
    (own / "told.json").write_text(json.dumps(told))


def frames_read(processes: Processes, folder: Path) -> list[list[int]]:
    """The frames that this process reads in a training, batch by batch."""
    task = autoencoder_task(CONFIG)
    reads: list[list[int]] = []
    gather = task._frames.gather

    def watched(index: torch.Tensor) -> torch.Tensor:
        reads.append(index.tolist())
        return gather(index)

    task._frames.gather = watched  # type: ignore[method-assign]
    train(task, CONFIG, replace(files_in(folder / "reads"), writes=False), Display(), processes=processes)
    return reads


def stopped(processes: Processes, folder: Path) -> tuple[int, str]:
    """How a training ends, in every process, in which the last of them receives a signal."""
    task = citris_nf_task(CONFIG)
    if processes.rank == processes.size - 1:
        signal_at(task, STOPPED, signal.SIGTERM)
    try:
        files = replace(files_in(folder / "stopped"), writes=processes.first)
        train(task, CONFIG, files, Display(), save_every=1e9, processes=processes)
    except InterruptedRunError as error:
        return error.exit_status, str(error)
    return 0, ""


def refused(processes: Processes) -> str:
    """What is said of a batch that is too small."""
    config = replace(CONFIG, batch_size=processes.size - 1)
    files = replace(files_in(Path("nowhere")), writes=False)
    try:
        train(autoencoder_task(config), config, files, Display(), processes=processes)
    except InputError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
