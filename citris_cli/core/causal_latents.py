"""What CITRIS-NF and CITRIS-VAE share: causal latents z, their assignment, their prior, their target classifier.

The two differ in how an image becomes z: through a frozen autoencoder and a flow, or through the encoder of a VAE.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from citris_cli.core.assignment import CausalAssignment, with_psi_0
from citris_cli.core.autoregressive_prior import AutoregressiveTransitionPrior
from citris_cli.core.baseline_priors import ConditionalPrior, SlowPrior
from citris_cli.core.flow import NormalizingFlow
from citris_cli.core.target_classifier import TargetClassifier
from citris_cli.core.transition_prior import ImperfectMLPTransitionPrior, MLPTransitionPrior, TransitionPrior

#: Forms of the transition prior by the name that a configuration gives them.
PRIORS = ("mlp", "autoregressive")
#: Priors without an assignment, of what CITRIS is compared with.
BASELINES = ("ivae", "slow")


@dataclass(frozen=True)
class CausalLatentsConfig:
    """Sizes and loss of what is common to both models; the defaults are the published ones.

    Attributes:
        latents: number of latents M.
        variables: number of intervened causal variables K.
        flow_layers: layers F of the flow.
        flow_hidden: hidden units h a latent in the flow's autoregressive networks.
        hidden: width c of the MLP prior's and the classifier's networks.
        prior: form of the transition prior: ``mlp``, or ``autoregressive`` within each variable; or a baseline's,
            ``ivae`` or ``slow``, which knows no assignment.
        imperfect_interventions: whether a variable still depends on the past where it was intervened on.
        autoregressive_hidden: hidden units a latent of the autoregressive prior.
        classifier_layers: hidden layers of the target classifier.
        classifier_momentum: momentum of the classifier's frozen copy.
        classifier_weight: beta_classifier, weight of the loss that the classifier gives the latents.
        conditional_targets: whether latents of one variable may tell p(I_i | I_j) rather than p(I_i) alone.
        regulariser: lambda, the pull of uninformative latents into psi(0).
        temperature: of the Gumbel-softmax samples of the assignment.
    """

    latents: int = 32
    variables: int = 9
    flow_layers: int = 4
    flow_hidden: int = 16
    hidden: int = 64
    prior: str = "mlp"
    imperfect_interventions: bool = False
    autoregressive_hidden: int = 16
    classifier_layers: int = 1
    classifier_momentum: float = 0.0
    classifier_weight: float = 2.0
    conditional_targets: bool = True
    regulariser: float = 0.01
    temperature: float = 1.0


def transition_prior(config: CausalLatentsConfig, generator: torch.Generator | None = None) -> TransitionPrior:
    """The transition prior of the form that a configuration names.

    Raises:
        ValueError: there is no such form.
    """
    sizes = config.latents, config.variables
    if config.prior == "autoregressive":
        perfect = not config.imperfect_interventions
        return AutoregressiveTransitionPrior(
            *sizes, config.autoregressive_hidden, perfect, config.regulariser, generator
        )
    if config.prior == "ivae":
        return ConditionalPrior(*sizes, config.hidden, generator)
    if config.prior == "slow":
        return SlowPrior()
    if config.prior != "mlp":
        raise ValueError(f"prior is {config.prior!r}; it can be {', '.join((*PRIORS, *BASELINES))}")
    form = ImperfectMLPTransitionPrior if config.imperfect_interventions else MLPTransitionPrior
    return form(*sizes, config.hidden, config.regulariser, generator)


def require_at_least(least: int, config: object, sizes: Sequence[str]) -> None:
    """Refuse a configuration with a size that is too small.

    Args:
        least: smallest size that makes a model.
        config: the configuration.
        sizes: names of its fields.

    Raises:
        ValueError: a size is smaller.
    """
    for name in sizes:
        if getattr(config, name) < least:
            raise ValueError(f"{name} is {getattr(config, name)}; it must be at least {least}")


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
        sizes = "latents", "variables", "flow_hidden", "hidden", "autoregressive_hidden", "classifier_layers"
        require_at_least(1, config, sizes)
        self.config = config
        self.flow = NormalizingFlow(config.latents, config.flow_layers, config.flow_hidden, generator)
        self.assignment = CausalAssignment(config.latents, config.variables, config.temperature)
        self.prior = transition_prior(config, generator)
        self.classifier = TargetClassifier(
            config.latents,
            config.variables,
            config.hidden,
            config.classifier_layers,
            config.classifier_momentum,
            config.conditional_targets,
            generator,
        )
        # What no loss reaches does not learn, and says so to whoever collects gradients.
        if config.classifier_weight == 0:
            self.classifier.requires_grad_(False)
        if config.prior in BASELINES:
            self.assignment.requires_grad_(False)

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Images [B, 3, W, W] in [-1, 1] -> causal latents z [B, M], without noise."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Causal latents z [B, M] -> images [B, 3, W, W] in [-1, 1]; no gradient through the inverse flow."""

    def pull(self, factor: float | Tensor) -> None:
        """From now on pull into psi(0) with a multiple of the configured lambda, 0 … 1 early in a training.

        A scalar on the device counts with the value that it has when a loss is computed.
        """
        self.prior.regulariser = factor * self.config.regulariser

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
