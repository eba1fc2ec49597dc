"""A trained model as a Python object: encode frames, change their causal latents, decode them again.

The commands use this object, too. It returns NumPy arrays: frames are uint8 [N, W, W, C], latents float32
[N, M]. It also takes torch tensors, on any device, and lists of frames or latents.

Example:
    >>> import citris_cli
    >>> model = citris_cli.load("ball-in-boxes")  # or the path of a model
    >>> frames = citris_cli.samples("ball-in-boxes")
    >>> frames.shape
    (3, 32, 32, 3)
    >>> z = model.encode(frames)
    >>> z.shape
    (3, 16)
    >>> generator = torch.Generator().manual_seed(0)
    >>> values = model.draw(z[:1], "box", 4, generator)  # what interventions on box would give
    >>> model.decode(model.intervene(z[:1], "box", values)).shape
    (4, 32, 32, 3)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from citris_cli.artifacts.packaged import packaged_names, samples_of
from citris_cli.artifacts.runs import model_at
from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.core.curve import places_on_curve
from citris_cli.core.graph import ancestors
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

    No method changes the model, or any random state except that of a generator passed to it.

    Attributes:
        network: the torch module.
        variables: the K intervened variables.
        width: frame width and height W in pixels.
        image_channels: channels C of a frame, 3 of an RGB one.
        assignment: hard assignment int64 [M]: the variable (0 … K-1) of every latent, K for psi(0).
        path: the file that it was loaded from.
        sha256: hash of that file, in hexadecimal; "" if not computed.
        provenance: command, seed, versions, data hash, measures.
        device: the device that it computes on.
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
        self._brought = loaded.reference is not None

    @cached_property
    def limits(self) -> Latents | None:
        """Lowest and highest value of every latent of a frame [2, M]; None if the file keeps no training frames.

        They extend the range of the training frames' latents by half its width at either end.
        """
        if self._reference is None or not self._brought:
            return None
        return _extended(self._reference.z.numpy())

    @cached_property
    def reach(self) -> Latents | None:
        """The same of a future [2, M], whose latents are sampled.

        Far from any frame the networks of the prior can predict anything, so a future that went there might never come
        back. Samples have the noise of the training, which :attr:`limits` have not: a latent that holds nothing hardly
        differs between frames, and has nothing but noise in a future.
        """
        if self._reference is None or not self._brought:
            return None
        z = self._reference.z.to(self.device)
        noisy = self.network.noisy(z, torch.Generator().manual_seed(0))
        return _extended(torch.cat([z, noisy]).cpu().numpy())

    def unfamiliar(self, z: Latents) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which latents are not those of frames like the training frames: one of them is beyond :attr:`limits`.

        Of frames of the world that a model was trained on hardly any are; pictures of anything else nearly always are.

        Args:
            z: causal latents of frames [N, M].

        Returns:
            bool [N]; all False if the file keeps no training frames.
        """
        if self.limits is None:
            return np.zeros(len(z), bool)
        low, high = self.limits
        return ((z < low) | (z > high)).any(axis=1)

    @classmethod
    def of(cls, network: CausalLatentsModel, variables: Variables) -> CausalModel:
        """A model that is still being trained, in its present state.

        Args:
            network: the torch module, which the caller puts in evaluation mode.
            variables: the K intervened variables.
        """
        return cls(LoadedModel(kind_of_model(network).name, network, variables, Path(), {}))

    @property
    def latents(self) -> int:
        """Number of latents M."""
        return len(self.assignment)

    def graph(self) -> dict[str, Any] | None:
        """Effects within a step, as the model learned them (keys: docs/json.md); None for a model without any."""
        graph = self.network.prior.learned_graph()
        return None if graph is None else graph.to_json(self.variables.names)

    def block(self, names: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which latents belong to the variables in a comma-separated list of names and groups: bool [M].

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
            frames: [N, W, W, C], or [N, W, W] for a model of grey frames; uint8 0 … 255, or floats 0 … 1 or −1 … 1. If
                frames have 4 channels and the model takes 3, the last one (alpha) is dropped. An array, a tensor on
                any device, or a list of frames.

        Returns:
            float32 [N, M].

        Raises:
            InputError: wrong shape, size, range or number of channels.
            CitrisError: see :meth:`require_finite`.
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
            InputError: wrong shape, size, range or number of channels.
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
        # Those of an opened picture cannot be written, which PyTorch warns of.
        return np.require(to_uint8_frames(frames, "frames")[0][..., :channels], None, ["C", "W"])

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
            InputError: wrong shape, or values that are not finite.
        """
        (z,) = self._latents(z=z)
        return self._through(lambda chunk: as_pixels(self.network.decode(chunk)), torch.from_numpy(z))

    def combine(self, z_1: Given, z_2: Given, mask: Given) -> Latents:
        """Latents of a triplet: variable k's from image 2 where ``mask[:, k]`` is 1, all others from image 1.

        Args:
            z_1, z_2: causal latents [N, M] of the two images.
            mask: 0 or 1 for each of the model's variables, [N, K].

        Returns:
            float32 [N, M].

        Raises:
            InputError: wrong shape, or values other than 0 and 1 in the mask.
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
        """Latents with the blocks of some variables replaced, and every other latent exactly as it was.

        Args:
            z: causal latents [N, M], or [1, M] for many values.
            names: comma-separated list of variables and groups.
            values: latents [N, M] (or [1, M]) to take the blocks from: of another image, :meth:`draw` or :meth:`sweep`.

        Returns:
            float32 [N, M].

        Raises:
            InputError: no such variable, or it has no latents; another shape, or values that are not finite.
        """
        z, values = self._latents(z=z, values=values)
        return np.where(self.block(names), values, z)

    @torch.no_grad()
    def draw(self, z: Given, names: str, number: int, generator: torch.Generator, temperature: float = 1.0) -> Latents:
        """Latents after interventions on some variables, sampled from the interventional distribution of the model.

        Args:
            z: causal latents of the frame before, [M] or [1, M].
            names: comma-separated list of variables and groups.
            number: number of samples n.
            generator: source of the draws, on the CPU.
            temperature: factor on the standard deviations, in a mixture on those of its components; 0 gives the mean,
                of a mixture that of its likeliest component.

        Returns:
            float32 [n, M]; only the blocks of the named variables are meaningful.

        Raises:
            InputError: no such variable, or it has no latents; latents of the wrong shape; a bad number or temperature;
                a prior that says nothing of what follows an intervention.
        """
        self._require_futures()
        indices = self._named(names)
        self._block(indices)
        _require_number(number)
        _require_draws(generator, temperature)
        (z,) = self._latents(z=np.atleast_2d(_given(z, "z")))
        if len(z) != 1:
            raise InputError(f"z has {len(z)} rows; draw from one frame's latents at a time")
        targets = torch.zeros(number, len(self.variables), device=self.device)
        targets[:, indices] = 1
        before = torch.from_numpy(z).to(self.device).expand(number, -1)
        hard = self.network.assignment.hard()
        return self.network.prior.sample(before, targets, hard, generator, temperature).cpu().numpy()

    @torch.no_grad()
    def step(
        self,
        z: Given,
        targets: Given,
        generator: torch.Generator,
        known: Given | None = None,
        temperature: float = 1.0,
    ) -> Latents:
        """Latents of the next frame, sampled from the transition prior.

        Args:
            z: causal latents of the frame before [N, M], each row a frame of its own.
            targets: intervention targets of the step, 0 or 1 [N, K].
            generator: source of the draws, on the CPU.
            known: latents of the next frame [N, M] that are known already, NaN where they are to be sampled; those of a
                variable are either all known or all NaN. Effects within a step are sampled given the known latents.
            temperature: factor on the standard deviations, in a mixture on those of its components; 0 gives the mean,
                of a mixture that of its likeliest component.

        Returns:
            float32 [N, M]; samples are kept within :attr:`reach`.

        Raises:
            InputError: wrong shape, bad generator or temperature; the prior does not predict the next frame.
        """
        self._require_futures()
        _require_draws(generator, temperature)
        (z,) = self._latents(z=z)
        targets = _given(targets, "targets")
        if targets.shape != (len(z), len(self.variables)) or not np.isin(targets, (0, 1)).all():
            raise InputError(
                f"targets have shape {list(targets.shape)}; give 0 or 1 for each of {len(z)} rows and each of "
                f"{', '.join(self.variables.names)}"
            )
        found = np.full_like(z, np.nan) if known is None else np.asarray(_given(known, "known"), np.float32)
        if found.shape != z.shape:
            raise InputError(f"known has shape {list(found.shape)}; it needs that of z, {list(z.shape)}")
        before, fixed = (torch.from_numpy(np.ascontiguousarray(rows)).to(self.device) for rows in (z, found))
        now = torch.from_numpy(np.asarray(targets, np.float32)).to(self.device)
        hard = self.network.assignment.hard()
        drawn = self.network.prior.sample_beside(fixed, before, now, hard, generator, temperature).cpu().numpy()
        return drawn if self.reach is None else np.where(np.isnan(found), np.clip(drawn, *self.reach), found)

    def rollout(
        self,
        z: Given,
        steps: int,
        generator: torch.Generator,
        interventions: Mapping[int, Mapping[str, Given | None]] | None = None,
        temperature: float = 1.0,
    ) -> Latents:
        """Futures: what the transition prior says may follow some frames, step by step.

        Args:
            z: causal latents of the frames to start from [N, M], one future each.
            steps: number of steps.
            generator: source of the draws, on the CPU.
            interventions: by step, counted from 1, and by comma-separated list of variables and groups: the latents
                [N, M] or [1, M] to take the blocks from, or None to sample an intervention.
            temperature: factor on the standard deviations; 0 follows the mean, see :meth:`draw`.

        Returns:
            float32 [N, steps + 1, M]; the first are those of z.

        Raises:
            InputError: no such step or variable, or it has no latents, or is named twice in a step; see :meth:`step`.
            CitrisError: a future without bounds grows beyond what a float can hold.
        """
        _require_number(steps, "steps")
        (z,) = self._latents(z=z)
        given = interventions or {}
        if beyond := [step for step in given if not 1 <= step <= steps]:
            raise InputError(f"there is no step {beyond[0]}; the steps are 1 to {steps}")
        plans = {step: self._planned(step, given.get(step, {}), z) for step in range(1, steps + 1)}
        path = [z]
        for step in range(1, steps + 1):
            targets, known = plans[step]
            path.append(self.step(path[-1], targets, generator, known, temperature))
            if not np.isfinite(path[-1]).all():
                raise CitrisError(
                    f"{self.path}: a future is no longer finite at step {step}, as the model's own steps diverge; "
                    "take fewer steps, or train the model longer"
                )
        return np.stack(path, axis=1)

    def _planned(self, step: int, what: Mapping[str, Given | None], z: Latents) -> tuple[Latents, Latents]:
        """A step's targets [N, K], and what is known of the frame that it leads into [N, M]."""
        targets = np.zeros((len(z), len(self.variables)), np.float32)
        known = np.full_like(z, np.nan)
        for names, values in what.items():
            indices = self._named(names)
            block = self._block(indices)
            if twice := [self.variables[index].name for index in indices if targets[0, index]]:
                raise InputError(f"step {step}: {twice[0]} is named twice; intervene once on it")
            targets[:, indices] = 1
            if values is not None:
                taken, _ = self._latents(values=values, z=z)
                if len(taken) > len(z):
                    raise InputError(
                        f"step {step}: values has {len(taken)} rows and z has {len(z)}; give one, or one for each of z"
                    )
                known = np.where(block, taken, known)
        return targets, known

    def _require_futures(self) -> None:
        prior = self.network.prior
        if not prior.foretells:
            raise InputError(
                f"{self.path}: the prior of {prior.title or 'this model'} says how fast frames change, but not what "
                "follows them or an intervention; train a model with another prior, such as 'citris train-vae' "
                "without --prior"
            )

    def affected(self, names: str) -> tuple[str, ...]:
        """The variables that some variables act on within a step, directly or through others, in the learned graph.

        If the graph has cycles, the nearest acyclic graph is used. Variables without latents, of which nothing can
        change, are left out.

        Args:
            names: comma-separated list of variables and groups, which are not among those returned.

        Raises:
            InputError: no such variable; the model knows no effects within a step.
        """
        indices = self._named(names)
        graph = self.network.prior.learned_graph()
        if graph is None:
            raise InputError(
                f"{self.path}: the model has learned no effects within a step, so nothing follows; "
                "train one with --method icitris, or see what follows in later steps with 'citris rollout'"
            )
        reached = ancestors(graph.acyclic)[indices].any(0).tolist()
        return tuple(
            name
            for k, name in enumerate(self.variables.names)
            if reached[k] and k not in indices and (self.assignment == k).any()
        )

    def sweep(self, names: str, number: int) -> Latents:
        """A traversal: latents in which some variables move through their values, at equal steps of rank along a curve.

        The values are those of frames that followed an intervention on the variable, so each of them was seen; for an
        angle, the curve is closed.

        Args:
            names: comma-separated list of variables and groups, which move together.
            number: number of places n on the curve.

        Returns:
            float32 [n, M]; only the blocks of the named variables are meaningful.

        Raises:
            InputError: no such variable, or it has no latents; a bad number.
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
        """Latents of frames that the model was trained on, of which its file keeps some.

        If the file keeps none (a published checkpoint), they are sampled from the prior, with every variable intervened
        on.

        Args:
            number: how many to draw, with replacement.
            generator: source of the choice, on the CPU.

        Returns:
            float32 [number, M].

        Raises:
            InputError: a bad number or generator.
        """
        _require_number(number)
        _require_generator(generator)
        rows = self._known().z
        return rows[torch.randint(len(rows), (number,), generator=generator)].numpy()

    def moved(self, before: Given, after: Given) -> dict[str, np.ndarray[Any, Any]]:
        """Distance that latents moved, for every variable, in units of its block's spread over the training data.

        ``||after - before|| / sqrt(sum of variances)`` over the latents of a variable: 1 is one standard deviation.

        Args:
            before, after: causal latents [N, M] (or [1, M]).

        Returns:
            float [N] for each variable that has latents, by name, and for ``psi(0)`` if it has any.

        Raises:
            InputError: wrong shape, or values that are not finite.
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
        """A page to explore the model: in a notebook it is shown below the cell, elsewhere it has an address.

        A thread of this process serves it on 127.0.0.1, as ``citris explore`` does.

        Args:
            frames: one frame [W, W, C] or several [N, W, W, C] to start from, as :meth:`encode` takes them; None for
                the latents of a frame that the model was trained on. The page also takes pictures.
            port: port to listen on; 0 for any free port.
            height: height of the page in a notebook, in pixels.

        Returns:
            An object that displays the page, with its ``url``; ``close()`` stops the server.

        Raises:
            InputError: frames that the model cannot take, more frames than a page offers, or a port that is in use.
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


def _extended(z: Latents) -> Latents:
    """The range of latents [n, M], and half of its width more at either end [2, M]."""
    low, high = z.min(0), z.max(0)
    return np.stack([low - (high - low) / 2, high + (high - low) / 2]).astype(np.float32)


def _given(value: Any, name: str) -> np.ndarray[Any, Any]:
    """An argument that stands for an array, see :func:`citris_cli.data.sources.as_array`."""
    if value is None or isinstance(value, str | bytes | os.PathLike | Mapping):
        raise InputError(f"{name} is {type_of(value)}; give {GIVEN_FOR_ARRAYS}")
    return as_array(value, name)


def _require_number(number: int, name: str = "number") -> None:
    if not isinstance(number, int | np.integer):
        raise InputError(f"{name} is {number!r}; it must be a whole number")
    if number < 1:
        raise InputError(f"{name} is {number}; it must be at least 1")


def _require_draws(generator: torch.Generator, temperature: float) -> None:
    if not isinstance(temperature, int | float | np.number) or not 0 <= temperature < np.inf:
        raise InputError(f"temperature is {temperature!r}; it must be a number of at least 0")
    _require_generator(generator)


def _require_generator(generator: torch.Generator) -> None:
    if not isinstance(generator, torch.Generator) or generator.device.type != "cpu":
        raise InputError(
            f"generator is {type_of(generator)}; give one on the CPU, such as torch.Generator().manual_seed(0)"
        )


@permissions_told()
def load(path: str | Path, device: str | torch.device = "cpu") -> CausalModel:
    """A trained model with causal latents, ready for use.

    Args:
        path: a ``.safetensors`` that ``citris train-nf`` or ``citris train-vae`` wrote, a folder with one of these, or
            the name of a model that comes with the package, such as ``causal3d``.
        device: the device to compute on: ``auto``, ``cpu``, ``cuda``, ``cuda:i`` or ``mps``.

    Raises:
        InputError: no such file or device; not a model of citris, a damaged one, or one without causal latents.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"path is {type_of(path)}; give the path of a model, or of a folder with one")
    return CausalModel(load_model(model_at(Path(path)), select_device(str(device))))


def samples(name: str) -> Frames:
    """Sample frames uint8 [N, W, W, C] of a model that comes with the package, which it was not trained on.

    Args:
        name: of the model: ``ball-in-boxes`` or ``causal3d``.

    Raises:
        InputError: no model of this name comes with the package.
    """
    from PIL import Image

    if name not in packaged_names():
        raise InputError(f"{name}: no model of this name comes with citris; there are {', '.join(packaged_names())}")
    frames = []
    for path in samples_of(name).values():
        with Image.open(path) as picture:
            frames.append(np.asarray(picture))
    return np.stack(frames)
