"""Causal assignment psi: which causal variable each latent dimension belongs to (Lippe et al., 2022, section 4.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from citris_cli.core.ops import shares
from citris_cli.core.ops.gumbel import gumbel_softmax


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
    return gumbel_softmax(logits, uniform, temperature)


def with_psi_0(values: Tensor) -> Tensor:
    """Values of the K variables [..., K], targets or masks, with a 0 for psi(0) after them: [..., K+1]."""
    return torch.cat([values, torch.zeros_like(values[..., :1])], dim=-1)


class CausalAssignment(nn.Module):
    """psi as logits [M, K+1]; the last column is psi(0), "belongs to no intervened variable".

    Args:
        latents: number of latents M.
        variables: number of intervened causal variables K.
        temperature: temperature of the Gumbel-softmax samples.
        rest: whether there is a psi(0); without it, everything here has K columns.
    """

    def __init__(self, latents: int, variables: int, temperature: float = 1.0, rest: bool = True) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(latents, variables + rest))
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

    @torch.no_grad()
    def to_rest(self, latents: Tensor) -> None:
        """Give the latents where a bool [M] is True to psi(0), which there must be; the others stay as they are."""
        rows = latents.to(self.logits.device)
        self.logits[rows] = 0.0
        self.logits[rows, -1] = 10.0

    def one_hot(self) -> Tensor:
        """Hard assignment as one-hot float [M, K+1]."""
        return nn.functional.one_hot(self.hard(), self.logits.shape[1]).to(self.logits.dtype)

    def sample(self, batch: int, generator: torch.Generator | None) -> Tensor:
        """Straight-through samples [batch, M, K+1] of the assignment."""
        return gumbel_softmax_sample(self.logits, batch, self.temperature, generator)
