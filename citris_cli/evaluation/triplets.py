"""Triplet evaluation: recombine the causal variables of two frames, and compare with the frame that truly has them.

Lippe et al., 2022, section 6.1. What a mean squared error is worth depends on the frames, so every measure stands
beside three anchors: the model's reconstruction of the true third frame (no prediction can be expected to be nearer),
and copies of the first and of the second frame (what no model at all would give).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from citris_cli.causal_model import CausalModel
from citris_cli.core.causal_encoder import CausalEncoder
from citris_cli.data.datasets import TripletData
from citris_cli.data.variables import Variables
from citris_cli.errors import InputError
from citris_cli.evaluation.distances import FactorDistances, columns_of, compare, read_factors
from citris_cli.evaluation.image_measures import mse, psnr, ssim
from citris_cli.wording import counted

#: Triplets that are in memory at a time.
CHUNK = 256
#: What is measured against the true third frame, in the order of the report.
CANDIDATES = ("prediction", "reconstruction", "copy of image 1", "copy of image 2")

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class TripletMeasures:
    """Measures of every triplet.

    Attributes:
        mse: for each of :data:`CANDIDATES`, mean squared error to the true third frame [N], intensities 0 … 1.
        ssim: likewise, structural similarity [N].
    """

    mse: dict[str, Array]
    ssim: dict[str, Array]

    @property
    def score(self) -> float:
        """Where the prediction's mean error lies between copying (0) and the best possible (1).

        ``(C - P) / (C - R)``, bounded to 0 … 1: P the prediction's error, R the reconstruction's, C that of the better
        of the two copies. NaN where copying is as good as the reconstruction, so that there is nothing to tell.
        """
        copied = min(self.mse[name].mean() for name in CANDIDATES[2:])
        room = copied - self.mse["reconstruction"].mean()
        if room <= 0:
            return float("nan")
        return float(np.clip((copied - self.mse["prediction"].mean()) / room, 0, 1))

    def summary(self) -> dict[str, dict[str, float]]:
        """For each candidate the means over all triplets: ``mse``, ``psnr`` (of the mean error, dB), ``ssim``."""
        return {
            name: {
                "mse": float(self.mse[name].mean()),
                "psnr": float(psnr(self.mse[name].mean())),
                "ssim": float(self.ssim[name].mean()),
            }
            for name in CANDIDATES
        }


@dataclass(frozen=True, eq=False)
class MatchedMask:
    """Which triplets a model can predict, and what of each comes from the second frame.

    Attributes:
        mask: 0 or 1 [N, K], 1 where a variable of the model comes from the second frame.
        rows: int64 [N], the places of these triplets in the data.
        notes: sentences on what of the data's mask is not in it.
    """

    mask: Array
    rows: Array
    notes: tuple[str, ...] = ()


def match_mask(data: TripletData, variables: Variables) -> MatchedMask:
    """The data's mask in terms of the model's variables, matched by name.

    A variable that was merged from several columns comes from one frame as a whole, so triplets that mix its columns
    are left out. The column of a whole group stands for each variable of the group.

    Args:
        data: triplets.
        variables: the model's K variables.

    Raises:
        InputError: the mask has no column for one of the variables, or every triplet mixes one's columns.
    """
    names, values = data.variables.names, data.mask.numpy()
    taken: set[str] = set()
    columns, missing = [], []
    whole = np.ones(len(values), bool)
    mixed = []
    for variable in variables:
        known = [name for name in (variable.name, variable.group) if name in names][:1]
        parts = known or [member for member in variable.members if member in names]
        if not parts or (not known and len(parts) < len(variable.members)):
            missing.append(variable.name)
            continue
        chosen = values[:, [names.index(part) for part in parts]]
        agree = (chosen == chosen[:, :1]).all(axis=1)
        if not agree.all():
            mixed.append(f"{variable.name} ({' + '.join(parts)})")
        whole &= agree
        taken |= set(parts)
        columns.append(chosen[:, 0])
    if missing:
        raise InputError(
            f"{data.label}: the mask has no column for {', '.join(missing)}; its columns are {', '.join(names)}; "
            "rename them with --vars"
        )
    notes = []
    if mixed:
        if not whole.any():
            raise InputError(
                f"{data.label}: every triplet mixes parts of {', '.join(mixed)}, which the model knows as one; "
                "use triplets that take it as a whole, or a model that was trained without --group"
            )
        notes.append(
            f"{', '.join(mixed)} of the model is one: {counted(int((~whole).sum()), 'triplet')} of {len(whole):,} that "
            "mix its parts left out"
        )
    rows = np.flatnonzero(whole)
    if others := [name for j, name in enumerate(names) if name not in taken and values[rows, j].any()]:
        notes.append(f"{', '.join(others)}: not a variable of the model, so always taken from image 1")
    return MatchedMask(np.stack(columns, axis=1)[rows], rows, tuple(notes))


def predict(model: CausalModel, triplets: Array, mask: Array) -> Array:
    """Third frames, recombined from the first two.

    Args:
        model: trained model.
        triplets: uint8 [N, 3, W, W, C]; the third frame is not looked at.
        mask: [N, K], 1 where a variable comes from the second frame.

    Returns:
        uint8 [N, W, W, C].
    """
    return model.decode(model.combine(model.encode(triplets[:, 0]), model.encode(triplets[:, 1]), mask))


def evaluate_triplets(model: CausalModel, data: TripletData, matched: MatchedMask) -> TripletMeasures:
    """Measure predicted third frames and the anchors; nothing random, and the model stays as it is.

    Args:
        model: trained model.
        data: triplets of frames of the model's width.
        matched: from :func:`match_mask`.
    """
    errors: dict[str, list[Array]] = {name: [] for name in CANDIDATES}
    similarities: dict[str, list[Array]] = {name: [] for name in CANDIDATES}
    for start in range(0, len(matched.rows), CHUNK):
        triplets = frames_of(data, matched.rows[start : start + CHUNK])
        truth = triplets[:, 2]
        shown = (
            predict(model, triplets, matched.mask[start : start + CHUNK]),
            model.decode(model.encode(truth)),
            triplets[:, 0],
            triplets[:, 1],
        )
        for name, images in zip(CANDIDATES, shown, strict=True):
            errors[name].append(mse(images, truth))
            similarities[name].append(ssim(images, truth))
    return TripletMeasures(
        {name: np.concatenate(parts) for name, parts in errors.items()},
        {name: np.concatenate(parts) for name, parts in similarities.items()},
    )


@dataclass(frozen=True)
class TripletDistances:
    """Distances of third frames in every true factor, as a causal encoder reads them.

    Attributes:
        against: what they are measured from: ``true values``, or ``true frames`` where no values are known.
        prediction: of the predicted frames.
        own_error: of the true frames: what the causal encoder itself gets wrong. None without true values.
        copied: of the first frames.
    """

    against: str
    prediction: FactorDistances
    own_error: FactorDistances | None
    copied: FactorDistances


def factor_distances(
    model: CausalModel, data: TripletData, matched: MatchedMask, encoder: CausalEncoder, factors: Variables
) -> TripletDistances:
    """Which factors of the predicted third frames are off, and by how much.

    Args:
        model: trained model.
        data: triplets of frames of the model's width.
        matched: from :func:`match_mask`.
        encoder: causal encoder for frames of that width, in evaluation mode.
        factors: the factors that it reads, in its order.

    Raises:
        InputError: none of these has a true value in the data, which have some.
    """
    read: dict[str, list[Array]] = {"prediction": [], "truth": [], "copied": []}
    for start in range(0, len(matched.rows), CHUNK):
        triplets = frames_of(data, matched.rows[start : start + CHUNK])
        predictions = predict(model, triplets, matched.mask[start : start + CHUNK])
        for name, frames in (("prediction", predictions), ("truth", triplets[:, 2]), ("copied", triplets[:, 0])):
            read[name].append(read_factors(encoder, frames))
    values = {name: np.concatenate(parts) for name, parts in read.items()}
    if data.truth is None or data.factors is None:
        distances = [compare(values[name], values["truth"], factors) for name in ("prediction", "copied")]
        return TripletDistances("true frames", distances[0], None, distances[1])
    own, theirs = columns_of(factors, data.factors.names)
    if not own:
        raise InputError(
            f"{data.label}: its true factors ({', '.join(data.factors.names)}) are not those that the causal encoder "
            f"predicts ({', '.join(factors.names)}); name its columns with --vars"
        )
    truth, shared = data.truth[matched.rows, 2][:, theirs].numpy(), factors.select(own)
    prediction, own_error, copied = (
        compare(values[name][:, own], truth, shared) for name in ("prediction", "truth", "copied")
    )
    return TripletDistances("true values", prediction, own_error, copied)


def frames_of(data: TripletData, rows: Array) -> Array:
    """Frames uint8 [n, 3, W, W, C] of the triplets at some places, int64 [n]."""
    index = torch.from_numpy(3 * rows[:, None] + np.arange(3)).flatten()
    frames = data.frames.gather(index).cpu().contiguous().numpy()
    return frames.reshape(-1, 3, *frames.shape[1:])
