"""What commands spend on files: starting up for one picture, feeding the encoder, unpacking a compressed dataset."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from citris_cli.artifacts.arrays import npz_writer
from citris_cli.artifacts.models import ModelFile, write_model
from citris_cli.causal_model import CausalModel, load
from citris_cli.commands.encode import encode
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.config import CitrisNFConfig
from citris_cli.data.frames import as_model_input
from citris_cli.loading import model_config, model_tensors
from citris_cli.training.presets import AUTOENCODER
from citris_cli.worlds.ball_in_boxes import BallInBoxes
from tests.benchmarks.measure import QUICK, Effort, Row, Target, interleaved

SIDE, BATCH = 64, 256
#: Frames of the dataset that is encoded, and bytes of the frames that are unpacked; the second of each for ``--quick``.
ENCODED, UNPACKED = (100_000, 10_000), (1_000_000_000, 100_000_000)
#: Bytes that unpacking may take beyond the array itself.
BESIDES = 64e6

#: Reads frames by one of two ways and prints seconds, and bytes that the most memory grew by.
UNPACK = """
import sys, time
from pathlib import Path
import numpy as np
from citris_cli.data.datasets import read_frames

def peak():
    # The system's other account of a child may start at its parent's peak.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024

before, started = peak(), time.perf_counter()
frames = read_frames(Path("d.npz")) if sys.argv[1] == "ours" else np.load("d.npz")["images"]
print(time.perf_counter() - started, peak() - before)
"""


def start_up(effort: Effort) -> list[Row]:
    """``citris encode`` of one picture from start to end, less what importing PyTorch alone takes."""
    with tempfile.TemporaryDirectory(prefix="citris-benchmark-") as name:
        folder = Path(name)
        _write_model(folder / "m.safetensors")
        Image.fromarray(_frames(1)[0]).save(folder / "p.png")
        run = partial(subprocess.run, check=True, capture_output=True, cwd=folder, env=_environment())
        forms = {
            "ours": partial(run, [sys.executable, "-m", "citris_cli", "encode", "p.png", "-m", "m.safetensors"]),
            "torch": partial(run, [sys.executable, "-c", "import torch"]),
        }
        taken = interleaved(forms, effort)
    beyond = taken["ours"] - taken["torch"]
    return [
        Row("citris encode of a picture, beyond import torch", "s", beyond, target=Target("ours", 1.0, least=False))
    ]


def feed(effort: Effort) -> list[Row]:
    """``citris encode`` of a dataset, files included, against the same encoder on frames that lie in memory."""
    count = ENCODED[effort == QUICK]
    with tempfile.TemporaryDirectory(prefix="citris-benchmark-") as name:
        folder = Path(name)
        _write_model(folder / "m.safetensors")
        frames = _frames(count)
        with open(folder / "d.npz", "wb") as file, npz_writer(file) as writer:
            writer.add("images", frames)
        model = load(folder / "m.safetensors")
        arguments = [folder / "d.npz"], folder / "m.safetensors", folder / "z.npz", BATCH, "cpu"
        forms: dict[str, Callable[[], object]] = {
            "ours": partial(_silent, arguments),
            "plain": partial(_encode, model, torch.from_numpy(frames)),
        }
        taken = interleaved(forms, Effort(min(effort.rounds, 3), effort.seconds))
    rates = count / taken["ours"], count / taken["plain"]
    what = f"citris encode of {count:,} frames, against the encoder alone"
    return [Row(what, "frames/s", *rates, target=Target("ratio", 0.9))]


def unpack(effort: Effort) -> list[Row]:
    """A compressed dataset read by us and by NumPy: seconds, and memory beyond the array's own."""
    size = UNPACKED[effort == QUICK]
    with tempfile.TemporaryDirectory(prefix="citris-benchmark-") as name:
        folder = Path(name)
        # A simulated world's frames are as compressible as rendered ones; noise would not be.
        drawn = BallInBoxes(size=SIDE).render(BallInBoxes(size=SIDE).independent(2000, np.random.default_rng(0)))
        frames = drawn[np.random.default_rng(1).integers(0, len(drawn), size // drawn[0].nbytes)]
        np.savez_compressed(folder / "d.npz", images=frames)
        reads: dict[str, list[tuple[float, float]]] = {"ours": [], "numpy": []}
        for _ in range(effort.rounds):
            for way, read in reads.items():
                read.append(_unpacked(folder, way))
    # The shortest: a virtual machine's host may take back what a process freed, and whoever gets it next then waits for
    # its pages, up to twice as long again as for all else.
    seconds = {way: min(took for took, _ in read) for way, read in reads.items()}
    peak = max(memory for _, memory in reads["ours"])
    what = f"frames in a compressed .npz, {size / 1e9:g} GB"
    return [
        Row(f"{what}, against NumPy", "s", seconds["ours"], seconds["numpy"], target=Target("ratio", 0.5)),
        Row(f"{what}, memory", "GB", peak / 1e9, target=Target("ours", (size + BESIDES) / 1e9, least=False)),
    ]


def _unpacked(folder: Path, way: str) -> tuple[float, float]:
    command = [sys.executable, "-c", UNPACK, way]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder, env=_environment())
    took, memory = map(float, done.stdout.split())
    return took, memory


def _environment() -> dict[str, str]:
    """For processes in another folder: this tree's package, and as many threads."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(torch.get_num_threads())}


def _frames(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def _write_model(path: Path) -> None:
    """An untrained CITRIS-NF of the small preset."""
    sizes, generator = AUTOENCODER["small"][0], torch.Generator().manual_seed(0)
    config = CitrisNFConfig(latents=sizes.latents, variables=9)
    network = CitrisNF(config, Autoencoder(sizes, generator), generator)
    variables = [{"name": f"v{index}"} for index in range(config.variables)]
    write_model(path, ModelFile("citris_nf", model_config(network), variables, {}, model_tensors(network)))


@torch.no_grad()
def _encode(model: CausalModel, frames: torch.Tensor) -> torch.Tensor:
    return torch.cat([model.network.encode(as_model_input(chunk)) for chunk in frames.split(BATCH)])


def _silent(arguments: tuple) -> None:
    """The command in this process, so that its start is no part of its rate; its notes go nowhere."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        encode(*arguments)
