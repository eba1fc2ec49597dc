"""Sequences of worlds in one piece, as tests want them."""

from __future__ import annotations

import numpy as np

from citris_cli.worlds.world import World


def whole_sequence(world: World, frames: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Latents float32 [N, F], and targets uint8 [N-1, K]; row i of the targets leads from frame i to frame i+1."""
    latents, targets = zip(*world.sequence(frames, rng), strict=True)
    return np.concatenate(latents), np.concatenate(targets)[:-1]
