"""Makes a model that comes with citris: python examples/models/package.py NAME MODEL FRAME…

Writes citris_cli/packaged/NAME: the model with as many of its weights in half precision as change no latent by more
than a thousandth of its spread and no pixel by more than two levels of 255, and the frames as 1.png, 2.png, ….
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from citris_cli.artifacts.models import ModelFile, read_model, write_model
from citris_cli.artifacts.packaged import HOME, MODEL
from citris_cli.causal_model import CausalModel
from citris_cli.commands.inputs import gather_frames
from citris_cli.data.datasets import load_independent
from citris_cli.data.layout import safe_name
from citris_cli.errors import InputError
from citris_cli.evaluation.validation import independent_correlation
from citris_cli.loading import model_from_file
from citris_cli.show.console import Console

#: The most that half precision may change: a latent, in standard deviations of it, and a pixel, in levels of 255.
LATENT_TOLERANCE, PIXEL_TOLERANCE = 1e-3, 2
#: Frames that the change is measured on, and draws and steps of a sweep.
FRAMES, DRAWS = 128, 32
#: Parts that stay in float32: small, or values that are looked up and counted.
LEFT = ("assignment", "classifier", "reference")


def built(file: ModelFile, halved: frozenset[str]) -> CausalModel:
    """The model of a file with some of its parts in half precision, computing in float32."""
    tensors = in_half(file.tensors, halved)
    return CausalModel(model_from_file(dataclasses.replace(file, tensors=tensors), Path(MODEL), torch.device("cpu")))


def part_of(name: str) -> str:
    """The part of the model that a tensor belongs to: autoencoder.encoder, autoencoder.decoder, flow, prior, …."""
    words = name.split(".")
    return ".".join(words[:2]) if words[0] == "autoencoder" else words[0]


def in_half(tensors: Mapping[str, torch.Tensor], halved: frozenset[str]) -> dict[str, torch.Tensor]:
    """Tensors of which those of some parts that are in float32 are in float16."""
    return {
        name: value.half() if value.dtype == torch.float32 and part_of(name) in halved else value
        for name, value in tensors.items()
    }


def outcomes(model: CausalModel, frames: np.ndarray, z: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Everything that a user gets of a model: latents of frames, drawn ones and swept ones; and decoded frames."""
    latents = [model.encode(frames)]
    for index, name in enumerate(model.variables.names):
        if (model.assignment == index).any():
            latents.append(model.draw(z[:1], name, DRAWS, torch.Generator().manual_seed(0)))
            latents.append(model.sweep(name, DRAWS))
    return latents, model.decode(z)


def halved_parts(file: ModelFile) -> tuple[frozenset[str], float, int]:
    """The parts that are as good in half precision, and what that changes: latents and pixels, see the tolerances."""
    exact = built(file, frozenset())
    if "reference.z" not in file.tensors:
        return frozenset(), 0.0, 0  # of a published checkpoint: nothing to measure on
    reference = file.tensors["reference.z"].float().numpy()
    frames = exact.decode(reference[:: max(1, len(reference) // FRAMES)])
    z = exact.encode(frames)
    spread = z.std(0)
    wanted, pictures = outcomes(exact, frames, z)
    sizes: dict[str, int] = {}
    for name, value in file.tensors.items():
        if part_of(name) not in LEFT:
            sizes[part_of(name)] = sizes.get(part_of(name), 0) + value.numel()
    halved, told = frozenset(), (0.0, 0)
    for part in sorted(sizes, key=lambda one: -sizes[one]):
        found, seen = outcomes(built(file, halved | {part}), frames, z)
        latents = max(float((abs(one - other) / spread).max()) for one, other in zip(found, wanted, strict=True))
        pixels = int(abs(seen.astype(int) - pictures).max())
        good = latents <= LATENT_TOLERANCE and pixels <= PIXEL_TOLERANCE
        verdict = "float16" if good else "float32"
        print(f"{part:22} {sizes[part]:10,} weights: {latents:.5f} of the spread, {pixels} levels: {verdict}")
        if good:
            halved, told = halved | {part}, (latents, pixels)
    return halved, *told


def main() -> None:
    """Make one as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the model for --model: causal3d")
    parser.add_argument("model", type=Path, help="what train-nf or train-vae wrote")
    parser.add_argument("frames", type=Path, nargs="+", help="that it was not trained on: data.npz#17, frame.png")
    parser.add_argument("--into", type=Path, default=HOME, help="another folder than citris_cli/packaged")
    parser.add_argument("--measured-on", type=Path, help="independent frames with true values: R² goes into the file")
    given = parser.parse_args()
    if given.name != safe_name(given.name):
        raise InputError(f"{given.name}: is no name of a folder; take {safe_name(given.name)}")
    file = read_model(given.model, hashed=True)
    model = built(file, frozenset())
    pictures = [
        frame
        for _, frames in gather_frames(given.frames, model, Console())
        for frame in frames.slice(0, len(frames)).cpu().numpy()
    ]
    halved, latents, pixels = halved_parts(file)
    told = {"parts": sorted(halved), "latents": latents, "pixels": pixels}
    provenance = file.provenance | {"packaged_from": file.sha256, "half_precision": told}
    if given.measured_on is not None:
        found = independent_correlation(model, load_independent(given.measured_on))
        provenance["metrics"] = {**provenance["metrics"], "identification": found.to_json()}
    folder = given.into / given.name
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    packaged = dataclasses.replace(file, tensors=in_half(file.tensors, halved), provenance=provenance)
    write_model(folder / MODEL, packaged)
    for number, frame in enumerate(pictures, 1):
        Image.fromarray(frame).save(folder / f"{number}.png", optimize=True)
    before, after = given.model.stat().st_size, (folder / MODEL).stat().st_size
    print(f"{folder}: {after / 1e6:.1f} MB ({before / 1e6:.1f} before), {len(pictures)} frames")


if __name__ == "__main__":
    main()
