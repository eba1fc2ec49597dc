"""What every simulated world can tell and do. Letters: N frames, K variables, W the frame width in pixels."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from citris_cli.data.variables import Variables

Array = np.ndarray[Any, Any]


class World(Protocol):
    """A system of K variables that changes in discrete steps, is intervened on, and can be drawn.

    A state of the world is its K latents: float32, one a variable in the order of `variables`; in the unit that the
    world documents for a continuous variable, radians for an angle, 0, 1, 2, … for a categorical one. Everything
    random comes from the generator that is passed in: the same generator state gives the same arrays.
    """

    @property
    def name(self) -> str:
        """What the world is called on the command line, in lower case with dashes."""

    @property
    def size(self) -> int:
        """W, the width and height of its frames in pixels, one of :data:`~citris_cli.core.config.WIDTHS`."""

    @property
    def variables(self) -> Variables:
        """The K variables with their kinds, and their ranges where they are bounded."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the K columns as the world's published files spell them."""

    @property
    def intervened_on(self) -> Array:
        """Bool [K]: which variables interventions target at all."""

    @property
    def graph_temporal(self) -> Array:
        """The true causes from one frame to the next: uint8 [K, K].

        Entry [i, j] is 1 iff variable i at time t is a cause of variable j at time t+1, in a step without intervention.
        """

    @property
    def graph_instantaneous(self) -> Array:
        """The true causes within a frame: uint8 [K, K].

        Entry [i, j] is 1 iff variable i at time t is a cause of variable j at that time; the diagonal is 0.
        """

    def simulate(self, frames: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """One sequence with interventions.

        Args:
            frames: the number of frames N, at least 2.
            rng: source of all randomness.

        Returns:
            Latents float32 [N, K], and intervention targets uint8 [N-1, K] of 0 and 1; row i of the targets belongs to
            the step from frame i to frame i+1.
        """

    def independent(self, count: int, rng: np.random.Generator) -> Array:
        """Latents float32 [count, K] of states that are drawn independently, every variable by itself."""

    def triplets(self, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Pairs of independent states, and states that combine the two.

        Returns:
            Latents float32 [count, 3, K] (image, variable), and mask int64 [count, K]: 1 where the third image's
            variable is that of the second, 0 where it is that of the first. At least one in every row is 1; variables
            that are never intervened on are 0.
        """

    def render(self, latents: Array) -> Array:
        """Draw states: latents [..., K] to frames uint8 [..., W, W, 3], RGB 0…255. Nothing about it is random."""
