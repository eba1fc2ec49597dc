import pytest
import torch

from citris_cli.data.batches import ShuffledBatches, epoch_order


def test_order_is_a_permutation_that_depends_on_seed_and_epoch_only() -> None:
    order = epoch_order(50, 3, 2)
    assert order.dtype == torch.int64
    assert sorted(order.tolist()) == list(range(50))
    torch.manual_seed(99)
    assert torch.equal(order, epoch_order(50, 3, 2))
    others = [epoch_order(50, 3, 3), epoch_order(50, 4, 2), epoch_order(50, 4, 1), epoch_order(50, 2, 3)]
    assert not any(torch.equal(order, other) for other in others)
    assert len(epoch_order(5, -1, 0)) == 5


def test_an_epoch_shows_every_sample_once_but_for_the_remainder() -> None:
    batches = ShuffledBatches(23, 5, 0)
    assert batches.steps_per_epoch == 4
    for epoch in range(3):
        seen = torch.cat([batches.at(epoch * 4 + i) for i in range(4)])
        assert len(seen.unique()) == 20
        assert torch.equal(seen, epoch_order(23, 0, epoch)[:20])


def test_any_step_can_be_asked_for_first() -> None:
    walked = ShuffledBatches(23, 5, 7)
    stream = [walked.at(step) for step in range(30)]
    for step in (29, 3, 17, 0):
        assert torch.equal(ShuffledBatches(23, 5, 7).at(step), stream[step])


def test_fewer_samples_than_a_batch_gives_the_whole_set() -> None:
    batches = ShuffledBatches(3, 8, 0)
    assert batches.steps_per_epoch == 1
    assert sorted(batches.at(5).tolist()) == [0, 1, 2]


def test_nonsense_is_refused() -> None:
    for n, size in ((0, 4), (4, 0)):
        with pytest.raises(ValueError, match="at least one"):
            ShuffledBatches(n, size, 0)
    with pytest.raises(ValueError, match="from 0"):
        ShuffledBatches(4, 2, 0).at(-1)
