"""Newell's teapot: 32 bicubic Bézier patches, evaluated.

The control points are the well-known numbers of Martin Newell (1975), z up, spout towards +x and handle towards −x.
Most of the pot is a body of revolution, whose patches follow from one profile each: a quarter of a turn is one cubic.
"""

from __future__ import annotations

import numpy as np

from citris_cli.worlds.causal3d_scene.mesh import Array, Mesh, welded

#: Profiles (radius, height) of the patches that go round: lid (2), rim, body (2), bottom.
PROFILES = (
    ((0.0, 3.15), (0.8, 3.15), (0.0, 2.85), (0.2, 2.7)),
    ((0.2, 2.7), (0.4, 2.55), (1.3, 2.55), (1.3, 2.4)),
    ((1.4, 2.4), (1.3375, 2.53125), (1.4375, 2.53125), (1.5, 2.4)),
    ((1.5, 2.4), (1.75, 1.875), (2.0, 1.35), (2.0, 0.9)),
    ((2.0, 0.9), (2.0, 0.45), (1.5, 0.225), (1.5, 0.15)),
    ((1.5, 0.15), (1.5, 0.075), (1.425, 0.0), (0.0, 0.0)),
)
#: Where a quarter of a circle of radius 1 has its inner control points, as Newell rounded it.
QUARTER = 0.56

#: Halves of handle (2) and spout (2) at y ≤ 0, four by four points of (x, y, z); the others are mirrored in y.
HALVES = (
    (
        ((-1.6, 0.0, 2.025), (-1.6, -0.3, 2.025), (-1.5, -0.3, 2.25), (-1.5, 0.0, 2.25)),
        ((-2.3, 0.0, 2.025), (-2.3, -0.3, 2.025), (-2.5, -0.3, 2.25), (-2.5, 0.0, 2.25)),
        ((-2.7, 0.0, 2.025), (-2.7, -0.3, 2.025), (-3.0, -0.3, 2.25), (-3.0, 0.0, 2.25)),
        ((-2.7, 0.0, 1.8), (-2.7, -0.3, 1.8), (-3.0, -0.3, 1.8), (-3.0, 0.0, 1.8)),
    ),
    (
        ((-2.7, 0.0, 1.8), (-2.7, -0.3, 1.8), (-3.0, -0.3, 1.8), (-3.0, 0.0, 1.8)),
        ((-2.7, 0.0, 1.575), (-2.7, -0.3, 1.575), (-3.0, -0.3, 1.35), (-3.0, 0.0, 1.35)),
        ((-2.5, 0.0, 1.125), (-2.5, -0.3, 1.125), (-2.65, -0.3, 0.9375), (-2.65, 0.0, 0.9375)),
        ((-2.0, 0.0, 0.9), (-2.0, -0.3, 0.9), (-1.9, -0.3, 0.6), (-1.9, 0.0, 0.6)),
    ),
    (
        ((1.7, 0.0, 1.425), (1.7, -0.66, 1.425), (1.7, -0.66, 0.6), (1.7, 0.0, 0.6)),
        ((2.6, 0.0, 1.425), (2.6, -0.66, 1.425), (3.1, -0.66, 0.825), (3.1, 0.0, 0.825)),
        ((2.3, 0.0, 2.1), (2.3, -0.25, 2.1), (2.4, -0.25, 2.025), (2.4, 0.0, 2.025)),
        ((2.7, 0.0, 2.4), (2.7, -0.25, 2.4), (3.3, -0.25, 2.4), (3.3, 0.0, 2.4)),
    ),
    (
        ((2.7, 0.0, 2.4), (2.7, -0.25, 2.4), (3.3, -0.25, 2.4), (3.3, 0.0, 2.4)),
        ((2.8, 0.0, 2.475), (2.8, -0.25, 2.475), (3.525, -0.25, 2.49375), (3.525, 0.0, 2.49375)),
        ((2.9, 0.0, 2.475), (2.9, -0.15, 2.475), (3.45, -0.15, 2.5125), (3.45, 0.0, 2.5125)),
        ((2.8, 0.0, 2.4), (2.8, -0.15, 2.4), (3.2, -0.15, 2.4), (3.2, 0.0, 2.4)),
    ),
)


def control_points() -> Array:
    """The control points of the 32 patches, float64 [32, 4, 4, 3], each patch oriented outwards."""
    patches = []
    for profile in PROFILES:
        ring = np.array([[(r, QUARTER * r, h), (r, r, h)] for r, h in profile])
        quarter = np.stack([(r[1, 0], 0.0, r[1, 2]) for r in ring])
        patch = np.zeros((4, 4, 3))
        patch[:, 0] = quarter
        patch[:, 1] = ring[:, 0]
        patch[:, 2] = ring[:, 0][:, [1, 0, 2]]
        patch[:, 3] = quarter[:, [1, 0, 2]]
        for turn in range(4):
            c, s = (1, 0, -1, 0)[turn], (0, 1, 0, -1)[turn]
            patches.append(patch @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T)
    for half in np.array(HALVES):
        patches.append(half[:, ::-1])
        patches.append(half * (1, -1, 1))
    return np.stack(patches)


def teapot(pieces: int = 10) -> Mesh:
    """The teapot as it is stored: x −3 … 3.43, y −2 … 2, z 0 … 3.15.

    Args:
        pieces: strips along each side of a patch; 10 give 6,320 triangles.
    """
    t = np.linspace(0, 1, pieces + 1)
    basis = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
    points = np.einsum("ui,pijc,vj->puvc", basis, control_points(), basis)
    count = (pieces + 1) ** 2
    corner = np.arange(pieces)[:, None] * (pieces + 1) + np.arange(pieces)
    a, b, c, d = corner, corner + pieces + 1, corner + pieces + 2, corner + 1
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2).reshape(-1, 3)
    every = (np.arange(len(points)) * count)[:, None, None] + faces
    return welded(points.reshape(-1, 3), every.reshape(-1, 3))
