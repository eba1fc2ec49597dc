"""How Causal Pinball looks: the table with its score, then the bumpers' inner discs, paddles and ball; anti-aliased."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from citris_cli.worlds.antialiasing import blend, convex_cover, disc_cover, levels, window_of
from citris_cli.worlds.digits import digit
from citris_cli.worlds.world import Array

if TYPE_CHECKING:
    from citris_cli.worlds.pinball import Pinball

#: Cover, of 255, of the outermost pixels by the border of Matplotlib's axes, which is thinner than a pixel.
RIM = 3


def draw(world: Pinball, frames: Array, *, ball: Array, activities: Array, heights: Array, scores: Array) -> None:
    """Draw states.

    Args:
        world: the sizes of all that is drawn.
        frames: uint8 [n, W, W, 4], which are filled.
        ball: [4, n], its x, velocity in x, y, velocity in y.
        activities: [n, 5], of the bumpers.
        heights: [n, 2], of the paddles.
        scores: [n].
    """
    size, dpi = world.size, world.dpi
    at = np.arange(len(frames))
    frames[:] = _tables(world)[np.rint(scores).astype(int) % world.max_score]
    # The bumpers' inner discs, from white over pink to red.
    (tops, lefts, inner) = _inner_discs(world)
    pale = _level(0.2 + 0.7 * (1 - activities.astype(np.float64)))
    for index, (top, left) in enumerate(zip(tops, lefts, strict=True)):
        window = frames[:, top : top + inner.shape[1], left : left + inner.shape[2], :3]
        colour = np.stack([np.full(len(at), 255), *[pale[:, index]] * 2], axis=-1)[:, None, None]
        window[:] = blend(window, colour, inner[index][None, :, :, None])
    # Paddles lie on whole pixels.
    grey = _level(0.5)
    edges = [round(edge * dpi) for edge in (world.pit[0], world.resolution / 2, world.pit[1])]
    for side in range(2):
        own = heights[:, side]
        first, after = (size - np.floor(y * dpi + 0.5).astype(int) for y in (own, own - world.paddle_height))
        for row in range(int(np.max(after - first, initial=0))):
            drawn = (first + row >= 0) & (first + row < np.minimum(after, size))
            frames[at[drawn], (first + row)[drawn], edges[side] : edges[side + 1], :3] = grey
    x, vx, y, vy = ball
    _disc(world, frames[..., :3], x, y, _level(0.7))
    _disc(world, frames[..., 3:], world.resolution / 2 + 2 * vx, world.resolution / 2 + 2 * vy, 0)


def _disc(world: Pinball, frames: Array, x: Array, y: Array, grey: int) -> None:
    """A disc of the ball's size over each frame, at a place in units."""
    across, down, radius = x * world.dpi, world.size - y * world.dpi, world.ball_radius * world.dpi
    top, left, window = window_of(across, down, radius, world.size)
    cover = disc_cover(across, down, radius, top, left, window)[..., None]
    span = np.arange(window)
    at = np.arange(len(x))[:, None, None], (top[:, None] + span)[:, :, None], (left[:, None] + span)[:, None, :]
    frames[at] = blend(frames[at], grey, cover)


@cache
def _inner_discs(world: Pinball) -> tuple[list[int], list[int], Array]:
    """First rows, first columns and covers [5, h, w] of the bumpers' inner discs."""
    x, y = np.array(world.bumpers).T * world.dpi
    radius = world.cyl_radius / 2 * world.dpi
    top, left, window = window_of(x, world.size - y, radius, world.size)
    return top.tolist(), left.tolist(), disc_cover(x, world.size - y, radius, top, left, window)


@cache
def _tables(world: Pinball) -> Array:
    """What does not move, uint8 [max_score, size, size, 4]: one picture a score."""
    size, dpi = world.size, world.dpi
    dark, grey = _level(0.1), _level(0.5)
    table: Array = np.full((size, size), _level(0.9))
    wall, pit, offset = round(world.border_size * dpi), world.pit, round(world.triangle_border_offset * dpi)
    table[:wall] = table[:, :wall] = table[:, size - wall :] = dark
    table[size - offset :, : round(pit[0] * dpi)] = table[size - offset :, round(pit[1] * dpi) :] = dark
    # A slope is what is left of the line from its upper end to its foot, between their heights; or right of it.
    upper, lower = size - offset - world.triangle_border_size * dpi, size - offset
    for side, top, foot in ((1, wall, round(pit[0] * dpi)), (-1, size - wall, round(pit[1] * dpi))):
        across, down = lower - upper, top - foot
        normals = np.array([(side * across, side * down), (0, -1), (0, 1)])
        offsets = np.array([side * (across * top + down * upper), -upper, lower])
        table = blend(table, dark, levels(convex_cover(normals, offsets, size)))
    for x, y in world.bumpers:
        everything = np.zeros(1, np.int64)
        centre = np.array([x * dpi]), np.array([size - y * dpi])
        table = blend(table, grey, disc_cover(*centre, world.cyl_radius * dpi, everything, everything, size)[0])
    tables = np.stack([np.stack([table] * 3 + [np.full_like(table, 255)], axis=-1)] * world.max_score)
    # The panel, and two digits of three by five squares with one between them.
    left, top = round((pit[1] + 1.2) * dpi), size - 6 * dpi
    colour = _level(np.array([0.4, 0.4, 0.9]))
    for score, frame in enumerate(tables):
        panel = np.zeros((5, 7), bool)
        panel[:, :3], panel[:, 4:] = digit(score // 10), digit(score % 10)
        lit = panel.repeat(dpi, 0).repeat(dpi, 1)
        frame[top : top + 5 * dpi, left : left + 7 * dpi, :3] = np.where(lit[..., None], colour, _level(0.8))

    for rim in (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]):
        tables[rim] = blend(tables[rim], 0, np.array(RIM))
    return tables.astype(np.uint8)


def _level(share: Any) -> Any:
    """A colour's share of one as Matplotlib writes it, 0 … 255."""
    return np.floor(np.asarray(share) * 255 + 0.5).astype(np.int32)
