"""CITRIS-NF: a normalizing flow on a frozen autoencoder's latents that sorts them by causal variable.

Lippe et al., "CITRIS: Causal Identifiability from Temporal Intervened Sequences", ICML 2022, section 4.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from citris_cli.core.assignment import CausalAssignment
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.flow import NormalizingFlow
from citris_cli.core.target_classifier import TargetClassifier
from citris_cli.core.transition_prior import MLPTransitionPrior


@dataclass(frozen=True)
class CitrisNFConfig:
    """Sizes and loss of CITRIS-NF; the defaults are the published ones.

    Attributes:
        latents: number of latents M, those of the autoencoder.
        variables: number of intervened causal variables K.
        flow_layers: layers F of the flow.
        flow_hidden: hidden units h a latent in the flow's autoregressive networks.
        samples: noisy copies S of every encoding.
        noise: standard deviation sigma of that noise, the autoencoder's.
        hidden: width c of the prior's and the classifier's networks.
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
    samples: int = 8
    noise: float = 0.05
    hidden: int = 64
    classifier_layers: int = 1
    classifier_momentum: float = 0.0
    classifier_weight: float = 2.0
    conditional_targets: bool = True
    regulariser: float = 0.01
    temperature: float = 1.0


class CitrisNF(nn.Module):
    """The flow, the assignment psi, the transition prior and the target classifier, around a frozen autoencoder.

    Args:
        config: sizes and loss.
        autoencoder: trained autoencoder with ``config.latents`` latents; its weights are frozen here.
        generator: source of the random start.
    """

    def __init__(
        self, config: CitrisNFConfig, autoencoder: Autoencoder, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.autoencoder = autoencoder.requires_grad_(False).eval()
        self.flow = NormalizingFlow(config.latents, config.flow_layers, config.flow_hidden, generator)
        self.assignment = CausalAssignment(config.latents, config.variables, config.temperature)
        self.prior = MLPTransitionPrior(config.latents, config.variables, config.hidden, config.regulariser, generator)
        self.classifier = TargetClassifier(
            config.latents,
            config.variables,
            config.hidden,
            config.classifier_layers,
            config.classifier_momentum,
            config.conditional_targets,
            generator,
        )

    def train(self, mode: bool = True) -> CitrisNF:
        """Training mode for all but the autoencoder, whose batch statistics stay those it was trained with."""
        super().train(mode)
        self.autoencoder.eval()
        return self

    def encode(self, images: Tensor) -> Tensor:
        """Images [B, 3, W, W] in [-1, 1] -> causal latents z [B, M]."""
        return self.flow(self.autoencoder.encode(images))[0]

    def decode(self, z: Tensor) -> Tensor:
        """Causal latents z [B, M] -> images [B, 3, W, W] in [-1, 1], through the inverse flow; no gradient."""
        return self.autoencoder.decode(self.flow.inverse(z))

    def combine(self, z_1: Tensor, z_2: Tensor, mask: Tensor) -> Tensor:
        """Latents of a triplet: those of variable k from image 2 where ``mask[:, k]`` is 1, all others from image 1.

        Args:
            z_1: causal latents of image 1 [B, M].
            z_2: causal latents of image 2 [B, M].
            mask: 0 or 1 for each variable [B, K]; latents of psi(0) come from image 1.

        Returns:
            Causal latents [B, M].
        """
        with_rest = torch.cat([mask, torch.zeros_like(mask[:, :1])], dim=1)
        return torch.where(with_rest[:, self.assignment.hard()].bool(), z_2, z_1)

    @torch.no_grad()
    def initialise_flow(
        self, encodings: Tensor, generator: torch.Generator | None = None, noise_scale: float = 1.0
    ) -> None:
        """Set the flow's ActNorms from the first training batch of encodings [B, M], noise as in training included."""
        noise = torch.randn(encodings.shape, generator=generator, device=encodings.device)
        self.flow.initialise(encodings + noise_scale * self.config.noise * noise)

    def loss(
        self,
        encodings: Tensor,
        targets: Tensor,
        generator: torch.Generator | None = None,
        noise_scale: float = 1.0,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """``mean((NLL + ldj) (T-1)) + L_model + beta_classifier L_z`` of a batch of pairs (T = 2).

        Args:
            encodings: autoencoder latents of the two frames of each pair [B, 2, M].
            targets: intervention targets of the step between them, 0 or 1, [B, K].
            generator: source of the encoding noise and of the assignment samples.
            noise_scale: factor on sigma, above 1 early in training.

        Returns:
            The scalar loss and its parts, detached: ``nll`` (prior and Jacobian together, nats), ``classifier``
            (L_model), ``latents`` (L_z).
        """
        batch, frames, latents = encodings.shape
        samples = self.config.samples
        shape = (batch, frames, samples, latents)
        noise = torch.randn(shape, generator=generator, device=encodings.device, dtype=encodings.dtype)
        noisy = encodings.unsqueeze(2) + noise_scale * self.config.noise * noise
        z, ldj = self.flow(noisy.reshape(-1, latents))
        z = z.view(shape)
        ldj = ldj.view(batch, frames, samples)[:, 1].mean(-1)
        nll = (self.prior.nll(z[:, 0], z[:, 1], targets, self.assignment.probabilities()) + ldj).mean()
        # One of the S samples is an unbiased sight of the latents, and the classifier sees K + 2 masks of it.
        psi = self.assignment.sample(batch, generator)
        loss_model, loss_z = self.classifier(z[:, :, 0], targets.unsqueeze(1), psi)
        parts = {"nll": nll.detach(), "classifier": loss_model.detach(), "latents": loss_z.detach()}
        return nll + loss_model + self.config.classifier_weight * loss_z, parts
