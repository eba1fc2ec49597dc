"""What a causal encoder can learn from labelled frames, and how it is measured."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from citris_cli.core.causal_encoder import CausalEncoder
from citris_cli.core.config import CausalEncoderConfig
from citris_cli.core.factors import distances, normalised
from citris_cli.data.datasets import IndependentData
from citris_cli.data.frames import Frames, as_model_input
from citris_cli.data.truth import check_true_values
from citris_cli.data.variables import CAUSAL3DIDENT, Variable, Variables
from citris_cli.errors import InputError
from citris_cli.training import causal_encoder
from citris_cli.training.causal_encoder import CausalEncoderTask, Labelled, labels_of, learnable_factors
from tests.training.tasks import settings


def data(truth: object, *factors: Variable) -> IndependentData:
    values = torch.tensor(truth, dtype=torch.float32)
    pixels = np.random.default_rng(0).integers(0, 256, (len(values), 32, 32, 3), dtype=np.uint8)
    names = Variables(factors)
    return IndependentData("d", (Path("d.npz"),), Frames([pixels]), names, names, (), values)


def test_ranges_and_categories_are_filled_in() -> None:
    given = data(
        [[1.0, 3.0, -0.5, 0.0, 1.0, 2.0], [4.0, 1.0, 6.0, 5.0, 0.0, 0.0]],
        Variable("open"),
        Variable("known", "continuous", -2.0, 2.0),
        Variable("angle", "angle"),
        Variable("unknown", "categorical"),
        Variable("fewer", "categorical", categories=7),
        Variable("half", "continuous", low=0.5),
    )
    factors, constant = learnable_factors(given)
    assert constant == ()
    assert (factors[0].low, factors[0].high) == (1.0, 4.0)
    assert (factors[1].low, factors[1].high) == (-2.0, 3.0)
    assert factors[2] == Variable("angle", "angle")
    assert [factor.categories for factor in factors[3:5]] == [6, 7]
    assert (factors[5].low, factors[5].high) == (0.0, 2.0)


def test_factors_that_do_not_vary_are_left_out() -> None:
    truth = np.random.default_rng(0).uniform(0, 1, (8, 12))
    truth[:, [5, 10, 11]] = 0
    factors, constant = learnable_factors(data(truth.tolist(), *CAUSAL3DIDENT))
    assert constant == ("rot_gamma", "obj_s", "obj_m")
    assert factors.names == tuple(name for name in CAUSAL3DIDENT.names if name not in constant)
    assert (factors[0].low, factors[0].high) == (-2.0, 2.0)
    with pytest.raises(InputError, match="the true values are the same in every frame"):
        learnable_factors(data([[1.0], [1.0]], Variable("x")))


@pytest.mark.parametrize(
    ("values", "kind", "says"),
    [
        ([0.0, 359.0], "angle", "x is an angle and holds 359; save radians"),
        ([-180.0, 90.0], "angle", "x is an angle and holds -180; save radians"),
        ([0.0, 0.5], "categorical", "x is categorical and holds 0 … 0.5; save whole numbers"),
        ([-1.0, 1.0], "categorical", "x is categorical and holds -1 … 1"),
        ([0.0, 1e6], "categorical", r"x is categorical and holds 0 … 1e\+06"),
    ],
)
def test_values_of_another_kind_are_refused(values: list[float], kind: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        check_true_values(data([[value] for value in values], Variable("x", kind)))
    assert str(caught.value).startswith("d.npz: ")


def test_angles_may_be_signed_and_reach_a_whole_turn() -> None:
    for low, high in ((-math.pi, math.pi), (0.0, 2 * math.pi + 1e-5)):
        given = data([[low], [high]], Variable("x", "angle"))
        assert check_true_values(given) == ()
        assert len(learnable_factors(given)[0]) == 1


def test_labels_are_matched_by_name() -> None:
    given = data([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], Variable("a"), Variable("b"), Variable("c"))
    labelled = labels_of(given, Variables([Variable("c"), Variable("a")]))
    assert labelled is not None
    assert labelled.truth.tolist() == [[3.0, 1.0], [6.0, 4.0]]
    assert labels_of(given, Variables([Variable("a"), Variable("d")])) is None
    without = dataclasses.replace(given, factors=None, truth=None)
    assert labels_of(without, Variables([Variable("a")])) is None


@pytest.mark.parametrize("held_out", [True, False])
def test_errors_are_measured_in_evaluation_mode_factor_by_factor(
    held_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(causal_encoder, "frames_at_once", lambda width: 4)
    rng = np.random.default_rng(0)
    factors = (Variable("x", "continuous", 0.0, 2.0), Variable("a", "angle"))
    seen, other = (
        Labelled(
            Frames([rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)]),
            torch.from_numpy(rng.uniform(0, 2, (n, 2)).astype(np.float32)),
        )
        for n in (9, 7)
    )
    model = CausalEncoder(CausalEncoderConfig(32, channels=4, patch=2), factors, torch.Generator().manual_seed(0))
    measures = CausalEncoderTask(model, seen, other if held_out else None, settings()).validate()
    measured = other if held_out else seen
    with torch.no_grad():
        predicted = model.eval().predict(as_model_input(measured.frames.slice(0, 9)))
    mean = distances(predicted, measured.truth, factors).mean(0)
    split = "val" if held_out else "train"
    assert measures == {
        f"{split}_distance": pytest.approx(float(normalised(mean, factors).mean()), rel=1e-4),
        f"{split}_distance.x": pytest.approx(float(mean[0]), rel=1e-4),
        f"{split}_distance.a": pytest.approx(float(mean[1]), rel=1e-4),
    }
