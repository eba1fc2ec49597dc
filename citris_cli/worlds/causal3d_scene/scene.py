"""The scene of Causal3DIdent in numbers, and what a frame's factors say of it. Nothing here draws."""

from __future__ import annotations

from math import cos, pi, radians, sqrt, tan
from typing import NamedTuple

import numpy as np

from citris_cli.worlds.causal3d_scene.mesh import Array, Mesh

#: Camera: place, and its axes; it looks at the origin. The tangent of half its angle of view.
CAMERA = (8.0, 0.0, 8.0)
CAMERA_FORWARD = (-sqrt(0.5), 0.0, -sqrt(0.5))
CAMERA_RIGHT = (0.0, 1.0, 0.0)
CAMERA_UP = (-sqrt(0.5), 0.0, sqrt(0.5))
CAMERA_TANGENT = 25 / 35
CAMERA_NEAR, CAMERA_DEPTH = 0.1, 20.0
FILTER_WIDTH = 3

#: The ground lies this far below the origin.
DROP = 6.18
LIFT = 3.215
OBJECT_SCALE = 1.502

AREA_HEIGHT, AREA_POWER, AREA_HALF = 7.0, 50.0, 0.5
#: The area light sees the object from this distance on, and up to this tangent from straight down.
AREA_NEAR, AREA_REACH = 0.05, 3.0
SUN_IRRADIANCE, SUN_ANGLE = 0.5, 0.1993
SPOT_POWER, SPOT_RADIUS, SPOT_REACH, SPOT_HEIGHT = 3000.0, 0.5, 4.0, 6 + DROP
SPOT_CONE, SPOT_BLEND = radians(35), 0.1

ROUGHNESS, GLOSS, VELVET = 0.35, 0.8, 0.6

#: Columns of a frame's row of the table that the shaders read, four numbers each.
COLUMNS = 17


class Gains(NamedTuple):
    spot: float = 1.0
    area: float = 1.0
    sun: float = 1.0


def linear(hue: Array, saturation: float, value: float = 1.0) -> Array:
    """Linear RGB [n, 3] of hues in radians at this saturation and value."""
    sector = (np.asarray(hue, np.float64) / (2 * pi) % 1.0)[:, None] * 6
    ramp = np.clip(np.abs((sector - np.array([0.0, 2.0, 4.0]) + 3) % 6 - 3), 0, 2)
    return value * (1 - saturation + saturation * np.clip(2 - ramp, 0, 1))


