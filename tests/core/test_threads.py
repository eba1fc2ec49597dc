"""Parts side by side: all of them, in their order, errors included, and PyTorch's threads as they were."""

import threading

import pytest
import torch

from citris_cli.core.threads import parts_of, side_by_side


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


def test_parts_run_at_the_same_time_and_answer_in_order() -> None:
    together = threading.Barrier(2, timeout=10)

    def work(part: slice) -> tuple[slice, int, bool]:
        together.wait()
        return part, torch.get_num_threads(), torch.is_grad_enabled()

    parts = parts_of(10, 1)
    assert side_by_side(work, parts) == [(part, 1, False) for part in parts]
    assert torch.get_num_threads() == 2
    assert torch.is_grad_enabled()


def test_a_part_that_fails_fails_the_whole() -> None:
    def work(part: slice) -> None:
        if part.start > 0:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        side_by_side(work, parts_of(10, 1))
    assert side_by_side(lambda part: part.stop, parts_of(10, 1)) == [5, 10]


def test_a_thread_that_begins_later_has_all_of_pytorchs() -> None:
    side_by_side(lambda part: None, parts_of(10, 1))
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert found == [2]
