"""What is shown of latents: groups that lose none of them, one axis for the whole sequence, interventions in words."""

import dataclasses

import numpy as np
import pytest

from citris_cli.show.latents import axis_ticks, latent_groups
from tests.show.sequences import NAMES, sequence


def test_every_latent_is_in_the_group_of_its_variable() -> None:
    groups = latent_groups(["a", "b"], np.array([1, 2, 0, 2, 1]))
    assert [(group.name, group.latents) for group in groups] == [("a", (2,)), ("b", (0, 4)), ("psi(0)", (1, 3))]
    assert len({(group.light, group.dark) for group in groups}) == 3
    assert latent_groups(["a"], np.array([1, 1]))[0].latents == ()


def test_the_axis_holds_every_value_and_zero() -> None:
    shown = sequence(6)
    assert shown.limits == pytest.approx((-0.6, 2.4))
    np.testing.assert_allclose(shown.ranges, [[-0.6, 0.2, 0.3, 0.4], [-0.1, 1.2, 1.8, 2.4]], rtol=1e-6)
    above = dataclasses.replace(shown, z=shown.z[:, 1:] + 5)
    assert above.limits == pytest.approx((0, 7.4))
    assert dataclasses.replace(shown, z=shown.z * 0).limits == (-1.0, 1.0)


@pytest.mark.parametrize("scale", [1e-6, 0.03, 1.0, 7.7, 2e5])
def test_ticks_are_round_and_inside(scale: float) -> None:
    low, high = -1.3 * scale, 2.1 * scale
    ticks = axis_ticks(low, high)
    assert 3 <= len(ticks) <= 9
    assert 0.0 in ticks
    assert low <= ticks[0] < ticks[-1] <= high
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-9)
    assert f"{steps[0]:.5e}"[:7] in ("1.00000", "2.00000", "5.00000")


def test_interventions_are_told_and_marked_by_name() -> None:
    shown = sequence(5)
    assert [shown.caption(frame) for frame in range(4)] == [
        "start of a sequence",
        "intervened on: box",
        "intervened on: lamp, wind",
        "no intervention",
    ]
    assert [shown.marked(frame) for frame in range(4)] == [[], [1], [2], []]
    unknown = dataclasses.replace(shown, intervened=(None,) * 5)
    assert unknown.caption(3) == "interventions not known"
    # A variable may have any name, also that of the last group.
    odd = sequence(3, names=("psi(0)", *NAMES[1:]))
    assert dataclasses.replace(odd, intervened=(("psi(0)",),) * 3).marked(0) == [0]
