"""Training on a CUDA device: graphs, the host's part, states. Skipped where there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from citris_cli.core.ops.adamw import ClippedAdamW
from citris_cli.core.ops.shares import Share
from citris_cli.errors import InterruptedRunError
from citris_cli.training import steps
from citris_cli.training.devices import PRECISIONS, compute_in
from citris_cli.training.loop import train
from citris_cli.training.processes import ALONE, BatchLoss, _Loss
from citris_cli.training.steps import CudaGraph, GraphSteps, SingleSteps
from tests.training.tasks import STEPS, TASKS, Display, files_in, settings, signal_at

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def taken(name: str, precision: str, form: str) -> list[dict[str, float]]:
    """Losses of some steps, and what the model's weights add up to after them."""
    task = TASKS[name](settings(lr=1e-3), device="cuda")
    generator = torch.Generator("cuda").manual_seed(0)
    losses = []
    own = torch.cuda.Stream()
    own.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(own):
        task.begin(generator)
        task.model.train()
        optimizer = ClippedAdamW(task.parameter_groups(), 1.0)
        rates = [group["lr"] for group in optimizer.param_groups]

        def computing() -> object:
            return compute_in(precision, generator.device)

        one: steps.Steps
        if form == "graph":
            one = GraphSteps(task, optimizer, generator, computing, CudaGraph(generator))  # type: ignore[arg-type]
        else:
            one = SingleSteps(BatchLoss(task, ALONE), optimizer, generator, computing)  # type: ignore[arg-type]
        for step in range(STEPS):
            # What Python does may not wait for the device, but for copies that are said not to wait.
            if step > steps.BY_HAND:
                torch.cuda.set_sync_debug_mode("error")
            values = one.take(step, rates)
            torch.cuda.set_sync_debug_mode("default")
            losses.append({key: float(value) for key, value in values.items()})
    return losses


@pytest.mark.parametrize("precision", [precision for precision in PRECISIONS if precision != "auto"])
@pytest.mark.parametrize("name", TASKS)
def test_a_graph_takes_the_steps_that_single_operations_take(name: str, precision: str) -> None:
    single, graph = taken(name, precision, "single"), taken(name, precision, "graph")
    tolerance = 3e-2 if precision == "bf16" else 1e-2  # what rounding may become in so many steps
    for one, other in zip(single, graph, strict=True):
        assert other == pytest.approx(one, rel=tolerance, abs=tolerance)
    assert graph == taken(name, precision, "graph")  # bit for bit


@pytest.mark.parametrize("name", TASKS)
def test_a_resumed_training_takes_the_same_steps(tmp_path: Path, name: str) -> None:
    whole = TASKS[name](settings(), device="cuda")
    measures = train(whole, settings(), files_in(tmp_path / "whole"), Display())
    files = files_in(tmp_path / "parts")
    first = TASKS[name](settings(), device="cuda")
    signal_at(first, 7, 2)
    with pytest.raises(InterruptedRunError):
        train(first, settings(), files, Display())
    second = TASKS[name](settings(), device="cuda")
    assert train(second, settings(), files, Display(), resume=True) == measures
    for key, value in second.model.state_dict().items():
        assert torch.equal(value, whole.model.state_dict()[key]), key


def test_losses_are_those_of_the_cpu(tmp_path: Path) -> None:
    measures = []
    for device in ("cpu", "cuda"):
        # Without noise that either device draws for itself: one step, of which only the weights' start matters.
        task = TASKS["causal_encoder"](settings(), device=device)
        config = dataclasses.replace(settings(lr=1e-4), steps=6)
        measures.append(train(task, config, files_in(tmp_path / device), Display()))
    assert measures[1] == pytest.approx(measures[0], rel=1e-3, abs=1e-3)


@pytest.fixture
def group_of_one() -> Iterator[None]:
    """A process group as GPUs have it, of one process."""
    backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("name", TASKS)
def test_what_goes_through_nccl_changes_nothing(name: str, group_of_one: None) -> None:
    losses = []
    for together in (False, True):
        task = TASKS[name](settings(lr=1e-3), device="cuda")
        generator = torch.Generator("cuda").manual_seed(0)
        batch_loss = BatchLoss(task, ALONE)
        if together:  # as with more processes than one
            batch_loss._share = Share.of(task.batch_size, 0, 1)
            batch_loss._loss = DistributedDataParallel(_Loss(task))
        assert batch_loss.shared is together
        batch_loss.begin(generator)
        task.model.train()
        optimizer = ClippedAdamW(task.parameter_groups(), 1.0)
        one = SingleSteps(batch_loss, optimizer, generator)
        rates = [group["lr"] for group in optimizer.param_groups]
        losses.append([float(batch_loss.whole(one.take(step, rates)["loss"])) for step in range(STEPS)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4, abs=1e-5)
