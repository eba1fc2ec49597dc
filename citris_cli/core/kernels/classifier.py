"""What a classifier of targets loses, and the means of the targets."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from citris_cli.core.kernels import library
from citris_cli.core.kernels.networks import GAP
from citris_cli.core.kernels.structures import Map, full


class _Stage(ctypes.Structure):
    """``stage`` of kernels.c."""

    _fields_ = (
        ("linear", Map),
        ("gain", ctypes.c_void_p),
        ("offset", ctypes.c_void_p),
        ("normal", ctypes.c_void_p),
        ("active", ctypes.c_void_p),
        ("slopes", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
    )


class _OfStage(ctypes.Structure):
    """``of_stage`` of kernels.c."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("weight", "bias", "gain", "offset"))


_SIGHTS = ("z", "sample", "targets", "mean", "conditional_mean", "x", "of_x", "of_z", "of_sample")


class _Sights(ctypes.Structure):
    """``sights`` of kernels.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("windows", "steps", "latents", "variables")),
        *((name, ctypes.c_void_p) for name in _SIGHTS),
    )


def classifier(
    z: Tensor,
    sample: Tensor,
    targets: Tensor,
    mean: Tensor,
    conditional_mean: Tensor | None,
    parameters: Sequence[Tensor],
    factor: float,
    which: int,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Losses of :class:`citris_cli.core.target_classifier.TargetClassifier` and their gradients; all contiguous.

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
    width, parts = max(len(weight) for (weight, _), _ in maps) + GAP, min(library.parts_of(n), windows)
    stages, kept = (_Stage * count)(), z.new_empty(count, 3 * n * width + n)
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
    of_stages = (_OfStage * (parts * count))()
    for number, of_stage in enumerate(of_stages):
        first = 4 * (number % count)
        addresses = [one.data_ptr() for one in shares[number // count][first : first + 4]]
        of_stage.weight, of_stage.bias, of_stage.gain, of_stage.offset = (*addresses, None, None)[:4]
    gradients = [torch.empty_like(z), torch.empty_like(sample)]
    tensors = z, sample, targets, mean, conditional_mean, *z.new_empty(2, n, 3 * latents), *gradients
    sights = _Sights(windows, frames - 1, latents, variables, *[library.address(one) for one in tensors])
    losses = torch.zeros(parts, 2, dtype=torch.float64)
    each = (-(-windows // parts) * n // windows) * (5 * variables + 2 * width + library.panel_width())
    room = z.new_empty(parts * each)
    library.call(
        "classifier", parts, stages, of_stages, count, width, ctypes.byref(sights), which, factor, losses.data_ptr(),
        room.data_ptr(), each,
    )  # fmt: skip
    return (factor * losses.sum(0)).to(z.dtype), gradients, shares[0]


def target_means(
    targets: Tensor, number: Tensor, mean: Tensor, conditional_number: Tensor, conditional_mean: Tensor
) -> None:
    """Move a classifier's running means on by more targets, in place; all contiguous float32 on the CPU.

    Args:
        targets: 0 or 1 [N, K].
        number, mean: targets seen so far [], and their means [K].
        conditional_number, conditional_mean: of those with I_j = v [j, v], and means of I_i among them [j, v, i].
    """
    tensors = targets, number, mean, conditional_number, conditional_mean
    library.functions().target_means(*targets.shape, *[one.data_ptr() for one in tensors])
