"""Steps as one graph: the same as by operations, with what differs from step to step read where it lies."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import pytest
import torch

from citris_cli.core.config import AutoregressivePriorConfig, MLPPriorConfig
from citris_cli.core.ops import library
from citris_cli.core.ops.adamw import ClippedAdamW
from citris_cli.training.config import CausalTrainingConfig
from citris_cli.training.processes import ALONE, BatchLoss
from citris_cli.training.steps import BY_HAND, GraphSteps, SingleSteps
from tests.training.recorded import CpuGraph
from tests.training.tasks import TASKS, AnyTask, citris_nf_task

CONFIG = CausalTrainingConfig(steps=10, batch_size=4, lr=0.01, clip=1.0, warmup=3, noise_start=3.0, noise_decay=1.0)
CASES: dict[str, Callable[[CausalTrainingConfig], AnyTask]] = {
    **TASKS,
    **{
        f"{form.name}, {'imperfect' if imperfect else 'perfect'}": partial(
            citris_nf_task,
            prior=form(imperfect_interventions=imperfect, regulariser_warmup=1.0),
            classifier_momentum=0.9,
        )
        for form in (MLPPriorConfig, AutoregressivePriorConfig)
        for imperfect in (False, True)
    },
}


def started(task: AnyTask) -> tuple[ClippedAdamW, torch.Generator]:
    generator = torch.Generator().manual_seed(0)
    task.begin(generator)
    task.model.train()
    return ClippedAdamW(task.parameter_groups(), CONFIG.clip), generator


@pytest.mark.parametrize("name", CASES)
def test_a_recorded_step_takes_the_steps_that_single_operations_take(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "level", lambda: 0)  # compiled functions are the CPU's own
    one, other = CASES[name](CONFIG), CASES[name](CONFIG)
    single = SingleSteps(BatchLoss(one, ALONE), *started(one))
    optimizer, generator = started(other)
    graph = CpuGraph(generator)
    recorded = GraphSteps(other, optimizer, generator, nullcontext, graph)
    for step in range(CONFIG.steps):
        rates = [(step + 1) * rate for rate in (0.01, 0.004, 0.2, 0.02)][: len(one.parameter_groups())]
        expected = single.take(step, rates)
        losses = recorded.take(step, rates)
        assert list(losses) == list(expected)
        for key, value in expected.items():
            torch.testing.assert_close(losses[key], value.float(), rtol=1e-4, atol=1e-5)
        assert (graph.operations > 100) == (step >= BY_HAND)
    # A bias before a batch normalisation has no gradient but rounding's, and the running mean follows it.
    buffers = {key: value for key, value in one.model.named_buffers() if not key.endswith("running_mean")}
    for key, value in buffers.items():
        torch.testing.assert_close(other.model.get_buffer(key), value, rtol=1e-3, atol=1e-4)
