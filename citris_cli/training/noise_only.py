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
from citris_cli.data.frames import Frames, as_model_input, frames_at_once, sent

#: Of the noise's standard deviation, how much a latent must vary between frames to hold anything: a Gaussian channel
#: with this ratio carries 0.16 bits. On the worlds, latents have less than 0.4 or more than 0.9.
LEAST_SIGNAL = 0.5
#: Frames by which that is judged.
JUDGED = 2048


@torch.no_grad()
def signal(model: CausalLatentsModel, frames: Frames, device: torch.device, generator: torch.Generator) -> Tensor:
    """How much each latent varies between frames, in standard deviations of the noise that it has in training.

    Args:
        model: trained model, in evaluation mode.
        frames: N frames of its width; of more than :data:`JUDGED`, as many are taken, evenly spread.
        device: where the model is.
        generator: source of the noise, on the CPU.

    Returns:
        At least 0, float [M], on the CPU; NaN of a single frame.
    """
    chosen = torch.linspace(0, len(frames) - 1, min(JUDGED, len(frames))).round().long()
    clean, noisy = [], []
    for index in chosen.split(frames_at_once(frames.width)):
        images = as_model_input(sent(frames.gather(index), device))
        clean.append(model.encode(images).float())
        noisy.append(model.encode_noisy(images, generator).float())
    z, noise = torch.cat(clean), torch.cat(noisy) - torch.cat(clean)
    return (z.std(0) / noise.std(0)).cpu()


def leave_to_rest(
    model: CausalLatentsModel, frames: Frames, device: torch.device, generator: torch.Generator
) -> list[int]:
    """Move the latents that hold nothing but noise from the variables' blocks into psi(0).

    A variable keeps the latent that varies most, whatever it holds. Nothing is done for a model that learns no
    assignment or has no psi(0).

    Args:
        model, frames, device, generator: see :func:`signal`.

    Returns:
        For each latent that was moved, the number of the variable that it belonged to.
    """
    if not (model.prior.assigns and model.prior.rest):
        return []
    assignment = model.assignment.hard().cpu()
    rest = model.assignment.logits.shape[1] - 1
    ratio = signal(model, frames, device, generator)
    moved = (ratio < LEAST_SIGNAL) & (assignment != rest)
    for k in assignment[moved].unique().tolist():
        moved[torch.where(assignment == k, ratio, -torch.inf).argmax()] = False
    model.assignment.to_rest(moved)
    return assignment[moved].tolist()
