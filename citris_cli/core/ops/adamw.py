"""The optimiser of every training: AdamW (Loshchilov & Hutter, 2019) of gradients that are clipped to a norm first.

``g <- g min(1, clip / |g|)``; ``m <- b1 m + (1 - b1) g``; ``v <- b2 v + (1 - b2) g^2``;
``p <- p (1 - lr decay) - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from citris_cli.core.ops import library
from citris_cli.core.ops.c_types import Parameter


class ClippedAdamW(torch.optim.AdamW):
    """PyTorch's AdamW, state and settings included, that clips, steps and drops the gradients in one pass.

    On a CPU this reads every gradient twice, where clipping, stepping and clearing apart go through them four times.

    Args:
        groups: of parameters, each with ``params`` and ``lr``; without weight decay unless they say so.
        clip: bound on the norm of all gradients together.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], clip: float) -> None:
        groups = [{**group, "params": list(group["params"])} for group in groups]
        self._parameters: list[nn.Parameter] = [parameter for group in groups for parameter in group["params"]]
        super().__init__(groups, weight_decay=0.0, fused=self._parameters[0].device.type != "mps")
        self._clip = clip
        self._compiled = library.usable(*[parameter.detach() for parameter in self._parameters])
        self._strides = [parameter.stride() for parameter in self._parameters]
        self._described: CompiledAdamW | None = None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """PyTorch's; the state's tensors are others from here on."""
        self._described = None
        super().load_state_dict(state_dict)

    def allow_recording(self) -> None:
        """From now on updates may be recorded in a CUDA graph; PyTorch wants to be told."""
        for group in self.param_groups:
            group["capturable"] = True

    @torch.no_grad()
    def update(self) -> Tensor:
        """Take a step and drop the gradients.

        Returns:
            Norm of all gradients before clipping, a scalar on their device.
        """
        if self._compiled:
            norm = torch.tensor(self._compiled_step())
        else:
            norm = nn.utils.clip_grad_norm_(self._parameters, self._clip)
            self.step()
        for parameter in self._parameters:
            parameter.grad = None
        return norm

    def _compiled_step(self) -> float:
        """Clip and step; the norm of all gradients before."""
        if self._described is None:
            self._described = self._describe()
        gradients = [_in_order(p.grad, stride) for p, stride in zip(self._parameters, self._strides, strict=True)]
        return self._described.step(gradients, [group["lr"] for group in self.param_groups], self._clip)

    def _describe(self) -> CompiledAdamW:
        """The parameters with their state, which is made where there is none."""
        groups = []
        for group in self.param_groups:
            tensors = []
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["step"] = torch.zeros(())
                    for name in ("exp_avg", "exp_avg_sq"):
                        state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                tensors.append((parameter, state["exp_avg"], state["exp_avg_sq"], state["step"]))
            groups.append(Group(tensors, group["weight_decay"], group["betas"], group["eps"]))
        return CompiledAdamW(groups)


def _in_order(gradient: Tensor | None, stride: tuple[int, ...]) -> Tensor | None:
    """The gradient, its numbers in memory in the order that these strides give those of its parameter."""
    if gradient is None or gradient.stride() == stride:
        return gradient
    return torch.empty_strided(gradient.shape, stride, dtype=gradient.dtype).copy_(gradient)


class Group(NamedTuple):
    """Parameters with the same settings, for :class:`CompiledAdamW`.

    Attributes:
        tensors: each parameter p, AdamW's running means of its gradient g and of g^2, their numbers in the same order
            in memory, and the number of steps that it has taken, a float32 scalar.
        weight_decay, betas, epsilon: what they are in AdamW.
    """

    tensors: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]]
    weight_decay: float
    betas: tuple[float, float]
    epsilon: float


class CompiledAdamW:
    """Steps of AdamW, by ``adamw`` of kernels.c. What stays the same from one to the next is described once.

    Args:
        groups: of parameters; the tensors stay where they are in memory.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self._kept_alive = [own for group in groups for own in group.tensors]
        self._described = (Parameter * len(self._kept_alive))()
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
        addresses = library.addresses(gradients)
        return library.call(
            "adamw", parts, self._described, len(addresses), (ctypes.c_void_p * len(addresses))(*addresses),
            (ctypes.c_double * len(rates))(*rates), clip, (ctypes.c_double * parts)(),
        )  # fmt: skip
