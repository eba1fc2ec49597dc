"""How far futures go astray: their true factors against what was recorded, step by step, beside what could be expected.

A future starts from a recorded frame and is given the recorded interventions with their recorded values, those of the
frames that they led into. What happened then is one of many things that could have: the world itself, started from the
same state under the same interventions, makes another. How far that is from the record is what no model can be nearer
to on the mean, unless it foretells the mean of what may come.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from citris_cli.causal_model import CausalModel
from citris_cli.core.causal_encoder import CausalEncoder
from citris_cli.data.batches import window_starts
from citris_cli.data.datasets import SequenceData
from citris_cli.data.frames import Frames
from citris_cli.data.variables import Variables
from citris_cli.errors import InputError
from citris_cli.evaluation.correlation import OnProgress, factor_reader
from citris_cli.evaluation.distances import columns_of, compare, read_factors
from citris_cli.wording import counted
from citris_cli.worlds.world import World

Array = np.ndarray[Any, Any]

#: What is compared with the record, in the order of the report: name, and what it is.
CURVES = {
    "futures": "sampled by the model",
    "mean path": "the model's mean at every step",
    "simulator": "the world itself, run again",
    "copy": "the first frame, unchanged",
    "copy and set": "the same, with the values set since then",
    "reading": "the error of reading factors from the recorded frames",
}
#: Frames that a reader of latents learns from, at most, and at least.
MOST_KNOWN, LEAST_KNOWN = 10_000, 200
#: Futures that are drawn at once: so many, or one from each start.
AT_ONCE = 16_384
#: Bytes of frames at a time.
_CHUNK = 64 << 20


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
        numbers: of the frames in their data, int64 [S, T+1].
        truth: float [S, T+1, F].
        targets: of the model's variables, 0 or 1, [S, T, K].
        set_to: which factors were set in each step, bool [S, T, F].
        world_targets: of the data's columns, uint8 [S, T, columns].
    """

    numbers: Array
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
    targets = data.targets[rows[:, :-1]].numpy()
    owners = [variables.owner(column) for column in data.variables]
    own = [[j for j, owner in enumerate(owners) if owner == k] for k in range(len(variables))]
    of_factors = [data.variables.owner(factor) for factor in data.factors]
    every = np.zeros((*targets.shape[:2], len(data.columns)), np.uint8)
    every[..., [data.columns.names.index(name) for name in data.variables.names]] = targets
    return Recorded(
        rows.numpy(),
        data.truth[rows].numpy().astype(np.float64),
        np.stack([targets[..., columns].any(-1) for columns in own], axis=-1).astype(np.float32),
        np.stack(
            [np.zeros(targets.shape[:2], bool) if j is None else targets[..., j] == 1 for j in of_factors], axis=-1
        ),
        every,
    )


#: Reads factors [L, F] of latents [L, M], the frames that they are decoded to if it needs these.
Reader = Callable[[Array], Array]


