"""The score of a prior whose latents are independent given the past."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from citris_cli.core.kernels import library


class _Prior(ctypes.Structure):
    """``prior`` of kernels.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "samples", "latents", "variables")),
        *((name, ctypes.c_void_p) for name in ("out", "z", "targets", "probabilities", "intervened", "observed")),
        ("regulariser", ctypes.c_float),
        ("pull", ctypes.c_float),
    )


class MarginalScore:
    """The score of :meth:`citris_cli.core.transition_prior.MLPTransitionPrior.nll`, and its gradients.

    Args:
        tensors: means and log standard deviations without intervention [B, S, M, 2], samples of the later frame
            [B, S, M], targets, 0 or 1 [B, K], p [M, K+1], and what is learned of interventions, mean and log standard
            deviation under each of them [M, K, 2]; all contiguous.
        regulariser: lambda.
        pull: factor of what it costs to be no part of psi(0), ``mean_m(1 - p[m,0])``.
    """

    def __init__(self, tensors: Sequence[Tensor], regulariser: float, pull: float) -> None:
        _, z, targets, _, _ = tensors
        self._kept = *tensors, z.new_empty(len(z), z.shape[2])
        self._prior = _Prior(*z.shape, targets.shape[1], *[one.data_ptr() for one in self._kept], regulariser, pull)

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
