"""Distances between frames in terms of their true factors: predicted by a causal encoder, or known.

What a wrong triplet looks like is told by an image distance; which factor of it is wrong is told here (Lippe et al.,
2022, section 6.1). Factors are matched by name throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from citris_cli.core.causal_encoder import CausalEncoder
from citris_cli.core.factors import distances, normalised
from citris_cli.data.frames import as_model_input, frames_at_once
from citris_cli.data.variables import Variables

Array = np.ndarray[Any, Any]

#: What a distance of a factor of each kind is.
UNITS = {"continuous": "its own units", "angle": "degrees", "categorical": "error rate"}


@dataclass(frozen=True, eq=False)
class FactorDistances:
    """Distances of N pairs of frames in F factors.

    Attributes:
        factors: the factors.
        distance: float [N, F]: ``|a - b|``, degrees on the circle, 0 or 1; see
            :func:`citris_cli.core.factors.distances`.
        normalised: the same divided by half the range, 180 degrees, 1.
    """

    factors: Variables
    distance: Array
    normalised: Array

    def summary(self) -> dict[str, dict[str, float]]:
        """For each factor the means over all pairs: ``distance`` and ``normalised``."""
        return {
            name: {"distance": float(distance), "normalised": float(scaled)}
            for name, distance, scaled in zip(
                self.factors.names, self.distance.mean(0), self.normalised.mean(0), strict=True
            )
        }

    @property
    def mean(self) -> float:
        """Mean of the normalised distances over pairs and factors."""
        return float(self.normalised.mean())


def compare(values: Array, others: Array, factors: Variables) -> FactorDistances:
    """Distances between values of factors, row by row.

    Args:
        values, others: [N, F], predicted or true; angles in radians, categories as whole numbers.
        factors: the F factors; continuous ones with their range, as a causal encoder's are.

    Raises:
        ValueError: the range of a continuous factor is not known.
    """
    distance = distances(torch.from_numpy(np.asarray(values)), torch.from_numpy(np.asarray(others)), factors)
    return FactorDistances(factors, distance.numpy(), normalised(distance, factors).numpy())


@torch.no_grad()
def read_factors(encoder: CausalEncoder, frames: Array) -> Array:
    """Values of the factors that a causal encoder sees in frames.

    Args:
        encoder: in evaluation mode.
        frames: uint8 [N, W, W, C], W the encoder's width.

    Returns:
        float32 [N, F]; own units, radians in 0 … 2 pi, whole numbers.
    """
    device = next(encoder.parameters()).device
    size = frames_at_once(frames.shape[1])
    chunks = [
        encoder.predict(as_model_input(torch.from_numpy(frames[start : start + size]).to(device))).cpu().numpy()
        for start in range(0, len(frames), size)
    ]
    return np.concatenate(chunks)


def columns_of(factors: Variables, names: Sequence[str]) -> tuple[list[int], list[int]]:
    """Where the factors that two sides both have stand on each side.

    Args:
        factors: the one side's, such as a causal encoder's.
        names: the other side's names, such as those of a dataset's true factors.

    Returns:
        Positions among ``factors`` and among ``names``, pair by pair in the order of ``factors``.
    """
    shared = [(index, names.index(name)) for index, name in enumerate(factors.names) if name in names]
    return [own for own, _ in shared], [other for _, other in shared]
