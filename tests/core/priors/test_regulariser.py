"""The regulariser as a price in nats for every latent outside psi(0), in every prior of CITRIS's own."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from citris_cli.core.config import AutoregressivePriorConfig, CitrisPriorConfig, MLPPriorConfig
from citris_cli.core.priors import TransitionPrior, build_prior
from tests.core.priors.steps import given

BATCH, SAMPLES, LATENTS, VARIABLES, HIDDEN = 3, 2, 4, 3, 5
PRICE = 0.7
FORMS: dict[str, CitrisPriorConfig] = {
    "mlp": MLPPriorConfig(regulariser_form="price"),
    "mlp, imperfect": MLPPriorConfig(imperfect_interventions=True, regulariser_form="price"),
    "mlp, one of them imperfect": MLPPriorConfig(imperfect_variables=(1,), regulariser_form="price"),
    "autoregressive": AutoregressivePriorConfig(regulariser_form="price"),
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def prior_of(config: CitrisPriorConfig, price: float) -> TransitionPrior:
    config = dataclasses.replace(config, regulariser=price)
    return build_prior(config, LATENTS, VARIABLES, HIDDEN, seeded(0)).double()


def scored(prior: TransitionPrior, score: str) -> tuple[Tensor, Tensor, Tensor]:
    """The mean score, its gradient to z^{t+1}, and p."""
    z = torch.randn(2, BATCH, SAMPLES, LATENTS, generator=seeded(1), dtype=torch.float64).requires_grad_()
    logits = torch.randn(LATENTS, VARIABLES + 1, generator=seeded(2), dtype=torch.float64)
    p = logits.softmax(-1)
    psi = torch.eye(VARIABLES + 1, dtype=torch.float64)[logits.argmax(-1)].expand(BATCH, -1, -1)
    step = given(torch.tensor([[0, 0, 0], [1, 0, 0], [1, 0, 1]]), p, psi)
    if score == "nll":
        value = prior.nll(z[0], z[1], step).value.mean()
    else:
        mean, log_std = z[1, :, 0], 0.3 * z[1, :, 1]
        value = prior.kl(mean, log_std, z[0, :, 0], mean, step).value.mean()
    (gradient,) = torch.autograd.grad(value, z)
    return value.detach(), gradient[1], p


@pytest.mark.parametrize("score", ["nll", "kl"])
@pytest.mark.parametrize("form", FORMS)
def test_every_latent_outside_psi_0_costs_the_price_and_nothing_else_changes(form: str, score: str) -> None:
    """So what the flow makes of a latent, its scale above all, does not change what being in psi(0) is worth."""
    free, priced = prior_of(FORMS[form], 0.0), prior_of(FORMS[form], PRICE)
    without, slope, p = scored(free, score)
    value, same_slope, _ = scored(priced, score)
    torch.testing.assert_close(value, without + PRICE * (1 - p[:, -1]).sum())
    torch.testing.assert_close(same_slope, slope)
    free.eval(), priced.eval()
    torch.testing.assert_close(scored(priced, score)[0], scored(free, score)[0])


def test_a_share_rewards_the_flow_for_large_latents_in_psi_0() -> None:
    """As published: with latents of psi(0) twice as large, NLL and log-determinant differ by less than a tie."""
    config = MLPPriorConfig(regulariser=0.2)
    prior, scale = prior_of(config, 0.2), 2.0
    p = torch.zeros(LATENTS, VARIABLES + 1, dtype=torch.float64)
    p[:, -1] = 1
    step = given(torch.zeros(BATCH, VARIABLES), p, p.expand(BATCH, -1, -1))
    z = torch.randn(2, BATCH, SAMPLES, LATENTS, generator=seeded(1), dtype=torch.float64)
    before = prior.nll(z[0], z[1], step).value
    with torch.no_grad():  # the same densities of latents twice as large, later frame alone
        prior.out.weight[:, 0] *= scale
        prior.out.bias[:, 0] *= scale
        prior.out.bias[:, 1] += torch.log(torch.tensor(scale))
    larger = prior.nll(z[0], scale * z[1], step).value
    change = larger - LATENTS * torch.log(torch.tensor(scale, dtype=torch.float64)) - before
    torch.testing.assert_close(change, torch.full_like(change, -0.2 * LATENTS * 0.6931471805599453))
