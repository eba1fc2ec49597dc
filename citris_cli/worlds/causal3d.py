"""Temporal Causal3DIdent: an object under a coloured spot light, its place, rotation and colours tied to each other.

CITRIS (Lippe et al., 2022, section 6.3 and appendix C.1) and, with effects within a frame, iCITRIS (2023). Every
variable takes half a step towards a goal that the others set, then noise. How a state looks is another matter:
:mod:`citris_cli.worlds.causal3d_scene`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import atan2, cos, log2, pi, sin
from typing import Any, ClassVar

import numpy as np

from citris_cli.data.variables import CAUSAL3DIDENT, Variables
from citris_cli.errors import InputError
from citris_cli.worlds.world import Array, graph_of, set_values, settings_of

#: The columns that --coarse joins, and the others one by one; the material never changes and is nobody's.
COARSE = ("pos_o", "rot_o", "rot_s", "hue_o", "hue_s", "hue_b", "obj_s")
SHAPES = {"one": 1, "seven": 7}
SIZES = (64, 128, 256)
INTERVENTIONS = ("independent", "single", "grouped")

#: What sets the goal of each variable; its own last value is a cause as well.
CAUSES = {
    "pos_x": ("rot_beta",),
    "pos_y": ("rot_alpha",),
    "pos_z": ("rot_alpha",),
    "rot_alpha": ("hue_b",),
    "rot_beta": ("hue_o",),
    "rot_s": ("pos_x", "pos_y"),
    "hue_o": (),
    "hue_s": ("hue_b",),
    "hue_b": (),
}
#: The same with seven shapes, where the shape says which hue the object turns to.
CAUSES_OF_SHAPES = {**CAUSES, "hue_o": ("obj_s", "hue_s", "hue_b"), "obj_s": ()}
#: The hue that a shape turns to; None for the mean of the hues of spot light and ground, and for its opposite.
SHAPE_HUES = (0.0, 2 * pi / 5, None, 4 * pi / 5, None, 6 * pi / 5, 8 * pi / 5)
_MEAN, _OPPOSITE = 2, 4

# Columns of a state.
_X, _Y, _Z, _ALPHA, _BETA, _GAMMA, _SPOT, _OBJECT, _LIGHT, _GROUND, _SHAPE, _MATERIAL = range(12)
# Steps whose random numbers are drawn at once; another number would change the sequence of a seed.
_STEPS = 16_384


@dataclass(frozen=True)
class Causal3D:
    """The world's constants and options; the defaults are those of the teapot's dataset.

    Its true values are the twelve columns of the published files: x, y, z of the object, −2 … 2; its rotations α, β, γ
    (γ is 0); the angle of the spot light; the hues of object, spot light and ground; the shape, 0 the teapot and the
    others ours; the material, 0.

    Attributes:
        shapes: "one", the teapot, or "seven".
        coarse: whether x, y, z are intervened on as one, and the rotations.
        instantaneous: whether goals are set by the values of the same frame, so that causes act within it.
        interventions: "independent", each variable with :attr:`probability`; "single", at most one a step; "grouped",
            those that share a digit of their binary codes, or none.
        size: frame width and height in pixels.
        reach: greatest |x|, |y|, |z|.
        pull: the goal of a place is this times a sine or cosine.
        place_noise, angle_noise: standard deviations of a step.
        shape_change: probability that another shape is drawn without an intervention.

    Raises:
        InputError: an option that there is not.
    """

    name: ClassVar[str] = "causal3d"
    channels: ClassVar[int] = 3
    variables: ClassVar[Variables] = CAUSAL3DIDENT

    shapes: str = "one"
    coarse: bool = False
    instantaneous: bool = False
    interventions: str = "independent"
    size: int = 64
    reach: float = 2.0
    pull: float = 1.5
    place_noise: float = 0.1
    angle_noise: float = 0.15
    shape_change: float = 0.05

    def __post_init__(self) -> None:
        for field, given, known in (
            ("shapes", self.shapes, tuple(SHAPES)),
            ("targets", self.interventions, INTERVENTIONS),
            ("size", self.size, SIZES),
        ):
            if given not in known:
                raise InputError(f"--{field} {given}: {field} can be {', '.join(map(str, known))}")

    @property
    def targets(self) -> tuple[str, ...]:
        """The twelve columns, or the seven of :data:`COARSE`."""
        return COARSE if self.coarse else self.variables.names

    @property
    def _owner_names(self) -> list[str]:
        """Of each true value the target that it belongs to, or its own name."""
        return [variable.group or variable.name if self.coarse else variable.name for variable in self.variables]

    @property
    def owners(self) -> Array:
        """Int64 [12]: each true value is its own, or its group's; the material is nobody's with coarse targets."""
        targets = self.targets
        return np.array([targets.index(name) if name in targets else -1 for name in self._owner_names])

    @property
    def intervened_on(self) -> Array:
        """Bool [K]: all that varies."""
        constant = {"rot_gamma", "obj_m"} | ({"obj_s"} if self.shapes == "one" else set())
        return np.array([name not in constant for name in self.targets])

    @property
    def probability(self) -> float:
        """Of an intervention on each variable in a step: 1/10 with one shape, 1/11 with seven; coarse 1/6 and 1/7."""
        return 1 / (int(self.intervened_on.sum()) + (0 if self.coarse else 1))

    def _graph(self, causes: dict[str, tuple[str, ...]]) -> Array:
        """A graph over the targets from causes of the true values."""
        owner = dict(zip(self.variables.names, self._owner_names, strict=True))
        joined: dict[str, set[str]] = {}
        for effect, found in causes.items():
            joined.setdefault(owner[effect], set()).update(owner[cause] for cause in found)
        return graph_of(self.targets, {effect: sorted(found) for effect, found in joined.items()})

    @property
    def _causes(self) -> dict[str, tuple[str, ...]]:
        return CAUSES if self.shapes == "one" else CAUSES_OF_SHAPES

    @property
    def graph_temporal(self) -> Array:
        """Uint8 [K, K]: :data:`CAUSES` and every variable's own last value; the latter alone if causes act at once."""
        others = {} if self.instantaneous else self._causes
        return self._graph({name: (name, *others.get(name, ())) for name in self._causes})

    @property
    def graph_instantaneous(self) -> Array:
        """Uint8 [K, K]: :data:`CAUSES` if they act at once, else zeros."""
        return self._graph(self._causes if self.instantaneous else {})

    @property
    def settings(self) -> dict[str, Any]:
        """Its constants and options."""
        return settings_of(self)

    def independent(self, count: int, rng: np.random.Generator) -> Array:
        """States [count, 12], every value uniform over its range. See :meth:`World.independent`."""
        states = np.zeros((count, 12))
        states[:, _X : _Z + 1] = rng.uniform(-self.reach, self.reach, (count, 3))
        states[:, _ALPHA : _BETA + 1] = rng.uniform(0, 2 * pi, (count, 2))
        states[:, _SPOT : _GROUND + 1] = rng.uniform(0, 2 * pi, (count, 4))
        states[:, _SHAPE] = rng.integers(0, SHAPES[self.shapes], count)
        return states.astype(np.float32)

    def _targets(self, count: int, rng: np.random.Generator) -> Array:
        """Which variables are intervened on in some steps: uint8 [count, K]."""
        reached = np.flatnonzero(self.intervened_on)
        variables = np.arange(len(reached))
        if self.interventions == "independent":
            chosen = rng.random((count, len(reached))) < self.probability
        elif self.interventions == "single":
            # Two of K + 2 that are nobody's.
            chosen = rng.integers(0, len(reached) + 2, count)[:, None] == variables
        else:
            # One digit of the variables' binary codes a step; the last one is no one's.
            digits = int(log2(len(reached))) + 2
            chosen = (variables + 1) >> rng.integers(0, digits, count)[:, None] & 1 == 1
        targets = np.zeros((count, len(self.targets)), np.uint8)
        targets[:, reached] = chosen
        return targets

    def sequence(self, frames: int, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        """One sequence; an intervention draws a value uniformly over its range. See :meth:`World.sequence`."""
        state = self.independent(1, rng)[0].tolist()
        owners = self.owners.tolist()
        for begin in range(0, frames, _STEPS):
            count = min(_STEPS, frames - begin)
            # Always as many: a longer sequence begins as a shorter one does.
            targets = self._targets(_STEPS, rng)[:count]
            drawn = self.independent(_STEPS, rng)[:count].astype(np.float64)
            noise = rng.normal(scale=[self.place_noise] * 3 + [self.angle_noise] * 7, size=(_STEPS, 10))[:count]
            changed = (rng.random(_STEPS) < self.shape_change)[:count]
            rows = zip(targets.tolist(), drawn.tolist(), noise.tolist(), changed.tolist(), strict=True)
            states = np.empty((count, 12), np.float32)
            for i, (chosen, value, jitter, other) in enumerate(rows):
                states[i] = state
                hit = [owner >= 0 and chosen[owner] == 1 for owner in owners]
                hit[_SHAPE] = hit[_SHAPE] or (other and self.shapes != "one")
                state = self._step(state, hit, value, jitter, rng)
            yield states, targets

    def advance(self, states: Array, targets: Array, rng: np.random.Generator, values: Array | None = None) -> Array:
        """One step of each state. See :meth:`World.advance`."""
        count = len(states)
        given = set_values(self, targets, values)
        value = np.where(np.isnan(given), self.independent(count, rng), given)
        noise = rng.normal(scale=[self.place_noise] * 3 + [self.angle_noise] * 7, size=(count, 10))
        owners = self.owners
        hit = (targets[:, owners] == 1) & (owners >= 0)
        if self.shapes != "one":
            hit[:, _SHAPE] |= rng.random(count) < self.shape_change
        rows = zip(states.tolist(), hit.tolist(), value.tolist(), noise.tolist(), strict=True)
        return np.array([self._step(*row, rng) for row in rows], np.float32).reshape(count, 12)

    def _step(
        self, last: list[float], hit: list[bool], value: list[float], jitter: list[float], rng: np.random.Generator
    ) -> list[float]:
        """The next state.

        Args:
            last: the state before.
            hit: of each true value whether it is replaced.
            value: by what.
            jitter: noise of each.
            rng: for further noise, where a place would leave its range.
        """
        now = list(last)
        # What sets goals: the state before, or, with causes within a frame, what is new; causes come before effects.
        cause = now if self.instantaneous else last

        def place(k: int, goal: float) -> None:
            now[k] = value[k]
            if not hit[k]:
                middle = (last[k] + goal) / 2
                now[k] = middle + jitter[k]
                while abs(now[k]) > self.reach:
                    now[k] = middle + rng.normal(scale=self.place_noise)

        def angle(k: int, goal: float) -> None:
            now[k] = value[k] if hit[k] else (last[k] + half_way(last[k], goal) + jitter[k]) % (2 * pi)

        if hit[_SHAPE]:
            now[_SHAPE] = value[_SHAPE]
        angle(_GROUND, last[_GROUND])
        angle(_LIGHT, 2 * pi - cause[_GROUND])
        angle(_OBJECT, self._object_goal(last, cause))
        angle(_ALPHA, cause[_GROUND])
        angle(_BETA, cause[_OBJECT])
        place(_X, self.pull * sin(cause[_BETA]))
        place(_Y, self.pull * sin(cause[_ALPHA]))
        place(_Z, self.pull * cos(cause[_ALPHA]))
        angle(_SPOT, atan2(cause[_X], cause[_Y]) % (2 * pi))
        return now

    def _object_goal(self, last: list[float], cause: list[float]) -> float:
        """The hue that the object turns to."""
        if self.shapes == "one":
            return last[_OBJECT]
        shape = int(cause[_SHAPE])
        hue = SHAPE_HUES[shape]
        if hue is not None:
            return hue
        light, ground = cause[_LIGHT], cause[_GROUND]
        mean = atan2(sin(light) + sin(ground), cos(light) + cos(ground))
        return (mean if shape == _MEAN else mean + pi) % (2 * pi)

    def render(self, latents: Array) -> Array:
        """Draw states [n, 12] as uint8 [n, size, size, 3]. See :meth:`World.render`.

        Raises:
            InputError: what draws is not installed.
        """
        from citris_cli.worlds.causal3d_scene.renderer import draw

        return draw(np.asarray(latents, np.float32), self.size)


def half_way(value: float, goal: float) -> float:
    """Half of the shorter way from an angle to another, both in 0 … 2π."""
    step = (goal - value) / 2
    if goal - value > pi:
        return step - pi
    if goal - value < -pi:
        return step + pi
    return step
