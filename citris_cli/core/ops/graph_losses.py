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
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from citris_cli.core.ops import library
from citris_cli.core.ops.c_types import OWNERS_GIVEN, OWNERS_LEARNED, OWNERS_MADE, OfOwners, Owners
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
        exact: whether unlikely hypotheses are evaluated like all others; on a GPU they must be.

    Returns:
        ``value`` [B], and ``losses`` [B, n, N] without gradient.
    """
    unlikely = 0.0 if exact else UNLIKELY
    if _compilable(networks, sight, graphs, pi, scored):
        value, losses = _Compiled.apply(
            networks.variables, networks.autoregressive, floor, unlikely, sight.targets, *sight[:2], sight.psi, graphs,
            pi, *scored, *networks.learned(),
        )  # fmt: skip
        return value, losses
    if exact or graphs.shape[-1] > MOST_NODES:
        return graph_losses_reference(networks, sight, graphs, pi, floor, scored)
    return _few(networks, sight, graphs, pi, floor, scored)


def graph_losses_reference(
    networks: OwnerNetworks, sight: Sight, graphs: Tensor, pi: Tensor, floor: float, scored: Scored
) -> tuple[Tensor, Tensor]:
    """:func:`graph_losses` with every latent, node and graph evaluated in all rows."""
    mean, variance, less = (part[:, None, None] for part in scored)  # [B, 1, 1, M]

    def of(graph: Tensor) -> Tensor:
        means, log_stds = owner_networks(networks, sight, graph.unsqueeze(1))
        return (gaussian_nll(means[:, 0], log_stds[:, 0], mean, variance) - less).mean(2)  # [B, N, M]

    taught = of(graphs[:, 0])
    value = (taught * (pi.T + floor)).sum((-2, -1))
    with torch.no_grad():
        every = [taught, *(of(graph) for graph in graphs[:, 1:].unbind(1))]
        return value, torch.stack([(one * pi.T).sum(-1) for one in every], dim=1)


def _compilable(networks: OwnerNetworks, sight: Sight, graphs: Tensor, pi: Tensor, scored: Scored) -> bool:
    """Whether there is a compiled form for these."""
    z_t, z_t1, targets, psi = sight
    batch, samples, latents = z_t.shape
    number, nodes = graphs.shape[1:3]
    shapes = [(batch, samples, latents), (batch, nodes), (batch, latents, nodes), (batch, number, nodes, nodes)]
    shapes += [(networks.latents, nodes), *[(batch, networks.latents)] * 3]
    fit = latents == networks.latents
    fit = fit and [one.shape for one in (z_t1, targets, psi, graphs, pi, *scored)] == shapes
    room = nodes * (2 if networks.autoregressive else 1) <= 64  # bits of a number
    return fit and room and library.usable(z_t, z_t1, targets, psi, graphs, pi, *scored, *networks.learned())


class _Compiled(torch.autograd.Function):
    """The compiled :func:`graph_losses`, and its gradients, which are computed together with it."""

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
        given = [one.contiguous() for one in (z_t, z_t1, targets, psi, graphs, *others)]
        ctx.evaluated = Evaluated(given, variables, autoregressive, floor, unlikely, ctx.needs_input_grad[8])
        ctx.save_for_backward(z_t, z_t1, psi, graphs, *others)
        value, losses = ctx.evaluated.forward(any(ctx.needs_input_grad))
        ctx.mark_non_differentiable(losses)
        return value, losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_value: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        library.require_unchanged(ctx)
        return None, None, None, None, None, *ctx.evaluated.backward(of_value)


class Evaluated:
    """What the compiled functions make of :func:`graph_losses`.

    Args:
        given: z_t, z_t1, targets, psi, graphs, pi, the three of :class:`Scored` and what
            the networks learn; contiguous.
        variables: number of variables K, which may be set.
        autoregressive: whether a latent sees the latents before it of its own variable.
        floor: added to pi.
        unlikely: below which pi a latent is asked in some rows alone.
        drawn: whether graphs have a gradient.
    """

    def __init__(
        self, given: Sequence[Tensor], variables: int, autoregressive: bool, floor: float, unlikely: float, drawn: bool
    ) -> None:
        z, graphs, bias = given[0], given[4], given[10]
        (batch, samples, latents), (number, nodes) = z.shape, graphs.shape[1:3]
        entries, whole = batch * number * nodes, torch.empty(0, dtype=torch.int32)
        made = [
            *z.new_empty(3, entries, dtype=torch.int64),
            z.new_empty(latents, dtype=torch.int64),
            whole.new_empty(batch, latents),
            *whole.new_empty(2, entries),
            whole.new_empty(batch, 2),
            whole.new_empty(batch, latents),
            whole.new_empty(batch, nodes + 1),
            z.new_empty(latents * entries),
            z.new_empty(3, latents, nodes),
        ]
        self._given, self._made, self._drawn = given, made, drawn
        sizes = batch, samples, latents, variables, nodes, number, bias.shape[1], -(-batch // ONE_IN)
        self._owners = Owners(*sizes, autoregressive, drawn, unlikely=unlikely, floor=floor)
        self._owners.learned[:] = library.addresses(given[9:])
        for names, tensors in ((OWNERS_GIVEN, given[:9]), (OWNERS_MADE, made)):
            for name, address in zip(names, library.addresses(tensors), strict=True):
                setattr(self._owners, name, address)
        self._gradients: list[Tensor | None] = []

    def forward(self, gradients: bool) -> tuple[Tensor, Tensor]:
        """Value [B] and losses [B, n, N].

        Args:
            gradients: whether those of the values' sum are computed with them: mostly no others are needed.
        """
        graphs = self._given[4]
        value, losses = graphs.new_empty(len(graphs)), graphs.new_empty(graphs.shape[:3])
        if gradients:
            self._gradients = self._with_gradients(torch.ones_like(value), value, losses)
        else:
            self._call(None, self._given[0].shape[2], value, losses)
        return value, losses

    def backward(self, of_value: Tensor) -> list[Tensor | None]:
        """Gradients of z_t, z_t1, psi and what follows it in ``given``, for that of the value [B]."""
        if bool((of_value == of_value[0]).all()):
            return [None if one is None else one * of_value[0] for one in self._gradients]
        return self._with_gradients(of_value.contiguous(), None, None)

    def _with_gradients(self, of_value: Tensor, value: Tensor | None, losses: Tensor | None) -> list[Tensor | None]:
        z, psi, graphs = self._given[0], self._given[3], self._given[4]
        heaps = min(HEAPS, z.shape[2])
        of_z_t, of_z_t1 = z.new_empty(2, heaps, *z.shape)
        of_psi = psi.new_empty(heaps, *psi.mT.shape)
        of_graphs = graphs.new_empty(heaps, *graphs[:, 0].shape) if self._drawn else None
        others = library.like(self._given[5:])
        of = OfOwners(of_value.data_ptr())
        of.learned[:] = library.addresses(others[4:])
        learned = of_z_t, of_z_t1, of_psi, of_graphs, *others[:4]
        for name, address in zip(OWNERS_LEARNED, library.addresses(learned), strict=True):
            setattr(of, name, address)
        self._call(ctypes.byref(of), heaps, value, losses)
        of_drawn = None
        if of_graphs is not None:
            of_drawn = torch.zeros_like(graphs)
            of_drawn[:, 0] = of_graphs[0]
        return [of_z_t[0], of_z_t1[0], of_psi[0].mT, of_drawn, *others]

    def _call(self, of: Any, heaps: int, value: Tensor | None, losses: Tensor | None) -> None:
        owners = ctypes.byref(self._owners)
        room = torch.empty(torch.get_num_threads(), library.call("owner_room", owners))
        given = library.addresses([value, losses, room])
        library.call("owners_pass", len(room), owners, of, heaps, *given, room.shape[1])


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
