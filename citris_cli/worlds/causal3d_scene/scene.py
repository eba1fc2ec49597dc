"""The scene of Causal3DIdent in numbers, and what a frame's factors make of it. Nothing here draws.

Where numbers were fitted, it was to frames of the training sequence. Lengths are in the scene's units, in which the
object moves ±2; light is linear RGB.
"""

from __future__ import annotations

from enum import IntEnum
from math import cos, pi, radians, sqrt, tan

import numpy as np

from citris_cli.worlds.causal3d_scene.mesh import Array, Mesh

#: Camera: its place, its axes (it looks at the origin), and the tangent of half its angle of view.
CAMERA = (8.0, 0.0, 8.0)
CAMERA_FORWARD = (-sqrt(0.5), 0.0, -sqrt(0.5))
CAMERA_RIGHT = (0.0, 1.0, 0.0)
CAMERA_UP = (-sqrt(0.5), 0.0, sqrt(0.5))
CAMERA_TANGENT = 25 / 35
#: What is nearer, or farther by more than the depth, is not seen.
CAMERA_NEAR, CAMERA_DEPTH = 0.1, 20.0
#: Pixels across which the camera's filter (Blackman–Harris) weighs light.
FILTER_WIDTH = 3

#: How far below the origin the ground lies, and how far above it the object's z is 0 (fitted).
DROP = 6.18
LIFT = 3.209

#: Square lamp over the origin that shines down: height, watts, half its side.
AREA_HEIGHT, AREA_POWER, AREA_HALF = 7.0, 50.0, 0.5
#: Its shadow map begins at this distance, and holds what is up to this tangent off the vertical.
AREA_NEAR, AREA_REACH = 0.05, 3.0
#: Sun straight above: irradiance, and its diameter as an angle.
SUN_IRRADIANCE, SUN_ANGLE = 0.5, 0.1993
#: Spot light, always aimed at the object: watts (fitted, of 3,000), radius of the lamp, its circle around the vertical
#: axis, its height, angle of its cone, and the part of it in which it fades.
SPOT_POWER, SPOT_RADIUS, SPOT_CIRCLE, SPOT_HEIGHT = 2940.0, 0.5, 4.0, 6 + DROP
SPOT_CONE, SPOT_BLEND = radians(35), 0.1

#: Material: roughness (Beckmann's α) and colour of the glossy part, width of the velvet, refractive indices that mix
#: velvet into the diffuse part and the glossy part into both.
ROUGHNESS, GLOSS, VELVET = 0.35, 0.8, 0.6
VELVET_INDEX, GLOSS_INDEX = 1.4, 1.2
#: Saturation of the colours of object, spot light and ground.
SATURATION = (1.0, 0.8, 0.6)


class Light(IntEnum):
    """The lights, as the shaders number them."""

    SPOT = 0
    AREA = 1
    SUN = 2


class Row(IntEnum):
    """What is told of a frame, four numbers a row; the shaders know the rows by the same names."""

    MODEL = 0  # three rows: rotation and place of the object
    SPOT_AXES = 3  # three rows: across, along, and from the lamp to the object
    SPOT_PLACE = 6
    OBJECT_COLOUR = 7
    SPOT_COLOUR = 8
    GROUND_COLOUR = 9
    SEEN = 10  # left, top, right and bottom of the object in the picture, −1 … 1
    WINDOW = 11  # one row a light: centre and half width of its view of the object
    RANGE = 14  # one row a light: nearest and farthest distance of the object
    VIEWS = 17  # four rows a light: how it sees a point of the object (_views)


ROWS = 29


def linear(hue: Array, saturation: float) -> Array:
    """Linear RGB [n, 3] of hues in radians at this saturation and value 1."""
    sector = (np.asarray(hue, np.float64) / (2 * pi) % 1.0)[:, None] * 6
    away = np.abs((sector - np.array([0.0, 2.0, 4.0]) + 3) % 6 - 3)
    colour: Array = 1 - saturation * np.clip(away - 1, 0, 1)
    return colour


