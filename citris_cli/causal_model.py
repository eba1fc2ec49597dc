"""A trained model as a Python object: frames in, causal latents out; latents changed; frames out again.

The commands use this very object. What it returns are NumPy's arrays; frames are uint8 [N, W, W, C], latents float32
[N, M]. It also takes torch tensors, on any device, and lists of frames or latents.

Example:
    >>> import citris_cli
    >>> model = citris_cli.load("runs/causal3d/nf.safetensors")
    >>> z = model.encode(frames)                                  # [N, M]
    >>> values = model.draw(z[:1], "rot_o", 4, generator)         # what interventions on rot_o would give
    >>> pictures = model.decode(model.intervene(z[:1], "rot_o", values))
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from citris_cli.artifacts.runs import model_at
from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.core.curve import places_on_curve
from citris_cli.core.reference import ReferenceLatents
from citris_cli.data.frames import (
    as_model_input,
    as_pixels,
    check_frames_shape,
    frames_at_once,
    is_grey,
    require_channels,
)
from citris_cli.data.intensities import to_uint8_frames
from citris_cli.data.sources import GIVEN_FOR_ARRAYS, as_array
from citris_cli.data.variables import REST, Variables
from citris_cli.devices import select_device
from citris_cli.errors import CitrisError, InputError, permissions_told
from citris_cli.kinds import kind_of_model
from citris_cli.loading import LoadedModel, load_model
from citris_cli.wording import counted, type_of

if TYPE_CHECKING:
    from citris_cli.exploring.notebook import Exploration

#: Reference latents made from the model's own prior where a file brings none, and looked at when a curve is sought.
REFERENCE = 400

Frames = np.ndarray[Any, np.dtype[np.uint8]]
Latents = np.ndarray[Any, np.dtype[np.float32]]
#: What is taken for either: an array, a tensor on any device, or a list of single ones.
Given: TypeAlias = np.ndarray[Any, Any] | Tensor | Sequence[Any]


class CausalModel:
    """A model with causal latents and the names of its variables, in evaluation mode.

    Nothing here changes the model or any random state but that of a generator that is passed in.

    Attributes:
        network: the torch module.
        variables: the K intervened variables.
        width: frame width and height W in pixels.
        image_channels: channels C of a frame, 3 of an RGB one.
        assignment: hard assignment int64 [M]: the variable (0 … K-1) of every latent, K for psi(0).
        path: file that it came from.
        sha256: of that file, in hexadecimal; "" if that was not asked for.
        provenance: command, seed, versions, data hash, measures.
        device: where it computes.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        if loaded.variables is None or not isinstance(loaded.network, CausalLatentsModel):
            raise InputError(
                f"{loaded.path}: holds a model of kind {loaded.kind}, which has no causal latents; "
                "train one with 'citris train-nf' or 'citris train-vae'"
            )
        self.network = loaded.network
        self.variables: Variables = loaded.variables
        self.width = loaded.width
        self.image_channels = loaded.image_channels
        self.path = loaded.path
        self.sha256 = loaded.sha256
        self.provenance = loaded.provenance
        self.assignment = self.network.assignment.hard().cpu().numpy()
        self.device = next(self.network.parameters()).device
        self._reference = loaded.reference

    @classmethod
    def of(cls, network: CausalLatentsModel, variables: Variables) -> CausalModel:
        """A model that is still in training, seen as it is now.

        Args:
            network: the torch module; whoever calls puts it in evaluation mode.
            variables: the K intervened variables.
        """
        return cls(LoadedModel(kind_of_model(network).name, network, variables, Path(), {}))

    @property
    def latents(self) -> int:
        """Number of latents M."""
        return len(self.assignment)

    def graph(self) -> dict[str, Any] | None:
        """Effects within a step, as the model learned them: docs/json.md has the keys; None of a model without any."""
        graph = self.network.prior.learned_graph()
        return None if graph is None else graph.to_json(self.variables.names)

    def block(self, names: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which latents belong to the variables of a comma list of names and groups: bool [M].

        Raises:
            InputError: no such variable, or the model gave it no latents.
        """
        return self._block(self._named(names))

    def _named(self, names: str) -> list[int]:
        """Positions of the variables of a comma list of names and groups."""
        if not isinstance(names, str):
            raise InputError(
                f"names is {type_of(names)}; give names in one string, such as {self.variables.names[0]!r}"
            )
        return self.variables.resolve(names)

    def _block(self, indices: list[int]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        for index in indices:
            if not (self.assignment == index).any():
                raise InputError(
                    f"{self.path}: the model gave no latents to {self.variables[index].name}, so nothing of it can be "
                    "changed; train longer or on more interventions"
                )
        return np.isin(self.assignment, indices)

    @torch.no_grad()
    def encode(self, frames: Given) -> Latents:
        """Causal latents of frames.

        Args:
            frames: [N, W, W, C], or [N, W, W] of a model of grey frames; uint8 0 … 255, or floats 0 … 1 or −1 … 1. Of
                4 channels where the model knows 3 the last is dropped, as alpha is. An array, a tensor on any device,
                or a list of frames.

        Returns:
            float32 [N, M].

        Raises:
            InputError: another shape, size or range, or other channels than the model's.
            CitrisError: as of :meth:`require_finite`.
        """
        pixels = torch.from_numpy(self.as_frames(frames))
        z = self._through(lambda chunk: self.network.encode(as_model_input(chunk)), pixels)
        self.require_finite(z)
        return z

    def as_frames(self, frames: Given) -> Frames:
        """Frames of the model's size and channels, as bytes.

        Args:
            frames: as :meth:`encode` takes them.

        Returns:
            uint8 [N, W, W, C].

        Raises:
            InputError: another shape, size or range, or other channels than the model's.
        """
        frames = _given(frames, "frames")
        check_frames_shape(frames.shape, "frames")
        frames = frames[..., None] if is_grey(frames.shape) else frames
        if frames.ndim != 4 or frames.shape[1] != self.width:
            raise InputError(
                f"frames have shape {list(frames.shape)} and the model was trained for {self.width}×{self.width}; "
                "resize them first"
            )
        channels = self.image_channels
        require_channels(frames.shape[3], channels, f"shape {list(frames.shape)}")
        return np.ascontiguousarray(to_uint8_frames(frames, "frames")[0][..., :channels])

    def require_finite(self, z: np.ndarray[Any, Any]) -> None:
        """Refuse latents [N, M] of this model's own that are not finite: its weights are none that a training gives.

        Raises:
            CitrisError: naming the model.
        """
        bad = int((~np.isfinite(z)).any(axis=1).sum())
        if bad:
            where = self.path if self.path != Path() else "the model"
            raise CitrisError(
                f"{where}: gives {bad:,} of {counted(len(z), 'frame')} latents that are not finite; train another model"
            )

    @torch.no_grad()
    def decode(self, z: Given) -> Frames:
        """Frames uint8 [N, W, W, C] of causal latents [N, M].

        Raises:
            InputError: another shape, or values that are not finite.
        """
        (z,) = self._latents(z=z)
        return self._through(lambda chunk: as_pixels(self.network.decode(chunk)), torch.from_numpy(z))

    def combine(self, z_1: Given, z_2: Given, mask: Given) -> Latents:
        """Latents of a triplet: of variable k those of image 2 where ``mask[:, k]`` is 1, all others of image 1.

        Args:
            z_1, z_2: causal latents [N, M] of the two images.
            mask: 0 or 1 for each of the model's variables, [N, K].

        Returns:
            float32 [N, M].

        Raises:
            InputError: another shape, or other values in the mask.
        """
        z_1, z_2 = self._latents(z_1=z_1, z_2=z_2)
        mask = _given(mask, "the mask")
        if mask.shape != (len(z_1), len(self.variables)):
            raise InputError(
                f"the mask has shape {list(mask.shape)}; it needs a row for each of {len(z_1)} frames and a column for "
                f"each of {', '.join(self.variables.names)}"
            )
        if not np.isin(mask, (0, 1)).all():
            raise InputError("the mask has values other than 0 and 1")
        with_rest = np.concatenate([np.asarray(mask, bool), np.zeros((len(mask), 1), bool)], axis=1)
        return np.where(with_rest[:, self.assignment], z_2, z_1)

    def intervene(self, z: Given, names: str, values: Given) -> Latents:
        """Latents with the block of some variables replaced and every other latent exactly as it was.

        Args:
            z: causal latents [N, M], or [1, M] for many values.
            names: comma list of variables and groups.
            values: latents [N, M] (or [1, M]) whose blocks are taken: of another image, :meth:`draw` or :meth:`sweep`.

        Returns:
            float32 [N, M].

        Raises:
            InputError: no such variable, or it has no latents; another shape, or values that are not finite.
        """
        z, values = self._latents(z=z, values=values)
        return np.where(self.block(names), values, z)

    @torch.no_grad()
    def draw(self, z: Given, names: str, number: int, generator: torch.Generator, temperature: float = 1.0) -> Latents:
        """Latents after interventions on some variables, drawn from what the model learned that these do.

        Args:
            z: causal latents of the frame before, [M] or [1, M].
            names: comma list of variables and groups.
            number: draws n.
            generator: source of the draws, on the CPU.
            temperature: factor on the standard deviations; 0 gives the mean.

        Returns:
            float32 [n, M]; only the blocks of the named variables are an intervention's.

        Raises:
            InputError: no such variable, or it has no latents; latents of another shape, no number or temperature.
        """
        indices = self._named(names)
        self._block(indices)
        _require_number(number)
        if not isinstance(temperature, int | float | np.number) or not 0 <= temperature < np.inf:
            raise InputError(f"temperature is {temperature!r}; it must be a number from 0 on")
        _require_generator(generator)
        (z,) = self._latents(z=np.atleast_2d(_given(z, "z")))
        if len(z) != 1:
            raise InputError(f"z has {len(z)} rows; draw from one frame's latents at a time")
        targets = torch.zeros(number, len(self.variables), device=self.device)
        targets[:, indices] = 1
        before = torch.from_numpy(z).to(self.device).expand(number, -1)
        hard = self.network.assignment.hard()
        return self.network.prior.sample(before, targets, hard, generator, temperature).cpu().numpy()

    def sweep(self, names: str, number: int) -> Latents:
        """Latents that walk through the values of some variables, each at equal steps of rank along its own curve.

        The values are those of frames that an intervention on the variable led into, so each was seen; the walk around
        an angle is a closed curve.

        Args:
            names: comma list of variables and groups, which walk together.
            number: places n on the walk.

        Returns:
            float32 [n, M]; only the blocks of the named variables have a meaning.

        Raises:
            InputError: no such variable, or it has no latents; no number.
        """
        indices = self._named(names)
        self._block(indices)
        _require_number(number)
        walk = np.zeros((number, self.latents), np.float32)
        for index in indices:
            block = self.assignment == index
            rows = self._values_of(index)
            # Enough to see the curve, few enough that finding it takes no time.
            rows = rows[torch.linspace(0, len(rows) - 1, min(len(rows), REFERENCE)).round().long()]
            rows = rows[:, torch.from_numpy(block)]
            places = places_on_curve(rows / self._spread()[block], number, self.variables[index].kind == "angle")
            walk[:, block] = rows[places].numpy()
        return walk

    def seen(self, number: int, generator: torch.Generator) -> Latents:
        """Latents of frames that the model was trained on, some of which its file keeps.

        A file that keeps none (a published checkpoint) gives what its prior draws, with every variable intervened on.

        Args:
            number: how many, drawn with replacement.
            generator: source of the choice, on the CPU.

        Returns:
            float32 [number, M].

        Raises:
            InputError: no number, or no such generator.
        """
        _require_number(number)
        _require_generator(generator)
        rows = self._known().z
        return rows[torch.randint(len(rows), (number,), generator=generator)].numpy()

    def moved(self, before: Given, after: Given) -> dict[str, np.ndarray[Any, Any]]:
        """How far latents moved, for every variable, in units of the spread of its own block over the training data.

        ``||after - before|| / sqrt(sum of variances)`` over the latents of a variable: 1 is one standard deviation.

        Args:
            before, after: causal latents [N, M] (or [1, M]).

        Returns:
            float [N] for each variable that has latents, by name, and for ``psi(0)`` if it has any.

        Raises:
            InputError: another shape, or values that are not finite.
        """
        before, after = self._latents(before=before, after=after)
        spread = self._spread().numpy()
        distance = {}
        for index, name in enumerate((*self.variables.names, REST)):
            block = self.assignment == index
            if block.any():
                change = np.linalg.norm((after - before)[:, block], axis=1)
                distance[name] = change / np.linalg.norm(spread[block])
        return distance

    def explore(self, frames: Given | None = None, port: int = 0, height: int = 860) -> Exploration:
        """A page to play with the model: in a notebook it stands below the cell, and elsewhere it has an address.

        It is served on 127.0.0.1 by a thread of this process, as ``citris explore`` serves it.

        Args:
            frames: one frame [W, W, C] or several [N, W, W, C] to start from, as :meth:`encode` takes them; None for
                the latents of a frame that the model was trained on. The page also takes pictures.
            port: to listen on; 0 for any that is free.
            height: of the page in a notebook, in pixels.

        Returns:
            What shows it, with its ``url``; ``close()`` ends it.

        Raises:
            InputError: frames that are none of the model's, more than a page offers, or a port that is in use.
        """
        from citris_cli.exploring.notebook import Exploration

        if frames is None:
            pixels = np.zeros((0, self.width, self.width, self.image_channels), np.uint8)
        else:
            frames = _given(frames, "frames")
            single = frames.ndim == 2 or (frames.ndim == 3 and not is_grey(frames.shape))
            pixels = self.as_frames(frames[None] if single else frames)
        return Exploration(self, pixels, port, height)

    def _values_of(self, index: int) -> Tensor:
        """Latents [n, M] under an intervention on a variable."""
        if self._reference is not None:
            return self._reference.under_intervention(index)
        targets = torch.zeros(1, len(self.variables))
        targets[0, index] = 1
        return self._drawn(targets)

    def _spread(self) -> Tensor:
        """Standard deviation of every latent [M]."""
        return self._known().spread()

    def _known(self) -> ReferenceLatents:
        """Latents that the model was seen to give."""
        if self._reference is None:
            self._reference = ReferenceLatents(
                self._drawn(torch.ones(1, len(self.variables))), torch.zeros(REFERENCE, len(self.variables))
            )
        return self._reference

    @torch.no_grad()
    def _drawn(self, targets: Tensor) -> Tensor:
        # A file without reference latents (a published checkpoint): what the prior itself says stands in for them.
        generator = torch.Generator().manual_seed(0)
        z = torch.zeros(REFERENCE, self.latents, device=self.device)
        hard = self.network.assignment.hard()
        return self.network.prior.sample(z, targets.to(self.device).expand(REFERENCE, -1), hard, generator).cpu()

    def _latents(self, **given: Given) -> list[Latents]:
        """Arguments that are latents, by name, as float32 [N, M], N being the same for all or 1."""
        found = []
        for name, value in given.items():
            z = _given(value, name)
            if z.ndim != 2 or z.shape[1] != self.latents or z.dtype.kind not in "fiu":
                raise InputError(
                    f"{name} has shape {list(z.shape)} of {z.dtype}; latents of this model are [N, {self.latents}] "
                    "numbers"
                )
            if not np.isfinite(z).all():
                raise InputError(f"{name} has values that are not finite")
            found.append(np.ascontiguousarray(z, dtype=np.float32))
        if len({len(z) for z in found} - {1}) > 1:
            rows = " and ".join(f"{name} has {len(z)}" for name, z in zip(given, found, strict=True))
            raise InputError(f"{rows} rows; they need equally many, or one")
        return found

    def _through(self, function: Callable[[Tensor], Tensor], rows: Tensor) -> np.ndarray[Any, Any]:
        chunks = rows.split(frames_at_once(self.width))
        return np.concatenate([function(chunk.to(self.device)).cpu().numpy() for chunk in chunks])


def _given(value: Any, name: str) -> np.ndarray[Any, Any]:
    """An argument that stands for an array, see :func:`citris_cli.data.sources.as_array`."""
    if value is None or isinstance(value, str | bytes | os.PathLike | Mapping):
        raise InputError(f"{name} is {type_of(value)}; give {GIVEN_FOR_ARRAYS}")
    return as_array(value, name)


def _require_number(number: int) -> None:
    if not isinstance(number, int | np.integer):
        raise InputError(f"number is {number!r}; it must be a whole number")
    if number < 1:
        raise InputError(f"number is {number}; it must be at least 1")


def _require_generator(generator: torch.Generator) -> None:
    if not isinstance(generator, torch.Generator) or generator.device.type != "cpu":
        raise InputError(
            f"generator is {type_of(generator)}; give one on the CPU, such as torch.Generator().manual_seed(0)"
        )


@permissions_told()
def load(path: str | Path, device: str | torch.device = "cpu") -> CausalModel:
    """A trained model with causal latents, ready for use.

    Args:
        path: a ``.safetensors`` that ``citris train-nf`` or ``citris train-vae`` wrote, or a folder with one of these.
        device: where it should compute: ``auto``, ``cpu``, ``cuda``, ``cuda:i`` or ``mps``.

    Raises:
        InputError: no such file, not a model of ours, a damaged one, or one without causal latents; no such device.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"path is {type_of(path)}; give the path of a model, or of a folder with one")
    return CausalModel(load_model(model_at(Path(path)), select_device(str(device))))
