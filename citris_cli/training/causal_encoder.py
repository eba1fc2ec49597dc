"""Training of the causal encoder: frames with labels, and its errors factor by factor on frames held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from citris_cli.core.causal_encoder import CausalEncoder
from citris_cli.core.factors import distances, normalised
from citris_cli.core.ops import shares
from citris_cli.data.batches import ShuffledBatches
from citris_cli.data.datasets import IndependentData
from citris_cli.data.frames import Frames, as_model_input, frames_at_once, sent
from citris_cli.data.variables import Variable, Variables
from citris_cli.errors import InputError
from citris_cli.training.config import TrainingConfig
from citris_cli.training.task import Schedule

#: Frames that a validation looks at.
VALIDATION_FRAMES = 2048


@dataclass(frozen=True, eq=False)
class Labelled:
    """Frames with the true values of some factors.

    Attributes:
        frames: N frames.
        truth: true values float32 [N, F], in the order of the factors that they are used for.
    """

    frames: Frames
    truth: Tensor

    def to(self, device: torch.device) -> Labelled:
        """The same on a device."""
        return Labelled(self.frames.to(device), self.truth.to(device))


def learnable_factors(data: IndependentData) -> tuple[Variables, tuple[str, ...]]:
    """The factors that vary in labelled frames, their ranges and numbers of categories filled in.

    A range that is known is widened where a value lies beyond it; one that is not known is that of the values.

    Args:
        data: frames with true values of their factors' kinds (:func:`~citris_cli.data.truth.check_true_values`).

    Returns:
        The factors, and the names of those that do not vary, of which nothing can be learned.

    Raises:
        InputError: no factor varies.
    """
    if data.factors is None or data.truth is None:
        raise InputError(f"{data.label}: has no true values to learn from; give frames with ground truth")
    found, constant = [], []
    for factor, values in zip(data.factors, data.truth.unbind(1), strict=True):
        low, high = float(values.min()), float(values.max())
        if low == high:
            constant.append(factor.name)
        else:
            found.append(_completed(factor, low, high))
    if not found:
        raise InputError(f"{data.label}: the true values are the same in every frame; give frames in which they vary")
    return Variables(found), tuple(constant)


def _completed(factor: Variable, low: float, high: float) -> Variable:
    if factor.kind == "angle":
        return factor
    if factor.kind == "categorical":
        return replace(factor, categories=max(factor.categories or 0, int(high) + 1))
    return replace(
        factor,
        low=low if factor.low is None else min(low, factor.low),
        high=high if factor.high is None else max(high, factor.high),
    )


def labels_of(data: IndependentData, factors: Variables) -> Labelled | None:
    """Frames with the true values of these factors, matched by name; None where one of them is not among the data's.

    Args:
        data: frames, perhaps with true values.
        factors: the factors, whose order the columns of the result have.
    """
    if data.truth is None or data.factors is None:
        return None
    names = data.factors.names
    if not set(factors.names) <= set(names):
        return None
    return Labelled(data.frames, data.truth[:, [names.index(name) for name in factors.names]])


class CausalEncoderTask:
    """Labelled frames in shuffled batches, AdamW on all weights, distances to the truth on held-out frames.

    Args:
        model: the causal encoder, on its device.
        labelled: training frames, the columns of their truth in the order of the model's factors.
        held_out: frames for validation, or None: then training frames are measured, under another name.
        config: how to train.
    """

    unit = "frames"
    criterion: str | None = None

    def __init__(
        self, model: CausalEncoder, labelled: Labelled, held_out: Labelled | None, config: TrainingConfig
    ) -> None:
        self.model = model
        self.split = "train" if held_out is None else "val"
        self._config = config
        self._labelled = labelled
        self._measured = labelled if held_out is None else held_out
        self._batches = ShuffledBatches(len(labelled.frames), config.batch_size, config.seed, labelled.frames.storage)
        self.samples = self._batches.n
        self.batch_size = self._batches.batch_size

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All weights at one rate."""
        return [{"params": list(self.model.parameters()), "lr": self._config.lr}]

    def begin(self, generator: torch.Generator) -> None:
        """Nothing depends on the first batch."""

    def batch(self, step: int) -> tuple[Tensor, ...]:
        """Frames uint8 [B, H, W, C] and their true values [B, F]."""
        index = shares.own(self._batches.at(step))
        return self._labelled.frames.gather(index), self._labelled.truth[sent(index, self._labelled.truth.device)]

    def schedule(self, step: int) -> dict[str, float]:
        """Nothing changes over time."""
        return {}

    def loss(
        self, batch: Sequence[Tensor], schedule: Schedule, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch; see :meth:`CausalEncoder.loss`."""
        frames, truth = batch
        return self.model.loss(as_model_input(frames), truth)

    def settle(self) -> None:
        """Steps teach the model everything."""

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean distances to the truth in evaluation mode; see :func:`citris_cli.core.factors.distances`.

        Returns:
            ``val_distance.<factor>`` for every factor (own units, degrees, error rate) and ``val_distance``, the mean
            of all normalised distances; ``train_…`` where no frames were held out.
        """
        training = self.model.training
        self.model.eval()
        count = min(VALIDATION_FRAMES, len(self._measured.frames))
        # Spread over the whole set: the first frames of a sequence look alike.
        index = torch.linspace(0, len(self._measured.frames) - 1, count).round().long()
        total = torch.zeros(len(self.model.factors), dtype=torch.float64)
        for chunk in index.split(frames_at_once(self._measured.frames.width)):
            predicted = self.model.predict(as_model_input(self._measured.frames.gather(chunk)))
            truth = self._measured.truth[chunk.to(predicted.device)]
            total += distances(predicted, truth, self.model.factors).double().sum(0).cpu()
        self.model.train(training)
        mean = total / count
        measures = {f"{self.split}_distance": float(normalised(mean, self.model.factors).mean())}
        for factor, value in zip(self.model.factors, mean.tolist(), strict=True):
            measures[f"{self.split}_distance.{factor.name}"] = value
        return measures
