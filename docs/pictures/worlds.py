"""Makes the pictures of docs/worlds.md: a strip of consecutive frames of every world, or of those that are named.

With the folder of published datasets as ``--published DIR``, ``<world>-published.png`` as well: published frames, ours
of the same latents, and their difference, 20 times as bright.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from citris_cli.worlds import WORLDS, load_world
from citris_cli.worlds.world import World
from tests.worlds.sequences import whole_sequence

HERE = Path(__file__).parent
#: Frames in a strip, width of a frame on the page in pixels, and how much a difference is brightened.
FRAMES, WIDTH, BRIGHTER = 8, 128, 20
#: Where the worlds' published datasets lie, by name.
PUBLISHED = {"pong": "interventional_pong"}


def strip(frames: np.ndarray) -> np.ndarray:
    """Frames side by side, uint8 [h, w, 3]; a fourth channel is a row of its own below, in grey."""
    rows = [frames[..., :3], *(np.repeat(frames[..., c, None], 3, axis=-1) for c in range(3, frames.shape[-1]))]
    scale = WIDTH // frames.shape[1]
    framed = [np.pad(row, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=255) for row in rows]
    lines = [np.concatenate(row.repeat(scale, 1).repeat(scale, 2), axis=1) for row in framed]
    return np.concatenate(lines)


def beside_published(world: World, path: Path) -> np.ndarray:
    """Published frames, ours, and their difference, below each other."""
    with np.load(path, allow_pickle=False) as file:
        images, latents = file["images"][:FRAMES], file["latents"][:FRAMES]
    ours = world.render(latents)
    difference = np.abs(ours.astype(int) - images) * BRIGHTER
    return np.concatenate([strip(part) for part in (images, ours, difference.clip(0, 255).astype(np.uint8))])


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("worlds", nargs="*", default=list(WORLDS))
    parser.add_argument("--published", type=Path)
    given = parser.parse_args()
    for name in given.worlds:
        world = load_world(name)
        latents, _ = whole_sequence(world, FRAMES, np.random.default_rng(1))
        Image.fromarray(strip(world.render(latents))).save(HERE / f"{name}.png", optimize=True)
        if given.published is not None and name in PUBLISHED:
            path = given.published / PUBLISHED[name] / "test_indep.npz"
            Image.fromarray(beside_published(world, path)).save(HERE / f"{name}-published.png", optimize=True)


if __name__ == "__main__":
    main()
