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
    """Parameters with the same settings, for :class:`AdamW`.

    Attributes:
        tensors: each parameter p and AdamW's running means of its gradient g and of g^2, their numbers in the same
            order in memory.
        decay, betas, epsilon: weight decay, and what they are in AdamW.
    """

    tensors: Sequence[tuple[Tensor, Tensor, Tensor]]
    decay: float
    betas: tuple[float, float]
    epsilon: float


class AdamW:
    """Steps of AdamW, by ``adamw`` of kernels.c. What stays the same from one to the next is described once.

    Args:
        groups: of parameters; the tensors stay where they are in memory.
    """

    def __init__(self, groups: Sequence[AdamWGroup]) -> None:
        tensors = [own for group in groups for own in group.tensors]
        self._kept_alive = tensors
        self._described = (_Parameter * len(tensors))()
        each = iter(self._described)
        self._groups = [(group, [next(each) for _ in group.tensors]) for group in groups]
        for group, described in self._groups:
            beta1, beta2 = group.betas
            for at, (p, m, v) in zip(described, group.tensors, strict=True):
                at.p, at.m, at.v = p.data_ptr(), m.data_ptr(), v.data_ptr()
                at.keep, at.new_m, at.new_v, at.epsilon = beta2, 1 - beta1, 1 - beta2, group.epsilon

    def step(
        self, gradients: Sequence[Tensor | None], steps: Sequence[float], rates: Sequence[float], clip: float
    ) -> float:
        """Take a step, all gradients scaled down to a common norm of ``clip`` where theirs is larger.

        Args:
            gradients: of each parameter, its numbers in the order of the parameter's; None: the parameter stays.
            steps: of each parameter, which step of its own this is, from 1.
            rates: learning rate of each group.
            clip: bound on the norm.

        Returns:
            The norm that it was.
        """
        each = iter(zip(gradients, steps, strict=True))
        total = 0
        for (group, described), rate in zip(self._groups, rates, strict=True):
            decay = 1 - rate * group.decay
            corrections: dict[float, tuple[float, float]] = {}
            for at in described:
                gradient, step = next(each)
                if gradient is None:
                    at.count = 0
                    continue
                if step not in corrections:
                    beta1, beta2 = group.betas
                    corrections[step] = rate / (1 - beta1**step), (1 - beta2**step) ** -0.5
                at.g, at.count, at.decay = gradient.data_ptr(), gradient.numel(), decay
                at.rate, at.root = corrections[step]
                total += at.count
        parts = torch.get_num_threads()
        return library.call("adamw", parts, self._described, total, clip, (ctypes.c_double * parts)())
