"""Whole training steps: batch, loss, gradients, clipping, AdamW, as the training loop takes them and as one would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.config import AutoencoderConfig
from citris_cli.core.ops.adamw import ClippedAdamW
from citris_cli.data.batches import ShuffledBatches
from citris_cli.data.frames import Frames
from citris_cli.training.autoencoder import AutoencoderTask
from citris_cli.training.config import AutoencoderTrainingConfig, TrainingConfig
from citris_cli.training.presets import autoencoder_preset
from citris_cli.training.processes import ALONE, BatchLoss
from citris_cli.training.record import LossWindow
from citris_cli.training.steps import SingleSteps
from citris_cli.training.task import Task
from tests.benchmarks.measure import Effort, Row, Target, counted, interleaved, matrix_product, product_rate
from tests.benchmarks.plain_autoencoder import PlainAutoencoder, as_images

FRAMES, BATCH = 1024, 64


def autoencoder_step(effort: Effort) -> list[Row]:
    """One step of the autoencoder at batch 64: the paper's sizes and the small preset, both forms in this process.

    Floor: our step's products at the machine's rate.
    """
    rows = []
    forms = ("paper", AutoencoderConfig(), Target("ratio", 1.8)), ("small", autoencoder_preset("small", 64)[0], None)
    for name, sizes, target in forms:
        ours, plain = autoencoder_forms(sizes)
        with counted() as counter:
            first = ours()
        torch.testing.assert_close(first, torch.tensor(plain()), rtol=1e-3, atol=1e-3)
        taken = interleaved({"ours": ours, "plain": plain, "product": matrix_product()}, effort)
        floor = counter.get_total_flops() / product_rate(taken["product"])
        rows.append(Row(autoencoder_title(name, sizes), "s", taken["ours"], taken["plain"], floor, target))
    return rows


def autoencoder_title(name: str, sizes: AutoencoderConfig) -> str:
    """What a row about a step of an autoencoder is called."""
    size = f"{sizes.width}x{sizes.width}"
    return f"autoencoder step, {name} (batch {BATCH}, {size}, c {sizes.channels}, M {sizes.latents})"


def autoencoder_forms(sizes: AutoencoderConfig) -> tuple[Callable[[], Tensor], Callable[[], float]]:
    """A training step of our autoencoder and one of the plain form, from the same weights, batch and noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (FRAMES, sizes.width, sizes.width, 3), dtype=np.uint8)
    config = AutoencoderTrainingConfig(steps=1, batch_size=BATCH, lr=1e-4, clip=0.1)
    model = Autoencoder(sizes, torch.Generator().manual_seed(0))
    plain = PlainAutoencoder(model)
    # As the command does.
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    task = AutoencoderTask(model, Frames([pixels]), None, config)
    batches = ShuffledBatches(FRAMES, BATCH, config.seed)
    frames = torch.from_numpy(pixels)

    def plain_loss(step: int, generator: torch.Generator) -> Tensor:
        return plain.loss(as_images(frames[batches.at(step)]), generator)

    model.train()
    plain.train()
    return our_step(task, config), plain_step(plain, plain_loss, [{"params": plain.parameters()}], config)


def our_step(task: Task, config: TrainingConfig) -> Callable[[], Tensor]:
    """A step of :func:`citris_cli.training.loop.train`, whose losses stay on the device until they are read."""
    optimizer = ClippedAdamW(task.parameter_groups(), config.clip)
    rates = [group["lr"] for group in optimizer.param_groups]
    window = LossWindow(torch.device("cpu"))
    taken = SingleSteps(BatchLoss(task, ALONE), optimizer, torch.Generator().manual_seed(0))
    steps = iter(range(1 << 30))

    def step() -> Tensor:
        losses = taken.take(next(steps), rates)
        window.add(losses)
        return losses["loss"]

    return step


def plain_step(
    model: nn.Module,
    loss_of: Callable[[int, torch.Generator], Tensor],
    groups: list[dict[str, Any]],
    config: TrainingConfig,
) -> Callable[[], float]:
    """The same with an optimiser that goes from weight to weight, and a loss that is read at every step."""
    optimizer = torch.optim.AdamW(groups, lr=config.lr, weight_decay=0.0, foreach=False)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    generator = torch.Generator(parameters[0].device).manual_seed(0)
    steps = iter(range(1 << 30))

    def step() -> float:
        loss = loss_of(next(steps), generator)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, config.clip, foreach=False)
        optimizer.step()
        return loss.item()

    return step
