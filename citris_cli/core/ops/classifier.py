"""Both losses of a target classifier (Lippe et al., 2022, section 4.3), and the running means of the targets.

Masks m are the latents of every variable, those of psi(0), and all of them; ``x = [z^t, z^{t+1} m, m]``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from citris_cli.core.ops import library
from citris_cli.core.ops.c_types import OfStage, Sights, Stage
from citris_cli.core.ops.networks import GAP, full


def target_losses(
    z: Tensor,
    sample: Tensor,
    targets: Tensor,
    means: tuple[Tensor, Tensor | None],
    network: nn.Sequential,
    frozen: nn.Sequential,
    alike: bool,
) -> tuple[Tensor, Tensor]:
    """``L_model`` and ``L_z``, sums over masks and steps and means over windows and targets.

    ``L_model = BCE(network(x), I)``, a gradient to the network alone; ``L_z = BCE(frozen(x), q)``, a gradient to z and
    the sample alone, where q is what the latents of mask m should tell of each target: I itself of the mask's own
    variable, and of all with all latents (these K times), else what is true on average.

    Args:
        z: causal latents [B, T, M].
        sample: straight-through samples of the assignment, one-hot [B, M, K+1].
        targets: intervention targets I, 0 or 1, float [B, T-1, K].
        means: of the targets [K] and, where latents of variable j may tell p(I_i | I_j), of I_i given I_j = v
            [j, v, i], else None.
        network: Linear -> LayerNorm -> SiLU -> … -> Linear, 3M -> K.
        frozen: its frozen copy.
        alike: whether the copy is the network as it is: then it need not be computed again.

    Returns:
        Two scalars.
    """
    # PyTorch's form is not slower where nothing is learned, and a network may be watched there.
    usable = torch.is_grad_enabled() and library.usable(z, sample, targets, means[0], next(network.parameters()))
    if usable and _fit(z, sample, targets, means, network):
        theirs = None if alike else list(frozen.parameters())
        return _TargetLosses.apply(z, sample, (targets, *means), theirs, *network.parameters())
    return target_losses_reference(z, sample, targets, means, network, frozen)


def _fit(
    z: Tensor, sample: Tensor, targets: Tensor, means: tuple[Tensor, Tensor | None], network: nn.Sequential
) -> bool:
    """Whether all are as large as :func:`target_losses` says."""
    (batch, steps, latents), variables = z.shape, targets.shape[-1]
    maps = [one for one in network if isinstance(one, nn.Linear)]
    return (
        sample.shape == (batch, latents, variables + 1)
        and targets.shape == (batch, steps - 1, variables)
        and means[0].shape == (variables,)
        and (means[1] is None or means[1].shape == (variables, 2, variables))
        and (maps[0].in_features, maps[-1].out_features) == (3 * latents, variables)
    )


def target_losses_reference(
    z: Tensor,
    sample: Tensor,
    targets: Tensor,
    means: tuple[Tensor, Tensor | None],
    network: nn.Sequential,
    frozen: nn.Sequential,
) -> tuple[Tensor, Tensor]:
    """:func:`target_losses` by PyTorch."""
    steps, variables = targets.shape[1:]
    masks = torch.cat([sample.transpose(1, 2), torch.ones_like(sample[:, None, :, 0])], dim=1)  # [B, K+2, M]
    masks = masks.unsqueeze(1).expand(-1, steps, -1, -1)
    before = z[:, :-1].unsqueeze(2).expand_as(masks)
    x = torch.cat([before, z[:, 1:].unsqueeze(2) * masks, masks], dim=-1)  # [B, T-1, K+2, 3M]
    truth = targets.unsqueeze(2).expand(-1, -1, variables + 2, -1)
    told, own = _told(targets, *means)
    scale = (variables + 2) * steps
    loss_model = scale * functional.binary_cross_entropy_with_logits(network(x.detach()), truth)
    terms = functional.binary_cross_entropy_with_logits(frozen(x), told, reduction="none")
    return loss_model, scale * (terms * (1 + (variables - 1) * own)).mean()


def _told(targets: Tensor, mean: Tensor, conditional_mean: Tensor | None) -> tuple[Tensor, Tensor]:
    """q: what each mask's latents should tell of the targets [B, T-1, K+2, K], and which are its own [K+2, K]."""
    variables = targets.shape[-1]
    # Made where it is used: a copy from the host would make a GPU wait.
    own = torch.eye(variables + 2, variables, dtype=targets.dtype, device=targets.device)
    own[-1] = 1
    other = mean.expand(*targets.shape[:-1], variables + 2, variables)
    if conditional_mean is not None:
        given = torch.lerp(conditional_mean[:, 0], conditional_mean[:, 1], targets.unsqueeze(-1))
        other = torch.cat([given, other[..., variables:, :]], dim=-2)
    return torch.where(own.bool(), targets.unsqueeze(-2), other), own


def update_target_means(
    targets: Tensor, count: Tensor, mean: Tensor, conditional_count: Tensor, conditional_mean: Tensor
) -> None:
    """Move running means on by more targets, in place; no gradient.

    Args:
        targets: I, 0 or 1, float [N, K].
        count: targets seen so far [].
        mean: their means [K].
        conditional_count: how many of them had I_j = v [j, v].
        conditional_mean: means of I_i among these [j, v, i].
    """
    state = count, mean, conditional_count, conditional_mean
    variables = targets.shape[-1]
    shapes = [(), (variables,), (variables, 2), (variables, 2, variables)]
    if library.usable(targets, *state) and targets.dim() == 2 and [one.shape for one in state] == shapes:
        rows = targets.contiguous()
        library.functions().target_means(*rows.shape, *[one.data_ptr() for one in (rows, *state)])
    else:
        update_target_means_reference(targets, *state)


