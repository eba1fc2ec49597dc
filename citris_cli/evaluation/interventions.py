"""What if a variable changed: its latents replaced and decoded, and how far the result moved on every variable.

A picture x with the causal latents z becomes the decoded picture of z with the blocks of the variables replaced. That
the other latents are exactly as they were says little: what decoding and encoding again makes of them is the measure.

With effects within a step, the picture is the frame before a step in which the variables are set and nothing else
happens but what follows from that: those that they act on, by the graph that the model learned, are drawn anew from the
prior, causes first, and all others stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from citris_cli.causal_model import CausalModel

#: Values that are drawn unless the user says how many.
DRAWS = 4

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Intervention:
    """What is done to a picture: the latents of some variables are replaced.

    Attributes:
        variables: comma list of variables and groups.
        values: causal latents float32 [n, M] whose blocks are taken; None to draw them for every picture from what the
            model learned that the variables do under intervention.
        other: the picture uint8 [1, W, W, C] whose latents ``values`` are, or None.
        draws: how many values are drawn.
        temperature: factor on the standard deviation of the draws; 0 gives their mean.
        seed: of the draws, the same for every picture.
        effects: whether what the variables act on within a step follows them.
    """

    variables: str
    values: Array | None = None
    other: Array | None = None
    draws: int = DRAWS
    temperature: float = 1.0
    seed: int = 0
    effects: bool = False

    def names(self, model: CausalModel) -> list[str]:
        """Names of the model's variables that are intervened on, groups resolved."""
        return [model.variables[index].name for index in model.variables.resolve(self.variables)]


@dataclass(frozen=True, eq=False)
class Outcome:
    """One picture before and after.

    Attributes:
        name: of the picture.
        images: uint8 [N, W, W, C]: original, reconstruction, the other picture if the values are of one, n results.
        labels: of the N images.
        before: causal latents of the original [1, M].
        after: latents that were decoded [n, M].
        reencoded: latents that the results encode to [n, M].
        baseline: latents that the reconstruction encodes to [1, M].
        without: with effects, latents [n, M] after the same step without the intervention, by the same draws; else
            those of the original.
    """

    name: str
    images: Array
    labels: list[str]
    before: Array
    after: Array
    reencoded: Array
    baseline: Array
    without: Array

    @property
    def results(self) -> Array:
        """The pictures after the intervention, uint8 [n, W, W, C]."""
        return self.images[-len(self.after) :]


def intervene_on(model: CausalModel, intervention: Intervention, name: str, frame: Array) -> Outcome:
    """Intervene on one picture.

    Args:
        model: trained model.
        intervention: what is done.
        name: of the picture.
        frame: uint8 [1, W, W, C].

    Raises:
        InputError: no such variable, or it has no latents; no effects within a step are known of the model.
    """
    before = model.encode(frame)
    values = intervention.values
    if values is None:
        generator = torch.Generator().manual_seed(intervention.seed)
        values = model.draw(before, intervention.variables, intervention.draws, generator, intervention.temperature)
    after = model.intervene(before, intervention.variables, values)
    without = before
    if intervention.effects:
        after, without = _with_effects(model, intervention, before, after)
    pictures = model.decode(np.concatenate([before, after]))
    again = model.encode(pictures)
    other = intervention.other
    source = [] if other is None else [other]
    results = [str(number + 1) for number in range(len(after))] if other is None else [intervention.variables]
    images = np.concatenate([frame, pictures[:1], *source, pictures[1:]])
    labels = ["original", "reconstruction", *["from"] * len(source), *results]
    return Outcome(name, images, labels, before, after, again[1:], again[:1], without)


def _with_effects(model: CausalModel, what: Intervention, before: Array, after: Array) -> tuple[Array, Array]:
    """Latents [n, M] after a step that sets the variables, and after the same step without that.

    Args:
        model: the model.
        what: the intervention.
        before: latents of the picture [1, M].
        after: the same with the variables' blocks replaced [n, M].
    """
    names = model.variables.names
    affected = np.isin(model.assignment, [names.index(name) for name in model.affected(what.variables)])
    targets = np.isin(names, what.names(model)).astype(np.float32)

    def stepped(known: Array, targets: Array) -> Array:
        generator = torch.Generator().manual_seed(what.seed)
        start = np.repeat(before, len(known), axis=0)
        known = np.where(affected, np.nan, known)
        return model.step(start, np.tile(targets, (len(known), 1)), generator, known, what.temperature)

    unchanged = np.repeat(before, len(after), axis=0)
    if what.values is None:
        return stepped(after, targets), stepped(unchanged, 0 * targets)
    # Values that were given share their draws, so that what differs between the results comes from the values.
    followed = np.concatenate([stepped(after[row : row + 1], targets) for row in range(len(after))])
    return followed, np.repeat(stepped(before, 0 * targets), len(after), axis=0)


def movement(model: CausalModel, outcomes: Sequence[Outcome]) -> tuple[dict[str, float], dict[str, float]]:
    """How far the re-encoded results moved on every variable, in standard deviations of that variable.

    Args:
        model: the model that made them.
        outcomes: at least one.

    Returns:
        The mean over all results, and that over the reconstructions: what decoding alone moves. By the names of the
        variables that have latents, and ``psi(0)``; see :meth:`citris_cli.causal_model.CausalModel.moved`.
    """
    moved = [model.moved(one.before, one.reencoded) for one in outcomes]
    floor = [model.moved(one.before, one.baseline) for one in outcomes]
    return _means(moved), _means(floor)


def effects_and_leaks(model: CausalModel, outcomes: Sequence[Outcome]) -> tuple[dict[str, float], dict[str, float]]:
    """What moved every variable: the intervention by its effects, or decoding and encoding, which should move nothing.

    Args:
        model, outcomes: see :func:`movement`.

    Returns:
        How far the latents are from those of the same step without the intervention, means over all results; and how
        far the re-encoded results are from the latents that were decoded. By name, as of :func:`movement`.
    """
    effect = [model.moved(one.without, one.after) for one in outcomes]
    leak = [model.moved(one.after, one.reencoded) for one in outcomes]
    return _means(effect), _means(leak)


def _means(distances: Sequence[dict[str, Array]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in distances])) for name in distances[0]}


def outcome_arrays(model: CausalModel, intervention: Intervention, outcomes: Sequence[Outcome]) -> dict[str, Array]:
    """What an ``.npz`` of interventions on P pictures holds.

    Args:
        model: the model that made them.
        intervention: what was done to every picture.
        outcomes: of the P pictures, at least one.

    Returns:
        ``images`` uint8 [P·n, W, W, C]: the results alone, which a next step of a pipeline reads as frames;
        ``originals`` and ``reconstructions`` uint8 [P, W, W, C]; ``z_before`` float32 [P, M], ``z_after`` and
        ``z_reencoded`` [P·n, M]; ``sources``, the names of the pictures [P]; ``assignment`` int64 [M]; the names
        ``variables`` [K] and ``intervened``.
    """
    return {
        "images": np.concatenate([one.results for one in outcomes]),
        "originals": np.stack([one.images[0] for one in outcomes]),
        "reconstructions": np.stack([one.images[1] for one in outcomes]),
        "z_before": np.concatenate([one.before for one in outcomes]),
        "z_after": np.concatenate([one.after for one in outcomes]),
        "z_reencoded": np.concatenate([one.reencoded for one in outcomes]),
        "sources": np.array([one.name for one in outcomes]),
        "assignment": model.assignment,
        "variables": np.array(model.variables.names),
        "intervened": np.array(intervention.names(model)),
    }