def encoded(model: CausalModel, frames: Frames, numbers: Array) -> Array:
    """Causal latents float32 [..., M] of frames by their numbers [...], each encoded once; memory stays bounded."""
    once, place = np.unique(numbers, return_inverse=True)
    at_once = max(1, _CHUNK // (frames.height * frames.width * frames.channels))
    chunks = torch.from_numpy(once).split(at_once)
    z = np.concatenate([model.encode(frames.gather(chunk).cpu().contiguous().numpy()) for chunk in chunks])
    return z[place.reshape(numbers.shape)]


def latent_reader(
    model: CausalModel, data: SequenceData, last: int, seed: int, on_progress: OnProgress = lambda done, total: None
) -> tuple[Variables, list[int], Reader]:
    """A reader of true factors from latents, which learns from frames of the data.

    Args:
        model: whose latents.
        data: sequences with true factors.
        last: it learns from frames before this one.
        seed: of its network.
        on_progress: is told of each pass over these frames.

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
    if not columns:
        raise InputError(
            f"{data.label}: none of its true factors ({', '.join(data.factors.names)}) varies in the "
            f"{counted(last, 'frame')} to learn from; give more data, or a --causal-encoder"
        )
    factors = with_ranges(data, columns)
    known = torch.from_numpy(encoded(model, data.frames, index.numpy()))
    generator = torch.Generator().manual_seed(seed)
    read = factor_reader(known, truth[:, columns], factors, generator, on_progress=on_progress)
    return factors, columns, lambda z: read(torch.from_numpy(z))


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
) -> tuple[Variables, list[int], Reader]:
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

    at_once = max(1, _CHUNK // (model.width**2 * model.image_channels))

    def read(z: Array) -> Array:
        chunks = [z[first : first + at_once] for first in range(0, len(z), at_once)]
        values = np.concatenate([read_factors(encoder, model.decode(chunk)) for chunk in chunks])
        return values[:, [one for one, _ in pairs]]

    columns = [other for _, other in pairs]
    return with_ranges(data, columns), columns, read


@dataclass(eq=False)
class _Sums:
    """Distances to what was recorded, summed as they come; S windows, T steps, F factors.

    Attributes:
        factors: the factors.
        truth: what was recorded [S, T+1, F].
        distance, normalised: by curve, sums over futures and windows [T, F].
        counts: by curve, how many futures of the S windows.
    """

    factors: Variables
    truth: Array
    distance: dict[str, Array] = field(default_factory=dict)
    normalised: dict[str, Array] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, curve: str, step: int, values: Array) -> None:
        """Values [n·S, F] of n futures of each window after a step, from 1 on."""
        apart = compare(values, np.tile(self.truth[:, step], (len(values) // len(self.truth), 1)), self.factors)
        for sums, one in (self.distance, apart.distance), (self.normalised, apart.normalised):
            shape = self.truth.shape[1] - 1, self.truth.shape[2]
            sums.setdefault(curve, np.zeros(shape))[step - 1] += one.sum(0)
        if step == 1:
            self.counts[curve] = self.counts.get(curve, 0) + len(values)

    def means(self, sums: dict[str, Array]) -> dict[str, Array]:
        """Of each curve the mean [T, F], in the order of :data:`CURVES`."""
        return {name: sums[name] / self.counts[name] for name in CURVES if name in sums}


def future_errors(
    model: CausalModel,
    frames: Frames,
    recorded: Recorded,
    reader: tuple[Variables, list[int], Reader],
    world: World | None,
    number: int,
    seed: int,
    on_progress: OnProgress = lambda done, total: None,
) -> FutureErrors:
    """Errors of futures of recorded frames, and of what they are compared with.

    Nothing is kept of a future but where it is now, so that memory does not grow with their number or length.

    Args:
        model: trained model.
        frames: of the data that the windows are of.
        recorded: windows of S frames and the T that followed each.
        reader: of the factors; see :func:`latent_reader`.
        world: that the data were simulated in, or None.
        number: futures of each frame, and states that the world is started from as often.
        seed: of all draws.
        on_progress: is told of the steps of all futures.
    """
    factors, columns, read = reader
    windows, steps = recorded.targets.shape[:2]
    truth = recorded.truth[..., columns]
    sums = _Sums(factors, truth)
    copied = _held(truth, recorded.set_to[..., columns])
    for step in range(1, steps + 1):
        sums.add("copy", step, truth[:, 0])
        sums.add("copy and set", step, copied[:, step - 1])
    seen = encoded(model, frames, recorded.numbers)
    at_once = max(1, AT_ONCE // windows)
    parts = [min(at_once, number - first) for first in range(0, number, at_once)]
    for step in range(1, steps + 1):
        sums.add("reading", step, read(seen[:, step]))
    done, total = 0, (1 + number) * windows * steps
    draws, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    mean_path = ("mean path", 1, 0.0, torch.Generator().manual_seed(seed))
    for curve, count, temperature, generator in (mean_path, *(("futures", one, 1.0, draws) for one in parts)):
        for step, z in enumerate(_followed(model, seen, recorded.targets, count, temperature, generator), 1):
            sums.add(curve, step, read(z))
            done += len(z)
            on_progress(done, total)
    if world is not None:
        for count in parts:
            for step, state in enumerate(_simulated(world, recorded, count, rng), 1):
                sums.add("simulator", step, state[:, columns])
    return FutureErrors(factors, windows, sums.means(sums.distance), sums.means(sums.normalised))


def _followed(
    model: CausalModel, seen: Array, targets: Array, number: int, temperature: float, generator: torch.Generator
) -> Iterator[Array]:
    """Futures [number·S, M] of recorded frames after each step, set to the recorded values where these were set."""
    z = np.tile(seen[:, 0], (number, 1))
    of_latents = np.concatenate([targets, np.zeros_like(targets[..., :1])], axis=-1)[..., model.assignment] == 1
    for step in range(targets.shape[1]):
        known = np.where(of_latents[:, step], seen[:, step + 1], np.nan).astype(np.float32)
        repeated = np.tile(targets[:, step], (number, 1)), generator, np.tile(known, (number, 1))
        z = model.step(z, *repeated, temperature)
        yield z


def _held(truth: Array, set_to: Array) -> Array:
    """Factors [S, T, F] that stay as they are at first [S, T+1, F] but where and when they are set."""
    held, path = truth[:, 0], []
    for step in range(set_to.shape[1]):
        held = np.where(set_to[:, step], truth[:, step + 1], held)
        path.append(held)
    return np.stack(path, axis=1)


def _simulated(world: World, recorded: Recorded, number: int, rng: np.random.Generator) -> Iterator[Array]:
    """What the world makes of the first states, under the recorded interventions: [number·S, F] after each step."""
    state = np.tile(recorded.truth[:, 0], (number, 1)).astype(np.float32)
    for step in range(recorded.targets.shape[1]):
        targets = np.tile(recorded.world_targets[:, step], (number, 1))
        state = world.advance(state, targets, rng, np.tile(recorded.truth[:, step + 1], (number, 1)))
        yield state
