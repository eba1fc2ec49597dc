"""Makes the GIF at the top of README.md: one sample frame, and each variable of a model changed alone.

``python docs/pictures/readme.py`` writes ``docs/pictures/interventions.gif`` with the packaged model of Temporal
Causal3DIdent; ``--model FILE`` takes another one of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import citris_cli
from citris_cli.causal_model import CausalModel
from citris_cli.data.variables import Variable
from citris_cli.show.animation import gif_bytes
from citris_cli.show.lettering import lettered

OUTPUT = Path(__file__).with_name("interventions.gif")
SAMPLE = "3"
#: Pictures of the loop and seconds between them.
PICTURES, PAUSE = 24, 0.1
#: Side of a tile, of the gap between tiles, and height of its title, in pixels; tiles in a row.
TILE, GAP, TITLE, COLUMNS = 96, 8, 20, 5
BACKGROUND, INK = (255, 255, 255), (40, 40, 40)


def loop(model: CausalModel, z: np.ndarray, variable: Variable) -> np.ndarray:
    """Frames uint8 [PICTURES, W, W, 3] of a walk through the values of a variable that ends where it began."""
    if variable.kind == "angle":  # its walk is closed
        values = model.sweep(variable.name, PICTURES)
    else:
        there = model.sweep(variable.name, PICTURES // 2 + 1)
        values = np.concatenate([there, there[-2:0:-1]])
    return model.decode(model.intervene(z, variable.name, values))


def tile(picture: np.ndarray, title: str, canvas: Image.Image, place: int) -> None:
    """Put a frame and its title on the canvas."""
    left, top = place % COLUMNS * (TILE + GAP), place // COLUMNS * (TILE + TITLE + GAP)
    canvas.paste(Image.fromarray(picture).resize((TILE, TILE), Image.Resampling.BICUBIC), (left, top + TITLE))
    text, font = lettered(title, 13)
    ImageDraw.Draw(canvas).text((left + TILE / 2, top + TITLE / 2), text, fill=INK, font=font, anchor="mm")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="causal3d")
    model = citris_cli.load(parser.parse_args().model)
    sample = Path(citris_cli.__file__).parent / "packaged" / "causal3d" / f"{SAMPLE}.png"
    frame = np.asarray(Image.open(sample).convert("RGB"))
    z = model.encode(frame[None])
    walks = {variable.name: loop(model, z, variable) for variable in model.variables}
    rows = -(-(len(walks) + 1) // COLUMNS)
    pages = []
    for number in range(PICTURES):
        canvas = Image.new("RGB", (COLUMNS * (TILE + GAP) - GAP, rows * (TILE + TITLE + GAP) - GAP), BACKGROUND)
        tile(frame, "the frame", canvas, 0)
        for place, (name, frames) in enumerate(walks.items(), start=1):
            tile(frames[number], name, canvas, place)
        pages.append(canvas)
    OUTPUT.write_bytes(gif_bytes(pages, 1000 * PAUSE, exact=[BACKGROUND, INK], sources=[f"@causal3d/{SAMPLE}"]))


if __name__ == "__main__":
    main()
