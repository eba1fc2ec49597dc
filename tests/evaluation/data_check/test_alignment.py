"""Rows that are late or early are found, whatever the design; rows that are not never are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from citris_cli.data.datasets import SequenceData, load_sequences
from citris_cli.evaluation.data_check.alignment import Verdict, ratios_by_lag, verdict
from citris_cli.evaluation.data_check.features import features
from citris_cli.evaluation.data_check.report import LAGS
from citris_cli.evaluation.data_check.rows import Rows
from tests.evaluation.data_check.lamps import DESIGNS, lamps, loaded, moved
from tests.evaluation.data_check.parts import looked_at, part, shifted


def judged(data: SequenceData) -> Verdict:
    found = looked_at(data)
    return verdict(features(found), found, Rows.of(data))


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("fading", [0.0, 0.9])
def test_every_shift_is_found_or_left_open(design: str, fading: float) -> None:
    arrays = lamps(700, 3, seed=1, design=design, fading=fading, wander=0.1)
    found = looked_at(loaded(arrays))
    seen_in = features(found)
    told = {lag: verdict(seen_in, found, Rows.of(loaded(moved(arrays, lag)))).lag for lag in (*LAGS, 3)}
    assert told[0] == 0
    assert told[1] == 1
    assert told[3] is None
    assert all(one in (lag, None) for lag, one in told.items())


def test_what_a_system_goes_on_to_do_is_no_shift() -> None:
    """A lamp that fades slowly changes by more after the step of its intervention, taken together, than in it."""
    late = judged(loaded(moved(lamps(1000, 2, seed=3, fading=0.6, wander=0.0), 1)))
    assert (late.lag, late.confidence > 0.999) == (1, True)


@pytest.mark.parametrize("seed", range(3))
def test_targets_that_have_nothing_to_do_with_the_frames_say_nothing(seed: int) -> None:
    random = np.random.default_rng(1000 + seed)
    arrays = lamps(500, 3, seed=seed)
    for design in (random.random((499, 3)) < 0.2, np.repeat(random.random((100, 3)) < 0.3, 5, axis=0)[:499]):
        assert judged(loaded({**arrays, "targets": design.astype(np.uint8)})).lag is None


def test_lags_do_not_reach_into_another_episode() -> None:
    arrays = lamps(400, 2)
    rows = np.concatenate([arrays["targets"], arrays["targets"][:1]])
    data = loaded({**arrays, "targets": rows, "lengths": [1, 99, 100, 200]})
    steps = data.starts.numpy()
    assert len(steps) == 396
    targets = Rows.of(data)
    for lag in LAGS:
        read, there = targets.at(steps, lag)
        assert int((~there).sum()) == 3 * abs(lag)
        assert not read[~there].any()
        inside = steps[there] + lag
        assert np.array_equal(read[there], data.targets.numpy()[inside].astype(bool))


def test_pairs_cannot_tell() -> None:
    arrays = lamps(300)
    pairs = np.stack([arrays["images"][:-1], arrays["images"][1:]], axis=1)
    assert judged(loaded({**arrays, "images": pairs})) == Verdict(None, why="no step follows another")


@pytest.mark.parametrize("what", ["two frames", "constant", "one target"])
def test_too_little_is_left_open(what: str) -> None:
    arrays = lamps(2 if what == "two frames" else 200)
    if what == "constant":
        arrays["images"][:] = 9
    if what != "constant":
        arrays["targets"][:] = 0
        arrays["targets"][0] = 1
    assert judged(loaded(arrays)).lag is None


def test_ratios_are_largest_where_rows_fit() -> None:
    for lag in (-1, 0, 1):
        data = loaded(moved(lamps(600, 3, noise=0.0, fading=0.9), lag))
        ratios = ratios_by_lag(looked_at(data), Rows.of(data))
        assert LAGS[int(np.argmax(np.array(ratios, float)))] == lag
    one = loaded(lamps(600, 3, design="one"))
    assert None not in ratios_by_lag(looked_at(one), Rows.of(one))  # though no step has no target


def test_the_check_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    first = judged(loaded(lamps(300)))
    assert judged(loaded(lamps(300))) == first
    assert torch.equal(torch.get_rng_state(), before)


PUBLISHED = ("interventional_pong", "pinball", "voronoi", "voronoi_instantaneous")
WORLDS = ["causal3d", *(f"published/{name}" for name in PUBLISHED)]


@pytest.mark.parametrize("name", WORLDS)
def test_worlds_are_never_told_wrongly(real_data: Path, name: str) -> None:
    data = load_sequences([real_data / name / "train.npz"])
    for first, frames in ((0, 300), (300, 700)):
        some = part(data, first, frames)
        found = looked_at(some)
        seen_in = features(found)
        told = {lag: verdict(seen_in, found, Rows.of(shifted(some, lag))).lag for lag in LAGS}
        assert all(one in (lag, None) for lag, one in told.items())
        assert told[0] == 0 or frames < 700
