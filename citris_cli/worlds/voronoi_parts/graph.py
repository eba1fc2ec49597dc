"""A random graph over the variables: effects within a frame along a random order, and from one frame to the next."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from citris_cli.worlds.world import Array

GRAPHS = ("random", "chain", "full")
#: How often a variable's temporal parents are drawn until there are enough of them.
DRAWS = 10_000


class Graph:
    """Who acts on whom.

    Attributes:
        order: the K variables, causes within a frame before effects.
        before: uint8 [K, K], causes in the previous frame; [i, j] is 1 where i acts on j.
        within: uint8 [K, K], causes in the same frame.
    """

    def __init__(self, order: list[int], before: Array, within: Array) -> None:
        self.order, self.before, self.within = order, before, within

    @cached_property
    def parents(self) -> Array:
        """Bool [K, 2K]: of each variable, the causes in the previous frame, and those in its own."""
        found: Array = np.concatenate([self.before, self.within]).T == 1
        return found

    @cached_property
    def orphans(self) -> Array:
        """Bool [K]: variables without any cause."""
        found: Array = np.logical_not(self.parents.any(1))
        return found

    @cached_property
    def rows(self) -> list[Array]:
        """The variables in the order in which they are computed, those that can be at once together."""
        depth = [0] * len(self.order)
        for child in self.order:
            depth[child] = max((depth[parent] + 1 for parent in np.flatnonzero(self.within[:, child])), default=0)
        return [np.flatnonzero(np.array(depth) == row) for row in range(max(depth) + 1)]


def random_graph(order: list[int], kind: str, instantaneous: float, temporal: float, rng: np.random.Generator) -> Graph:
    """Draw a graph.

    Args:
        order: the variables.
        kind: of the effects within a frame, one of :data:`GRAPHS`.
        instantaneous: probability of each of them in a random graph.
        temporal: probability of each effect from one frame to the next. A variable has at least one such cause, or two
            where this is a half or more; none where it is 0.
        rng: source of randomness.
    """
    count = len(order)
    within = np.zeros((count, count), np.uint8)
    for place, child in enumerate(order):
        for distance, parent in enumerate(reversed(order[:place])):
            drawn = rng.random() < instantaneous
            within[parent, child] = {"random": drawn, "chain": distance == 0, "full": True}[kind]
    before = np.zeros((count, count), np.uint8)
    fewest = (temporal > 0) + (temporal >= 0.5)
    for child in range(count):
        for _ in range(DRAWS):
            before[:, child] = rng.random(count) < temporal
            if before[:, child].sum() >= fewest:
                break
        else:  # so rare are they that there would hardly ever be two
            before[rng.integers(count), child] = 1
    return Graph(order, before, within)
