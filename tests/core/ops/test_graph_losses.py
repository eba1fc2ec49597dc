"""What latents lose under all hypotheses on owners and all graphs: the compiled form against the reference."""

import pytest
import torch
from torch import Tensor

from citris_cli.core.gaussians import gaussian_kl
from citris_cli.core.ops import graph_losses as module
from citris_cli.core.ops.graph_losses import (
    Scored,
    gaussian_scored,
    graph_losses,
    graph_losses_reference,
    samples_scored,
)
from citris_cli.core.ops.owner_networks import OwnerNetworks, Sight, owner_networks
from citris_cli.core.ops.sample_pairs import gaussian_nll_over_sample_pairs_reference
from tests.core.ops.exact import require_close, require_exact, seeded, trained

#: Pairs of frames B, samples S, latents M, variables K, width c, graphs n, whether there is psi(0).
SIZES = [
    (1, 1, 2, 1, 4, 1, False),
    (20, 2, 5, 3, 6, 3, True),
    (35, 8, 17, 5, 33, 4, False),
    (70, 1, 12, 6, 32, 8, True),
    (12, 1, 25, 20, 16, 2, False),
    (5, 20, 33, 7, 64, 3, True),
]


class Case:
    """Random networks, and what they are evaluated for.

    Args:
        sizes: one of ``SIZES``.
        autoregressive: whether a latent sees the latents before it of its own variable.
        sure: the larger, the surer it is who owns what.
    """

    def __init__(self, sizes: tuple[int, int, int, int, int, int, bool], autoregressive: bool, sure: float = 1.0):
        batch, samples, latents, variables, hidden, number, rest = sizes
        nodes = variables + rest
        self.networks = trained(OwnerNetworks(latents, variables, hidden, autoregressive, seeded()))
        self.targets = torch.zeros(batch, nodes)
        self.targets[:, :variables] = (torch.rand(batch, variables, generator=seeded(1)) < 0.3).float()
        self.graphs = (torch.rand(batch, number, nodes, nodes, generator=seeded(2)) < 0.5).float()
        self.graphs *= 1 - torch.eye(nodes)
        z_t, z_t1 = torch.randn(2, batch, samples, latents, generator=seeded(3))
        psi = torch.eye(nodes)[torch.randint(nodes, (batch, latents), generator=seeded(4))]
        pi = (sure * torch.randn(latents, nodes, generator=seeded(5))).softmax(-1)
        scored = [torch.randn(batch, latents, generator=seeded(6)), torch.rand(batch, latents, generator=seeded(7))]
        less = torch.randn(batch, latents, generator=seeded(8))
        self.learned = [z_t, z_t1, psi, pi, *scored, less, *self.networks.parameters()]

    def by(self, form, exact: bool = True, graphs: Tensor | None = None):  # type: ignore[no-untyped-def]
        """The value by a form, as a function of what is learned, and the losses with it if no gradient is asked for."""

        def of(*learned: Tensor) -> Tensor | tuple[Tensor, ...]:
            z_t, z_t1, psi, pi, mean, variance, less, *parameters = learned
            names = [name for name, _ in self.networks.named_parameters()]
            latents, variables, hidden = len(pi), self.networks.variables, parameters[1].shape[1]
            copy = OwnerNetworks(latents, variables, hidden, self.networks.autoregressive)
            for name, parameter in zip(names, parameters, strict=True):
                delattr(copy, name)
                setattr(copy, name, parameter)
            copy.parameters = lambda: iter(parameters)  # type: ignore[method-assign]
            sight = Sight(z_t, z_t1, self.targets.to(z_t), psi)
            drawn = self.graphs.to(z_t) if graphs is None else graphs.to(z_t)
            more = {} if form is not graph_losses else {"exact": exact}
            value, losses = form(copy, sight, drawn, pi, 1e-4, Scored(mean, variance, less), **more)
            self.losses = losses
            assert not losses.requires_grad
            return value

        return of


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("autoregressive", [False, True])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_values_losses_and_gradients_are_those_of_the_reference(sizes, autoregressive: bool) -> None:  # type: ignore[no-untyped-def]
    case = Case(sizes, autoregressive)
    reference = case.by(graph_losses_reference)
    require_exact(case.by(graph_losses), reference, case.learned)
    losses = case.losses
    case.by(graph_losses)(*case.learned)
    require_close([case.losses], [losses])


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("sure", [1.0, 12.0])
def test_unlikely_owners_are_asked_in_the_same_rows_as_by_pytorch(sure: float) -> None:
    case = Case(SIZES[3], False, sure)
    require_exact(case.by(graph_losses, exact=False), case.by(module._few), case.learned)


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
def test_the_mean_of_values_has_the_gradient_that_comes_with_the_value() -> None:
    case = Case(SIZES[1], False)
    found = []
    for form, dtype in ((graph_losses, torch.float32), (graph_losses_reference, torch.float64)):
        learned = [one.detach().to(dtype).requires_grad_() for one in case.learned]
        loss = case.by(form)(*learned).mean()
        once = torch.autograd.grad(loss, learned, retain_graph=True)
        again = torch.autograd.grad(loss, learned)
        assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))
        found.append(once)
    require_close(*found)


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("autoregressive", [False, True])
def test_a_graph_has_the_gradient_of_its_edges(autoregressive: bool) -> None:
    case = Case(SIZES[1], autoregressive)
    found = []
    for form, dtype in ((graph_losses, torch.float32), (graph_losses_reference, torch.float64)):
        graphs = case.graphs.to(dtype).requires_grad_()
        learned = [one.detach().to(dtype).requires_grad_() for one in case.learned]
        value = case.by(form, graphs=graphs)(*learned)
        found.append(torch.autograd.grad((value * torch.linspace(-1, 1, len(value))).sum(), [graphs, *learned]))
    allowed = 1 - torch.eye(case.graphs.shape[-1])
    ours, reference = ([of_graphs * allowed, *rest] for of_graphs, *rest in found)
    require_close(ours, reference)


