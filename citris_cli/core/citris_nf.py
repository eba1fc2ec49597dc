"""CITRIS-NF: a normalizing flow on a frozen autoencoder's latents that sorts them by causal variable.

Lippe et al., "CITRIS: Causal Identifiability from Temporal Intervened Sequences", ICML 2022, section 4.4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.causal_latents import AT_ITS_END, CausalLatentsModel, Schedule
from citris_cli.core.config import CitrisNFConfig
from citris_cli.core.ops import shares


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
        self.autoencoder = autoencoder.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> CitrisNF:
        """Training mode for all but the autoencoder, whose batch statistics stay those it was trained with."""
        super().train(mode)
        self.autoencoder.eval()
        return self

    def encode(self, images: Tensor) -> Tensor:
        """Images [B, C, W, W] in [-1, 1] -> causal latents z [B, M]."""
        return self.flow(self.autoencoder.encode(images))[0]

    def encode_noisy(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """See :meth:`CausalLatentsModel.encode_noisy`: flow(x + sigma eps)."""
        return self.add_noise(self.autoencoder.encode(images), generator)

    def decode(self, z: Tensor) -> Tensor:
        """Causal latents z [B, M] -> images [B, C, W, W] in [-1, 1], through the inverse flow; no gradient."""
        return self.autoencoder.decode(self.flow.inverse(z))

    @torch.no_grad()
    def noisy(self, z: Tensor, generator: torch.Generator) -> Tensor:
        """Causal latents of encodings with noise, see :meth:`CausalLatentsModel.noisy`."""
        return self.add_noise(self.flow.inverse(z), generator)

    def add_noise(self, encodings: Tensor, generator: torch.Generator) -> Tensor:
        """Encodings x [B, M] -> causal latents [B, M] as in training: flow(x + sigma eps).

        Args:
            encodings: see above.
            generator: source of the noise, on the CPU.
        """
        noise = torch.randn(encodings.shape, generator=generator).to(encodings)
        return self.flow(encodings + self.config.noise * noise)[0]

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
        schedule: Schedule = AT_ITS_END,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """``mean((NLL + ldj) (T-1)) + L_model + beta_classifier L_z`` of a batch of pairs (T = 2).

        Args:
            encodings: autoencoder latents of the two frames of each pair [B, 2, M].
            targets: intervention targets of the step between them, 0 or 1, [B, K].
            generator: source of the encoding noise and of the assignment samples.
            schedule: what changes over a training: ``noise_scale``, the factor on sigma, above 1 early in it; and what
                :meth:`~citris_cli.core.causal_latents.CausalLatentsModel.schedule` says.

        Returns:
            The scalar loss and its parts, detached: ``nll`` (prior and Jacobian together, nats), ``classifier``
            (L_model), ``latents`` (L_z), and whatever terms the prior adds.
        """
        batch, frames, latents = encodings.shape
        samples = self.config.samples
        shape = (batch, frames, samples, latents)
        noise = shares.noise(torch.randn, shape, encodings, generator)
        noisy = encodings.unsqueeze(2) + schedule.get("noise_scale", 1.0) * self.config.noise * noise
        z, ldj = self.flow(noisy.reshape(-1, latents))
        before, after = z.view(shape).unbind(1)
        ldj = ldj.view(batch, frames, -1)[:, 1].mean()
        psi = self.assignment.sample(batch, generator)
        given = self.given(targets, psi, generator, schedule)
        score = self.prior.nll(before, after, given)
        nll = score.value.mean() + ldj
        # One of the S samples is an unbiased sight of the latents, and the classifier sees K + 2 masks of it.
        windows = z.view(shape)[:, :, 0]
        loss_model, loss_z = self.prior.target_losses(self.classifier, windows, targets.unsqueeze(1), psi, given)
        parts = {"nll": nll, "classifier": loss_model, "latents": loss_z, **score.terms}
        loss = sum(score.terms.values(), nll + loss_model + self.config.classifier_weight * loss_z)
        return loss, {name: part.detach() for name, part in parts.items()}
