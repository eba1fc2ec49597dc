"""Ball-in-Boxes: a ball moves in one of two boxes; an intervention moves it to the other box, or redraws its height.

The minimal example of CITRIS (Lippe et al., 2022, section 6.2): what an intervention on ``box`` tells is the box alone,
so the ball's place inside the box must stay out of that variable, although both move the ball sideways.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from citris_cli.data.variables import Variable, Variables
from citris_cli.worlds.world import Array, set_values, settings_of

#: Published names of the columns: place inside the box, height, which box.
KEYS = ("ball_x", "ball_y", "ball_b")
#: Steps whose random numbers are drawn at once; another number would change the sequence of a seed.
_STEPS = 65_536


@dataclass(frozen=True)
class BallInBoxes:
    """The world's constants, lengths in pixels; the defaults are the published ones.

    Its variables are ``ball_x`` and ``ball_y``, the place of the ball's centre in pixels from the left side of its box
    and from the top, and ``box``, 0 for the left one and 1 for the right. See
    :class:`~citris_cli.worlds.world.World` for what every world has.

    Attributes:
        size: frame width and height; the boxes share it at the middle column.
        border: thickness of the border around each box.
        radius: of the ball.
        step: standard deviation of a step in x and in y.
        probability: of an intervention on each variable, one target at a time.
        background, wall, ball: colours, RGB 0 … 255.
    """

    name: ClassVar[str] = "ball-in-boxes"
    channels: ClassVar[int] = 3
    targets: ClassVar[tuple[str, ...]] = KEYS

    size: int = 32
    border: int = 2
    radius: float = 1.5
    step: float = 1.5
    probability: float = 0.2
    background: tuple[int, int, int] = (235, 235, 235)
    wall: tuple[int, int, int] = (45, 45, 60)
    ball: tuple[int, int, int] = (200, 40, 40)

    @property
    def x_range(self) -> tuple[float, float]:
        """Smallest and largest inner x of the ball's centre, from the left side of its box."""
        return self.border + self.radius, self.size / 2 - self.border - self.radius

    @property
    def y_range(self) -> tuple[float, float]:
        """Smallest and largest y of the ball's centre, from the top."""
        return self.border + self.radius, self.size - self.border - self.radius

    @property
    def variables(self) -> Variables:
        """The three variables; the range of the ball's place is that of its centre."""
        return Variables(
            [
                Variable("ball_x", low=self.x_range[0], high=self.x_range[1]),
                Variable("ball_y", low=self.y_range[0], high=self.y_range[1]),
                Variable("ball_b", "categorical", categories=2),
            ]
        )

    @property
    def intervened_on(self) -> Array:
        """Bool [3]: the place inside the box never, its height and the box."""
        return np.array([False, True, True])

    @property
    def owners(self) -> Array:
        """Int64 [3]: every true value has a target of its own."""
        return np.arange(3)

    @property
    def graph_temporal(self) -> Array:
        """Uint8 [3, 3], the identity: every variable walks, or stays, by itself.

        A wall of one box is where that of the other is, so that where the ball is held back does not depend on the box.
        """
        return np.eye(3, dtype=np.uint8)

    @property
    def graph_instantaneous(self) -> Array:
        """Uint8 [3, 3], zeros: no variable acts on another within a frame."""
        return np.zeros((3, 3), np.uint8)

    @property
    def settings(self) -> dict[str, Any]:
        """Its constants."""
        return settings_of(self)

    def sequence(self, frames: int, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        """One sequence; at most one variable is intervened on in a step. See :meth:`World.sequence`."""
        free = (1 - self.probability) ** 2
        (x_low, x_high), (y_low, y_high) = self.x_range, self.y_range
        state: tuple[float, ...] = ()
        for begin in range(0, frames, _STEPS):
            count = min(_STEPS, frames - begin)
            steps = rng.normal(scale=self.step, size=(count, 2))
            choice = np.where(rng.random(count) < free, 0, rng.integers(1, 3, count))  # 0 none, 1 ball_y, 2 box
            redrawn = rng.uniform(y_low, y_high, size=count)
            if not state:  # no step leads into the first frame
                state = tuple(self.independent(1, rng)[0].tolist())
                steps, choice, redrawn = steps[1:], choice[1:], redrawn[1:]
            latents = np.empty((len(steps), 3), np.float32)
            # Clamped walks are sequential; everything random was drawn above at once.
            rows = zip(steps.tolist(), choice.tolist(), redrawn.tolist(), strict=True)
            for i, ((dx, dy), chosen, drawn) in enumerate(rows):
                latents[i] = x, y, box = state
                x = min(max(x + dx, x_low), x_high)
                y = drawn if chosen == 1 else min(max(y + dy, y_low), y_high)
                state = x, y, 1 - box if chosen == 2 else box
            yield latents, np.stack([np.zeros(len(steps)), choice == 1, choice == 2], axis=1).astype(np.uint8)
        yield np.array([state], np.float32), np.zeros((1, 3), np.uint8)

    def advance(self, states: Array, targets: Array, rng: np.random.Generator, values: Array | None = None) -> Array:
        """One step of each state; no variable acts on another. See :meth:`World.advance`."""
        moved = states[:, :2] + rng.normal(scale=self.step, size=(len(states), 2))
        redrawn = rng.uniform(*self.y_range, size=len(states))
        after = np.stack(
            [
                moved[:, 0].clip(*self.x_range),
                np.where(targets[:, 1] == 1, redrawn, moved[:, 1].clip(*self.y_range)),
                np.where(targets[:, 2] == 1, 1 - states[:, 2], states[:, 2]),
            ],
            axis=1,
        )
        given = set_values(self, targets, values)
        return np.where(np.isnan(given), after, given).astype(np.float32)

    def independent(self, count: int, rng: np.random.Generator) -> Array:
        """Latents [count, 3] drawn uniformly and independently."""
        columns = rng.uniform(*self.x_range, count), rng.uniform(*self.y_range, count), rng.integers(0, 2, count)
        return np.stack(columns, axis=1).astype(np.float32)

    def render(self, latents: Array) -> Array:
        """Draw states, the ball anti-aliased at its place between the pixels.

        Args:
            latents: [n, 3], inner x and y in pixels, box 0 or 1.

        Returns:
            uint8 [n, size, size, 3].
        """
        flat = np.asarray(latents, dtype=np.float32)
        x = flat[:, 0] + flat[:, 2] * (self.size / 2)
        frames = np.broadcast_to(self._empty(), (len(flat), self.size, self.size, 3)).copy()
        # Only the pixels around the ball change: a window that holds it wherever it lies between pixels.
        reach = int(np.ceil(self.radius + 1))
        offsets = np.arange(-reach, reach + 1)
        columns = np.floor(x).astype(int)[:, None] + offsets
        rows = np.floor(flat[:, 1]).astype(int)[:, None] + offsets
        distance = np.hypot((columns + 0.5 - x[:, None])[:, None, :], (rows + 0.5 - flat[:, 1, None])[:, :, None])
        cover = np.clip(self.radius + 0.5 - distance, 0, 1)[..., None]
        index = np.arange(len(flat))[:, None, None]
        at = index, rows.clip(0, self.size - 1)[:, :, None], columns.clip(0, self.size - 1)[:, None, :]
        # Offsets beyond the frame are clipped onto its rim, which the ball never covers.
        frames[at] = np.rint(frames[at] * (1 - cover) + np.array(self.ball, np.float32) * cover).astype(np.uint8)
        return frames

    def _empty(self) -> Array:
        frame = np.empty((self.size, self.size, 3), np.uint8)
        frame[:] = self.wall
        for left in (0, self.size // 2):
            inside = slice(self.border, self.size - self.border)
            frame[inside, left + self.border : left + self.size // 2 - self.border] = self.background
        return frame
