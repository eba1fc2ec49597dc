"""Priors of compiled operations: values and gradients of the same priors in float64, on every kind of processor."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from citris_cli.core.config import AutoregressivePriorConfig, MLPPriorConfig
from citris_cli.core.priors import AutoregressiveTransitionPrior, MLPTransitionPrior
from tests.core.ops.exact import in_double, require_close, seeded, trained
from tests.core.priors.steps import given

pytestmark = [pytest.mark.compiled, pytest.mark.usefixtures("processor")]


def parameters_and_gradients(prior: MLPTransitionPrior | AutoregressiveTransitionPrior, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    if isinstance(prior, MLPTransitionPrior):
        values: tuple[Tensor, ...] = prior.observational(x).unbind(-1)
    else:
        psi = functional.one_hot(torch.arange(x.shape[-1]) % 4, 4).to(x.dtype).expand(len(x), -1, -1)
        values = prior.gaussians(x, x.flip(0), torch.arange(3 * len(x)).view(-1, 3) % 2, psi)
    learned = [x, *prior.parameters()]
    gradients = torch.autograd.grad(sum(value.sin().sum() for value in values), learned, allow_unused=True)
    return [*values, *(gradient for gradient in gradients if gradient is not None)]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("form", ["mlp", "autoregressive"])
def test_parameters_of_gaussians(form: str) -> None:
    prior: MLPTransitionPrior | AutoregressiveTransitionPrior
    if form == "mlp":
        prior = MLPTransitionPrior(8, 3, 6, generator=seeded())
    else:
        config = AutoregressivePriorConfig(autoregressive_hidden=6)
        prior = AutoregressiveTransitionPrior(8, 3, config=config, generator=seeded())
    trained(prior)
    x = torch.randn(30, 2, 8, generator=seeded(1))
    ours = parameters_and_gradients(prior, x)
    require_close(ours, parameters_and_gradients(in_double(prior), x.double()))  # type: ignore[arg-type]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("latents", "samples", "variables"), [(1, 1, 1), (5, 3, 2), (16, 8, 4), (33, 2, 7)])
def test_the_score_of_a_prior(latents: int, samples: int, variables: int, training: bool) -> None:
    config = MLPPriorConfig(regulariser=0.3)
    prior = trained(MLPTransitionPrior(latents, variables, 6, config, seeded())).train(training)
    z_t, z_t1 = torch.randn(2, 20, samples, latents, generator=seeded(1))
    targets = torch.rand(20, variables, generator=seeded(2)) < 0.4
    p = (2 * torch.randn(latents, variables + 1, generator=seeded(3))).softmax(-1)
    pull = torch.randn(20, generator=seeded(4))
    results = []
    for form, dtype in ((prior, torch.float32), (in_double(prior), torch.float64)):
        learned = [one.to(dtype, copy=True).requires_grad_() for one in (z_t, z_t1, p)]
        score = form.nll(learned[0], learned[1], given(targets, learned[2])).value
        gradients = torch.autograd.grad(score, [*learned, *form.parameters()], pull.to(dtype), allow_unused=True)
        # Outside of training, what is learned of interventions gets no gradient, or zeros.
        results.append([score, *(torch.zeros(()) if one is None or (one == 0).all() else one for one in gradients)])
    require_close(*results)
