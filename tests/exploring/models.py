"""A small model, of which nothing is known but its shapes: variables of every kind, one of them without latents."""

from __future__ import annotations

from typing import Any

import torch

from citris_cli.causal_model import CausalModel
from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.core.config import CitrisVAEConfig
from citris_cli.data.variables import Variable, Variables

#: What would end a script or run one of its own.
HOSTILE = "<img src=x onerror=document.title='broken'>"
VARIABLES = Variables(
    (
        Variable("x", group="where"),
        Variable("y", group="where"),
        Variable("turn", "angle"),
        Variable("lamp", "categorical", categories=3),
        Variable(HOSTILE, "angle"),
        Variable("lost"),
    )
)
#: The variable of each of the seven latents; 6 is psi(0).
ASSIGNMENT = (0, 1, 2, 2, 3, 4, 6)


def small_model(channels: int = 3) -> CausalModel:
    """The model, for frames of 32×32 pixels."""
    sizes: dict[str, Any] = {"flow_layers": 1, "flow_hidden": 3, "hidden": 5, "channels": 4, "width": 32}
    config = CitrisVAEConfig(len(ASSIGNMENT), len(VARIABLES), **sizes, networks="small", image_channels=channels)
    network = CitrisVAE(config, torch.Generator().manual_seed(0)).eval()
    network.assignment.fix(torch.tensor(ASSIGNMENT))
    return CausalModel.of(network, VARIABLES)
