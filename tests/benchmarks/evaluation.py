"""What a trained model is for: how long its measures and one intervention take."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from citris_cli.app import main
from citris_cli.data.variables import CAUSAL3DIDENT
from citris_cli.evaluation import correlation as batched
from citris_cli.worlds.ball_in_boxes import BallInBoxes
from tests.benchmarks.measure import Effort, Row, Target, interleaved

FRAMES, LATENTS, VARIABLES = 1000, 32, 9
MODEL = "@ball-in-boxes"


def correlation(effort: Effort) -> list[Row]:
    """R² and Spearman matrices, all K+1 networks at once, against one network after the other."""
    rng = np.random.default_rng(0)
    factors = CAUSAL3DIDENT[:VARIABLES]
    truth = rng.uniform(0, 6, (FRAMES, VARIABLES))
    z = torch.from_numpy(np.tanh(truth @ rng.normal(size=(VARIABLES, LATENTS)) / 6)).float()
    assignment = torch.arange(LATENTS) % (VARIABLES + 1)

    def run() -> None:
        batched.correlation(z, assignment, truth, factors, factors, torch.Generator().manual_seed(0))

    def one_by_one() -> None:
        fit = batched._fit_and_predict
        batched._fit_and_predict = _in_turn(fit)  # type: ignore[assignment]
        try:
            run()
        finally:
            batched._fit_and_predict = fit

    taken = interleaved({"ours": run, "plain": one_by_one}, effort)
    what = f"eval-correlation ({FRAMES:,} frames, K {VARIABLES}, M {LATENTS})"
    return [Row(what, "s", taken["ours"], taken["plain"], None, Target("ours", 30.0, least=False))]


def _in_turn(fit: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """The same training with a single network at a time."""

    def run(z: torch.Tensor, masks: torch.Tensor, *rest: object) -> torch.Tensor:
        return torch.cat([fit(z, mask[None], *rest) for mask in masks])

    return run


def intervene(effort: Effort) -> list[Row]:
    """``citris intervene`` on one picture, from the command line's start to its end, in a process that has torch."""
    with tempfile.TemporaryDirectory(prefix="citris-benchmark-") as name:
        folder = Path(name)
        world = BallInBoxes()
        Image.fromarray(world.render(world.independent(1, np.random.default_rng(0)))[0]).save(folder / "frame.png")
        arguments = ["intervene", folder / "frame.png", "--var", "box", "-m", MODEL, "-o", folder / "strip.png"]
        taken = interleaved({"ours": partial(_command, arguments)}, effort)
    return [Row("intervene on one picture, after imports", "s", taken["ours"], target=Target("ours", 0.5, least=False))]


def _command(arguments: list[object]) -> None:
    with _arguments(arguments), contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"citris {arguments[0]} ended with status {end.code}") from end


@contextlib.contextmanager
def _arguments(arguments: list[object]) -> Iterator[None]:
    before = sys.argv
    sys.argv = ["citris", *map(str, arguments)]
    try:
        yield
    finally:
        sys.argv = before
