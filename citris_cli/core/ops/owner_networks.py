"""One network a latent, evaluated for every node that may own it and for several graphs (iCITRIS's prior).

Every row is a pair of frames, a node k and a graph: what it shows of z^{t+1} are the latents of k's parents. The
networks see the same rows, so that each layer of all of them is one batched product; what differs from network to
network, that a latent never sees itself, is in the weights. On a CPU, rows go through all layers in chunks that stay in
the cache, and once more for their gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

#: Activations of a layer, of all networks together, that a chunk of rows may have: some hundred kilobytes.
CHUNK = 2**16
#: Of LayerNorm.
EPSILON = 1e-5


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
        self.latents, self.variables, self.autoregressive = latents, variables, autoregressive

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

    def learned(self) -> list[Tensor]:
        """All parameters, those of both LayerNorms last but for the bounds."""
        maps = [self.first_weight, self.first_bias, self.middle_weight, self.middle_bias]
        maps += [self.last_weight, self.last_bias]
        norms = [self.first_gain, self.first_offset, self.middle_gain, self.middle_offset]
        return [*maps, *norms, self.log_bounds]

    def layers(self) -> list[Tensor]:
        """Weights of all layers for rows ``[z^t, onehot_k I_k, z v, v]``, v the latents of k's parents.

        ``[z u, 2u - 1]`` with ``u_j = [j != m] v_j`` are maps of ``[z v, v]`` without column m. If autoregressive, rows
        go on with ``[z a, a]``, a the latents of k itself, of which network m sees those before m.
        """
        latents, variables = self.latents, self.variables
        of_z, of_u, of_target, of_past = self.first_weight.split([latents, latents, variables, latents], dim=-1)
        others = 1 - torch.eye(latents, dtype=of_z.dtype, device=of_z.device).unsqueeze(1)  # [M, 1, M]
        parts = [of_past, of_target, of_z * others, 2 * of_u * others]
        if self.autoregressive:
            earlier = torch.ones(latents, latents, dtype=of_z.dtype, device=of_z.device).tril(-1).unsqueeze(1)
            parts += [of_z * earlier, 2 * of_u * earlier]
        # LayerNorm takes the mean over features away; taken out of weights and bias, it never comes in.
        first, first_bias = torch.cat(parts, dim=-1).mT, self.first_bias - of_u.sum(-1)
        middle, middle_bias = self.middle_weight.mT, self.middle_bias
        return [
            first - first.mean(-1, keepdim=True),
            first_bias - first_bias.mean(-1, keepdim=True),
            self.first_gain,
            self.first_offset,
            middle - middle.mean(-1, keepdim=True),
            middle_bias - middle_bias.mean(-1, keepdim=True),
            self.middle_gain,
            self.middle_offset,
            self.last_weight.mT,
            self.last_bias,
            self.log_bounds.exp(),
        ]


class Sight(NamedTuple):
    """What the networks see of a batch.

    Attributes:
        z_t: samples of the earlier frame [B, S, M].
        z_t1: samples of the later frame [B, S, M].
        targets: of the nodes, 0 or 1, [B, N].
        psi: which latents are each node's, one-hot [B, M, N].
    """

    z_t: Tensor
    z_t1: Tensor
    targets: Tensor
    psi: Tensor


def owner_networks(networks: OwnerNetworks, sight: Sight, graphs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-std of every latent as a latent of each node under each graph.

    Args:
        networks: the M networks.
        sight: what they see.
        graphs: 0 or 1 [B, n, N, N].

    Returns:
        Two tensors [B, n, N, S, M].
    """
    psi, nodes = sight.psi, graphs.shape[-1]
    visible = torch.einsum("bji,bgik->bgkj", psi, graphs) * (1 - sight.targets)[:, None, :, None]  # [B, n, N, M]
    kinds = torch.arange(nodes, device=psi.device).expand(visible.shape[:-1])
    batch = torch.arange(len(psi), device=psi.device)[:, None, None].expand_as(kinds)
    rows = _rows(networks, sight, visible.flatten(0, 2), batch.reshape(-1), kinds.reshape(-1))
    out = _all_layers(rows.flatten(0, 1), networks.layers()).view(-1, *graphs.shape[:3], sight.z_t.shape[1], 2)
    mean, log_std = out.permute(1, 2, 3, 4, 0, 5).unbind(-1)
    return mean, log_std


