"""What latents lose under every hypothesis on who owns them, and under several graphs (iCITRIS's prior).

``value = sum_m sum_k (pi_mk + floor) D_k,m`` of the first graph, through which the networks learn, and
``losses_k = sum_m pi_mk D_k,m`` of every graph, by which edges are judged. D is what a Gaussian of the networks loses
against what is scored: a cross-entropy, averaged over samples, less something of the pair's own.

All networks for all nodes and graphs would be M N n evaluations a row. On a CPU, what is known without an evaluation is
not evaluated:

- a node that was set sees no parents, and one whose parents are the same in two graphs sees the same: only distinct
  sets of parents are gone through, those of the first graph being there already;
- of a latent that is all but certainly not a node's (``pi_mk < 10^-3``), no graph is asked what it loses as one, and
  the first graph only in an eighth of the rows, which count eight times there: the same in expectation.

In the compiled form, nodes with the same parents are one, too, and the networks' first layer is a sum of one term that
all hypotheses and graphs share and one for each parent.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from citris_cli.core.ops import library
from citris_cli.core.ops.c_types import OfOwners, Owners
from citris_cli.core.ops.owner_networks import OwnerNetworks, Sight, of_some, owner_networks
from citris_cli.core.ops.sample_pairs import HALF_LOG_2PI, gaussian_nll, moments_over_samples

#: A latent is all but certainly not a node's below this probability.
UNLIKELY = 1e-3
#: One in so many rows is asked for what it would lose then.
ONE_IN = 8
#: Most nodes whose sets of parents are compared as numbers.
MOST_NODES = 40
#: Gradients of what all networks see are summed for so many of them apart, at most, by whatever number of threads.
HEAPS = 8


class Scored(NamedTuple):
    """What the networks' Gaussians are scored by, for every pair of frames and latent [B, M].

    Attributes:
        mean: of what is scored.
        variance: of what is scored.
        less: in nats, taken off the cross-entropy.
    """

    mean: Tensor
    variance: Tensor
    less: Tensor


def samples_scored(z: Tensor) -> Scored:
    """Samples [B, S, M]: D is their mean NLL."""
    mean, variance = (moment.squeeze(1) for moment in moments_over_samples(z))
    return Scored(mean, variance, torch.zeros_like(mean))


def gaussian_scored(mean: Tensor, log_std: Tensor) -> Scored:
    """A Gaussian q, mean and log standard deviation [B, M]: D is ``KL(q || p)``."""
    return Scored(mean, (2 * log_std).exp(), log_std + (0.5 + HALF_LOG_2PI))


def graph_losses(
    networks: OwnerNetworks, sight: Sight, graphs: Tensor, pi: Tensor, floor: float, scored: Scored, exact: bool
) -> tuple[Tensor, Tensor]:
    """See the module.

    Args:
        networks: the M networks.
        sight: what they see.
        graphs: 0 or 1 [B, n, N, N]; the first of each row carries its gradient.
        pi: probability that a latent is a node's [M, N].
        floor: added to it in ``value``, so that all hypotheses stay trained.
        scored: what D is of.
        exact: whether unlikely hypotheses are evaluated like all others.

    Returns:
        ``value`` [B], and ``losses`` [B, n, N] without gradient.
    """
    unlikely = 0.0 if exact else UNLIKELY
    if _compilable(networks, sight, graphs, pi, scored):
        value, losses = _Compiled.apply(
            networks.variables, networks.autoregressive, floor, unlikely, sight.targets, *sight[:2], sight.psi, graphs,
            pi, *scored, *networks.layers(),
        )  # fmt: skip
        return value, losses
    if exact or graphs.device.type != "cpu" or graphs.shape[-1] > MOST_NODES:  # a GPU is not asked for numbers
        return graph_losses_reference(networks, sight, graphs, pi, floor, scored)
    return _few(networks, sight, graphs, pi, floor, scored)


def graph_losses_reference(
    networks: OwnerNetworks, sight: Sight, graphs: Tensor, pi: Tensor, floor: float, scored: Scored
) -> tuple[Tensor, Tensor]:
    """:func:`graph_losses` with every latent, node and graph evaluated in all rows."""
    mean, variance, less = (part[:, None, None] for part in scored)  # [B, 1, 1, M]

    def of(graph: Tensor) -> Tensor:
        found = owner_networks(networks, sight, graph.unsqueeze(1))
        return (gaussian_nll(*(one[:, 0] for one in found), mean, variance) - less).mean(2)  # [B, N, M]

    taught = of(graphs[:, 0])
    value = (taught * (pi.T + floor)).sum((-2, -1))
    with torch.no_grad():
        every = [taught, *(of(graph) for graph in graphs[:, 1:].unbind(1))]
        return value, torch.stack([(one * pi.T).sum(-1) for one in every], dim=1)


def _compilable(networks: OwnerNetworks, sight: Sight, graphs: Tensor, pi: Tensor, scored: Scored) -> bool:
    """Whether there is a compiled form for these."""
    z_t, z_t1, targets, psi = sight
    batch, samples, latents = z_t.shape
    nodes = graphs.shape[-1]
    shapes = [(batch, samples, latents), (batch, nodes), (batch, latents, nodes), (latents, nodes), *[(batch, latents)] * 3]
    fit = [one.shape for one in (z_t1, targets, psi, pi, *scored)] == shapes
    fit = fit and graphs.shape == (batch, *graphs.shape[1:2], nodes, nodes) and latents == networks.latents
    room = nodes * (2 if networks.autoregressive else 1) <= 64  # bits of a number
    return fit and room and library.usable(z_t, z_t1, targets, psi, graphs, pi, *scored, *networks.parameters())


class _Compiled(torch.autograd.Function):
    """The compiled :func:`graph_losses`, and its gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        variables: int,
        autoregressive: bool,
        floor: float,
        unlikely: float,
        targets: Tensor,
        z_t: Tensor,
        z_t1: Tensor,
        psi: Tensor,
        graphs: Tensor,
        *others: Tensor,
    ) -> tuple[Tensor, Tensor]:
        (batch, samples, latents), (number, nodes) = z_t.shape, graphs.shape[1:3]
        pi, mean, variance, less, *layers = (one.contiguous() for one in others)
        owner = psi.argmax(-1).int()
        given = [one.contiguous() for one in (z_t, z_t1, targets, graphs)] + [pi, mean, variance, less]
        entries = batch * number * nodes
        sets, likely = owner.new_empty(3, entries, dtype=torch.int64), owner.new_empty(latents, dtype=torch.int64)
        target, which = owner.new_empty(2, entries)
        counts, start = owner.new_empty(batch, 2), owner.new_empty(batch, nodes + 1)
        lost, weights = z_t.new_empty(latents * entries), z_t.new_empty(3, latents, nodes)
        made = [owner, *sets, likely, target, which, counts, torch.empty_like(owner), start, lost, weights]
        one = Owners(
            batch, samples, latents, variables, nodes, number, layers[1].shape[1], -(-batch // ONE_IN), autoregressive,
            ctx.needs_input_grad[8], *library.addresses(given),
        )  # fmt: skip
        one.layers[:] = library.addresses(layers)
        for (name, _), tensor in zip(Owners._fields_[-14:-2], made, strict=True):
            setattr(one, name, tensor.data_ptr())
        one.unlikely, one.floor = unlikely, floor
        value, losses = z_t.new_empty(batch), z_t.new_empty(batch, number, nodes)
        ctx.owners, ctx.kept = one, (*given, *made, *layers)
        ctx.save_for_backward(z_t, z_t1, psi, graphs, *others)
        ctx.mark_non_differentiable(losses)
        room = _room(one, z_t)
        library.call(
            "owners_forward", len(room), ctypes.byref(one), value.data_ptr(), losses.data_ptr(), room.data_ptr(),
            room.shape[1],
        )  # fmt: skip
        return value, losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_value: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        library.require_unchanged(ctx)
        z_t, z_t1, psi, graphs, pi, mean, variance, less, *layers = ctx.saved_tensors
        heaps = min(HEAPS, z_t.shape[2])
        of_value = of_value.contiguous()
        of_z_t, of_z_t1 = z_t.new_empty(2, heaps, *z_t.shape)
        of_psi = psi.new_empty(heaps, *psi.mT.shape)
        of_graphs = graphs.new_empty(heaps, *graphs[:, 0].shape) if ctx.needs_input_grad[8] else None
        of_layers = [torch.empty(layer.shape) for layer in layers]
        of_others = library.like([pi, mean, variance, less])
        of = OfOwners(of_value.data_ptr())
        of.layers[:] = library.addresses(of_layers)
        parts = of_z_t, of_z_t1, of_psi, of_graphs, *of_others
        for (name, _kind), tensor in zip(OfOwners._fields_[-8:], parts, strict=True):
            setattr(of, name, None if tensor is None else tensor.data_ptr())
        room = _room(ctx.owners, z_t)
        library.call(
            "owners_backward", len(room), ctypes.byref(ctx.owners), ctypes.byref(of), heaps, room.data_ptr(),
            room.shape[1],
        )  # fmt: skip
        of_drawn = None
        if of_graphs is not None:
            of_drawn = torch.zeros_like(graphs)
            of_drawn[:, 0] = of_graphs[0]
        return None, None, None, None, None, of_z_t[0], of_z_t1[0], of_psi[0].mT, of_drawn, *of_others, *of_layers


def _room(one: Owners, z: Tensor) -> Tensor:
    """Room for every thread."""
    return z.new_empty(torch.get_num_threads(), library.call("owner_room", ctypes.byref(one)))


def _few(
    networks: OwnerNetworks, sight: Sight, graphs: Tensor, pi: Tensor, floor: float, scored: Scored
) -> tuple[Tensor, Tensor]:
    size, number, nodes, _ = graphs.shape
    batch, value = torch.arange(size), pi.new_zeros(size)
    some = batch[: -(-size // ONE_IN)]
    layers, losses = networks.layers(), []

    def of(visible: Tensor, rows: Tensor, node: int, latents: Tensor) -> Tensor:
        found = of_some(networks, layers, sight, visible, rows, node, latents)
        mean, variance, less = (part[rows][:, None, latents] for part in scored)
        return (gaussian_nll(*found, mean, variance) - less).mean(1)

    for node in range(nodes):
        parents = graphs[..., node] * (1 - sight.targets[:, None, node : node + 1])  # [B, n, N]
        visible = torch.einsum("bji,bi->bj", sight.psi, parents[:, 0])
        likely, unlikely = _split(pi[:, node])
        taught = of(visible, batch, node, likely)  # [B, m]
        value = value + taught @ (pi[likely, node] + floor)
        if len(unlikely):
            of_rest = of(visible[some], some, node, unlikely) @ (pi[unlikely, node] + floor) * (size / len(some))
            value = torch.cat([value[: len(some)] + of_rest, value[len(some) :]])
        with torch.no_grad():
            weights = pi[likely, node]
            sets, known = _distinct(parents)
            found = taught.new_empty(int(sets.max()) + 1)
            # What the first graph shows is there already; of the others, one graph stands for all that show the same.
            found[sets[:, 0]] = taught @ weights
            if number > 1:
                new = ~known.flatten()
                stands = torch.full_like(found, -1, dtype=torch.int64)
                stands[sets.flatten()[new]] = torch.arange(size * number)[new]
                stands = stands[stands >= 0]
                rows = stands // number
                if len(rows):
                    seen = torch.einsum("bji,bi->bj", sight.psi[rows], parents.flatten(0, 1)[stands])
                    found[sets.flatten()[stands]] = of(seen, rows, node, likely) @ weights
            losses.append(found[sets])
    return value, torch.stack(losses, dim=-1)


def _split(probability: Tensor) -> tuple[Tensor, Tensor]:
    """Which latents [M] are perhaps a node's, and which all but certainly not."""
    likely = probability >= UNLIKELY
    return likely.nonzero().flatten(), (~likely).nonzero().flatten()


def _distinct(parents: Tensor) -> tuple[Tensor, Tensor]:
    """Number of each row's set of parents among all distinct ones, and whether it is that of the row's first graph.

    Args:
        parents: 0 or 1 [B, n, N].

    Returns:
        int64 and bool [B, n].
    """
    size, nodes = len(parents), parents.shape[-1]
    codes = (parents.detach().long() << torch.arange(nodes)).sum(-1)
    rows = torch.arange(size).unsqueeze(1) << nodes
    sets = (rows + codes).unique(return_inverse=True)[1]
    return sets, codes == codes[:, :1]
