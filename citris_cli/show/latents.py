"""Frames of a sequence with their causal latents, grouped by variable: what the pictures and the page show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from citris_cli.data.variables import REST
from citris_cli.show.colours import GREY_DARK, GREY_LIGHT, variable_colours
from citris_cli.show.panels import panels


@dataclass(frozen=True)
class Group:
    """The latents of one variable, or those of psi(0).

    Attributes:
        name: of the variable, or :data:`~citris_cli.data.variables.REST`.
        latents: their numbers 0 … M-1; empty where the model gave the variable none.
        light, dark: ``#rrggbb`` on a light and on a dark background.
    """

    name: str
    latents: tuple[int, ...]
    light: str
    dark: str


def latent_groups(names: Sequence[str], assignment: np.ndarray[Any, Any]) -> tuple[Group, ...]:
    """The groups of all latents: one a variable, in the model's order, and psi(0) last.

    Args:
        names: of the K variables.
        assignment: int [M], the variable of every latent, K for psi(0).
    """
    colours = [*variable_colours(len(names)), (GREY_LIGHT, GREY_DARK)]
    return tuple(
        Group(name, tuple(np.flatnonzero(assignment == index).tolist()), *colours[index])
        for index, name in enumerate((*names, REST))
    )


@dataclass(frozen=True, eq=False)
class LatentSequence:
    """What is shown.

    Attributes:
        title: what the sequence is called.
        source: what the model is called that the latents come from.
        images: frames uint8 [N, W, W, C].
        first: number of the first of them in its dataset, from 0.
        z: causal latents float32 [N, M], finite.
        groups: of the latents; the last is psi(0).
        intervened: for every frame the names of what was intervened on in the step that led into it, also of what is
            no variable of the model; None where no step did, and for all frames where nothing is known of the steps.
        spread: least and greatest value of every latent [2, N, M], where there are several of each frame and z is
            their mean; else None.
        tiles: how many sequences stand side by side in the images; see :func:`citris_cli.show.panels.tiled`.
        legend: a line on what they are, below the frame; "" for none.
    """

    title: str
    source: str
    images: np.ndarray[Any, Any]
    first: int
    z: np.ndarray[Any, Any]
    groups: tuple[Group, ...]
    intervened: tuple[tuple[str, ...] | None, ...]
    spread: np.ndarray[Any, Any] | None = None
    tiles: int = 1
    legend: str = ""

    @cached_property
    def pictures(self) -> np.ndarray[Any, Any]:
        """The frames as RGB pictures uint8 [N, P W, W, 3]; see :func:`citris_cli.show.panels.panels`."""
        return panels(self.images)

    @cached_property
    def limits(self) -> tuple[float, float]:
        """Ends of the axis that all bars share: the least and the greatest value of the whole sequence, and 0."""
        low, high = min(0.0, float(self.ranges.min())), max(0.0, float(self.ranges.max()))
        return (low, high) if low < high else (-1.0, 1.0)

    @cached_property
    def ranges(self) -> np.ndarray[Any, Any]:
        """Least and greatest value of every latent over the sequence: float32 [2, M]."""
        least, most = (self.z, self.z) if self.spread is None else self.spread
        return np.stack([least.min(0), most.max(0)])

    @property
    def names(self) -> list[str]:
        """Every name that stands in a picture: of the groups, and of what else was intervened on."""
        happened = (name for step in self.intervened for name in step or ())
        return list(dict.fromkeys([*(group.name for group in self.groups), *happened]))

    def marked(self, frame: int) -> list[int]:
        """Positions of the groups that were intervened on in the step that led into a frame (0 … N-1)."""
        names = self.intervened[frame] or ()
        # psi(0), the last, stands for no variable, whatever a variable may be called.
        return [index for index, group in enumerate(self.groups[:-1]) if group.name in names]

    def caption(self, frame: int) -> str:
        """The interventions of the step that led into a frame (0 … N-1), in words."""
        names = self.intervened[frame]
        if names is not None:
            return f"intervened on: {', '.join(names)}" if names else "no intervention"
        known = any(step is not None for step in self.intervened)
        return "start of a sequence" if known else "interventions not known"


def axis_ticks(low: float, high: float) -> list[float]:
    """Round values to label an axis with: three to nine multiples of 1, 2 or 5 times a power of ten.

    Args:
        low, high: ends of the axis, low < high.
    """
    rough = (high - low) / 8
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