def rotations(alpha: Array, beta: Array, gamma: Array) -> Array:
    """Rotations Rz(γ)·Ry(β)·Rx(α), [n, 3, 3]."""
    ca, sa, cb, sb, cg, sg = np.cos(alpha), np.sin(alpha), np.cos(beta), np.sin(beta), np.cos(gamma), np.sin(gamma)
    rows = [
        [cg * cb, cg * sb * sa - sg * ca, cg * sb * ca + sg * sa],
        [sg * cb, sg * sb * sa + cg * ca, sg * sb * ca - cg * sa],
        [-sb, cb * sa, cb * ca],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def outline(mesh: Mesh, directions: int = 128) -> Array:
    """The points [directions, 3] of a mesh that lie farthest out in directions all around."""
    k = np.arange(directions) + 0.5
    z, t = 1 - 2 * k / directions, k * pi * (3 - sqrt(5))
    r = np.sqrt(1 - z**2)
    farthest: Array = (np.stack([r * np.cos(t), r * np.sin(t), z], -1) @ mesh.points.T).argmax(1)
    return mesh.points[farthest]


def _window(points: Array, limit: float = np.inf) -> Array:
    """Centre and half width [n, 4] of a window that holds points [n, P, 2], with a margin, inside ±limit."""
    low = np.clip(points.min(1), -limit, limit)
    high = np.clip(points.max(1), -limit, limit)
    return np.concatenate([(low + high) / 2, np.maximum((high - low) / 2, 1e-3) * 1.05], -1)


def frame_tables(latents: Array, outlines: Array) -> Array:
    """What the shaders know of each frame.

    Args:
        latents: states [n, at least 10]: place of the object, its rotations α, β, γ, the spot light's angle, hues of
            object, spot light and ground.
        outlines: points [n, P, 3] of each frame's shape, whose hull all but holds it.

    Returns:
        float32 [n, ROWS, 4]; see :class:`Row`.
    """
    states = np.asarray(latents, np.float64)
    n = len(states)
    table = np.zeros((n, ROWS, 4), np.float32)
    turn = rotations(*states[:, 3:6].T)
    centre = states[:, :3] + (0, 0, LIFT)
    table[:, Row.MODEL : Row.MODEL + 3, :3] = turn
    table[:, Row.MODEL : Row.MODEL + 3, 3] = centre

    lamp = SPOT_CIRCLE * np.stack([np.sin(states[:, 6]), np.cos(states[:, 6]), np.zeros(n)], -1)
    lamp[:, 2] = SPOT_HEIGHT
    away = centre - lamp
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    across = np.cross(away, (0.0, 0.0, 1.0))
    length = np.linalg.norm(across, axis=1, keepdims=True)
    # Straight above the object every direction across will do.
    across = np.where(length > 1e-6, across / np.maximum(length, 1e-6), (1.0, 0.0, 0.0))
    axes = np.stack([across, np.cross(across, away), away], 1)
    table[:, Row.SPOT_AXES : Row.SPOT_AXES + 3, :3] = axes
    table[:, Row.SPOT_PLACE, :3] = lamp
    for column, hue, saturation in zip(
        (Row.OBJECT_COLOUR, Row.SPOT_COLOUR, Row.GROUND_COLOUR), states[:, 7:10].T, SATURATION, strict=True
    ):
        table[:, column, :3] = linear(hue, saturation)

    hull = np.einsum("nij,npj->npi", turn, outlines) + centre[:, None]
    seen = hull - CAMERA
    depth = np.maximum(seen @ CAMERA_FORWARD, CAMERA_NEAR)
    picture = np.stack([seen @ CAMERA_RIGHT, -(seen @ CAMERA_UP)], -1) / depth[..., None] / CAMERA_TANGENT
    box = _window(picture)
    table[:, Row.SEEN] = np.clip(np.concatenate([box[:, :2] - box[:, 2:], box[:, :2] + box[:, 2:]], -1), -1, 1)

    local = np.einsum("npi,nki->npk", hull - lamp[:, None], axes)
    below = AREA_HEIGHT - hull[..., 2]
    views = {
        Light.SPOT: (_window(local[..., :2] / local[..., 2:]), local[..., 2], 0.0),
        Light.AREA: (_window(hull[..., :2] / np.maximum(below, AREA_NEAR)[..., None], AREA_REACH), below, AREA_NEAR),
        Light.SUN: (_window(hull[..., :2]), below, -np.inf),
    }
    for light, (window, distance, least) in views.items():
        table[:, Row.WINDOW + light] = window
        nearest = np.maximum(distance.min(1) - 0.1, least)
        table[:, Row.RANGE + light, 0] = nearest
        table[:, Row.RANGE + light, 1] = np.maximum(distance.max(1) + 0.1, nearest + 0.1)
    table[:, Row.VIEWS :] = _views(table).swapaxes(0, 1).reshape(n, 12, 4)
    return table


def _views(table: Array) -> Array:
    """How each light sees a point of the object as it is stored.

    Args:
        table: [n, ROWS, 4], the other rows.

    Returns:
        [3, n, 4, 4]: rows that give a point's place across and along the light's window, times its distance where rays
        spread from a point, and its distance; then (nearest distance, 1 / range of distances, whether rays spread, 0).
    """
    n = len(table)
    model = np.zeros((n, 4, 4))
    model[:, :3] = table[:, Row.MODEL : Row.MODEL + 3]
    model[:, 3, 3] = 1
    views = np.zeros((3, n, 4, 4))
    axes = table[:, Row.SPOT_AXES : Row.SPOT_AXES + 3, :3].astype(np.float64)
    views[Light.SPOT, :, :3, :3] = axes
    views[Light.SPOT, :, :3, 3] = -np.einsum("nij,nj->ni", axes, table[:, Row.SPOT_PLACE, :3])
    for light in (Light.AREA, Light.SUN):
        views[light, :, 0, 0] = views[light, :, 1, 1] = 1
        views[light, :, 2, 2], views[light, :, 2, 3] = -1, AREA_HEIGHT
    for light in Light:
        window = table[:, Row.WINDOW + light].astype(np.float64)
        spreads = light != Light.SUN
        for axis in range(2):
            # What a window's centre is times: the distance, or 1 where rays are parallel.
            times = views[light, :, 2] if spreads else np.array([0.0, 0.0, 0.0, 1.0])
            views[light, :, axis] -= window[:, axis, None] * times
            views[light, :, axis] /= window[:, 2 + axis, None]
        views[light, :, :3] = views[light, :, :3] @ model
        near, far = table[:, Row.RANGE + light, :2].astype(np.float64).T
        views[light, :, 3] = np.stack([near, 1 / (far - near), np.full(n, float(spreads)), np.zeros(n)], -1)
    return views


def filter_weights(samples: int) -> Array:
    """Weights [FILTER_WIDTH * samples] of samples along a pixel's row or column, from one pixel before to one after."""
    count = FILTER_WIDTH * samples
    t = (np.arange(count) + 0.5) / count * 2 * pi
    weights = 0.35875 - 0.48829 * np.cos(t) + 0.14128 * np.cos(2 * t) - 0.01168 * np.cos(3 * t)
    share: Array = weights / weights.sum()
    return share


def shader_constants() -> dict[str, str]:
    """The scene's numbers by the names that the shaders have for them, as GLSL."""
    vectors = {
        "CAMERA": CAMERA,
        "CAMERA_FORWARD": CAMERA_FORWARD,
        "CAMERA_RIGHT": CAMERA_RIGHT,
        "CAMERA_UP": CAMERA_UP,
    }
    numbers = {
        "CAMERA_TANGENT": CAMERA_TANGENT,
        "CAMERA_NEAR": CAMERA_NEAR,
        "CAMERA_DEPTH": CAMERA_DEPTH,
        "GROUND_HEIGHT": -DROP,
        "AREA_HEIGHT": AREA_HEIGHT,
        "AREA_HALF": AREA_HALF,
        "AREA_STRENGTH": AREA_POWER / 4,
        "SUN_TANGENT": tan(SUN_ANGLE / 2),
        "SUN_STRENGTH": SUN_IRRADIANCE,
        "SPOT_RADIUS": SPOT_RADIUS,
        "SPOT_STRENGTH": SPOT_POWER / (4 * pi),
        "SPOT_COSINE": cos(SPOT_CONE / 2),
        "SPOT_FADE": (1 - cos(SPOT_CONE / 2)) * SPOT_BLEND,
        "ROUGHNESS": ROUGHNESS,
        "GLOSS": GLOSS,
        "VELVET": VELVET,
        "VELVET_INDEX": VELVET_INDEX,
        "GLOSS_INDEX": GLOSS_INDEX,
    }
    return {
        **{name: "vec3({}, {}, {})".format(*map(float, value)) for name, value in vectors.items()},
        **{name: repr(float(value)) for name, value in numbers.items()},
        **{name: str(int(value)) for name, value in (*Light.__members__.items(), *Row.__members__.items())},
        "ROWS": str(ROWS),
        "FILTER_WIDTH": str(FILTER_WIDTH),
    }
