"""Episodes, pairs, rows of targets and where recordings end: how what people save becomes steps of a system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from citris_cli.data.datasets import holds_triplets, load_independent, load_sequences, load_triplets, read_frames
from citris_cli.data.variables import parse_vars
from citris_cli.errors import InputError
from tests.data.conftest import save, triplets

FRAMES = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
#: Row i is the step from frame i to i + 1, of which there are 11.
STEPS = np.random.default_rng(1).integers(0, 2, (11, 2))
STEPS[[0, 10]] = [[0, 0], [1, 1]]


def refusal(arrays: dict[str, Any], **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        load_sequences([arrays], **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


ENDS = np.zeros(12, int)
ENDS[[3, 4, 11]] = 1


@pytest.mark.parametrize(
    "keys",
    [
        {"dones": ENDS},
        {"dones": ENDS.astype(bool)[:, None]},
        {"terminals": np.append(ENDS[:-1], 0)},
        {"episode_ends": ENDS.astype(np.float64)},
        {"episode_ends": np.array([4, 5, 12])},
        {"episode_ends": np.array([3, 4, 11])},
        {"episode_starts": np.roll(ENDS, 1)},
        {"episode_starts": np.array([0, 4, 5])},
        {"episode_ids": np.array([7] * 4 + [8] + [3] * 7)},
        {"episode_ids": np.array(["a"] * 4 + ["b"] + ["a"] * 7)},
        {"lengths": np.array([4, 1, 7])},
        {"lengths": np.array([4.0, 1.0, 7.0])},
        {"dones": ENDS, "lengths": np.array([4, 1, 7])},
    ],
    ids=lambda keys: "+".join(f"{key}:{np.asarray(value).dtype}{len(value)}" for key, value in keys.items()),
)
def test_no_step_crosses_the_end_of_an_episode(keys: dict[str, Any]) -> None:
    data = load_sequences([{"images": FRAMES, "targets": STEPS, **keys}])
    assert data.starts.tolist() == [0, 1, 2, 5, 6, 7, 8, 9, 10]
    expected = np.concatenate([STEPS, [[0, 0]]])
    expected[[3, 4]] = 0
    np.testing.assert_array_equal(data.targets, expected)
    assert "1 episode of one frame: without a step, so skipped" in data.notes
    assert f"the given arrays: 3 episodes, by {' and '.join(keys)}" in data.notes
    assert not data.unused


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"dones": ENDS[:11]}, "key 'dones' has 11 values instead of 12; it needs one a frame, 1 where it is the last"),
        ({"dones": ENDS * 2}, "holds values other than 0 and 1"),
        ({"dones": np.zeros((2, 6))}, "has shape [2, 6]; it needs a list that tells where episodes end"),
        ({"terminals": np.array(["no"] * 12)}, "it needs numbers that tell where episodes end"),
        ({"episode_ends": np.array([4, 5, 13])}, "0 or 1 for each of 12 frames, or frame numbers in ascending order"),
        ({"episode_ends": np.array([5, 4])}, "in ascending order"),
        ({"episode_ends": np.array([4.5])}, "in ascending order"),
        ({"episode_starts": np.array([0, 12])}, "in ascending order"),
        ({"lengths": np.array([4, 7])}, "adds up to 11 frames, and there are 12"),
        ({"lengths": np.array([13, -1])}, "a whole number of at least 1; it holds -1"),
        ({"episode_ids": np.arange(5)}, "has 5 values instead of 12; it needs one a frame, the same in an episode"),
    ],
)
def test_keys_that_fit_no_episodes_are_refused(keys: dict[str, Any], says: str) -> None:
    assert says in refusal({"images": FRAMES, "targets": STEPS, **keys})


def test_interventions_on_steps_across_an_end_count_for_nothing() -> None:
    targets = np.zeros((11, 2), int)
    targets[3, 0] = targets[0, 1] = 1
    data = load_sequences([{"images": FRAMES, "targets": targets, "lengths": np.array([4, 8])}])
    assert data.variables.names == ("var_1",)


@pytest.mark.parametrize("rows", [3, 4])
def test_episodes_of_one_length(rows: int) -> None:
    episodes = FRAMES.reshape(3, 4, 32, 32, 3)
    targets = np.random.default_rng(2).integers(0, 2, (3, rows, 2))
    truth = np.arange(24.0).reshape(3, 4, 2)
    data = load_sequences([{"images": episodes, "targets": targets, "latents": truth}])
    assert data.starts.tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    np.testing.assert_array_equal(data.targets[data.starts], targets[:, :3].reshape(-1, 2))
    np.testing.assert_array_equal(data.frames.slice(0, 12), FRAMES)
    np.testing.assert_array_equal(data.truth, truth.reshape(12, 2))
    independent = load_independent({"images": episodes, "latents": truth})
    np.testing.assert_array_equal(independent.truth, truth.reshape(12, 2))


def test_padding_of_episodes_is_left_out(tmp_path: Path) -> None:
    targets = np.ones((3, 3, 1), int)
    arrays = {"images": FRAMES.reshape(3, 4, 32, 32, 3), "targets": targets, "lengths": np.array([4, 2, 3])}
    real = [0, 1, 2, 3, 4, 5, 8, 9, 10]
    for where in (arrays, save(tmp_path / "a.npz", **arrays), save(tmp_path / "b.npz", compressed=True, **arrays)):
        data = load_sequences([where])
        np.testing.assert_array_equal(data.frames.slice(0, 12), FRAMES[real])
        assert data.starts.tolist() == [0, 1, 2, 4, 6, 7]
        assert data.targets[:, 0].tolist() == [1, 1, 1, 0, 1, 0, 1, 1, 0]
        np.testing.assert_array_equal(read_frames(where)[0].slice(0, 12), FRAMES[real])
    assert "key 'lengths' needs whole numbers from 1 to 4" in refusal(arrays | {"lengths": np.array([4, 5, 1])})


def test_ends_within_episodes_of_one_length() -> None:
    dones = np.zeros((3, 4), int)
    dones[1, 1] = 1
    arrays = {"images": FRAMES.reshape(3, 4, 32, 32, 3), "targets": np.ones((3, 3, 1), int), "dones": dones}
    assert load_sequences([arrays]).starts.tolist() == [0, 1, 2, 4, 6, 8, 9, 10]


def test_pairs_before_and_after() -> None:
    pairs, targets = FRAMES.reshape(6, 2, 32, 32, 3), np.eye(6, 2, dtype=int)
    truth = np.arange(12.0).reshape(6, 2, 1).repeat(2, 2)
    data = load_sequences([{"images": pairs, "targets": targets, "latents": truth}])
    assert data.starts.tolist() == [0, 2, 4, 6, 8, 10]
    np.testing.assert_array_equal(data.targets[data.starts], targets)
    np.testing.assert_array_equal(data.frames.slice(0, 12), FRAMES)
    np.testing.assert_array_equal(data.truth, truth.reshape(12, 2))
    assert "has 5 rows for 6 pairs; it needs 6" in refusal({"images": pairs, "targets": targets[:5]})


def test_groups_of_frames_that_could_be_anything_are_refused() -> None:
    message = refusal({"images": FRAMES.reshape(3, 4, 32, 32, 3), "targets": np.ones((3, 2))})
    assert "episodes with targets [3, 3 or 4, variables], pairs [N, 2, …] or triplets [N, 3, …]" in message


def test_triplets_are_told_from_episodes_of_three_frames() -> None:
    three = triplets()
    assert holds_triplets(three)
    assert len(load_triplets(three).mask) == 4
    episodes = {"images": three["images"], "targets": np.ones((4, 2, 2), int)}
    assert not holds_triplets(episodes)
    assert load_sequences([episodes]).starts.tolist() == [0, 1, 3, 4, 6, 7, 9, 10]


def test_targets_of_one_variable_need_no_second_axis() -> None:
    targets = STEPS[:, 0] | STEPS[:, 1]
    for values in (targets, targets.astype(bool), targets.astype(float)):
        data = load_sequences([{"images": FRAMES, "targets": values, "keys": ["lamp"]}])
        assert data.variables.names == ("lamp",)
        np.testing.assert_array_equal(data.targets[:-1, 0], targets)
    data = load_sequences([{"images": FRAMES, "targets": STEPS, "latents": np.arange(12.0)}], parse_vars("a,b"))
    assert data.truth is None
    one = load_independent({"images": FRAMES, "targets": targets, "latents": np.arange(12.0)})
    assert one.truth is not None
    assert one.truth.shape == (12, 1)


IN = np.concatenate([[[0, 0]], STEPS])  # row i is the step into frame i
OUT = np.concatenate([STEPS, [[0, 0]]])


@pytest.mark.parametrize(("rows", "lead"), [(IN, "in"), (OUT, "out"), (OUT, None)])
def test_as_many_rows_as_frames_lead_in_or_out(rows: np.ndarray[Any, Any], lead: str | None) -> None:
    data = load_sequences([{"images": FRAMES, "targets": rows}], lead=lead)
    np.testing.assert_array_equal(data.targets, OUT)
    assert not [note for note in data.notes if "row" in note]


def test_rows_that_look_shifted_by_one_are_said_to() -> None:
    for frames, rows, last in (
        (FRAMES, IN, "the last row holds"),
        (FRAMES.reshape(2, 6, 32, 32, 3), IN.reshape(2, 6, 2) * np.arange(6)[:, None].clip(0, 1), "2 episodes hold"),
    ):
        (note,) = load_sequences([{"images": frames, "targets": rows}]).notes
        assert last in note
        assert "interventions and the first none, as if each row described the step into its frame" in note
        assert "--targets-lead in" in note


def test_a_last_row_that_is_not_used_is_said_to_be() -> None:
    rows = np.concatenate([STEPS, [[1, 0]]])
    rows[0] = 1
    (note,) = load_sequences([{"images": FRAMES, "targets": rows}]).notes
    assert "the last row holds interventions and no step follows, so they are not used" in note
    assert not load_sequences([{"images": FRAMES, "targets": rows}], lead="out").notes


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"images": FRAMES, "targets": STEPS}, "there is one row a step"),
        ({"images": FRAMES.reshape(6, 2, 32, 32, 3), "targets": np.eye(6, 2)}, "pairs have one row each"),
    ],
)
def test_where_nothing_is_to_choose_the_option_is_refused(arrays: dict[str, Any], why: str) -> None:
    message = refusal(arrays, lead="in")
    assert message.startswith("--targets-lead in: ")
    assert why in message


def test_keys_that_nothing_reads_are_named(tmp_path: Path) -> None:
    arrays = {"images": FRAMES, "targets": STEPS, "done": ENDS, "my_notes": np.arange(3)}
    data = load_sequences([save(tmp_path / "a.npz", **arrays)])
    assert data.unused == ("done", "my_notes")
    assert "not used, as citris does not read keys of these names: done (did you mean 'dones'?), my_notes" in data.notes
    assert len(data.starts) == 11
