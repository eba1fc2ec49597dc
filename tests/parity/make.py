"""Writes the parity numbers: ``python -m tests.parity.make``.

Weights and inputs are drawn here, nothing is trained; the outputs come from the plain implementation beside this file.
``numbers.safetensors`` holds of every part ``part/weights``, all its weights in the order of their names as one vector
(their shapes are in ``shapes.py``), ``part/in/…`` as the models take them and ``part/out/…`` in float64; its metadata
are the settings of every part.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from tests.parity import plain, shapes
from tests.parity.plain import Settings
from tests.parity.plain_networks import Array, Weights

FILE = Path(__file__).with_name("numbers.safetensors")

#: Of decoded images, every third row and column may stand for all: 3 has no factor in common with a patch or a stride.
IMAGES: Settings = {"width": 32, "channels": 3, "latents": 6, "every": 3}
AUTOENCODER: Settings = IMAGES | {"kind": "autoencoder", "blocks": 2, "noise": 0.05, "latent_penalty": 1e-2}
#: Widths that fill a vector register more than once and leave a rest.
CAUSAL: Settings = {
    "latents": 6, "variables": 3, "hidden": 20, "prior": "mlp", "imperfect": False, "prior_hidden": 5,
    "regulariser": 0.1, "flow_layers": 3, "flow_hidden": 5, "classifier_layers": 1, "momentum": 0.0,
    "conditional": True, "classifier_weight": 2.0, "temperature": 1.0,
}  # fmt: skip
PRIOR: Settings = CAUSAL | {"kind": "prior", "batch": 5, "samples": 3, "draw_temperature": 0.6}
NF: Settings = CAUSAL | IMAGES | {
    "kind": "citris_nf", "hidden": 10, "flow_hidden": 3, "prior_hidden": 3, "flow_layers": 2, "patch": 4, "growth": 1,
    "blocks": 1, "noise": 0.2, "noise_scale": 1.5, "batch": 4, "samples": 3, "images": True,
}  # fmt: skip
VAE: Settings = NF | {"kind": "citris_vae", "flow_layers": 0, "networks": "pyramid", "kl_weight": 0.7, "batch": 2}
FACTORS = [
    {"name": "x", "kind": "continuous", "low": -1.0, "high": 4.0},
    {"name": "hue", "kind": "angle"},
    {"name": "shape", "kind": "categorical", "categories": 3},
]

PARTS: dict[str, Settings] = {
    "autoencoder": AUTOENCODER | {"patch": 1, "growth": 1, "every": 1, "gradient": False},
    "autoencoder_folded": AUTOENCODER | {"patch": 2, "growth": 2, "channels": 2, "gradient": True},
    "autoencoder_odd": AUTOENCODER | {
        "width": 144, "patch": 4, "growth": 2, "channels": 2, "blocks": 1, "batch": 1, "every": 5, "gradient": False,
    },
    "vae_small": IMAGES | {"kind": "vae_networks", "networks": "small", "every": 1},
    "vae_pyramid": IMAGES | {"kind": "vae_networks", "networks": "pyramid"},
    "batch_norm": {"kind": "batch_norm", "channels": 5},
    "flow": CAUSAL | {"kind": "flow"},
    "prior_mlp_perfect": PRIOR,
    "prior_mlp_imperfect": PRIOR | {"imperfect": True},
    "prior_autoregressive_perfect": PRIOR | {"prior": "autoregressive"},
    "prior_autoregressive_imperfect": PRIOR | {"prior": "autoregressive", "imperfect": True},
    "prior_ivae": PRIOR | {"prior": "ivae", "hidden": 5},
    "prior_slow": PRIOR | {"prior": "slow"},
    "classifier": CAUSAL | {"kind": "classifier", "hidden": 10, "conditional": False},
    "classifier_conditional": CAUSAL | {
        "kind": "classifier", "hidden": 10, "momentum": 0.9, "classifier_layers": 2,
    },
    "assignment": {"kind": "assignment", "latents": 6, "variables": 3, "temperature": 0.7},
    "citris_nf": NF,
    "citris_nf_autoregressive": NF | {
        "prior": "autoregressive", "classifier_layers": 2, "momentum": 0.9, "images": False,
    },
    "citris_vae": VAE,
    "citris_vae_flow": VAE | {
        "networks": "small", "channels": 2, "prior": "autoregressive", "imperfect": True, "flow_layers": 2,
    },
    "causal_encoder": IMAGES | {"kind": "causal_encoder", "patch": 2, "factors": FACTORS, "norm_penalty": 0.1},
    "distances": {"kind": "distances", "factors": FACTORS},
    "adamw": {
        "kind": "adamw", "steps": 6, "clip": 2.0,
        "groups": [{"lr": 0.01, "decay": 0.0}, {"lr": 0.01, "decay": 0.0}, {"lr": 0.04, "decay": 0.1}],
    },
}  # fmt: skip

LOG_SCALES = ("out.weight", "last.weight", "intervened", "network.4.weight")


@dataclass
class Part:
    """One part of the model with its numbers.

    Attributes:
        settings: its kind, its sizes and what else is to be known of it.
        weights: by the names of its state dictionary.
        inputs: what it is given.
        outputs: what it gives.
    """

    settings: Settings
    weights: Weights
    inputs: dict[str, Array]
    outputs: dict[str, Array]


class Draws:
    """Random numbers of one part. Uniform ones only: their stream is the same in every version of NumPy.

    Args:
        name: of the part, which gives the seed, so that no part's numbers depend on another's.
    """

    def __init__(self, name: str) -> None:
        self.generator = np.random.default_rng(zlib.crc32(name.encode()))

    def uniform(self, shape: tuple[int, ...], low: float, high: float) -> Array:
        """Float32 numbers between low and high."""
        return (low + (high - low) * self.generator.random(shape)).astype(np.float32)

    def unit(self, shape: tuple[int, ...]) -> Array:
        """Numbers of mean 0 and variance 1, in the places of a Gaussian's."""
        return self.uniform(shape, -(3**0.5), 3**0.5)

    def integers(self, shape: tuple[int, ...], count: int) -> Array:
        """uint8 0 ... count - 1."""
        return np.floor(count * self.generator.random(shape)).astype(np.uint8)

    def targets(self, shape: tuple[int, ...]) -> Array:
        """0 or 1, two in five of them 1."""
        return (self.generator.random(shape) < 0.4).astype(np.uint8)

    def one_hot(self, shape: tuple[int, ...], count: int) -> Array:
        """float32 [*shape, count]."""
        return np.eye(count, dtype=np.float32)[self.integers(shape, count)]

    def permutation(self, size: int) -> Array:
        """A permutation matrix."""
        return np.eye(size, dtype=np.float32)[np.argsort(self.generator.random(size))]

    def weight(self, name: str, shape: tuple[int, ...]) -> Array:
        """A weight by what its name says, such that numbers stay of the order of 1 from layer to layer."""
        last = name.rsplit(".", 1)[-1]
        if last == "permutation":
            return self.permutation(shape[0])
        if last == "sign":
            return np.asarray(1 - 2.0 * self.targets(shape), np.float32)
        if last in ("count", "conditional_count"):
            return np.asarray(1 + self.integers(shape, 3), np.float32)
        if last in ("mean", "conditional_mean"):
            return self.uniform(shape, 0.1, 0.9)
        if last == "running_var" or (last == "weight" and len(shape) == 1):
            return self.uniform(shape, 0.5, 1.5)
        if last == "logits":
            return self.uniform(shape, -2, 2)
        if len(shape) <= 1 or "bias" in last:
            return self.uniform(shape, -0.5, 0.5)
        inputs = math.prod(shape[1:]) if len(shape) == 4 else shape[-1]
        # What gives log standard deviations and log scales is smaller, or densities and Jacobians are wildly unlike.
        gain = 0.5 if name.endswith(LOG_SCALES) else 1.2
        return self.unit(shape) * (gain / math.sqrt(inputs))


