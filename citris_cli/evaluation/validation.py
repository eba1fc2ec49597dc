"""Both evaluations of a model with causal latents on held-out data, for the intervals of its training and its end."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from citris_cli.causal_model import CausalModel
from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.data.datasets import (
    IndependentData,
    TripletData,
    holds_triplets,
    load_independent,
    load_triplets,
)
from citris_cli.data.frames import encode_frames
from citris_cli.data.layout import find_split, label_of
from citris_cli.data.sources import Data
from citris_cli.data.truth import check_true_values
from citris_cli.data.variables import Variable, Variables
from citris_cli.errors import InputError
from citris_cli.evaluation.correlation import Correlation, OnProgress, correlation
from citris_cli.evaluation.triplets import MatchedMask, evaluate_triplets, match_mask
from citris_cli.wording import counted

#: The measure by which the best model is kept.
CRITERION = "val_score"
#: Frames with ground truth that a comparison with it takes at least.
FEWEST = 10


@dataclass(frozen=True)
class Validation:
    """What a model is evaluated on: independent frames with ground truth, triplets, or both.

    Attributes:
        independent: frames with ground truth, or None.
        triplets: triplets, or None.
        matched: the triplets' mask in terms of the model's variables, or None.
        notes: sentences that the user should read.
    """

    independent: IndependentData | None
    triplets: TripletData | None
    matched: MatchedMask | None
    notes: tuple[str, ...] = ()

    @classmethod
    def load(
        cls,
        path: Data,
        variables: Variables,
        width: int,
        names: Variables | None = None,
        columns: Variables | None = None,
        *,
        channels: int | None = None,
    ) -> Validation:
        """Read ``val_indep`` and ``val_triplets`` of a directory, or one file of either sort.

        Args:
            path: a directory in the published layout, a file, or arrays.
            variables: the model's variables.
            width: the model's frame width in pixels.
            names: the user's names of the columns, or None.
            columns: the columns of the training data, whose names a file without names takes, or None.
            channels: of the model's frames.

        Raises:
            InputError: there is neither ground truth nor a triplet; the frames have another size, or are too few; a bad
                file.
        """
        independent, triplets = None, None
        if isinstance(path, Path) and path.is_dir():
            frames, threes = find_split(path, "val_indep"), find_split(path, "val_triplets")
            if frames and frames == threes:  # a directory with a single file offers it for every split
                return cls.load(frames[0], variables, width, names, columns, channels=channels)
            if frames:
                independent = load_independent(path, "val_indep", names, columns, channels=channels)
            if threes:
                triplets = load_triplets(path, "val_triplets", names, columns, channels=channels)
        elif holds_triplets(path):
            triplets = load_triplets(path, None, names, columns, channels=channels)
        else:
            independent = load_independent(path, None, names, columns, channels=channels)
        notes = [note for data in (independent, triplets) if data is not None for note in data.notes]
        if independent is not None and independent.truth is None:
            independent = None
        if independent is None and triplets is None:
            raise InputError(
                f"{label_of(path)}: nothing to validate on; it needs a val_indep.npz with ground truth (latents or "
                "raw_latents) or a val_triplets.npz"
            )
        if independent is not None:
            require_halves(independent)
        for data in (independent, triplets):
            if data is not None and data.frames.width != width:
                raise InputError(
                    f"{data.label}: frames are {data.frames.width} pixels wide and those trained on {width}; "
                    "validate on frames of the same size"
                )
        if independent is not None:
            notes += check_true_values(independent)
        matched = match_mask(triplets, variables) if triplets is not None else None
        notes += matched.notes if matched is not None else ()
        return cls(independent, triplets, matched, tuple(dict.fromkeys(notes)))

    @cached_property
    def sha256(self) -> str:
        """SHA-256 over that of the independent frames' files and that of the triplets', in hexadecimal."""
        parts = ("" if data is None else data.sha256 for data in (self.independent, self.triplets))
        return hashlib.sha256("+".join(parts).encode()).hexdigest()

    def measure(self, model: CausalModel) -> dict[str, float]:
        """Measures by name; the model stays as it is, and random numbers come from generators made here.

        ``val_r2_diag`` and ``val_r2_sep`` (:mod:`~citris_cli.evaluation.correlation`), ``val_triplet_score``
        (:mod:`~citris_cli.evaluation.triplets`), and ``val_score``, by which models are compared: the mean of
        ``diag - sep`` and the triplet score, as far as there are data for them.
        """
        measures: dict[str, float] = {}
        scores = []
        if self.independent is not None:
            report = independent_correlation(model, self.independent)
            diag, sep = report.diag(report.r2), report.sep(report.r2)
            measures |= {"val_r2_diag": diag, "val_r2_sep": sep}
            scores.append(diag - sep)
        if self.triplets is not None and self.matched is not None:
            measures["val_triplet_score"] = score = evaluate_triplets(model, self.triplets, self.matched).score
            # There is none of a model that reconstructs worse than a copy does: it must not win by that.
            scores.append(score if np.isfinite(score) else 0.0)
        # A measure that the data do not allow is left out.
        measures = {name: value for name, value in measures.items() if np.isfinite(value)}
        known = [score for score in scores if np.isfinite(score)]
        return {**measures, CRITERION: float(np.mean(known)) if known else 0.0}


def require_halves(data: IndependentData) -> None:
    """Refuse frames that are too few to fit on one half of them and to score on the other.

    Raises:
        InputError: fewer than 10 frames.
    """
    if len(data.frames) < FEWEST:
        number = counted(len(data.frames), "frame")
        raise InputError(
            f"{data.label}: has {number}; to fit on one half and score on the other, {FEWEST} or more are needed"
        )


def _truth(data: IndependentData) -> tuple[np.ndarray, Variables]:
    """True values [N, F] and their factors."""
    if data.truth is None or data.factors is None:
        raise InputError(f"{data.label}: has no true values (latents or raw_latents) to compare with")
    return data.truth.numpy(), data.factors


def independent_correlation(
    model: CausalModel,
    data: IndependentData,
    seed: int = 0,
    on_progress: OnProgress = lambda done, total: None,
    *,
    noise: bool = False,
) -> Correlation:
    """R² and Spearman matrices of a model on independent frames with ground truth.

    Args:
        model: trained model.
        data: frames of the model's width, with ``truth`` and ``factors``.
        seed: of the split and of the networks.
        on_progress: is told of each pass over the frames that the networks learn from.
        noise: whether the noise of training is added to the latents; what is lost in it costs a model nothing.
    """
    truth, factors = _truth(data)
    # Of its own, so that frames are split as without noise.
    source = torch.Generator().manual_seed(seed + 1)
    encode = partial(model.network.encode_noisy, generator=source) if noise else model.network.encode
    with torch.no_grad():
        z = encode_frames(encode, data.frames.to(model.device), model.device)
    model.require_finite(z.cpu().numpy())
    return correlation(
        z,
        torch.from_numpy(model.assignment),
        truth,
        factors,
        model.variables,
        torch.Generator().manual_seed(seed),
        on_progress=on_progress,
    )


def assignment_by_labels(
    network: CausalLatentsModel, data: IndependentData, variables: Variables, seed: int = 0
) -> Tensor:
    """For a model that learns no assignment: every latent to the variable whose factors it tells most of.

    A small network reads each latent alone, as those of :mod:`~citris_cli.evaluation.correlation` read blocks. That is
    what such models are given in comparisons (Lippe et al., 2022, section 6.1); it takes labels, which CITRIS does not.

    Args:
        network: the model, in evaluation mode.
        data: labelled frames of its width.
        variables: the K intervened variables.
        seed: of the split and of the networks.

    Returns:
        int64 [M], 0 … K; K (psi(0)) for a latent that tells most of a factor of none of them, or of nothing.
    """
    truth, factors = _truth(data)
    device = next(network.parameters()).device
    with torch.no_grad():
        z = encode_frames(network.encode, data.frames.to(device), device)
    single = Variables(Variable(f"latent {index}") for index in range(z.shape[1]))
    generator = torch.Generator().manual_seed(seed)
    found = correlation(z, torch.arange(len(single)), truth, factors, single, generator)
    owners = [variables.owner(factor) for factor in factors]
    told = np.nan_to_num(found.r2[:-1], nan=-np.inf)
    best = [owners[factor] if told[latent, factor] > 0 else None for latent, factor in enumerate(told.argmax(axis=1))]
    return torch.tensor([len(variables) if owner is None else owner for owner in best])
