"""A small world of another kind than the published one: an angle, a hue that it causes, and a lamp, 64 pixels wide."""

from __future__ import annotations

import numpy as np

from citris_cli.data.variables import Variable, Variables


class Turntable:
    """The angle turns; the hue follows it within a frame; the lamp is on, off, or blinking, and is never touched."""

    name = "turntable"
    size = 64
    keys = ("angle", "tint", "lamp")
    variables = Variables([Variable("angle", "angle"), Variable("tint"), Variable("lamp", "categorical", categories=3)])
    intervened_on = np.array([True, True, False])
    graph_temporal = np.diag([1, 0, 1]).astype(np.uint8)
    graph_instantaneous = np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]], np.uint8)

    def simulate(self, frames: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return self.independent(frames, rng), rng.integers(0, 2, (frames - 1, 3), dtype=np.uint8) * self.intervened_on

    def independent(self, count: int, rng: np.random.Generator) -> np.ndarray:
        columns = rng.uniform(0, 2 * np.pi, count), rng.normal(size=count), rng.integers(0, 3, count)
        return np.stack(columns, axis=1).astype(np.float32)

    def triplets(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        first, second = self.independent(count, rng), self.independent(count, rng)
        mask = np.tile(np.array([[1, 0, 0], [1, 1, 0]]), (count, 1))[:count]
        return np.stack([first, second, np.where(mask == 1, second, first)], axis=1), mask

    def render(self, latents: np.ndarray) -> np.ndarray:
        shade = (np.abs(latents) * 30).clip(0, 255).astype(np.uint8)
        return np.broadcast_to(shade[..., None, None, :], (*latents.shape[:-1], 64, 64, 3))
