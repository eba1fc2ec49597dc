"""Training of the image autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.core.ops import shares
from citris_cli.core.teacher import Lesson, TaughtAutoencoder
from citris_cli.data.batches import ShuffledBatches
from citris_cli.data.datasets import SequenceData
from citris_cli.data.frames import Frames, as_model_input, encode_frames
from citris_cli.training.config import AutoencoderTrainingConfig
from citris_cli.training.reconstructions import Pictures, reconstruction_error
from citris_cli.training.task import Schedule

#: Rate of the network that sees no colours, in multiples of the training's.
GREY_RATE = 2.0


def with_permuted_colours(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Frames uint8 [B, H, W, C], each with its three colours in an order of its own, all six being as likely.

    Channels after the third stay where they are; grey frames stay as they are.

    Args:
        frames: on the generator's device.
        generator: source of the orders.
    """
    if frames.shape[3] < 3:
        return frames
    order = shares.noise(torch.rand, (len(frames), 3), torch.empty(0, device=frames.device), generator).argsort(1)
    others = torch.arange(3, frames.shape[3], device=frames.device).expand(len(frames), -1)
    order = torch.cat([order, others], dim=1)
    return frames.gather(3, order[:, None, None, :].expand_as(frames))


@dataclass(frozen=True)
class Lessons:
    """What a teacher says of every step of some sequences.

    Attributes:
        latents: its causal latents of the N frames, of unit variance, variable by variable, float32 [N, M].
        blocks: number of latents of each of the K variables.
        targets: 0 or 1, float32 [N, K]; row i of the step from frame i to i+1.
        starts: the frames i that have a frame after them, int64 [P].
    """

    latents: Tensor
    blocks: tuple[int, ...]
    targets: Tensor
    starts: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, teacher: CausalLatentsModel, data: SequenceData, device: torch.device) -> Lessons:
        """All lessons on the frames of some sequences, by a model in evaluation mode on the device.

        A latent that never changes keeps its value, 0.
        """
        z = encode_frames(teacher.encode, data.frames, device)
        assignment = teacher.assignment.hard().to(z.device)
        order = [(assignment == variable).nonzero()[:, 0] for variable in range(data.targets.shape[1])]
        z = z[:, torch.cat(order)]
        z = (z - z.mean(0)) / z.std(0).clamp(min=1e-6)
        targets = data.targets.to(z.device, torch.float32)
        return cls(z, tuple(len(block) for block in order), targets, data.starts)

    def at(self, frames: Tensor) -> Lesson:
        """Those of the steps from frames [B], on the latents' device."""
        frames = frames.to(self.latents.device)
        return Lesson(self.latents[frames], self.latents[frames + 1], self.targets[frames])


class AutoencoderTask:
    """Frames in shuffled batches, AdamW on all weights, reconstruction error on held-out frames.

    Args:
        model: the autoencoder, on its device.
        frames: training frames.
        held_out: frames for validation, or None: then the first training frames are measured, under another name.
        config: how to train.
        pictures: called at every validation with originals and reconstructions, uint8 [n, H, W, C] each.
    """

    unit = "frames"
    criterion: str | None = None

    def __init__(
        self,
        model: Autoencoder,
        frames: Frames,
        held_out: Frames | None,
        config: AutoencoderTrainingConfig,
        pictures: Pictures | None = None,
    ) -> None:
        self.model = model
        self._config = config
        self._frames = frames
        self._measured = held_out if held_out is not None else frames
        self._measure = "val_mse" if held_out is not None else "train_mse"
        self._pictures = pictures
        self._batches = ShuffledBatches(len(frames), config.batch_size, config.seed, frames.storage)
        self.samples = self._batches.n
        self.batch_size = self._batches.batch_size

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All weights at one rate."""
        return [{"params": list(self.model.parameters()), "lr": self._config.lr}]

    def begin(self, generator: torch.Generator) -> None:
        """Nothing depends on the first batch."""

    def batch(self, step: int) -> tuple[Tensor, ...]:
        """Frames uint8 [B, H, W, C]."""
        return (self._frames.gather(shares.own(self._batches.at(step))),)

    def schedule(self, step: int) -> dict[str, float]:
        """Nothing changes over time."""
        return {}

    def loss(
        self, batch: Sequence[Tensor], schedule: Schedule, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch; see :meth:`Autoencoder.loss`."""
        (frames,) = batch
        if self._config.permute_colours:
            frames = with_permuted_colours(frames, generator)
        return self.model.loss(as_model_input(frames), generator)

    def settle(self) -> None:
        """Steps teach the model everything."""

    def validate(self) -> dict[str, float]:
        """Mean squared error per pixel and channel, images in [-1, 1], in evaluation mode without noise."""
        training = self.model.training
        self.model.eval()
        error = reconstruction_error(self.model, self._measured, self._pictures)
        self.model.train(training)
        return {self._measure: error}


class TaughtAutoencoderTask:
    """The same with a teacher: frames that have one after them, each with a lesson on the step to it.

    Args:
        model: the autoencoder and what teaches it, on its device.
        frames: training frames.
        lessons: on these frames.
        held_out, config, pictures: as of :class:`AutoencoderTask`.
    """

    unit = "frames"
    criterion: str | None = None

    def __init__(
        self,
        model: TaughtAutoencoder,
        frames: Frames,
        lessons: Lessons,
        held_out: Frames | None,
        config: AutoencoderTrainingConfig,
        pictures: Pictures | None = None,
    ) -> None:
        self.model = model
        self._alone = AutoencoderTask(model.autoencoder, frames, held_out, config, pictures)
        self._config = config
        self._frames = frames
        self._lessons = lessons
        self._starts = lessons.starts.to(frames.storage)
        self._batches = ShuffledBatches(len(self._starts), config.batch_size, config.seed, frames.storage)
        self.samples = self._batches.n
        self.batch_size = self._batches.batch_size

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All weights at one rate, those that are new at another: they begin where the others are already."""
        new = [*self.model.next_values.parameters(), *self.model.autoencoder.grey_parameters()]
        ids = {id(parameter) for parameter in new}
        old = [parameter for parameter in self.model.parameters() if id(parameter) not in ids]
        return [{"params": old, "lr": self._config.lr}, {"params": new, "lr": GREY_RATE * self._config.lr}]

    def begin(self, generator: torch.Generator) -> None:
        """Nothing depends on the first batch."""

    def batch(self, step: int) -> tuple[Tensor, ...]:
        """Frames uint8 [B, H, W, C] and a :class:`~citris_cli.core.teacher.Lesson`'s tensors."""
        index = self._starts[shares.own(self._batches.at(step))]
        return (self._frames.gather(index), *self._lessons.at(index))

    def schedule(self, step: int) -> dict[str, float]:
        """Nothing changes over time."""
        return {}

    def loss(
        self, batch: Sequence[Tensor], schedule: Schedule, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch; see :meth:`TaughtAutoencoder.loss`."""
        frames, *lesson = batch
        if self._config.permute_colours:
            frames = with_permuted_colours(frames, generator)
        return self.model.loss(as_model_input(frames), Lesson(*lesson), generator)

    def settle(self) -> None:
        """Steps teach the model everything."""

    def validate(self) -> dict[str, float]:
        """As of :class:`AutoencoderTask`."""
        return self._alone.validate()
