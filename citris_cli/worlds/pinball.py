"""Causal Pinball: a ball, five bumpers, two paddles and a score that act on each other within a frame.

The third benchmark of iCITRIS (Lippe et al., 2023): paddles → ball → bumpers → score, all in the same frame. Lengths
are in units of half a pixel, y upwards, times in steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from citris_cli.data.columns import PINBALL
from citris_cli.data.variables import Variables
from citris_cli.worlds.pinball_picture import draw
from citris_cli.worlds.world import Array, graph_of, in_chunks, set_values, settings_of

#: Steps whose random numbers are drawn at once.
CHUNK = 4096
#: Steps before the first frame of a sequence, after which it tells nothing of how it began.
WARM_UP = 100

#: The first of the bumpers' and of the paddles' columns, and the score's.
BUMPERS, PADDLES, SCORE = 4, 9, 11
#: Whom a step's interventions are on.
BALL_TARGET, BUMPERS_TARGET, PADDLES_TARGET, SCORE_TARGET = 0, 1, 2, 4

#: What the ball meets besides bumpers, which have their indices.
WALL, PADDLE = -1, -2


class Draws(NamedTuple):
    """The random numbers of one step, each uniform in [0, 1) or standard normal; those not needed are not used.

    Attributes:
        paddles: two, how far they fall or where they are raised to.
        kick: one, how fast a raised paddle throws the ball.
        place: two, where the ball is served.
        bumpers: five coins of an intervention on the bumpers.
        points: five, whether each bumper that shines gives a point.
        score: one, what an intervention sets the score to.
        velocity: two normal ones, of a ball that is served.
    """

    paddles: Sequence[float]
    kick: float
    place: Sequence[float]
    bumpers: Sequence[float]
    points: Sequence[float]
    score: float
    velocity: Sequence[float]


@dataclass(frozen=True)
class Pinball:
    """The world's constants; the defaults are the published ones.

    A state is the ball's x, its velocity in x, its y and its velocity in y, the activities of the five bumpers (0 … 1,
    in tenths), the heights of the left and of the right paddle, and the score. See
    :class:`~citris_cli.worlds.world.World` for what every world has.

    Attributes:
        resolution: width and height of the field in units.
        dpi: pixels a unit.
        border_size: thickness of the walls at the left, at the right and at the top.
        triangle_width: of the blocks in the lower corners; a slope leads down to each.
        triangle_border_offset: height of these blocks.
        triangle_border_size: by how much the slopes rise towards the walls.
        paddle_y_pos_min, paddle_y_pos_max: lowest and highest paddle.
        paddle_height: how thick paddles are drawn, downwards from their height.
        cyl_radius, cyl_y_center, cyl_distance: radius of the bumpers, height of the middle one, and how far the others
            are from it in x and in y.
        ball_radius: of the ball.
        max_score: from which the score starts again at 0.
        intv_probs: probability of an intervention on each target in a step.
        paddle_fall: least and greatest way that a paddle falls in a step.
        paddle_raise: least and greatest height that an intervention raises it to.
        kick_speed: least and greatest speed at which a raised paddle throws the ball up.
        kick_reach: a ball whose lowest point is below this is thrown.
        kick_height: where it is thrown from, above a paddle; beside one it is 0.9 less.
        serve_x, serve_y: half of the width in x around the middle, and the range in y above the blocks, of a ball that
            an intervention serves.
        serve_std, serve_down: standard deviation of its velocity, and its mean downwards.
        path_points: points of a step's way at which it is looked whether the ball touches anything, both ends among
            them.
        path_enough: share of a step after which no further collision is looked for.
        most_collisions: in a step.
        bounce, paddle_bounce: what is left of the velocity after a collision; of vy after one with a paddle.
        push: share of the way that is left by which the ball is pushed off what it met.
        drag, gravity: what is left of the velocity after a step, and how much vy falls in it.
        bumper_fade: how much a bumper's activity falls in a step.
        point: probability that a bumper that was hit gives a point.
        score_reset: the number of scores, from 0, among which an intervention chooses.
    """

    name: ClassVar[str] = "pinball"
    channels: ClassVar[int] = 4
    variables: ClassVar[Variables] = PINBALL
    targets: ClassVar[tuple[str, ...]] = ("ball", "cyl", "paddle_left", "paddle_right", "score")

    resolution: int = 32
    dpi: int = 2
    border_size: float = 2
    triangle_width: float = 9.2
    triangle_border_offset: float = 7
    triangle_border_size: float = 5
    paddle_y_pos_min: float = 2
    paddle_y_pos_max: float = 6
    paddle_height: float = 1
    cyl_radius: float = 1.5
    cyl_y_center: float = 21
    cyl_distance: float = 5
    ball_radius: float = 1
    max_score: int = 20
    intv_probs: tuple[float, ...] = (0.1, 0.05, 0.2, 0.2, 0.05)
    paddle_fall: tuple[float, float] = (0.5, 2)
    paddle_raise: tuple[float, float] = (4, 6)
    kick_speed: tuple[float, float] = (1, 4)
    kick_reach: float = 6
    kick_height: float = 8
    serve_x: float = 3.3
    serve_y: tuple[float, float] = (0, 2)
    serve_std: float = 0.5
    serve_down: float = 0.5
    path_points: int = 200
    path_enough: float = 0.98
    most_collisions: int = 100
    bounce: float = 0.9
    paddle_bounce: float = 0.3
    push: float = 0.05
    drag: float = 0.98
    gravity: float = 0.1
    bumper_fade: float = 0.1
    point: float = 0.95
    score_reset: int = 5

    @property
    def size(self) -> int:
        """Width and height of the frames in pixels."""
        return self.resolution * self.dpi

    @property
    def intervened_on(self) -> Array:
        """Bool [5]: everything."""
        return np.ones(5, bool)

    @property
    def owners(self) -> Array:
        """Int64 [12]: the target that each value belongs to."""
        return np.array([0] * 4 + [1] * 5 + [2, 3, 4])

    @property
    def graph_temporal(self) -> Array:
        """Uint8 [5, 5], the identity: what else acts on a variable does so within the frame."""
        return np.eye(len(self.targets), dtype=np.uint8)

    @property
    def graph_instantaneous(self) -> Array:
        """Uint8 [5, 5]: paddles → ball → bumpers → score."""
        return graph_of(self.targets, {"ball": ["paddle_left", "paddle_right"], "cyl": ["ball"], "score": ["cyl"]})

    @property
    def settings(self) -> dict[str, Any]:
        """The constants."""
        return settings_of(self)

    @property
    def bumpers(self) -> tuple[tuple[float, float], ...]:
        """Centres of the five bumpers, in their order."""
        middle, y, away = self.resolution / 2, self.cyl_y_center, self.cyl_distance
        left, right = middle - away, middle + away
        return (left, y - away), (middle, y), (right, y - away), (left, y + away), (right, y + away)

    @property
    def pit(self) -> tuple[float, float]:
        """Where the blocks end and the paddles' pit begins, at the left and at the right."""
        left = self.border_size + self.triangle_width
        return left, self.resolution - left

    # What happens

    def sequence(self, frames: int, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        """One sequence in chunks of at most :data:`CHUNK` frames.

        Args:
            frames: number of frames N.
            rng: source of randomness.

        Yields:
            Latents float32 [n, 12] and targets uint8 [n, 5]; row i of the targets leads from frame i to i+1.
        """
        state = self.independent(1, rng)[0].tolist()
        targets, draws = self._drawn(WARM_UP, rng)
        for now, drawn in zip(targets.tolist(), draws, strict=True):
            state = self.step(state, now, drawn)
        for start in range(0, frames, CHUNK):
            count = min(CHUNK, frames - start)
            targets, draws = self._drawn(CHUNK, rng)  # always as many: a longer sequence begins as a shorter one does
            latents = np.empty((count, len(PINBALL)), np.float32)
            for index, (now, drawn) in enumerate(zip(targets[:count].tolist(), draws, strict=False)):
                latents[index] = state
                state = self.step(state, now, drawn)
            yield latents, targets[:count]

    def _drawn(self, count: int, rng: np.random.Generator) -> tuple[Array, Iterator[Draws]]:
        """The targets uint8 [count, 5] and random numbers of some steps."""
        targets = (rng.random((count, 5)) < self.intv_probs).astype(np.uint8)
        return targets, self._draws(count, rng)

    def _draws(self, count: int, rng: np.random.Generator) -> Iterator[Draws]:
        """The random numbers of some steps."""
        uniform, normal = rng.random((count, 16)).tolist(), rng.standard_normal((count, 2)).tolist()
        rows = zip(uniform, normal, strict=True)
        return (Draws(u[0:2], u[2], u[3:5], u[5:10], u[10:15], u[15], n) for u, n in rows)

    def advance(self, states: Array, targets: Array, rng: np.random.Generator, values: Array | None = None) -> Array:
        """One step of each state. See :meth:`World.advance`."""
        given = set_values(self, targets, values)
        rows = zip(states.tolist(), targets.tolist(), self._draws(len(states), rng), given.tolist(), strict=True)
        return np.array([self.step(*row) for row in rows], np.float32).reshape(-1, len(PINBALL))

    def step(
        self,
        state: Sequence[float],
        targets: Sequence[int],
        draws: Draws,
        values: Sequence[float] = (math.nan,) * len(PINBALL),
    ) -> list[float]:
        """The next state: first the paddles, then the ball, the bumpers, the score, each knowing those before it.

        Args:
            state: the 12 values of this frame.
            targets: 0 or 1, whether the step intervenes on each of the five.
            draws: the step's random numbers.
            values: what interventions set the 12 to; NaN where that is drawn.

        Returns:
            The 12 values of the next frame.
        """
        raised = targets[PADDLES_TARGET : PADDLES_TARGET + 2]
        paddles = [
            _between(self.paddle_raise, draw)
            if up
            else max(self.paddle_y_pos_min, height - _between(self.paddle_fall, draw))
            for height, up, draw in zip(state[PADDLES:SCORE], raised, draws.paddles, strict=True)
        ]
        paddles = _where_set(values[PADDLES:SCORE], paddles)
        ball: Sequence[float]
        ball, hits = self._ball(state, bool(targets[BALL_TARGET]), paddles, raised, draws)
        ball = _where_set(values[:BUMPERS], ball)
        if targets[BUMPERS_TARGET]:
            bumpers = [float(coin < 0.5) for coin in draws.bumpers]
        else:
            bumpers = [
                1.0 if index in hits else max(0.0, round(activity - self.bumper_fade, 6))
                for index, activity in enumerate(state[BUMPERS:PADDLES])
            ]
        bumpers = _where_set(values[BUMPERS:PADDLES], bumpers)
        if targets[SCORE_TARGET]:
            score = int(draws.score * self.score_reset) if math.isnan(values[SCORE]) else int(values[SCORE])
        else:
            score = int(state[SCORE])
            score += sum(a == 1 and draw < self.point for a, draw in zip(bumpers, draws.points, strict=True))
        return [*ball, *bumpers, *paddles, score % self.max_score]

    def _ball(
        self, state: Sequence[float], served: bool, paddles: Sequence[float], raised: Sequence[int], draws: Draws
    ) -> tuple[tuple[float, float, float, float], set[int]]:
        """The ball's next x, velocity in x, y and velocity in y, and the bumpers that it hit."""
        if served:
            x = self.resolution / 2 + _between((-self.serve_x, self.serve_x), draws.place[0])
            y = self.triangle_border_offset + _between(self.serve_y, draws.place[1])
            vx = self.serve_std * draws.velocity[0]
            return (x, vx, y, self.serve_std * draws.velocity[1] - self.serve_down), set()
        x, vx, y, vy = state[:BUMPERS]
        if any(raised) and y - self.ball_radius < self.kick_reach:
            x, y, vx, vy = self._kicked(x, y, vx, vy, paddles, raised, _between(self.kick_speed, draws.kick))
        return self._moved(x, y, vx, vy, paddles)

    def _kicked(
        self,
        x: float,
        y: float,
        vx: float,
        vy: float,
        paddles: Sequence[float],
        raised: Sequence[int],
        speed: float,
    ) -> tuple[float, float, float, float]:
        """The ball as a raised paddle throws it, the higher one of two: place and velocity, x and y of each."""
        side = max((height, index) for index, height in enumerate(paddles) if raised[index])[1]
        height, (left, right), middle = paddles[side], self.pit, self.resolution / 2
        left, right = ((left, middle), (middle, right))[side]
        if left <= x <= right:
            return x, self.kick_height, vx, speed
        for edge, away in ((left, -1), (right, 1)):
            if math.hypot(x - edge, max(0.0, -y, y - height)) < self.ball_radius:
                up = self.kick_height - 0.9
                fast = math.sqrt(2) * speed
                return x + away * (up - y), up, vx + away * fast, fast
        return x, y, vx, vy

    def _moved(
        self, x: float, y: float, vx: float, vy: float, paddles: Sequence[float]
    ) -> tuple[tuple[float, float, float, float], set[int]]:
        """The ball after a step's way with its collisions: x, velocity in x, y, velocity in y, and bumpers hit."""
        hits: set[int] = set()
        left = 1.0  # of the step
        radius, points = self.ball_radius, self.path_points - 1
        for _ in range(self.most_collisions):
            # The first of the way's points at which the ball overlaps something. What it is away from everything it
            # can go without looking, as nothing is nearer.
            stride = math.hypot(vx, vy) * left / points
            point = 0
            away, nx, ny, what = self._nearest(x, y, paddles)
            while away >= radius:
                point += math.ceil((away - radius) / stride - 1e-9) or 1 if stride else points + 1
                if point > points:
                    break
                on = left * point / points
                away, nx, ny, what = self._nearest(x + vx * on, y + vy * on, paddles)
            if point > points:
                x, y = x + vx * left, y + vy * left
                break
            on = left * point / points
            x, y = x + vx * on, y + vy * on
            towards = vx * nx + vy * ny
            if towards < 0:
                vx, vy = vx - 2 * towards * nx, vy - 2 * towards * ny
            else:
                speed = math.hypot(vx, vy)
                vx, vy = nx * speed, ny * speed
            vx, vy = vx * self.bounce, vy * (self.paddle_bounce if what == PADDLE else self.bounce)
            x, y = x + self.push * left * vx, y + self.push * left * vy
            left -= on
            if what >= 0:
                hits.add(what)
            if 1 - left >= self.path_enough:
                break
        return (x, vx * self.drag, y, (vy - self.gravity) * self.drag), hits

    @cached_property
    def _slope(self) -> tuple[float, float, float]:
        """The upward normal (x, y) of the left slope, and its length."""
        length = math.hypot(self.triangle_border_size, self.triangle_width)
        return self.triangle_border_size / length, self.triangle_width / length, length

    @cached_property
    def _left_bumpers(self) -> tuple[tuple[float, float, int, int], ...]:
        """Centres of the bumpers that are not right of the middle, each with its index and its mirror image's."""
        (left, low), middle, _, (_, high), _ = self.bumpers
        return (left, low, 0, 2), (*middle, 1, 1), (left, high, 3, 4)

    def _nearest(self, x: float, y: float, paddles: Sequence[float]) -> tuple[float, float, float, int]:
        """How far a place is from the nearest thing, that thing's normal there (x, y), and what it is.

        The table is the same on both sides but for the paddles, and in either half its own things are the nearest: the
        right half is looked at in a mirror.
        """
        middle = self.resolution / 2
        mirrored = x > middle
        if mirrored:
            x = self.resolution - x
        wall = self.border_size
        found = (x - wall, 1.0, 0.0, WALL)
        if self.resolution - wall - y < found[0]:
            found = self.resolution - wall - y, 0.0, -1.0, WALL
        # The block, its slope and the paddles are below; nothing of them is nearer than their greatest height.
        top = self.triangle_border_offset + self.triangle_border_size
        if y - top < found[0]:
            nx, ny, length = self._slope
            away, along = (x - wall) * nx + (y - top) * ny, (x - wall) * ny - (y - top) * nx
            if along < length and away < found[0]:
                found = away, nx, ny, WALL
            pit = wall + self.triangle_width
            side = _from_rectangle(x, y, wall, pit, self.triangle_border_offset)
            if side[0] < found[0]:
                found = *side, WALL
            if y - self.paddle_y_pos_max < found[0]:
                own, other = reversed(paddles) if mirrored else paddles
                for left, right, height in ((pit, middle, own), (middle, self.resolution - pit, other)):
                    side = _from_rectangle(x, y, left, right, height)
                    if side[0] < found[0]:
                        found = *side, PADDLE
        for bumper_x, bumper_y, index, image in self._left_bumpers:
            centre = math.hypot(x - bumper_x, y - bumper_y)
            if centre - self.cyl_radius < found[0]:
                normal = (x - bumper_x) / centre, (y - bumper_y) / centre
                found = centre - self.cyl_radius, *normal, image if mirrored else index
        return (found[0], -found[1], *found[2:]) if mirrored else found

    # What is drawn alone

    def independent(self, count: int, rng: np.random.Generator) -> Array:
        """States float32 [count, 12], everything drawn by itself; the ball above the paddles and clear of everything.

        The right paddle is at a whole number from 2 to 5, as it is published.
        """
        low, high = self.border_size + self.ball_radius, self.resolution - self.border_size - self.ball_radius
        places = np.empty((count, 2))
        missing = np.arange(count)
        while len(missing):
            places[missing, 0] = rng.uniform(low, high, len(missing))
            places[missing, 1] = rng.uniform(self.triangle_border_offset, high, len(missing))
            lowest = [self.paddle_y_pos_min] * 2
            clear = [self._nearest(x, y, lowest)[0] >= self.ball_radius for x, y in places[missing].tolist()]
            missing = missing[~np.array(clear)]
        velocity = rng.uniform(-3, 3, (count, 2))
        columns = [
            places[:, :1], velocity[:, :1], places[:, 1:], velocity[:, 1:],
            rng.integers(0, 11, (count, 5)) / 10,
            rng.uniform(self.paddle_y_pos_min, self.paddle_y_pos_max, (count, 1)),
            rng.integers(int(self.paddle_y_pos_min), int(self.paddle_y_pos_max), (count, 1)),
            rng.integers(0, self.max_score, (count, 1)),
        ]  # fmt: skip
        return np.concatenate(columns, axis=1).astype(np.float32)

    # What it looks like

    def render(self, latents: Array) -> Array:
        """Draw states.

        Args:
            latents: [n, 12].

        Returns:
            uint8 [n, 64, 64, 4]: the table in red, green and blue; and white with a black disc whose place from the
            middle is the ball's velocity.
        """
        return in_chunks(self, latents, self._draw)

    def _draw(self, latents: Array, frames: Array) -> None:
        draw(
            self,
            frames,
            ball=latents[:, :BUMPERS].T,
            activities=latents[:, BUMPERS:PADDLES],
            heights=latents[:, PADDLES:SCORE],
            scores=latents[:, SCORE],
        )


def _where_set(values: Sequence[float], drawn: Sequence[float]) -> list[float]:
    """The values that are set, and those that were drawn where they are NaN."""
    return [one if math.isnan(value) else value for value, one in zip(values, drawn, strict=True)]


def _between(limits: tuple[float, float], draw: float) -> float:
    """The number at this share of the way from the first limit to the second."""
    return limits[0] + (limits[1] - limits[0]) * draw


def _from_rectangle(x: float, y: float, left: float, right: float, top: float) -> tuple[float, float, float]:
    """How far a place is from the sides of a rectangle that stands on y = 0, and the normal (x, y) there.

    Outside of a corner the normal is the diagonal. Inside, it is that of the nearest side, outwards: a paddle that rose
    around the ball does not hold it.
    """
    across = left - x if x < left else max(0.0, x - right)
    up = -y if y < 0 else max(0.0, y - top)
    nx, ny = (-1.0 if x < left else 1.0), (-1.0 if y < 0 else 1.0)
    if across and up:
        return math.hypot(across, up), nx * math.sqrt(0.5), ny * math.sqrt(0.5)
    if across:
        return across, nx, 0.0
    if up:
        return up, 0.0, ny
    return min((x - left, -1.0, 0.0), (right - x, 1.0, 0.0), (y, 0.0, -1.0), (top - y, 0.0, 1.0))
