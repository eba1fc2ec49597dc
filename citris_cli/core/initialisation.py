"""How weights start: drawn from a generator that was passed in, or not at all."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def initialise(module: ModuleT, generator: torch.Generator | None) -> ModuleT:
    """Draw the weights of every linear map and convolution in ``module`` from ``generator``; returns the module.

    Uniform within ``1 / sqrt(fan_in)``, PyTorch's own start, but from a generator that was passed in.
    """
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            bound = layer.weight[0].numel() ** -0.5
            with torch.no_grad():
                layer.weight.uniform_(-bound, bound, generator=generator)
                if layer.bias is not None:
                    layer.bias.uniform_(-bound, bound, generator=generator)
    return module


def shapes_only() -> bool:
    """Whether modules are being built without memory, within ``torch.device("meta")``, for their weights' shapes.

    No start need be computed then, and some must not: PyTorch's forms without memory of linspace, tril, randn and the
    decompositions of matrices import its compiler first, which takes longer than all that a command does.
    """
    return torch.empty(0).is_meta
