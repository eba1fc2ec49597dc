"""True values in units that are taken for granted: said or refused where they are others."""

from __future__ import annotations

import re

import numpy as np
import pytest

from citris_cli.data.datasets import load_independent
from citris_cli.data.truth import check_true_values, check_values
from citris_cli.data.variables import parse_vars
from citris_cli.errors import InputError

TURNS = np.linspace(0, 1, 40, endpoint=False)


def checked(values: np.ndarray, kind: str = "angle") -> tuple[str, ...]:
    arrays = {"images": np.zeros((len(values), 32, 32, 3), np.uint8), "latents": values[:, None], "keys": ["theta"]}
    return check_true_values(load_independent(arrays, None, parse_vars(f"theta:{kind}")))


def test_radians_pass_in_silence() -> None:
    for radians in (TURNS * 2 * np.pi, (TURNS - 0.5) * 2 * np.pi, TURNS * 3.2, TURNS * 0):
        assert checked(radians) == ()


def test_degrees_are_refused() -> None:
    with pytest.raises(InputError, match="theta is an angle and holds 351; save radians, or say with --vars that"):
        checked(TURNS * 360)


@pytest.mark.parametrize(("values", "says"), [(TURNS, "0 … 1; .* by 2π"), (2 * TURNS - 1, "−1 … 1; .* by π")])
def test_what_looks_like_another_unit_is_said_to(values: np.ndarray, says: str) -> None:
    (note,) = checked(values)
    assert "theta is an angle, read in radians" in note
    assert re.search(says, note)


def test_angles_that_look_alike_share_a_sentence() -> None:
    values = np.stack([TURNS, TURNS, 2 * TURNS - 1], axis=1)
    notes = check_values(values, parse_vars("a:angle,b:angle,c:angle"), "x.npz", "")
    assert [note.split(",")[0] for note in notes] == ["x.npz: a", "x.npz: c is an angle"]
    assert "a, b are angles, read in radians, and all their values" in notes[0]


def test_categories_are_whole_numbers() -> None:
    assert checked(np.arange(40) % 3, "categorical") == ()
    for wrong in (TURNS, np.arange(40) - 1.0, np.arange(40) * 1000.0):
        with pytest.raises(InputError, match=r"categorical and holds .* save whole numbers from 0 to 999"):
            checked(wrong, "categorical")
