"""``python -m tests.benchmarks.lags``: does the check find shifted rows, and never where there are none?

Every world at hand, whole and in parts, with its rows as they are and moved by one and two steps either way; and
targets that have nothing to do with the frames. Written as a table in Markdown. Worlds that are not there are left out.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from citris_cli.data.datasets import SequenceData, load_sequences
from citris_cli.evaluation.data_check.alignment import ratios_by_lag, verdict
from citris_cli.evaluation.data_check.features import features
from citris_cli.evaluation.data_check.report import LAGS
from citris_cli.evaluation.data_check.rows import Rows
from citris_cli.evaluation.data_check.visibility import shown
from citris_cli.worlds import load_world
from citris_cli.worlds.dataset import write_dataset
from tests.conftest import SHARED
from tests.evaluation.data_check.lamps import lamps, loaded
from tests.evaluation.data_check.parts import looked_at, part, shifted

#: Files of real worlds by name, and by how many steps their rows are late as they come.
WORLDS = {
    "Temporal Causal3DIdent": ("causal3d/train.npz", 0),
    "Interventional Pong": ("published/interventional_pong/train.npz", 0),
    "Causal Pinball": ("published/pinball/train.npz", 0),
    "Voronoi": ("published/voronoi/train.npz", 0),
    "Voronoi, instantaneous": ("published/voronoi_instantaneous/train.npz", 0),
    "Ball-in-Boxes, late rows": ("recordings/late.npz", 1),
    "Causal3DIdent, 100 frames": ("tutorial/causal3d.npz", 0),
    "Causal3DIdent, slider": ("tutorial/data_slider.npz", 0),
}
#: Frames of the parts.
PARTS = (200, 500, 1000, 2000)
#: Designs of targets that have nothing to do with the frames.
UNRELATED = ("independent", "held", "one")


def worlds(folder: Path, scratch: Path) -> Iterator[tuple[str, SequenceData, int]]:
    """Names, sequences, and by how many steps their rows are late."""
    for seed in range(3):
        files = write_dataset(load_world("ball-in-boxes"), scratch / str(seed), 4000, seed)
        yield f"Ball-in-Boxes, seed {seed}", load_sequences([files[0]]), 0
    for design in ("independent", "one", "held", "half"):
        yield f"lamps, {design}", loaded(lamps(2000, 4, design=design, fading=0.7, wander=0.1)), 0
    for name, (file, late) in WORLDS.items():
        if (folder / file).is_file():
            yield name, load_sequences([folder / file]), late


def whole(data: SequenceData, late: int) -> list[str]:
    """A cell for each lag of a world's rows, moved as a whole: the verdict and the ratio as rows stand."""
    found = looked_at(data)
    seen_in = features(found)
    cells = []
    for lag in LAGS:
        rows = Rows.of(shifted(data, lag - late))
        told = verdict(seen_in, found, rows)
        ratio = ratios_by_lag(found, rows)[LAGS.index(0)]
        said = "cannot tell" if told.lag is None else f"{_signed(told.lag)} ({told.confidence:.4f})"
        cells.append(f"{said}{'' if told.lag in (None, lag) else ' WRONG'}; {'–' if ratio is None else f'{ratio:.2f}'}")
    return cells


def _signed(lag: int) -> str:
    return f"{lag:+d}" if lag else "0"


def in_parts(data: SequenceData, late: int, parts: int) -> dict[int, Counter[str]]:
    """How often the verdict on parts of a world was right, open or wrong, by how late their rows are."""
    counts: dict[int, Counter[str]] = {lag: Counter() for lag in LAGS}
    random = np.random.default_rng(0)
    for frames in PARTS:
        last = len(data.frames) - frames
        if last < 0:
            continue
        for first in sorted({0, last, *random.integers(0, last + 1, parts).tolist()}):
            found = looked_at(some := part(data, first, frames))
            seen_in = features(found)
            for lag in LAGS:
                told = verdict(seen_in, found, Rows.of(shifted(some, lag - late))).lag
                counts[lag]["open" if told is None else "right" if told == lag else "wrong"] += 1
    return counts


def unrelated(data: SequenceData, draws: int) -> Counter[str]:
    """Verdicts on targets drawn without the frames, and how many of their variables were said to show."""
    counts: Counter[str] = Counter()
    random = np.random.default_rng(1)
    for frames in (300, 1000):
        if len(data.frames) < frames:
            continue
        found = looked_at(some := part(data, 0, frames))
        seen_in = features(found)
        count = some.targets.shape[1]
        for draw in range(draws):
            design = UNRELATED[draw % len(UNRELATED)]
            if design == "one":
                drawn = np.eye(count, dtype=bool)[random.integers(0, count, frames)]
            elif design == "held":
                drawn = np.repeat(random.random((frames // 6 + 1, count)) < 0.25, 6, axis=0)[:frames]
            else:
                drawn = random.random((frames, count)) < 0.12
            rows = Rows.of(shifted(replace(some, targets=torch.from_numpy(drawn.astype(np.uint8))), 0))
            counts["open" if verdict(seen_in, found, rows).lag is None else "told"] += 1
            shows = shown(seen_in, rows, found, 0)
            counts["shows"] += shows.count(True)
            counts["variables"] += len(shows)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lags", description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=SHARED / "data", help="folder of the worlds (default: %(default)s)"
    )
    parser.add_argument("--parts", type=int, default=4, help="parts of each length, besides the first and the last")
    parser.add_argument("--draws", type=int, default=30, help="unrelated targets drawn for each world and length")
    parser.add_argument("--out", type=Path, default=Path("lags.md"), help="default: %(default)s")
    given = parser.parse_args()
    head = " | ".join(map(_signed, LAGS))
    line = "|---" * (len(LAGS) + 1) + "|"
    tables: dict[str, list[str]] = {
        "Whole: the verdict (and its confidence); the ratio of change as the rows stand": [],
        "Parts of 200, 500, 1,000 and 2,000 frames: right / cannot tell / wrong": [],
    }
    chance: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, data, late in worlds(given.data, Path(scratch)):
            print(f"{name} …", flush=True)
            of_whole, of_parts = tables.values()
            of_whole.append(f"| {name} | {' | '.join(whole(data, late))} |")
            counts = in_parts(data, late, given.parts)
            if any(counts.values()):
                cells = [f"{one['right']} / {one['open']} / {one['wrong']}" for one in counts.values()]
                of_parts.append(f"| {name} | {' | '.join(cells)} |")
            by_chance = unrelated(data, given.draws)
            if by_chance:
                chance.append(
                    f"| {name} | {by_chance['open']} | {by_chance['told']} | {by_chance['shows']} of "
                    f"{by_chance['variables']} |"
                )
    lines = []
    for title, rows in tables.items():
        lines += [f"## {title}", "", f"| rows late by | {head} |", line, *rows, ""]
    lines += ["## Targets that have nothing to do with the frames", ""]
    lines += ["| world | cannot tell | told a lag | variables said to show |", "|---|---|---|---|", *chance, ""]
    given.out.write_text("\n".join(lines), "utf-8")
    print(f"written to {given.out}")


if __name__ == "__main__":
    main()
