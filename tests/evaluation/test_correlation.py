"""R² and Spearman matrices on latents of which the answer is known."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch import Tensor

from citris_cli.data.variables import Variable, Variables
from citris_cli.evaluation import correlation as module
from citris_cli.evaluation.correlation import BATCH, HIDDEN, LEARNING_RATE, Correlation, correlation, ranks

FRAMES = 1200
FACTORS = [Variable("pos"), Variable("hue", "angle"), Variable("shape", "categorical", categories=3)]
VARIABLES = Variables(FACTORS)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def truth() -> np.ndarray:
    """Independent factors [N, 3] of the three kinds."""
    rng = np.random.default_rng(0)
    columns = rng.normal(size=FRAMES), rng.uniform(0, 2 * np.pi, FRAMES), rng.integers(0, 3, FRAMES)
    return np.stack(columns, axis=1)


def perfect(values: np.ndarray) -> tuple[Tensor, Tensor]:
    """Latents [N, 6] that tell of every factor all and nothing else, and of what variable each is; two are noise."""
    noise = np.random.default_rng(1).normal(size=(FRAMES, 2))
    latents = np.stack(
        [
            -3 * values[:, 0] + 5,
            100 * np.sin(values[:, 1]),
            0.01 * np.cos(values[:, 1]),
            (values[:, 2] - 1) ** 3,
            *noise.T,
        ],
        axis=1,
    )
    return torch.from_numpy(latents).float(), torch.tensor([0, 1, 1, 2, 3, 3])


@pytest.fixture(scope="module")
def report() -> Correlation:
    values = truth()
    z, assignment = perfect(values)
    return correlation(z, assignment, values, FACTORS, VARIABLES, seeded(), epochs=60)


def test_perfect_latents_are_found_perfect(report: Correlation) -> None:
    assert report.rows == ("pos", "hue", "shape", "psi(0)")
    assert report.factors == ("pos", "hue", "shape")
    assert (np.diag(report.r2) > 0.95).all(), report.r2
    assert (np.diag(report.spearman) > 0.95).all(), report.spearman
    assert report.diag(report.r2) == pytest.approx(np.diag(report.r2).mean())


def test_latents_of_other_variables_tell_nothing(report: Correlation) -> None:
    others = ~np.eye(4, 3, dtype=bool)
    assert report.r2[others].max() < 0.1, report.r2
    assert np.abs(report.spearman[others]).max() < 0.15, report.spearman
    assert report.sep(report.r2) < 0.1


def test_latents_of_other_frames_tell_nothing() -> None:
    values = truth()
    z, assignment = perfect(values)
    shuffled = z[torch.randperm(FRAMES, generator=seeded(3))]
    found = correlation(shuffled, assignment, values, FACTORS, VARIABLES, seeded(), epochs=20)
    assert found.r2.max() < 0.1, found.r2
    assert np.abs(found.spearman).max() < 0.15, found.spearman


def test_latents_in_the_wrong_variable_are_found_there() -> None:
    values = truth()
    z, _ = perfect(values)
    swapped = torch.tensor([1, 0, 0, 2, 3, 3])  # the angle's latents are said to be the position's and the reverse
    found = correlation(z, swapped, values, FACTORS, VARIABLES, seeded(), epochs=60)
    assert found.r2[1, 0] > 0.95
    assert found.r2[0, 1] > 0.95
    assert found.diag(found.r2) < 0.5
    assert found.sep(found.r2) > 0.6


def test_a_variable_without_latents_knows_nothing() -> None:
    values = truth()
    z, _ = perfect(values)
    found = correlation(z, torch.zeros(6, dtype=torch.int64), values, FACTORS, VARIABLES, seeded(), epochs=30)
    assert (found.r2[1:] < 0.05).all()
    np.testing.assert_array_equal(found.spearman[1:], 0)
    assert (found.r2[0] > 0.9).all()


def test_the_unit_of_a_factor_changes_nothing(report: Correlation) -> None:
    values = truth()
    z, assignment = perfect(values)
    values[:, 0] *= 1e-12
    found = correlation(z, assignment, values, FACTORS, VARIABLES, seeded(), epochs=60)
    np.testing.assert_allclose(found.spearman, report.spearman, atol=0.02)
    np.testing.assert_allclose(found.r2, report.r2, atol=0.02)


def test_a_factor_that_does_not_vary_has_no_value() -> None:
    values = truth()
    values[:, 1] = 0.7
    z, assignment = perfect(truth())
    found = correlation(z, assignment, values, FACTORS, VARIABLES, seeded(), epochs=30)
    assert np.isnan(found.r2[:, 1]).all()
    assert np.isnan(found.spearman[:, 1]).all()
    assert not np.isnan(found.r2[:, [0, 2]]).any()
    assert found.diag(found.r2) == pytest.approx(found.r2[[0, 2], [0, 2]].mean())
    assert found.sep(found.r2) < 0.1
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert [row[1] for row in document["r2"]] == [None] * 4
    assert document["r2_diag"] > 0.9


@pytest.mark.filterwarnings("error")
def test_where_nothing_varies_nothing_has_a_value() -> None:
    z, assignment = perfect(truth())
    found = correlation(z, assignment, np.ones((FRAMES, 3)), FACTORS, VARIABLES, seeded())
    assert np.isnan(found.r2).all()
    assert np.isnan(found.spearman).all()
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["r2_diag"] is None
    assert document["spearman_sep"] is None


def test_diag_and_sep_are_what_they_say() -> None:
    r2 = np.array([[0.9, 0.1, 0.3], [0.2, 0.7, np.nan], [0.5, 0.6, 0.4]])
    found = Correlation(("a", "b", "psi(0)"), ("a", "b", "never intervened on"), (0, 1, None), r2, r2)
    assert found.diag(r2) == pytest.approx((0.9 + 0.7) / 2)
    assert found.sep(r2) == pytest.approx((0.3 + 0.2) / 2)
    assert found.average_sep(r2) == pytest.approx((0.2 + 0.2) / 2)
    assert found.average_sep(np.where(r2 == 0.1, -0.1, r2)) == pytest.approx((0.15 + 0.2) / 2)  # no better than 0
    strangers = Correlation(("c", "psi(0)"), ("a",), (None,), r2[:2, :1], r2[:2, :1])
    assert np.isnan(strangers.diag(strangers.r2))
    alone = Correlation(("a", "psi(0)"), ("a",), (0,), r2[:2, :1], r2[:2, :1])
    assert np.isnan(alone.sep(alone.r2))
    assert np.isnan(alone.average_sep(alone.r2))
    assert strangers.to_json()["r2_diag"] is None


def test_a_variable_of_several_columns_has_several_own_factors() -> None:
    r2 = np.array([[0.9, 0.7, 0.3], [0.2, 0.1, 0.8], [0.5, 0.6, 0.4]])
    found = Correlation(("where", "hue", "psi(0)"), ("x", "y", "hue"), (0, 0, 1), r2, r2)
    assert found.diag(r2) == pytest.approx((0.9 + 0.7 + 0.8) / 3)
    assert found.sep(r2) == pytest.approx((0.3 + 0.2) / 2)
    assert found.to_json()["own_rows"] == ["where", "where", "hue"]


def test_the_short_way_around_the_circle_counts() -> None:
    values = np.array([0.05, 6.2, 3.0, 3.1])
    head = module._Head(Variable("hue", "angle"), values, half=2)
    exact = np.stack([np.sin(values[2:]), np.cos(values[2:])], axis=1)
    assert head.r2(exact) == pytest.approx(1)
    around = module._Head(Variable("hue", "angle"), np.array([3.0, 3.1, 0.05, 6.2]), half=2)
    error = around._distance(np.array([6.2, 0.05]))
    np.testing.assert_allclose(np.abs(error), 0.05 + 2 * np.pi - 6.2)


def test_categories_are_right_or_wrong() -> None:
    head = module._Head(Variable("shape", "categorical"), np.array([2.0, 5, 5, 2, 5, 5, 7]), half=3)
    right = np.eye(3)[[0, 1, 1, 2]]  # 2, 5, 5, 7
    assert head.r2(right) == 1
    # The first half's mode is 5: it is wrong of the 2 and the 7, as is a prediction of nothing but 5.
    assert head.r2(np.eye(3)[[1, 1, 1, 1]]) == 0
    assert head.r2(np.eye(3)[[0, 1, 1, 1]]) == 0.5


def one_after_the_other(
    z: Tensor, masks: Tensor, heads: list[module._Head], half: int, generator: torch.Generator, epochs: int
) -> Tensor:
    """The same networks as plain modules, each trained by an optimiser of its own on the same batches."""
    widths = [2 * masks.shape[1], HIDDEN, HIDDEN, sum(head.outputs for head in heads)]
    drawn = []
    for inputs, outputs in pairwise(widths):
        bound = inputs**-0.5
        weights = torch.empty(len(masks), inputs, outputs).uniform_(-bound, bound, generator=generator)
        drawn.append((weights, torch.empty(len(masks), 1, outputs).uniform_(-bound, bound, generator=generator)))
    batches = [torch.randperm(half, generator=generator).split(BATCH) for _ in range(epochs)]
    results = []
    for k, mask in enumerate(masks):
        layers = [torch.nn.Linear(inputs, outputs) for inputs, outputs in pairwise(widths)]
        for layer, (weights, biases) in zip(layers, drawn, strict=True):
            layer.weight.data, layer.bias.data = weights[k].T.contiguous(), biases[k, 0]
        network = torch.nn.Sequential(layers[0], torch.nn.Tanh(), layers[1], torch.nn.Tanh(), layers[2])
        optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
        rows = torch.cat([z * mask, mask.expand_as(z)], dim=1)
        for index in (batch for epoch in batches for batch in epoch):
            outputs = network(rows[index]).split([head.outputs for head in heads], dim=-1)
            loss = sum(head.loss(out[None], index) for head, out in zip(heads, outputs, strict=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        results.append(network(rows[half:]).detach())
    return torch.stack(results)


def test_the_batched_networks_learn_what_they_learn_one_after_the_other() -> None:
    values = truth()
    z, assignment = perfect(values)
    z = (z - z.mean(0)) / z.std(0)
    half = FRAMES // 2
    heads = [module._Head(factor, values[:, j], half) for j, factor in enumerate(FACTORS)]
    masks = torch.nn.functional.one_hot(assignment, 4).T.float()
    batched = module._fit_and_predict(z, masks, heads, half, seeded(5), epochs=4)
    single = one_after_the_other(z, masks, heads, half, seeded(5), epochs=4)
    assert batched.shape == (4, FRAMES - half, 1 + 2 + 3)
    torch.testing.assert_close(batched, single, rtol=1e-3, atol=1e-3)
    untrained = one_after_the_other(z, masks, heads, half, seeded(5), epochs=0)
    assert (batched - untrained).abs().mean() > 0.1


def test_only_the_generator_is_drawn_from_and_nothing_is_changed() -> None:
    values = truth()
    z, assignment = perfect(values)
    before = z.clone(), assignment.clone(), values.copy()
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - the global one must stay as it is
    first = correlation(z, assignment, values, FACTORS, VARIABLES, seeded(), epochs=2)
    second = correlation(z, assignment, values, FACTORS, VARIABLES, seeded(), epochs=2)
    other = correlation(z, assignment, values, FACTORS, VARIABLES, seeded(1), epochs=2)
    np.testing.assert_array_equal(first.r2, second.r2)
    assert (first.r2 != other.r2).any()
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert torch.equal(z, before[0])
    assert torch.equal(assignment, before[1])
    np.testing.assert_array_equal(values, before[2])
    assert torch.is_grad_enabled()


def test_ranks_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=50), rng.integers(0, 5, 50), np.zeros(3), -np.arange(4.0)):
        np.testing.assert_array_equal(ranks(values), rankdata(values))