def turns(alpha: Array, beta: Array, gamma: Array) -> Array:
    """Rotations Rz(γ)·Ry(β)·Rx(α), [n, 3, 3]."""
    ca, sa, cb, sb, cg, sg = np.cos(alpha), np.sin(alpha), np.cos(beta), np.sin(beta), np.cos(gamma), np.sin(gamma)
    rows = [
        [cg * cb, cg * sb * sa - sg * ca, cg * sb * ca + sg * sa],
        [sg * cb, sg * sb * sa + cg * ca, sg * sb * ca - cg * sa],
        [-sb, cb * sa, cb * ca],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def _window(q: Array, margin: float, limit: float = np.inf) -> Array:
    """Centre and half width [n, 4] of a window that holds points [n, P, 2], with a margin, inside ±limit."""
    low = np.clip(q.min(1), -limit, limit)
    high = np.clip(q.max(1), -limit, limit)
    half = np.maximum((high - low) / 2, 1e-3) * (1 + margin)
    return np.concatenate([(low + high) / 2, half], -1)


def outline(mesh: Mesh, directions: int = 128) -> Array:
    """The points [directions, 3] of a mesh that lie farthest out in directions all around."""
    k = np.arange(directions) + 0.5
    z, t = 1 - 2 * k / directions, k * pi * (3 - sqrt(5))
    r = np.sqrt(1 - z**2)
    farthest: Array = (np.stack([r * np.cos(t), r * np.sin(t), z], -1) @ mesh.points.T).argmax(1)
    return mesh.points[farthest]


def frame_table(
    place: Array, angles: Array, spot: Array, hues: Array, outline: Array, lift: float = LIFT
) -> Array:
    """What the shaders know of each frame.

    Args:
        place: the object's x, y, z [n, 3].
        angles: α, β, γ [n, 3].
        spot: the spot light's angle [n].
        hues: of object, spot light and ground [n, 3].
        outline: points [n, P, 3] of the shape, as drawn, whose hull all but holds it.

    Returns:
        float32 [n, COLUMNS, 4].
    """
    place, angles, spot, hues = (np.asarray(a, np.float64) for a in (place, angles, spot, hues))
    n = len(place)
    table = np.zeros((n, COLUMNS, 4), np.float32)
    turn = turns(*angles.T)
    centre = place + (0, 0, lift)
    table[:, :3, :3] = turn
    table[:, :3, 3] = centre
    light = np.stack([SPOT_REACH * np.sin(spot), SPOT_REACH * np.cos(spot), np.full(n, SPOT_HEIGHT)], -1)
    aim = centre - light
    distance = np.linalg.norm(aim, axis=1)
    w = aim / distance[:, None]
    u = np.cross(w, (0.0, 0.0, 1.0))
    u /= np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1e-9)
    v = np.cross(u, w)
    table[:, 3, :3] = light
    table[:, 4, :3] = linear(hues[:, 1], 0.8)
    table[:, 5, :3] = linear(hues[:, 0], 1.0)
    table[:, 6, :3], table[:, 7, :3], table[:, 8, :3] = u, v, w
    table[:, 16, :3] = linear(hues[:, 2], 0.6)
    hull = np.einsum("nij,npj->npi", turn, outline) + centre[:, None]
    # Where the camera sees the object.
    seen = hull - CAMERA
    depth = np.maximum(seen @ CAMERA_FORWARD, CAMERA_NEAR)
    across = np.stack([seen @ CAMERA_RIGHT, -(seen @ CAMERA_UP)], -1) / depth[..., None] / CAMERA_TANGENT
    box = _window(across, 0.05)
    table[:, 9] = np.clip(np.concatenate([box[:, :2] - box[:, 2:], box[:, :2] + box[:, 2:]], -1), -1, 1)
    # The windows of the lights, and the range of distances in them.
    seen = hull - light[:, None]
    depth = np.einsum("npi,ni->np", seen, w)
    across = np.stack([np.einsum("npi,ni->np", seen, u), np.einsum("npi,ni->np", seen, v)], -1) / depth[..., None]
    table[:, 10] = _window(across, 0.05)
    table[:, 13, 0], table[:, 13, 1] = depth.min(1) - 0.1, depth.max(1) + 0.1
    below = AREA_HEIGHT - hull[..., 2]
    table[:, 11] = _window(hull[..., :2] / np.maximum(below, AREA_NEAR)[..., None], 0.05, AREA_REACH)
    table[:, 12] = _window(hull[..., :2], 0.05)
    table[:, 14, 0] = np.maximum(below.min(1) - 0.1, AREA_NEAR)
    table[:, 14, 1] = np.maximum(below.max(1) + 0.1, AREA_NEAR + 0.1)
    table[:, 15, 0], table[:, 15, 1] = below.min(1) - 0.1, below.max(1) + 0.1
    return table


def shader_constants(gains: Gains = Gains()) -> dict[str, str]:
    """The scene's numbers by the names that the shaders have for them, as GLSL."""
    vectors = {
        "CAMERA": CAMERA, "CAMERA_FORWARD": CAMERA_FORWARD, "CAMERA_RIGHT": CAMERA_RIGHT, "CAMERA_UP": CAMERA_UP,
    }
    half = SPOT_CONE / 2
    numbers = {
        "CAMERA_TANGENT": CAMERA_TANGENT, "CAMERA_NEAR": CAMERA_NEAR, "CAMERA_DEPTH": CAMERA_DEPTH, "GROUND": -DROP,
        "AREA_HEIGHT": AREA_HEIGHT, "AREA_HALF": AREA_HALF, "AREA_GAIN": AREA_POWER / 4 * gains.area,
        "SUN_TANGENT": tan(SUN_ANGLE / 2), "SUN_GAIN": SUN_IRRADIANCE * gains.sun,
        "SPOT_RADIUS": SPOT_RADIUS, "SPOT_GAIN": 0.98 * SPOT_POWER / (4 * pi) * gains.spot, "SPOT_COSINE": cos(half),
        "SPOT_BLEND": SPOT_BLEND, "SPOT_COSINE_FACTOR": 0.0,
        "ROUGHNESS": ROUGHNESS, "GLOSS": GLOSS, "VELVET": VELVET,
    }
    return {
        **{name: "vec3({}, {}, {})".format(*map(float, value)) for name, value in vectors.items()},
        **{name: repr(float(value)) for name, value in numbers.items()},
    }
