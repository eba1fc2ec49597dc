"""How much of each true factor can be read from the latents of each variable: R² and Spearman matrices.

For every variable k (and psi(0)) one small network sees only the latents assigned to k and learns to predict every
true factor from them on one half of the frames; it is scored on the other half (Lippe et al., 2022, section 6.1). All
K+1 networks are trained at once, as one batched network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from citris_cli.data.variables import REST, Variable, Variables

HIDDEN = 128
EPOCHS = 100
BATCH = 512
LEARNING_RATE = 4e-3

#: Is told how many of all passes are done.
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Correlation:
    """R² and Spearman matrices, each [rows, factors].

    Attributes:
        rows: names of the variables whose latents were read; the last is ``psi(0)``.
        factors: names of the true factors.
        own: for each factor the row of the variable that it belongs to, or None.
        r2: 1 is perfect, 0 no better than the mean (circular mean, mode); NaN for a factor that does not vary.
        spearman: rank correlation between prediction and truth, in [-1, 1]; NaN where there is none.
    """

    rows: tuple[str, ...]
    factors: tuple[str, ...]
    own: tuple[int | None, ...]
    r2: np.ndarray
    spearman: np.ndarray

    def diag(self, matrix: np.ndarray) -> float:
        """Mean over factors of the value in their own variable's row; higher is better."""
        values = [matrix[i, j] for j, i in enumerate(self.own) if i is not None]
        values = [value for value in values if not np.isnan(value)]
        return float(np.mean(values)) if values else float("nan")

    def sep(self, matrix: np.ndarray) -> float:
        """Mean over variables of the largest value in their row for any other factor; lower is better."""
        largest = [max(others) for others in self._others(matrix)]
        return float(np.mean(largest)) if largest else float("nan")

    def average_sep(self, matrix: np.ndarray) -> float:
        """Mean over variables of the mean value in their row for all other factors, as in Lippe et al., 2022.

        A value below 0, which says as little as 0 and comes from few frames, counts as 0. Never above :meth:`sep`.
        """
        means = [np.clip(others, 0, None).mean() for others in self._others(matrix)]
        return float(np.mean(means)) if means else float("nan")

    def _others(self, matrix: np.ndarray) -> list[np.ndarray]:
        """For each variable, the values in its row for factors of others, where there are any."""
        rows = (matrix[i][[own != i for own in self.own]] for i in range(len(self.rows) - 1))
        return [others for row in rows if len(others := row[~np.isnan(row)])]

    def to_json(self) -> dict[str, Any]:
        """Every number, NaN as None."""
        matrices = {"r2": self.r2, "spearman": self.spearman}
        own = [None if row is None else self.rows[row] for row in self.own]
        report: dict[str, Any] = {"rows": list(self.rows), "factors": list(self.factors), "own_rows": own}
        for name, matrix in matrices.items():
            report[name] = [[None if np.isnan(value) else round(float(value), 6) for value in row] for row in matrix]
            report[f"{name}_diag"] = _rounded(self.diag(matrix))
            report[f"{name}_sep"] = _rounded(self.sep(matrix))
            report[f"{name}_average_sep"] = _rounded(self.average_sep(matrix))
        return report


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)


