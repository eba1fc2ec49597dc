"""What a prior is given of a step, where a test says only what it is about."""

import torch
from torch import Tensor

from citris_cli.core.priors import Given


def given(targets: Tensor, probabilities: Tensor, psi: Tensor | None = None) -> Given:
    """A step outside of a training.

    Args:
        targets: intervention targets [B, K].
        probabilities: soft assignment [M, K+1].
        psi: sampled assignments [B, M, K+1]; not numbers where the prior does not look at them.
    """
    unread = torch.full((len(targets), *probabilities.shape), torch.nan, dtype=probabilities.dtype)
    return Given(targets, probabilities, unread if psi is None else psi)
