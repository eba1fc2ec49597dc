"""Tiny trainings of the real models, for the tests of the loop."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.causal_encoder import CausalEncoder
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.core.config import (
    AutoencoderConfig,
    CausalEncoderConfig,
    CitrisNFConfig,
    CitrisVAEConfig,
    ICitrisPriorConfig,
)
from citris_cli.core.teacher import TaughtAutoencoder
from citris_cli.data.batches import window_starts
from citris_cli.data.frames import Frames
from citris_cli.data.variables import Variable
from citris_cli.training.autoencoder import AutoencoderTask
from citris_cli.training.causal_encoder import CausalEncoderTask, Labelled
from citris_cli.training.citris_nf import CitrisNFTask
from citris_cli.training.citris_vae import CitrisVAETask
from citris_cli.training.config import (
    AutoencoderTrainingConfig,
    CausalTrainingConfig,
    TrainingConfig,
    VAETrainingConfig,
)
from citris_cli.training.files import RunFiles
from citris_cli.training.teacher import Lessons, TaughtAutoencoderTask

STEPS = 12


def autoencoder_task(config: TrainingConfig, device: str = "cpu") -> AutoencoderTask:
    """Frames of noise, learned by a very small network."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    sizes = AutoencoderConfig(width=32, latents=3, channels=4, decoder_blocks=1, patch=2)
    model = Autoencoder(sizes, torch.Generator().manual_seed(config.seed))
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload] - as the command does
    common = {field.name: getattr(config, field.name) for field in dataclasses.fields(TrainingConfig)}
    own = AutoencoderTrainingConfig(**common, permute_colours=True)
    return AutoencoderTask(model.to(device), Frames([pixels[:15]]).to(device), Frames([pixels[15:]]).to(device), own)


def taught_autoencoder_task(config: TrainingConfig, device: str = "cpu") -> TaughtAutoencoderTask:
    """Frames of noise, and lessons of noise on them, for an autoencoder with grey latents."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    sizes = AutoencoderConfig(width=32, latents=4, channels=4, decoder_blocks=1, patch=2, grey_latents=2)
    weights, draw = torch.Generator().manual_seed(config.seed), torch.Generator().manual_seed(9)
    model = TaughtAutoencoder(Autoencoder(sizes, weights), (1, 2), (False, True), weights, augments=True)
    model = model.to(device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    targets = (torch.rand(20, 2, generator=draw) < 0.4).float().to(device)
    latents = torch.randn(20, 3, generator=draw).to(device)
    lessons = Lessons(latents, (1, 2), targets, torch.arange(19), (False, True))
    common = {field.name: getattr(config, field.name) for field in dataclasses.fields(TrainingConfig)}
    frames = Frames([pixels]).to(device)
    return TaughtAutoencoderTask(model, frames, lessons, None, AutoencoderTrainingConfig(**common))


def citris_nf_task(config: TrainingConfig, device: str = "cpu", **changes: Any) -> CitrisNFTask:
    """Encodings of noise with two targets, learned by a very small flow; ``changes`` are of its settings."""
    assert isinstance(config, CausalTrainingConfig)
    generator = torch.Generator().manual_seed(9)
    encodings = 3 * torch.randn(30, 3, generator=generator) + 1
    targets = (torch.rand(30, 2, generator=generator) < 0.4).to(torch.uint8)
    weights = torch.Generator().manual_seed(config.seed)
    autoencoder = Autoencoder(AutoencoderConfig(width=32, latents=3, channels=4, patch=2), weights)
    sizes = CitrisNFConfig(latents=3, variables=2, flow_layers=2, flow_hidden=3, samples=2, hidden=4)
    sizes = dataclasses.replace(sizes, **changes)
    model = CitrisNF(sizes, autoencoder, weights).to(device)
    return CitrisNFTask(model, encodings.to(device), torch.arange(29), targets, config)


def citris_vae_task(config: TrainingConfig, device: str = "cpu", **changes: Any) -> CitrisVAETask:
    """Windows of three frames of noise with two targets, learned by a very small VAE whose divergence comes slowly.

    ``changes`` are of its settings.
    """
    common = {field.name: getattr(config, field.name) for field in dataclasses.fields(CausalTrainingConfig)}
    generator = torch.Generator().manual_seed(9)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    targets = (torch.rand(20, 2, generator=generator) < 0.4).to(torch.uint8)
    sizes = CitrisVAEConfig(
        latents=3, variables=2, flow_layers=2, flow_hidden=3, hidden=4, width=32, channels=4, patch=2
    )
    sizes = dataclasses.replace(sizes, **changes)
    model = CitrisVAE(sizes, torch.Generator().manual_seed(config.seed))
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload] - as the command does
    starts = window_starts(torch.arange(19), 3)
    vae_config = VAETrainingConfig(**common, seq_len=3, kl_warmup=6)
    frames, held_out = Frames([pixels]).to(device), Frames([pixels[:5]]).to(device)
    return CitrisVAETask(model.to(device), frames, starts, targets, held_out, vae_config)


def causal_encoder_task(config: TrainingConfig, device: str = "cpu") -> CausalEncoderTask:
    """Frames of noise with a label of each kind, learned by a very small network."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    truth = np.stack([rng.uniform(0, 4, 20), rng.uniform(0, 6, 20), rng.integers(0, 3, 20)], axis=1)
    factors = [
        Variable("x", "continuous", 0.0, 4.0), Variable("a", "angle"), Variable("s", "categorical", categories=3)
    ]  # fmt: skip
    weights = torch.Generator().manual_seed(config.seed)
    model = CausalEncoder(CausalEncoderConfig(width=32, channels=4, patch=2), factors, weights)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload] - as the command does
    labels = torch.from_numpy(truth.astype(np.float32))
    seen, held_out = Labelled(Frames([pixels[:15]]), labels[:15]), Labelled(Frames([pixels[15:]]), labels[15:])
    on = torch.device(device)
    return CausalEncoderTask(model.to(device), seen.to(on), held_out.to(on), config)


