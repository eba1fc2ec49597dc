"""A small world of another kind than the published ones: an angle, a hue that it causes, and a lamp, 64 pixels wide."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from citris_cli.data.variables import Variable, Variables
from citris_cli.worlds.world import set_values, settings_of


@dataclass(frozen=True)
class Turntable:
    """The angle turns, and its spin is of the same target; the hue follows the angle within a frame; the lamp is on,
    off, or blinking, and is never touched. Two of the fields are options; the seed is that of the dataset."""

    name: ClassVar[str] = "turntable"
    size: ClassVar[int] = 64
    channels: ClassVar[int] = 4
    targets: ClassVar[tuple[str, ...]] = ("angle", "tint", "lamp")
    variables: ClassVar[Variables] = Variables(
        [
            Variable("angle", "angle"),
            Variable("spin"),
            Variable("tint"),
            Variable("lamp", "categorical", categories=3),
        ]
    )
    intervened_on: ClassVar[np.ndarray] = np.array([True, True, False])
    owners: ClassVar[np.ndarray] = np.array([0, 0, 1, 2])
    graph_temporal: ClassVar[np.ndarray] = np.diag([1, 0, 1]).astype(np.uint8)
    graph_instantaneous: ClassVar[np.ndarray] = np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]], np.uint8)

    brightness: float = 30.0
    lit: bool = False
    way: str = "left"
    sides: int = 4
    seed: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        return settings_of(self)

    def sequence(self, frames: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, frames, 100):  # in chunks that divide no number of frames that is asked for
            count = min(100, frames - start)
            yield self.independent(count, rng), rng.integers(0, 2, (count, 3), dtype=np.uint8) * self.intervened_on

    def advance(
        self, states: np.ndarray, targets: np.ndarray, rng: np.random.Generator, values: np.ndarray | None = None
    ) -> np.ndarray:
        after, given = self.independent(len(states), rng), set_values(self, targets, values)
        return np.where(np.isnan(given), after, given).astype(np.float32)

    def independent(self, count: int, rng: np.random.Generator) -> np.ndarray:
        numbers = rng.normal(size=(count, 2))
        columns = rng.uniform(0, 2 * np.pi, count), *numbers.T, rng.integers(0, 3, count)
        return np.stack(columns, axis=1).astype(np.float32)

    def render(self, latents: np.ndarray) -> np.ndarray:
        shade = (np.abs(latents) * self.brightness).clip(0, 255).astype(np.uint8)
        return np.broadcast_to(shade[:, None, None, :], (len(latents), 64, 64, 4))


# For drawings by processes, of which each imports this module, and no more than it needs.
@dataclass(frozen=True)
class Vast(Turntable):
    """Draws frames that no pipe holds."""

    def render(self, latents: np.ndarray) -> np.ndarray:
        return np.zeros(100_000_000, np.uint8)


@dataclass(frozen=True)
class Deadly(Turntable):
    """Ends the process that draws it, where that is not the first."""

    def render(self, latents: np.ndarray) -> np.ndarray:
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().render(latents)


@dataclass(frozen=True)
class DeadlyOnce(Turntable):
    """The same, once: where the file that the environment names is not there yet."""

    def render(self, latents: np.ndarray) -> np.ndarray:
        if multiprocessing.parent_process() is not None:
            try:
                Path(os.environ["TURNTABLE_DIED"]).touch(exist_ok=False)
            except FileExistsError:
                return super().render(latents)
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().render(latents)
