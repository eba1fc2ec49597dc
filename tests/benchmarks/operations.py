"""Every operation of ``citris_cli.core.ops`` against its reference in PyTorch, values and gradients, at real sizes.

The plain form of a row is the reference. What is for GPUs alone has no row: on a CPU both forms are the same there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor, nn

from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.core.config import CitrisVAEConfig
from citris_cli.core.flow import AutoregressiveAffine, NormalizingFlow
from citris_cli.core.masked import MaskedLinear
from citris_cli.core.ops import classifier, library
from citris_cli.core.ops.adamw import ClippedAdamW
from citris_cli.core.ops.convolution import conv3x3, conv3x3_reference
from citris_cli.core.ops.flow import affine_inverse_reference, composed_reference
from citris_cli.core.ops.gumbel import gumbel_softmax, gumbel_softmax_reference
from citris_cli.core.ops.marginal_score import marginal_nll, marginal_nll_reference
from citris_cli.core.ops.networks import network, network_reference, separate_networks, separate_networks_reference
from citris_cli.core.ops.position import add_to_all, add_to_all_reference
from citris_cli.core.ops.sample_pairs import (
    gaussian_nll_over_sample_pairs,
    gaussian_nll_over_sample_pairs_reference,
)
from citris_cli.core.priors import MLPTransitionPrior
from citris_cli.core.target_classifier import TargetClassifier
from tests.benchmarks.measure import Effort, Row, interleaved

#: Those of a step of CITRIS-NF as published, but for the batch.
PAIRS, LATENTS, VARIABLES, SAMPLES, HIDDEN, FLOW_LAYERS, FLOW_HIDDEN = 64, 32, 9, 8, 64, 4, 16
CHANNELS, IMAGES = 64, 64

Values = Tensor | Sequence[Tensor]


def operations(effort: Effort) -> list[Row]:
    """All of them, in the order of docs/operations.md."""
    return [
        *_networks(effort),
        *_flow(effort),
        *_scores(effort),
        *_assignment(effort),
        *_images(effort),
        *_optimiser(effort),
    ]


def seeded(seed: int = 0) -> torch.Generator:
    """A generator in the state of a seed."""
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers that a gradient is asked for."""
    return torch.randn(shape, generator=seeded(seed)).requires_grad_()


