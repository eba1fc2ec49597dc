"""Triplet evaluation: the score's ends, and masks that are matched by name."""

from pathlib import Path

import numpy as np
import pytest
import torch

from citris_cli.data.datasets import TripletData
from citris_cli.data.frames import Frames
from citris_cli.data.variables import Variable, Variables, parse_vars
from citris_cli.errors import InputError
from citris_cli.evaluation.triplets import CANDIDATES, TripletMeasures, frames_of, match_mask


def measures(prediction: float, reconstruction: float, copy_1: float, copy_2: float) -> TripletMeasures:
    values = (prediction, reconstruction, copy_1, copy_2)
    errors = {name: np.array([value / 2, value * 3 / 2]) for name, value in zip(CANDIDATES, values, strict=True)}
    return TripletMeasures(errors, {name: np.zeros(2) for name in CANDIDATES})


@pytest.mark.parametrize(
    ("prediction", "score"),
    [(0.1, 1.0), (0.5, 0.0), (0.3, 0.5), (0.9, 0.0), (0.05, 1.0)],
    ids=["as good as possible", "as bad as the better copy", "half way", "worse than a copy", "better than possible"],
)
def test_score_lies_between_the_better_copy_and_the_reconstruction(prediction: float, score: float) -> None:
    assert measures(prediction, 0.1, 0.7, 0.5).score == pytest.approx(score)
    assert measures(prediction, 0.1, 0.5, 0.7).score == pytest.approx(score)


def test_without_room_between_copy_and_reconstruction_there_is_no_score() -> None:
    assert np.isnan(measures(0.1, 0.2, 0.1, 0.3).score)


def test_psnr_is_that_of_the_mean_error() -> None:
    assert measures(0.1, 0.01, 1.0, 1.0).summary()["reconstruction"]["psnr"] == pytest.approx(20)


def triplets(names: str, mask: list[list[int]]) -> TripletData:
    frames = np.arange(len(mask) * 3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
    variables = parse_vars(names)
    return TripletData(
        name="t",
        paths=(Path("t.npz"),),
        frames=Frames([frames]),
        factors=None,
        notes=(),
        mask=torch.tensor(mask, dtype=torch.int8),
        columns=variables,
        variables=variables,
        truth=None,
    )


def test_mask_is_matched_by_name_whatever_the_order() -> None:
    data = triplets("b,extra,a", [[1, 0, 0], [0, 1, 1]])
    matched = match_mask(data, parse_vars("a,b"))
    assert matched.mask.tolist() == [[0, 1], [1, 0]]
    assert matched.rows.tolist() == [0, 1]
    assert matched.notes == ("extra: not a variable of the model, so always taken from image 1",)


def test_mask_without_one_of_the_variables_is_refused() -> None:
    with pytest.raises(InputError, match=r"no column for c.*--vars"):
        match_mask(triplets("a,b", [[0, 1]]), parse_vars("a,b,c"))


WHERE = Variables([Variable("where", members=("x", "y")), Variable("hue")])


def test_triplets_that_mix_what_the_model_knows_as_one_are_left_out() -> None:
    data = triplets("x,hue,y", [[1, 0, 1], [1, 1, 0], [0, 1, 0], [0, 0, 1]])
    matched = match_mask(data, WHERE)
    assert matched.rows.tolist() == [0, 2]
    assert matched.mask.tolist() == [[1, 0], [0, 1]]
    assert matched.notes == ("where (x + y) of the model is one: 2 triplets of 4 that mix its parts left out",)
    with pytest.raises(InputError, match=r"every triplet mixes parts of where \(x \+ y\).*--group"):
        match_mask(triplets("x,hue,y", [[1, 0, 0]]), WHERE)
    with pytest.raises(InputError, match="no column for where"):
        match_mask(triplets("x,hue", [[1, 0]]), WHERE)


def test_a_column_of_a_whole_group_stands_for_each_of_its_variables() -> None:
    matched = match_mask(triplets("pos_o,hue_o", [[1, 0], [0, 1]]), parse_vars("hue_o,pos_x,pos_y"))
    assert matched.mask.tolist() == [[0, 1, 1], [1, 0, 0]]


def test_frames_of_some_rows_keep_the_three_together() -> None:
    some = frames_of(triplets("a", [[0], [1], [1]]), np.array([1, 2]))
    assert some.shape == (2, 3, 32, 32, 3)
    assert some[:, :, 0, 0, 0].tolist() == [[3, 4, 5], [6, 7, 8]]
