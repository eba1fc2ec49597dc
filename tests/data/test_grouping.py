"""Columns merged into one variable: targets by hand, names in every spelling, and what cannot be merged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from citris_cli.data.datasets import SequenceData, load_sequences
from citris_cli.data.grouping import merge_columns, spelled_groups
from citris_cli.data.variables import CAUSAL3DIDENT, Variable, Variables
from citris_cli.errors import InputError

TARGETS = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]])


def sequences(tmp_path: Path, targets: np.ndarray = TARGETS, keys: str = "x,hue,y,never") -> SequenceData:
    frames = np.zeros((len(targets) + 1, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "d.npz", images=frames, interventions=targets, keys=np.array(keys.split(",")))
    return load_sequences([tmp_path / "d.npz"])


def test_a_group_is_intervened_on_where_any_of_its_columns_is(tmp_path: Path) -> None:
    data = merge_columns(sequences(tmp_path), "where=y+x")
    assert data.variables == Variables([Variable("where", members=("x", "y")), Variable("hue")])
    assert data.targets[data.starts].tolist() == [[1, 0], [0, 1], [1, 0], [1, 1], [0, 0]]
    assert data.columns.names == ("x", "hue", "y", "never")  # the files still have these
    assert "where is y + x" in data.notes
    assert spelled_groups(data.variables) == "where=x+y"


def test_known_groups_need_no_columns_and_leave_out_what_is_never_intervened_on(tmp_path: Path) -> None:
    names = ",".join(CAUSAL3DIDENT.names)
    targets = np.eye(12, dtype=int)[[0, 1, 2, 3, 4, 6, 7, 8, 9]]
    data = merge_columns(sequences(tmp_path, targets, names), "pos-o, rot-object")
    assert data.variables.names == ("pos_o", "rot_o", "rot_s", "hue_o", "hue_s", "hue_b")
    assert data.variables[1].members == ("rot_alpha", "rot_beta")
    assert data.targets[data.starts].sum(0).tolist() == [3, 2, 1, 1, 1, 1]
    assert "rot_o is rot_alpha + rot_beta (without rot_gamma, never intervened on)" in data.notes


def test_interventions_on_a_part_of_a_group_are_called_imperfect(tmp_path: Path) -> None:
    targets = np.array([[1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0]])
    (said,) = [note for note in merge_columns(sequences(tmp_path, targets), "where=y+x").notes if "imperfect" in note]
    assert said.startswith("where: 50% of the steps with an intervention on it have one on some of its columns alone")
    together = np.array([[1, 0, 1, 0], [0, 1, 0, 0], [1, 1, 1, 0]])
    assert "imperfect" not in " ".join(merge_columns(sequences(tmp_path, together), "where=y+x").notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "x: a single column, not a group; the data's groups are none"),
        ("where", "no variable 'where'"),
        ("where=x+nothing", "no variable 'nothing'"),
        ("where=x+", "does not name a group"),
        ("=x+y", "does not name a group"),
        ("where=x+y,also=y+hue", "y is in where and in also"),
        ("none=never", "none of never is ever intervened on"),
        ("hue=x+y", "hue is another column's name"),
        ("", "does not name a group"),
    ],
)
def test_what_cannot_be_merged_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        merge_columns(sequences(tmp_path), text)


def test_a_group_may_have_the_name_of_one_of_its_columns(tmp_path: Path) -> None:
    data = merge_columns(sequences(tmp_path), "x=x+y")
    assert data.variables == Variables([Variable("x", members=("x", "y")), Variable("hue")])


def test_factors_find_the_variable_that_they_belong_to() -> None:
    merged = Variables([Variable("pos_o", members=("pos_x", "pos_y")), Variable("hue_o")])
    named = Variables([Variable("pos_o"), Variable("rot_s")])
    pos_x, pos_z = CAUSAL3DIDENT[0], CAUSAL3DIDENT[2]
    assert merged.owner(pos_x) == 0
    assert merged.owner(pos_z) is None  # was not merged into it
    assert named.owner(pos_z) == 0  # nobody says what was merged: its group has that name
    assert merged.owner(Variable("hue_o")) == 1
    assert merged.owner(Variable("hue_b")) is None


def test_a_column_that_was_merged_is_named_by_its_variable() -> None:
    merged = Variables([Variable("pos_o", members=("pos_x", "pos_y")), Variable("hue_o")])
    assert merged.resolve("pos-o") == [0]
    with pytest.raises(InputError, match=r"'Pos-X' was merged into 'pos_o'.*name 'pos_o'"):
        merged.resolve("Pos-X")
    assert Variables.from_json(merged.to_json()) == merged
