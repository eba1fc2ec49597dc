"""Training of the image autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.ops import shares
from citris_cli.data.batches import ShuffledBatches
from citris_cli.data.frames import Frames, as_model_input
from citris_cli.training.config import AutoencoderTrainingConfig
from citris_cli.training.reconstructions import Pictures, reconstruction_error
from citris_cli.training.task import Schedule

#: Frames of which the variance of every pixel is taken, at most, and as many of them at once.
VARIANCE_FRAMES, VARIANCE_PART = 5_000, 250
#: Frames that tell whether little ever changes, at most.
SEEN_AT_FIRST = 2_000
#: What is added to a pixel's variance, as a share of the mean one: noise where nothing moves must not count.
STILL = 0.1
#: Where the median of the pixels' variances is below this share of their mean, little ever changes: it is 0.004 in
#: Pinball, 0.1 in Pong and Ball-in-Boxes, 0.6 in Temporal Causal3DIdent and 1.2 in Voronoi.
STILL_HALF = 0.25


def with_permuted_colours(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Frames uint8 [B, H, W, C], each with its three colours in an order of its own, all six being as likely.

    Channels after the third stay where they are; grey frames stay as they are.

    Args:
        frames: on the generator's device.
        generator: source of the orders.
    """
    if frames.shape[3] < 3:
        return frames
    order = shares.noise(torch.rand, (len(frames), 3), torch.empty(0, device=frames.device), generator).argsort(1)
    others = torch.arange(3, frames.shape[3], device=frames.device).expand(len(frames), -1)
    order = torch.cat([order, others], dim=1)
    return frames.gather(3, order[:, None, None, :].expand_as(frames))


def balancing_weights(frames: Frames, balance: float, permuted: bool = False) -> Tensor:
    """Weights of the pixels' squared errors, in proportion to ``(v / mean v + 0.1)^-balance`` of a pixel's variance v.

    They leave the error of the mean picture, the sum of all variances, as it is, so that what there is to gain weighs
    as much against the penalty on encodings as without them.

    Args:
        frames: training frames; of many, some that are spread over all are looked at.
        balance: 0 … 1.
        permuted: whether the first three channels are shown in any order; then they have their mean variance.

    Returns:
        float32 [C, H, W] on the frames' device.
    """
    variance = _pixel_variance(frames, VARIANCE_FRAMES)
    if permuted and len(variance) >= 3:
        variance = torch.cat([variance[:3].mean(0).expand(3, -1, -1), variance[3:]])
    if not variance.any():  # of a single picture
        return torch.ones_like(variance, dtype=torch.float32).to(frames.device)
    weights = (variance / variance.mean() + STILL) ** -balance
    return (weights * (variance.sum() / (weights * variance).sum())).float().to(frames.device)


def mostly_still(frames: Frames) -> bool:
    """Whether little of the frames ever changes: half of the pixels have less than a quarter of the mean variance.

    What does change is small then or in few places, and the plain error has little to gain from drawing it.
    """
    variance = _pixel_variance(frames, SEEN_AT_FIRST)
    return bool(variance.median() < STILL_HALF * variance.mean())


def _pixel_variance(frames: Frames, most: int) -> Tensor:
    """Variance of every pixel [C, H, W] of intensities 0 … 1, double precision on the CPU.

    Of more than ``most`` frames, so many that are spread over all are looked at.
    """
    count = min(len(frames), most)
    index = torch.arange(count, device=frames.storage) * len(frames) // count
    first = second = torch.zeros(())
    for part in index.split(VARIANCE_PART):
        pixels = frames.gather(part).double() / 255
        first, second = first + pixels.sum(0).cpu(), second + pixels.square().sum(0).cpu()
    return (second / count - (first / count).square()).clamp(min=0).permute(2, 0, 1)


class AutoencoderTask:
    """Frames in shuffled batches, AdamW on all weights, reconstruction error on held-out frames.

    Args:
        model: the autoencoder, on its device.
        frames: training frames.
        held_out: frames for validation, or None: then the first training frames are measured, under another name.
        config: how to train.
        pictures: called at every validation with originals and reconstructions, uint8 [n, H, W, C] each.

    Attributes:
        weights: of the pixels' squared errors [C, H, W], or None for 1 everywhere.
    """

    unit = "frames"
    criterion: str | None = None

    def __init__(
        self,
        model: Autoencoder,
        frames: Frames,
        held_out: Frames | None,
        config: AutoencoderTrainingConfig,
        pictures: Pictures | None = None,
    ) -> None:
        self.model: nn.Module = model
        self._autoencoder = model
        self._config = config
        self._frames = frames
        self._measured = held_out if held_out is not None else frames
        self._measure = "val_mse" if held_out is not None else "train_mse"
        self._pictures = pictures
        self._batches = ShuffledBatches(len(frames), config.batch_size, config.seed, frames.storage)
        permuted = config.permute_colours
        self.weights = balancing_weights(frames, config.balance, permuted) if config.balance > 0 else None
        self.samples = self._batches.n
        self.batch_size = self._batches.batch_size

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All weights at one rate."""
        return [{"params": list(self.model.parameters()), "lr": self._config.lr}]

    def begin(self, generator: torch.Generator) -> None:
        """Nothing depends on the first batch."""

    def batch(self, step: int) -> tuple[Tensor, ...]:
        """Frames uint8 [B, H, W, C]."""
        return (self._frames.gather(shares.own(self._batches.at(step))),)

    def schedule(self, step: int) -> dict[str, float]:
        """Nothing changes over time."""
        return {}

    def loss(
        self, batch: Sequence[Tensor], schedule: Schedule, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch; see :meth:`Autoencoder.loss`."""
        return self._autoencoder.loss(self.shown(batch[0], generator), generator, self.weights)

    def shown(self, frames: Tensor, generator: torch.Generator) -> Tensor:
        """Frames uint8 [B, H, W, C] as the network is to see them, [B, C, H, W] in [-1, 1]."""
        if self._config.permute_colours:
            frames = with_permuted_colours(frames, generator)
        return as_model_input(frames)

    def settle(self) -> None:
        """Steps teach the model everything."""

    def validate(self) -> dict[str, float]:
        """Mean squared error per pixel and channel, images in [-1, 1], in evaluation mode without noise."""
        training = self._autoencoder.training
        self._autoencoder.eval()
        error = reconstruction_error(self._autoencoder, self._measured, self._pictures)
        self._autoencoder.train(training)
        return {self._measure: error}
