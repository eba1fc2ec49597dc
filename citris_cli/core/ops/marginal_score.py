"""The score of a prior whose latents are independent given the past, marginalised over the causal assignment."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from citris_cli.core.ops import library
from citris_cli.core.ops.c_types import Prior
from citris_cli.core.ops.sample_pairs import HALF_LOG_2PI, gaussian_nll, moments_over_samples

#: Of what is learned of interventions, if that are mixtures [M, K, C, 3].
MIXTURE_DIMENSIONS = 4


def mixture_nll(mixtures: Tensor, z: Tensor) -> Tensor:
    """``-log sum_c w_c N(z; mean_c, std_c^2)`` in nats, elementwise.

    Args:
        mixtures: for each component mean, log standard deviation and the logit of its weight w [..., C, 3].
        z: values, in a shape that broadcasts with that of the mixtures without its last two dimensions.
    """
    mean, log_std, logit = mixtures.unbind(-1)
    distance = (z.unsqueeze(-1) - mean) * (-log_std).exp()
    return HALF_LOG_2PI - (logit.log_softmax(-1) - 0.5 * distance.square() - log_std).logsumexp(-1)


def marginal_nll(
    observational: Tensor,
    z: Tensor,
    targets: Tensor,
    probabilities: Tensor,
    intervened: Tensor,
    regulariser: float | Tensor,
    training: bool,
) -> Tensor:
    """:func:`marginal` of NLLs over all pairs of samples; in training + ``lambda mean_m(1 - p[m,0])``.

    Without intervention a latent is Gaussian; under one it is Gaussian, too, or a mixture.

    Args:
        observational: means and log standard deviations without intervention [B, S, M, 2].
        z: samples of the later frame [B, S, M].
        targets: intervention targets I, 0 or 1, [B, K].
        probabilities: soft assignment p [M, K+1].
        intervened: mean and log standard deviation of every latent under every intervention [M, K, 2], or its mixture
            [M, K, C, 3], see :func:`mixture_nll`. They learn from
            ``sum_m sum_k I_k NLL_intv[m,k]`` alone, and only in training.
        regulariser: lambda.
        training: whether they learn and p is pulled into psi(0).

    Returns:
        In nats [B].
    """
    given = observational, z, targets, probabilities, intervened, regulariser, training
    (latents, _), variables = probabilities.shape, targets.shape[-1]
    shapes = [(*z.shape, 2), (len(z), z.shape[1], latents), (len(z), variables), (latents, variables + 1)]
    mixed = intervened.dim() == MIXTURE_DIMENSIONS
    shapes.append((latents, variables, intervened.shape[2], 3) if mixed else (latents, variables, 2))
    fit = [one.shape for one in (observational, z, targets, probabilities, intervened)] == shapes
    if not fit or not library.usable(observational, z, probabilities, intervened):
        return marginal_nll_reference(*given)
    if mixed:  # the logits of the weights as their logarithms
        gaussians, logits = intervened.split([2, 1], dim=-1)
        intervened = torch.cat([gaussians, logits.log_softmax(-2)], dim=-1)
    return _MarginalNLL.apply(targets, regulariser, training, observational, z, probabilities, intervened)


def marginal_nll_reference(
    observational: Tensor,
    z: Tensor,
    targets: Tensor,
    probabilities: Tensor,
    intervened: Tensor,
    regulariser: float | Tensor,
    training: bool,
) -> Tensor:
    """:func:`marginal_nll` by PyTorch."""
    moments = moments_over_samples(z)  # two [B, 1, M]
    free_mean, free_log_std = observational.unbind(-1)
    free = gaussian_nll(free_mean, free_log_std, *moments).mean(-2)  # [B, M]
    if intervened.dim() == MIXTURE_DIMENSIONS:
        hit = mixture_nll(intervened.detach(), z.unsqueeze(-1)).mean(1)  # [B, M, K]
        taught = mixture_nll(intervened, z.detach().unsqueeze(-1)).mean(1) if training else None
    else:
        z_mean, z_var = (moment.mT for moment in moments)  # [B, M, 1]
        mean, log_std = intervened.unbind(-1)  # [M, K]
        hit = gaussian_nll(mean.detach(), log_std.detach(), z_mean, z_var)  # [B, M, K]
        taught = gaussian_nll(mean, log_std, z_mean.detach(), z_var.detach()) if training else None
    nll = marginal(free, hit, taught, targets, probabilities, regulariser)
    return nll + regulariser * (1 - probabilities[:, -1]).mean() if training else nll


def marginal(
    observational: Tensor,
    intervened: Tensor,
    taught: Tensor | None,
    targets: Tensor,
    probabilities: Tensor,
    regulariser: float | Tensor,
) -> Tensor:
    """``sum_m sum_k p[m,k] I_k intv[m,k] + obs[m] (1 - sum_k p[m,k] I_k - lambda p[m,0])``.

    Args:
        observational: score of every latent without intervention [B, M].
        intervened: under an intervention on every variable [B, M, K], giving the parameters no gradient.
        taught: the same, giving a gradient to the parameters alone, whatever the assignment: every latent knows what it
            would look like under every intervention before it is assigned. It leaves the value as it is. None where
            nothing learns.
        targets: I [B, K].
        probabilities: p [M, K+1].
        regulariser: lambda.

    Returns:
        [B].
    """
    targets = targets.to(observational.dtype)
    weighted = probabilities[:, :-1] * targets[:, None]  # [B, M, K]
    free = 1 - weighted.sum(-1) - regulariser * probabilities[:, -1]
    total = (weighted * intervened).sum((-2, -1)) + (observational * free).sum(-1)
    if taught is not None:
        learned = (targets[:, None] * taught).sum((-2, -1))
        total = total + (learned - learned.detach())
    return total


class _MarginalNLL(torch.autograd.Function):
    """The compiled :func:`marginal_nll`, and its gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        targets: Tensor,
        regulariser: float,
        training: bool,
        out: Tensor,
        z: Tensor,
        probabilities: Tensor,
        intervened: Tensor,
    ) -> Tensor:
        rows = [one.contiguous() for one in (out, z, targets.to(z.dtype), probabilities, intervened)]
        ctx.score = MarginalScore(rows, regulariser, regulariser if training else 0.0)
        ctx.training = training
        ctx.save_for_backward(out, z, probabilities, intervened)
        return ctx.score.forward()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_scores: Tensor) -> tuple[Tensor | None, ...]:
        library.require_unchanged(ctx)
        return None, None, None, *ctx.score.backward(of_scores.contiguous(), ctx.training)


