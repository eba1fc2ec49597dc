"""Recordings made for tests: frames that tell their number, the example's film, pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from citris_cli.recordings.pack import Packed, Packing, pack
from citris_cli.recordings.targets import Reading

EXAMPLE = Path(__file__).parents[2] / "examples/recording"


def numbered(count: int, height: int = 32, width: int = 32, channels: int = 3) -> np.ndarray[Any, Any]:
    """Frames uint8 [count, height, width, channels], each all of the value of its number."""
    values = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(values, (count, height, width, channels)).copy()


def table(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return path


def pictures(folder: Path, count: int, size: tuple[int, int] = (32, 32)) -> Path:
    """A folder of PNGs shot_1, shot_2, … shot_10, whose values are their numbers from 0 on."""
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", size, (number,) * 3).save(folder / f"shot_{number + 1}.png")
    return folder


class Maker:
    """Packs in a folder of its own, and reads what was made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: list[str] = []
        self.packed: Packed | None = None

    def __call__(self, *sources: Path, reading: Reading | None = None, **packing: Any) -> dict[str, Any]:
        self.notes = []
        overwrite = packing.pop("overwrite", True)
        output = packing.pop("output", self.folder / "made")
        self.packed = pack(
            sources, output, reading or Reading(), Packing(**packing), ["citris"], overwrite, self.notes.append
        )
        return {name: self.read(path) for name, path in self.packed.files.items()}

    @staticmethod
    def read(path: Path) -> dict[str, Any]:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)

    def said(self, words: str) -> bool:
        return any(words in note for note in self.notes)


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


@pytest.fixture
def film() -> Path:
    """400 frames and more of the example's film; skipped where PyAV is not installed."""
    pytest.importorskip("av")
    return EXAMPLE / "ball.mp4"


Make = Callable[..., dict[str, Any]]
