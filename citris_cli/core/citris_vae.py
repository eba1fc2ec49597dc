"""CITRIS-VAE: a variational autoencoder whose latents are causal, by the transition prior that it is trained under.

Lippe et al., "CITRIS: Causal Identifiability from Temporal Intervened Sequences", ICML 2022, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from citris_cli.core import shares
from citris_cli.core.causal_latents import CausalLatentsConfig, CausalLatentsModel, require_at_least
from citris_cli.core.gaussians import HALF_LOG_2PI
from citris_cli.core.networks import initialise
from citris_cli.core.vae_networks import vae_networks


@dataclass(frozen=True)
class CitrisVAEConfig(CausalLatentsConfig):
    """Sizes and loss of CITRIS-VAE.

    With ``flow_layers`` 0 there is no flow: the latents of the VAE are the causal latents (the standard prior). With a
    flow between the two (the flow prior) the posterior of the causal latents need not be a diagonal Gaussian.

    Attributes:
        width: frame width and height in pixels: 32, 64 or 128.
        channels: channels c of the encoder and decoder.
        networks: ``pyramid``, for every width, or ``small``, published for 32x32 frames.
        decoder_blocks: residual blocks a decoder stage of the pyramid.
        patch: side of the pixel blocks that the pyramid folds into channels: 1 published, 2 a quarter of the work.
        kl_weight: beta_t1, weight of the divergence between posterior and prior.
    """

    width: int = 64
    channels: int = 64
    networks: str = "pyramid"
    decoder_blocks: int = 1
    patch: int = 1
    kl_weight: float = 1.0


class CitrisVAE(CausalLatentsModel):
    """Encoder and decoder of a VAE around the flow, the assignment psi, the transition prior, the target classifier.

    Args:
        config: sizes and loss.
        generator: source of the random start.

    Raises:
        ValueError: sizes that make no model, or no such prior or networks.
    """

    config: CitrisVAEConfig

    def __init__(self, config: CitrisVAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(config, generator)
        require_at_least(0, config, ("flow_layers", "decoder_blocks"))
        require_at_least(1, config, ("width", "channels", "patch"))
        self.encoder, self.decoder = vae_networks(
            config.networks, config.width, config.channels, config.latents, config.decoder_blocks, config.patch
        )
        initialise(self.encoder, generator).narrow()
        initialise(self.decoder, generator)

    def encode(self, images: Tensor) -> Tensor:
        """Images [B, 3, W, W] in [-1, 1] -> causal latents z [B, M]: the posterior's mean, through the flow."""
        return self.flow(self.encoder(images)[0])[0]

    def decode(self, z: Tensor) -> Tensor:
        """Causal latents z [B, M] -> images [B, 3, W, W] in [-1, 1]; no gradient through the inverse flow."""
        return self.decoder(self.flow.inverse(z))

    @torch.no_grad()
    def initialise_flow(
        self, images: Tensor, generator: torch.Generator | None = None, noise_scale: float = 1.0
    ) -> None:
        """Set the flow's ActNorms, if there are any, from the first batch of frames [B, 3, W, W], as :meth:`loss`."""
        mean, log_std = self.encoder(images)
        self.flow.initialise(mean + noise_scale * log_std.exp() * _noise_like(mean, generator))

    def loss(
        self,
        frames: Tensor,
        targets: Tensor,
        generator: torch.Generator | None = None,
        beta: float | Tensor = 1.0,
        noise_scale: float | Tensor = 1.0,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """``mean(sum_t beta_t1 KL_t + sum_t |x_t - x_hat_t|^2) / (T-1) + beta_classifier (L_model + L_z)``.

        The sums are over the frames after the first of every window; the mean is over windows.

        Args:
            frames: windows of consecutive frames [B, T, 3, W, W] in [-1, 1], T at least 2.
            targets: intervention targets of the steps between them, 0 or 1, [B, T-1, K].
            generator: source of the posterior and assignment samples.
            beta: factor on the divergence's weight, below 1 early in training.
            noise_scale: factor, at least 1, on the posterior's standard deviations as the prior and the classifier see
                it; the decoder sees the posterior itself.

        Returns:
            The scalar loss and its parts, detached: ``kl`` (nats a frame), ``reconstruction`` (summed squared error a
            frame) and, unless it weighs nothing, ``classifier`` (L_model), ``latents`` (L_z).

        Raises:
            ValueError: a window of a single frame.
        """
        batch, length = frames.shape[:2]
        if length < 2:
            raise ValueError(f"windows of {length} frame; they need at least 2")
        mean, log_std = self.encoder(frames.flatten(0, 1))
        noise = _noise_like(mean, generator)
        spread = log_std.exp() * noise
        log_std = log_std + torch.as_tensor(noise_scale).log()
        z, ldj = self.flow(mean + noise_scale * spread)

        def later(values: Tensor) -> Tensor:
            """Of all frames [B T, …] those after the first of their window: [B (T-1), …]."""
            return values.unflatten(0, (batch, length))[:, 1:].flatten(0, 1)

        psi = self.assignment.sample(batch, generator)
        windows = z.unflatten(0, (batch, length))
        before, after = windows[:, :-1].flatten(0, 1), later(z)
        given = targets.flatten(0, 1), self.assignment.probabilities(), psi.repeat_interleave(length - 1, dim=0)
        if self.config.flow_layers == 0:
            kl = self.prior.kl(later(mean), later(log_std), before, after, *given)
        else:
            # log q(z) - log p(z) of the one sample, where log q(z) = log q(x) - log|det dz/dx| = log q(x) + ldj.
            log_q = -(0.5 * noise.square() + log_std + HALF_LOG_2PI).sum(-1)
            kl = later(log_q + ldj) + self.prior.nll(before.unsqueeze(1), after.unsqueeze(1), *given)
        error = self.decoder(later(mean + spread)) - frames[:, 1:].flatten(0, 1)
        # A mean over windows and steps alike: the sums over steps are divided by their number.
        reconstruction = error.square().sum((1, 2, 3)).mean()
        kl = kl.mean()
        parts = {"kl": kl, "reconstruction": reconstruction}
        loss = beta * self.config.kl_weight * kl + reconstruction
        if self.config.classifier_weight > 0:
            loss_model, loss_z = self.classifier(windows, targets, psi)
            parts |= {"classifier": loss_model, "latents": loss_z}
            loss = loss + self.config.classifier_weight * (loss_model + loss_z)
        return loss, {name: part.detach() for name, part in parts.items()}


def _noise_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return shares.noise(torch.randn, x.shape, x, generator)
