"""What the page asks, in JSON, and what it is told: one question at a time, whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from citris_cli.artifacts.packaged import packaged_name
from citris_cli.causal_model import Frames
from citris_cli.errors import InputError
from citris_cli.exploring.workbench import Start, View, Workbench
from citris_cli.show.explore_page import PageModel, PageVariable
from citris_cli.show.grids import png_bytes
from citris_cli.show.latents import latent_groups
from citris_cli.show.page import data_uri
from citris_cli.show.panels import panel_count, panels
from citris_cli.wording import visible

#: Samples that a page offers at most.
MOST_SAMPLES = 1000
LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True, eq=False)
class Sample:
    """A frame to start from, or to take variables from.

    Attributes:
        name: what the page calls it.
        frame: uint8 [1, W, W, C].
    """

    name: str
    frame: Frames


class Answers:
    """Answers the questions of any number of pages, which may come at once: the model computes one after the other.

    Args:
        workbench: with the model.
        samples: to choose from, at most :data:`MOST_SAMPLES`; the page starts with the first.

    Raises:
        InputError: too many samples.
    """

    def __init__(self, workbench: Workbench, samples: Sequence[Sample]) -> None:
        if len(samples) > MOST_SAMPLES:
            raise InputError(f"{len(samples):,} frames are more than a page offers; give at most {MOST_SAMPLES:,}")
        self._workbench = workbench
        self._samples = samples
        self._lock = threading.Lock()

    def page_model(self) -> PageModel:
        """What the page knows before it asks anything."""
        model = self._workbench.model
        packaged = packaged_name(model.path)
        *groups, rest = latent_groups(model.variables.names, model.assignment)
        with self._lock:
            controls = self._workbench.controls
        return PageModel(
            name=visible(packaged or model.path.stem or "the model"),
            place="comes with citris" if packaged else visible(str(model.path)),
            width=model.width,
            height=model.width * panel_count(model.image_channels),
            variables=[
                PageVariable(group, control.kind, len(control.values), variable.group)
                for variable, group, control in zip(model.variables, groups, controls, strict=True)
            ],
            rest=rest,
            samples=[visible(sample.name) for sample in self._samples],
        )

    def sample(self, number: int) -> bytes:
        """A sample as a PNG.

        Args:
            number: counted from 0.

        Raises:
            InputError: no such sample.
        """
        return png_bytes(_picture(self._chosen(number).frame[0]))

    def start(self, question: dict[str, Any]) -> dict[str, Any]:
        """Start from a sample, ``{"sample": n}``, or from a frame that the model was trained on, ``{"seed": s}``.

        Raises:
            InputError: a malformed question, or no such sample.
        """
        if "sample" in question:
            sample = self._chosen(_whole(question, "sample", len(self._samples) - 1))
            with self._lock:
                return _start(self._workbench.from_frame(sample.frame))
        seed = _whole(question, "seed", LARGEST_SEED)
        with self._lock:
            return _start(self._workbench.from_memory(seed))

    def picture(self, content: bytes) -> dict[str, Any]:
        """Start from the file of a picture.

        Raises:
            InputError: see :meth:`Workbench.from_picture`.
        """
        with self._lock:
            return _start(self._workbench.from_picture(content, "the picture"))

    def change(self, question: dict[str, Any]) -> dict[str, Any]:
        """One change of the latents ``z``, which started as ``before``, to the variables ``names``.

        By ``"place"``, one of the values of a variable's control; ``"seed"``, a draw; or ``"other"``, another picture's
        latents.

        Raises:
            InputError: a malformed question, no such variable or place, or a variable without latents.
        """
        bench = self._workbench
        z, before = (bench.latents(_numbers(question, key), key) for key in ("z", "before"))
        names = question.get("names")
        if not isinstance(names, str):
            raise InputError("'names' is missing; it needs names of variables in one text")
        if "place" in question:
            place = _whole(question, "place", 2**31)
            with self._lock:
                return _view(bench.at_place(z, before, names, place))
        if "seed" in question:
            seed = _whole(question, "seed", LARGEST_SEED)
            with self._lock:
                return _view(bench.drawn(z, before, names, seed))
        other = bench.latents(_numbers(question, "other"), "other")
        with self._lock:
            return _view(bench.taken(z, before, names, other))

    def _chosen(self, number: int) -> Sample:
        if not 0 <= number < len(self._samples):
            raise InputError(f"there is no sample {number}; there are {len(self._samples):,}")
        return self._samples[number]


def _whole(question: dict[str, Any], key: str, most: int) -> int:
    value = question.get(key)
    if type(value) is not int or not 0 <= value <= most:
        raise InputError(f"{key!r} is not a whole number from 0 to {most:,}")
    return value


def _numbers(question: dict[str, Any], key: str) -> list[float]:
    values = question.get(key)
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        raise InputError(f"{key!r} is not a list of numbers")
    return values


def _start(start: Start) -> dict[str, Any]:
    original = None if start.original is None else data_uri(_picture(start.original))
    return {**_view(start.view), "original": original, "notes": [visible(note) for note in start.notes]}


def _view(view: View) -> dict[str, Any]:
    return {
        "z": view.z[0].tolist(),
        "picture": data_uri(_picture(view.picture)),
        "moved": view.moved,
        "places": list(view.places),
    }


def _picture(frame: Frames) -> Image.Image:
    return Image.fromarray(panels(frame))