def shapes_of(settings: Settings) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a part's weights, in the order of their names."""
    if settings["kind"] == "batch_norm":
        return sorted(shapes.batch_norm(settings["channels"]).items())
    of_kind = {"vae_networks": "vae", "distances": "nothing", "adamw": "nothing"}
    return sorted(getattr(shapes, of_kind.get(settings["kind"], settings["kind"]))(settings).items())


def draw_weights(settings: Settings, draws: Draws) -> Weights:
    """The weights of a part."""
    weights = {name: draws.weight(name, shape) for name, shape in shapes_of(settings)}
    if settings["kind"] == "flow":
        weights["transforms.0.log_scale"][1] = -3.5  # which is clamped to -3
        weights["transforms.1.scaling"][2] = 1.0  # a bound above 1
    for name in weights:
        if ".frozen." in f".{name}" and not settings["momentum"]:  # the copy is the network itself
            weights[name] = weights[name.replace("frozen.", "network.")].copy()
    return weights


def draw_inputs(settings: Settings, draws: Draws) -> dict[str, Array]:
    """The inputs of a part."""
    kind, latents, variables = settings["kind"], settings.get("latents"), settings.get("variables")
    batch, samples = settings.get("batch"), settings.get("samples")
    if kind == "autoencoder":
        width, number = settings["width"], settings.get("batch", 2)
        inputs = {"frames": draws.integers((number, 3, width, width), 256), "noise": draws.unit((number, latents))}
        return inputs | {"latents": draws.unit((1, latents))}
    if kind == "vae_networks":
        return {"frames": draws.integers((2, 3, 32, 32), 256), "latents": draws.unit((1, latents))}
    if kind == "batch_norm":
        return {"x": draws.uniform((3, settings["channels"], 4, 4), -2, 3)}
    if kind == "flow":
        inputs = {"x": draws.unit((5, latents)), "z": draws.unit((5, latents))}
        return inputs | {"batch": draws.uniform((40, latents), -1, 3)}
    if kind == "prior":
        inputs = {"z_t": draws.unit((batch, samples, latents)), "z_t1": draws.unit((batch, samples, latents))}
        inputs |= {"mean": draws.unit((batch, latents)), "log_std": draws.uniform((batch, latents), -2, 0.2)}
        inputs |= {"targets": draws.targets((batch, variables))}
        inputs |= {"logits": draws.uniform((latents, variables + 1), -2, 2)}
        inputs |= {"psi": draws.one_hot((batch, latents), variables + 1)}
        if settings["prior"] == "slow":
            return inputs | {"uniform": draws.uniform((batch, latents), 0.02, 0.98)}
        return inputs | {"noise": draws.unit((batch, latents))}
    if kind == "classifier":
        inputs = {"z": draws.unit((3, 4, 3, latents)), "targets": draws.targets((3, 4, 2, variables))}
        return inputs | {"psi": draws.one_hot((3, 4, latents), variables + 1)}
    if kind == "assignment":
        shape = (4, latents, variables + 1)
        return {"uniform": draws.uniform(shape, 0.02, 0.98), "of_sample": draws.unit(shape)}
    if kind == "citris_nf":
        inputs = {"encodings": draws.unit((batch, 2, latents)), "noise": draws.unit((batch, 2, samples, latents))}
        inputs |= {"targets": draws.targets((batch, variables))}
        inputs |= {"uniform": draws.uniform((batch, latents, variables + 1), 0.02, 0.98)}
        if settings["images"]:
            inputs |= {"frames": draws.integers((2, 3, 32, 32), 256), "mask": np.array([[1, 0, 1]], np.uint8)}
        return inputs
    if kind == "citris_vae":
        inputs = {"frames": draws.integers((batch, 3, 3, 32, 32), 256), "noise": draws.unit((batch, 3, latents))}
        inputs |= {"targets": draws.targets((batch, 2, variables))}
        return inputs | {"uniform": draws.uniform((batch, latents, variables + 1), 0.02, 0.98)}
    if kind == "causal_encoder":
        return {"frames": draws.integers((3, 3, 32, 32), 256), "truth": draw_values(3, draws)}
    if kind == "distances":
        return {"values": draw_values(8, draws), "others": draw_values(8, draws)}
    if kind == "adamw":
        inputs = {}
        # In some steps the gradients' norm is below the bound, in others above it.
        scales = np.array([2.0, 0.05, 1.0, 0.1, 0.3, 0.01], np.float32)
        for number, shape in enumerate([(7, 5), (3, 2, 3, 3), ()]):
            steps = scales.reshape(-1, *[1] * len(shape))
            inputs |= {f"parameter_{number}": draws.unit(shape)}
            inputs |= {f"gradients_{number}": (steps * draws.unit((6, *shape))).astype(np.float32)}
        return inputs
    raise ValueError(f"there is no kind {kind}")


