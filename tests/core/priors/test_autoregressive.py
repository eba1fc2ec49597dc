"""The autoregressive prior against plain loops; who depends on whom, by its Jacobian; draws in the right order."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn import functional

from citris_cli.core.config import AutoregressivePriorConfig
from citris_cli.core.priors import AutoregressiveTransitionPrior, Given

BATCH, SAMPLES, LATENTS, VARIABLES, HIDDEN = 3, 2, 5, 2, 3
#: The last is psi(0).
ASSIGNMENT = torch.tensor([0, 2, 0, 1, 0])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


#: Which interventions are perfect: all, none, or those on variable 0.
PERFECT = [True, False, None]


def make(
    perfect: bool | None = True, regulariser: float = 0.0, latents: int = LATENTS
) -> AutoregressiveTransitionPrior:
    some = (1,) if perfect is None else ()
    config = AutoregressivePriorConfig(
        perfect is False, regulariser, autoregressive_hidden=HIDDEN, imperfect_variables=some
    )
    return AutoregressiveTransitionPrior(latents, VARIABLES, config=config, generator=seeded()).double()


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """z^t, z^{t+1} [B, S, M], logits [M, K+1], targets [B, K], assignments of their own for the windows [B, M, K+1]."""
    z_t, z_t1 = torch.randn(2, BATCH, SAMPLES, LATENTS, generator=seeded(1), dtype=torch.float64).requires_grad_()
    logits = torch.randn(LATENTS, VARIABLES + 1, generator=seeded(2), dtype=torch.float64).requires_grad_()
    targets = torch.tensor([[0, 0], [1, 0], [1, 1]])
    variables = torch.randint(0, VARIABLES + 1, (BATCH, LATENTS), generator=seeded(3))
    return z_t, z_t1, logits, targets, functional.one_hot(variables, VARIABLES + 1).double().requires_grad_()


def plain_gaussians(
    prior: AutoregressiveTransitionPrior, z_t: Tensor, z_t1: Tensor, targets: Tensor, psi: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """Means and log-stds [M] as latents of variable k, of one z^t, z^{t+1} [M], targets [K], assignment [M, K+1]."""
    target = float(targets[k]) if k < VARIABLES else 0.0
    shown = torch.tensor([target if j == k else -1.0 for j in range(VARIABLES + 1)], dtype=torch.float64)
    seen = torch.stack([value for m in range(LATENTS) for value in (z_t1[m] * psi[m, k], 2 * psi[m, k] - 1)])
    of_past = prior.context(z_t)
    imperfect = prior.config.imperfect_interventions or k in prior.config.imperfect_variables
    if target == 1 and not imperfect:
        of_past = torch.zeros_like(of_past)
    hidden = functional.silu((prior.first(seen) + prior.target(shown) + of_past) / 2)
    hidden = functional.silu(prior.middle(hidden))
    mean, log_std = prior.last(hidden).view(LATENTS, 2).unbind(-1)
    return mean, log_std


@pytest.mark.parametrize("perfect", PERFECT)
def test_gaussians_are_those_of_one_network_a_variable(perfect: bool | None) -> None:
    prior = make(perfect)
    z_t, z_t1, _, targets, psi = inputs()
    mean, log_std = prior.gaussians(z_t, z_t1, targets, psi)
    assert mean.shape == log_std.shape == (BATCH, SAMPLES, VARIABLES + 1, LATENTS)
    for b in range(BATCH):
        for s in range(SAMPLES):
            for k in range(VARIABLES + 1):
                plain = plain_gaussians(prior, z_t[b, s], z_t1[b, s], targets[b], psi[b], k)
                torch.testing.assert_close((mean[b, s, k], log_std[b, s, k]), plain)


@pytest.mark.parametrize("perfect", PERFECT)
@pytest.mark.parametrize("training", [False, True])
def test_nll_and_gradients_are_those_of_the_plain_loop(training: bool, perfect: bool | None) -> None:
    prior = make(perfect, 0.3).train(training)
    z_t, z_t1, logits, targets, psi = inputs()
    p = logits.softmax(-1)
    totals = []
    for b in range(BATCH):
        total = torch.zeros((), dtype=torch.float64)
        for s in range(SAMPLES):  # gives the parameters, and s' is scored
            for k in range(VARIABLES + 1):
                mean, log_std = plain_gaussians(prior, z_t[b, s], z_t1[b, s], targets[b], psi[b], k)
                for scored in z_t1[b]:
                    nll = -Normal(mean, log_std.exp()).log_prob(scored)
                    total = total + (p[:, k] * nll).sum() / SAMPLES**2
        totals.append(total)
    plain = torch.stack(totals)
    if training:
        plain = plain + 0.3 * (1 - p[:, -1]).mean()
    ours = prior.nll(z_t, z_t1, Given(targets, p, psi)).value
    torch.testing.assert_close(ours, plain)

    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)  # so that the windows' gradients cannot cancel
    learned = [*prior.parameters(), z_t, z_t1, logits, psi]
    wanted = torch.autograd.grad(plain @ weights, learned, retain_graph=True)
    for found, gradient in zip(torch.autograd.grad(ours @ weights, learned), wanted, strict=True):
        assert gradient.abs().max() > 0
        torch.testing.assert_close(found, gradient)


def test_divergence_weighs_each_variable_on_its_own_gaussians() -> None:
    prior = make(regulariser=0.3).train()
    samples_t, samples_t1, logits, targets, psi = inputs()
    z_t, z_t1, p = samples_t[:, 0], samples_t1[:, 0], logits.softmax(-1)
    q_mean, q_log_std = torch.randn(2, BATCH, LATENTS, generator=seeded(5), dtype=torch.float64)
    totals = []
    for b in range(BATCH):
        q = Normal(q_mean[b], q_log_std[b].exp())
        total = torch.zeros((), dtype=torch.float64)
        for k in range(VARIABLES + 1):
            mean, log_std = plain_gaussians(prior, z_t[b], z_t1[b], targets[b], psi[b], k)
            weight = 1 - 0.3 if k == VARIABLES else 1.0
            total = total + weight * (p[:, k] * kl_divergence(q, Normal(mean, log_std.exp()))).sum()
        totals.append(total)
    ours = prior.kl(q_mean, q_log_std, z_t, z_t1, Given(targets, p, psi)).value
    torch.testing.assert_close(ours, torch.stack(totals))
    # Another variable's weights would give another value.
    turned = prior.kl(q_mean, q_log_std, z_t, z_t1, Given(targets, p.roll(1, dims=1), psi)).value
    assert (turned - ours).abs().min() > 0.01


def hard(count: int = 1) -> Tensor:
    return functional.one_hot(ASSIGNMENT, VARIABLES + 1).double().expand(count, -1, -1)


def test_a_latent_depends_only_on_earlier_latents_of_the_same_variable() -> None:
    prior = make()
    z_t, z_t1 = torch.randn(2, LATENTS, generator=seeded(4), dtype=torch.float64)

    def gaussians(z: Tensor) -> Tensor:
        of_all = prior.gaussians(z_t.view(1, 1, -1), z.view(1, 1, -1), torch.zeros(1, VARIABLES), hard())
        return torch.stack(of_all)[:, 0, 0]  # [2, K+1, M]

    jacobian = torch.autograd.functional.jacobian(gaussians, z_t1)  # [2, K+1, M, M]
    seen = (jacobian != 0).any(0)
    for k in range(VARIABLES + 1):
        for m in range(LATENTS):
            for j in range(LATENTS):
                assert bool(seen[k, m, j]) == (j < m and int(ASSIGNMENT[j]) == k), (k, m, j)


@pytest.mark.parametrize("perfect", PERFECT)
def test_the_past_is_cut_off_by_a_perfect_intervention_alone(perfect: bool | None) -> None:
    prior = make(perfect)
    z_t, z_t1 = torch.randn(2, LATENTS, generator=seeded(4), dtype=torch.float64)
    targets = torch.tensor([[1, 0]])
    perfect = perfect is not False  # on the first variable

    def gaussians(z: Tensor) -> Tensor:
        return torch.stack(prior.gaussians(z.view(1, 1, -1), z_t1.view(1, 1, -1), targets, hard()))[:, 0, 0]

    jacobian = torch.autograd.functional.jacobian(gaussians, z_t)  # [2, K+1, M, M]
    assert (jacobian[:, 0] == 0).all() == perfect
    assert (jacobian[:, 1:] != 0).all()
    # What an intervention on one variable does, no other sees.
    without = prior.gaussians(z_t.view(1, 1, -1), z_t1.view(1, 1, -1), torch.tensor([[0, 0]]), hard())[0]
    under = prior.gaussians(z_t.view(1, 1, -1), z_t1.view(1, 1, -1), targets, hard())[0]
    assert (under[0, 0, 0] != without[0, 0, 0]).all()
    assert torch.equal(under[0, 0, 1:], without[0, 0, 1:])


@pytest.mark.parametrize("perfect", [True, False])
def test_draws_are_explained_by_the_parameters_at_the_draws(perfect: bool) -> None:
    # (z - mean(z_before)) / std(z_before) is standard normal and independent if the draws are of this distribution.
    prior = make(perfect)
    count = 20_000
    z_t = torch.randn(LATENTS, generator=seeded(4), dtype=torch.float64).expand(count, -1)
    targets = torch.tensor([1, 0]).expand(count, -1)
    with torch.no_grad():
        # Strong dependence, so that a wrong order would be seen.
        prior.first.weight.mul_(10)
        prior.last.weight.mul_(3)
        draws = prior.sample(z_t, targets, ASSIGNMENT, seeded(5))
        every = prior.gaussians(z_t.unsqueeze(1), draws.unsqueeze(1), targets, hard(count))
        mean, log_std = (value[:, 0, ASSIGNMENT, torch.arange(LATENTS)] for value in every)
        standard = (draws - mean) / log_std.exp()
        torch.testing.assert_close(standard.mean(0), torch.zeros(LATENTS).double(), rtol=0, atol=0.04)
        torch.testing.assert_close(standard.T.cov(), torch.eye(LATENTS).double(), rtol=0, atol=0.06)
        assert mean[:, [2, 4]].std(0).min() > 0.05  # they do depend on the latents before them
        assert mean[:, [0, 1, 3]].std(0).max() < 1e-6  # the first of each variable has none before it
        assert torch.equal(draws, prior.sample(z_t, targets, ASSIGNMENT, seeded(5)))
        still = prior.sample(z_t, targets, ASSIGNMENT, seeded(6), temperature=0.0)
        assert torch.equal(still, prior.sample(z_t, targets, ASSIGNMENT, seeded(7), temperature=0.0))


def test_a_single_latent_has_a_distribution() -> None:
    prior = make(latents=1)
    z_t, z_t1 = torch.randn(2, 4, 3, 1, generator=seeded(1), dtype=torch.float64)
    p = torch.full((1, VARIABLES + 1), 1 / (VARIABLES + 1), dtype=torch.float64)
    psi = functional.one_hot(torch.zeros(4, 1, dtype=torch.int64), VARIABLES + 1).double()
    assert prior.nll(z_t, z_t1, Given(torch.zeros(4, VARIABLES), p, psi)).value.isfinite().all()
    assert prior.sample(z_t[:, 0], torch.ones(4, VARIABLES), torch.tensor([2]), seeded()).shape == (4, 1)


def test_same_seed_same_weights_whatever_the_global_generator() -> None:
    torch.manual_seed(1)
    first = make().state_dict()
    torch.manual_seed(2)
    second = make().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
