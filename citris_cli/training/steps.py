"""A training step, from a batch to new weights: operation by operation, or as one graph that a GPU goes through alone.

A step of CITRIS-NF is some thousand small operations. A GPU computes them faster than Python can ask for them; recorded
once as a CUDA graph and replayed, they need no asking.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor

from citris_cli.core.ops.adamw import ClippedAdamW
from citris_cli.data.frames import sent
from citris_cli.training.config import TrainingConfig
from citris_cli.training.devices import compute_in
from citris_cli.training.processes import BatchLoss
from citris_cli.training.task import Task

#: Steps before one is recorded: libraries choose their algorithms and the optimiser makes its state in the first ones.
BY_HAND = 3


class Steps(Protocol):
    """Takes the steps of a training."""

    def take(self, step: int, rates: Sequence[float]) -> dict[str, Tensor]:
        """Take a step.

        Args:
            step: its number, from 0.
            rates: learning rate of every group of the optimiser.

        Returns:
            The loss before the step, its parts and the norm of its gradient (``gradient_norm``): detached scalars on
            the device, for which nothing has waited, of this process's share of the batch. They hold until the next
            step is taken.
        """


def steps_of(
    task: Task, batch_loss: BatchLoss, optimizer: ClippedAdamW, generator: torch.Generator, config: TrainingConfig
) -> Steps:
    """The steps of a training: one graph where a single process trains on a CUDA device, else by operations.

    Args:
        task: the model with its batches.
        batch_loss: the loss of its batches.
        optimizer: of the model's weights.
        generator: source of all noise, on the model's device.
        config: how to train.
    """
    device = generator.device
    if device.type != "cuda" or batch_loss.shared:
        return SingleSteps(batch_loss, optimizer, generator, lambda: compute_in(config.precision, device))
    return GraphSteps(task, optimizer, generator, lambda: compute_in(config.precision, device), CudaGraph(generator))


class SingleSteps:
    """Steps of which every operation is asked for when it is its turn.

    Args:
        batch_loss: the loss of the batches.
        optimizer: of the model's weights.
        generator: source of all noise.
        computing: makes the context in which a loss is computed.
    """

    def __init__(
        self,
        batch_loss: BatchLoss,
        optimizer: ClippedAdamW,
        generator: torch.Generator,
        computing: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._batch_loss = batch_loss
        self._optimizer = optimizer
        self._generator = generator
        self._computing = computing

    def take(self, step: int, rates: Sequence[float]) -> dict[str, Tensor]:
        """See :meth:`Steps.take`."""
        for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        with self._computing():
            loss, parts = self._batch_loss.of(step, self._generator)
        self._batch_loss.backward(loss)
        return {"loss": loss.detach(), **parts, "gradient_norm": self._optimizer.update()}


class Graph(Protocol):
    """Records what is computed on a device, to compute it again; see :class:`CudaGraph`."""

    def recording(self) -> AbstractContextManager[object]:
        """Context in which operations are recorded, perhaps without being computed."""

    def replay(self) -> None:
        """Compute what was recorded, from what its inputs hold now, into the same outputs."""


class CudaGraph:
    """A CUDA graph that draws from a generator; see https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.

    Args:
        generator: source of all noise in what is recorded: every replay draws on.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(generator)

    def recording(self) -> AbstractContextManager[object]:
        """Recording does not compute."""
        return torch.cuda.graph(self._graph, stream=torch.cuda.current_stream())

    def replay(self) -> None:
        """Returns at once; the device computes."""
        self._graph.replay()


class GraphSteps:
    """Steps of which one is recorded and then replayed.

    What differs from step to step is on the device, in tensors that stay where they are: the batch, the learning rates
    and what the task's schedule says.

    Args:
        task: the model with its batches.
        optimizer: of the model's weights.
        generator: source of all noise.
        computing: makes the context in which a loss is computed.
        graph: records and replays.
    """

    def __init__(
        self,
        task: Task,
        optimizer: ClippedAdamW,
        generator: torch.Generator,
        computing: Callable[[], AbstractContextManager[object]],
        graph: Graph,
    ) -> None:
        self._task = task
        self._optimizer = optimizer
        self._generator = generator
        self._computing = computing
        self._graph = graph
        self._taken = 0
        self._batch: list[Tensor] = []
        self._settings = torch.empty(0)
        self._schedule: Mapping[str, Tensor] = {}
        self._losses: dict[str, Tensor] = {}

    def take(self, step: int, rates: Sequence[float]) -> dict[str, Tensor]:
        """See :meth:`Steps.take`."""
        self._give(step, rates)
        if self._taken < BY_HAND:
            self._losses = self._step()
        else:
            if self._taken == BY_HAND:
                self._optimizer.allow_recording()
                with self._graph.recording():
                    self._losses = self._step()
            self._graph.replay()
        self._taken += 1
        return self._losses

    def _give(self, step: int, rates: Sequence[float]) -> None:
        """Bring what a step needs to where it is read."""
        batch, schedule = self._task.batch(step), self._task.schedule(step)
        settings = sent(torch.tensor([*rates, *schedule.values()]), self._generator.device)
        if self._taken == 0:
            self._batch = [part.clone() for part in batch]
            self._settings = settings.clone()
            at = self._settings.unbind()
            self._schedule = dict(zip(schedule, at[len(rates) :], strict=True))
            for group, rate in zip(self._optimizer.param_groups, at[: len(rates)], strict=True):
                group["lr"] = rate
            return
        for there, part in zip(self._batch, batch, strict=True):
            there.copy_(part)
        self._settings.copy_(settings)

    def _step(self) -> dict[str, Tensor]:
        with self._computing():
            loss, parts = self._task.loss(self._batch, self._schedule, self._generator)
        loss.backward()
        losses = {"loss": loss.detach(), **parts, "gradient_norm": self._optimizer.update()}
        # Copies, since what is made on the way may not outlast the step; side by side, to be read at once.
        together = torch.stack([value.float() for value in losses.values()])
        return dict(zip(losses, together.unbind(), strict=True))
