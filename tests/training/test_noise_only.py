"""What of a trained model's latents holds nothing but noise, and that it goes to psi(0)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from citris_cli.core.assignment import CausalAssignment
from citris_cli.data.frames import Frames
from citris_cli.training.noise_only import JUDGED, leave_to_rest, signal

CPU = torch.device("cpu")
#: Standard deviations between frames; that of the noise is 1.
SPREADS = (3.0, 0.3, 0.6, 0.1, 0.2, 0.0)


class Prior:
    assigns = True
    rest = True


class Model:
    """Latents that are one number of a frame times the spreads."""

    def __init__(self, assignment: list[int]) -> None:
        self.prior = Prior()
        self.assignment = CausalAssignment(len(SPREADS), 2)
        self.assignment.fix(torch.tensor(assignment))
        self.seen = 0

    def encode(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        value = images[:, 0, 0, 0] / images.new_tensor(1 / 3**0.5)  # uniform in [-1, 1]: a standard deviation of 1
        return value[:, None] * torch.tensor(SPREADS)

    def noisy(self, z: Tensor, generator: torch.Generator) -> Tensor:
        return z + torch.randn(z.shape, generator=generator)

    def encode_noisy(self, images: Tensor, generator: torch.Generator) -> Tensor:
        z = self.encode(images)
        return z + torch.randn(z.shape, generator=generator)


def frames(count: int = 3000) -> Frames:
    values = np.random.default_rng(0).integers(0, 256, count).astype(np.uint8)
    return Frames([np.broadcast_to(values[:, None, None, None], (count, 2, 2, 3)).copy()])


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_signal_is_in_standard_deviations_of_the_noise() -> None:
    model = Model([0] * 6)
    found = signal(model, frames(), CPU, seeded())  # type: ignore[arg-type]
    torch.testing.assert_close(found, torch.tensor(SPREADS), atol=0.12, rtol=0)
    assert model.seen == 2 * JUDGED
    assert torch.equal(found, signal(model, frames(), CPU, seeded()))  # type: ignore[arg-type]


def test_latents_that_are_there_are_taken_instead_of_frames() -> None:
    model = Model([0] * 6)
    z = torch.rand(3000, 6, generator=seeded()) * 2 * 3**0.5 * torch.tensor(SPREADS)
    found = signal(model, frames(), CPU, seeded(), z)  # type: ignore[arg-type]
    torch.testing.assert_close(found, torch.tensor(SPREADS), atol=0.12, rtol=0)
    assert model.seen == 0


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        ([0, 0, 1, 1, 1, 2], [0, 2, 1, 2, 2, 2], [0, 1, 1]),
        ([0, 0, 0, 1, 1, 1], [0, 2, 0, 2, 1, 2], [0, 1, 1]),  # nothing is found of the second: it keeps its best
        ([0, 2, 1, 2, 2, 2], [0, 2, 1, 2, 2, 2], []),
    ],
)
def test_noise_goes_to_the_rest_and_every_variable_keeps_its_best_latent(
    before: list[int], after: list[int], moved: list[int]
) -> None:
    model = Model(before)
    assert leave_to_rest(model, frames(), CPU, seeded()) == moved  # type: ignore[arg-type]
    assert model.assignment.hard().tolist() == after


@pytest.mark.parametrize("without", ["assigns", "rest"])
def test_without_an_assignment_or_a_rest_nothing_is_moved(without: str) -> None:
    model = Model([0, 0, 0, 1, 1, 1])
    setattr(model.prior, without, False)
    assert leave_to_rest(model, frames(), CPU, seeded()) == []  # type: ignore[arg-type]
    assert model.assignment.hard().tolist() == [0, 0, 0, 1, 1, 1]
    assert model.seen == 0
