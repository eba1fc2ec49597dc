"""The whole check on data whose truth is known, and on data that are hardly any."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from citris_cli.data.datasets import load_sequences
from citris_cli.evaluation.data_check.check import check_data, depends_in_sample, quick_check
from citris_cli.evaluation.data_check.report import LAGS, DataCheck
from citris_cli.evaluation.data_check.within_step import DIFFERENT, ORDER, PERFECT, Condition, effect_conditions
from tests.evaluation.data_check.lamps import lamps, loaded, moved

pytestmark = pytest.mark.filterwarnings("error")


def checked(arrays: dict[str, Any], lead: str | None = None) -> DataCheck:
    """A check whose parts agree with each other."""
    data = loaded(arrays, lead)
    with np.errstate(all="raise", under="ignore"):
        found = check_data(data)
    count, (height, width) = len(found.variables), found.size
    assert found.frames == found.steps + found.episodes
    assert found.together.shape == (count, count)
    assert len(found.alignment.ratios) == len(LAGS)
    assert (found.alignment.lag is None) == (found.alignment.confidence is None)
    assert found.sheet.dtype == np.uint8
    assert found.sheet.shape[1:] == (height, width, found.channels)
    assert found.sheet_targets.shape == (len(found.sheet), count)
    assert not found.sheet_targets[0].any()
    if not found.alignment.lag:
        assert np.diag(found.together).tolist() == [one.interventions for one in found.variables]
    for one in found.variables:
        assert 0 <= one.alone <= one.interventions
        if one.heat is not None:
            assert one.heat.shape == (height, width)
            assert np.isfinite(one.heat).all()
            assert one.heat.min() >= 0
    assert all("\n" not in said for said in (*found.problems, *found.hints, *found.unchecked))
    return found


def test_sound_data_have_no_problems_and_heat_where_the_lamp_is() -> None:
    found = checked(lamps(1200, 3))
    assert found.problems == ()
    assert found.alignment.lag == 0
    assert (found.frames, found.steps, found.episodes, found.size, found.channels) == (1200, 1199, 1, (32, 32), 3)
    for k, one in enumerate(found.variables):
        assert (one.name, one.shows, one.depends) == (f"lamp_{k}", True, False)
        assert one.ratio is not None
        assert one.ratio > 1
        assert one.heat is not None
        lamp = one.heat[:5, 6 * k : 6 * k + 5]
        assert lamp.mean() > 10 * (one.heat.sum() - lamp.sum()) / (one.heat.size - lamp.size)


@pytest.mark.parametrize(
    ("lag", "rows", "says"),
    [
        (1, 0, r"look one step late: .* read one row earlier .*; save row i \+ 1 as row i, which leaves the first row"),
        (2, 0, r"look two steps late: .*; save row i \+ 2 as row i"),
        (-1, 0, r"look one step early: .* read one row later .*; save row i as row i \+ 1, with zeros"),
        (1, 1, r"look one step late: .*; each row describes the step into its frame: give --targets-lead in$"),
        (-1, 1, r"look one step early: .*; each row describes the step out of its frame: give --targets-lead out$"),
    ],
)
def test_rows_that_are_off_come_first_with_how_to_mend_them(lag: int, rows: int, says: str) -> None:
    import re

    arrays = lamps(1000, 3)
    lead = None
    if rows and lag > 0:
        arrays = {**arrays, "targets": np.concatenate([arrays["targets"][:1] * 0, arrays["targets"]])}
    elif rows:
        arrays = {**arrays, "targets": np.concatenate([arrays["targets"], arrays["targets"][:1] * 0])}
        lead = "in"
    else:
        arrays = moved(arrays, lag)
    found = checked(arrays, lead)
    assert found.alignment.lag == lag
    assert found.problems[0] == found.alignment.sentence
    assert re.search(says, found.problems[0])
    assert [one.shows for one in found.variables] == [True] * 3
    if rows:
        assert checked(arrays, "in" if lag > 0 else "out").alignment.lag == 0


def test_a_variable_that_changes_nothing_is_named() -> None:
    arrays = lamps(3600, 2, size=32)
    ghost = np.random.default_rng(5).random((3599, 1)) < 0.1
    arrays["targets"] = np.concatenate([arrays["targets"], ghost], axis=1).astype(np.uint8)
    found = checked({**arrays, "keys": ["a", "b", "ghost"]})
    assert [one.shows for one in found.variables] == [True, True, False]
    assert [said for said in found.problems if said.startswith("ghost: nothing in the frames distinguishes")]
    assert len(found.problems) == 1


def test_in_a_still_scene_fewer_interventions_tell() -> None:
    arrays = lamps(900, 2, fading=1.0, wander=0.0)
    ghost = np.random.default_rng(5).random((899, 1)) < 0.1
    arrays["targets"] = np.concatenate([arrays["targets"], ghost], axis=1).astype(np.uint8)
    found = checked({**arrays, "keys": ["a", "b", "ghost"]})
    assert [one.shows for one in found.variables] == [True, True, False]


def test_random_targets_are_one_problem() -> None:
    arrays = lamps(1000, 3)
    arrays["targets"] = (np.random.default_rng(1).random((999, 3)) < 0.4).astype(np.uint8)
    found = checked(arrays)
    assert found.alignment.lag is None
    assert [one.shows for one in found.variables] == [False] * 3
    assert [said.partition(" more than")[0] for said in found.problems] == ["no intervention changes the frame"]


@pytest.mark.parametrize("late", [0, 1])
@pytest.mark.parametrize("period", [2, 3, 5, 10])
def test_interventions_on_a_schedule_are_never_told_wrongly(period: int, late: int) -> None:
    """Moved in time, such rows fall on each other: that is no chance, and a lag may be as good as another."""
    arrays = lamps(1500, 2, fading=0.9)
    every = np.arange(1500)[:, None] % period == np.array([0, period // 2])
    arrays = moved(_performed(arrays, every[:1499]), late)
    found = checked(arrays)
    assert found.alignment.lag in (late, None)
    assert False not in [one.shows for one in found.variables]
    if period == 10 and not late:
        assert [one.shows for one in found.variables] == [True, True]


def _performed(arrays: dict[str, Any], targets: Any) -> dict[str, Any]:
    """The same recording with other interventions: where a lamp is intervened on its square has a new brightness."""
    images, side = arrays["images"].copy(), arrays["images"].shape[1] // 5
    random = np.random.default_rng(7)
    for k in range(targets.shape[1]):
        level = 0.0
        for step in range(len(images)):
            level = random.uniform(0, 200) if step and targets[step - 1, k] else 0.9 * level
            images[step, :side, k * side : (k + 1) * side - 1] = level + random.normal(20, 5)
    return {**arrays, "images": images, "targets": targets.astype(np.uint8)}


def test_of_many_variables_each_takes_more_interventions_to_be_said_to_change_nothing() -> None:
    arrays = lamps(900, 6, fading=1.0, wander=0.0)
    ghosts = np.random.default_rng(5).random((899, 14)) < 0.1
    targets = np.concatenate([arrays["targets"], ghosts], axis=1).astype(np.uint8)
    found = checked({**arrays, "targets": targets, "keys": [f"v{k}" for k in range(20)]})
    assert False not in [one.shows for one in found.variables]


def test_where_no_intervention_is_seen_that_is_said() -> None:
    arrays = lamps(900, 2, fading=0.9, wander=0.2)
    arrays["targets"] = (np.random.default_rng(1).random((899, 2)) < 0.1).astype(np.uint8)
    found = checked(arrays)
    assert found.problems == ()
    assert any(
        said.startswith("cannot tell whether any intervention shows in the frame, of ") for said in found.unchecked
    )


@pytest.mark.parametrize(
    ("imperfect", "option"), [(2, "--imperfect-interventions"), (1, "--imperfect-variables lamp_0")]
)
def test_a_value_that_is_mirrored_depends_on_the_past(imperfect: int, option: str) -> None:
    found = checked(lamps(1500, 2, imperfect=imperfect))
    assert [one.depends for one in found.variables] == [True, imperfect == 2]
    assert any(f"the frame before; train with {option}, and not with --method icitris" in hint for hint in found.hints)


def test_soft_interventions_are_found_before_a_training() -> None:
    soft, perfect = (loaded(lamps(1500, 2, imperfect=imperfect)) for imperfect in (2, 0))
    assert depends_in_sample(soft) == dict.fromkeys(soft.variables.names, True)
    assert True not in depends_in_sample(perfect).values()


def test_faults_of_frames_are_named_with_their_places() -> None:
    def faulty(change: Any) -> tuple[DataCheck, str]:
        arrays = lamps(500, 2)
        change(arrays["images"])
        found = checked(arrays)
        assert len(found.problems) == 1, found.problems
        return found, found.problems[0]

    def hang(frames: Any) -> None:
        frames[201:207] = frames[200]

    def repeat(frames: Any) -> None:
        frames[300:340] = frames[100:140]

    def cut(frames: Any) -> None:
        frames[250:] = 255 - frames[250:]

    def flicker(frames: Any) -> None:
        light = 1 + 0.2 * np.random.default_rng(0).standard_normal((500, 1, 1, 1))
        frames[:] = (frames * light).clip(0, 255)

    found, said = faulty(hang)
    assert found.pictures.frozen == (201, 202, 203, 204, 205, 206)
    assert said.startswith("6 frames (201, 202, 203, 204, 205, …) equal the frame before")
    found, said = faulty(repeat)
    assert found.pictures.duplicates == tuple(range(300, 340))
    assert said.startswith("40 frames from frame 300 on repeat earlier ones")
    found, said = faulty(cut)
    assert found.pictures.cuts == (250,)
    assert said.startswith("the picture changes as a whole at frame 250: looks like a cut")
    found, said = faulty(flicker)
    assert found.pictures.flickers
    assert said.endswith(
        "the light or the exposure flickers; fix the exposure, or even out the brightness of the frames"
    )


def test_a_light_that_is_intervened_on_does_not_flicker() -> None:
    def light(share: float) -> DataCheck:
        random = np.random.default_rng(2)
        targets = random.random((1199, 1)) < share
        level = np.zeros(1200)
        for step in range(1199):
            level[step + 1] = random.uniform(0, 200) if targets[step, 0] else level[step]
        images = random.normal(20, 3, (1200, 32, 32, 3)) + level[:, None, None, None]
        return checked({"images": images.clip(0, 255).astype(np.uint8), "targets": targets.astype(np.uint8)})

    found = light(0.7)
    assert found.problems == ()
    assert found.pictures.flickers is False
    found = light(0.98)
    assert found.problems == ()
    assert found.pictures.flickers is None
    assert any("light flickers" in said for said in found.unchecked)


def test_a_system_that_rests_has_no_hung_camera() -> None:
    found = checked(lamps(600, 2, noise=0.0, fading=1.0, wander=0.0))
    assert len(found.pictures.frozen) > 400
    assert found.problems == ()
    assert any(hint.startswith("nothing at all changes in") for hint in found.hints)


def test_a_ball_that_lies_in_a_corner_is_no_hung_camera() -> None:
    """In Ball-in-Boxes it lies there for many steps, but never when it is moved; a camera hangs whatever happens."""
    arrays, resting = lamps(1200, 2, noise=0.0, design="half"), np.zeros(1199, bool)
    for first in range(20, 1180, 40):
        resting[first : first + 6] = True
    arrays["targets"][resting] = 0
    rows = np.concatenate([[0], 1 + np.flatnonzero(~resting)])
    images = arrays["images"][rows[np.searchsorted(rows, np.arange(1200), side="right") - 1]]
    found = checked({**arrays, "images": images})
    assert len(found.pictures.frozen) >= resting.sum()
    assert found.problems == ()
    arrays["targets"][np.flatnonzero(resting)[::3]] = 1
    assert "a camera that froze" in " ".join(checked({**arrays, "images": images}).problems)


def of_two_frames() -> dict[str, Any]:
    two = lamps(2, 1)
    two["targets"][:] = 1
    return two


def of_equal_frames() -> dict[str, Any]:
    constant = lamps(300, 2)
    constant["images"][:] = 3
    return constant


def test_hardly_any_data() -> None:
    found = checked(of_two_frames())
    assert found.alignment.lag is None
    assert found.variables[0].ratio is None
    assert any("too few" in said for said in found.problems)
    assert checked(of_equal_frames()).problems == ("all frames are equal: there is nothing to learn from",)


def test_designs_without_steps_to_compare_with_say_what_stands_for_them() -> None:
    always = lamps(600, 3)
    always["targets"][:, 0] = 1
    found = checked(always)
    assert [one.shows for one in found.variables] == [None, True, True]
    assert any("a regression of the change on all targets" in said for said in found.unchecked)
    found = checked(lamps(600, 3, design="one"))
    assert found.without == 0
    assert [one.shows for one in found.variables] == [True] * 3
    assert any("steps with the target and all others" in said for said in found.unchecked)


@pytest.mark.parametrize("channels", [1, 8])
def test_channels(channels: int) -> None:
    assert checked(lamps(400, 2, channels=channels)).alignment.lag == 0


def test_many_variables_episodes_and_shards() -> None:
    assert len(checked(lamps(700, 20)).variables) == 20
    arrays = lamps(601)
    rows = np.concatenate([arrays["targets"], arrays["targets"][:1]])
    found = checked({**arrays, "targets": rows, "lengths": [1, 200, 1, 300, 99]})
    assert (found.steps, found.episodes, found.alignment.lag) == (596, 5, 0)
    shards = check_data(load_sequences([lamps(300), lamps(400, seed=1)]))
    assert (shards.steps, shards.episodes, shards.alignment.lag) == (698, 2, 0)


@pytest.mark.parametrize("arrays", [of_two_frames(), of_equal_frames(), lamps(150, 20), lamps(150, 2, channels=1)])
def test_a_training_finds_of_odd_data_what_a_check_finds(arrays: dict[str, Any]) -> None:
    data = loaded(arrays)
    with np.errstate(all="raise", under="ignore"):
        assert set(quick_check(data)) <= set(check_data(data).problems)
        assert set(quick_check(data, targets=False)) <= set(quick_check(data))


def test_a_training_looks_at_a_sample() -> None:
    late = loaded(moved(lamps(12_000, 2), 1))
    began = time.process_time()
    said = quick_check(late)
    assert time.process_time() - began < 5
    assert [sentence[:32] for sentence in said] == ["the targets look one step late: "]
    assert quick_check(late, targets=False) == ()


@pytest.mark.parametrize("name", ["voronoi", "pinball", "interventional_pong"])
def test_worlds_have_no_problems(real_data, name: str) -> None:
    found = check_data(load_sequences([real_data / "published" / name / "train.npz"]))
    assert found.problems == ()
    assert not [one.name for one in found.variables if one.depends]


def test_the_recording_whose_rows_are_late(real_data) -> None:
    found = check_data(load_sequences([real_data / "recordings/late.npz"]))
    assert found.alignment.lag == 1
    assert len(found.problems) == 1
    assert {one.name: one.depends for one in found.variables} == {"box": True, "ball_y": False}


def test_what_effects_within_a_step_need() -> None:
    def conditions(arrays: dict[str, Any]) -> dict[str, Condition]:
        return {one.name: one for one in checked(arrays).within_step}

    soft, perfect = (conditions(lamps(1500, 2, imperfect=imperfect)) for imperfect in (1, 0))
    assert [one.holds for one in soft.values()] == [False, True, None]
    assert "trust no edge of these variables" in soft[PERFECT].sentences[0]
    assert "--imperfect-variables lamp_0" in soft[PERFECT].sentences[0]
    assert [one.holds for one in perfect.values()] == [True, True, None]
    same = lamps(1500, 2)
    same["targets"][:, 1] = same["targets"][:, 0]
    found = conditions(same)[DIFFERENT]
    assert found.holds is False
    assert "are always intervened on in the same steps" in found.sentences[0]
    few = lamps(1500, 2)
    few["targets"][30:, 1] = few["targets"][30:, 0]
    few["targets"][:5] = [1, 0]
    found = conditions(few)[DIFFERENT]
    assert found.holds is False
    assert any("can hardly be determined; record more such steps" in sentence for sentence in found.sentences)


@pytest.mark.parametrize(
    ("edges", "holds", "sentence"),
    [
        ([], True, "nothing acts within a step, so CITRIS is enough"),
        ([(0, 1)], True, "the 1 effect within a step forms no cycle"),
        ([(0, 1), (1, 0)], False, "form a cycle (lamp_0 -> lamp_1 -> lamp_0)"),
    ],
)
def test_the_datas_own_graph_tells_of_an_order(
    edges: list[tuple[int, int]], holds: bool, sentence: str, tmp_path: Path
) -> None:
    graph = np.zeros((2, 2), np.uint8)
    for edge in edges:
        graph[edge] = 1
    np.savez(tmp_path / "d.npz", **lamps(200, 2), graph_instantaneous=graph)
    (found,) = (one for one in effect_conditions(load_sequences([tmp_path / "d.npz"])) if one.name == ORDER)
    assert found.holds is holds
    assert sentence in found.sentences[0]


@pytest.mark.parametrize(
    ("others", "says"),
    [
        ({"graph_instantaneous": np.eye(2, k=1)}, "files do not all have the same true graph (graph_instantaneous)"),
        ({"graph_instantaneous": np.full((2, 2), 7)}, "d-2.npz: key 'graph_instantaneous' holds values other than 0"),
    ],
)
def test_files_whose_graphs_differ_or_are_none_tell_of_no_order(
    others: dict[str, np.ndarray], says: str, tmp_path: Path
) -> None:
    paths = [tmp_path / "d-1.npz", tmp_path / "d-2.npz"]
    for path, graph in zip(paths, ({"graph_instantaneous": np.zeros((2, 2))}, others), strict=True):
        np.savez(path, **lamps(200, 2), **graph)
    (found,) = (one for one in effect_conditions(load_sequences(paths)) if one.name == ORDER)
    assert found.holds is None
    assert says in found.sentences[0]
    assert "a training run with --method icitris reports cycles" in found.sentences[1]
