"""Dynamics as a teacher: what a variable does next tells what a frame shows of its causes.

How an object is turned is hard to see and worth little in a picture, so an autoencoder learns it last, or never. But if
the object then moves by where it points, its next place names the rotation in every step, as a noisy label would. Given
the causal latents z of a model that has found some variables, each with a block of its own, a code r of frame t learns
to predict them:

``mean_k -log N(z_k^{t+1}; mu_k, sigma_k)``, (mu_k, sigma_k) a network of ``(r^t, z_k^t, I_k^{t+1})``.

A variable's network sees of the other variables only what r holds. If it saw their latents, it could guess the causes
that r does not hold yet from those that go along with them in the sequence (a rotation from the hue that it follows),
and little would be left to learn from. The gradient goes to r alone: the teacher stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.initialisation import initialise

#: Width of a variable's network.
HIDDEN = 64
#: Bounds of the log standard deviations, where latents have unit variance.
LEAST_LOG_STD, MOST_LOG_STD = -4.0, 2.0
#: Weight of the lesson, in nats, beside the mean squared error: a tenth of a nat weighs as much as 0.001 of that.
WEIGHT = 0.01


class Lesson(NamedTuple):
    """What a teacher says of a step.

    Attributes:
        before: its causal latents of the frames [B, M], of unit variance, variable by variable.
        after: those of the frames after them [B, M].
        targets: intervention targets of the step between them, 0 or 1, [B, K].
    """

    before: Tensor
    after: Tensor
    targets: Tensor


class NextValues(nn.Module):
    """``-log p(z_k^{t+1} | r^t, z_k^t, I_k)`` of every variable k, each by a network of its own with two hidden layers.

    Args:
        features: size R of the code r.
        blocks: number of latents of each of the K variables, some may have none.
        generator: source of the random start.
    """

    def __init__(self, features: int, blocks: Sequence[int], generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.blocks = tuple(blocks)
        self.networks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(features + size + 1, HIDDEN),
                nn.SiLU(),
                nn.Linear(HIDDEN, HIDDEN),
                nn.SiLU(),
                nn.Linear(HIDDEN, 2 * size),
            )
            for size in self.blocks
            if size
        )
        initialise(self, generator)

    def nll(self, code: Tensor, lesson: Lesson) -> Tensor:
        """Mean over steps, variables with latents, and their latents, in nats, up to a constant.

        Args:
            code: r of the frames [B, R].
            lesson: of the steps from them.
        """
        sizes = list(self.blocks)
        parts = zip(
            lesson.before.split(sizes, dim=1), lesson.after.split(sizes, dim=1), lesson.targets.unbind(1), strict=True
        )
        networks, total = iter(self.networks), code.new_zeros(())
        for before, after, target in parts:
            if before.shape[1] == 0:
                continue
            seen = torch.cat([code, before, target.to(code.dtype).unsqueeze(1)], dim=1)
            mean, log_std = next(networks)(seen).chunk(2, dim=1)
            log_std = log_std.clamp(LEAST_LOG_STD, MOST_LOG_STD)
            total = total + (log_std + 0.5 * ((after - mean) / log_std.exp()).square()).mean()
        return total / len(self.networks)


class TaughtAutoencoder(nn.Module):
    """An autoencoder and what its grey latents are taught by.

    Args:
        autoencoder: one with grey latents.
        blocks: number of latents of each of the teacher's variables.
        generator: source of the random start.
    """

    def __init__(
        self, autoencoder: Autoencoder, blocks: Sequence[int], generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.next_values = NextValues(autoencoder.config.grey_latents, blocks, generator)

    def loss(
        self,
        images: Tensor,
        lesson: Lesson,
        generator: torch.Generator | None = None,
        weights: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The autoencoder's loss and, times :data:`WEIGHT`, the lesson's.

        Args:
            images: [B, C, W, W] in [-1, 1].
            lesson: of the steps from these frames.
            generator: source of noise.
            weights: of the pixels' squared errors, as of :meth:`Autoencoder.loss`.

        Returns:
            The scalar loss and its parts, detached: ``mse``, and ``lesson`` in nats.
        """
        loss, parts, codes = self.autoencoder.loss_and_codes(images, generator, weights)
        nll = self.next_values.nll(codes[:, -self.autoencoder.config.grey_latents :].float(), lesson)
        return loss + WEIGHT * nll, {**parts, "lesson": nll.detach()}
