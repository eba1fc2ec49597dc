"""``python -m tests.benchmarks.curves DATA``: validation error of the autoencoder against time, preset by preset.

The presets are trained in turn, a slice of some seconds each, on one thread of one process, so that whatever else the
machine does slows all of them alike; the small ones' slices are shorter, for they are done sooner. Time counts a
preset's own training steps: no validation, and no other preset's slices. All learn the same frames with the same seed
and the same batch; each at its own rate, which rises over the first few steps and stays (a cosine would end at a number
of steps, and the slow one takes few). Writes the curves as JSON and as a picture, and says on standard output how long
each preset took to the best error of the one that got least far.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont

from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.config import AutoencoderConfig
from citris_cli.core.ops.adamw import ClippedAdamW
from citris_cli.data.datasets import load_independent, load_sequences
from citris_cli.data.frames import Frames
from citris_cli.training.autoencoder import AutoencoderTask
from citris_cli.training.config import AutoencoderTrainingConfig
from citris_cli.training.devices import keep_freed_memory
from citris_cli.training.presets import autoencoder_preset
from citris_cli.training.processes import ALONE, BatchLoss
from citris_cli.training.steps import steps_of

#: Frames a step: the published 256 would give a preset that takes seconds a step too few steps to be seen learning.
BATCH = 64
#: Steps of warm-up for all: a preset's own 100 would be all that the published one takes in ten minutes.
WARMUP = 20
#: How often errors are measured, and on how many held-out frames; independent frames, so the first will do.
MEASURED, HELD_OUT = 9, 128
#: The small preset's share of the time that the published one has.
SMALL_SHARE = 0.3
COLOURS = ((200, 70, 40), (40, 90, 190), (40, 140, 80))

#: Seconds and the error then.
Curve = list[tuple[float, float]]


class Learner:
    """One preset in training.

    Args:
        sizes: its autoencoder.
        config: how it is trained.
        frames, held_out: what it learns, and what it is measured on.
        share: of the time of the run that it has.
    """

    def __init__(
        self,
        sizes: AutoencoderConfig,
        config: AutoencoderTrainingConfig,
        frames: Frames,
        held_out: Frames,
        share: float = 1.0,
    ) -> None:
        model = Autoencoder(sizes, torch.Generator().manual_seed(config.seed))
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload] - as the command does
        self.task = AutoencoderTask(model, frames, held_out, config)
        self.config = config
        self.share = share
        optimizer = ClippedAdamW(self.task.parameter_groups(), config.clip)
        generator = torch.Generator().manual_seed(config.seed)
        self.taken = steps_of(self.task, BatchLoss(self.task, ALONE), optimizer, generator, config)
        self.steps, self.seconds = 0, 0.0
        self.curve: Curve = []

    def train(self, until: float) -> None:
        """Steps until its own seconds are so many."""
        self.task.model.train()
        while self.seconds < until:
            start = time.perf_counter()
            self.taken.take(self.steps, [self.config.lr * min(1.0, (self.steps + 1) / WARMUP)])
            self.steps += 1
            self.seconds += time.perf_counter() - start

    def measure(self) -> None:
        """One more point of the curve."""
        self.curve.append((self.seconds, self.task.validate()["val_mse"]))


def time_to(curve: Curve, error: float) -> float | None:
    """Seconds at which a curve first is at an error or below, straight between its points; None if it never is."""
    earlier: tuple[float, float] | None = None
    for seconds, value in curve:
        if value <= error:
            if earlier is None:
                return seconds
            share = (earlier[1] - error) / (earlier[1] - value)
            return earlier[0] + share * (seconds - earlier[0])
        earlier = seconds, value
    return None


def learn(learners: Mapping[str, Learner], seconds: float, slice_seconds: float) -> None:
    """Train all in turn and measure them ever more rarely, until each has had its share of the time.

    Args:
        learners: by name.
        seconds: of training, for a share of 1.
        slice_seconds: of a turn, for a share of 1.
    """
    at = 0.0
    for index in range(1, MEASURED + 1):
        end = seconds * (index / MEASURED) ** 2
        while at < end:
            at = min(end, at + slice_seconds)
            for learner in learners.values():
                learner.train(learner.share * at)
        for learner in learners.values():
            learner.measure()
        errors = ", ".join(f"{name} {learner.curve[-1][1]:.5f}" for name, learner in learners.items())
        print(f"{at:.0f} s: {errors}", file=sys.stderr, flush=True)


def picture(curves: Mapping[str, Curve], width: int = 900, height: int = 520) -> Image.Image:
    """Errors against seconds, both on logarithmic axes."""
    font = ImageFont.load_default(15)
    image = Image.new("RGB", (width, height), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = 90, 34, width - 30, height - 60
    points = [point for curve in curves.values() for point in curve]
    first, last = min(s for s, _ in points) / 1.1, max(s for s, _ in points) * 1.6  # room for the last name
    least, most = min(e for _, e in points) / 1.25, max(e for _, e in points) * 1.1

    def place(seconds: float, error: float) -> tuple[float, float]:
        across = math.log(seconds / first) / math.log(last / first)
        up = math.log(error / least) / math.log(most / least)
        return left + across * (right - left), bottom - up * (bottom - top)

    draw.rectangle((left, top, right, bottom), outline=(120, 120, 120))
    for power in range(-5, 5):
        for step in (1, 2, 5):
            value = step * 10.0**power
            if first <= value <= last:
                x, _ = place(value, least)
                draw.line((x, top, x, bottom), (225, 225, 225))
                draw.text((x, bottom + 8), f"{value:g}", (30, 30, 30), font, anchor="ma")
            if least <= value <= most:
                _, y = place(first, value)
                draw.line((left, y, right, y), (225, 225, 225))
                draw.text((left - 8, y), f"{value:g}", (30, 30, 30), font, anchor="rm")
    draw.text(((left + right) / 2, bottom + 32), "seconds of training, one thread", (30, 30, 30), font, anchor="ma")
    draw.text((left, top - 8), "mean squared error on held-out frames", (30, 30, 30), font, anchor="ls")
    ends = []
    for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
        placed = [place(*point) for point in curve]
        draw.line(placed, colour, 3, joint="curve")
        for x, y in placed:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), colour)
        ends.append((placed[-1][1], placed[-1][0], name, colour))
    free = float(top)  # from here on down there is no name yet
    for y, x, name, colour in sorted(ends):
        free = max(y, free) + 18
        draw.text((x + 8, free - 18), name, colour, font, anchor="lm")
    return image


def document(learners: Mapping[str, Learner]) -> dict[str, Any]:
    """Curves, and how long each preset takes to the best error of the one whose best is the worst."""
    reached = max(min(error for _, error in learner.curve) for learner in learners.values())
    return {
        "threads": torch.get_num_threads(),
        "batch_size": BATCH,
        "common_error": reached,
        "presets": {
            name: {
                "precision": learner.config.precision,
                "lr": learner.config.lr,
                "steps": learner.steps,
                "frames_per_second": learner.steps * BATCH / learner.seconds,
                "seconds_to_common_error": time_to(learner.curve, reached),
                "curve": [{"seconds": seconds, "val_mse": error} for seconds, error in learner.curve],
            }
            for name, learner in learners.items()
        },
    }


def learners_of(presets: Sequence[str], frames: Frames, held_out: Frames) -> dict[str, Learner]:
    """The presets' autoencoders for these frames, each as float32 and the small one as bfloat16 too."""
    learners = {}
    for name in presets:
        sizes, config = autoencoder_preset(name, frames.width)
        config = replace(config, batch_size=BATCH)
        if name == "small":
            bf16 = replace(config, precision="bf16")
            learners["small"] = Learner(sizes, config, frames, held_out, SMALL_SHARE)
            learners["small, bf16"] = Learner(sizes, bf16, frames, held_out, SMALL_SHARE)
        else:
            learners[name] = Learner(sizes, config, frames, held_out)
    return learners


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.curves", description=__doc__)
    parser.add_argument("data", type=Path, help="dataset with train and val_indep")
    parser.add_argument(
        "--minutes", type=float, default=12.0, help="of training for the published preset (default: %(default)s)"
    )
    parser.add_argument("--slice", type=float, default=10.0, help="seconds of a turn (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("curves"), help="stem of .json and .png, default: %(default)s")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as the commands do
    data = load_sequences([given.data])
    held_out = Frames([load_independent(given.data, "val_indep", None, data.columns).frames.slice(0, HELD_OUT).numpy()])
    learners = learners_of(("paper", "small"), data.frames, held_out)
    learn(learners, 60 * given.minutes, given.slice)
    result = document(learners)
    given.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    picture({name: learner.curve for name, learner in learners.items()}).save(given.out.with_suffix(".png"))
    for name, entry in result["presets"].items():
        print(f"{name}: {entry['seconds_to_common_error']:.0f} s to {result['common_error']:.5f}")


if __name__ == "__main__":
    main()
