"""How the models are trained: steps, rates and what changes on the way, each with its bounds and a line of help.

As in :mod:`citris_cli.core.config`, the options of the commands are made of these fields.
"""

from __future__ import annotations

from dataclasses import dataclass

from citris_cli.core.config import setting

#: The largest seed; NumPy's bound, well within PyTorch's.
LARGEST_SEED = 2**32 - 1
PRECISIONS = ("auto", "float32", "tf32", "bf16")


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained.

    Attributes:
        steps: optimiser steps.
        batch_size: frames (autoencoder), pairs of frames (CITRIS-NF) or windows of frames (CITRIS-VAE) a step.
        lr: peak learning rate.
        clip: norm to which gradients are clipped.
        warmup: steps of linear warm-up.
        seed: random seed of weights, batches and noise.
        precision: float32, tf32 or bf16; auto for the device's own.
    """

    steps: int = setting(4000, "Optimiser steps; the limit for every training run of the command.", least=1)
    batch_size: int = setting(64, "Frames, pairs or windows per step.", least=1)
    lr: float = setting(1e-3, "Peak learning rate.", least=0)
    clip: float = setting(1.0, "Gradients are clipped to this norm.", least=0)
    warmup: int = setting(100, "Steps of linear learning-rate warm-up.", least=0)
    seed: int = setting(0, "Random seed of weights, batches and noise.", least=0, most=LARGEST_SEED)
    precision: str = setting(
        "auto", "Precision of matrix products and convolutions.", choices=PRECISIONS, shown="tf32 on CUDA, else float32"
    )


@dataclass(frozen=True)
class AutoencoderTrainingConfig(TrainingConfig):
    """How an autoencoder is trained.

    Attributes:
        permute_colours: show every frame with its red, green and blue in a random order. Where hues are variables of
            the system, what follows them in the training sequence (a rotation, say) could be guessed from the colours
            of a frame, and need not be encoded; this prevents the guess. Frames for evaluation stay as they are.
        balance: how strongly to up-weight pixels that seldom change, 0 to 1: its squared error is weighted by
            its variance over the training frames to the power of minus this. A small thing that may be anywhere is at
            each place so seldom that the plain error has little to gain from it, and draws it late or never.
    """

    permute_colours: bool = setting(
        False, "Show every frame with red, green and blue in a random order; for data in which hues are variables."
    )
    balance: float = setting(
        0.0, "How strongly to up-weight pixels that seldom change, from 0 (not at all) to 1 (fully); for small "
             "objects.",
        least=0, most=1, shown="0; in small, 1 if most of a frame hardly ever changes (0.7 above 32 pixels)",
    )  # fmt: skip


@dataclass(frozen=True)
class CausalTrainingConfig(TrainingConfig):
    """How a model with causal latents is trained.

    Attributes:
        classifier_lr: peak learning rate of the target classifier.
        noise_start: noise on the causal latents at the start, in multiples of the model's own (CITRIS-NF: sigma;
            CITRIS-VAE: the posterior's standard deviations), at least 1. Where the noise is small beside a variable's
            steps, moving a variable from one block of latents to another costs likelihood all the way, and a training
            run keeps the blocks that it happened to start with; with more noise it does not.
        noise_decay: share of the steps over which that factor falls to 1, geometrically.
    """

    classifier_lr: float = setting(4e-3, "Peak learning rate of the target classifier.", least=0)
    noise_start: float = setting(1.0, "Noise at the start of training, in multiples of the model's own.", least=1)
    noise_decay: float = setting(0.4, "Fraction of the steps over which --noise-start falls to 1.", least=0, most=1)

    def schedule(self, progress: float) -> dict[str, float]:
        """What of the loss changes over the training, at a share of its steps, 0 … 1.

        Returns:
            ``noise_scale``, the factor on the model's own noise.
        """
        left = 1 - progress / self.noise_decay if self.noise_decay > 0 else 0.0
        return {"noise_scale": self.noise_start ** max(0.0, left)}


@dataclass(frozen=True)
class VAETrainingConfig(CausalTrainingConfig):
    """How CITRIS-VAE is trained.

    The weight of the divergence goes through three stages. It starts low: at its own weight, the divergence silences
    latents that say nothing of the frames yet, before the decoder has learned to listen. Then it is high, which widens
    the posteriors: where they are narrow beside a variable's steps, moving a variable from one block of latents to
    another costs likelihood all the way, and a training keeps the blocks that it happened to start with (a weight above
    some 6 silences everything; the rest is up to ``noise_start``). At last it is its own, so that little of a variable
    that is hidden in the noise of another's latents costs something again.

    Attributes:
        seq_len: frames T of a window, at least 2.
        kl_start: factor on the weight of the divergence at the first step, above 0.
        kl_peak: that factor after the warm-up, at least 1.
        kl_warmup: steps over which it rises from the one to the other, geometrically.
        kl_hold: share of the steps after which it is 1 at most.
    """

    seq_len: int = setting(2, "Frames per window.", least=2)
    kl_start: float = setting(
        0.01, "Weight of the KL divergence at the start, in multiples of --kl-weight.", least=1e-6
    )
    kl_peak: float = setting(
        1.0, "Weight of the KL divergence after its warm-up, in multiples of --kl-weight.", least=1
    )
    kl_warmup: int = setting(0, "Steps over which the weight rises from --kl-start to --kl-peak.", least=0)
    kl_hold: float = setting(
        0.7, "Fraction of the steps after which the weight is at most --kl-weight.", least=0, most=1
    )

    def schedule(self, progress: float) -> dict[str, float]:
        """As of every model with causal latents, and ``beta``, the factor on the divergence's weight."""
        step = progress * self.steps
        risen = min(1.0, step / self.kl_warmup) if self.kl_warmup > 0 else 1.0
        beta = self.kl_start ** (1 - risen) * self.kl_peak**risen
        return {"beta": beta if progress < self.kl_hold else min(beta, 1.0), **super().schedule(progress)}