class MarginalScore:
    """The score of :func:`marginal_nll`, and its gradients.

    Args:
        tensors: means and log standard deviations without intervention [B, S, M, 2], samples of the later frame
            [B, S, M], targets, 0 or 1 [B, K], p [M, K+1], and what is learned of interventions, mean and log standard
            deviation under each of them [M, K, 2], or those of each component and the logarithm of its weight
            [M, K, C, 3]; all contiguous.
        regulariser: lambda.
        pull: factor of what it costs to be no part of psi(0), ``mean_m(1 - p[m,0])``.
    """

    def __init__(self, tensors: Sequence[Tensor], regulariser: float, pull: float) -> None:
        _, z, targets, _, intervened = tensors
        components = intervened.shape[2] if intervened.dim() == MIXTURE_DIMENSIONS else 0
        self._kept = *tensors, z.new_empty(len(z), z.shape[2])
        sizes = *z.shape, targets.shape[1], components
        self._prior = Prior(*sizes, *[one.data_ptr() for one in self._kept], regulariser, pull)

    def forward(self) -> Tensor:
        """The scores [B]."""
        scores = self._kept[1].new_empty(len(self._kept[1]))
        library.call("prior_forward", ctypes.byref(self._prior), scores.data_ptr())
        return scores

    def backward(self, of_scores: Tensor, teach: bool) -> list[Tensor]:
        """Gradients of all but the targets; of what is learned of interventions 0 unless ``teach``."""
        gradients = [torch.empty_like(self._kept[i]) for i in (0, 1, 3, 4)]
        library.call(
            "prior_backward",
            ctypes.byref(self._prior),
            of_scores.data_ptr(),
            teach,
            *[one.data_ptr() for one in gradients],
        )
        return gradients