def correlation(
    z: Tensor,
    assignment: Tensor,
    truth: np.ndarray,
    factors: Sequence[Variable],
    variables: Variables,
    generator: torch.Generator,
    epochs: int = EPOCHS,
    on_progress: OnProgress = lambda done, total: None,
) -> Correlation:
    """R² and Spearman matrices of latents against ground truth, on independently sampled frames.

    Args:
        z: latents [N, M].
        assignment: variable of each latent, int64 [M], in 0 … K (K is psi(0)).
        truth: true factors [N, F]; angles in radians, categories as integers.
        factors: names and kinds of the F columns.
        variables: the K variables; factors belong to them by name
            (:meth:`~citris_cli.data.variables.Variables.owner`).
        generator: source of the split, the weights and the batches (on the CPU).
        epochs: passes over the training half.
        on_progress: is told of each of these.

    Returns:
        The matrices, with K+1 rows.
    """
    order = torch.randperm(len(z), generator=generator)
    z = ((z - z.mean(0)) / z.std(0).clamp_min(1e-6)).cpu().float()[order]
    values = np.asarray(truth, dtype=np.float64)[order.numpy()]
    half = len(z) // 2
    rows = (*variables.names, REST)
    masks = functional.one_hot(assignment.cpu(), len(rows)).T.float()  # [K+1, M]
    varied = [j for j in range(len(factors)) if np.unique(values[:, j]).size > 1]
    heads = [_Head(factors[j], values[:, j], half) for j in varied]
    # Without a factor that varies there is nothing to learn, and a network without outputs has no loss.
    predictions = _fit_and_predict(z, masks, heads, half, generator, epochs if heads else 0, on_progress)
    r2 = np.full((len(rows), len(factors)), np.nan)
    spearman = np.full_like(r2, np.nan)
    start = 0
    for j, head in zip(varied, heads, strict=True):
        outputs = predictions[..., start : start + head.outputs].numpy()
        start += head.outputs
        for i in range(len(rows)):
            r2[i, j] = head.r2(outputs[i])
            spearman[i, j] = head.spearman(outputs[i])
    own = tuple(variables.owner(factor) for factor in factors)
    return Correlation(rows, tuple(factor.name for factor in factors), own, r2, spearman)


def factor_reader(
    known: Tensor,
    truth: np.ndarray,
    factors: Sequence[Variable],
    generator: torch.Generator,
    epochs: int = EPOCHS,
    on_progress: OnProgress = lambda done, total: None,
) -> Callable[[Tensor], np.ndarray]:
    """A network that has learned to read true factors from latents.

    It is the network of the matrices, and sees all latents.

    Args:
        known: latents [N, M].
        truth: their true factors [N, F], each of which varies; angles in radians, categories as integers.
        factors: names and kinds of the F columns.
        generator: source of the weights and the batches (on the CPU).
        epochs: passes over the known ones.
        on_progress: is told of each of these.

    Returns:
        What reads latents [L, M] as factors, float64 [L, F].
    """
    mean, std = known.mean(0), known.std(0).clamp_min(1e-6)
    heads = [_Head(factor, values, len(known)) for factor, values in zip(factors, truth.T.astype(float), strict=True)]
    rows = ((known - mean) / std).cpu().float()
    network = _fitted(rows, torch.ones(1, known.shape[1]), heads, generator, epochs, on_progress)
    ends = np.cumsum([head.outputs for head in heads])

    def read(z: Tensor) -> np.ndarray:
        outputs = network(((z - mean) / std).cpu().float())[0].numpy()
        return np.stack(
            [head.decoded(outputs[:, end - head.outputs : end]) for head, end in zip(heads, ends, strict=True)], 1
        )

    return read


