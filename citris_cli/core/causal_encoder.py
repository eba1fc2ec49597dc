"""The causal encoder: a supervised network that reads the true factors of a frame, to measure other models with.

It sees what a predicted triplet shows, factor by factor, where an image distance only tells that something is off
(Lippe et al., 2022, section 6.1). It is trained with labels and is no part of any model that is measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from citris_cli.core.config import CausalEncoderConfig
from citris_cli.core.factors import Factor, half_range
from citris_cli.core.initialisation import initialise
from citris_cli.core.networks import ConvEncoder, GreyEncoder, at_least_float32

#: Continuous factors are learned in units in which their range is -2 … 2, that of Causal3DIdent's positions: then the
#: published loss is the same there, and a factor in pixels weighs no more than one in metres.
REACH = 2.0
#: Norm towards which the vector of an angle is drawn: away from 0, where its direction is lost.
NORM = 2.0


class ContinuousHead(nn.Linear):
    """``u = 2 tanh(v / 2)`` in -2 … 2 stands for the factor's range; squared error of u.

    Args:
        features: number of features c.
        factor: a continuous factor with a range.

    Raises:
        ValueError: the range is not known.
    """

    def __init__(self, features: int, factor: Factor) -> None:
        super().__init__(features, 1)
        self._unit = half_range(factor) / REACH
        self._centre = (factor.low or 0.0) + REACH * self._unit

    def value(self, outputs: Tensor) -> Tensor:
        """Outputs [B, 1] -> values [B] within the factor's range."""
        return self._centre + self._unit * self._bounded(outputs)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error of outputs [B, 1] against true values [B]; a range of -2 … 2 is its own unit."""
        return functional.mse_loss(self._bounded(outputs), (targets - self._centre) / self._unit)

    @staticmethod
    def _bounded(outputs: Tensor) -> Tensor:
        return REACH * torch.tanh(outputs[:, 0] / REACH)


class AngleHead(nn.Linear):
    """A vector v in the direction (sin, cos) of the angle; one minus its cosine similarity with the true direction.

    Args:
        features: number of features c.
        norm_penalty: weight of ``(2 - |v|)^2`` in training mode.
    """

    def __init__(self, features: int, norm_penalty: float) -> None:
        super().__init__(features, 2)
        self._norm_penalty = norm_penalty

    def value(self, outputs: Tensor) -> Tensor:
        """Outputs [B, 2] -> angles [B] in radians, 0 … 2 pi."""
        return torch.remainder(torch.atan2(outputs[:, 0], outputs[:, 1]), 2 * math.pi)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean of ``1 - cos(v, (sin, cos))``, in training mode + penalty; outputs [B, 2], true angles [B]."""
        direction = torch.stack([targets.sin(), targets.cos()], dim=-1)
        loss = (1 - functional.cosine_similarity(outputs, direction, dim=-1)).mean()
        if self.training:
            loss = loss + self._norm_penalty * (NORM - outputs.norm(dim=-1)).square().mean()
        return loss


class CategoricalHead(nn.Linear):
    """A logit a category; cross-entropy.

    Args:
        features: number of features c.
        factor: a categorical factor whose number of categories is known.

    Raises:
        ValueError: the number of categories is not known.
    """

    def __init__(self, features: int, factor: Factor) -> None:
        if factor.categories is None or factor.categories < 1:
            raise ValueError(f"factor {factor.name} has {factor.categories} categories")
        super().__init__(features, factor.categories)

    def value(self, outputs: Tensor) -> Tensor:
        """Logits [B, categories] -> the likeliest category [B], as a float."""
        return outputs.argmax(dim=-1).to(outputs.dtype)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of logits [B, categories] against true categories [B]."""
        return functional.cross_entropy(outputs, targets.long())


class CausalEncoder(nn.Module):
    """Images [B, C, W, W] in [-1, 1] -> values of F factors; one convolutional encoder, one linear head a factor.

    With ``config.shapes`` the heads also see what a :class:`~citris_cli.core.networks.GreyEncoder` sees, which learns
    how an object is turned once for all places.

    Args:
        config: sizes.
        factors: the F factors, in the order of the columns of their values. Continuous ones need a range, categorical
            ones a number of categories.
        generator: source of the random start.

    Raises:
        ValueError: a size that makes no network, no factor, or a factor whose range or kind is not known.
    """

    def __init__(
        self, config: CausalEncoderConfig, factors: Sequence[Factor], generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if not factors:
            raise ValueError("no factors")
        self.config = config
        self.factors = tuple(factors)
        self.encoder = ConvEncoder(
            config.width, config.channels, config.channels, config.patch, image_channels=config.image_channels
        )
        self.shapes = GreyEncoder(config.width, config.channels, config.image_channels) if config.shapes else None
        features = config.channels * (1 if self.shapes is None else 2)
        self.heads = nn.ModuleList([_head(config, features, factor) for factor in self.factors])
        initialise(self, generator)

    def predict(self, images: Tensor) -> Tensor:
        """Images [B, C, W, W] in [-1, 1] -> values [B, F]: own units, radians in 0 … 2 pi, whole numbers."""
        features = self._features(images)
        return torch.stack([head.value(at_least_float32(head(features))) for head in self._heads()], dim=-1)

    def loss(self, images: Tensor, truth: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum over the factors of their heads' losses.

        Args:
            images: [B, C, W, W] in [-1, 1].
            truth: true values [B, F].

        Returns:
            The scalar loss and its parts, detached: the sum over the factors of each kind that there is, by the name
            of the kind.
        """
        features = self._features(images)
        parts: dict[str, Tensor] = {}
        for factor, head, target in zip(self.factors, self._heads(), truth.unbind(-1), strict=True):
            loss = head.loss(at_least_float32(head(features)), target)
            parts[factor.kind] = parts[factor.kind] + loss if factor.kind in parts else loss
        return torch.stack(list(parts.values())).sum(), {kind: part.detach() for kind, part in parts.items()}

    def _features(self, images: Tensor) -> Tensor:
        features = self.encoder(images)
        return features if self.shapes is None else torch.cat([features, self.shapes(images).to(features.dtype)], dim=1)

    def _heads(self) -> list[ContinuousHead | AngleHead | CategoricalHead]:
        return list(self.heads)  # type: ignore[arg-type]


def _head(config: CausalEncoderConfig, features: int, factor: Factor) -> ContinuousHead | AngleHead | CategoricalHead:
    if factor.kind == "continuous":
        return ContinuousHead(features, factor)
    if factor.kind == "angle":
        return AngleHead(features, config.norm_penalty)
    if factor.kind == "categorical":
        return CategoricalHead(features, factor)
    raise ValueError(f"factor {factor.name} is of the unknown kind {factor.kind}")
