"""Triangle meshes with smooth normals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Mesh:
    """A surface of V points and T triangles, counter-clockwise from outside.

    Attributes:
        points: float64 [V, 3].
        normals: float64 [V, 3], of length 1, outwards.
        faces: int64 [T, 3], positions in `points`.
    """

    points: Array
    normals: Array
    faces: Array

    def moved(self, offset: Array, scale: float = 1.0, turn: Array | None = None) -> Mesh:
        """The mesh at turn · (points + offset) · scale; `turn` is a rotation [3, 3]."""
        turn = np.eye(3) if turn is None else turn
        return Mesh((self.points + offset) @ turn.T * scale, self.normals @ turn.T, self.faces)


def welded(points: Array, faces: Array, apart: float = 1e-5) -> Mesh:
    """A mesh in which points that lie together are one, so that its normals are smooth over the seams.

    Args:
        points: [P, 3].
        faces: int [T, 3]; a triangle that has lost its area is left out.
        apart: points nearer than about this are the same.

    Returns:
        The mesh; a point's normal is the mean of its triangles' normals by their angles there.
    """
    _, first, position = np.unique(np.round(points / apart), axis=0, return_index=True, return_inverse=True)
    points = np.asarray(points, np.float64)[first]
    faces = position.reshape(-1)[faces]
    distinct = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    faces = faces[distinct]
    corners = points[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
    normals = np.zeros_like(points)
    for k in range(3):
        to_next = corners[:, (k + 1) % 3] - corners[:, k]
        to_last = corners[:, (k + 2) % 3] - corners[:, k]
        cosine = (to_next * to_last).sum(1) / (np.linalg.norm(to_next, axis=1) * np.linalg.norm(to_last, axis=1))
        np.add.at(normals, faces[:, k], np.arccos(np.clip(cosine, -1, 1))[:, None] * normal)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    return Mesh(points, normals, faces)


def joined(parts: Sequence[Mesh]) -> Mesh:
    """Several closed surfaces as one; where they cross, each hides what of the others is inside it."""
    starts = np.cumsum([0] + [len(part.points) for part in parts[:-1]])
    return Mesh(
        np.concatenate([part.points for part in parts]),
        np.concatenate([part.normals for part in parts]),
        np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)]),
    )
