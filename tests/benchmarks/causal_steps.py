"""Whole training steps of CITRIS-NF and CITRIS-VAE, with every transition prior."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.core.config import (
    AutoencoderConfig,
    AutoregressivePriorConfig,
    CitrisNFConfig,
    CitrisVAEConfig,
    MLPPriorConfig,
    PriorConfig,
)
from citris_cli.core.ops import library, networks
from citris_cli.core.ops.networks import LinearMap
from citris_cli.core.priors import AutoregressiveTransitionPrior
from citris_cli.data.batches import ShuffledBatches
from citris_cli.data.frames import Frames
from citris_cli.training.causal_latents import CLASSIFIER_WEIGHT_DECAY
from citris_cli.training.citris_nf import CitrisNFTask
from citris_cli.training.citris_vae import CitrisVAETask
from citris_cli.training.config import CausalTrainingConfig, VAETrainingConfig
from tests.benchmarks.measure import Effort, Row, Target, counted, interleaved, matrix_product, product_rate
from tests.benchmarks.plain_citris_nf import PlainCitrisNF
from tests.benchmarks.steps import our_step, plain_step

FRAMES, BATCH = 1024, 64
#: CITRIS's transition priors but the default.
OTHER_PRIORS: tuple[tuple[str, PriorConfig], ...] = (
    ("MLP, imperfect", MLPPriorConfig(imperfect_interventions=True)),
    ("autoregressive, perfect", AutoregressivePriorConfig()),
    ("autoregressive, imperfect", AutoregressivePriorConfig(imperfect_interventions=True)),
)


def citris_nf_step(effort: Effort) -> list[Row]:
    """One step of CITRIS-NF on 64 pairs at the published sizes, with the default prior."""
    return _citris_nf(MLPPriorConfig(), "", Target("floor", 1.6, least=False), effort)


def citris_nf_steps(effort: Effort) -> list[Row]:
    """The same with every other prior."""
    return [row for name, prior in OTHER_PRIORS for row in _citris_nf(prior, f", {name}", None, effort)]


def citris_vae_step(effort: Effort) -> list[Row]:
    """One step of CITRIS-VAE on 64 windows of two 64x64 frames, the small preset's sizes, without and with a flow."""
    rows = []
    pixels = np.random.default_rng(0).integers(0, 256, (FRAMES, 64, 64, 3), dtype=np.uint8)
    for name, layers in (("standard", 0), ("flow", 4)):
        generator = torch.Generator().manual_seed(0)
        sizes = CitrisVAEConfig(latents=16, channels=32, patch=2, flow_layers=layers)
        targets = (torch.rand(FRAMES, sizes.variables, generator=generator) < 0.1).to(torch.uint8)
        model = CitrisVAE(sizes, generator).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        config = VAETrainingConfig(steps=1, batch_size=BATCH, lr=1e-4, clip=50.0, classifier_lr=4e-4)
        task = CitrisVAETask(model, Frames([pixels]), torch.arange(FRAMES - 1), targets, None, config)
        task.begin(generator)
        model.train()
        ours = our_step(task, config)
        _, needed = products(model, ours)
        taken = interleaved({"ours": ours, "product": matrix_product()}, effort)
        what = f"CITRIS-VAE step, {name} prior ({BATCH} windows, 64x64, c {sizes.channels}, M {sizes.latents})"
        rows.append(Row(what, "s", taken["ours"], None, needed / product_rate(taken["product"])))
    return rows


def products(model: CausalLatentsModel, step: Callable[[], object]) -> tuple[int, int]:
    """Floating-point operations of a step's matrix products and convolutions.

    Args:
        model: the model that the step trains.
        step: one training step, which is taken.

    Returns:
        All of them, every masked matrix counted whole; and what no form can do without: of the three products of every
        masked matrix (forward, gradient of its weights, gradient of its inputs) only half, since half of it is zero.
        The frozen classifier's forward products are not counted where it is the classifier itself.
    """
    widths: dict[Tensor, int] = {}
    seen: list[Tensor] = []
    hook = model.classifier.frozen.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with _dense(widths), counted() as counter:
        step()
    hook.remove()
    if isinstance(model.prior, AutoregressiveTransitionPrior):  # its first layer is part of a larger product
        widths[model.prior.first.weight] = widths[model.prior.middle.weight]
    whole = sum(3 * 2 * weight.numel() * width for weight, width in widths.items())
    dense = counter.get_total_flops()
    if model.classifier.momentum == 0:
        maps = sum(layer.weight.numel() for layer in model.classifier.frozen if isinstance(layer, nn.Linear))
        dense -= sum(2 * maps * inputs[..., 0].numel() for inputs in seen)
    return dense, dense - whole // 2


