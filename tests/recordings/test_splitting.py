import numpy as np
import pytest

from citris_cli.errors import InputError
from citris_cli.recordings.splitting import split


@pytest.mark.parametrize(
    ("lengths", "val", "test", "expected"),
    [
        ([100], 0.0, 0.0, {"train": (0, 100)}),
        ([100], 0.1, 0.2, {"train": (0, 70), "val": (70, 80), "test": (80, 100)}),
        ([10] * 10, 0.1, 0.2, {"train": (0, 70), "val": (70, 80), "test": (80, 100)}),
        ([48, 40, 12], 0.0, 0.1, {"train": (0, 88), "test": (88, 100)}),
        ([50, 50], 0.0, 0.1, {"train": (0, 90), "test": (90, 100)}),
    ],
)
def test_whole_episodes_where_they_fit(
    lengths: list[int], val: float, test: float, expected: dict[str, tuple[int, int]]
) -> None:
    made = split(lengths, val, test)
    assert {one.name: (one.start, one.stop) for one in made} == expected
    assert list(expected) == [one.name for one in made]


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_or_taken_twice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 40, rng.integers(1, 30)).tolist()
    made = split([*lengths, 200], 0.2, 0.1)
    assert [made[0].start, *(one.stop for one in made)] == [0, made[1].start, made[2].start, sum(lengths) + 200]
    for one in made:
        assert sum(one.lengths) == one.stop - one.start
        assert one.steps().sum() == one.stop - one.start - len(one.lengths)


@pytest.mark.parametrize(
    ("val", "test", "sentence"), [(0.5, 0.5, "nothing is left"), (0.0, 0.01, "test would have no")]
)
def test_shares_that_leave_nothing(val: float, test: float, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        split([50], val, test)
