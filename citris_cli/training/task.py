"""What the training loop needs to know of a training, whatever the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from citris_cli.core.causal_latents import Schedule

__all__ = ["Schedule", "Task"]


class Task(Protocol):
    """The model, its optimiser groups, its loss and its measures."""

    #: What a sample is, in the plural.
    unit: str
    #: How many there are.
    samples: int
    #: Samples a step, fewer than was asked for where there are not so many.
    batch_size: int
    #: The measure by which the best model is kept (more is better), or None where the last one is.
    criterion: str | None

    @property
    def model(self) -> nn.Module:
        """The model in training, on its device."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Optimiser groups, each with ``params`` and ``lr`` (the top of its schedule).

        One may have a ``schedule`` of its own: a factor on its rate at a share of the steps, 0 … 1.
        """

    def begin(self, generator: torch.Generator) -> None:
        """Whatever the first batch sets, before step 0 of a training that is not resumed."""

    def batch(self, step: int) -> tuple[Tensor, ...]:
        """What a step's loss is computed from, on the model's device: tensors of the same shapes at every step."""

    def schedule(self, step: int) -> dict[str, float]:
        """What else of the loss depends on the step, by name."""

    def loss(
        self, batch: Sequence[Tensor], schedule: Schedule, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Scalar loss of a batch and its named parts, detached scalars, all on the device.

        On a GPU it is recorded and replayed (:mod:`citris_cli.training.steps`): it reads what differs from step to step
        from its arguments alone, in which numbers may be scalars on the device, and waits for nothing computed there.
        """

    def settle(self) -> None:
        """Give the model what no step gives it, before it is measured: labels may have to assign its latents."""

    def validate(self) -> dict[str, float]:
        """Measures of the model as it is; changes neither the model, nor its mode, nor any random state."""