@contextmanager
def _dense(widths: dict[Tensor, int]) -> Iterator[None]:
    """Everything by PyTorch, masked maps as one dense product each; ``widths`` takes the rows of each masked weight."""
    reference = networks.network_reference

    def watched(x: Tensor, maps: Sequence[LinearMap]) -> Tensor:
        widths.update({one.weight: x[..., 0].numel() for one in maps if one.mask is not None})
        return reference(x, maps)

    with (
        patch.object(networks, "network_reference", watched),
        patch.object(library, "usable", lambda *tensors: False),
    ):
        yield


def _citris_nf(prior: PriorConfig, name: str, target: Target | None, effort: Effort) -> list[Row]:
    """Our step and the plain one in turn, from the same weights, batches and noise.

    Floor: our step's products at the machine's rate, half of every masked matrix. Where there is a target, a second row
    shows the floor with these matrices counted whole, which is as low as dense products get.
    """
    generator = torch.Generator().manual_seed(0)
    sizes = CitrisNFConfig(latents=32, variables=9, flow_layers=4, flow_hidden=16, samples=8, hidden=64, prior=prior)
    encodings = torch.randn(FRAMES, sizes.latents, generator=generator)
    targets = (torch.rand(FRAMES, sizes.variables, generator=generator) < 0.1).to(torch.uint8)
    autoencoder = Autoencoder(AutoencoderConfig(width=32, latents=sizes.latents, channels=8, patch=2), generator)
    model = CitrisNF(sizes, autoencoder, generator)
    config = CausalTrainingConfig(steps=1, batch_size=BATCH, lr=1e-4, clip=1.0, classifier_lr=4e-4)
    task = CitrisNFTask(model, encodings, torch.arange(FRAMES - 1), targets, config)
    task.begin(generator)
    plain = PlainCitrisNF(model)
    batches = ShuffledBatches(FRAMES - 1, BATCH, config.seed)

    def plain_loss(step: int, generator: torch.Generator) -> Tensor:
        index = batches.at(step)
        pairs = torch.stack([torch.stack([encodings[i], encodings[i + 1]]) for i in index.tolist()])
        return plain.loss(pairs, targets[index], generator)

    plain.classifier.frozen.requires_grad_(False)
    main = [*plain.flow.parameters(), plain.logits, *plain.prior.parameters()]
    classifier = {"params": plain.classifier.network.parameters(), "lr": config.classifier_lr}
    groups: list[dict[str, Any]] = [{"params": main}, {**classifier, "weight_decay": CLASSIFIER_WEIGHT_DECAY}]
    model.train()
    plain.train()
    ours = our_step(task, config)
    theirs = plain_step(plain, plain_loss, groups, config)
    torch.testing.assert_close(ours(), torch.tensor(theirs()), rtol=1e-3, atol=1e-3)
    dense, needed = products(model, ours)
    taken = interleaved({"ours": ours, "plain": theirs, "product": matrix_product()}, effort)
    rate = product_rate(taken["product"])
    what = (
        f"CITRIS-NF step{name} ({BATCH} pairs, M {sizes.latents}, K {sizes.variables}, S {sizes.samples}, "
        f"F {sizes.flow_layers}, c {sizes.hidden})"
    )
    rows = [Row(what, "s", taken["ours"], taken["plain"], needed / rate, target)]
    if target is not None:
        rows.append(Row("  the same, masked matrices counted as dense", "s", taken["ours"], None, dense / rate))
    return rows
