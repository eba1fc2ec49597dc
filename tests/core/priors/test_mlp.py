"""The vectorised MLP priors against plain loops over windows, latents, variables and sample pairs, gradients too."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal, kl_divergence
from torch.nn import functional

from citris_cli.core.config import MLPPriorConfig
from citris_cli.core.priors import ImperfectMLPTransitionPrior, MLPTransitionPrior, build_prior
from citris_cli.core.priors.per_latent import PerLatentLinear, PerLatentNetwork
from tests.core.priors.steps import given

BATCH, SAMPLES, LATENTS, VARIABLES, HIDDEN = 3, 2, 4, 3, 5
COMPONENTS = pytest.mark.parametrize("components", [1, 2])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(regulariser: float = 0.0, components: int = 1) -> MLPTransitionPrior:
    config = MLPPriorConfig(regulariser=regulariser, interventional_components=components)
    return MLPTransitionPrior(LATENTS, VARIABLES, HIDDEN, config, seeded()).double()


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    z_t, z_t1 = torch.randn(2, BATCH, SAMPLES, LATENTS, generator=seeded(1), dtype=torch.float64).requires_grad_()
    logits = torch.randn(LATENTS, VARIABLES + 1, generator=seeded(2), dtype=torch.float64).requires_grad_()
    targets = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 0, 1]])
    return z_t, z_t1, logits, targets


def plain_observational(prior: MLPTransitionPrior, z_t: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """Mean and log-std of latent m given one z^t [M]."""
    hidden = prior.context_weight[m] @ z_t + prior.context_bias[m]
    hidden = functional.silu(hidden + prior.own.weight[m, :, 0] * z_t[m] + prior.own.bias[m])
    hidden = functional.silu(prior.middle.weight[m] @ hidden + prior.middle.bias[m])
    mean, log_std = prior.out.weight[m] @ hidden + prior.out.bias[m]
    return mean, log_std


def plain_intervened(parameters: Tensor, z_t1: Tensor, m: int, k: int) -> Tensor:
    """NLL of latent m under an intervention on k, averaged over the samples z_t1 [S, M]."""
    if parameters.dim() == 3:
        mean, log_std = parameters[m, k]
        return torch.stack([-Normal(mean, log_std.exp()).log_prob(sample[m]) for sample in z_t1]).mean()
    mean, log_std, logit = parameters[m, k].unbind(-1)
    mixture = MixtureSameFamily(Categorical(logits=logit), Normal(mean, log_std.exp()))
    return torch.stack([-mixture.log_prob(sample[m]) for sample in z_t1]).mean()


def plain_nll(
    prior: MLPTransitionPrior, z_t: Tensor, z_t1: Tensor, targets: Tensor, probabilities: Tensor, parameters: Tensor
) -> Tensor:
    """The formula for every window, with the interventional parameters given: [B]."""
    totals = []
    for b in range(BATCH):
        total = torch.zeros((), dtype=torch.float64)
        for m in range(LATENTS):
            observational = torch.zeros((), dtype=torch.float64)
            for earlier in z_t[b]:
                mean, log_std = plain_observational(prior, earlier, m)
                for later in z_t1[b]:
                    observational = observational - Normal(mean, log_std.exp()).log_prob(later[m]) / SAMPLES**2
            free = 1 - prior.config.regulariser * probabilities[m, VARIABLES]
            for k in range(VARIABLES):
                if targets[b, k]:
                    total = total + probabilities[m, k] * plain_intervened(parameters, z_t1[b], m, k)
                    free = free - probabilities[m, k]
            total = total + observational * free
        totals.append(total)
    return torch.stack(totals)


@COMPONENTS
@pytest.mark.parametrize("regulariser", [0.0, 0.3])
@pytest.mark.parametrize("training", [False, True])
def test_value_and_gradients_are_those_of_the_plain_loop(training: bool, regulariser: float, components: int) -> None:
    prior = make(regulariser, components).train(training)
    z_t, z_t1, logits, targets = inputs()
    ours = prior.nll(z_t, z_t1, given(targets, logits.softmax(-1))).value
    plain = plain_nll(prior, z_t, z_t1, targets, logits.softmax(-1), prior.intervened.detach())
    if training:
        plain = plain + regulariser * (1 - logits.softmax(-1)[:, -1]).mean()
    torch.testing.assert_close(ours, plain)

    # All but the interventional parameters, which the first term must not teach.
    learned = [p for name, p in prior.named_parameters() if name != "intervened"]
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)  # so that the windows' gradients cannot cancel
    wanted = torch.autograd.grad(plain @ weights, [*learned, z_t, z_t1, logits])
    found = torch.autograd.grad(ours @ weights, [*learned, z_t, z_t1, logits], retain_graph=True)
    for a, b in zip(found, wanted, strict=True):
        assert b.abs().max() > 0
        torch.testing.assert_close(a, b)


@COMPONENTS
def test_interventional_parameters_learn_from_every_latent_under_every_intervention(components: int) -> None:
    prior = make(components=components).train()
    z_t, z_t1, logits, targets = inputs()
    (found,) = torch.autograd.grad(
        prior.nll(z_t, z_t1, given(targets, logits.softmax(-1))).value.sum(), [prior.intervened]
    )
    own = sum(
        plain_intervened(prior.intervened, z_t1[b].detach(), m, k)
        for b in range(BATCH)
        for m in range(LATENTS)
        for k in range(VARIABLES)
        if targets[b, k]
    )
    assert isinstance(own, Tensor)
    (wanted,) = torch.autograd.grad(own, [prior.intervened])
    torch.testing.assert_close(found, wanted)
    assert (found[:, 1] == 0).all()  # variable 1 is never intervened on here
    assert (found[:, [0, 2]].abs().flatten(2).sum(-1) > 0).all()
    # Whatever the assignment says: p weighs nothing in it.
    hard = functional.one_hot(torch.zeros(LATENTS, dtype=torch.int64), VARIABLES + 1).double()
    (again,) = torch.autograd.grad(prior.nll(z_t, z_t1, given(targets, hard)).value.sum(), [prior.intervened])
    torch.testing.assert_close(again, found)


def test_the_first_term_gives_the_interventional_parameters_no_gradient() -> None:
    prior = make().eval()  # in evaluation mode there is only the first term
    z_t, z_t1, logits, targets = inputs()
    nll = prior.nll(z_t, z_t1, given(targets, logits.softmax(-1))).value.sum()
    assert torch.autograd.grad(nll, [prior.intervened], allow_unused=True) == (None,)
    training = make().train().nll(z_t, z_t1, given(targets, logits.softmax(-1))).value.sum()
    torch.testing.assert_close(training, nll)  # what teaches them changes no value


def test_the_regulariser_favours_psi_0_for_a_latent_that_carries_nothing() -> None:
    z_t, z_t1, _, targets = inputs()
    prior = make(0.5).train()
    nowhere, variable = torch.zeros(2, LATENTS, VARIABLES + 1, dtype=torch.float64)
    nowhere[:, -1] = variable[:, 1] = 1  # variable 1 is never intervened on: both explain the data alike
    in_psi_0, in_variable = (prior.nll(z_t, z_t1, given(targets, p)).value for p in (nowhere, variable))
    plain = make(0.0).train().nll(z_t, z_t1, given(targets, variable)).value
    torch.testing.assert_close(in_variable, plain + 0.5)
    torch.testing.assert_close(in_psi_0, 0.5 * plain)


def test_observational_keeps_the_leading_shape() -> None:
    prior = make()
    z_t = torch.randn(2, 3, 4, LATENTS, dtype=torch.float64, generator=seeded())
    mean, log_std = prior.observational(z_t).unbind(-1)
    assert mean.shape == log_std.shape == z_t.shape
    torch.testing.assert_close((mean[1, 2, 3, 2], log_std[1, 2, 3, 2]), plain_observational(prior, z_t[1, 2, 3], 2))


def test_per_latent_linear_has_weights_of_its_own_for_every_latent() -> None:
    layer = PerLatentLinear(LATENTS, 2, 3, seeded())
    x = torch.randn(LATENTS, 2, 7, generator=seeded(1))
    expected = torch.stack([layer.weight[m] @ x[m] + layer.bias[m, :, None] for m in range(LATENTS)])
    torch.testing.assert_close(layer(x), expected)


def test_same_seed_same_weights_and_the_global_generator_is_not_used() -> None:
    before = torch.get_rng_state()
    first, second = make().state_dict(), make().state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)


def posterior() -> tuple[Tensor, Tensor]:
    """Mean and log-std [B, M] of q(z^{t+1})."""
    return torch.randn(2, BATCH, LATENTS, generator=seeded(5), dtype=torch.float64).requires_grad_().unbind(0)


def divergence(q: tuple[Tensor, Tensor], b: int, m: int, mean: Tensor, log_std: Tensor) -> Tensor:
    return kl_divergence(Normal(q[0][b, m], q[1][b, m].exp()), Normal(mean, log_std.exp()))


@pytest.mark.parametrize("training", [False, True])
def test_divergence_under_perfect_interventions_is_that_of_the_plain_loop(training: bool) -> None:
    prior = make(0.3).train(training)
    samples, _, logits, targets = inputs()
    q, z_t = posterior(), samples[:, 0]
    p = logits.softmax(-1)
    totals = []
    for b in range(BATCH):
        total = torch.zeros((), dtype=torch.float64)
        for m in range(LATENTS):
            free = 1 - p[m, -1] + (1 - 0.3) * p[m, -1]
            for k in range(VARIABLES):
                if targets[b, k]:
                    total = total + p[m, k] * divergence(q, b, m, *prior.intervened.detach()[m, k])
                    free = free - p[m, k]
            total = total + free * divergence(q, b, m, *plain_observational(prior, z_t[b], m))
        totals.append(total)
    ours = prior.kl(*q, z_t, torch.zeros_like(z_t), given(targets, p)).value
    torch.testing.assert_close(ours, torch.stack(totals))

    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    learned = [*(p for name, p in prior.named_parameters() if name != "intervened"), samples, *q, logits]
    wanted = torch.autograd.grad(torch.stack(totals) @ weights, learned, retain_graph=True)
    found = torch.autograd.grad(ours @ weights, learned, retain_graph=True)
    for ours_, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours_, theirs)
    (taught,) = torch.autograd.grad(ours.sum(), [prior.intervened], allow_unused=True)
    assert (taught is not None) == training
    if taught is not None:
        # From every latent under every intervention that there is, whatever the assignment says.
        own = sum(
            divergence(q, b, m, *prior.intervened[m, k])
            for b in range(BATCH) for m in range(LATENTS) for k in range(VARIABLES) if targets[b, k]
        )  # fmt: skip
        assert isinstance(own, Tensor)
        torch.testing.assert_close(taught, torch.autograd.grad(own, [prior.intervened])[0])


@pytest.mark.parametrize("training", [False, True])
def test_the_divergence_to_a_mixture_is_estimated_from_the_sample(training: bool) -> None:
    prior = make(components=3).train(training)
    samples, later, logits, targets = inputs()
    q, z_t, z, p = posterior(), samples[:, 0], later[:, 0], logits.softmax(-1)

    def estimate(b: int, m: int, k: int, mixtures: Tensor) -> Tensor:
        return plain_intervened(mixtures, z[b][None], m, k) - Normal(q[0][b, m], q[1][b, m].exp()).entropy()

    total = taught = torch.zeros((), dtype=torch.float64)
    for b in range(BATCH):
        for m in range(LATENTS):
            free = 1 - sum(p[m, k] * targets[b, k] for k in range(VARIABLES))
            total = total + free * divergence(q, b, m, *plain_observational(prior, z_t[b], m))
            for k in range(VARIABLES):
                if targets[b, k]:
                    total = total + p[m, k] * estimate(b, m, k, prior.intervened.detach())
                    taught = taught + estimate(b, m, k, prior.intervened)
    ours = prior.kl(*q, z_t, z, given(targets, p)).value.sum()
    torch.testing.assert_close(ours, total)

    # The sample and the posterior get the gradient of this value, and nothing of what the mixtures are taught.
    learned = [*(p for name, p in prior.named_parameters() if name != "intervened"), samples, later, *q, logits]
    for found, wanted in zip(gradients(ours, learned), gradients(total, learned), strict=True):
        torch.testing.assert_close(found, wanted)
    (found,), (wanted,) = gradients(ours, [prior.intervened]), gradients(taught, [prior.intervened])
    torch.testing.assert_close(found, wanted if training else torch.zeros_like(wanted))


def test_mixtures_play_no_part_where_interventions_are_imperfect() -> None:
    gaussian = make_mixed(0.3, (0,)).train()
    mixed = make_mixed(0.3, (0,), components=2).train()
    with torch.no_grad():  # all but the mixtures alike
        weights = {name: one for name, one in gaussian.state_dict().items() if name != "intervened"}
        mixed.load_state_dict(weights, strict=False)
    samples, later, logits, _ = inputs()
    q, z_t, p = posterior(), samples[:, 0], logits.softmax(-1)
    on_0, on_1 = (torch.eye(VARIABLES)[k].expand(BATCH, -1) for k in (0, 1))

    def scores(prior: MLPTransitionPrior, targets: Tensor) -> Tensor:
        step = given(targets, p)
        return torch.cat([prior.nll(samples, later, step).value, prior.kl(*q, z_t, later[:, 0], step).value])

    torch.testing.assert_close(scores(mixed, on_0), scores(gaussian, on_0))
    (unused,) = gradients(scores(mixed, on_0).sum(), [mixed.intervened])
    assert (unused == 0).all()
    (used,) = gradients(scores(mixed, on_1).sum(), [mixed.intervened])
    assert (used[:, 1] != 0).all()
    psi = torch.zeros(LATENTS, dtype=torch.int64)
    drawn = (prior.sample(z_t[:1].detach(), on_0[:1], psi, seeded(), temperature=0.0) for prior in (mixed, gaussian))
    torch.testing.assert_close(*drawn)


def test_components_start_apart() -> None:
    prior = MLPTransitionPrior(64, 4, HIDDEN, MLPPriorConfig(interventional_components=3), seeded())
    means = prior.intervened.detach()[..., 0].mean((0, 1))
    torch.testing.assert_close(means, torch.tensor([-1.0, 0.0, 1.0]), rtol=0, atol=0.15)


def test_components_find_the_modes_of_a_latent() -> None:
    config = MLPPriorConfig(interventional_components=2)
    prior = MLPTransitionPrior(1, 1, HIDDEN, config, seeded()).train()
    optimizer = torch.optim.Adam([prior.intervened], lr=0.02)
    generator, targets, p = seeded(1), torch.ones(256, 1, dtype=torch.int64), torch.eye(2)[:1]
    for _ in range(500):
        modes = torch.randint(0, 2, (256, 1), generator=generator) * 4.0 - 2
        z = modes.unsqueeze(-1) + 0.5 * torch.randn(256, 1, 1, generator=generator)
        optimizer.zero_grad()
        prior.nll(torch.zeros_like(z), z, given(targets, p)).value.mean().backward()
        optimizer.step()
    low, high = prior.intervened[0, 0, :, 0].sort().values.tolist()
    assert abs(low + 2) < 0.2
    assert abs(high - 2) < 0.2


def test_samples_under_intervention_are_of_the_mixture() -> None:
    prior = make(components=2).eval()
    with torch.no_grad():  # two narrow modes, far apart
        prior.intervened[..., 0] = torch.tensor([-5.0, 5.0])
        prior.intervened[..., 1], prior.intervened[..., 2] = -3.0, torch.tensor([0.0, 1.0])
    z_t = torch.zeros(4000, LATENTS, dtype=torch.float64)
    targets = torch.tensor([[0, 1, 0]]).expand(4000, -1)
    assignment = torch.tensor([1, 0, VARIABLES, 1])
    drawn = prior.sample(z_t, targets, assignment, seeded())
    for m in (0, 3):
        upper = drawn[:, m] > 0
        assert ((drawn[:, m].abs() - 5).abs() < 0.5).all()
        assert abs(upper.double().mean() - torch.tensor([0.0, 1.0]).softmax(-1)[1]) < 0.03
    assert not torch.equal(drawn[:, 0] > 0, drawn[:, 3] > 0)  # each latent its own choice
    mean, log_std = prior.observational(z_t[0]).unbind(-1)
    for m in (1, 2):  # of variables without an intervention
        assert (drawn[:, m].mean() - mean[m]).abs() < 0.1 * log_std[m].exp() + 1e-9
    likeliest = prior.sample(z_t[:1], targets[:1], assignment, seeded(), temperature=0.0)
    assert (likeliest[0, [0, 3]] == 5).all()


def make_imperfect(regulariser: float = 0.0) -> ImperfectMLPTransitionPrior:
    config = MLPPriorConfig(imperfect_interventions=True, regulariser=regulariser)
    return ImperfectMLPTransitionPrior(LATENTS, VARIABLES, HIDDEN, config, seeded()).double()


def plain_imperfect(
    prior: ImperfectMLPTransitionPrior, z_t: Tensor, targets: Tensor, psi: Tensor, m: int
) -> tuple[Tensor, Tensor]:
    """Mean and log-std of latent m given one z^t [M], targets [K] and assignment [M, K+1]."""
    entries = [z_t[m]]
    for k in range(VARIABLES + 1):
        target = float(targets[k]) if k < VARIABLES else 0.0
        entries.append(psi[m, k] * target - (1 - psi[m, k]))
    hidden = prior.context_weight[m] @ z_t + prior.context_bias[m]
    hidden = functional.silu(hidden + prior.own.weight[m] @ torch.stack(entries) + prior.own.bias[m])
    hidden = functional.silu(prior.middle.weight[m] @ hidden + prior.middle.bias[m])
    mean, log_std = prior.out.weight[m] @ hidden + prior.out.bias[m]
    return mean, log_std


def assignments() -> Tensor:
    """An assignment of its own for every window, one-hot [B, M, K+1]."""
    variables = torch.randint(0, VARIABLES + 1, (BATCH, LATENTS), generator=seeded(6))
    return functional.one_hot(variables, VARIABLES + 1).double().requires_grad_()


@pytest.mark.parametrize("training", [False, True])
def test_imperfect_interventions_are_scored_as_in_the_plain_loop(training: bool) -> None:
    prior = make_imperfect(0.3).train(training)
    z_t, z_t1, logits, targets = inputs()
    psi = assignments()
    totals = []
    for b in range(BATCH):
        total = torch.zeros((), dtype=torch.float64)
        for m in range(LATENTS):
            for earlier in z_t[b]:
                mean, log_std = plain_imperfect(prior, earlier, targets[b], psi[b], m)
                for later in z_t1[b]:
                    total = total - Normal(mean, log_std.exp()).log_prob(later[m]) / SAMPLES**2
        totals.append(total)
    plain = torch.stack(totals)
    if training:
        plain = plain + 0.3 * (1 - logits.softmax(-1)[:, -1]).mean()
    ours = prior.nll(z_t, z_t1, given(targets, logits.softmax(-1), psi)).value
    torch.testing.assert_close(ours, plain)

    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    learned = [*prior.parameters(), z_t, z_t1, psi]
    wanted = torch.autograd.grad(plain @ weights, learned)
    for found, gradient in zip(torch.autograd.grad(ours @ weights, learned), wanted, strict=True):
        assert gradient.abs().max() > 0
        torch.testing.assert_close(found, gradient)


def test_divergence_under_imperfect_interventions_is_over_every_assignment() -> None:
    prior = make_imperfect(0.3).train()
    samples, _, logits, targets = inputs()
    q, z_t, p = posterior(), samples[:, 0], logits.softmax(-1)
    totals = []
    for b in range(BATCH):
        total = torch.zeros((), dtype=torch.float64)
        for k in range(VARIABLES + 1):
            psi = torch.eye(VARIABLES + 1, dtype=torch.float64)[k].expand(LATENTS, -1)
            weight = 1 - 0.3 if k == VARIABLES else 1.0
            for m in range(LATENTS):
                of_k = divergence(q, b, m, *plain_imperfect(prior, z_t[b], targets[b], psi, m))
                total = total + weight * p[m, k] * of_k
        totals.append(total)
    ours = prior.kl(*q, z_t, torch.zeros_like(z_t), given(targets, p)).value
    torch.testing.assert_close(ours, torch.stack(totals))
    learned = [*prior.parameters(), samples, *q, logits]
    wanted = torch.autograd.grad(torch.stack(totals).sum(), learned, retain_graph=True)
    for found, gradient in zip(torch.autograd.grad(ours.sum(), learned), wanted, strict=True):
        torch.testing.assert_close(found, gradient)


def test_an_imperfect_intervention_changes_its_own_latents_alone_and_leaves_the_past_in() -> None:
    prior = make_imperfect()
    z_t = torch.randn(1, 1, LATENTS, generator=seeded(1), dtype=torch.float64)
    psi = functional.one_hot(torch.tensor([0, 1, 3, 0]), VARIABLES + 1).double()[None, None]
    without, under = (prior.gaussians(z_t, torch.tensor([targets]), psi)[0] for targets in ([0, 0, 1], [1, 0, 1]))
    assert (without != under).flatten().tolist() == [True, False, False, True]
    jacobian = torch.autograd.functional.jacobian(
        lambda z: prior.gaussians(z.view(1, 1, -1), torch.tensor([[1, 1, 1]]), psi)[0].flatten(), z_t.flatten()
    )
    assert (jacobian != 0).all()


def make_mixed(regulariser: float = 0.0, imperfect: tuple[int, ...] = (0,), components: int = 1) -> MLPTransitionPrior:
    config = MLPPriorConfig(
        regulariser=regulariser, imperfect_variables=imperfect, interventional_components=components
    )
    prior = build_prior(config, LATENTS, VARIABLES, HIDDEN, seeded()).double()
    assert isinstance(prior, MLPTransitionPrior)
    return prior


def plain_under(prior: MLPTransitionPrior, z_t: Tensor, m: int, k: int) -> tuple[Tensor, Tensor]:
    """Mean and log-std of latent m under an intervention on k, given one z^t [M]."""
    if k not in prior.config.imperfect_variables:
        mean, log_std = prior.intervened[m, k]
        return mean, log_std
    network = prior.imperfect[str(k)]
    assert isinstance(network, PerLatentNetwork)
    hidden = functional.silu(network.first.weight[m] @ z_t + network.first.bias[m])
    hidden = functional.silu(network.middle.weight[m] @ hidden + network.middle.bias[m])
    mean, log_std = network.out.weight[m] @ hidden + network.out.bias[m]
    return mean, log_std


def gradients(of: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(of, inputs, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(one) if a is None else a for a, one in zip(found, inputs, strict=True)]


@pytest.mark.parametrize("imperfect", [(0,), (1,), (0, 2)])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("divergences", [False, True])
def test_where_some_interventions_are_imperfect_scores_are_those_of_the_plain_loop(
    divergences: bool, training: bool, imperfect: tuple[int, ...]
) -> None:
    prior = make_mixed(0.3, imperfect).train(training)
    z_t, z_t1, logits, targets = inputs()
    q, p = posterior(), logits.softmax(-1)

    def score(b: int, m: int, gaussian: Callable[[Tensor], tuple[Tensor, Tensor]], fixed: bool = False) -> Tensor:
        if divergences:
            of = (q[0].detach(), q[1].detach()) if fixed else q
            return divergence(of, b, m, *gaussian(z_t[b, 0]))
        pairs = [(gaussian(earlier), later) for earlier in z_t[b] for later in z_t1[b]]
        scores = [-Normal(mean, std.exp()).log_prob(z[m].detach() if fixed else z[m]) for (mean, std), z in pairs]
        return torch.stack(scores).mean()

    totals, taught = [], torch.zeros((), dtype=torch.float64)
    for b in range(BATCH):
        total = torch.zeros((), dtype=torch.float64)
        for m in range(LATENTS):
            # Of divergences, which are never negative, psi(0) takes a share off; every other latent has a price else.
            free = 1 - 0.3 * p[m, VARIABLES] if divergences else torch.ones((), dtype=torch.float64)
            if training and not divergences:
                total = total + 0.3 * (1 - p[m, VARIABLES])
            for k in range(VARIABLES):
                if targets[b, k]:

                    def under(z: Tensor, m: int = m, k: int = k) -> tuple[Tensor, Tensor]:
                        return plain_under(prior, z.detach(), m, k)

                    def held(z: Tensor, m: int = m, k: int = k) -> tuple[Tensor, Tensor]:
                        mean, log_std = plain_under(prior, z, m, k)
                        return mean.detach(), log_std.detach()

                    total = total + p[m, k] * score(b, m, held)
                    free = free - p[m, k]
                    taught = taught + score(b, m, under, fixed=True)
            total = total + free * score(b, m, lambda z, m=m: plain_observational(prior, z, m))
        totals.append(total)
    plain = torch.stack(totals)
    step = given(targets, p)
    if divergences:
        ours = prior.kl(*q, z_t[:, 0], torch.zeros_like(z_t[:, 0]), step).value
    else:
        ours = prior.nll(z_t, z_t1, step).value
    torch.testing.assert_close(ours, plain)

    # What is learned of interventions is learned from every latent, whatever the assignment says, and changes no value.
    of_interventions = [one for name, one in prior.named_parameters() if name.startswith(("intervened", "imperfect"))]
    others = [one for name, one in prior.named_parameters() if not name.startswith(("intervened", "imperfect"))]
    for found, wanted in zip(
        gradients(ours.sum(), [*others, z_t, z_t1, *q, logits]),
        gradients(plain.sum(), [*others, z_t, z_t1, *q, logits]),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)
    for found, wanted in zip(gradients(ours.sum(), of_interventions), gradients(taught, of_interventions), strict=True):
        torch.testing.assert_close(found, wanted if training else torch.zeros_like(wanted))


DRAWS = 20_000


@pytest.mark.parametrize("form", ["perfect", "imperfect", "mixed"])
def test_draws_agree_with_the_parameters(form: str) -> None:
    prior = {"perfect": make, "imperfect": make_imperfect, "mixed": make_mixed}[form]()
    assignment = torch.tensor([0, 1, 3, 2])  # the third latent is psi(0)'s
    targets = torch.tensor([1.0, 0.0, 1.0])
    z_t = torch.randn(LATENTS, generator=seeded(1), dtype=torch.float64)
    arguments = z_t.expand(DRAWS, -1), targets.expand(DRAWS, -1), assignment
    with torch.no_grad():
        draws = prior.sample(*arguments, seeded(2))
        for m in range(LATENTS):
            if isinstance(prior, ImperfectMLPTransitionPrior):
                psi = functional.one_hot(assignment, VARIABLES + 1).double()
                mean, log_std = plain_imperfect(prior, z_t, targets, psi, m)
            elif m in (0, 3):
                mean, log_std = plain_under(prior, z_t, m, int(assignment[m]))
            else:
                mean, log_std = plain_observational(prior, z_t, m)
            error = 5 * log_std.exp().item() / DRAWS**0.5
            torch.testing.assert_close(draws[:, m].mean(), mean, rtol=0, atol=error)
            torch.testing.assert_close(draws[:, m].std(), log_std.exp(), rtol=0.03, atol=0)
            still = prior.sample(*arguments, seeded(2), temperature=0.0)
            torch.testing.assert_close(still[:, m], mean.expand(DRAWS))
        assert torch.equal(draws, prior.sample(*arguments, seeded(2)))
