"""What of a trained model's latents holds nothing but noise, and that it goes to psi(0)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from citris_cli.core.assignment import CausalAssignment
from citris_cli.training.noise_only import JUDGED, judged, leave_to_rest

#: Standard deviations between frames; that of the noise is 1.
SPREADS = (3.0, 0.3, 0.6, 0.1, 0.2, 0.0)


class Prior:
    assigns = True
    rest = True


class Model:
    """What is looked at of a model."""

    def __init__(self, assignment: list[int]) -> None:
        self.prior = Prior()
        self.assignment = CausalAssignment(len(SPREADS), 2)
        self.assignment.fix(torch.tensor(assignment))


def latents(frames: int = 2000) -> tuple[Tensor, Tensor]:
    """Of frames, without and with noise."""
    z, noise = torch.randn(2, frames, len(SPREADS), generator=torch.Generator().manual_seed(0))
    z = z * torch.tensor(SPREADS)
    return z, z + noise


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
    assert leave_to_rest(model, *latents()) == moved  # type: ignore[arg-type]
    assert model.assignment.hard().tolist() == after


@pytest.mark.parametrize("without", ["assigns", "rest"])
def test_without_an_assignment_or_a_rest_nothing_is_moved(without: str) -> None:
    model = Model([0, 0, 0, 1, 1, 1])
    setattr(model.prior, without, False)
    assert leave_to_rest(model, *latents()) == []  # type: ignore[arg-type]
    assert model.assignment.hard().tolist() == [0, 0, 0, 1, 1, 1]


def test_a_single_frame_tells_nothing() -> None:
    model = Model([0, 0, 0, 1, 1, 1])
    assert leave_to_rest(model, *latents(1)) == []  # type: ignore[arg-type]


def test_frames_are_judged_from_the_first_to_the_last() -> None:
    assert judged(3).tolist() == [0, 1, 2]
    many = judged(10 * JUDGED)
    assert (len(many), int(many[0]), int(many[-1])) == (JUDGED, 0, 10 * JUDGED - 1)
