"""Clipping and AdamW."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from citris_cli.core.kernels import library


class _Parameter(ctypes.Structure):
    """``parameter`` of kernels.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("p", "m", "v", "g")),
        ("count", ctypes.c_int64),
        *((name, ctypes.c_float) for name in ("rate", "root", "decay", "keep", "new_m", "new_v", "epsilon")),
    )


class AdamWGroup(NamedTuple):
    """Parameters with the same settings, for :func:`adamw`: tensors whose numbers lie in the same order.

    Attributes:
        tensors: of each parameter p, its gradient g and AdamW's running means of g and of g^2.
        steps: of each parameter t, of this step; the first is 1.
        lr, decay, betas, epsilon: learning rate, weight decay, and what they are in AdamW.
    """

    tensors: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]]
    steps: Sequence[float]
    lr: float
    decay: float
    betas: tuple[float, float]
    epsilon: float


def adamw(groups: Sequence[AdamWGroup], clip: float) -> float:
    """A step of AdamW, all gradients scaled down to a common norm of ``clip`` where theirs is larger.

    Returns:
        The norm that it was.
    """
    described = []
    total = 0
    for tensors, steps, lr, decay, (beta1, beta2), epsilon in groups:
        fixed = 1 - lr * decay, beta2, 1 - beta1, 1 - beta2, epsilon
        corrections = {step: (lr / (1 - beta1**step), (1 - beta2**step) ** -0.5) for step in set(steps)}
        for (p, g, m, v), step in zip(tensors, steps, strict=True):
            count = p.numel()
            addresses = p.data_ptr(), m.data_ptr(), v.data_ptr(), g.data_ptr()
            described.append(_Parameter(*addresses, count, *corrections[step], *fixed))
            total += count
    parts = torch.get_num_threads()
    sums = (ctypes.c_double * parts)()
    return library.call("adamw", parts, (_Parameter * len(described))(*described), total, clip, sums)
