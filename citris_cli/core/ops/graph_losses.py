"""What latents lose under every hypothesis on who owns them, and under several graphs (iCITRIS's prior).

``value = sum_m sum_k (pi_mk + floor) D_k,m`` of the first graph, through which the networks learn, and
``losses_k = sum_m pi_mk D_k,m`` of every graph, by which edges are judged; D by a function of the Gaussians.

All networks for all nodes and graphs would be M N n evaluations a row. Where the host may look at numbers, what is
known without an evaluation is not evaluated:

- a node that was set sees no parents, and one whose parents are the same in two graphs sees the same: only distinct
  sets of parents are gone through, those of the first graph being there already;
- of a latent that is all but certainly not a node's (``pi_mk < 10^-3``), no graph is asked what it loses as one, and
  the first graph only in an eighth of the rows, which count eight times there: the same in expectation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from citris_cli.core.ops.owner_networks import OwnerNetworks, Sight, of_some, owner_networks

#: What some latents [m] lose by Gaussians, mean and log-std [R, S, m], in some rows of the batch [R]: nats [R, m].
Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
#: A latent is all but certainly not a node's below this probability.
UNLIKELY = 1e-3
#: One in so many rows is asked for what it would lose then.
ONE_IN = 8
#: Most nodes whose sets of parents are compared as numbers.
MOST_NODES = 40


def graph_losses(
    networks: OwnerNetworks, sight: Sight, graphs: Tensor, pi: Tensor, floor: float, loss: Loss, host: bool
) -> tuple[Tensor, Tensor]:
    """See the module.

    Args:
        networks: the M networks.
        sight: what they see.
        graphs: 0 or 1 [B, n, N, N]; the first of each row carries its gradient.
        pi: probability that a latent is a node's [M, N].
        floor: added to it in ``value``, so that all hypotheses stay trained.
        loss: D.
        host: whether the host may look at numbers.

    Returns:
        ``value`` [B], and ``losses`` [B, n, N] without gradient.
    """
    if host and graphs.shape[-1] <= MOST_NODES:
        return _few(networks, sight, graphs, pi, floor, loss)
    return graph_losses_reference(networks, sight, graphs, pi, floor, loss)


def graph_losses_reference(
    networks: OwnerNetworks, sight: Sight, graphs: Tensor, pi: Tensor, floor: float, loss: Loss
) -> tuple[Tensor, Tensor]:
    """:func:`graph_losses` with every latent, node and graph evaluated in all rows."""
    batch, latents = torch.arange(len(graphs), device=pi.device), torch.arange(len(pi), device=pi.device)
    nodes = range(graphs.shape[-1])

    def of(graph: Tensor) -> Tensor:
        mean, log_std = owner_networks(networks, sight, graph.unsqueeze(1))
        return torch.stack([loss(mean[:, 0, k], log_std[:, 0, k], batch, latents) for k in nodes], dim=1)  # [B, N, M]

    taught = of(graphs[:, 0])
    value = (taught * (pi.T + floor)).sum((-2, -1))
    with torch.no_grad():
        every = [taught, *(of(graph) for graph in graphs[:, 1:].unbind(1))]
        return value, torch.stack([(one * pi.T).sum(-1) for one in every], dim=1)


def _few(
    networks: OwnerNetworks, sight: Sight, graphs: Tensor, pi: Tensor, floor: float, loss: Loss
) -> tuple[Tensor, Tensor]:
    size, number, nodes, _ = graphs.shape
    batch, value = torch.arange(size), pi.new_zeros(size)
    some = batch[: -(-size // ONE_IN)]
    layers, losses = networks.layers(), []

    def of(visible: Tensor, rows: Tensor, node: int, latents: Tensor) -> Tensor:
        return loss(*of_some(networks, layers, sight, visible, rows, node, latents), rows, latents)

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
