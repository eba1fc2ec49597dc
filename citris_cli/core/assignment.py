"""Causal assignment psi: which causal variable each latent dimension belongs to (Lippe et al., 2022, section 4.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from citris_cli.core import kernels, shares


def gumbel_softmax_sample(logits: Tensor, batch: int, temperature: float, generator: torch.Generator | None) -> Tensor:
    """Straight-through Gumbel-softmax samples (Jang et al., 2017): one-hot forward, soft backward.

    Args:
        logits: unnormalised log-probabilities [M, C].
        batch: number of samples B.
        temperature: softmax temperature, > 0.
        generator: source of the Gumbel noise; the default generator if None.

    Returns:
        One-hot float tensor [B, M, C] that carries the soft samples' gradient.
    """
    # Kept off 0 and 1, where the double logarithm is infinite.
    uniform = shares.noise(torch.rand, (batch, *logits.shape), logits, generator).clamp_(1e-9, 1 - 1e-7)
    if kernels.usable(logits, uniform):
        return _Samples.apply(logits, uniform, temperature)
    less_gumbel = uniform.log_().neg_().log_()
    # Classes before latents: on a CPU, softmax over a short last dimension takes twenty times as long.
    soft = ((logits - less_gumbel) / temperature).mT.contiguous().softmax(-2)
    hard = torch.zeros_like(soft).scatter_(-2, soft.max(-2, keepdim=True).indices, 1.0)
    return (hard + soft - soft.detach()).mT


class _Samples(torch.autograd.Function):
    """The same by :func:`citris_cli.core.kernels.gumbel`."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, uniform: Tensor, temperature: float) -> Tensor:
        """Logits [M, C] and uniform noise [B, M, C] -> one-hot samples [B, M, C]."""
        soft, hard = kernels.gumbel(logits.contiguous(), uniform.contiguous(), temperature)
        ctx.save_for_backward(soft)
        ctx.temperature = temperature
        return hard

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_samples: Tensor) -> tuple[Tensor, None, None]:
        """The logits' gradient, for that of the samples taken as that of the soft ones."""
        (soft,) = ctx.saved_tensors
        return kernels.gumbel_backward(soft, of_samples.contiguous(), ctx.temperature), None, None


def with_psi_0(values: Tensor) -> Tensor:
    """Values of the K variables [..., K], targets or masks, with a 0 for psi(0) after them: [..., K+1]."""
    return torch.cat([values, torch.zeros_like(values[..., :1])], dim=-1)


class CausalAssignment(nn.Module):
    """psi as logits [M, K+1]; the last column is psi(0), "belongs to no intervened variable".

    Args:
        latents: number of latents M.
        variables: number of intervened causal variables K.
        temperature: temperature of the Gumbel-softmax samples.
    """

    def __init__(self, latents: int, variables: int, temperature: float = 1.0) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(latents, variables + 1))
        self.temperature = temperature

    def probabilities(self) -> Tensor:
        """Soft assignment p [M, K+1]; rows sum to 1."""
        return self.logits.softmax(-1)

    def hard(self) -> Tensor:
        """Most likely variable of every latent, int64 [M]; K stands for psi(0)."""
        return self.logits.argmax(-1)

    @torch.no_grad()
    def fix(self, assignment: Tensor) -> None:
        """Give every latent to a variable, int64 [M]; K stands for psi(0)."""
        self.logits.zero_().scatter_(1, assignment.to(self.logits.device).unsqueeze(1), 10.0)

    def one_hot(self) -> Tensor:
        """Hard assignment as one-hot float [M, K+1]."""
        return nn.functional.one_hot(self.hard(), self.logits.shape[1]).to(self.logits.dtype)

    def sample(self, batch: int, generator: torch.Generator | None) -> Tensor:
        """Straight-through samples [batch, M, K+1] of the assignment."""
        return gumbel_softmax_sample(self.logits, batch, self.temperature, generator)