def of_some(
    networks: OwnerNetworks,
    layers: Sequence[Tensor],
    sight: Sight,
    visible: Tensor,
    batch: Tensor,
    node: int,
    latents: Tensor,
) -> tuple[Tensor, Tensor]:
    """The same of some latents as those of one node, for rows that are told one by one.

    Args:
        networks: the M networks.
        layers: their weights, :meth:`OwnerNetworks.layers`, which several calls share.
        sight: what they see.
        visible: latents of the node's parents, 0 or 1 [R, M].
        batch: row of the batch that each is of, int64 [R].
        node: which node.
        latents: which latents, int64 [m].

    Returns:
        Two tensors [R, S, m].
    """
    if len(latents) == 0:
        nothing = sight.z_t.new_empty(len(batch), sight.z_t.shape[1], 0)
        return nothing, nothing
    rows = _rows(networks, sight, visible, batch, torch.full_like(batch, node))
    own = layers if len(latents) == networks.latents else [layer[latents] for layer in layers]
    out = _all_layers(rows.flatten(0, 1), own).unflatten(1, (len(batch), -1))
    mean, log_std = out.permute(1, 2, 0, 3).unbind(-1)
    return mean, log_std


def _rows(networks: OwnerNetworks, sight: Sight, visible: Tensor, batch: Tensor, node: Tensor) -> Tensor:
    """What the networks see, :meth:`OwnerNetworks.layers`, [R, S, features]."""
    z_t, z_t1 = sight.z_t[batch], sight.z_t1[batch]
    nodes = torch.eye(sight.targets.shape[1], dtype=z_t.dtype, device=z_t.device)
    target = (nodes[node] * sight.targets[batch])[:, : networks.variables]
    shape = *z_t.shape[:2], -1
    parts = [z_t, target.unsqueeze(1).expand(shape), z_t1 * visible.unsqueeze(1), visible.unsqueeze(1).expand(shape)]
    if networks.autoregressive:
        own = sight.psi.mT[batch, node].unsqueeze(1)
        parts += [z_t1 * own, own.expand(shape)]
    return torch.cat(parts, dim=-1)


def _all_layers(rows: Tensor, layers: Sequence[Tensor]) -> Tensor:
    """Rows [R, features] through the networks: mean and log-std [M, R, 2]."""
    if rows.is_cuda:
        return _layers(rows, layers)[-1]
    return _InChunks.apply(rows, *layers)


