"""iCITRIS's prior at the published sizes: what all hypotheses on owners and all graphs cost, by stage of a training.

The plain form evaluates every hypothesis and every graph by itself, with inputs as the paper has them, and scores every
pair of copies. Ours depends on what is known already, so there is a row for each stage: before the graph learns (one
graph is as good as eight), while it is open who owns what, when that is decided, and when the graph nearly is as well.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from citris_cli.core.ops.graph_losses import ONE_IN, UNLIKELY, graph_losses, samples_scored
from citris_cli.core.ops.owner_networks import OwnerNetworks, Sight, owner_networks_reference
from citris_cli.core.ops.sample_pairs import gaussian_nll_over_sample_pairs_reference
from tests.benchmarks.measure import Effort, Row, Target, interleaved, matrix_product, product_rate

GRAPHS, FLOOR = 8, 1e-4
#: By name: variables K, latents M, width c, copies S and pairs; the VAE's published batch, an eighth of the flow's.
SIZES = {"VAE": (6, 12, 32, 1, 512), "NF": (5, 24, 64, 8, 64)}
Losses = tuple[Tensor, Tensor]


def instantaneous_prior(effort: Effort) -> list[Row]:
    """Value and gradients of the first graph, and the losses of all, against the plain form; floor: its products."""
    return [row for name in SIZES for row in _rows(name, effort)]


def _rows(name: str, effort: Effort) -> list[Row]:
    variables, latents, hidden, samples, pairs = SIZES[name]
    generator = torch.Generator().manual_seed(0)
    networks = OwnerNetworks(latents, variables, hidden, False, generator)
    with torch.no_grad():
        networks.last_weight.normal_(generator=generator)
    z_t, z_t1 = (torch.randn(pairs, samples, latents, generator=generator).requires_grad_() for _ in range(2))
    targets = (torch.rand(pairs, variables, generator=generator) < 0.15).float()
    owners = torch.randint(variables, (latents,), generator=generator)
    sight = Sight(z_t, z_t1, targets, torch.eye(variables)[owners].expand(pairs, -1, -1))
    apart = 1 - torch.eye(variables)
    drawn = (torch.rand(pairs, GRAPHS, variables, variables, generator=generator) < 0.49).float() * apart
    likely = 0.02 + 0.96 * (torch.rand(variables, variables, generator=generator) < 0.4).float()
    settling = (torch.rand(pairs, GRAPHS, variables, variables, generator=generator) < likely).float() * apart
    uniform, decided = torch.full((latents, variables), 1 / variables), (12 * torch.eye(variables)[owners]).softmax(-1)

    def ours(pi: Tensor, graphs: Tensor) -> Losses:
        return graph_losses(networks, sight, graphs, pi, FLOOR, samples_scored(z_t1), exact=False)

    def plain(pi: Tensor, graphs: Tensor) -> Losses:
        losses = []
        value = torch.zeros(())
        for number, graph in enumerate(graphs.split(1, dim=1)):
            with torch.set_grad_enabled(number == 0):
                mean, log_std = owner_networks_reference(networks, sight, graph)
                lost = gaussian_nll_over_sample_pairs_reference(mean[:, 0], log_std[:, 0], z_t1.unsqueeze(1))
                value = (lost * (pi.T + FLOOR)).sum((-2, -1)) if number == 0 else value
                losses.append((lost.detach() * pi.T).sum(-1))
        return value, torch.stack(losses, dim=1)

    def step(form: Callable[[Tensor, Tensor], Losses], pi: Tensor, graphs: Tensor) -> Callable[[], object]:
        def run() -> None:
            value, _ = form(pi, graphs)
            value.mean().backward()
            networks.zero_grad()
            z_t.grad = z_t1.grad = None

        return run

    torch.testing.assert_close(ours(uniform, drawn), plain(uniform, drawn), rtol=1e-3, atol=1e-3)
    stages = {
        "before the graph learns": (uniform, drawn[:, :1], drawn),
        "owners open": (uniform, drawn, drawn),
        "owners decided": (decided, drawn, drawn),
        "graph nearly settled": (decided, settling, settling),
    }
    rows = []
    for stage, (pi, graphs, all_graphs) in stages.items():
        mine = step(ours, pi, graphs)
        forms = {"ours": mine, "plain": step(plain, pi, all_graphs), "product": matrix_product()}
        taken = interleaved(forms, effort)
        floor = samples * _products(owners, targets, pi, graphs, hidden) / product_rate(taken["product"])
        what = (
            f"iCITRIS's prior, {name}, {stage} (K {variables}, M {latents}, c {hidden}, {pairs} pairs, {GRAPHS} graphs)"
        )
        rows.append(Row(what, "s", taken["ours"], taken["plain"], floor, Target("ratio", 10.0)))
    return rows


def _products(owners: Tensor, targets: Tensor, pi: Tensor, graphs: Tensor, hidden: int) -> int:
    """Floating-point operations of the products that no form can do without, for one sample of every pair.

    The second and the last map of what differs in what a latent sees, once for the value and twice more for the
    gradients of the first graph; and of the first map, which is a sum of terms, every latent's once.
    """
    latents, nodes = pi.shape
    there = torch.eye(nodes)[owners].any(0)  # the others' latents are none, whoever sees them
    parents = graphs * there[:, None] * (1 - targets[:, None, None])  # [B, n, N, N]
    codes = (parents.long() << torch.arange(nodes).unsqueeze(1)).sum(-2)
    codes = torch.where(targets[:, None] > 0, 2**nodes + torch.arange(nodes), codes)  # [B, n, N]
    codes = codes + (torch.arange(len(graphs)) << (nodes + 1)).view(-1, 1, 1)
    some = -(-len(graphs) // ONE_IN)
    evaluations = 0
    for likely in pi >= UNLIKELY:
        taught = torch.cat([codes[:, 0, likely].flatten(), codes[:some, 0].flatten()]).unique()
        every = torch.cat([codes[..., likely].flatten(), codes[:some, 0].flatten()]).unique()
        evaluations += len(every) + 2 * len(taught)
    terms = 3 * len(graphs) * latents * 2 * latents * hidden
    return 2 * (evaluations * (hidden * hidden + 2 * hidden) + terms)
