"""The seven shapes: the teapot, and six of our own making in the place of the published ones, which may not be shipped.

Each of ours is made here of simple solids, is about as large as the teapot, and has no symmetry: no rotation leaves it
as it was.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from citris_cli.worlds.causal3d_scene.mesh import Array, Mesh, joined, welded
from citris_cli.worlds.causal3d_scene.teapot import teapot

#: Where the teapot's mesh has its origin, and how large it is drawn; fitted to published frames.
TEAPOT_OFFSET = (0.0466, 0.0948, -1.33)
TEAPOT_SCALE = 0.9563
#: Radius of a ball around the origin that holds each of our shapes, about the teapot's.
RADIUS = 3.0
# Corners of round parts above the fewest, for the camera and for shadows.
_FINE, _COARSE = 6, 2


def tube(path: Array, radii: Array, sides: int, flat: float = 1.0) -> Mesh:
    """A closed tube along a path, with caps.

    Args:
        path: points [n, 3].
        radii: at each point, [n].
        sides: corners of its cross-section.
        flat: its width across the direction of `up` by that along it.
    """
    forward = np.gradient(path, axis=0)
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    side = np.zeros_like(path)
    last = np.cross(forward[0], (0.3, 0.2, 1.0))
    for k in range(len(path)):  # carried along the path, so that the tube is not twisted
        last = last - forward[k] * (last @ forward[k])
        last = last / np.linalg.norm(last)
        side[k] = last
    other = np.cross(forward, side)
    turn = np.arange(sides) / sides * 2 * np.pi
    ring = np.cos(turn)[:, None, None] * side + flat * np.sin(turn)[:, None, None] * other
    points = (path + radii[:, None] * ring).swapaxes(0, 1)  # [n, sides, 3]
    ends = np.stack([path[0], path[-1]])
    count = len(path)
    index = np.arange(count * sides).reshape(count, sides)
    a, b = index[:-1], index[1:]
    c, d = np.roll(b, -1, 1), np.roll(a, -1, 1)
    faces = [np.stack([a, d, b], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)]
    first, final = np.full(sides, count * sides), np.full(sides, count * sides + 1)
    faces += [
        np.stack([first, np.roll(index[0], -1), index[0]], -1),
        np.stack([final, index[-1], np.roll(index[-1], -1)], -1),
    ]
    return welded(np.concatenate([points.reshape(-1, 3), ends]), np.concatenate(faces))


def ball(centre: tuple[float, float, float], radii: tuple[float, float, float], pieces: int = 12) -> Mesh:
    """An ellipsoid with half axes `radii`."""
    t = np.linspace(-np.pi / 2, np.pi / 2, pieces + 1)
    path = np.stack([np.zeros_like(t), np.zeros_like(t), np.sin(t)], -1)
    # A tube whose radius closes at both ends; its rings are level.
    turn = np.arange(2 * pieces) / pieces * np.pi
    ring = np.stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)], -1)
    points = path[:, None] + np.cos(t)[:, None, None] * ring
    index = np.arange((pieces + 1) * 2 * pieces).reshape(pieces + 1, 2 * pieces)
    a, b = index[:-1], index[1:]
    c, d = np.roll(b, -1, 1), np.roll(a, -1, 1)
    faces = np.concatenate([np.stack([a, d, c], -1).reshape(-1, 3), np.stack([a, c, b], -1).reshape(-1, 3)])
    return welded(points.reshape(-1, 3) * radii + centre, faces)


def arc(start: tuple[float, ...], middle: tuple[float, ...], end: tuple[float, ...], count: int) -> Array:
    """A bent path from start to end that leans towards the middle: a quadratic Bézier curve of `count` points."""
    t = np.linspace(0, 1, count)[:, None]
    path: Array = (1 - t) ** 2 * np.array(start) + 2 * t * (1 - t) * np.array(middle) + t**2 * np.array(end)
    return path


def limb(
    detail: int,
    start: tuple[float, ...],
    middle: tuple[float, ...],
    end: tuple[float, ...],
    thick: float,
    thin: float,
) -> Mesh:
    """A bent, rounded limb that tapers from one end to the other."""
    count = 9 + detail
    path = arc(start, middle, end, count)
    t = np.linspace(-1, 1, count)
    radii = (thick + (thin - thick) * (t + 1) / 2) * np.sqrt(np.maximum(1 - np.abs(t) ** 8, 0.02))
    return tube(path, radii, 6 + detail)


def snail(detail: int) -> Mesh:
    """A shell that winds up sideways, a foot, and two feelers of different length."""
    turns = np.linspace(0, 1, 26 + 8 * detail)
    angle = 2 * np.pi * 2.2 * turns
    radius = 1.25 * (1 - turns) ** 0.9 + 0.12
    path = np.stack([0.35 - radius * np.cos(angle), -0.9 * turns - 0.1, 0.55 + radius * np.sin(angle)], -1)
    shell = tube(path, 0.62 * (1 - turns) ** 0.8 + 0.12, 9 + detail)
    foot = limb(detail, (1.7, 0.0, -0.9), (0.0, 0.1, -1.25), (-2.0, 0.0, -0.4), 0.3, 0.5)
    return joined(
        [
            shell,
            foot,
            limb(detail, (-1.5, -0.1, -0.6), (-2.1, -0.4, 0.2), (-2.0, -0.5, 0.9), 0.2, 0.12),
            limb(detail, (-1.5, 0.1, -0.6), (-2.3, 0.4, -0.2), (-2.5, 0.7, 0.3), 0.2, 0.12),
        ]
    )


def fish(detail: int) -> Mesh:
    """A flat body, a forked tail, one back fin, and a fin on one side only."""
    t = np.linspace(0, 1, 12 + 2 * detail)
    path = arc((-1.9, 0.0, -0.1), (0.2, 0.25, 0.25), (1.5, 0.0, 0.0), len(t))
    body = tube(path, 0.05 + 1.15 * np.sin(np.pi * t**0.8) ** 0.8, 8 + detail, flat=0.5)
    return joined(
        [
            body,
            limb(detail, (1.3, 0.0, 0.0), (1.9, 0.0, 0.3), (2.3, 0.0, 1.3), 0.3, 0.14),
            limb(detail, (1.3, 0.0, 0.0), (1.8, 0.0, -0.3), (2.0, 0.0, -0.9), 0.3, 0.14),
            limb(detail, (0.3, 0.1, 0.8), (0.0, 0.1, 1.5), (1.0, 0.1, 1.7), 0.35, 0.12),
            limb(detail, (-0.5, -0.4, -0.1), (-0.3, -1.2, -0.4), (0.5, -1.6, -0.7), 0.28, 0.16),
            ball((-1.45, -0.45, 0.3), (0.2, 0.2, 0.2), 6 + detail),
        ]
    )


def bird(detail: int) -> Mesh:
    """A long-necked body with a beak, one wing raised and one held down, and a tail."""
    return joined(
        [
            ball((0.2, 0.0, -0.4), (1.25, 0.85, 0.85), 6 + detail),
            limb(detail, (-0.6, 0.0, -0.2), (-1.8, 0.0, 0.3), (-1.1, 0.1, 1.6), 0.5, 0.28),
            ball((-1.15, 0.1, 1.7), (0.48, 0.42, 0.42), 6 + detail),
            limb(detail, (-1.4, 0.1, 1.7), (-1.9, 0.1, 1.75), (-2.2, 0.1, 1.4), 0.22, 0.06),
            limb(detail, (0.0, 0.6, 0.0), (0.4, 1.4, 1.2), (1.2, 1.6, 1.7), 0.4, 0.16),
            limb(detail, (0.0, -0.7, -0.3), (0.6, -1.4, -0.7), (1.5, -1.3, -1.4), 0.4, 0.16),
            limb(detail, (1.2, 0.0, -0.3), (1.8, 0.0, 0.0), (2.4, 0.2, 0.1), 0.42, 0.2),
        ]
    )


def dog(detail: int) -> Mesh:
    """A body on four legs, one of them lifted, a head turned aside, ears, and a tail to one side."""
    return joined(
        [
            limb(detail, (1.2, 0.0, 0.0), (0.1, 0.0, 0.25), (-1.1, 0.0, 0.1), 0.75, 0.7),
            limb(detail, (-1.0, 0.0, 0.2), (-1.5, 0.0, 0.7), (-1.5, -0.1, 1.0), 0.45, 0.4),
            ball((-1.55, -0.2, 1.15), (0.58, 0.55, 0.52), 6 + detail),
            limb(detail, (-1.6, -0.5, 1.1), (-1.9, -0.8, 1.0), (-2.0, -1.0, 0.85), 0.34, 0.24),
            limb(detail, (-1.3, 0.2, 1.4), (-1.2, 0.5, 2.0), (-1.3, 0.6, 2.0), 0.22, 0.12),
            limb(detail, (-1.2, -0.4, 1.5), (-0.8, -0.5, 2.1), (-0.6, -0.7, 1.7), 0.22, 0.12),
            limb(detail, (-0.8, 0.4, -0.2), (-0.9, 0.5, -1.2), (-0.9, 0.5, -1.9), 0.34, 0.26),
            limb(detail, (-0.8, -0.4, -0.2), (-1.9, -0.5, -0.5), (-1.7, -0.5, -1.2), 0.34, 0.22),
            limb(detail, (1.0, 0.4, -0.1), (1.3, 0.5, -1.0), (1.0, 0.5, -1.9), 0.4, 0.26),
            limb(detail, (1.0, -0.4, -0.1), (1.4, -0.5, -1.0), (1.3, -0.5, -1.9), 0.4, 0.26),
            limb(detail, (0.8, 0.0, 0.3), (2.2, 0.2, 0.5), (2.0, 0.9, 1.4), 0.3, 0.14),
        ]
    )


def cactus(detail: int) -> Mesh:
    """A column with arms of three lengths at three heights, in a pot that stands off its middle."""
    t = np.linspace(0, 1, 6 + detail)
    pot = tube(np.stack([0.25 + 0 * t, 0.1 + 0 * t, -2.1 + 1.1 * t], -1), 0.75 + 0.35 * t, 10 + 2 * detail)
    return joined(
        [
            pot,
            limb(detail, (0.1, 0.0, -1.3), (-0.1, 0.1, 0.4), (0.1, 0.0, 2.4), 0.68, 0.5),
            limb(detail, (0.2, 0.0, -0.2), (1.9, 0.1, -0.5), (1.6, 0.2, 1.2), 0.38, 0.3),
            limb(detail, (-0.2, 0.0, 0.5), (-1.5, -0.2, 0.3), (-1.3, -0.3, 1.9), 0.34, 0.24),
            limb(detail, (0.0, 0.2, 0.0), (0.2, 1.5, -0.3), (0.0, 1.3, 0.7), 0.36, 0.3),
            ball((-1.3, -0.3, 2.05), (0.3, 0.3, 0.24), 6 + detail),
        ]
    )


def chair(detail: int) -> Mesh:
    """An armchair with a leaning back, one arm rest, and a lamp's neck over it."""
    return joined(
        [
            limb(detail, (-1.3, -1.1, -0.2), (0.0, -1.15, -0.3), (1.2, -1.1, -0.2), 0.34, 0.34),
            ball((0.0, 0.0, -0.35), (1.35, 1.3, 0.42), 8 + detail),
            ball((1.15, 0.0, 0.85), (0.42, 1.25, 1.25), 8 + detail),
            limb(detail, (1.1, 1.1, 0.4), (0.0, 1.45, 0.5), (-1.1, 1.3, 0.3), 0.3, 0.24),
            limb(detail, (-0.9, -0.8, -0.5), (-1.0, -0.9, -1.2), (-1.2, -1.0, -1.9), 0.24, 0.14),
            limb(detail, (-0.9, 0.8, -0.5), (-1.0, 0.9, -1.2), (-1.2, 1.0, -1.9), 0.24, 0.14),
            limb(detail, (0.9, 0.8, -0.5), (1.0, 0.9, -1.2), (1.3, 1.0, -1.7), 0.24, 0.14),
            limb(detail, (0.9, -0.8, -0.5), (1.0, -0.9, -1.2), (1.3, -1.0, -1.7), 0.24, 0.14),
            limb(detail, (1.2, -0.9, 1.6), (1.1, -1.3, 2.7), (-0.2, -0.9, 2.2), 0.14, 0.12),
            ball((-0.3, -0.9, 2.0), (0.42, 0.42, 0.3), 6 + detail),
        ]
    )


#: What stands in the place of armadillo, hare, cow, dragon, head and horse.
OURS: tuple[Callable[[int], Mesh], ...] = (snail, fish, bird, dog, cactus, chair)


def _placed(make: Callable[[int], Mesh], fine: bool) -> Mesh:
    """One of our shapes in the middle, as large as the others; the coarse form lies where the fine one does."""
    whole = make(_FINE)
    middle = (whole.points.min(0) + whole.points.max(0)) / 2
    reach = np.linalg.norm(whole.points - middle, axis=1).max()
    return (whole if fine else make(_COARSE)).moved(-middle, RADIUS / reach)


def shapes(fine: bool) -> list[Mesh]:
    """The seven shapes as the scene has them.

    Args:
        fine: whether for the camera, or, with fewer triangles, for the shadows.
    """
    pot = teapot(10 if fine else 5).moved(np.array(TEAPOT_OFFSET), TEAPOT_SCALE)
    return [pot, *(_placed(make, fine) for make in OURS)]
