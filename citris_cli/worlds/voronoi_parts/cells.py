"""The picture: hues in the cells of a Voronoi diagram with black outlines, anti-aliased as Matplotlib does it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from citris_cli.worlds.antialiasing import convex_cover
from citris_cli.worlds.world import Array

#: Where the centres of cells may be (pixels), how far from each other they should be, and how often they are drawn
#: until they are.
CENTRES, APART, DRAWS = (4.0, 28.0), 10.0, 1000
#: Width of the cells' outlines in pixels: 50 points at one dot an inch.
OUTLINE = 50 / 72
#: Cover, of 255, of the outermost pixels by the border of Matplotlib's axes, which is thinner than a pixel.
RIM = 1


def random_centres(count: int, rng: np.random.Generator) -> Array:
    """Centres [count, 2] of cells in pixels, y upwards: the first ones that are far enough apart, or the best.

    Args:
        count: of the cells.
        rng: source of randomness.
    """
    best, widest = np.zeros((count, 2)), -1.0
    for _ in range(DRAWS):
        centres = rng.uniform(*CENTRES, (count, 2))
        apart = np.linalg.norm(centres[:, None] - centres, axis=-1) + np.diag([np.inf] * count)
        if apart.min() > widest:
            best, widest = centres, float(apart.min())
        if widest >= APART:
            break
    return best


def cells_around(centres: Array, size: int) -> list[tuple[Array, Array]]:
    """The lines around each cell, as :func:`cell_shares` takes them.

    Args:
        centres: [K, 2] in pixels, y upwards.
        size: width and height of the frame.
    """
    centres = centres * (1, -1) + (0, size)
    cells = []
    for index, centre in enumerate(centres):
        others = np.delete(centres, index, axis=0)
        normals = others - centre
        cells.append((normals, ((others + centre) / 2 * normals).sum(1)))
    return cells


def hue_colours(angles: Array) -> Array:
    """Colours uint8 [n, K, 3] of full saturation and value with these hues, angles in radians."""
    sixths = np.asarray(angles)[..., None] * (3 / math.pi) % 6
    red = np.abs(sixths - 3) - 1
    green, blue = 2 - np.abs(sixths - 2), 2 - np.abs(sixths - 4)
    colours = np.concatenate([red, green, blue], axis=-1).clip(0, 1)
    return np.floor(colours * 255 + 0.5).astype(np.uint8)


def cell_shares(cells: Sequence[tuple[Array, Array]], size: int) -> Array:
    """How much of each cell's colour every pixel gets, once all are drawn one over the other with black outlines.

    Where two cells meet, half of the first one's outline is under the second one's colour, and white shines through
    what neither covers of a pixel: Matplotlib's way.

    Args:
        cells: normals [m, 2] and offsets [m] of the lines around each, in pixels from the left and from the top, as
            :func:`~citris_cli.worlds.antialiasing.convex_cover` takes them; in the order in which they are drawn.
        size: width and height of the frame.

    Returns:
        float32 [len(cells) + 1, size * size], the last row that of white; whole numbers of 65536ths.
    """
    shares = np.zeros((len(cells) + 1, size, size))
    shares[-1] = 1
    for index, (normals, offsets) in enumerate(cells):
        half = OUTLINE / 2 * np.linalg.norm(normals, axis=1)
        inside = convex_cover(normals, offsets, size)
        outline = convex_cover(normals, offsets + half, size) - convex_cover(normals, offsets - half, size)
        shares *= 1 - inside
        shares[index] += inside
        shares *= 1 - outline
    for rim in (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]):
        shares[rim] *= 1 - RIM / 255
    return (np.floor(shares * 65536) / 65536).reshape(len(shares), -1).astype(np.float32)


def painted(colours: Array, shares: Array) -> Array:
    """Frames of cells in these colours.

    Every sum is exact in float32, in whatever order a processor takes it: whole numbers below 2^24.

    Args:
        colours: uint8 [n, K, 3].
        shares: as :func:`cell_shares` gives them.

    Returns:
        uint8 [n, size, size, 3].
    """
    size = math.isqrt(shares.shape[1])
    white = np.full((len(colours), 1, 3), 255, np.uint8)
    parts = np.concatenate([colours, white], axis=1).transpose(0, 2, 1).astype(np.float32)
    return (parts @ shares).astype(np.uint8).transpose(0, 2, 1).reshape(-1, size, size, 3)
