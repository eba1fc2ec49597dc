"""Ball-in-Boxes: a ball moves in one of two boxes; an intervention moves it to the other box, or redraws its height.

The minimal example of CITRIS (Lippe et al., 2022, section 6.2): what an intervention on ``box`` tells is the box alone,
so the ball's place inside the box must stay out of that variable, although both move the ball sideways.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from citris_cli.data.variables import Variable, Variables
from citris_cli.worlds.world import Array

#: Published names of the columns: place inside the box, height, which box.
KEYS = ("ball_x", "ball_y", "ball_b")


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
    keys: ClassVar[tuple[str, ...]] = KEYS

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
                Variable("box", "categorical", categories=2),
            ]
        )

    @property
    def intervened_on(self) -> Array:
        """Bool [3]: the place inside the box never, its height and the box."""
        return np.array([False, True, True])

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

    def simulate(self, frames: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """One sequence; at most one variable is intervened on in a step.

        Args:
            frames: number of frames N.
            rng: source of randomness.

        Returns:
            Latents float32 [N, 3] (inner x and y in pixels, box 0 or 1) and targets uint8 [N-1, 3], both in the order
            of :data:`KEYS`; row i of the targets leads from frame i to i+1.
        """
        steps = rng.normal(scale=self.step, size=(frames, 2))
        free = (1 - self.probability) ** 2
        choice = np.where(rng.random(frames) < free, 0, rng.integers(1, 3, frames))  # 0 none, 1 ball_y, 2 box
        redrawn = rng.uniform(*self.y_range, size=frames)
        start = self._uniform(1, rng)[0]
        latents = np.empty((frames, 3), np.float32)
        x, y, box = float(start[0]), float(start[1]), int(start[2])
        (x_low, x_high), (y_low, y_high) = self.x_range, self.y_range
        latents[0] = x, y, box
        for i in range(1, frames):  # clamped walks are sequential; everything random was drawn above at once
            x = min(max(x + steps[i, 0], x_low), x_high)
            y = redrawn[i] if choice[i] == 1 else min(max(y + steps[i, 1], y_low), y_high)
            box = 1 - box if choice[i] == 2 else box
            latents[i] = x, y, box
        targets = np.stack([np.zeros(frames - 1), choice[1:] == 1, choice[1:] == 2], axis=1).astype(np.uint8)
        return latents, targets

    def _uniform(self, count: int, rng: np.random.Generator) -> Array:
        columns = rng.uniform(*self.x_range, count), rng.uniform(*self.y_range, count), rng.integers(0, 2, count)
        return np.stack(columns, axis=1).astype(np.float32)

    def independent(self, count: int, rng: np.random.Generator) -> Array:
        """Latents [count, 3] drawn uniformly and independently."""
        return self._uniform(count, rng)

    def triplets(self, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Pairs of independent states and their recombination.

        Returns:
            Latents float32 [count, 3, 3] (image, factor) and mask int64 [count, 3]: 1 where the third image's factor
            comes from the second. Inner x is never intervened on and always comes from the first; at least one of
            the others comes from the second.
        """
        first, second = self._uniform(count, rng), self._uniform(count, rng)
        which = rng.integers(1, 4, count)
        mask = np.stack([np.zeros(count), which & 1, which >> 1], axis=1).astype(np.int64)
        return np.stack([first, second, np.where(mask == 1, second, first)], axis=1), mask

    def render(self, latents: Array) -> Array:
        """Draw states, the ball anti-aliased at its place between the pixels.

        Args:
            latents: [..., 3], inner x and y in pixels, box 0 or 1.

        Returns:
            uint8 [..., size, size, 3].
        """
        flat = np.asarray(latents, dtype=np.float32).reshape(-1, 3)
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
        return frames.reshape(*np.shape(latents)[:-1], self.size, self.size, 3)

    def _empty(self) -> Array:
        frame = np.empty((self.size, self.size, 3), np.uint8)
        frame[:] = self.wall
        for left in (0, self.size // 2):
            inside = slice(self.border, self.size - self.border)
            frame[inside, left + self.border : left + self.size // 2 - self.border] = self.background
        return frame