class _Head:
    """One factor: what the network must predict of it, its loss and its scores on the second half."""

    def __init__(self, factor: Variable, values: np.ndarray, half: int) -> None:
        self.kind = factor.kind
        self.values = values
        self.test = values[half:]
        train = values[:half]
        if self.kind == "angle":
            self.target = torch.from_numpy(np.stack([np.sin(values), np.cos(values)], 1)).float()
            self.baseline = np.arctan2(np.sin(train).mean(), np.cos(train).mean())
        elif self.kind == "categorical":
            self.classes, codes = np.unique(values, return_inverse=True)
            self.target = functional.one_hot(torch.from_numpy(codes), len(self.classes)).float()
            self.baseline = self.classes[np.bincount(codes[:half]).argmax()]
        else:
            self.mean, self.std = train.mean(), float(train.std()) if np.ptp(train) > 0 else 1.0
            self.target = torch.from_numpy((values - self.mean) / self.std).float()[:, None]
            self.baseline = self.mean
        self.outputs = self.target.shape[1]

    def loss(self, outputs: Tensor, index: Tensor) -> Tensor:
        """Loss summed over the K+1 networks: outputs [K+1, B, outputs]."""
        target = self.target[index].expand_as(outputs)
        if self.kind == "categorical":
            return -(target * outputs.log_softmax(-1)).sum(-1).mean(1).sum()
        if self.kind == "angle":
            return (1 - functional.cosine_similarity(outputs, target, dim=-1)).mean(1).sum()
        return (outputs - target).square().mean((1, 2)).sum()

    def decoded(self, outputs: np.ndarray) -> np.ndarray:
        """Values [N] of what the network gives [N, outputs]."""
        if self.kind == "angle":
            return np.arctan2(outputs[:, 0], outputs[:, 1])
        if self.kind == "categorical":
            return self.classes[outputs.argmax(1)]
        return outputs[:, 0] * self.std + self.mean

    def _distance(self, prediction: np.ndarray | float) -> np.ndarray:
        difference = prediction - self.test
        if self.kind == "angle":  # the short way around the circle
            return (difference + np.pi) % (2 * np.pi) - np.pi
        if self.kind == "categorical":
            return (difference != 0).astype(np.float64)
        return difference

    def r2(self, outputs: np.ndarray) -> float:
        """1 - sum d(prediction)² / sum d(mean)²."""
        worst = np.square(self._distance(self.baseline)).sum()
        return float(1 - np.square(self._distance(self.decoded(outputs))).sum() / worst) if worst > 0 else float("nan")

    def spearman(self, outputs: np.ndarray) -> float:
        """Rank correlation of prediction and truth; of an angle, that of its sine and of its cosine, averaged."""
        prediction = self.decoded(outputs)
        if self.kind == "angle":
            pairs = [(np.sin(prediction), np.sin(self.test)), (np.cos(prediction), np.cos(self.test))]
            return float(np.mean([_spearman(a, b) for a, b in pairs]))
        return _spearman(prediction, self.test)


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    # A constant prediction (a variable without latents) orders nothing: its correlation counts as 0.
    if np.ptp(a) <= 1e-6 * np.ptp(b):
        return 0.0
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks of values [N] from 1; equal ones share the mean of theirs. (SciPy's are the same, and slow to import.)"""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def _fit_and_predict(
    z: Tensor,
    masks: Tensor,
    heads: Sequence[_Head],
    half: int,
    generator: torch.Generator,
    epochs: int,
    on_progress: OnProgress = lambda done, total: None,
) -> Tensor:
    """Outputs [K+1, N - half, outputs] on the second half of standardised latents [N, M]; see :func:`_fitted`."""
    return _fitted(z[:half], masks, heads, generator, epochs, on_progress)(z[half:])


def _fitted(
    z: Tensor,
    masks: Tensor,
    heads: Sequence[_Head],
    generator: torch.Generator,
    epochs: int,
    on_progress: OnProgress,
) -> Callable[[Tensor], Tensor]:
    """K+1 networks ``[z * psi_k, psi_k] -> tanh -> tanh -> outputs``, trained.

    Args:
        z: standardised latents of the frames to learn from [N, M].
        masks: psi_k as 0/1 rows [K+1, M].
        heads: the factors; the first N of their values are learned from.
        generator: source of weights and batches.
        epochs: passes over the frames.
        on_progress: is told of each of these.

    Returns:
        What computes outputs [K+1, L, sum of the heads' outputs] of standardised latents [L, M].
    """
    networks, latents = masks.shape
    widths = [2 * latents, HIDDEN, HIDDEN, sum(head.outputs for head in heads)]
    weights, biases = [], []
    for inputs, outputs in pairwise(widths):
        bound = inputs**-0.5
        weights.append(torch.empty(networks, inputs, outputs).uniform_(-bound, bound, generator=generator))
        biases.append(torch.empty(networks, 1, outputs).uniform_(-bound, bound, generator=generator))
    parameters = [tensor.requires_grad_() for tensor in (*weights, *biases)]
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)

    def forward(rows: Tensor) -> Tensor:
        masked = rows.unsqueeze(0) * masks.unsqueeze(1)
        x = torch.cat([masked, masks.unsqueeze(1).expand_as(masked)], dim=-1)
        for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if layer < len(weights) - 1:
                x = x.tanh()
        return x

    sizes = [head.outputs for head in heads]
    for done in range(1, epochs + 1):
        for index in torch.randperm(len(z), generator=generator).split(BATCH):
            with torch.enable_grad():  # whoever calls may be measuring a model and have switched gradients off
                outputs = forward(z[index]).split(sizes, dim=-1)
                # The networks share no weight: the gradient of the sum is each one's own.
                loss = torch.stack([head.loss(out, index) for head, out in zip(heads, outputs, strict=True)]).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        on_progress(done, epochs)
    return torch.no_grad()(forward)
