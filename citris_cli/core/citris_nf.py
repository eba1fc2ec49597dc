"""CITRIS-NF: a normalizing flow on a frozen autoencoder's latents that sorts them by causal variable.

Lippe et al., "CITRIS: Causal Identifiability from Temporal Intervened Sequences", ICML 2022, section 4.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from citris_cli.core import shares
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.causal_latents import CausalLatentsConfig, CausalLatentsModel, require_at_least


@dataclass(frozen=True)
class CitrisNFConfig(CausalLatentsConfig):
    """Sizes and loss of CITRIS-NF; the defaults are the published ones.

    Attributes:
        samples: noisy copies S of every encoding.
        noise: standard deviation sigma of that noise, the autoencoder's.
    """

    samples: int = 8
    noise: float = 0.05


class CitrisNF(CausalLatentsModel):
    """The flow, the assignment psi, the transition prior and the target classifier, around a frozen autoencoder.

    Args:
        config: sizes and loss.
        autoencoder: trained autoencoder with ``config.latents`` latents; its weights are frozen here.
        generator: source of the random start.

    Raises:
        ValueError: a size that makes no model, or no such prior.
    """

    config: CitrisNFConfig

    def __init__(
        self, config: CitrisNFConfig, autoencoder: Autoencoder, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(config, generator)
        require_at_least(1, config, ("flow_layers", "samples"))
        self.autoencoder = autoencoder.requires_grad_(False).eval()

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

    @torch.no_grad()
    def initialise_flow(
        self, encodings: Tensor, generator: torch.Generator | None = None, noise_scale: float = 1.0
    ) -> None:
        """Set the flow's ActNorms from the first training batch of encodings [B, M], noise as in training included."""
        noise = shares.noise(torch.randn, encodings.shape, encodings, generator)
        self.flow.initialise(encodings + noise_scale * self.config.noise * noise)

    def loss(
        self,
        encodings: Tensor,
        targets: Tensor,
        generator: torch.Generator | None = None,
        noise_scale: float | Tensor = 1.0,
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
        noise = shares.noise(torch.randn, shape, encodings, generator)
        noisy = encodings.unsqueeze(2) + noise_scale * self.config.noise * noise
        z, ldj = self.flow(noisy.reshape(-1, latents))
        before, after = z.view(shape).unbind(1)
        ldj = ldj.view(batch, frames, -1)[:, 1].mean()
        psi = self.assignment.sample(batch, generator)
        nll = self.prior.nll(before, after, targets, self.assignment.probabilities(), psi).mean() + ldj
        # One of the S samples is an unbiased sight of the latents, and the classifier sees K + 2 masks of it.
        loss_model, loss_z = self.classifier(z.view(shape)[:, :, 0], targets.unsqueeze(1), psi)
        parts = {"nll": nll.detach(), "classifier": loss_model.detach(), "latents": loss_z.detach()}
        return nll + loss_model + self.config.classifier_weight * loss_z, parts
