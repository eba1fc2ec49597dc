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
        *((name, ctypes.c_void_p) for name in ("p", "m", "v", "steps")),
        *((name, ctypes.c_int64) for name in ("numbers", "group")),
        *((name, ctypes.c_double) for name in ("beta1", "beta2", "weight_decay", "epsilon")),
        ("g", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        *((name, ctypes.c_float) for name in ("rate", "root", "decay")),
    )


class AdamWGroup(NamedTuple):
    """Parameters with the same settings, for :class:`AdamW`.

    Attributes:
        tensors: each parameter p, AdamW's running means of its gradient g and of g^2, their numbers in the same order
            in memory, and the number of steps that it has taken, a float32 scalar.
        weight_decay, betas, epsilon: what they are in AdamW.
    """

    tensors: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]]
    weight_decay: float
    betas: tuple[float, float]
    epsilon: float


class AdamW:
    """Steps of AdamW, by ``adamw`` of kernels.c. What stays the same from one to the next is described once.

    Args:
        groups: of parameters; the tensors stay where they are in memory.
    """

    def __init__(self, groups: Sequence[AdamWGroup]) -> None:
        self._kept_alive = [own for group in groups for own in group.tensors]
        self._described = (_Parameter * len(self._kept_alive))()
        each = iter(self._described)
        for number, group in enumerate(groups):
            for tensors in group.tensors:
                at = next(each)
                at.p, at.m, at.v, at.steps = (tensor.data_ptr() for tensor in tensors)
                at.numbers, at.group = tensors[0].numel(), number
                at.beta1, at.beta2 = group.betas
                at.weight_decay, at.epsilon = group.weight_decay, group.epsilon

    def step(self, gradients: Sequence[Tensor | None], rates: Sequence[float], clip: float) -> float:
        """Take a step, all gradients scaled down to a common norm of ``clip`` where theirs is larger.

        Args:
            gradients: of each parameter, its numbers in the order of the parameter's; None: the parameter stays.
            rates: learning rate of each group.
            clip: bound on the norm.

        Returns:
            The norm that it was.
        """
        parts = torch.get_num_threads()
        addresses = [library.address(gradient) for gradient in gradients]
        return library.call(
            "adamw", parts, self._described, len(addresses), (ctypes.c_void_p * len(addresses))(*addresses),
            (ctypes.c_double * len(rates))(*rates), clip, (ctypes.c_double * parts)(),
        )  # fmt: skip
