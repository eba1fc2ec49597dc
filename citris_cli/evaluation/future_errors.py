"""How far futures go astray: their true factors against what was recorded, step by step, beside what could be expected.

A future starts from a recorded frame and is given the recorded interventions with their recorded values, those of the
frames that they led into. What happened then is one of many things that could have: the world itself, started from the
same state under the same interventions, makes another. How far that is from the record is what no model can be nearer
to on the mean, unless it foretells the mean of what may come.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from citris_cli.causal_model import CausalModel
from citris_cli.core.causal_encoder import CausalEncoder
from citris_cli.data.batches import window_starts
from citris_cli.data.datasets import SequenceData
from citris_cli.data.variables import Variables
from citris_cli.errors import InputError
from citris_cli.evaluation.correlation import read_factors_of_latents
from citris_cli.evaluation.distances import columns_of, compare, read_factors
from citris_cli.wording import counted
from citris_cli.worlds.world import World

Array = np.ndarray[Any, Any]

#: What is compared with the record, in the order of the report: name, and what it is.
CURVES = {
    "futures": "drawn by the model",
    "mean path": "the model's mean at every step",
    "simulator": "the world itself, drawn again",
    "copy": "the first frame, unchanged",
    "copy and set": "the same with the values that were set since",
    "reading": "the recorded frames as they are read: the error of reading alone",
}
#: Frames that a reader of latents learns from, at most, and at least.
MOST_KNOWN, LEAST_KNOWN = 10_000, 200


@dataclass(frozen=True, eq=False)
class FutureErrors:
    """Mean distances to the recorded factors after 1 … T steps.

    Attributes:
        factors: the F factors, continuous ones with their range in the data.
        starts: how many recorded frames futures started from.
        distance: for each of :data:`CURVES` that there is float [T, F]: ``|a - b|``, degrees, share of errors.
        normalised: the same divided by half the range, 180 degrees, 1.
    """

    factors: Variables
    starts: int
    distance: dict[str, Array]
    normalised: dict[str, Array]

    def mean(self, curve: str) -> Array:
        """Normalised distance after each step, mean over factors: float [T]."""
        mean: Array = self.normalised[curve].mean(1)
        return mean

    @property
    def score(self) -> float:
        """Where the futures lie between a copy with what was set (0) and the world itself (1), mean over steps.

        Bounded to 0 … 1; NaN without a simulator, or where a copy is as near as that.
        """
        if "simulator" not in self.normalised:
            return float("nan")
        copied, own, best = (self.mean(name).mean() for name in ("copy and set", "futures", "simulator"))
        return float(np.clip((copied - own) / (copied - best), 0, 1)) if copied > best else float("nan")


@dataclass(frozen=True, eq=False)
class Recorded:
    """Recorded windows of T+1 frames and what was done in them; S windows, F factors, K variables of the model.

    Attributes:
        frames: uint8 [S, T+1, W, W, C].
        truth: float [S, T+1, F].
        targets: of the model's variables, 0 or 1, [S, T, K].
        set_to: which factors were set in each step, bool [S, T, F].
        world_targets: of the data's columns, uint8 [S, T, columns].
    """

    frames: Array
    truth: Array
    targets: Array
    set_to: Array
    world_targets: Array


def recorded_windows(data: SequenceData, variables: Variables, first: int, steps: int, number: int) -> Recorded:
    """Windows that are spread over sequences with true factors.

    Args:
        data: sequences.
        variables: the model's.
        first: no window begins before this frame.
        steps: T.
        number: how many, at most.

    Raises:
        InputError: there are no so many frames in a row, or no true factors.
    """
    if data.truth is None or data.factors is None:
        raise InputError(f"{data.label}: has no ground truth (latents or raw_latents); futures are compared with it")
    possible = window_starts(data.starts, steps + 1)
    possible = possible[possible >= first]
    if not len(possible):
        raise InputError(
            f"{data.label}: no {counted(steps + 1, 'consecutive frame')} to compare a future of "
            f"{counted(steps, 'step')} with; take fewer --steps or more data"
        )
    chosen = possible[torch.linspace(0, len(possible) - 1, min(number, len(possible))).round().long()]
    rows = chosen[:, None] + torch.arange(steps + 1)
    frames = data.frames.gather(rows.flatten()).cpu().contiguous().numpy()
    targets = data.targets[rows[:, :-1]].numpy()
    owners = [variables.owner(column) for column in data.variables]
    own = [[j for j, owner in enumerate(owners) if owner == k] for k in range(len(variables))]
    of_factors = [data.variables.owner(factor) for factor in data.factors]
    every = np.zeros((*targets.shape[:2], len(data.columns)), np.uint8)
    every[..., [data.columns.names.index(name) for name in data.variables.names]] = targets
    return Recorded(
        frames.reshape(*rows.shape, *frames.shape[1:]),
        data.truth[rows].numpy().astype(np.float64),
        np.stack([targets[..., columns].any(-1) for columns in own], axis=-1).astype(np.float32),
        np.stack(
            [np.zeros(targets.shape[:2], bool) if j is None else targets[..., j] == 1 for j in of_factors], axis=-1
        ),
        every,
    )


#: Reads factors [L, F] of latents [L, M], the frames that they are decoded to if it needs these.
Reader = Callable[[Array], Array]


def latent_reader(model: CausalModel, data: SequenceData, last: int, seed: int) -> tuple[Variables, list[int], Any]:
    """A reader of true factors from latents, which learns from frames of the data.

    Args:
        model: whose latents.
        data: sequences with true factors.
        last: it learns from frames before this one.
        seed: of its network.

    Returns:
        The factors that vary, with their ranges; their columns; and what reads latents [L, M] as [L, F].

    Raises:
        InputError: too few frames.
    """
    if data.truth is None or data.factors is None:
        raise InputError(f"{data.label}: has no ground truth (latents or raw_latents); futures are compared with it")
    if last < LEAST_KNOWN:
        raise InputError(
            f"{data.label}: the network that reads factors from latents would have {counted(last, 'frame')} to learn "
            f"from and needs at least {LEAST_KNOWN}; give more data, or a --causal-encoder"
        )
    index = torch.linspace(0, last - 1, min(last, MOST_KNOWN)).round().long()
    truth = data.truth[index].numpy().astype(np.float64)
    columns = [j for j in range(len(data.factors)) if np.ptp(truth[:, j]) > 0]
    factors = with_ranges(data, columns)
    known = torch.from_numpy(model.encode(data.frames.gather(index).cpu().contiguous().numpy()))

    def read(z: Array) -> Array:
        generator = torch.Generator().manual_seed(seed)
        return read_factors_of_latents(known, truth[:, columns], factors, torch.from_numpy(z), generator)

    return factors, columns, read


def with_ranges(data: SequenceData, columns: list[int]) -> Variables:
    """Some of the true factors, continuous ones with the range that they have in the data."""
    if data.truth is None or data.factors is None:
        raise InputError(f"{data.label}: has no ground truth (latents or raw_latents)")
    low, high = data.truth.min(0).values.tolist(), data.truth.max(0).values.tolist()
    return Variables(
        dataclasses.replace(data.factors[j], low=low[j], high=high[j])
        if data.factors[j].kind == "continuous"
        else data.factors[j]
        for j in columns
    )


def picture_reader(
    model: CausalModel, data: SequenceData, encoder: CausalEncoder, factors: Variables
) -> tuple[Variables, list[int], Any]:
    """As :func:`latent_reader`, by a causal encoder that sees the decoded frames.

    Args:
        model: whose latents.
        data: sequences with true factors.
        encoder: in evaluation mode, for frames of the model's width.
        factors: that it reads.

    Raises:
        InputError: it reads none of the data's factors that vary.
    """
    names = () if data.factors is None else data.factors.names
    own, theirs = columns_of(factors, names)
    varied = [] if data.truth is None else (data.truth.max(0).values > data.truth.min(0).values).tolist()
    pairs = [(one, other) for one, other in zip(own, theirs, strict=True) if varied[other]]
    if not pairs:
        raise InputError(
            f"{data.label}: its true factors ({', '.join(names)}) are not those that the causal encoder predicts "
            f"({', '.join(factors.names)}); name its columns with --vars"
        )

    def read(z: Array) -> Array:
        return read_factors(encoder, model.decode(z))[:, [one for one, _ in pairs]]

    columns = [other for _, other in pairs]
    return with_ranges(data, columns), columns, read


def future_errors(
    model: CausalModel,
    recorded: Recorded,
    reader: tuple[Variables, list[int], Reader],
    world: World | None,
    number: int,
    seed: int,
) -> FutureErrors:
    """Errors of futures of recorded frames, and of what they are compared with.

    Args:
        model: trained model.
        recorded: windows of S frames and the T that followed each.
        reader: of the factors; see :func:`latent_reader`.
        world: that the data were simulated in, or None.
        number: futures of each frame, and states that the world is started from as often.
        seed: of all draws.
    """
    factors, columns, read = reader
    windows, steps = recorded.targets.shape[:2]
    seen = model.encode(recorded.frames.reshape(-1, *recorded.frames.shape[2:]))
    seen = seen.reshape(windows, steps + 1, model.latents)
    paths = {
        "futures": _followed(model, seen, recorded.targets, number, 1.0, seed),
        "mean path": _followed(model, seen, recorded.targets, 1, 0.0, seed),
        "reading": seen[None, :, 1:],
    }
    together = np.concatenate([path.reshape(-1, model.latents) for path in paths.values()])
    values, found = read(together), {}
    for name, path in paths.items():
        count = int(np.prod(path.shape[:-1]))
        found[name], values = values[:count].reshape(*path.shape[:-1], -1), values[count:]
    truth = recorded.truth[..., columns]
    copied = np.repeat(truth[:, :1], steps, axis=1)
    found["copy"] = copied[None]
    found["copy and set"] = _held(truth, recorded.set_to[..., columns])[None]
    if world is not None:
        found["simulator"] = _simulated(world, recorded, number, seed)[..., columns]
    distance, scaled = {}, {}
    for name in CURVES:
        if name in found:
            one = found[name]
            against = np.broadcast_to(truth[None, :, 1:], one.shape)
            apart = compare(one.reshape(-1, len(columns)), against.reshape(-1, len(columns)), factors)
            distance[name] = apart.distance.reshape(one.shape).mean((0, 1))
            scaled[name] = apart.normalised.reshape(one.shape).mean((0, 1))
    return FutureErrors(factors, windows, distance, scaled)


def _followed(model: CausalModel, seen: Array, targets: Array, number: int, temperature: float, seed: int) -> Array:
    """Futures [number, S, T, M] from the first of recorded frames, set to the recorded values where these were set."""
    generator = torch.Generator().manual_seed(seed)
    windows, steps = targets.shape[:2]
    z, path = np.tile(seen[:, 0], (number, 1)), []
    of_latents = np.concatenate([targets, np.zeros_like(targets[..., :1])], axis=-1)[..., model.assignment] == 1
    for step in range(steps):
        known = np.where(of_latents[:, step], seen[:, step + 1], np.nan).astype(np.float32)
        repeated = np.tile(targets[:, step], (number, 1)), generator, np.tile(known, (number, 1))
        z = model.step(z, *repeated, temperature)
        path.append(z.reshape(number, windows, -1))
    return np.stack(path, axis=2)


def _held(truth: Array, set_to: Array) -> Array:
    """Factors [S, T, F] that stay as they are at first [S, T+1, F] but where and when they are set."""
    held, path = truth[:, 0], []
    for step in range(set_to.shape[1]):
        held = np.where(set_to[:, step], truth[:, step + 1], held)
        path.append(held)
    return np.stack(path, axis=1)


def _simulated(world: World, recorded: Recorded, number: int, seed: int) -> Array:
    """What the world makes of the first states, under the recorded interventions: [number, S, T, F]."""
    rng = np.random.default_rng(seed)
    windows, steps = recorded.targets.shape[:2]
    state, path = np.tile(recorded.truth[:, 0], (number, 1)).astype(np.float32), []
    for step in range(steps):
        targets = np.tile(recorded.world_targets[:, step], (number, 1))
        state = world.advance(state, targets, rng, np.tile(recorded.truth[:, step + 1], (number, 1)))
        path.append(state.reshape(number, windows, -1))
    return np.stack(path, axis=2)
