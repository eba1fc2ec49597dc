"""Latents that a model was seen to give: what a variable's values look like, and how far they spread."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ReferenceLatents:
    """Causal latents of some training frames, kept with the model.

    Attributes:
        z: causal latents float32 [R, M].
        targets: uint8 [R, K], the intervention targets of the step that led into each frame.
    """

    z: Tensor
    targets: Tensor

    @classmethod
    def spread_over(cls, z: Tensor, starts: Tensor, targets: Tensor, most: int) -> ReferenceLatents:
        """A choice of at most ``most`` frames, evenly spread over a sequence.

        Args:
            z: causal latents of all frames [N, M].
            starts: index i of every pair (i, i+1) of consecutive frames, int64 [P].
            targets: uint8 [N, K], row i the targets of the step from frame i to i+1.
            most: bound on R.
        """
        chosen = torch.linspace(0, len(starts) - 1, min(most, len(starts))).round().long()
        first = starts[chosen.to(starts.device)]
        return cls(z[first.to(z.device) + 1].cpu().contiguous(), targets[first.to(targets.device)].cpu().contiguous())

    def under_intervention(self, variable: int, least: int = 16) -> Tensor:
        """Latents [n, M] of frames that an intervention on a variable led into; all R if they are fewer than ``least``.

        Args:
            variable: index of the variable.
            least: fewest rows that say something of its distribution.
        """
        rows = self.z[self.targets[:, variable] == 1]
        return rows if len(rows) >= least else self.z

    def spread(self) -> Tensor:
        """Standard deviation of every latent [M], never 0."""
        return self.z.std(0, unbiased=False).clamp_min(1e-6)
