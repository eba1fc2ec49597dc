"""Learning rates over a training: linear warm-up, then a cosine, as published; and what a group adds of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from citris_cli.training.config import TrainingConfig

#: The cosine ends at this share of the full rate.
FLOOR = 0.05


def warmup_cosine(step: int, warmup: int, total: int) -> float:
    """Factor on the learning rate at a step.

    Args:
        step: step about to be taken, 0 … total - 1.
        warmup: steps over which the factor rises linearly to 1.
        total: steps of the whole training, at which the cosine reaches 5 %.

    Returns:
        Factor in (0, 1].
    """
    rise = min(1.0, (step + 1) / (warmup + 1))
    progress = min(1.0, max(0.0, (step - warmup) / max(1, total - warmup)))
    return rise * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * progress)))


def rates_at(step: int, groups: Sequence[Mapping[str, Any]], config: TrainingConfig) -> list[float]:
    """Learning rate of every group at a step.

    Args:
        step: step about to be taken, 0 … steps - 1.
        groups: with ``lr``, the top of the schedule, and perhaps a ``schedule`` of their own, a factor at a share of
            the steps.
        config: how the model is trained.
    """
    factor = warmup_cosine(step, config.warmup, config.steps)
    progress = step / config.steps
    return [group["lr"] * factor * (group["schedule"](progress) if "schedule" in group else 1.0) for group in groups]
