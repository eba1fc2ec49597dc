"""Learning-rate schedule of the published trainings: linear warm-up, then a cosine."""

import math

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
