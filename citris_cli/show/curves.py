"""Curves over steps in panels side by side, one a factor, as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from citris_cli.show.colours import GREY_LIGHT, PAPER_LIGHT, TEXT_LIGHT, mixed, rgb, variable_colours
from citris_cli.show.latents import axis_ticks
from citris_cli.show.lettering import lettered

#: All lengths are pixels.
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 300, 210, 52, 14, 34, 40
COLUMNS, MARGIN, LINE = 3, 12, 20
FONT_SIZE, SMALL = 13, 11
#: Lines are drawn this many times larger first, so that they come out smooth.
FINER = 3
PAPER, TEXT = rgb(PAPER_LIGHT), rgb(TEXT_LIGHT)
GRID = mixed(GREY_LIGHT, PAPER_LIGHT, 0.3)


@dataclass(frozen=True, eq=False)
class Panel:
    """One set of axes.

    Attributes:
        title: above it.
        curves: values [T] at the steps 1 … T, by name; every panel of a picture has the same names.
    """

    title: str
    curves: Mapping[str, np.ndarray[Any, Any]]


def curves_picture(panels: Sequence[Panel], across: str, explained: Mapping[str, str]) -> Image.Image:
    """Panels in rows of three, each with an axis of its own that begins at 0, and what the curves are below them.

    Args:
        panels: at least one, of at least one step.
        across: what the steps are, below the lowest panels.
        explained: of every curve a few words, in the order of the legend; the order of the colours, too.

    Returns:
        An RGB picture.
    """
    names = [name for name in explained if name in panels[0].curves]
    colours = {name: rgb(light) for name, (light, _) in zip(explained, variable_colours(len(explained)), strict=True)}
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    size = columns * WIDTH + 2 * MARGIN, rows * HEIGHT + len(names) * LINE + 3 * MARGIN
    picture = Image.new("RGB", size, PAPER)
    for number, panel in enumerate(panels):
        place = MARGIN + number % columns * WIDTH, MARGIN + number // columns * HEIGHT
        picture.paste(_drawn(panel, names, colours, across), place)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(FONT_SIZE)
    for number, name in enumerate(names):
        y = rows * HEIGHT + 2 * MARGIN + number * LINE + LINE // 2
        draw.line([(MARGIN, y), (MARGIN + 28, y)], colours[name], 3)
        draw.text((MARGIN + 38, y), f"{name}: {explained[name]}", TEXT, font, anchor="lm")
    return picture


def _drawn(panel: Panel, names: Sequence[str], colours: Mapping[str, tuple[int, int, int]], across: str) -> Image.Image:
    steps = len(next(iter(panel.curves.values())))
    highest = max((float(np.nanmax(panel.curves[name])) for name in names), default=0.0)
    top = 1.08 * highest if highest > 0 and math.isfinite(highest) else 1.0
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def at(step: float, value: float) -> tuple[float, float]:
        share = 0.5 if steps == 1 else (step - 1) / (steps - 1)
        return LEFT + share * (right - LEFT), bottom - value / top * (bottom - TOP)

    fine = Image.new("RGB", (FINER * WIDTH, FINER * HEIGHT), PAPER)
    draw = ImageDraw.Draw(fine)

    def line(points: Sequence[tuple[float, float]], colour: tuple[int, int, int], width: int) -> None:
        draw.line([(FINER * x, FINER * y) for x, y in points], colour, width, joint="curve")

    for tick in axis_ticks(0.0, top)[::2]:
        line([(LEFT, at(1, tick)[1]), (right, at(1, tick)[1])], GRID, 2)
    line([(LEFT, TOP), (LEFT, bottom), (right, bottom)], TEXT, 3)
    for name in reversed(names):  # the first on top
        points = [at(step, float(value)) for step, value in enumerate(panel.curves[name], start=1)]
        line(points, colours[name], 2 * FINER)
        for x, y in points if steps <= 20 else ():
            dot = 2.5 * FINER
            draw.ellipse([FINER * x - dot, FINER * y - dot, FINER * x + dot, FINER * y + dot], colours[name])
    picture = fine.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    small = ImageFont.load_default(SMALL)
    title, font = lettered(panel.title, FONT_SIZE)
    draw.text(((LEFT + right) / 2, 6), title, TEXT, font, anchor="ma")
    for tick in axis_ticks(0.0, top)[::2]:
        draw.text((LEFT - 6, at(1, tick)[1]), f"{tick:.3g}", TEXT, small, anchor="rm")
    for step in sorted({1, *(round(1 + share * (steps - 1)) for share in (0.25, 0.5, 0.75, 1))}):
        draw.text((at(step, 0)[0], bottom + 5), str(step), TEXT, small, anchor="ma")
    draw.text(((LEFT + right) / 2, HEIGHT - 18), across, TEXT, small, anchor="ma")
    return picture
