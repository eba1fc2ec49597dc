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
        self._strides = [parameter.stride() for parameter in self._parameters]
        self._described: kernels.AdamW | None = None

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

    def _describe(self) -> kernels.AdamW:
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
            groups.append(AdamWGroup(tensors, group["weight_decay"], group["betas"], group["eps"]))
        return kernels.AdamW(groups)


def _in_order(gradient: Tensor | None, stride: tuple[int, ...]) -> Tensor | None:
    """The gradient, its numbers in memory in the order that these strides give those of its parameter."""
    if gradient is None or gradient.stride() == stride:
        return gradient
    return torch.empty_strided(gradient.shape, stride, dtype=gradient.dtype).copy_(gradient)
