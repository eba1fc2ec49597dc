"""Training of an autoencoder that a CITRIS-NF teaches; see :mod:`citris_cli.core.teacher`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.core.ops import shares
from citris_cli.core.teacher import Lesson, TaughtAutoencoder
from citris_cli.data.batches import ShuffledBatches
from citris_cli.data.datasets import SequenceData
from citris_cli.data.frames import Frames, as_model_input, encode_frames, frames_at_once, sent
from citris_cli.training.autoencoder import AutoencoderTask
from citris_cli.training.config import AutoencoderTrainingConfig
from citris_cli.training.reconstructions import Pictures
from citris_cli.training.task import Schedule

#: Rate of what is new, in multiples of the training's.
NEW_RATE = 3.0
#: Frames that are for the lesson alone, in multiples of those that the autoencoder draws as well.
MORE_FRAMES = 2
#: Frames are augmented where each is seen more often than this, or their lessons are known by heart.
SEEN = 20
#: Frames whose colours are permuted to find which variables only colours show, at most.
PERMUTED_FRAMES = 500
#: All orders of red, green and blue but their own.
ORDERS = ([0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0])
#: A variable that only colours show moves by more than this share of what two unrelated frames differ by.
MOVED = 0.5
#: A model knows frames in other colours if it reconstructs them with less than this multiple of the error on its own.
KNOWN = 2.0


@dataclass(frozen=True)
class Lessons:
    """What a teacher says of every step of some sequences.

    Attributes:
        latents: its causal latents of the N frames, of unit variance, variable by variable, float32 [N, M].
        blocks: number of latents of each of the K variables.
        targets: 0 or 1, float32 [N, K]; row i of the step from frame i to i+1.
        starts: the frames i that have a frame after them, int64 [P].
        coloured: which of the variables only colours show, [K]; all False if that was not asked.
    """

    latents: Tensor
    blocks: tuple[int, ...]
    targets: Tensor
    starts: Tensor
    coloured: tuple[bool, ...]

    @cached_property
    def has_before(self) -> Tensor:
        """1 where a frame has one before it, otherwise 0, float32 [N]."""
        has_before = torch.zeros(len(self.latents), device=self.latents.device)
        has_before[self.starts.to(has_before.device) + 1] = 1
        return has_before

    @classmethod
    @torch.no_grad()
    def of(
        cls, teacher: CausalLatentsModel, data: SequenceData, device: torch.device, permuted: bool = False
    ) -> Lessons:
        """All lessons on the frames of some sequences, by a model in evaluation mode on the device.

        A latent that never changes keeps its value, 0.

        Args:
            teacher: the model.
            data: the sequences.
            device: where the model is.
            permuted: whether the frames have three colours at least, and the training permutes them. Only then, and if
                the model knows frames in other colours, is it found out which variables only colours show.
        """
        z = encode_frames(teacher.encode, data.frames, device)
        assignment = teacher.assignment.hard().to(z.device)
        order = [(assignment == variable).nonzero()[:, 0] for variable in range(data.targets.shape[1])]
        coloured = (False,) * len(order)
        if permuted and (moved := _moved_by_permuted_colours(teacher, data.frames, device)) is not None:
            coloured = tuple(bool(len(block)) and float(moved[block].mean()) > MOVED for block in order)
        z = z[:, torch.cat(order)]
        z = (z - z.mean(0)) / z.std(0).clamp(min=1e-6)
        targets = data.targets.to(z.device, torch.float32)
        return cls(z, tuple(len(block) for block in order), targets, data.starts, coloured)

    def at(self, frames: Tensor) -> Lesson:
        """Those of frames [B] that have a frame after them, on the latents' device."""
        frames = frames.to(self.latents.device)
        before = (frames - 1).clamp(min=0)
        return Lesson(
            now=self.latents[frames],
            after=self.latents[frames + 1],
            targets=self.targets[frames],
            before=self.latents[before],
            targets_before=self.targets[before],
            has_before=self.has_before[frames],
        )


def _moved_by_permuted_colours(teacher: CausalLatentsModel, frames: Frames, device: torch.device) -> Tensor | None:
    """How far each latent moves if red, green and blue change places, as a share of what unrelated frames differ by.

    Mean squares [M], over all orders and up to :data:`PERMUTED_FRAMES` frames that are spread over all. None if the
    model does not know frames in other colours, and so takes them for others.
    """
    count = min(len(frames), PERMUTED_FRAMES)
    index = torch.arange(count, device=frames.storage) * len(frames) // count
    latents: list[list[Tensor]] = [[] for _ in range(len(ORDERS) + 1)]
    errors = torch.zeros(len(ORDERS) + 1, device=device)
    for part in index.split(frames_at_once(frames.width)):
        seen = sent(frames.gather(part), device)
        others = list(range(3, seen.shape[3]))
        for number, order in enumerate(([0, 1, 2], *ORDERS)):
            images = as_model_input(seen[..., order + others])
            z = teacher.encode(images)
            latents[number].append(z.float())
            errors[number] += (teacher.decode(z) - images).square().mean((1, 2, 3)).sum()
    if not errors[1:].mean() < KNOWN * errors[0]:
        return None
    z, *permuted = (torch.cat(parts) for parts in latents)
    moved = torch.stack([(one - z).square().mean(0) for one in permuted]).mean(0)
    return moved / (2 * z.var(0, unbiased=False)).clamp(min=1e-12)


def times_seen(lessons: Lessons, config: AutoencoderTrainingConfig) -> float:
    """How often a training run takes the lesson of a frame."""
    return config.steps * config.batch_size * (1 + MORE_FRAMES) / len(lessons.starts)


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
        self._others = [
            ShuffledBatches(len(self._starts), config.batch_size, config.seed + number, frames.storage)
            for number in range(1, MORE_FRAMES + 1)
        ]
        self.samples = self._batches.n
        self.batch_size = self._batches.batch_size

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All weights at one rate, those that are new at another: they begin where the others are already."""
        new = self._taught.new_parameters()
        ids = {id(parameter) for parameter in new}
        old = [parameter for parameter in self._taught.parameters() if id(parameter) not in ids]
        return [{"params": old, "lr": self._config.lr}, {"params": new, "lr": NEW_RATE * self._config.lr}]

    def batch(self, step: int) -> tuple[Tensor, ...]:
        """Frames uint8 [B, H, W, C], more for the lesson alone, and the tensors of two lessons, of either."""
        index, others = (
            self._starts[shares.own(numbers)]
            for numbers in (self._batches.at(step), torch.cat([batches.at(step) for batches in self._others]))
        )
        frames = self._frames.gather(index), self._frames.gather(others)
        return (*frames, *self._lessons.at(index), *self._lessons.at(others))

    def loss(
        self, batch: Sequence[Tensor], schedule: Schedule, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch; see :meth:`TaughtAutoencoder.loss`."""
        frames, others, *lessons = batch
        size = len(Lesson._fields)
        return self._taught.loss(
            self.shown(frames, generator),
            Lesson(*lessons[:size]),
            as_model_input(others),  # no colour is seen in them, so none need be permuted
            Lesson(*lessons[size:]),
            generator,
            self.weights,
        )
