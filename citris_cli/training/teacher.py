"""Training of an autoencoder that a CITRIS-NF teaches; see :mod:`citris_cli.core.teacher`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.core.ops import shares
from citris_cli.core.teacher import Lesson, TaughtAutoencoder
from citris_cli.data.batches import ShuffledBatches
from citris_cli.data.datasets import SequenceData
from citris_cli.data.frames import Frames, encode_frames
from citris_cli.training.autoencoder import AutoencoderTask
from citris_cli.training.config import AutoencoderTrainingConfig
from citris_cli.training.reconstructions import Pictures
from citris_cli.training.task import Schedule

#: Rate of what is new, in multiples of the training's.
NEW_RATE = 2.0


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


class TaughtAutoencoderTask(AutoencoderTask):
    """The same with a teacher: frames that have one after them, each with a lesson on the step to it.

    Args:
        model: the autoencoder and what teaches it, on its device.
        frames: training frames.
        lessons: on these frames.
        held_out, config, pictures: as of :class:`AutoencoderTask`.
    """

    def __init__(
        self,
        model: TaughtAutoencoder,
        frames: Frames,
        lessons: Lessons,
        held_out: Frames | None,
        config: AutoencoderTrainingConfig,
        pictures: Pictures | None = None,
    ) -> None:
        super().__init__(model.autoencoder, frames, held_out, config, pictures)
        self.model = self._taught = model
        self._lessons = lessons
        self._starts = lessons.starts.to(frames.storage)
        self._batches = ShuffledBatches(len(self._starts), config.batch_size, config.seed, frames.storage)
        self.samples = self._batches.n
        self.batch_size = self._batches.batch_size

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All weights at one rate, those that are new at another: they begin where the others are already."""
        new = [*self._taught.next_values.parameters(), *self._taught.autoencoder.grey_parameters()]
        ids = {id(parameter) for parameter in new}
        old = [parameter for parameter in self._taught.parameters() if id(parameter) not in ids]
        return [{"params": old, "lr": self._config.lr}, {"params": new, "lr": NEW_RATE * self._config.lr}]

    def batch(self, step: int) -> tuple[Tensor, ...]:
        """Frames uint8 [B, H, W, C] and a :class:`~citris_cli.core.teacher.Lesson`'s tensors."""
        index = self._starts[shares.own(self._batches.at(step))]
        return (self._frames.gather(index), *self._lessons.at(index))

    def loss(
        self, batch: Sequence[Tensor], schedule: Schedule, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch; see :meth:`TaughtAutoencoder.loss`."""
        frames, *lesson = batch
        return self._taught.loss(self.shown(frames, generator), Lesson(*lesson), generator, self.weights)
