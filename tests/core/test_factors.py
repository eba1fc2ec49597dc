"""Distances of factors: on the circle, in degrees, by category, and what they are divided by."""

import math

import pytest
import torch

from citris_cli.core.factors import distances, half_range, normalised
from citris_cli.data.variables import Variable

X = Variable("x", "continuous", -1.0, 4.0)
ANGLE = Variable("a", "angle")
SHAPE = Variable("s", "categorical", categories=4)


def test_each_kind_has_its_own_distance() -> None:
    values = torch.tensor([[1.0, 0.1, 2.0], [-0.5, 0.0, 3.0]])
    others = torch.tensor([[3.5, 2 * math.pi - 0.1, 2.0], [-0.5, math.pi, 0.0]])
    expected = torch.tensor([[2.5, math.degrees(0.2), 0.0], [0.0, 180.0, 1.0]])
    torch.testing.assert_close(distances(values, others, (X, ANGLE, SHAPE)), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(distances(others, values, (X, ANGLE, SHAPE)), expected, rtol=0, atol=1e-4)


def test_whole_turns_make_no_distance() -> None:
    angles = torch.linspace(0, 6, 20)[:, None]
    for turns in (-2, -1, 1, 3):
        assert distances(angles, angles + turns * 2 * math.pi, [ANGLE]).max() < 1e-3


def test_an_angle_is_never_more_than_half_a_turn_away() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (20 * torch.rand(2, 500, 1, generator=generator) - 10).unbind(0)
    distance = distances(a, b, [ANGLE])
    assert distance.min() >= 0
    assert 170 < distance.max() <= 180.001
    torch.testing.assert_close(torch.deg2rad(distance).cos(), (a - b).cos(), rtol=0, atol=1e-5)


def test_any_leading_dimensions() -> None:
    values = torch.rand(2, 3, 5, 2, generator=torch.Generator().manual_seed(0))
    others = values.flip(0)
    whole = distances(values, others, (X, ANGLE))
    assert whole.shape == values.shape
    assert torch.equal(whole[1, 2], distances(values[1, 2], others[1, 2], (X, ANGLE)))


def test_normalised_by_half_the_range_half_a_turn_and_one() -> None:
    distance = torch.tensor([[5.0, 180.0, 1.0], [2.5, 90.0, 0.0]])
    torch.testing.assert_close(
        normalised(distance, (X, ANGLE, SHAPE)), torch.tensor([[2.0, 1.0, 1.0], [1.0, 0.5, 0.0]])
    )


@pytest.mark.parametrize(("low", "high"), [(None, 1.0), (0.0, None), (None, None), (0.0, math.inf)])
def test_a_factor_without_a_range_cannot_be_normalised(low: float | None, high: float | None) -> None:
    factor = Variable("x", "continuous", low, high)
    with pytest.raises(ValueError, match="factor x has the range"):
        half_range(factor)
    with pytest.raises(ValueError, match="factor x has the range"):
        normalised(torch.ones(1, 1), [factor])
