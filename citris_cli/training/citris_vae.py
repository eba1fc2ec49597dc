"""Training of CITRIS-VAE on windows of consecutive frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.core.ops import shares
from citris_cli.data.batches import ShuffledBatches
from citris_cli.data.frames import Frames, as_model_input, sent
from citris_cli.evaluation.validation import CRITERION
from citris_cli.training.causal_latents import parameter_groups
from citris_cli.training.config import VAETrainingConfig
from citris_cli.training.reconstructions import Pictures, reconstruction_error
from citris_cli.training.task import Schedule

#: Windows that a validation looks at.
VALIDATION_WINDOWS = 512


class CitrisVAETask:
    """Windows of consecutive frames in shuffled batches; AdamW with a rate of its own for the target classifier.

    Args:
        model: CITRIS-VAE, on its device.
        frames: N training frames, whose batches come on that device.
        starts: index of the first frame of every window, int64 [P], at least one; see
            :func:`~citris_cli.data.batches.window_starts`.
        targets: uint8 [N, K], row i the targets of the step from frame i to i+1.
        held_out: frames whose reconstructions are measured and shown, or None: then it is training frames.
        config: how to train.
        evaluate: measures the model on held-out data, in evaluation mode; one of its measures is
            :data:`~citris_cli.evaluation.validation.CRITERION`, by which the best model is kept. None to keep the
            last.
        pictures: called at every validation with originals and reconstructions, uint8 [n, H, W, C] each.
        assign: gives the latents of a model whose prior learns no assignment to variables, or None.
    """

    unit = "windows"

    def __init__(
        self,
        model: CitrisVAE,
        frames: Frames,
        starts: Tensor,
        targets: Tensor,
        held_out: Frames | None,
        config: VAETrainingConfig,
        evaluate: Callable[[], dict[str, float]] | None = None,
        pictures: Pictures | None = None,
        assign: Callable[[], None] | None = None,
    ) -> None:
        self._assign = assign
        self.criterion = CRITERION if evaluate is not None else None
        self.model = model
        self._evaluate = evaluate
        self._pictures = pictures
        self._config = config
        self._frames = frames
        self._device = next(model.parameters()).device
        self._starts = starts.to(frames.storage)
        self._targets = targets.to(self._device)
        self._measured = held_out if held_out is not None else frames
        self._measure = "val_mse" if held_out is not None else "train_mse"
        self._batches = ShuffledBatches(len(starts), config.batch_size, config.seed, frames.storage)
        self.samples = self._batches.n
        self.batch_size = self._batches.batch_size

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Networks, flow, assignment and prior at the main rate; the classifier at its own, with weight decay."""
        return parameter_groups(self.model, self._config)

    def begin(self, generator: torch.Generator) -> None:
        """The first batch sets the flow's ActNorms."""
        frames, _ = self.batch(0)
        noise_scale = self.schedule(0)["noise_scale"]
        self.model.initialise_flow(_images(frames).flatten(0, 1), generator, noise_scale)

    def batch(self, step: int) -> tuple[Tensor, ...]:
        """Frames uint8 [B, T, W, W, C] and targets [B, T-1, K] of windows."""
        return self._windows(shares.own(self._batches.at(step)))

    def schedule(self, step: int) -> dict[str, float]:
        """Factors on the divergence's weight and on the noise, and what the model says."""
        progress = step / self._config.steps
        return {**self._config.schedule(progress), **self.model.schedule(progress)}

    def loss(
        self, batch: Sequence[Tensor], schedule: Schedule, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch; see :meth:`CitrisVAE.loss`."""
        frames, targets = batch
        return self.model.loss(_images(frames), targets, generator, schedule)

    def settle(self) -> None:
        """Give latents to variables where the prior does not, if there is something to do so by."""
        if self._assign is not None:
            self._assign()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Measures in evaluation mode.

        Returns:
            ``train_kl`` (nats a frame) and ``train_reconstruction`` (summed squared error a frame) of windows spread
            over the sequence; ``val_mse`` (per pixel and channel, images in [-1, 1], without noise) of held-out frames,
            ``train_mse`` where there are none; whatever ``evaluate`` measures.
        """
        training = self.model.training
        self.model.eval()
        generator = torch.Generator(device=self._device).manual_seed(0)
        count = min(VALIDATION_WINDOWS, len(self._starts))
        index = torch.linspace(0, len(self._starts) - 1, count).round().long()
        measures = {"train_kl": 0.0, "train_reconstruction": 0.0}
        for chunk in index.split(64):
            frames, targets = self._windows(chunk)
            _, parts = self.model.loss(_images(frames), targets, generator)
            for name in ("kl", "reconstruction"):
                measures[f"train_{name}"] += float(parts[name]) * len(chunk) / count
        measures[self._measure] = reconstruction_error(self.model, self._measured, self._pictures)
        if self._evaluate is not None:
            measures |= self._evaluate()
        self.model.train(training)
        return measures

    def _windows(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Frames uint8 [B, T, W, W, C] and targets [B, T-1, K] of the windows at an index [B]."""
        first = self._starts[sent(index, self._starts.device)]
        places = first.unsqueeze(1) + torch.arange(self._config.seq_len, device=first.device)
        frames = self._frames.gather(places.flatten()).unflatten(0, places.shape)
        return frames, self._targets[sent(places[:, :-1], self._targets.device)]


def _images(frames: Tensor) -> Tensor:
    """Frames uint8 [B, T, W, W, C] -> images [B, T, C, W, W] in [-1, 1]."""
    return as_model_input(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
