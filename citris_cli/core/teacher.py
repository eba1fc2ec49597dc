"""Dynamics as a teacher: what a variable does next tells what a frame shows of its causes.

How an object is turned is hard to see and worth little in a picture, so an autoencoder learns it last, or never. But if
the object then moves by where it points, its next place names the rotation in every step, as a noisy label would. Given
the causal latents z of a model that has found some variables, each with a block of its own, a code r of frame t learns
to predict them:

``mean_k -log N(z_k^{t+1}; mu_k, sigma_k)``, (mu_k, sigma_k) a network of ``(r^t, z_k^t, I_k^{t+1})``.

A variable's network sees of the other variables only what r holds. If it saw their latents, it could guess the causes
that r does not hold yet from those that go along with them in the sequence (a rotation from the hue that it follows),
and little would be left to learn from. The gradient goes to r alone: the teacher stays as it is.

What happened before tells as much, of effects: an object that turns to where a hue points shows the hue a step later.
So r learns to predict the hues of the frame before as well, in which it cannot see them, as it sees no colours:

``mean_k -log N(z_k^{t-1}; mu_k, sigma_k)``, (mu_k, sigma_k) a network of ``(r^t, z_shapes^t, I^t)``,

over the variables k that only colours show. z_shapes are the latents of all others; given, they need not be in r. The
past of these others would teach r what it sees of themselves, which hardly changes in a step.
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
    """What a teacher says of a frame t and its neighbours.

    Attributes:
        now: its causal latents of the frames [B, M], of unit variance, variable by variable.
        after: those of the frames after them [B, M].
        targets: intervention targets of the step between them, 0 or 1, [B, K].
        before: latents of the frames before them [B, M]; where there is none, anything.
        targets_before: intervention targets of the step from those [B, K].
        has_before: 1 where there is a frame before, otherwise 0, [B].
    """

    now: Tensor
    after: Tensor
    targets: Tensor
    before: Tensor
    targets_before: Tensor
    has_before: Tensor

    def and_of(self, others: Lesson) -> Lesson:
        """These frames' and those of others, in this order."""
        return Lesson(*(torch.cat(pair) for pair in zip(self, others, strict=True)))


def _network(inputs: int, latents: int) -> nn.Module:
    """Mean and log standard deviation of so many latents."""
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, 2 * latents)
    )


def _nll(latents: Tensor, predicted: Tensor) -> Tensor:
    """``-log N`` of latents [B, m], in nats, up to a constant; their means and log standard deviations are [B, 2m]."""
    mean, log_std = predicted.chunk(2, dim=1)
    log_std = log_std.clamp(LEAST_LOG_STD, MOST_LOG_STD)
    return log_std + 0.5 * ((latents - mean) / log_std.exp()).square()


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
        self.networks = nn.ModuleList(_network(features + size + 1, size) for size in self.blocks if size)
        initialise(self, generator)

    def nll(self, code: Tensor, lesson: Lesson) -> Tensor:
        """Mean over steps, variables with latents, and their latents, in nats, up to a constant.

        Args:
            code: r of the frames [B, R].
            lesson: of the steps from them.
        """
        sizes = list(self.blocks)
        parts = zip(
            lesson.now.split(sizes, dim=1), lesson.after.split(sizes, dim=1), lesson.targets.unbind(1), strict=True
        )
        networks, total = iter(self.networks), code.new_zeros(())
        for now, after, target in parts:
            if now.shape[1]:
                seen = torch.cat([code, now, target.to(code.dtype).unsqueeze(1)], dim=1)
                total = total + _nll(after, next(networks)(seen)).mean()
        return total / len(self.networks)