AnyTask = AutoencoderTask | TaughtAutoencoderTask | CitrisNFTask | CitrisVAETask | CausalEncoderTask
#: Of iCITRIS, so that few steps at the tests' rates move its graph, too.
INSTANTANEOUS = ICitrisPriorConfig(graph_samples=4, graph_rate=20.0, graph_start=0.0, ancestors=0.5)
TASKS: dict[str, Callable[..., AnyTask]] = {
    "autoencoder": autoencoder_task,
    "taught autoencoder": taught_autoencoder_task,
    "citris_nf": citris_nf_task,
    "citris_vae": citris_vae_task,
    "causal_encoder": causal_encoder_task,
    "icitris_nf": partial(citris_nf_task, prior=INSTANTANEOUS),
    "icitris_vae": partial(
        citris_vae_task,
        flow_layers=0,
        prior=replace(INSTANTANEOUS, graph_learning="notears", psi0=False, autoregressive=True),
    ),
}


def settings(steps: int = STEPS, lr: float = 0.01, seed: int = 0) -> CausalTrainingConfig:
    """How the tiny trainings are trained; up to 100 steps every one of them is logged."""
    return CausalTrainingConfig(steps=steps, batch_size=4, lr=lr, clip=1.0, warmup=3, seed=seed)


def files_in(folder: Path) -> RunFiles:
    return RunFiles(folder / "m.safetensors", folder / "m", {"seed": 0})


class Display:
    """Remembers what the loop reported."""

    def __init__(self) -> None:
        self.updates: list[tuple[int, float, dict[str, float]]] = []

    def update(self, step: int, rate_per_second: float, losses: dict[str, float]) -> None:
        self.updates.append((step, rate_per_second, losses))


def signal_at(task: AnyTask, step: int, number: signal.Signals) -> None:
    """Let the task receive a signal while it takes a step (counted from 0)."""
    watched(task, lambda at: signal.raise_signal(number) if at == step else None)


def spoiled_at(task: AnyTask, step: int, spoil: Callable[[Tensor], Tensor]) -> AnyTask:
    """The task with its loss changed at a step (counted from 0) and after it."""
    original, reached = task.loss, [0]

    def remember(at: int) -> None:
        reached[0] = at

    def loss(*given: Any) -> tuple[Tensor, dict[str, Tensor]]:
        value, parts = original(*given)
        return (spoil(value) if reached[0] >= step else value), parts

    watched(task, remember)
    task.loss = loss  # type: ignore[method-assign]
    return task


def watched(task: AnyTask, watch: Callable[[int], object]) -> None:
    """Call a function with the number of every step (from 0) before its batch is made."""
    original = task.batch

    def batch(at: int) -> tuple[Tensor, ...]:
        watch(at)
        return original(at)

    task.batch = batch  # type: ignore[method-assign]


def loss_at(task: AnyTask, step: int, seed: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of a step's batch and its parts, with noise of its own."""
    return task.loss(task.batch(step), task.schedule(step), torch.Generator().manual_seed(seed))
