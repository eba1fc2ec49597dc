"""What the page does with a model: start from a picture, and change one variable at a time.

Nothing is remembered from one call to the next. Whoever asks brings the latents along, so that undoing a change, or
several pages at once, cost nothing here.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from citris_cli.causal_model import CausalModel, Frames, Latents
from citris_cli.data.images import change, look_at, name_of, read_pictures
from citris_cli.data.signatures import LOOKED_AT, identify
from citris_cli.errors import InputError
from citris_cli.wording import counted

#: Places on the walk through the values of a variable.
PLACES = 48
#: More values than this get a slider in place of a button each.
MOST_BUTTONS = 12
#: Where the number of categories is not known, neighbours on the walk belong to two of them from this distance on: in
#: standard deviations of the variable, and in medians of all such distances.
LEAST_GAP, GAP_IN_MEDIANS = 0.2, 5.0
#: Latents beyond this are none that any model gives.
LARGEST_LATENT = 1e6


@dataclass(frozen=True, eq=False)
class Control:
    """How a variable is set on the page.

    Attributes:
        name: of the variable.
        kind: ``slider``, ``dial`` (closed, for an angle), ``buttons`` (one a category), or ``none`` where the model
            gave the variable no latents.
        values: latents float32 [n, M] to choose from, of which the block of the variable counts; n is 0 for ``none``.
        block: which latents these are, bool [M].
    """

    name: str
    kind: str
    values: Latents
    block: np.ndarray[Any, np.dtype[np.bool_]]

    def nearest(self, z: Latents) -> int | None:
        """Which of the values is nearest to latents [1, M]; None where there are none."""
        if self.kind == "none":
            return None
        return int(np.square((self.values - z)[:, self.block]).sum(1).argmin())


@dataclass(frozen=True, eq=False)
class View:
    """What is shown of some latents.

    Attributes:
        z: causal latents float32 [1, M].
        picture: uint8 [W, W, C] that they are decoded to.
        moved: how far the picture, encoded again, lies from the start in each variable that has latents, and in
            ``psi(0)``: in standard deviations.
        places: for every variable in order, which of its control's values it is nearest to; None if it has none.
    """

    z: Latents
    picture: Frames
    moved: dict[str, float]
    places: tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class Start:
    """Where changes start from.

    Attributes:
        original: the picture uint8 [W, W, C]; None where the latents come from no picture.
        view: of its latents as they are; what it moved is what decoding alone moves.
        notes: sentences on what was done to the picture.
    """

    original: Frames | None
    view: View
    notes: tuple[str, ...] = ()


class Workbench:
    """A model with what the page needs of it.

    It is no place for two threads at once.

    Args:
        model: trained model.
    """

    def __init__(self, model: CausalModel) -> None:
        self.model = model

    @cached_property
    def controls(self) -> tuple[Control, ...]:
        """A control for each of the model's variables, in order."""
        return tuple(self._control(index) for index in range(len(self.model.variables)))

    def from_frame(self, frame: Frames, notes: tuple[str, ...] = ()) -> Start:
        """Start from a frame uint8 [1, W, W, C]."""
        z = self.model.encode(frame)
        return Start(frame[0], self._view(z, z), notes)

    def from_picture(self, content: bytes, called: str) -> Start:
        """Start from a picture's file; from the first one of a sequence.

        Args:
            content: of the file.
            called: what messages call it.

        Raises:
            InputError: no picture, a damaged one, one of too many pixels, or without the channels of the frames.
        """
        model = self.model
        if (found := identify(content[:LOOKED_AT])) is not None and found.family == "npz":
            raise InputError(
                f"{called}: this is {found.name}, not a picture; start 'citris explore' with it to choose a frame"
            )
        file = look_at(io.BytesIO(content), called)
        frame = next(read_pictures(file, [0], model.width, model.image_channels))
        changed = change(file.sizes[0], model.width)
        notes = [f"{called}: {changed}"] if changed else []
        if len(file.sizes) > 1:
            notes.append(f"{name_of(file, 0)} taken, the first of {counted(len(file.sizes), 'picture')}")
        if file.in_colour and model.image_channels < 3:
            notes.append(f"{called}: made grey, as the model's frames are")
        if file.with_alpha and model.image_channels in (2, 4):
            notes.append(f"{called}: alpha is read as the last channel, which in the model's frames is data")
        return self.from_frame(frame[None], tuple(notes))

    def from_memory(self, seed: int) -> Start:
        """Start from the latents of a frame that the model was trained on, of which there is no picture.

        Args:
            seed: of the choice.
        """
        z = self.model.seen(1, torch.Generator().manual_seed(seed))
        return Start(None, self._view(z, z))

    def at_place(self, z: Latents, before: Latents, name: str, place: int) -> View:
        """A variable at one of the values of its control.

        Args:
            z: latents [1, M] as they are.
            before: those at the start.
            name: of the variable.
            place: number of the value.

        Raises:
            InputError: no such variable or place.
        """
        index = self.model.variables.index(name)
        values = self.controls[index].values
        if not 0 <= place < len(values):
            raise InputError(f"{name} has {counted(len(values), 'place')}, and no place {place}; count from 0")
        view = self._view(self.model.intervene(z, self.controls[index].name, values[place : place + 1]), before)
        # Of equal values the nearest is the first, and a slider must not leave the hand that holds it.
        return replace(view, places=(*view.places[:index], place, *view.places[index + 1 :]))

    def drawn(self, z: Latents, before: Latents, names: str, seed: int) -> View:
        """Variables drawn from what the model learned that interventions on them do.

        Args:
            z: latents [1, M] as they are, from which the step leads.
            before: those at the start.
            names: comma list of variables and groups.
            seed: of the draw.

        Raises:
            InputError: no such variable, or it has no latents.
        """
        values = self.model.draw(z, names, 1, torch.Generator().manual_seed(seed))
        return self._view(self.model.intervene(z, names, values), before)

    def taken(self, z: Latents, before: Latents, names: str, other: Latents) -> View:
        """Variables taken from the latents [1, M] of another picture.

        Args:
            z: latents [1, M] as they are.
            before: those at the start.
            names: comma list of variables and groups.
            other: of the other picture.

        Raises:
            InputError: no such variable, or it has no latents.
        """
        return self._view(self.model.intervene(z, names, other), before)

    def latents(self, values: Sequence[float], called: str) -> Latents:
        """Numbers that came from outside as latents float32 [1, M].

        Args:
            values: M numbers.
            called: what messages call them.

        Raises:
            InputError: another number of them, or some that no model gives.
        """
        try:
            z = np.array(values, dtype=np.float64)
        except OverflowError:  # a whole number of hundreds of digits
            z = np.full(len(values), np.inf)
        if z.shape != (self.model.latents,):
            raise InputError(f"{called} has {counted(len(z), 'number')}; it needs {self.model.latents}")
        if not (np.abs(z) <= LARGEST_LATENT).all():
            raise InputError(f"{called} has numbers that are not latents of this model; load the page again")
        return z.astype(np.float32)[None]

    def _view(self, z: Latents, before: Latents) -> View:
        picture = self.model.decode(z)
        moved = self.model.moved(before, self.model.encode(picture))
        places = tuple(control.nearest(z) for control in self.controls)
        return View(z, picture[0], {name: float(value[0]) for name, value in moved.items()}, places)

    def _control(self, index: int) -> Control:
        variable = self.model.variables[index]
        block = self.model.assignment == index
        if not block.any():
            return Control(variable.name, "none", np.zeros((0, self.model.latents), np.float32), block)
        walk = self.model.sweep(variable.name, PLACES)
        if variable.kind == "categorical":
            middles = category_places(self.model.moved(walk[:-1], walk[1:])[variable.name], variable.categories)
            if middles:
                return Control(variable.name, "buttons", walk[middles], block)
        return Control(variable.name, "dial" if variable.kind == "angle" else "slider", walk, block)


def category_places(gaps: np.ndarray[Any, Any], categories: int | None) -> list[int]:
    """Places on the walk through a categorical variable that stand for one category each.

    The walk goes from one category to the next, and the distance between neighbours is large where it does.

    Args:
        gaps: distances of neighbours on the walk, in standard deviations of the variable: float [n - 1].
        categories: how many there are; None if that is not known.

    Returns:
        A place in the middle of each category; none where fewer than two or more than :data:`MOST_BUTTONS` are found.
    """
    if categories is not None:
        cuts = np.sort(np.argsort(-gaps, kind="stable")[: categories - 1])
    else:
        cuts = np.flatnonzero(gaps > max(LEAST_GAP, GAP_IN_MEDIANS * float(np.median(gaps))))
    edges = [0, *(cuts + 1).tolist(), len(gaps) + 1]
    middles = [(start + stop - 1) // 2 for start, stop in pairwise(edges)]
    return middles if 2 <= len(middles) <= MOST_BUTTONS else []
