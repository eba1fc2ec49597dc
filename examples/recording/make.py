"""Makes the film and the table in this folder: python examples/recording/make.py, which needs citris-cli[video].

The film is Ball-in-Boxes (seed 2), each frame enlarged to 192×192 in the middle of 256×192, 30 frames a second, as
H.264. The table has a row for each frame: its number, 1 where box or ball_y was intervened on in the step into it, and
a note that nothing needs.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from citris_cli.worlds import load_world
from citris_cli.worlds.dataset import write_dataset

FRAMES, SEED = 600, 2
HERE = Path(__file__).parent


def main() -> None:
    """Write ball.mp4 and ball.csv."""
    world = load_world("ball-in-boxes")
    with tempfile.TemporaryDirectory() as folder:
        train, *_ = write_dataset(world, Path(folder), FRAMES, SEED)
        with np.load(train, allow_pickle=False) as file:
            images, targets, keys = file["images"], file["targets"], file["keys"].tolist()
    enlarged = np.kron(images, np.ones((1, 6, 6, 1), np.uint8))
    frames = np.full((FRAMES, 192, 256, 3), 235, np.uint8)
    frames[:, :, 32:224] = enlarged
    with iio.imopen(HERE / "ball.mp4", "w", plugin="pyav") as film:
        film.init_video_stream("libx264", fps=30)
        film.write(frames)
    names = {"ball_b": "box", "ball_y": "ball_y"}
    columns = [keys.index(key) for key in names]
    into = np.concatenate([np.zeros((1, len(keys)), targets.dtype), targets])
    with (HERE / "ball.csv").open("w", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["frame", *names.values(), "note"])
        for number, row in enumerate(into[:, columns].tolist()):
            table.writerow([number, *row, "start" if number == 0 else ""])


if __name__ == "__main__":
    main()
