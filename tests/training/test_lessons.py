"""What a teacher says of the frames of some sequences, and which variables it knows from colours alone."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.data.datasets import SequenceData, load_sequences
from citris_cli.training.config import TrainingConfig
from citris_cli.training.teacher import MORE_FRAMES, Lessons
from tests.training.tasks import taught_autoencoder_task

CPU = torch.device("cpu")


class _Assignment:
    def hard(self) -> Tensor:
        return torch.tensor([2, 1, 0, 3])


class _Teacher:
    """Latents that are known: a colour, a place and nothing of the three variables, in this order, and the mean."""

    assignment = _Assignment()

    def __init__(self, error_in_other_colours: float = 1.0) -> None:
        self.error_in_other_colours = error_in_other_colours
        self.seen: Tensor | None = None

    def decode(self, z: Tensor) -> Tensor:
        """What was encoded last, with an error that differs for frames whose mean of blue is above that of red."""
        assert self.seen is not None
        red, blue = self.seen[:, 0].mean(), self.seen[:, 2].mean()
        return self.seen + (self.error_in_other_colours if blue > red else 1.0)

    def encode(self, images: Tensor) -> Tensor:
        self.seen = images
        red, _, blue = images.mean((2, 3))[:, :3].unbind(1)
        left = images[..., :16].mean((1, 2, 3))
        return torch.stack([torch.zeros_like(red), left, red - blue, images.mean((1, 2, 3))], dim=1)


def recordings(channels: int = 3) -> SequenceData:
    """Two episodes, of 30 and of 20 frames, with three variables."""
    draw = np.random.default_rng(0)

    def episode(length: int) -> dict[str, Any]:
        colours = draw.integers(0, 128, (length, 1, 1, channels))
        colours.sort(-1)
        colours[..., :3] = colours[..., 2::-1]  # red above blue, in every frame
        frames = np.broadcast_to(colours, (length, 32, 32, channels)).astype(np.uint8)
        frames[:, :, :16] += draw.integers(0, 128, (length, 1, 1, 1)).astype(np.uint8)
        targets = draw.random((length - 1, 3)) < 0.5
        return {"images": frames, "targets": targets.astype(np.uint8), "keys": ["hue", "place", "nothing"]}

    return load_sequences([episode(30), episode(20)])


@pytest.fixture(scope="module")
def data() -> SequenceData:
    return recordings()


def lessons_of(data: SequenceData, permuted: bool = True, error_in_other_colours: float = 1.0) -> Lessons:
    return Lessons.of(cast(CausalLatentsModel, _Teacher(error_in_other_colours)), data, CPU, permuted)


def test_a_variable_whose_latents_follow_permuted_colours_shows_in_colours_only(data: SequenceData) -> None:
    assert lessons_of(data).coloured == (True, False, False)
    assert lessons_of(recordings(4)).coloured == (True, False, False)
    assert lessons_of(data, permuted=False).coloured == (False, False, False)


def test_a_teacher_that_does_not_know_other_colours_is_not_asked(data: SequenceData) -> None:
    assert lessons_of(data, error_in_other_colours=3.0).coloured == (False, False, False)


def test_a_lesson_has_what_is_before_and_after_a_frame_of_the_same_episode(data: SequenceData) -> None:
    lessons = lessons_of(data)
    assert lessons.blocks == (1, 1, 1)
    assert lessons.latents.shape == (50, 3)  # psi(0) says nothing
    torch.testing.assert_close(lessons.latents.std(0), torch.tensor([1.0, 1.0, 0.0]))
    frames = torch.tensor([0, 7, 30, 48])
    lesson = lessons.at(frames)
    assert lesson.has_before.tolist() == [0, 1, 0, 1]
    torch.testing.assert_close(lesson.now, lessons.latents[frames])
    torch.testing.assert_close(lesson.after, lessons.latents[frames + 1])
    torch.testing.assert_close(lesson.before[[1, 3]], lessons.latents[[6, 47]])
    torch.testing.assert_close(lesson.targets, data.targets[frames].float())
    torch.testing.assert_close(lesson.targets_before[[1, 3]], data.targets[[6, 47]].float())


def test_a_step_takes_more_lessons_than_it_reconstructs() -> None:
    task = taught_autoencoder_task(TrainingConfig(batch_size=4))
    frames, others, *lessons = task.batch(0)
    assert len(frames) == 4
    assert len(others) == 4 * MORE_FRAMES
    half = len(lessons) // 2
    assert [len(part) for part in lessons] == [4] * half + [4 * MORE_FRAMES] * half
    again = task.batch(1)[1]
    assert not torch.equal(others, again)
    assert not torch.equal(others[:4], frames)
