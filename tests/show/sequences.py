"""A sequence of known latents, for the tests of what is drawn of it."""

from __future__ import annotations

import numpy as np

from citris_cli.show.latents import LatentSequence, latent_groups

#: Variable of each latent: two of ball_y, one of box, none of lamp, one of psi(0).
ASSIGNMENT = np.array([0, 3, 1, 0])
NAMES = ("ball_y", "box", "lamp")


def sequence(count: int = 6, width: int = 32, names: tuple[str, ...] = NAMES, first: int = 0) -> LatentSequence:
    """Random frames; latent j of frame i is (i + 1)·(j + 1)/10, and of latent 0 the negative of it.

    No step led into frame 0, an intervention on the second variable into frame 1, on the third into frame 2.
    """
    images = np.random.default_rng(0).integers(0, 256, (count, width, width, 3), dtype=np.uint8)
    z = (np.arange(1, count + 1)[:, None] * np.array([-1, 2, 3, 4]) / 10).astype(np.float32)
    steps = (None, (names[1],), (names[2], "wind"), *[()] * count)[:count]
    return LatentSequence("boxes", "boxes/nf.safetensors", images, first, z, latent_groups(names, ASSIGNMENT), steps)