def update_target_means_reference(
    targets: Tensor, count: Tensor, mean: Tensor, conditional_count: Tensor, conditional_mean: Tensor
) -> None:
    """:func:`update_target_means` by PyTorch."""
    count += len(targets)
    mean += (targets.mean(0) - mean) * (len(targets) / count)
    # Of I_j = v: how often it is the case, [j, v], and in how many of these rows I_i is 1, [j, v, i].
    together, ones = targets.T @ targets, targets.sum(0)
    number = torch.stack([len(targets) - ones, ones], dim=-1)
    both = torch.stack([ones - together, together], dim=1)
    conditional_count += number
    difference = both - number.unsqueeze(-1) * conditional_mean
    conditional_mean += difference / conditional_count.clamp_min(1).unsqueeze(-1)


class _TargetLosses(torch.autograd.Function):
    """The compiled :func:`target_losses`, and their gradients, which are computed with them."""

    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        sample: Tensor,
        told: tuple[Tensor, Tensor, Tensor | None],
        frozen: Sequence[Tensor] | None,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        targets, mean, conditional_mean = told
        seen = z.contiguous(), sample.contiguous(), targets.contiguous(), mean, conditional_mean
        factor = 1 / (len(z) * targets.shape[-1])
        if frozen is None:  # the network sees its inputs once only
            losses, of_seen, of_parameters = _compiled_losses(*seen, parameters, factor, 3)
        else:
            losses, _, of_parameters = _compiled_losses(*seen, parameters, factor, 1)
            others, of_seen, _ = _compiled_losses(*seen, frozen, factor, 2)
            losses = losses + others
        ctx.save_for_backward(*of_seen, *of_parameters)
        ctx.set_materialize_grads(False)
        loss_model, loss_z = losses.unbind()
        return loss_model.clone(), loss_z.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_model: Tensor | None, of_z: Tensor | None) -> tuple[Tensor | None, ...]:
        to_seen, to_parameters = ctx.saved_tensors[:2], ctx.saved_tensors[2:]
        seen = [None] * 2 if of_z is None else torch._foreach_mul(to_seen, of_z)
        learned = [None] * len(to_parameters) if of_model is None else torch._foreach_mul(to_parameters, of_model)
        return *seen, None, None, *learned


def _compiled_losses(
    z: Tensor,
    sample: Tensor,
    targets: Tensor,
    mean: Tensor,
    conditional_mean: Tensor | None,
    parameters: Sequence[Tensor],
    factor: float,
    which: int,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The compiled losses and their gradients; all contiguous.

    Args:
        z: causal latents [B, T, M].
        sample: sampled assignment [B, M, K+1].
        targets: 0 or 1 [B, T-1, K].
        mean: means of the targets [K].
        conditional_mean: of I_i given I_j = v [j, v, i], where latents may tell it.
        parameters: weight and bias of every linear map, in between gain and offset of the normalisation.
        factor: of losses, which are sums over logits, and of gradients.
        which: 1 for the first loss, 2 for the second, 3 for both.

    Returns:
        The losses [2]; the gradients of the second to z and sample and those of the first to the parameters. What was
        not asked for is 0 or, of gradients, undefined.
    """
    maps = [(parameters[i : i + 2], parameters[i + 2 : i + 4]) for i in range(0, len(parameters), 4)]
    (windows, frames, latents), variables = z.shape, len(parameters[-1])
    n, count = windows * (frames - 1) * (variables + 2), len(maps)
    width, parts = max(len(weight) for (weight, _), _ in maps) + GAP, min(library.number_of_parts(n), windows)
    stages, kept = (Stage * count)(), z.new_empty(count, 3 * n * width + n)
    packs = []
    for stage, ((weight, bias), normalisation), rows in zip(stages, maps, kept, strict=True):
        structure = full(*weight.shape)
        packs.append(z.new_empty(sum(structure.packed)))
        stage.linear = structure.described(weight.data_ptr(), bias.data_ptr(), packs[-1].data_ptr())
        if normalisation:
            stage.gain, stage.offset = (one.data_ptr() for one in normalisation)
        stage.normal = rows.data_ptr()
        stage.active = stage.normal + 4 * n * width
        stage.slopes = stage.active + 4 * n * width
        stage.scales = stage.slopes + 4 * n * width
    shares = [library.like(parameters) for _ in range(parts)]
    of_stages = (OfStage * (parts * count))()
    for number, of_stage in enumerate(of_stages):
        first = 4 * (number % count)
        addresses = [one.data_ptr() for one in shares[number // count][first : first + 4]]
        of_stage.weight, of_stage.bias, of_stage.gain, of_stage.offset = (*addresses, None, None)[:4]
    gradients = [torch.empty_like(z), torch.empty_like(sample)]
    tensors = z, sample, targets, mean, conditional_mean, *z.new_empty(2, n, 3 * latents), *gradients
    sights = Sights(windows, frames - 1, latents, variables, *library.addresses(tensors))
    losses = torch.zeros(parts, 2, dtype=torch.float64)
    each = (-(-windows // parts) * n // windows) * (5 * variables + 2 * width + library.panel_width())
    room = z.new_empty(parts * each)
    library.call(
        "classifier", parts, stages, of_stages, count, width, ctypes.byref(sights), which, factor, losses.data_ptr(),
        room.data_ptr(), each,
    )  # fmt: skip
    return (factor * losses.sum(0)).to(z.dtype), gradients, shares[0]
