"""``python -m tests.benchmarks``: every measurement in one table, and in a JSON file.

Ratios and not seconds are what counts: they come from one process that runs ours and the plain form in turn.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from citris_cli.training.devices import keep_freed_memory
from tests.benchmarks import (
    apart,
    causal_steps,
    evaluation,
    explore,
    files,
    frames,
    instantaneous,
    measure,
    operations,
    parts,
    processes,
    steps,
)
from tests.benchmarks.measure import QUICK, Effort, Row
from tests.benchmarks.table import table

BENCHMARKS: dict[str, Callable[[Effort], list[Row]]] = {
    "operations": operations.operations,
    "flow-inverse": parts.flow_inverse,
    "prior": parts.prior,
    "autoregressive-prior": parts.autoregressive_prior,
    "instantaneous-prior": instantaneous.instantaneous_prior,
    "autoencoder-step": steps.autoencoder_step,
    "autoencoder-apart": apart.autoencoder_apart,
    "citris-nf-step": causal_steps.citris_nf_step,
    "citris-nf-steps": causal_steps.citris_nf_steps,
    "citris-vae-step": causal_steps.citris_vae_step,
    "encode": frames.encode,
    "render": frames.render,
    "correlation": evaluation.correlation,
    "intervene": evaluation.intervene,
    "explore": explore.explore,
    "help": processes.help_time,
    "memory": processes.memory,
    "start-up": files.start_up,
    "feed": files.feed,
    "unpack": files.unpack,
}


def document(rows: list[Row], effort: Effort) -> dict[str, object]:
    """The same for machines, with what the numbers depend on."""
    return {
        "threads": torch.get_num_threads(),
        "clock": measure.clock.__name__,
        "cpus": os.cpu_count(),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "effort": dataclasses.asdict(effort),
        "rows": [
            {**dataclasses.asdict(row), "ratio": row.ratio, "above_floor": row.above_floor, "met": row.met}
            for row in rows
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="run this one; may be given several times")
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    parser.add_argument("--threads", type=int, help="threads that PyTorch computes with (default: as it decides)")
    parser.add_argument(
        "--processor-time", action="store_true", help="beside other work: time what the one thread had of the processor"
    )
    parser.add_argument("--json", type=Path, default=Path("benchmarks.json"), help="default: %(default)s")
    given = parser.parse_args()
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    if given.processor_time:
        if torch.get_num_threads() != 1:
            parser.error("--processor-time adds up what all threads take; give --threads 1 with it")
        measure.clock = time.process_time
    keep_freed_memory()  # as the commands do
    effort = QUICK if given.quick else Effort()
    # Where no terminal sets a width, the table takes what it needs.
    console, progress = Console(width=None if sys.stdout.isatty() else 150), Console(stderr=True)
    rows: list[Row] = []
    for name in given.only or BENCHMARKS:
        progress.print(f"{name} …")
        rows += BENCHMARKS[name](effort)
    console.print(table(rows, f"citris on {torch.get_num_threads()} threads of {os.cpu_count()} processors"))
    given.json.write_text(json.dumps(document(rows, effort), indent=1) + "\n")
    progress.print(f"written to {given.json}")


if __name__ == "__main__":
    main()
