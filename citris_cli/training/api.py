"""Training from Python: ``citris_cli.train_ae``, ``train_nf``, ``train_vae`` and ``train_causal_encoder``.

Example:
    >>> import citris_cli
    >>> random = np.random.default_rng(0)  # in place of frames, and of what was intervened on between them
    >>> frames = random.integers(0, 256, (41, 32, 32, 3), dtype=np.uint8)
    >>> targets = random.integers(0, 2, (40, 2))
    >>> arrays = {"images": frames, "targets": targets, "keys": ["x", "lamp"]}
    >>> autoencoder = citris_cli.train_ae(arrays, steps=2, channels=8, latents=4, batch_size=8, check=False)
    >>> model = citris_cli.train_nf(arrays, ae=autoencoder, steps=2, batch_size=8, check=False)
    >>> model.encode(frames).shape
    (41, 4)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from citris_cli.causal_model import CausalModel
from citris_cli.core.config import AutoencoderConfig, CausalEncoderConfig, CitrisNFConfig, CitrisVAEConfig
from citris_cli.data.shards import LEADS
from citris_cli.data.sources import ArraySource, Data
from citris_cli.data.variables import Variables, parse_vars
from citris_cli.errors import InputError, permissions_told
from citris_cli.loading import LoadedModel
from citris_cli.training import run
from citris_cli.training.config import (
    AutoencoderTrainingConfig,
    CausalTrainingConfig,
    TrainingConfig,
    VAETrainingConfig,
)
from citris_cli.training.presets import PRESETS
from citris_cli.training.request import OnNote, OnProgress, Request, ignore
from citris_cli.wording import type_of

#: A file, a directory in the published layout, a pattern, or arrays by name.
Input: TypeAlias = str | Data


@permissions_told()
def train_ae(
    data: Input | Sequence[Input],
    *,
    output: str | Path | None = None,
    teacher: str | Path | CausalModel | None = None,
    preset: str = "small",
    model: AutoencoderConfig | None = None,
    training: AutoencoderTrainingConfig | None = None,
    variables: str | Variables | None = None,
    targets_lead: str | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    check: bool = True,
    save_every: float = 30.0,
    progress: OnProgress = ignore,
    note: OnNote = ignore,
    **settings: Any,
) -> LoadedModel:
    """Train the image autoencoder, which maps every frame to a compact code and back.

    Args:
        data: sequences: a path, several (shards), or arrays by name: ``images`` uint8 0 … 255 or floats 0 … 1
            [N, W, W, C] with 1 to 8 channels, ``targets`` 0 or 1 [N-1 or N, K]; ``keys`` and ``kinds`` name the K
            columns. Each is a NumPy array, a torch tensor on any device, or a list (of frames, for example). For
            episodes, pairs and other forms see docs/your-data.md.
        output: the ``.safetensors`` to write, with ``.metrics.jsonl`` and a state to resume from beside it; None to
            write nothing.
        teacher: a CITRIS-NF trained on the same data: training continues from its autoencoder, with more latents, which
            learn to predict its causal latents one step ahead (:mod:`citris_cli.core.teacher`).
        preset: ``small`` for a laptop's CPU, ``paper`` for the published sizes.
        model: a configuration instead of the preset's; what follows from the data (such as the width) is filled in.
        training: training settings instead of the preset's.
        variables: names of the columns as ``--vars`` takes them, instead of the data's own.
        targets_lead: ``in`` or ``out``, if there are as many rows of targets as frames: whether row i describes the
            step into frame i or out of it. None means ``out``, with a note if that looks wrong.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:i`` or ``mps``.
        resume: continue the training run whose state lies beside ``output``: an unfinished one or, with more
            ``steps``, a finished one.
        overwrite: replace the file at ``output``. Without it, a model that was trained with other settings or on other
            data is never replaced, nor is a file that is not a model.
        check: whether to check the data for faults first, which takes about a second; they are reported with ``note``.
            ``citris check`` checks more.
        save_every: seconds between saved states.
        progress: called with a :class:`~citris_cli.training.request.Progress` at the start and for each log line.
        note: called with sentences that the user should see.
        settings: individual settings of the model or the training, by name: ``latents=24, steps=2000, seed=1``.

    Returns:
        The trained model: ``network`` (in evaluation mode) and ``provenance``, with its measures under ``metrics``.

    Raises:
        InputError: something is wrong with the data or the settings; the message says what, in one sentence.
        TrainingDivergedError: a loss or a weight is not finite.
        ChangedDataError: a data file that is read in place was truncated or overwritten during training.
        InterruptedRunError: a signal stopped the run after its state was saved; not without ``output``.
    """
    request = _request(data, output, preset, model, training, variables, settings, "train_ae")
    _require("teacher", teacher, (str, Path, CausalModel), "a path, or what train_nf returned")
    if isinstance(teacher, CausalModel):
        loaded = LoadedModel("citris_nf", teacher.network, teacher.variables, teacher.path, teacher.provenance)
        request = replace(request, teacher=loaded)
    elif teacher is not None:
        request = replace(request, teacher=Path(teacher))
    return run.autoencoder(
        _with(_led(request, targets_lead, check), device, resume, overwrite, save_every, progress, note)
    )


@permissions_told()
def train_nf(
    data: Input | Sequence[Input],
    *,
    output: str | Path | None = None,
    ae: str | Path | LoadedModel | None = None,
    val: Input | None = None,
    preset: str = "small",
    model: CitrisNFConfig | None = None,
    training: CausalTrainingConfig | None = None,
    variables: str | Variables | None = None,
    targets_lead: str | None = None,
    group: str | None = None,
    rounds: int = 1,
    restarts: int = 1,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    check: bool = True,
    save_every: float = 30.0,
    progress: OnProgress = ignore,
    note: OnNote = ignore,
    **settings: Any,
) -> CausalModel:
    """Train CITRIS-NF: a normalizing flow from an autoencoder's encodings to latents sorted by causal variable.

    Args:
        data: sequences, as :func:`train_ae` takes them.
        output: as there.
        ae: the autoencoder: its file, or what :func:`train_ae` returned. With None and an output, the one of this
            dataset under ``runs/``; without an output, or if there is none, one is trained first.
        val: held-out data (``val_indep`` with ground truth, ``val_triplets``) for validation; the best model is kept.
        preset, variables, targets_lead, device, resume, overwrite, check, save_every, progress, note: as of
            :func:`train_ae`.
        model: a configuration instead of the preset's; latents and variables are filled in. A transition prior of your
            own (:func:`citris_cli.core.priors.register`) is its ``prior``.
        training: training settings instead of the preset's.
        group: columns to treat as one variable: ``pos_o`` or ``name=column+column``, in a comma list.
        rounds: number of flows to train in turn, each after the first on an autoencoder that the previous one taught.
        restarts: number of training runs with consecutive seeds, of which the one with the lowest final loss is kept
            (``provenance["starts"]``). They need an output, and run in processes of their own: in a script, call this
            under ``if __name__ == "__main__":``.
        settings: individual settings by name: ``steps=2000, prior="autoregressive", seed=1``.

    Returns:
        The trained model, with its measures in ``provenance["metrics"]``.

    Raises:
        InputError, TrainingDivergedError, InterruptedRunError: as of :func:`train_ae`.
    """
    request = _request(data, output, preset, model, training, variables, settings, "train_nf", val, group, ae)
    request = _with(_led(request, targets_lead, check), device, resume, overwrite, save_every, progress, note)
    return CausalModel(run.citris_nf(_several(request, rounds, restarts)))


@permissions_told()
def train_vae(
    data: Input | Sequence[Input],
    *,
    output: str | Path | None = None,
    val: Input | None = None,
    preset: str = "small",
    model: CitrisVAEConfig | None = None,
    training: VAETrainingConfig | None = None,
    variables: str | Variables | None = None,
    targets_lead: str | None = None,
    group: str | None = None,
    restarts: int = 1,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    check: bool = True,
    save_every: float = 30.0,
    progress: OnProgress = ignore,
    note: OnNote = ignore,
    **settings: Any,
) -> CausalModel:
    """Train CITRIS-VAE: a variational autoencoder, trained end to end, whose latents are sorted by causal variable.

    Args:
        data: sequences, as :func:`train_ae` takes them.
        output, preset, variables, targets_lead, device, resume, overwrite, check, save_every, progress, note: as there.
        val, group, restarts: as of :func:`train_nf`.
        model: a configuration instead of the preset's; width and variables are filled in.
        training: training settings instead of the preset's.
        settings: individual settings by name: ``steps=2000, prior="slow", seed=1``.

    Returns:
        The trained model, with its measures in ``provenance["metrics"]``.

    Raises:
        InputError, TrainingDivergedError, InterruptedRunError: as of :func:`train_ae`.
    """
    request = _request(data, output, preset, model, training, variables, settings, "train_vae", val, group)
    request = _with(_led(request, targets_lead, check), device, resume, overwrite, save_every, progress, note)
    return CausalModel(run.citris_vae(_several(request, 1, restarts)))


@permissions_told()
def train_causal_encoder(
    data: Input | Sequence[Input],
    *,
    output: str | Path | None = None,
    preset: str = "small",
    model: CausalEncoderConfig | None = None,
    training: TrainingConfig | None = None,
    variables: str | Variables | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    save_every: float = 30.0,
    progress: OnProgress = ignore,
    note: OnNote = ignore,
    **settings: Any,
) -> LoadedModel:
    """Train the causal encoder, which predicts the true factors of a frame, for evaluation only.

    Args:
        data: frames with true values (``latents`` or ``raw_latents`` [N, F]); otherwise as :func:`train_ae` takes them.
        output, preset, model, training, variables, device, resume, overwrite, save_every, progress, note, settings: as
            there.

    Returns:
        The trained model; its ``variables`` are the factors that it predicts.

    Raises:
        InputError, TrainingDivergedError, InterruptedRunError: as of :func:`train_ae`.
    """
    request = _request(data, output, preset, model, training, variables, settings, "train_causal_encoder")
    return run.causal_encoder(_with(request, device, resume, overwrite, save_every, progress, note))


def _request(
    data: Input | Sequence[Input],
    output: str | Path | None,
    preset: str,
    model: Any,
    training: TrainingConfig | None,
    variables: str | Variables | None,
    settings: Mapping[str, Any],
    name: str,
    val: Input | None = None,
    group: str | None = None,
    ae: str | Path | LoadedModel | None = None,
) -> Request:
    if preset not in PRESETS:
        raise InputError(f"there is no preset {preset!r}; the presets are {', '.join(PRESETS)}")
    if data is None:
        raise InputError("data is None; give a path, or arrays by name such as {'images': ...}")
    several = isinstance(data, Sequence) and not isinstance(data, str)
    if several and not data:
        raise InputError("data: nothing is given; give a path, or arrays by name")
    _require("output", output, (str, Path), "a path")
    if output is not None and str(output) == "-":
        raise InputError("output is '-'; give a path, or leave it out and use the model that is returned")
    _require("ae", ae, (str, Path, LoadedModel), "a path, or what train_ae returned")
    _require("variables", variables, (str, Variables), "names in one string, such as 'x,theta:angle'")
    _require("group", group, str, "columns in one string, such as 'pos_o' or 'name=column+column'")
    return Request(
        data=[_input(one) for one in data] if several else [_input(data)],  # type: ignore[union-attr, arg-type]
        output=None if output is None else Path(output),
        preset=preset,
        model=model,
        training=training,
        changes={name: _plain(value) for name, value in settings.items() if value is not None},
        variables=parse_vars(variables) if isinstance(variables, str) else variables,
        group=group,
        ae=Path(ae) if isinstance(ae, str) else ae,
        val=None if val is None else _input(val, "val"),
        command=(f"citris_cli.{name}",),
    )


def _led(request: Request, targets_lead: str | None, check: bool) -> Request:
    if targets_lead not in (None, *LEADS):
        raise InputError(f"targets_lead is {targets_lead!r}; give {' or '.join(map(repr, LEADS))}, or leave it out")
    _require("check", check, bool, "True or False")
    return replace(request, targets_lead=targets_lead, check=check)


def _several(request: Request, rounds: int, restarts: int) -> Request:
    for name, number in (("rounds", rounds), ("restarts", restarts)):
        if type(number) is not int or number < 1:
            raise InputError(f"{name} is {number!r}; give a whole number of at least 1")
    return replace(request, rounds=rounds, restarts=restarts)


def _with(
    request: Request,
    device: str,
    resume: bool,
    overwrite: bool,
    save_every: float,
    progress: OnProgress,
    note: OnNote,
) -> Request:
    for name, function in (("progress", progress), ("note", note)):
        if not callable(function):
            raise InputError(f"{name} is {type_of(function)}; give a function")
    _require("resume", resume, bool, "True or False")
    if not isinstance(save_every, int | float | np.number) or not save_every >= 0:
        raise InputError(f"save_every is {save_every!r}; give a number of seconds, at least 0")
    return replace(
        request,
        device=str(device),  # a torch.device says its name
        resume=resume,
        overwrite=overwrite,
        save_every=save_every,
        on_progress=progress,
        on_note=note,
    )


def _input(where: Input, name: str = "data") -> Data:
    _require(name, where, (str, Path, Mapping, ArraySource), "a path, or arrays by name such as {'images': ...}")
    return Path(where) if isinstance(where, str) else where


def _require(name: str, value: object, forms: Any, needed: str) -> None:
    """Refuse an argument of another type; None stands for what was left out."""
    if value is not None and not isinstance(value, forms):
        raise InputError(f"{name} is {type_of(value)}; give {needed}")


def _plain(value: Any) -> Any:
    """A number of NumPy's as Python's own, which JSON knows."""
    return value.item() if isinstance(value, np.generic) else value
