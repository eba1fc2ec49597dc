"""Futures: what a model says may follow a frame, step by step, under interventions; and what the world itself makes.

A future is drawn from the transition prior, each step from the latents of the one before; only at the end is it
decoded. Nothing brings it back to what a frame can look like, so that errors add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from citris_cli.causal_model import CausalModel
from citris_cli.data.variables import REST
from citris_cli.worlds.recorded import targets_of
from citris_cli.worlds.world import World

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Act:
    """An intervention in a step.

    Attributes:
        step: its number; step 1 leads into frame 1.
        variables: comma list of variables and groups.
        values: causal latents [1, M] whose blocks are taken; None to draw them.
        source: of the values, as the user named it; None where they are drawn.
        state: true values [F] of the source, where they are known.
    """

    step: int
    variables: str
    values: Array | None = None
    source: str | None = None
    state: Array | None = None


@dataclass(frozen=True, eq=False)
class Futures:
    """n futures of a frame, T steps long.

    Attributes:
        z: causal latents float32 [n, T+1, M]; the first are the frame's own.
        images: uint8 [n, T+1, W, W, C], all decoded, the first too.
        intervened: of every frame the variables that were set in the step into it; None of the first.
    """

    z: Array
    images: Array
    intervened: tuple[tuple[str, ...] | None, ...]

    def targets(self, model: CausalModel) -> Array:
        """0 or 1, uint8 [T, K]: which variables were set in each step."""
        names = model.variables.names
        return np.array([[name in (step or ()) for name in names] for step in self.intervened[1:]], np.uint8)


def futures_of(
    model: CausalModel, frame: Array, steps: int, acts: Sequence[Act], number: int, temperature: float, seed: int
) -> Futures:
    """Draw futures of a frame.

    Args:
        model: trained model.
        frame: uint8 [1, W, W, C].
        steps: how long they are.
        acts: what is done; of each the step is among these.
        number: how many there are.
        temperature: factor on the standard deviations; 0 follows the mean.
        seed: of all draws.

    Raises:
        InputError, CitrisError: see :meth:`citris_cli.causal_model.CausalModel.rollout`.
    """
    plan: dict[int, dict[str, Any]] = {}
    for act in acts:
        plan.setdefault(act.step, {})[act.variables] = act.values
    start = np.repeat(model.encode(frame), number, axis=0)
    z = model.rollout(start, steps, torch.Generator().manual_seed(seed), plan, temperature)
    pictures = model.decode(z.reshape(-1, model.latents))
    set_in = [
        tuple(model.variables[k].name for names in plan.get(step, {}) for k in model.variables.resolve(names))
        for step in range(1, steps + 1)
    ]
    return Futures(z, pictures.reshape(number, steps + 1, *pictures.shape[1:]), (None, *set_in))


def simulated_future(
    model: CausalModel, world: World, state: Array, steps: int, acts: Sequence[Act], seed: int
) -> Array:
    """What the world itself makes of a state under the same interventions: its true values float32 [T+1, F].

    Values that are drawn the world draws by itself; those of a frame whose true values are known are these.

    Args:
        model: whose variables the acts name.
        world: of the frame.
        state: true values of the frame that it starts from [F].
        steps: how many.
        acts: what is done.
        seed: of all draws.

    Raises:
        InputError: the world has nothing of a variable that is set.
    """
    rng = np.random.default_rng(seed)
    path = [np.asarray(state, np.float32)[None]]
    owners = world.owners
    for step in range(1, steps + 1):
        targets = np.zeros((1, len(world.targets)), np.uint8)
        values = np.full((1, len(owners)), np.nan)
        for act in acts:
            if act.step == step:
                own = targets_of(world, model.variables, model.variables.resolve(act.variables))
                targets |= own
                if act.state is not None:
                    values = np.where((own[owners] == 1) & (owners >= 0), act.state, values)
        path.append(world.advance(path[-1], targets, rng, values))
    return np.concatenate(path)


def strayed(model: CausalModel, z: Array) -> tuple[int, tuple[str, ...]]:
    """How many of n futures [n, T+1, M] were held at the end of the model's reach in some step, and in what.

    Returns:
        Their number, and the variables, or psi(0), in whose latents they were held.
    """
    if model.reach is None:
        return 0, ()
    low, high = model.reach
    held = ((z[:, 1:] <= low) | (z[:, 1:] >= high)).any(1)
    names = (*model.variables.names, REST)
    return int(held.any(1).sum()), tuple(names[k] for k in np.unique(model.assignment[held.any(0)]))


def spread_of(model: CausalModel, z: Array) -> dict[str, float]:
    """How far futures lie from their own mean, on the mean, in standard deviations of each variable.

    Args:
        model: the model.
        z: causal latents of the futures at one step [n, M].
    """
    return {name: float(one.mean()) for name, one in model.moved(z.mean(0, keepdims=True), z).items()}
