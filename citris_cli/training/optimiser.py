"""The optimiser of every training: AdamW (Loshchilov & Hutter, 2019) of gradients that are clipped to a norm first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from citris_cli.core import kernels
from citris_cli.core.kernels import AdamWGroup


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
        self._compiled = kernels.usable(*[parameter.detach() for parameter in self._parameters])

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
            norm = torch.tensor(kernels.adamw([self._described(group) for group in self.param_groups], self._clip))
        else:
            norm = nn.utils.clip_grad_norm_(self._parameters, self._clip)
            self.step()
        for parameter in self._parameters:
            parameter.grad = None
        return norm

    def _described(self, group: dict[str, Any]) -> AdamWGroup:
        """What is to be done for a group, its state made where there is none and its counts of steps moved on."""
        tensors, counts = [], []
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is None:
                continue
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros(())
                for name in ("exp_avg", "exp_avg_sq"):
                    state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            tensors.append((parameter, _in_order_of(parameter, gradient), state["exp_avg"], state["exp_avg_sq"]))
            counts.append(state["step"])
        if counts:
            torch._foreach_add_(counts, 1.0)
        steps = [count.item() for count in counts]
        return AdamWGroup(tensors, steps, group["lr"], group["weight_decay"], group["betas"], group["eps"])


def _in_order_of(parameter: Tensor, gradient: Tensor) -> Tensor:
    """The gradient, its numbers in memory in the order of the parameter's."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)
