"""Makes the pictures of docs/worlds.md: a strip of frames of every world, or of those that are named.

``python docs/pictures/worlds.py --published DIR`` makes ``<world>-published.png`` as well, of worlds of which DIR has a
published dataset (``interventional_pong``, ``pinball``, ``voronoi``, ``voronoi_instantaneous``, ``causal3d``):
published frames, below them ours of the same true values (of Voronoi: the same cells and hues), and their difference,
20 times as bright (of Causal3DIdent 4 times).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from citris_cli.worlds import WORLDS, load_world
from citris_cli.worlds.world import World

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for tests, wherever this is run

from tests.worlds.published import voronoi_frames
from tests.worlds.sequences import whole_sequence

HERE = Path(__file__).parent
#: Frames in a strip, and width of a frame on the page in pixels.
FRAMES, WIDTH = 8, 128
#: Where the worlds' published datasets lie, by name.
PUBLISHED = {
    "pong": ("interventional_pong",),
    "pinball": ("pinball",),
    "voronoi": ("voronoi", "voronoi_instantaneous"),
    "causal3d": ("causal3d",),
}


def strip(frames: np.ndarray) -> np.ndarray:
    """Frames side by side, uint8 [h, w, 3]; a fourth channel is a row of its own below, in grey."""
    rows = [frames[..., :3], *(np.repeat(frames[..., c, None], 3, axis=-1) for c in range(3, frames.shape[-1]))]
    scale = WIDTH // frames.shape[1]
    enlarged = [row.repeat(scale, 1).repeat(scale, 2) for row in rows]
    framed = [np.pad(row, ((0, 0), (0, 4), (0, 4), (0, 0)), constant_values=255) for row in enlarged]
    return np.concatenate([np.concatenate(list(row), axis=1) for row in framed])


def walk(world: World) -> np.ndarray:
    """The first frames of a sequence."""
    latents, _ = whole_sequence(world, FRAMES, np.random.default_rng(1))
    return strip(world.render(latents))


def own(name: str) -> np.ndarray:
    """Frames of a world; those of its forms below each other."""
    if name == "voronoi":
        return np.concatenate([walk(load_world(name, number=number)) for number in (4, 6, 9)])
    if name == "causal3d":
        seven = load_world(name, shapes="seven")
        shapes = np.zeros((FRAMES, len(seven.variables)), np.float32)
        shapes[:, 5], shapes[:, 6], shapes[:, 9] = 0.8, 1, 4  # upright, half turned to the camera, over a blue ground
        shapes[:, 7] = np.arange(FRAMES) % 7 * 2 * np.pi / 7  # a hue each
        shapes[:, 10] = np.arange(FRAMES) % 7
        drawn = seven.render(shapes)
        drawn[7:] = 255
        return np.concatenate([walk(load_world(name)), strip(drawn)])
    return walk(load_world(name))


def beside_published(name: str, folder: Path) -> np.ndarray:
    """Published frames, ours, and their difference, below each other."""
    with np.load(folder / "test_indep.npz", allow_pickle=False) as file:
        if name == "causal3d":  # whose published files have keys of their own
            images, latents = file["imgs"], np.concatenate([file["raw_latents"], file["shape_latents"]], axis=1)
        else:
            images, latents = file["images"], file["latents"]
    images, latents = images[:FRAMES], latents[:FRAMES].astype(np.float32)
    ours = voronoi_frames(folder, images) if name == "voronoi" else load_world(name).render(latents)
    difference = np.abs(ours.astype(int) - images) * (4 if name == "causal3d" else 20)
    return np.concatenate([strip(part) for part in (images, ours, difference.clip(0, 255).astype(np.uint8))])


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("worlds", nargs="*", help=f"of {', '.join(WORLDS)} (default: all)")
    parser.add_argument("--published", type=Path, metavar="DIR", help="folder of published datasets")
    given = parser.parse_args()
    if unknown := set(given.worlds) - set(WORLDS):
        parser.error(f"there is no world {', '.join(sorted(unknown))}; the worlds are {', '.join(WORLDS)}")
    for name in given.worlds or WORLDS:
        Image.fromarray(own(name)).save(HERE / f"{name}.png", optimize=True)
        if given.published is not None:
            there = [given.published / folder for folder in PUBLISHED.get(name, ())]
            parts = [beside_published(name, folder) for folder in there if folder.is_dir()]
            if parts:
                Image.fromarray(np.concatenate(parts)).save(HERE / f"{name}-published.png", optimize=True)


if __name__ == "__main__":
    main()
