"""The vectorised prior against a plain loop over windows, latents, variables and pairs of samples, gradients too."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional

from citris_cli.core.transition_prior import MLPTransitionPrior, PerLatentLinear, gaussian_nll_over_sample_pairs

BATCH, SAMPLES, LATENTS, VARIABLES, HIDDEN = 3, 2, 4, 3, 5


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(regulariser: float = 0.0) -> MLPTransitionPrior:
    return MLPTransitionPrior(LATENTS, VARIABLES, HIDDEN, regulariser, seeded()).double()


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
    mean, log_std = parameters[m, k]
    return torch.stack([-Normal(mean, log_std.exp()).log_prob(sample[m]) for sample in z_t1]).mean()


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
            free = 1 - prior.regulariser * probabilities[m, VARIABLES]
            for k in range(VARIABLES):
                if targets[b, k]:
                    total = total + probabilities[m, k] * plain_intervened(parameters, z_t1[b], m, k)
                    free = free - probabilities[m, k]
            total = total + observational * free
        totals.append(total)
    return torch.stack(totals)


@pytest.mark.parametrize("regulariser", [0.0, 0.3])
@pytest.mark.parametrize("training", [False, True])
def test_value_and_gradients_are_those_of_the_plain_loop(training: bool, regulariser: float) -> None:
    prior = make(regulariser).train(training)
    z_t, z_t1, logits, targets = inputs()
    ours = prior.nll(z_t, z_t1, targets, logits.softmax(-1))
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


def test_interventional_parameters_learn_from_every_latent_under_every_intervention() -> None:
    prior = make().train()
    z_t, z_t1, logits, targets = inputs()
    (found,) = torch.autograd.grad(prior.nll(z_t, z_t1, targets, logits.softmax(-1)).sum(), [prior.intervened])
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
    assert (found[:, [0, 2]].abs().sum(-1) > 0).all()
    # Whatever the assignment says: p weighs nothing in it.
    hard = functional.one_hot(torch.zeros(LATENTS, dtype=torch.int64), VARIABLES + 1).double()
    (again,) = torch.autograd.grad(prior.nll(z_t, z_t1, targets, hard).sum(), [prior.intervened])
    torch.testing.assert_close(again, found)


def test_the_first_term_gives_the_interventional_parameters_no_gradient() -> None:
    prior = make().eval()  # in evaluation mode there is only the first term
    z_t, z_t1, logits, targets = inputs()
    nll = prior.nll(z_t, z_t1, targets, logits.softmax(-1)).sum()
    assert torch.autograd.grad(nll, [prior.intervened], allow_unused=True) == (None,)
    training = make().train().nll(z_t, z_t1, targets, logits.softmax(-1)).sum()
    torch.testing.assert_close(training, nll)  # what teaches them changes no value


def test_the_regulariser_favours_psi_0_for_a_latent_that_carries_nothing() -> None:
    z_t, z_t1, _, targets = inputs()
    prior = make(0.5).train()
    nowhere, variable = torch.zeros(2, LATENTS, VARIABLES + 1, dtype=torch.float64)
    nowhere[:, -1] = variable[:, 1] = 1  # variable 1 is never intervened on: both explain the data alike
    in_psi_0, in_variable = (prior.nll(z_t, z_t1, targets, p) for p in (nowhere, variable))
    plain = make(0.0).train().nll(z_t, z_t1, targets, variable)
    torch.testing.assert_close(in_variable, plain + 0.5)
    torch.testing.assert_close(in_psi_0, 0.5 * plain)


@pytest.mark.parametrize("independent", [False, True])
def test_the_average_over_sample_pairs_is_that_of_brute_force(independent: bool) -> None:
    samples = 6
    mean, log_std = torch.randn(
        2, BATCH, 1 if independent else samples, LATENTS, generator=seeded(), dtype=torch.float64
    )
    z = torch.randn(BATCH, samples, LATENTS, generator=seeded(1), dtype=torch.float64)
    pairs = -Normal(mean.unsqueeze(2), log_std.exp().unsqueeze(2)).log_prob(z.unsqueeze(1))  # [B, S, S', M]
    torch.testing.assert_close(gaussian_nll_over_sample_pairs(mean, log_std, z), pairs.mean((1, 2)))


def test_samples_far_from_zero_keep_their_digits() -> None:
    z = 1000 + 0.05 * torch.randn(1, 8, 3, generator=seeded())
    mean, log_std = torch.full_like(z, 1000), torch.full_like(z, -3.0)
    single = gaussian_nll_over_sample_pairs(mean, log_std, z)
    double = gaussian_nll_over_sample_pairs(mean.double(), log_std.double(), z.double())
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


def test_a_standard_normal_costs_what_it_should() -> None:
    zero = torch.zeros(1, 1, 1)
    nll = gaussian_nll_over_sample_pairs(zero, zero, torch.full((1, 1, 1), 2.0))
    assert nll.item() == pytest.approx(2 + 0.5 * math.log(2 * math.pi))


def test_observational_keeps_the_leading_shape() -> None:
    prior = make()
    z_t = torch.randn(2, 3, 4, LATENTS, dtype=torch.float64, generator=seeded())
    mean, log_std = prior.observational(z_t)
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
