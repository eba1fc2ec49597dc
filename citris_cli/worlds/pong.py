"""Interventional Pong: a ball between two paddles that follow it, with imperfect interventions on the paddles.

The second benchmark of CITRIS (Lippe et al., 2022, section 6.3). Lengths are in pixels, y upwards, times in steps.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from citris_cli.data.columns import PONG
from citris_cli.data.variables import Variables
from citris_cli.worlds.antialiasing import blend, disc_cover, window_of
from citris_cli.worlds.digits import digit
from citris_cli.worlds.world import Array, graph_of, in_chunks, set_values, settings_of

#: Steps whose random numbers are drawn at once; another number would change the sequence of a seed.
CHUNK = 4096
#: Cover of the outermost pixels of every frame by the black border of Matplotlib's axes, which is thinner than a pixel.
RIM = 1
#: The columns of a state.
DIRECTION, SPEED, X, Y, LEFT, RIGHT, SCORE_LEFT, SCORE_RIGHT = range(8)
#: The columns that interventions reach, in the order in which one of them is chosen.
REACHED = (DIRECTION, X, Y, LEFT, RIGHT)


class Draws(NamedTuple):
    """The random numbers of one step; those that are not needed are not used.

    Attributes:
        noise: standard normal, of the ball's direction, x and y, and of the paddles.
        serve: uniform in [0, 1): the direction, left paddle and right paddle after a point.
        set_to: uniform in [0, 1): what an intervention sets the direction, x and y to, and which way it sends a paddle.
    """

    noise: Sequence[float]
    serve: Sequence[float]
    set_to: Sequence[float]


@dataclass(frozen=True)
class Pong:
    """The world's constants; the defaults are the published ones.

    A state is the ball's direction φ (0 is up, π/2 to the right), its speed, the x and y of its centre, the y of the
    left and of the right paddle's centre, and the two scores. See :class:`~citris_cli.worlds.world.World` for what
    every world has.

    Attributes:
        resolution: width and height of the field.
        border_size: thickness of the walls.
        paddle_height, paddle_width: of each paddle.
        paddle_left_x, paddle_right_x: of their centres.
        paddle_y_min, paddle_y_max: lowest and highest centre of a paddle.
        paddle_max_step: how far a paddle follows the ball in a step, and how far an intervention sends it.
        paddle_step_noise: standard deviation of what is added to that.
        paddle_serve: least and greatest y of a paddle after a point.
        ball_radius, ball_speed: of the ball.
        ball_x_noise, ball_y_noise, ball_vel_dir_noise: standard deviations of what is added to each in a step.
        ball_x_min_sample, ball_x_max_sample: where an intervention sets the ball.
        max_points: with so many the game is over, and both scores are 0 again.
        intv_prob: one variable is intervened on in a step, with the probability that one of five would be if each
            were with this one.
    """

    name: ClassVar[str] = "pong"
    channels: ClassVar[int] = 4
    variables: ClassVar[Variables] = PONG
    targets: ClassVar[tuple[str, ...]] = PONG.names

    resolution: int = 32
    border_size: int = 2
    paddle_height: float = 6
    paddle_width: int = 2
    paddle_left_x: int = 5
    paddle_right_x: int = 27
    paddle_y_min: float = 2
    paddle_y_max: float = 30
    paddle_max_step: float = 1.5
    paddle_step_noise: float = 0.5
    paddle_serve: tuple[float, float] = (4, 28)
    ball_radius: float = 1.2
    ball_speed: float = 2
    ball_x_noise: float = 0.2
    ball_y_noise: float = 0.2
    ball_vel_dir_noise: float = 0.1
    ball_x_min_sample: float = 7.2
    ball_x_max_sample: float = 24.8
    max_points: int = 5
    intv_prob: float = 0.15

    @property
    def size(self) -> int:
        """Width and height of the frames in pixels."""
        return self.resolution

    @property
    def intervened_on(self) -> Array:
        """Bool [8]: the ball's direction, x and y, and the paddles; never its speed, never the scores."""
        return np.isin(np.arange(8), REACHED)

    @property
    def owners(self) -> Array:
        """Int64 [8]: every true value has a target of its own."""
        return np.arange(8)

    @property
    def graph_temporal(self) -> Array:
        """Uint8 [8, 8]. Whether a point is scored follows from where the ball goes in x, and changes all but the speed.

        A paddle acts on the ball that meets it: on its direction and on its x, which also follow from its y therefore.
        """
        way = ("ball_vel_dir", "ball_vel_magn", "ball_x")
        ball = (*way, "ball_y", "paddle_left_y", "paddle_right_y")
        scores = (*way, "score_left", "score_right")
        return graph_of(
            self.targets,
            {
                "ball_vel_magn": ("ball_vel_magn",),
                "ball_vel_dir": ball,
                "ball_x": ball,
                "ball_y": (*way, "ball_y"),
                "paddle_left_y": (*way, "ball_y", "paddle_left_y"),
                "paddle_right_y": (*way, "ball_y", "paddle_right_y"),
                "score_left": scores,
                "score_right": scores,
            },
        )

    @property
    def graph_instantaneous(self) -> Array:
        """Uint8 [8, 8], zeros: all follows from the previous frame."""
        return graph_of(self.targets, {})

    @property
    def settings(self) -> dict[str, Any]:
        """The constants."""
        return settings_of(self)

    @cached_property
    def ball_range(self) -> tuple[float, float]:
        """Lowest and highest y of the ball, which are also the x beyond which a point is scored."""
        low = self.border_size + self.ball_radius
        return low, self.resolution - low

    # What happens

    def sequence(self, frames: int, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        """One sequence in chunks; at most one variable is intervened on in a step. See :meth:`World.sequence`."""
        state: Sequence[float] = self.independent(1, rng)[0].tolist()
        none = (1 - self.intv_prob) ** len(REACHED)
        for start in range(0, frames, CHUNK):
            count = min(CHUNK, frames - start)
            # Always as many draws: a longer sequence begins as a shorter one does.
            reached = np.array(REACHED)[rng.integers(0, len(REACHED), CHUNK)]
            chosen = np.where(rng.random(CHUNK) < none, -1, reached)
            draws = [rng.standard_normal((CHUNK, 5)), rng.random((CHUNK, 3)), rng.random((CHUNK, 4))]
            latents = np.empty((count, 8), np.float32)
            rows = zip(chosen[:count].tolist(), *(draw[:count].tolist() for draw in draws), strict=True)
            for index, (target, *drawn) in enumerate(rows):
                latents[index] = state
                state = self.step(state, (target,), Draws(*drawn))
            yield latents, (chosen[:count, None] == np.arange(8)).astype(np.uint8)

    def advance(self, states: Array, targets: Array, rng: np.random.Generator, values: Array | None = None) -> Array:
        """One step of each state; all acts by the previous frame. See :meth:`World.advance`."""
        count = len(states)
        draws = zip(rng.standard_normal((count, 5)), rng.random((count, 3)), rng.random((count, 4)), strict=True)
        rows = zip(states.tolist(), targets, draws, strict=True)
        after = [self.step(one, np.flatnonzero(reached).tolist(), Draws(*drawn)) for one, reached, drawn in rows]
        given = set_values(self, targets, values)
        return np.where(np.isnan(given), np.array(after).reshape(count, 8), given).astype(np.float32)

    def step(self, state: Sequence[float], targets: Container[int], draws: Draws) -> list[float]:
        """The next state.

        Args:
            state: the 8 values of this frame.
            targets: the columns that are intervened on.
            draws: the step's random numbers.

        Returns:
            The 8 values of the next frame.
        """
        direction, speed, x, y, left, right, score_left, score_right = state
        low, high = self.ball_range
        noise_direction, noise_x, noise_y, noise_left, noise_right = draws.noise
        away = self.paddle_max_step * (1 if draws.set_to[3] < 0.5 else -1)
        next_x = x + speed * math.sin(direction)
        if next_x < low or next_x > high:
            score_left, score_right = self._scores(score_left, score_right, next_x > high)
            next_x = y = self.resolution / 2
            direction = 2 * math.pi * draws.serve[0]
            lefts, rights = (_between(self.paddle_serve, draw) for draw in draws.serve[1:])
        else:
            lefts, rights = (
                paddle
                + (away if column in targets else self._followed(paddle, y))
                + self.paddle_step_noise * paddle_noise
                for column, paddle, paddle_noise in ((LEFT, left, noise_left), (RIGHT, right, noise_right))
            )
            y += speed * math.cos(direction)
            if y < low or y > high:
                y = 2 * (high if y > high else low) - y
                direction = math.pi - direction
            for paddle_x, paddle_y, side in ((self.paddle_left_x, left, 1), (self.paddle_right_x, right, -1)):
                reach = side * (next_x - paddle_x)  # of the ball's centre before the paddle's
                half = self.paddle_width / 2
                if -half <= reach < half + self.ball_radius and abs(y - paddle_y) <= self.paddle_height / 2:
                    next_x = paddle_x + side * (2 * (half + self.ball_radius) - reach)
                    direction = -direction
            next_x += self.ball_x_noise * noise_x
            y += self.ball_y_noise * noise_y
            direction += self.ball_vel_dir_noise * noise_direction
        if DIRECTION in targets:
            direction = 2 * math.pi * draws.set_to[0]
        if X in targets:
            next_x = _between((self.ball_x_min_sample, self.ball_x_max_sample), draws.set_to[1])
        if Y in targets:
            y = _between(self.ball_range, draws.set_to[2])
        return [
            direction % (2 * math.pi),
            speed,
            _limited(next_x, self.border_size, self.resolution - self.border_size),
            _limited(y, low, high),
            _limited(lefts, self.paddle_y_min, self.paddle_y_max),
            _limited(rights, self.paddle_y_min, self.paddle_y_max),
            score_left,
            score_right,
        ]

    def _followed(self, paddle: float, ball: float) -> float:
        """How far a paddle follows the ball's height."""
        return _limited(ball - paddle, -self.paddle_max_step, self.paddle_max_step)

    def _scores(self, left: float, right: float, of_left: bool) -> tuple[float, float]:
        """The scores after a point."""
        left, right = (left + 1, right) if of_left else (left, right + 1)
        return (left, right) if max(left, right) < self.max_points else (0, 0)

    # What is drawn alone

    def independent(self, count: int, rng: np.random.Generator) -> Array:
        """States float32 [count, 8], every factor uniform by itself; the speed is what it always is."""
        columns = [
            rng.uniform(0, 2 * np.pi, count),
            np.full(count, self.ball_speed),
            rng.uniform(self.ball_x_min_sample, self.ball_x_max_sample, count),
            rng.uniform(*self.ball_range, count),
            *rng.uniform(self.paddle_y_min, self.paddle_y_max, (2, count)),
            *rng.integers(0, self.max_points, (2, count)),
        ]
        return np.stack(columns, axis=1).astype(np.float32)

    # What it looks like

    def render(self, latents: Array) -> Array:
        """Draw states.

        Args:
            latents: [n, 8].

        Returns:
            uint8 [n, 32, 32, 4]: the field in red, green and blue; and white with a black ball where this one would be
            a step later, if nothing were in its way.
        """
        return in_chunks(self, latents, self._draw)

    def _draw(self, latents: Array, frames: Array) -> None:
        scores = np.rint(latents[:, SCORE_LEFT:]).astype(int) % self.max_points
        frames[:] = self._fields[scores[:, 0], scores[:, 1]]
        inside = slice(self.border_size, self.size - self.border_size)
        rows, ground = np.arange(self.size)[inside], np.array(_level(0.9))
        blue, green = (0, 0, 255), (0, 128, 0)
        for column, centre, colour in ((LEFT, self.paddle_left_x, blue), (RIGHT, self.paddle_right_x, green)):
            top = (self.size - latents[:, column] - np.float32(self.paddle_height / 2))[:, None]
            share = np.minimum(top + np.float32(self.paddle_height), rows + 1) - np.maximum(top, rows)
            cover = np.clip(share * 256 + np.float32(1e-3), 0, 255).astype(np.int32)
            left = centre - self.paddle_width // 2
            wide = slice(left, left + self.paddle_width)
            for channel, level in enumerate(colour):
                frames[:, inside, wide, channel] = blend(ground, level, cover)[:, :, None]
        direction, speed, x, y = latents[:, :LEFT].T
        self._disc(frames[..., :3], x, y, np.array([255, 0, 0]))
        self._disc(frames[..., 3:], x + speed * np.sin(direction), y + speed * np.cos(direction), 0)

    def _disc(self, frames: Array, x: Array, y: Array, colour: Array | int) -> None:
        """A disc of the ball's size over each frame."""
        down = self.size - y
        top, left, window = window_of(x, down, self.ball_radius, self.size)
        cover = disc_cover(x, down, self.ball_radius, top, left, window)[..., None]
        span = np.arange(window)
        at = np.arange(len(x))[:, None, None], (top[:, None] + span)[:, :, None], (left[:, None] + span)[:, None, :]
        frames[at] = blend(frames[at], colour, cover)

    @cached_property
    def _fields(self) -> Array:
        """What does not move, by the scores: uint8 [max_points, max_points, size, size, 4]."""
        size, border = self.size, self.border_size
        field = np.full((size, size), _level(0.9))
        field[:border] = field[-border:] = field[:, :border] = field[:, -border:] = _level(0.1)
        grey = _level(0.5)
        field[[size - 28, size - 26], 16] = grey  # the colon
        fields = np.full((self.max_points, self.max_points, size, size, 4), 255)
        for left, right in np.ndindex(self.max_points, self.max_points):
            shown = field.copy()
            for number, column in ((left, 12), (right, 18)):
                shown[size - 29 : size - 24, column : column + 3][digit(number)] = grey
            fields[left, right, ..., :3] = shown[..., None]
        for rim in (np.s_[..., 0, :, :], np.s_[..., -1, :, :], np.s_[..., 0, :], np.s_[..., -1, :]):
            fields[rim] = blend(fields[rim], 0, np.array(RIM))
        return fields.astype(np.uint8)


def _between(limits: tuple[float, float], draw: float) -> float:
    """The number at this share of the way from the first limit to the second."""
    return limits[0] + (limits[1] - limits[0]) * draw


def _limited(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _level(share: float) -> int:
    """A colour's share of one as Matplotlib writes it, 0 … 255."""
    return int(share * 255 + 0.5)
