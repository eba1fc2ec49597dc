"""Sequences to look at: with targets, without them, in shards; a step leads into the frame after it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from citris_cli.data.clips import load_clip
from citris_cli.data.variables import Variable, Variables
from citris_cli.errors import InputError

FRAMES = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 4), dtype=np.uint8)
TARGETS = np.array([[1, 0, 0], [0, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]], np.uint8)


def save(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("rows", [5, 6])
def test_targets_stand_with_the_frame_that_their_step_led_into(tmp_path: Path, rows: int) -> None:
    # A sixth row has no frame to lead into.
    targets = np.concatenate([TARGETS, [[1, 1, 1]]])[:rows]
    keys = np.array(["x", "y", "z"])
    clip = load_clip([save(tmp_path / "a.npz", images=FRAMES, targets=targets.astype(np.float64), keys=keys)])
    assert clip.columns.names == ("x", "y", "z")
    np.testing.assert_array_equal(clip.targets, np.concatenate([[[0, 0, 0]], TARGETS]))
    assert clip.told.tolist() == [False, True, True, True, True, True]
    np.testing.assert_array_equal(clip.frames.slice(0, 6).numpy(), FRAMES)


def test_no_step_leads_from_one_shard_into_the_next(tmp_path: Path) -> None:
    for number in (2, 10):
        save(
            tmp_path / f"train-{number}.npz", imgs=FRAMES[:3] + np.uint8(number), interventions=TARGETS[:2] + number % 2
        )
    clip = load_clip([tmp_path])
    assert len(clip.frames) == 6
    assert clip.told.tolist() == [False, True, True] * 2
    np.testing.assert_array_equal(clip.frames.slice(3, 4).numpy(), FRAMES[:1] + np.uint8(10))
    assert clip.targets[[0, 3]].sum() == 0
    assert clip.targets[[1, 4], 0].tolist() == [1, 1]


def test_without_targets_nothing_is_told_of_any_step(tmp_path: Path) -> None:
    clip = load_clip([save(tmp_path / "a.npz", images=FRAMES), save(tmp_path / "b.npz", images=FRAMES[:1])])
    assert len(clip.frames) == 7
    assert not clip.told.any()
    assert clip.targets.shape == (7, 0)
    assert not clip.columns


def test_where_nothing_is_intervened_on_every_step_is_told_of(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", images=FRAMES, targets=TARGETS * 0)
    clip = load_clip([path, save(tmp_path / "b.npz", images=FRAMES, targets=TARGETS * 0)])
    assert clip.told.tolist() == [False, *[True] * 5] * 2
    assert clip.targets.sum() == 0


def test_columns_without_names_are_the_known_ones_if_as_many(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", images=FRAMES, targets=TARGETS)
    known = Variables([Variable("x"), Variable("y"), Variable("z")])
    assert load_clip([path], known=known).columns == known
    assert load_clip([path], known=known[:2]).columns.names == ("var_0", "var_1", "var_2")
    given = Variables([Variable("a"), Variable("b"), Variable("c")])
    assert load_clip([path], given, known).columns == given
    named = save(tmp_path / "b.npz", images=FRAMES, targets=TARGETS, keys=np.array(["p", "q", "r"]))
    assert load_clip([named], known=known).columns.names == ("p", "q", "r")


def test_columns_have_the_kinds_that_their_file_gives_them(tmp_path: Path) -> None:
    kinds = np.array(["angle", "continuous", "categorical"])
    path = save(tmp_path / "a.npz", images=FRAMES, targets=TARGETS, kinds=kinds)
    known = Variables([Variable("x"), Variable("y"), Variable("z")])
    columns = load_clip([path], known=known).columns
    assert columns.names == ("x", "y", "z")
    assert [variable.kind for variable in columns] == ["angle", "continuous", "categorical"]
    assert load_clip([path], known).columns == known


def test_arrays_are_a_sequence_too() -> None:
    clip = load_clip([{"images": FRAMES, "targets": TARGETS}])
    assert clip.targets[1:].tolist() == TARGETS.tolist()
    bare = load_clip([{"images": FRAMES}, {"images": FRAMES[:2]}])
    assert len(bare.frames) == 8
    assert not bare.told.any()


def test_a_directory_without_a_training_split_has_others(tmp_path: Path) -> None:
    for number, name in enumerate(("test", "val", "val_indep")):
        save(tmp_path / f"{name}.npz", images=FRAMES[: number + 2])
    assert len(load_clip([tmp_path]).frames) == 3


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"images": FRAMES[None, :3], "mask": np.ones((1, 3))}, "triplets, not a sequence"),
        ({"images": FRAMES, "targets": TARGETS[:3]}, "3 rows for 6 frames"),
        ({"images": FRAMES, "targets": TARGETS * 2}, "targets are 0 or 1"),
        ({"images": FRAMES, "targets": TARGETS.astype(str)}, "targets are 0 or 1"),
        ({"targets": TARGETS * 0}, "no frames"),
        ({"images": FRAMES[:, :20]}, "32×20"),
    ],
    ids=["triplets", "too few targets", "targets beyond 1", "text", "no frames", "not square"],
)
def test_refusals(tmp_path: Path, arrays: dict[str, np.ndarray], says: str) -> None:
    with pytest.raises(InputError, match=says):
        load_clip([save(tmp_path / "a.npz", **arrays)])


def test_files_of_different_sizes_are_refused(tmp_path: Path) -> None:
    files = [save(tmp_path / "a.npz", images=FRAMES), save(tmp_path / "b.npz", images=np.zeros((2, 64, 64, 4)))]
    with pytest.raises(InputError, match="shards need frames of one size"):
        load_clip(files)
