"""CITRIS-VAE: a variational autoencoder whose latents are causal, by the transition prior that it is trained under.

Lippe et al., "CITRIS: Causal Identifiability from Temporal Intervened Sequences", ICML 2022, section 4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from citris_cli.core.causal_latents import AT_ITS_END, CausalLatentsModel, Schedule
from citris_cli.core.config import CitrisVAEConfig
from citris_cli.core.initialisation import initialise
from citris_cli.core.ops import shares
from citris_cli.core.ops.sample_pairs import HALF_LOG_2PI
from citris_cli.core.vae_networks import vae_networks


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
        self.encoder, self.decoder = vae_networks(
            config.networks,
            config.width,
            config.channels,
            config.latents,
            config.decoder_blocks,
            config.patch,
            config.image_channels,
        )
        initialise(self.encoder, generator).narrow()
        initialise(self.decoder, generator)

    def encode(self, images: Tensor) -> Tensor:
        """Images [B, C, W, W] in [-1, 1] -> causal latents z [B, M]: the posterior's mean, through the flow."""
        return self.flow(self.encoder(images)[0])[0]

    def encode_noisy(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """See :meth:`CausalLatentsModel.encode_noisy`: a sample of q(z | x), through the flow where there is one."""
        mean, log_std = self.encoder(images)
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        return self.flow(mean + log_std.exp() * noise)[0]

    def decode(self, z: Tensor) -> Tensor:
        """Causal latents z [B, M] -> images [B, C, W, W] in [-1, 1]; no gradient through the inverse flow."""
        return self.decoder(self.flow.inverse(z))

    @torch.no_grad()
    def initialise_flow(
        self, images: Tensor, generator: torch.Generator | None = None, noise_scale: float = 1.0
    ) -> None:
        """Set the flow's ActNorms, if there are any, from the first batch of frames [B, C, W, W], as :meth:`loss`."""
        mean, log_std = self.encoder(images)
        self.flow.initialise(mean + noise_scale * log_std.exp() * _noise_like(mean, generator))

    def loss(
        self,
        frames: Tensor,
        targets: Tensor,
        generator: torch.Generator | None = None,
        schedule: Schedule = AT_ITS_END,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """``mean(sum_t beta_t1 KL_t + sum_t |x_t - x_hat_t|^2) / (T-1) + beta_classifier (L_model + L_z)``.

        The sums are over the frames after the first of every window; the mean is over windows.

        Args:
            frames: windows of consecutive frames [B, T, C, W, W] in [-1, 1], T at least 2.
            targets: intervention targets of the steps between them, 0 or 1, [B, T-1, K].
            generator: source of the posterior and assignment samples.
            schedule: what changes over a training: ``beta``, the factor on the divergence's weight; ``noise_scale``,
                the factor, at least 1, on the posterior's standard deviations as the prior and the classifier see it
                (the decoder sees the posterior itself); and what
                :meth:`~citris_cli.core.causal_latents.CausalLatentsModel.schedule` says.

        Returns:
            The scalar loss and its parts, detached: ``kl`` (nats a frame), ``reconstruction`` (summed squared error a
            frame), unless it weighs nothing ``classifier`` (L_model) and ``latents`` (L_z), and whatever terms the
            prior adds.

        Raises:
            ValueError: a window of a single frame.
        """
        batch, length = frames.shape[:2]
        if length < 2:
            raise ValueError(f"windows of {length} frame; they need at least 2")
        beta, noise_scale = schedule.get("beta", 1.0), schedule.get("noise_scale", 1.0)
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
        given = self.given(targets.flatten(0, 1), psi.repeat_interleave(length - 1, dim=0), generator, schedule)
        if self.config.flow_layers == 0:
            kl, terms = self.prior.kl(later(mean), later(log_std), before, after, given)
        else:
            # log q(z) - log p(z) of the one sample, where log q(z) = log q(x) - log|det dz/dx| = log q(x) + ldj.
            log_q = -(0.5 * noise.square() + log_std + HALF_LOG_2PI).sum(-1)
            nll, terms = self.prior.nll(before.unsqueeze(1), after.unsqueeze(1), given)
            kl = later(log_q + ldj) + nll
        error = self.decoder(later(mean + spread)) - frames[:, 1:].flatten(0, 1)
        # A mean over windows and steps alike: the sums over steps are divided by their number.
        reconstruction = error.square().sum((1, 2, 3)).mean()
        kl = kl.mean()
        parts = {"kl": kl, "reconstruction": reconstruction}
        loss = beta * self.config.kl_weight * kl + reconstruction
        if self.config.classifier_weight > 0:
            loss_model, loss_z = self.prior.target_losses(self.classifier, windows, targets, psi, given)
            parts |= {"classifier": loss_model, "latents": loss_z}
            loss = loss + self.config.classifier_weight * (loss_model + loss_z)
        loss = sum(terms.values(), loss)
        return loss, {name: part.detach() for name, part in (parts | dict(terms)).items()}


def _noise_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return shares.noise(torch.randn, x.shape, x, generator)