def draw_values(count: int, draws: Draws) -> Array:
    """Values of the three factors, float32 [count, 3]."""
    angles = draws.uniform((count,), 0, 2 * np.pi)
    return np.stack([draws.uniform((count,), -1, 4), angles, draws.integers((count,), 3)], axis=1).astype(np.float32)


def make(name: str) -> Part:
    """One part, drawn and computed."""
    settings, draws = PARTS[name], Draws(name)
    weights = draw_weights(settings, draws)
    inputs = draw_inputs(settings, draws)
    return Part(settings, weights, inputs, plain.compute(settings, weights, inputs))


def write(file: Path) -> None:
    """Write all parts; the same bytes every time."""
    tensors: dict[str, Array] = {}
    for name in PARTS:
        part = make(name)
        if part.weights:
            tensors[f"{name}/weights"] = np.concatenate([weight.ravel() for weight in part.weights.values()])
        for folder, arrays in (("in", part.inputs), ("out", part.outputs)):
            tensors |= {f"{name}/{folder}/{key}": np.array(array, order="C") for key, array in arrays.items()}
    save_file(tensors, file, {"settings": json.dumps(PARTS)})


def cut(vector: Array, wanted: list[tuple[str, tuple[int, ...]]]) -> Weights:
    """A vector as arrays of these names and shapes, one after the other."""
    weights, start = {}, 0
    for name, shape in wanted:
        stop = start + int(np.prod(shape))
        weights[name] = vector[start:stop].reshape(shape)
        start = stop
    assert start == len(vector)
    return weights


def read(file: Path = FILE) -> dict[str, Part]:
    """All parts as they were written."""
    with safe_open(file, "np") as opened:
        settings: dict[str, Any] = json.loads(opened.metadata()["settings"])
        parts = {name: Part(of_part, {}, {}, {}) for name, of_part in settings.items()}
        for key in opened.keys():  # noqa: SIM118 - no mapping
            name, folder, *rest = key.split("/")
            part, array = parts[name], opened.get_tensor(key)
            if folder == "weights":
                part.weights = cut(array, shapes_of(part.settings))
            else:
                {"in": part.inputs, "out": part.outputs}[folder][rest[0]] = array
    return parts


if __name__ == "__main__":
    write(FILE)
    print(f"{FILE.name}: {FILE.stat().st_size / 1000:.0f} kB")
