"""One network a latent, evaluated for every variable that may own it and for several graphs (iCITRIS's prior)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class OwnerNetworks(nn.Module):
    """M networks ``3M + K -> c -> c -> 2`` with LayerNorm and SiLU, weights and gains of each its own.

    Args:
        latents: number of latents M.
        variables: number of variables K.
        hidden: width c.
        autoregressive: whether a latent sees the latents before it of its own variable.
        generator: source of the random start (Kaiming's uniform one; the last map starts at 0).
    """

    def __init__(
        self, latents: int, variables: int, hidden: int, autoregressive: bool, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.variables, self.autoregressive = variables, autoregressive

        def start(*shape: int) -> nn.Parameter:
            bound = math.sqrt(6 / shape[-1])
            return nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=generator))

        self.first_weight = start(latents, hidden, 3 * latents + variables)
        self.first_bias = nn.Parameter(torch.zeros(latents, hidden))
        self.middle_weight = start(latents, hidden, hidden)
        self.middle_bias = nn.Parameter(torch.zeros(latents, hidden))
        self.last_weight = nn.Parameter(torch.zeros(latents, 2, hidden))
        self.last_bias = nn.Parameter(torch.zeros(latents, 2))
        self.first_gain = nn.Parameter(torch.ones(latents, hidden))
        self.first_offset = nn.Parameter(torch.zeros(latents, hidden))
        self.middle_gain = nn.Parameter(torch.ones(latents, hidden))
        self.middle_offset = nn.Parameter(torch.zeros(latents, hidden))
        # Logarithms of the bounds of mean and log-std.
        self.log_bounds = nn.Parameter(torch.zeros(latents, 2))


def owner_networks(
    networks: OwnerNetworks, z_t: Tensor, z_t1: Tensor, targets: Tensor, psi: Tensor, graphs: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean and log-std of every latent as a latent of each node; see ``InstantaneousPrior.gaussians``.

    Args:
        networks: the M networks.
        z_t, z_t1: samples of the two frames [B, S, M].
        targets: of the nodes, 0 or 1, [B, N].
        psi: which latents are each node's, one-hot [B, M, N].
        graphs: 0 or 1 [B, n, N, N].

    Returns:
        Two tensors [B, n, N, S, M].
    """
    return owner_networks_reference(networks, z_t, z_t1, targets, psi, graphs)


def owner_networks_reference(
    networks: OwnerNetworks, z_t: Tensor, z_t1: Tensor, targets: Tensor, psi: Tensor, graphs: Tensor
) -> tuple[Tensor, Tensor]:
    """:func:`owner_networks`, every network with inputs of its own."""
    batch, number, nodes, _ = graphs.shape
    samples, latents = z_t.shape[1:]
    shape = batch, number, nodes, samples, latents
    of_parents = torch.einsum("bji,bgik->bgkj", psi, graphs) * (1 - targets)[:, None, :, None]  # [B, n, N, M]
    visible = of_parents.unsqueeze(3) * (1 - torch.eye(latents, dtype=psi.dtype, device=psi.device))  # [B, n, N, m, j]
    if networks.autoregressive:
        earlier = torch.ones(latents, latents, dtype=psi.dtype, device=psi.device).tril(-1)
        visible = visible + psi.mT[:, None, :, None] * earlier
    shown = torch.diag_embed(targets)[..., : networks.variables]  # [B, N, K]
    visible = visible.unsqueeze(3).expand(*shape, latents)
    inputs = torch.cat(
        [
            z_t1[:, None, None, :, None] * visible,
            2 * visible - 1,
            shown[:, None, :, None, None].expand(*shape, -1),
            z_t[:, None, None, :, None].expand(*shape, -1),
        ],
        dim=-1,
    )
    x = torch.einsum("...mi,mci->...mc", inputs, networks.first_weight) + networks.first_bias
    for gain, offset, weight, bias in (
        (networks.first_gain, networks.first_offset, networks.middle_weight, networks.middle_bias),
        (networks.middle_gain, networks.middle_offset, networks.last_weight, networks.last_bias),
    ):
        x = functional.silu(functional.layer_norm(x, x.shape[-1:]) * gain + offset)
        x = torch.einsum("...mi,mci->...mc", x, weight) + bias
    bounds = networks.log_bounds.exp()
    mean, log_std = (bounds * torch.tanh(x / bounds)).unbind(-1)
    return mean, log_std