@pytest.mark.compiled
@pytest.mark.usefixtures("processor", "threads")
def test_the_number_of_threads_changes_nothing(request: pytest.FixtureRequest) -> None:
    case = Case(SIZES[2], False)

    def found() -> list[Tensor]:
        learned = [one.detach().clone().requires_grad_() for one in case.learned]
        value = case.by(graph_losses)(*learned)
        return [value, case.losses, *torch.autograd.grad(value.mean(), learned)]

    ours = found()
    torch.set_num_threads(1)  # the fixture puts it back
    assert all(torch.equal(one, other) for one, other in zip(ours, found(), strict=True))


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
def test_what_changed_in_place_since_the_forward_pass_is_refused() -> None:
    case = Case(SIZES[1], False)
    learned = [one.detach().clone().requires_grad_() for one in case.learned]
    value = case.by(graph_losses)(*learned)
    with torch.no_grad():
        learned[0].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.sum().backward()


@pytest.mark.usefixtures("form")
def test_samples_are_scored_pair_by_pair_and_gaussians_by_their_divergence() -> None:
    networks = trained(OwnerNetworks(3, 2, 8, False, seeded()))
    z_t, z_t1 = torch.randn(2, 6, 4, 3, generator=seeded(1))
    psi = torch.eye(2)[torch.tensor([0, 1, 1])].expand(6, -1, -1)
    sight, graphs = Sight(z_t, z_t1, torch.zeros(6, 2), psi), torch.tensor([[0.0, 1.0], [0.0, 0.0]]).expand(6, 1, 2, 2)
    pi = torch.tensor([[0.3, 0.7], [0.9, 0.1], [0.5, 0.5]])
    mean, log_std = (one[:, 0] for one in owner_networks(networks, sight, graphs))  # [B, N, S, M]
    nll = gaussian_nll_over_sample_pairs_reference(mean, log_std, z_t1.unsqueeze(1))
    value, _ = graph_losses(networks, sight, graphs, pi, 0.0, samples_scored(z_t1), exact=True)
    torch.testing.assert_close(value, (nll * pi.T).sum((-2, -1)), rtol=1e-4, atol=1e-4)
    q = torch.randn(2, 6, 3, generator=seeded(2))
    kl = gaussian_kl(*q.unsqueeze(2).unsqueeze(2), mean, log_std).mean(2)
    value, _ = graph_losses(networks, sight, graphs, pi, 0.0, gaussian_scored(*q), exact=True)
    torch.testing.assert_close(value, (kl * pi.T).sum((-2, -1)), rtol=1e-4, atol=1e-4)
