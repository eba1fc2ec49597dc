"""A small world whose truth is known: lamps on a dark field that fade towards a level of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from citris_cli.data.datasets import SequenceData, load_sequences

#: How interventions are drawn.
DESIGNS = ("independent", "one", "held", "half")


def lamps(
    frames: int,
    variables: int = 3,
    *,
    seed: int = 0,
    design: str = "independent",
    fading: float = 0.5,
    wander: float = 0.05,
    noise: float = 0.02,
    imperfect: int = 0,
    channels: int = 3,
    size: int = 32,
) -> dict[str, Any]:
    """Arrays of a recording: each lamp a square, its brightness the value of a variable.

    Args:
        frames: N.
        variables: K, at most 20.
        seed: of everything.
        design: "independent" (each in a tenth of the steps), "one" (exactly one a step), "held" (the same lamps for
            several steps, then none), "half" (each in half of the steps).
        fading: what of the distance to its level a lamp keeps from step to step.
        wander: standard deviation of what it moves by besides.
        noise: of a pixel.
        imperfect: of so many lamps, the first ones, an intervention mirrors the value at 0.5; others are drawn anew.
        channels: of a frame.
        size: of a frame in pixels.
    """
    random = np.random.default_rng(seed)
    steps = frames - 1
    if design == "one":
        targets = np.eye(variables, dtype=bool)[random.integers(0, variables, steps)]
    elif design == "held":
        targets = np.repeat(random.random((steps // 5 + 1, variables)) < 0.25, 5, axis=0)[:steps]
    else:
        targets = random.random((steps, variables)) < (0.5 if design == "half" else 0.1)
    values = np.full((frames, variables), 0.5)
    for step in range(steps):
        free = 0.5 + fading * (values[step] - 0.5) + wander * random.standard_normal(variables)
        done = random.random(variables)
        done[:imperfect] = 1 - values[step, :imperfect]
        values[step + 1] = np.where(targets[step], done, free)
    images = np.full((frames, size, size, channels), 0.2, np.float32)
    side = size // 5
    for k in range(variables):
        top, left = (k // 5) * side, (k % 5) * side
        images[:, top : top + side - 1, left : left + side - 1, k % channels] = values[:, k, None, None]
    images += noise * random.standard_normal(images.shape, np.float32)
    pixels = (images.clip(0, 1) * 255).round().astype(np.uint8)
    return {"images": pixels, "targets": targets.astype(np.uint8), "keys": [f"lamp_{k}" for k in range(variables)]}


def moved(arrays: dict[str, Any], lag: int) -> dict[str, Any]:
    """The same with rows that stand so many steps late (negative: early), and zeros where none came from."""
    targets = np.zeros_like(arrays["targets"])
    count = len(targets)
    targets[max(lag, 0) : count + min(lag, 0)] = arrays["targets"][max(-lag, 0) : count - max(lag, 0)]
    return {**arrays, "targets": targets}


def loaded(arrays: dict[str, Any], lead: str | None = None) -> SequenceData:
    """Arrays as a check takes them."""

    return load_sequences([arrays], lead=lead)
