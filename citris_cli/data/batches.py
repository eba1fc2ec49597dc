"""The order in which training meets its samples: a function of the seed and the step, and of nothing else."""

from __future__ import annotations

import numpy as np
import torch

from citris_cli.data.frames import sent


def epoch_order(n: int, seed: int, epoch: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """The order of the samples in one epoch: a LongTensor [n], a permutation of 0…n−1, on `device`.

    It is drawn on the CPU, so that it is the same whatever the device.
    """
    # SeedSequence mixes the two numbers, so that (seed, epoch) and (seed + 1, epoch - 1) have nothing in common.
    state = np.random.SeedSequence([seed % 2**64, epoch]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(state) >> 1)
    return sent(torch.randperm(n, generator=generator), torch.device(device))


def window_starts(starts: torch.Tensor, length: int) -> torch.Tensor:
    """First frames of all windows of consecutive frames that do not cross a shard.

    Args:
        starts: index i of every pair (i, i+1) of consecutive frames, ascending, int64 [P].
        length: frames T of a window, at least 2.

    Returns:
        Index of the first frame of every window, ascending, int64; empty where every shard is shorter.
    """
    # T - 1 pairs in a row begin at neighbouring frames: the last of them T - 2 frames after the first.
    last = starts[length - 2 :]
    first = starts[: len(last)]
    return first[last - first == length - 2]


class ShuffledBatches:
    """An endless stream of batches of sample numbers, each epoch shuffled anew.

    An epoch's last, incomplete batch is left out; where there are fewer samples than `batch_size`, the batch is the
    whole set. There is no state beyond a cache of the current epoch's order: a resumed run asks for its step.

    Args:
        n: number of samples, at least 1.
        batch_size: samples a batch, at least 1.
        seed: any integer.
        device: where the sample numbers lie.

    Raises:
        ValueError: `n` or `batch_size` is below 1.
    """

    def __init__(self, n: int, batch_size: int, seed: int, device: torch.device | str = "cpu") -> None:
        if n < 1 or batch_size < 1:
            raise ValueError(f"batches need at least one sample each: n={n}, batch_size={batch_size}")
        self.n = n
        self.batch_size = min(batch_size, n)
        self.seed = seed
        self.device = device
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch, at least 1."""
        return self.n // self.batch_size

    def at(self, step: int) -> torch.Tensor:
        """The sample numbers of batch number `step` (from 0): LongTensor [batch_size]; ValueError if negative."""
        if step < 0:
            raise ValueError(f"steps count from 0, not {step}")
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._order = epoch_order(self.n, self.seed, epoch, self.device)
            self._epoch = epoch
        return self._order[place * self.batch_size : (place + 1) * self.batch_size]