def both_ways(function: Callable[[], Values], learned: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
    """A function that computes values and gradients.

    Args:
        function: gives the values.
        learned: what gradients are for.
    """

    def run() -> list[Tensor]:
        given = function()
        values = [given] if isinstance(given, Tensor) else list(given)
        gradients = torch.autograd.grad(values, learned, [torch.ones_like(value) for value in values])
        return [*(value.detach() for value in values), *gradients]

    return run


def by_pytorch(function: Callable[[], Values]) -> Callable[[], Values]:
    """The same with everything inside by PyTorch, where a reference is made of modules that decide for themselves."""

    def run() -> Values:
        with patch.object(library, "usable", lambda *tensors: False):
            return function()

    return run


def row(
    what: str,
    ours: Callable[[], Values],
    reference: Callable[[], Values],
    learned: Sequence[Tensor] | None,
    effort: Effort,
) -> Row:
    """One operation by both forms in turn, which must agree.

    Args:
        what: name and sizes.
        ours: the operation.
        reference: its reference.
        learned: what gradients are for; None: it has none.
        effort: how often.
    """
    forms: dict[str, Callable[[], Values]] = {"ours": ours, "plain": reference}
    if learned is not None:
        forms = {name: both_ways(form, learned) for name, form in forms.items()}
    torch.testing.assert_close(*(form() for form in forms.values()), rtol=1e-3, atol=1e-3)
    taken = interleaved(forms, effort)
    return Row(what, "s", taken["ours"], taken["plain"])


def _networks(effort: Effort) -> list[Row]:
    layers = [
        MaskedLinear(1, FLOW_HIDDEN, LATENTS, True, seeded(1)),
        MaskedLinear(FLOW_HIDDEN, FLOW_HIDDEN, LATENTS, False, seeded(2)),
        MaskedLinear(FLOW_HIDDEN, 2, LATENTS, False, seeded(3)),
    ]
    maps = [layer.as_map() for layer in layers]
    rows = 2 * PAIRS * SAMPLES
    x = normal(rows, LATENTS)
    learned = [x, *(part for one in maps for part in (one.weight, one.bias))]
    masked = row(
        f"network, masked ({rows} rows, M {LATENTS}, h {FLOW_HIDDEN})",
        lambda: network(x, maps),
        lambda: network_reference(x, maps),
        learned,
        effort,
    )
    prior = MLPTransitionPrior(LATENTS, VARIABLES, HIDDEN, generator=seeded())
    past, middle, out = prior.of_past(), prior.middle, prior.out
    parameters = [one.detach().requires_grad_() for one in (*past, middle.weight, middle.bias, out.weight, out.bias)]
    z = normal(PAIRS * SAMPLES, LATENTS)
    separate = row(
        f"separate_networks ({PAIRS * SAMPLES} rows, M {LATENTS}, c {HIDDEN})",
        lambda: separate_networks(z, parameters),
        lambda: separate_networks_reference(z, parameters),
        [z, *parameters],
        effort,
    )
    return [masked, separate]


def _flow(effort: Effort) -> list[Row]:
    flow = NormalizingFlow(LATENTS, FLOW_LAYERS, FLOW_HIDDEN, seeded())
    rows = 2 * PAIRS * SAMPLES
    x = normal(rows, LATENTS)
    flow.initialise(x.detach())
    sizes = f"M {LATENTS}, {FLOW_LAYERS} layers, h {FLOW_HIDDEN}"
    found = [
        row(
            f"composed ({rows} rows, {sizes})",
            lambda: flow(x),
            by_pytorch(lambda: composed_reference(x, list(flow.transforms))),
            [x, *flow.parameters()],
            effort,
        )
    ]
    affine = flow.transforms[-1]
    assert isinstance(affine, AutoregressiveAffine)
    for points in (128, 1):
        z = torch.randn(points, LATENTS, generator=seeded(1))
        reference = torch.no_grad()(partial(affine_inverse_reference, z, affine.maps(), affine.bound()))
        what = f"affine_inverse ({points} row{'s' * (points > 1)}, M {LATENTS}, h {FLOW_HIDDEN})"
        found.append(row(what, partial(affine.inverse, z), reference, None, effort))
    return found


def _scores(effort: Effort) -> list[Row]:
    observational, z = normal(PAIRS, SAMPLES, LATENTS, 2), normal(PAIRS, SAMPLES, LATENTS, seed=1)
    p = normal(LATENTS, VARIABLES + 1, seed=2).softmax(-1).detach().requires_grad_()
    intervened = normal(LATENTS, VARIABLES, 2, seed=3)
    targets = (torch.rand(PAIRS, VARIABLES, generator=seeded(4)) < 0.1).float()
    given = observational, z, targets, p, intervened, 0.01, True
    sizes = f"{PAIRS} pairs, S {SAMPLES}, M {LATENTS}"
    score = row(
        f"marginal_nll ({sizes}, K {VARIABLES})",
        lambda: marginal_nll(*given),
        lambda: marginal_nll_reference(*given),
        [observational, z, p, intervened],
        effort,
    )
    mixtures = normal(LATENTS, VARIABLES, 2, 3, seed=8)
    mixed = observational, z, targets, p, mixtures, 0.01, True
    of_mixtures = row(
        f"marginal_nll (mixtures of 2, {sizes}, K {VARIABLES})",
        lambda: marginal_nll(*mixed),
        lambda: marginal_nll_reference(*mixed),
        [observational, z, p, mixtures],
        effort,
    )
    shape = PAIRS, VARIABLES + 1, SAMPLES, LATENTS
    learned = [normal(*shape, seed=5), normal(*shape, seed=6), normal(PAIRS, 1, SAMPLES, LATENTS, seed=7)]
    pairs = row(
        f"gaussian_nll_over_sample_pairs ({sizes}, {VARIABLES + 1} variables)",
        lambda: gaussian_nll_over_sample_pairs(*learned),
        lambda: gaussian_nll_over_sample_pairs_reference(*learned),
        learned,
        effort,
    )
    return [score, of_mixtures, pairs]


def _assignment(effort: Effort) -> list[Row]:
    logits = normal(LATENTS, VARIABLES + 1)
    uniform = torch.rand(PAIRS, LATENTS, VARIABLES + 1, generator=seeded(1)).clamp(1e-9, 1 - 1e-7)
    sizes = f"{PAIRS} windows, M {LATENTS}, K {VARIABLES}"
    sample = row(
        f"gumbel_softmax ({sizes})",
        lambda: gumbel_softmax(logits, uniform.clone(), 1.0),
        lambda: gumbel_softmax_reference(logits, uniform.clone(), 1.0),
        [logits],
        effort,
    )
    return [sample, *_classifier(effort, sizes)]


def _classifier(effort: Effort, sizes: str) -> list[Row]:
    made = TargetClassifier(LATENTS, VARIABLES, HIDDEN, generator=seeded())
    with torch.no_grad():
        made.network[-1].weight.normal_(generator=seeded(1))
    made.frozen.load_state_dict(made.network.state_dict())
    z = normal(PAIRS, 2, LATENTS)
    sample = nn.functional.one_hot(torch.randint(VARIABLES + 1, (PAIRS, LATENTS), generator=seeded(2)), VARIABLES + 1)
    sample = sample.float().requires_grad_()
    targets = (torch.rand(PAIRS, 1, VARIABLES, generator=seeded(3)) < 0.1).float()
    means = made.mean, made.conditional_mean
    given = z, sample, targets, means, made.network, made.frozen
    losses = row(
        f"target_losses ({sizes}, c {HIDDEN})",
        lambda: classifier.target_losses(*given, alike=True),
        lambda: classifier.target_losses_reference(*given),
        [z, sample, *made.network.parameters()],
        effort,
    )
    state = made.count, made.mean, made.conditional_count, made.conditional_mean
    ours, theirs = ([one.clone() for one in state] for _ in range(2))

    def updated(update: Callable[..., None], means: Sequence[Tensor]) -> Sequence[Tensor]:
        update(targets[:, 0], *means)
        return means

    running = row(
        f"update_target_means ({PAIRS} rows, K {VARIABLES})",
        lambda: updated(classifier.update_target_means, ours),
        lambda: updated(classifier.update_target_means_reference, theirs),
        None,
        effort,
    )
    return [losses, running]


def _images(effort: Effort) -> list[Row]:
    found = []
    weight = nn.Conv2d(CHANNELS, CHANNELS, 3).weight.detach().contiguous(memory_format=torch.channels_last)
    weight.requires_grad_()
    for width in (32, 8):
        x = torch.randn(IMAGES, CHANNELS, width, width, generator=seeded())
        x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
        what = f"conv3x3 ({IMAGES} maps, {CHANNELS} channels, {width}x{width})"
        ours, reference = partial(conv3x3, x, weight), partial(conv3x3_reference, x, weight)
        found.append(row(what, ours, reference, [x, weight], effort))
    one, width = normal(CHANNELS, 32, 32, seed=1), 32
    maps = torch.randn(IMAGES, CHANNELS, width, width, generator=seeded()).contiguous(memory_format=torch.channels_last)
    what = f"add_to_all, with a copy before it ({IMAGES} maps, {CHANNELS} channels, {width}x{width})"
    added = lambda: add_to_all(maps.clone(), one)  # noqa: E731
    return [*found, row(what, added, lambda: add_to_all_reference(maps.clone(), one), [one], effort)]


def _optimiser(effort: Effort) -> list[Row]:
    """One step on the weights of CITRIS-VAE; the reference clips, steps by PyTorch's fused AdamW, and drops."""
    config = CitrisVAEConfig(latents=LATENTS, variables=VARIABLES, channels=CHANNELS)
    models = [CitrisVAE(config, seeded()).to(memory_format=torch.channels_last) for _ in range(2)]  # type: ignore[call-overload]
    learned = [[p for p in model.parameters() if p.requires_grad] for model in models]
    gradients = [copy.deepcopy(learned[0]) for _ in models]
    clip = 1e9  # so that gradients stay as they are
    ours = ClippedAdamW([{"params": learned[0], "lr": 1e-6}], clip)
    plain = torch.optim.AdamW(learned[1], lr=1e-6, weight_decay=0.0, fused=True)

    def give(which: int) -> None:
        for parameter, gradient in zip(learned[which], gradients[which], strict=True):
            parameter.grad = gradient.detach()

    def compiled() -> Values:
        give(0)
        return ours.update()

    def reference() -> Values:
        give(1)
        norm = nn.utils.clip_grad_norm_(learned[1], clip)
        plain.step()
        plain.zero_grad()
        return norm

    count = sum(parameter.numel() for parameter in learned[0])
    return [
        row(f"ClippedAdamW ({count / 1e6:.1f} million weights in {len(learned[0])})", compiled, reference, None, effort)
    ]
