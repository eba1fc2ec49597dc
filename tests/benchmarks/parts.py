"""The parts of the model whose plain forms are slow: the inverse of the flow and the transition priors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from citris_cli.core.config import AutoregressivePriorConfig, MLPPriorConfig
from citris_cli.core.flow import NormalizingFlow
from citris_cli.core.priors import AutoregressiveTransitionPrior, Given, MLPTransitionPrior
from tests.benchmarks import plain_citris_nf
from tests.benchmarks.measure import Effort, Row, Target, interleaved, matrix_product, product_rate
from tests.benchmarks.plain_citris_nf import PlainAutoregressivePrior, PlainPrior

LATENTS, VARIABLES, SAMPLES, HIDDEN, PAIRS = 32, 9, 8, 64, 64
LAYERS, FLOW_HIDDEN = 4, 16


def flow_inverse(effort: Effort) -> list[Row]:
    """The incremental inverse against M full forward passes of every autoregressive layer; floor: one forward pass."""
    flow = NormalizingFlow(LATENTS, LAYERS, FLOW_HIDDEN, torch.Generator().manual_seed(0))
    with torch.no_grad():
        flow.initialise(torch.randn(512, LATENTS, generator=torch.Generator().manual_seed(1)))
    rows = []
    for batch, target in ((512, Target("floor", 10.0, least=False)), (1, Target("ours", 3e-3, least=False))):
        x = torch.randn(batch, LATENTS, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            z, _ = flow(x)
        for inverse in (flow.inverse, partial(plain_citris_nf.inverse, flow)):
            torch.testing.assert_close(inverse(z), x, rtol=1e-3, atol=1e-3)
        forms: dict[str, Callable[[], object]] = {
            "ours": partial(flow.inverse, z),
            "plain": partial(plain_citris_nf.inverse, flow, z),
            "floor": partial(torch.no_grad()(flow.forward), x),
        }
        taken = interleaved(forms, effort)
        what = f"flow inverse, batch {batch} (M {LATENTS}, {LAYERS} layers, h {FLOW_HIDDEN})"
        rows.append(Row(what, "s", taken["ours"], taken["plain"], taken["floor"], target))
    return rows


def prior(effort: Effort) -> list[Row]:
    """The MLP prior, value and gradients, against its loops; floor: its matrix products at the machine's rate."""
    ours = MLPTransitionPrior(
        LATENTS, VARIABLES, HIDDEN, MLPPriorConfig(regulariser=0.01), torch.Generator().manual_seed(0)
    ).train()
    by_sample, by_latent = PlainPrior(ours).train(), PlainPrior(ours, all_samples=True).train()
    generator = torch.Generator().manual_seed(1)
    z_t, z_t1 = torch.randn(2, PAIRS, SAMPLES, LATENTS, generator=generator).requires_grad_()
    targets = (torch.rand(PAIRS, VARIABLES, generator=generator) < 0.1).float()
    logits = torch.randn(LATENTS, VARIABLES + 1, generator=generator).requires_grad_()
    unread = torch.empty(0)  # samples of the assignment, which this prior does not look at

    def run(form: MLPTransitionPrior | PlainPrior) -> tuple[torch.Tensor, ...]:
        p = logits.softmax(-1)
        if isinstance(form, MLPTransitionPrior):
            nll = form.nll(z_t, z_t1, Given(targets, p, unread)).value.mean()
        else:
            nll = form.nll(z_t, z_t1, targets, p).mean()
        learned = [parameter for parameter in form.parameters() if parameter.requires_grad]
        inputs = [logits, form.intervened, z_t, z_t1, *learned]
        return nll.detach(), *torch.autograd.grad(nll, inputs, allow_unused=True)[:2]

    for form in (by_sample, by_latent):
        for mine, plain in zip(run(ours), run(form), strict=True):
            torch.testing.assert_close(mine.flatten(), plain.flatten(), rtol=1e-3, atol=1e-4)
    forms: dict[str, Callable[[], object]] = {
        "ours": partial(run, ours),
        "plain": partial(run, by_sample),
        "all samples": partial(run, by_latent),
        "product": matrix_product(),
    }
    taken = interleaved(forms, effort)
    # Forward, gradients of the weights, gradients of the inputs: three products of each of the networks' layers.
    products = 3 * 2 * PAIRS * SAMPLES * LATENTS * (LATENTS * HIDDEN + HIDDEN * HIDDEN + 2 * HIDDEN)
    floor = products / product_rate(taken["product"])
    sizes = f"{PAIRS} pairs, S {SAMPLES}, M {LATENTS}, K {VARIABLES}, c {HIDDEN}"
    return [
        Row(
            f"MLP prior, value and gradients ({sizes})", "s", taken["ours"], taken["plain"], floor, Target("ratio", 8.0)
        ),
        Row("  the same, reference loops over latents only", "s", taken["ours"], taken["all samples"], floor),
    ]


def autoregressive_prior(effort: Effort) -> list[Row]:
    """The autoregressive prior, value and gradients, against its form once a variable.

    Floor: the products at the machine's rate, half of every masked matrix, and what z^t and the targets alone give
    once a sample and once a window; all other products are needed for every (sample, variable).
    """
    config = AutoregressivePriorConfig(regulariser=0.01, autoregressive_hidden=FLOW_HIDDEN)
    ours = AutoregressiveTransitionPrior(
        LATENTS, VARIABLES, config=config, generator=torch.Generator().manual_seed(0)
    ).train()
    plain = PlainAutoregressivePrior(ours).train()
    generator = torch.Generator().manual_seed(1)
    z_t, z_t1 = torch.randn(2, PAIRS, SAMPLES, LATENTS, generator=generator)
    targets = (torch.rand(PAIRS, VARIABLES, generator=generator) < 0.1).float()
    logits = torch.randn(LATENTS, VARIABLES + 1, generator=generator).requires_grad_()
    one_hot = torch.nn.functional.one_hot(logits.argmax(-1), VARIABLES + 1).float()
    inputs = [z_t.requires_grad_(), z_t1.requires_grad_(), one_hot.expand(PAIRS, -1, -1).clone().requires_grad_()]

    def run(form: AutoregressiveTransitionPrior | PlainAutoregressivePrior) -> tuple[torch.Tensor, ...]:
        p = logits.softmax(-1)
        if isinstance(form, AutoregressiveTransitionPrior):
            nll = form.nll(inputs[0], inputs[1], Given(targets, p, inputs[2])).value.mean()
        else:
            nll = form.nll(inputs[0], inputs[1], targets, p, inputs[2]).mean()
        return nll.detach(), *torch.autograd.grad(nll, [logits, *inputs, *form.parameters()])

    for mine, theirs in zip(run(ours), run(plain), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
    forms: dict[str, Callable[[], object]] = {
        "ours": partial(run, ours),
        "plain": partial(run, plain),
        "product": matrix_product(),
    }
    taken = interleaved(forms, effort)
    units = LATENTS * FLOW_HIDDEN
    masked = units * (2 * LATENTS + units + 2 * LATENTS) // 2
    rows = PAIRS * SAMPLES
    products = 3 * 2 * (rows * (VARIABLES + 1) * masked + rows * units * LATENTS + PAIRS * units * (VARIABLES + 1))
    sizes = f"{PAIRS} pairs, S {SAMPLES}, M {LATENTS}, K {VARIABLES}, h {FLOW_HIDDEN}"
    floor = products / product_rate(taken["product"])
    return [Row(f"autoregressive prior, value and gradients ({sizes})", "s", taken["ours"], taken["plain"], floor)]
