"""An MLP a latent, all of them as batched products: what the MLP priors are made of."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from citris_cli.core.config import CitrisPriorConfig
from citris_cli.core.ops.networks import separate_networks
from citris_cli.core.priors.base import RegularisedPrior


class PerLatentLinear(nn.Module):
    """One linear layer a latent, with weights of its own, as a single batched matrix product.

    Args:
        latents: number of latents M.
        inputs: input features a latent.
        outputs: output features a latent.
        generator: source of the random start (uniform, bound 1 / sqrt(inputs)).
    """

    def __init__(self, latents: int, inputs: int, outputs: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(latents, outputs, inputs).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.empty(latents, outputs).uniform_(-bound, bound, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        """[M, inputs, N] -> [M, outputs, N]."""
        return torch.baddbmm(self.bias.unsqueeze(2), self.weight, x)


class PerLatentNetwork(nn.Module):
    """An MLP a latent of all latents, ``out(SiLU(middle(SiLU(first(z)))))``: two values of every latent.

    Args:
        latents: number of latents M.
        hidden: hidden width c of every latent's network.
        generator: source of the random start.
    """

    def __init__(self, latents: int, hidden: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.first = PerLatentLinear(latents, latents, hidden, generator)
        self.middle = PerLatentLinear(latents, hidden, hidden, generator)
        self.out = PerLatentLinear(latents, hidden, 2, generator)

    def forward(self, z: Tensor) -> Tensor:
        """[..., M] -> [..., M, 2]."""
        layers = self.first, self.middle, self.out
        return separate_networks(z, [part for one in layers for part in (one.weight, one.bias)])


class PerLatentMLP(RegularisedPrior):
    """An MLP a latent, ``out(SiLU(mid(SiLU(Linear(z^t)[m] + inp(z^t_m, …)))))``: (mean, log-std) of latent m.

    Args:
        latents: number of latents M.
        own_inputs: what ``inp`` sees: z^t_m and whatever a form adds to it.
        hidden: hidden width c of every latent's network.
        config: of the prior.
        generator: source of the random start.
    """

    def __init__(
        self, latents: int, own_inputs: int, hidden: int, config: CitrisPriorConfig, generator: torch.Generator | None
    ) -> None:
        super().__init__(config)
        bound = 1 / math.sqrt(latents)
        self.context_weight = nn.Parameter(
            torch.empty(latents, hidden, latents).uniform_(-bound, bound, generator=generator)
        )
        self.context_bias = nn.Parameter(torch.empty(latents, hidden).uniform_(-bound, bound, generator=generator))
        self.own = PerLatentLinear(latents, own_inputs, hidden, generator)
        self.middle = PerLatentLinear(latents, hidden, hidden, generator)
        self.out = PerLatentLinear(latents, hidden, 2, generator)

    def of_past(self) -> tuple[Tensor, Tensor]:
        """The first layer's map of z^t: weight [M, c, M] and bias [M, c]."""
        # inp(z^t_m) reads one entry of z^t: it is added to the diagonal of the map that reads them all.
        weight = self.context_weight + torch.diag_embed(self.own.weight[..., 0].T).permute(1, 0, 2)
        return weight, self.context_bias + self.own.bias
