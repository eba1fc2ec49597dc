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
def signal(
    model: CausalLatentsModel,
    frames: Frames,
    device: torch.device,
    generator: torch.Generator,
    z: Tensor | None = None,
) -> Tensor:
    """How much each latent varies between frames, in standard deviations of the noise that it has in training.

    Args:
        model: trained model, in evaluation mode.
        frames: N frames of its width; of more than :data:`JUDGED`, as many are taken, evenly spread.
        device: where the model is.
        generator: source of the noise, on the CPU.
        z: causal latents of all frames [N, M], where the model can add the noise to these: no frame is read then.

    Returns:
        At least 0, float [M], on the CPU; NaN of a single frame.
    """
    chosen = torch.linspace(0, len(frames) - 1, min(JUDGED, len(frames))).round().long()
    if z is not None:
        z = z[chosen.to(z.device)].float()
        return (z.std(0) / (model.noisy(z, generator) - z).std(0)).cpu()
    clean, noisy = [], []
    for index in chosen.split(frames_at_once(frames.width)):
        images = as_model_input(sent(frames.gather(index), device))
        clean.append(model.encode(images).float())
        noisy.append(model.encode_noisy(images, generator).float())
    seen = torch.cat(clean)
    return (seen.std(0) / (torch.cat(noisy) - seen).std(0)).cpu()


def leave_to_rest(
    model: CausalLatentsModel,
    frames: Frames,
    device: torch.device,
    generator: torch.Generator,
    z: Tensor | None = None,
) -> list[int]:
    """Move the latents that hold nothing but noise from the variables' blocks into psi(0).

    A variable keeps the latent that varies most, whatever it holds. Nothing is done for a model that learns no
    assignment or has no psi(0).

    Args:
        model, frames, device, generator, z: see :func:`signal`.

    Returns:
        For each latent that was moved, the number of the variable that it belonged to.
    """
    if not (model.prior.assigns and model.prior.rest):
        return []
    assignment = model.assignment.hard().cpu()
    rest = model.assignment.logits.shape[1] - 1
    ratio = signal(model, frames, device, generator, z)
    moved = (ratio < LEAST_SIGNAL) & (assignment != rest)
    for k in assignment[moved].unique().tolist():
        moved[torch.where(assignment == k, ratio, -torch.inf).argmax()] = False
    model.assignment.to_rest(moved)
    return assignment[moved].tolist()
