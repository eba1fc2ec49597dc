"""Latents of a trained model that hold nothing but noise, and where they belong.

A flow has as many latents as it is given, often more than the frames have degrees of freedom. Those that are left over
hardly differ between frames: what they have in training is noise. It costs a model nothing to leave one in the block of
a variable, where it is harmless until somebody scales it up, as any evaluation of the block does: then it tells of
every factor what the noise has hidden (docs/log/noise.md).
"""

from __future__ import annotations

import torch
from torch import Tensor

from citris_cli.core.causal_latents import CausalLatentsModel

#: Of the noise's standard deviation, how much a latent must vary between frames to hold anything: a Gaussian channel
#: with this ratio carries 0.16 bits. On Ball-in-Boxes, Pong and Causal3DIdent, latents have at most 0.4 or 0.9
#: at least.
LEAST_SIGNAL = 0.5
#: Most frames by which that is judged.
JUDGED = 2048


def judged(frames: int) -> Tensor:
    """Numbers of up to :data:`JUDGED` of so many frames, evenly spread: int64 [n]."""
    return torch.linspace(0, frames - 1, min(JUDGED, frames)).round().long()


def leave_to_rest(model: CausalLatentsModel, z: Tensor, noisy: Tensor) -> list[int]:
    """Move the latents that hold nothing but noise from the variables' blocks into psi(0).

    They vary less between frames than :data:`LEAST_SIGNAL` of the noise on them. A variable keeps the latent that
    varies most, whatever it holds. Nothing is done for a model that learns no assignment or has no psi(0).

    Args:
        model: trained model, whose assignment is changed.
        z: causal latents of some frames, without noise [n, M].
        noisy: of the same frames, with the noise that they had in training [n, M].

    Returns:
        For each latent that was moved, the number of the variable that it belonged to.
    """
    if not (model.prior.assigns and model.prior.rest):
        return []
    assignment = model.assignment.hard().cpu()
    rest = model.assignment.logits.shape[1] - 1
    # Of a single frame NaN, by which nothing is moved.
    ratio = (z.std(0, unbiased=False) / (noisy - z).std(0, unbiased=False)).cpu()
    moved = (ratio < LEAST_SIGNAL) & (assignment != rest)
    for k in assignment[moved].unique().tolist():
        moved[torch.where(assignment == k, ratio, -torch.inf).argmax()] = False
    model.assignment.to_rest(moved)
    return assignment[moved].tolist()
