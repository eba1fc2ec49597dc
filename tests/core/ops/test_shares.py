"""Shares of a batch: together they are the batch, and their noise is the batch's."""

from __future__ import annotations

import pytest
import torch

from citris_cli.core.assignment import CausalAssignment
from citris_cli.core.ops import shares
from citris_cli.core.ops.shares import Share


@pytest.mark.parametrize(("total", "processes"), [(1, 1), (5, 2), (6, 3), (7, 7), (512, 5)])
def test_shares_are_the_batch(total: int, processes: int) -> None:
    parts = [Share.of(total, number, processes) for number in range(processes)]
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(total))
    sizes = [part.stop - part.start for part in parts]
    assert 1 <= min(sizes) >= max(sizes) - 1
    assert sum(part.weight for part in parts) == pytest.approx(1)
    batch = torch.arange(total)
    pieces = []
    for part in parts:
        with shares.computing(part):
            pieces.append(shares.own(batch))
    assert torch.equal(torch.cat(pieces), batch)


def test_too_few_rows_make_no_shares() -> None:
    with pytest.raises(ValueError, match="2 rows are too few for 3 processes"):
        Share.of(2, 0, 3)


@pytest.mark.parametrize("rows", [5, 15])
@pytest.mark.parametrize("draw", [torch.randn, torch.rand])
def test_noise_of_shares_is_that_of_the_batch(rows: int, draw) -> None:
    """Also where every sample of the batch of five has become three rows."""
    like, whole = torch.zeros(1), torch.Generator().manual_seed(3)
    expected = shares.noise(draw, (rows, 4), like, whole)
    assert torch.equal(expected, draw(rows, 4, generator=torch.Generator().manual_seed(3)))
    pieces = []
    for number in range(2):
        generator = torch.Generator().manual_seed(3)
        part = Share.of(5, number, 2)
        with shares.computing(part):
            own = (part.stop - part.start) * rows // 5
            pieces.append(shares.noise(draw, (own, 4), like, generator))
        assert torch.equal(generator.get_state(), whole.get_state())
    assert torch.equal(torch.cat(pieces), expected)


def test_assignments_are_sampled_for_the_batch() -> None:
    assignment = CausalAssignment(4, 2)
    whole = assignment.sample(5, torch.Generator().manual_seed(0))
    with shares.computing(Share(2, 5, 5)):
        part = assignment.sample(3, torch.Generator().manual_seed(0))
    assert torch.equal(part, whole[2:])


def test_one_process_asks_nobody() -> None:
    x = torch.ones(3)
    assert shares.current() is None
    assert shares.own(x) is shares.whole(x) is shares.total(x) is x


def test_a_share_ends_with_its_block() -> None:
    with shares.computing(Share(0, 1, 2)):
        assert shares.current() == Share(0, 1, 2)
        with pytest.raises(KeyError), shares.computing(None):
            raise KeyError
        assert shares.current() == Share(0, 1, 2)
    assert shares.current() is None
