"""What CITRIS-NF and CITRIS-VAE share: causal latents z, their assignment, their prior, their target classifier.

The two differ in how an image becomes z: through a frozen autoencoder and a flow, or through the encoder of a VAE.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from citris_cli.core.assignment import CausalAssignment, with_psi_0
from citris_cli.core.config import CausalLatentsConfig, require_within_bounds
from citris_cli.core.flow import NormalizingFlow
from citris_cli.core.graph_classifier import GraphTargetClassifier
from citris_cli.core.priors import Given, build_prior
from citris_cli.core.priors.base import Setting
from citris_cli.core.target_classifier import TargetClassifier

#: What of a loss changes over a training, by name; what is not there is as at its end.
Schedule = Mapping[str, Setting]
#: A loss as it is outside of a training.
AT_ITS_END: Schedule = MappingProxyType({})
#: Before the names of what the prior itself says of it.
OF_PRIOR = "prior."


class CausalLatentsModel(nn.Module, ABC):
    """Flow, assignment psi, transition prior and target classifier; a model adds what leads from images to the flow.

    Args:
        config: sizes and loss.
        generator: source of the random start.

    Raises:
        ValueError: a size that makes no model, or no such prior.
    """

    config: CausalLatentsConfig

    def __init__(self, config: CausalLatentsConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        require_within_bounds(config)
        self.config = config
        self.flow = NormalizingFlow(config.latents, config.flow_layers, config.flow_hidden, generator)
        prior = build_prior(config.prior, config.latents, config.variables, config.hidden, generator)
        self.assignment = CausalAssignment(config.latents, config.variables, config.temperature, prior.rest)
        self.prior = prior
        self.classifier: TargetClassifier | GraphTargetClassifier = prior.target_classifier(config, generator)
        # What no loss reaches does not learn, and says so to whoever collects gradients.
        if config.classifier_weight == 0:
            self.classifier.requires_grad_(False)
        if not self.prior.assigns:
            self.assignment.requires_grad_(False)

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Images [B, C, W, W] in [-1, 1] -> causal latents z [B, M], without noise."""

    @abstractmethod
    def encode_noisy(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Images [B, C, W, W] in [-1, 1] -> causal latents z [B, M], with the noise that they had in training.

        Args:
            images: see above.
            generator: source of the noise, on the CPU.
        """

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Causal latents z [B, M] -> images [B, C, W, W] in [-1, 1]; no gradient through the inverse flow."""

    def noisy(self, z: Tensor, generator: torch.Generator) -> Tensor:
        """Causal latents [B, M] with the noise that they had in training, where that is the same for every frame.

        The prior has learned what follows such latents, and its samples are like them.

        Args:
            z: causal latents of frames, without noise [B, M].
            generator: source of the noise, on the CPU.
        """
        return z

    def schedule(self, progress: float) -> dict[str, float]:
        """What of the loss changes over a training, at a share of its steps, 0 … 1: the share itself and the prior's.

        A loss takes them, and whatever a training adds, as its one argument ``schedule``.
        """
        own = self.prior.schedule(progress)
        return {"progress": progress, **{f"{OF_PRIOR}{name}": value for name, value in own.items()}}

    def given(self, targets: Tensor, psi: Tensor, generator: torch.Generator | None, schedule: Schedule) -> Given:
        """What the prior is given of a batch.

        Args:
            targets: [B, K].
            psi: sampled assignments [B, M, K+1].
            generator: source of what the prior draws.
            schedule: as the loss was given it.
        """
        own = {name[len(OF_PRIOR) :]: value for name, value in schedule.items() if name.startswith(OF_PRIOR)}
        probabilities = self.assignment.probabilities()
        return Given(targets, probabilities, psi, generator, schedule.get("progress", 1.0), own)

    def combine(self, z_1: Tensor, z_2: Tensor, mask: Tensor) -> Tensor:
        """Latents of a triplet: those of variable k from image 2 where ``mask[:, k]`` is 1, all others from image 1.

        Args:
            z_1: causal latents of image 1 [B, M].
            z_2: causal latents of image 2 [B, M].
            mask: 0 or 1 for each variable [B, K]; latents of psi(0) come from image 1.

        Returns:
            Causal latents [B, M].
        """
        return torch.where(with_psi_0(mask)[:, self.assignment.hard()].bool(), z_2, z_1)
