"""Frames of published worlds drawn anew, for what their files do not have a world's own state for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from citris_cli.worlds.antialiasing import convex_cover
from citris_cli.worlds.voronoi_parts.cells import cell_shares, painted


def voronoi_frames(folder: Path, images: np.ndarray) -> np.ndarray:
    """Frames with the published cells, as the settings have them, and the hues of published frames.

    The mixing is not in the settings: the hues are read off a pixel of each cell that is far from its outline.

    Args:
        folder: with settings.json.
        images: uint8 [n, 32, 32, 3].

    Returns:
        uint8 [n, 32, 32, 3].
    """
    diagram = json.loads((folder / "settings.json").read_text())["voronoi"]
    vertices = np.array(diagram["vertices"]) * (1, -1) + (0, 32)
    cells, colours = [], []
    for region in diagram["regions"]:
        corners = vertices[region]
        along = np.roll(corners, -1, axis=0) - corners
        normals = np.stack([along[:, 1], -along[:, 0]], axis=1)
        normals *= -np.sign(((corners.mean(0) - corners) * normals).sum(1, keepdims=True))
        offsets = (normals * corners).sum(1)
        cells.append((normals, offsets))
        inner = convex_cover(normals, offsets - 2 * np.linalg.norm(normals, axis=1), 32) == 1
        inner[[0, -1]] = inner[:, [0, -1]] = False  # the outermost pixels are darker
        row, column = np.argwhere(inner)[0]
        colours.append(images[:, row, column])
    return painted(np.stack(colours, axis=1), cell_shares(cells, 32))
