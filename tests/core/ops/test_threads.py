"""Parts side by side: all of them, in their order, errors included, and in no threads but PyTorch's."""

import threading

import psutil
import pytest
import torch

from citris_cli.core.ops.threads import parts_of, side_by_side
from tests.waiting import PATIENCE


@pytest.fixture(autouse=True)
def _two_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_parts_are_neighbours_and_none_is_too_small() -> None:
    assert parts_of(5, 1) == [slice(0, 2), slice(2, 5)]
    assert parts_of(5, 4) == [slice(0, 5)]
    assert parts_of(0, 4) == [slice(0, 0)]


@pytest.mark.compiled
def test_parts_run_at_the_same_time_and_answer_in_order() -> None:
    together = threading.Barrier(2, timeout=PATIENCE)

    def work(part: slice) -> tuple[slice, bool]:
        together.wait()
        return part, torch.is_grad_enabled()

    parts = parts_of(10, 1)
    assert side_by_side(work, parts) == [(part, False) for part in parts]
    assert torch.get_num_threads() == 2
    assert torch.is_grad_enabled()


@pytest.mark.compiled
def test_products_in_parts_take_no_further_threads() -> None:
    x = torch.randn(2, 300, 300, generator=torch.Generator().manual_seed(0))
    torch.mm(x[0], x[1])  # PyTorch's threads are there
    side_by_side(lambda part: None, parts_of(2, 1))
    before = psutil.Process().num_threads()
    results = side_by_side(lambda part: torch.mm(x[part.start], x[0]), parts_of(2, 1))
    assert psutil.Process().num_threads() == before
    torch.testing.assert_close(results, [x[0] @ x[0], x[1] @ x[0]])


@pytest.mark.compiled
@pytest.mark.parametrize("failing", [0, 5])
def test_a_part_that_fails_fails_the_whole(failing: int) -> None:
    def work(part: slice) -> None:
        if part.start == failing:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        side_by_side(work, parts_of(10, 1))
    assert side_by_side(lambda part: part.stop, parts_of(10, 1)) == [5, 10]