class PreviousColours(nn.Module):
    """``-log p(z_k^{t-1} | r^t, z_shapes^t, I^t)`` of every variable k that only colours show.

    Args:
        features: size R of the code r.
        blocks: number of latents of each of the K variables, some may have none.
        coloured: which of the variables only colours show [K]; at least one, which has latents.
        generator: source of the random start.
    """

    def __init__(
        self,
        features: int,
        blocks: Sequence[int],
        coloured: Sequence[bool],
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.blocks, self.coloured = tuple(blocks), tuple(coloured)
        shapes = sum(size for size, colour in zip(self.blocks, self.coloured, strict=True) if not colour)
        self.networks = nn.ModuleList(
            _network(features + shapes + len(self.blocks), size)
            for size, colour in zip(self.blocks, self.coloured, strict=True)
            if colour and size
        )
        initialise(self, generator)

    def nll(self, code: Tensor, lesson: Lesson) -> Tensor:
        """Mean over frames, coloured variables and their latents, in nats, up to a constant.

        Args:
            code: r of the frames [B, R].
            lesson: of these frames. Those without one before them count as 0.
        """
        sizes = list(self.blocks)
        now, before = lesson.now.split(sizes, dim=1), lesson.before.split(sizes, dim=1)
        shapes = [latents for latents, colour in zip(now, self.coloured, strict=True) if not colour]
        seen = torch.cat([code, *shapes, lesson.targets_before.to(code.dtype)], dim=1)
        has_before = lesson.has_before.to(code.dtype)
        networks, total = iter(self.networks), code.new_zeros(())
        for latents, colour in zip(before, self.coloured, strict=True):
            if colour and latents.shape[1]:
                total = total + (has_before * _nll(latents, next(networks)(seen)).mean(1)).mean()
        return total / len(self.networks)


class TaughtAutoencoder(nn.Module):
    """An autoencoder and what its grey latents are taught by.

    Args:
        autoencoder: one with grey latents.
        blocks: number of latents of each of the teacher's variables.
        coloured: which of the variables only colours show; if none of those has latents, the past teaches nothing.
        generator: source of the random start.
        augments: whether grey latents see frames augmented (:mod:`citris_cli.core.augmentation`), which keeps the
            lessons of a few frames from being known by heart.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        blocks: Sequence[int],
        coloured: Sequence[bool],
        generator: torch.Generator | None = None,
        augments: bool = False,
    ) -> None:
        super().__init__()
        self.autoencoder, self.augments = autoencoder, augments
        features = autoencoder.config.grey_latents
        self.next_values = NextValues(features, blocks, generator)
        hues = any(size and colour for size, colour in zip(blocks, coloured, strict=True))
        self.previous_colours = PreviousColours(features, blocks, coloured, generator) if hues else None

    def new_parameters(self) -> list[nn.Parameter]:
        """Those of all networks that the teacher's autoencoder may not have."""
        lessons = [*self.next_values.parameters()]
        if self.previous_colours is not None:
            lessons += self.previous_colours.parameters()
        return [*lessons, *self.autoencoder.grey_parameters()]

    def loss(
        self,
        images: Tensor,
        lesson: Lesson,
        others: Tensor,
        lesson_of_others: Lesson,
        generator: torch.Generator | None = None,
        weights: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The autoencoder's loss and, times :data:`WEIGHT`, the lesson's two parts.

        A lesson is noisy, and r alone costs little to compute: so it learns from more frames than are drawn.

        Args:
            images: [B, C, W, W] in [-1, 1].
            lesson: of these frames.
            others: more frames, for the lesson alone [B', C, W, W].
            lesson_of_others: of those.
            generator: source of noise.
            weights: of the pixels' squared errors, as of :meth:`Autoencoder.loss`.

        Returns:
            The scalar loss and its parts, detached: ``mse``, and, in nats, ``lesson`` of what happens next and
            ``past`` of earlier colours.
        """
        loss, parts, codes = self.autoencoder.loss_and_codes(images, generator, weights, self.augments)
        grey = codes[:, -self.autoencoder.config.grey_latents :].float()
        more = self.autoencoder.noisy_grey_latents(others, generator, self.augments)
        grey = torch.cat([grey, more.float()])
        lesson = lesson.and_of(lesson_of_others)
        lessons = {"lesson": self.next_values.nll(grey, lesson)}
        if self.previous_colours is not None:
            lessons["past"] = self.previous_colours.nll(grey, lesson)
        total = torch.stack(list(lessons.values())).sum()
        return loss + WEIGHT * total, {**parts, **{name: nll.detach() for name, nll in lessons.items()}}