def _layers(rows: Tensor, layers: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """What is computed on the way, of all networks: of both hidden layers the normalised values, their scale, what
    SiLU is given and gives; then the last map's values and the outputs [M, R, 2].
    """
    first, first_bias, gain, offset, *rest = layers
    x = torch.baddbmm(first_bias.unsqueeze(1), rows.expand(len(first), -1, -1), first)
    one = _normalised(x, gain, offset)
    middle, middle_bias, gain, offset, last, last_bias, bounds = rest
    two = _normalised(torch.baddbmm(middle_bias.unsqueeze(1), one[-1], middle), gain, offset)
    x = torch.baddbmm(last_bias.unsqueeze(1), two[-1], last)
    bounds = bounds.unsqueeze(1)
    return *one, *two, x, bounds * torch.tanh(x / bounds)


def _normalised(x: Tensor, gain: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """LayerNorm and SiLU of values whose mean is 0 already: the maps before them have it taken out of their weights."""
    scale = (torch.linalg.vector_norm(x, dim=-1, keepdim=True).square() / x.shape[-1] + EPSILON).rsqrt()
    normal = x * scale
    shifted = torch.addcmul(offset.unsqueeze(1), normal, gain.unsqueeze(1))
    return normal, scale, shifted, functional.silu(shifted)


class _InChunks(torch.autograd.Function):
    """:func:`_layers` of a few rows at a time; activations are computed again for the gradients."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, *layers: Tensor) -> Tensor:
        ctx.save_for_backward(rows, *layers)
        return torch.cat([_layers(chunk, layers)[-1] for chunk in rows.split(_chunk(layers))], dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_outputs: Tensor) -> tuple[Tensor, ...]:
        rows, *layers = ctx.saved_tensors
        size = _chunk(layers)
        of_rows, of_layers = [], [torch.zeros_like(layer) for layer in layers]
        for chunk, gradient in zip(rows.split(size), of_outputs.split(size, dim=1), strict=True):
            of_chunk, found = _gradients(chunk, layers, gradient)
            of_rows.append(of_chunk)
            torch._foreach_add_(of_layers, found)
        return torch.cat(of_rows), *of_layers


def _gradients(rows: Tensor, layers: Sequence[Tensor], of_outputs: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Gradients of :func:`_layers` to the rows and to the layers' weights."""
    first, _, gain_1, _, middle, _, gain_2, _, last, _, bounds = layers
    normal_1, scale_1, shifted_1, active_1, normal_2, scale_2, shifted_2, active_2, x, _ = _layers(rows, layers)
    bounds = bounds.unsqueeze(1)
    bent = torch.tanh(x / bounds)
    slope = of_outputs * (1 - bent.square())
    of_bounds = (of_outputs * bent - slope * x / bounds).sum(1)
    of_last, of_last_bias = active_2.mT @ slope, slope.sum(1)
    of_x, of_gain_2, of_offset_2 = _normalised_backward(slope @ last.mT, normal_2, scale_2, shifted_2, gain_2)
    of_middle, of_middle_bias = active_1.mT @ of_x, of_x.sum(1)
    of_x, of_gain_1, of_offset_1 = _normalised_backward(of_x @ middle.mT, normal_1, scale_1, shifted_1, gain_1)
    of_first, of_first_bias = rows.mT @ of_x, of_x.sum(1)
    of_rows = (of_x @ first.mT).sum(0)
    found = [of_first, of_first_bias, of_gain_1, of_offset_1, of_middle, of_middle_bias, of_gain_2, of_offset_2]
    return of_rows, [*found, of_last, of_last_bias, of_bounds]


def _normalised_backward(
    of_active: Tensor, normal: Tensor, scale: Tensor, shifted: Tensor, gain: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of :func:`_normalised` to its values, its gain and its offset."""
    of_shifted = torch.ops.aten.silu_backward(of_active, shifted)
    product = of_shifted * normal
    along = product @ gain.unsqueeze(-1) / normal.shape[-1]  # the mean of (gradient, value), which scaling takes out
    of_x = torch.addcmul(of_shifted * gain.unsqueeze(1), normal, along, value=-1).mul_(scale)
    return of_x, product.sum(1), of_shifted.sum(1)


def _chunk(layers: Sequence[Tensor]) -> int:
    """Rows that go through the networks together."""
    return max(64, CHUNK // layers[1].numel())


def owner_networks_reference(networks: OwnerNetworks, sight: Sight, graphs: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`owner_networks`, every node and graph by itself, with inputs as they are defined."""
    z_t, z_t1, targets, psi = sight
    batch, number, nodes, _ = graphs.shape
    samples, latents = z_t.shape[1:]
    others = 1 - torch.eye(latents, dtype=psi.dtype, device=psi.device)
    earlier = torch.ones_like(others).tril(-1)
    shape = batch, samples, latents, -1
    found = []
    for graph in graphs.unbind(1):
        for node in range(nodes):
            of_parents = torch.einsum("bji,bi->bj", psi, graph[:, :, node]) * (1 - targets[:, node : node + 1])
            u = of_parents.unsqueeze(1) * others  # [B, m, j]
            if networks.autoregressive:
                u = u + psi[:, :, node].unsqueeze(1) * earlier
            u = u.unsqueeze(1).expand(shape)
            shown = torch.zeros(batch, networks.variables, dtype=psi.dtype, device=psi.device)
            if node < networks.variables:
                shown[:, node] = targets[:, node]
            inputs = [z_t1.unsqueeze(2) * u, 2 * u - 1, shown[:, None, None].expand(shape)]
            x = torch.cat([*inputs, z_t.unsqueeze(2).expand(shape)], dim=-1)
            x = torch.einsum("bsmi,mci->bsmc", x, networks.first_weight) + networks.first_bias
            for gain, offset, weight, bias in (
                (networks.first_gain, networks.first_offset, networks.middle_weight, networks.middle_bias),
                (networks.middle_gain, networks.middle_offset, networks.last_weight, networks.last_bias),
            ):
                x = functional.silu(functional.layer_norm(x, x.shape[-1:]) * gain + offset)
                x = torch.einsum("bsmi,mci->bsmc", x, weight) + bias
            bounds = networks.log_bounds.exp()
            found.append(bounds * torch.tanh(x / bounds))
    out = torch.stack(found, dim=1).unflatten(1, (number, nodes))
    mean, log_std = out.unbind(-1)
    return mean, log_std
