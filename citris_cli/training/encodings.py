"""Encodings of a whole dataset by a frozen autoencoder: computed once, kept beside the autoencoder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from citris_cli.artifacts.models import ModelFile, read_model, write_model
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.data.frames import Frames, encode_frames
from citris_cli.errors import CitrisError, InputError
from citris_cli.wording import counted

ENCODINGS_KIND = "encodings"


def weights_sha256(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over names, shapes and values of weights, independent of their order."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.view(-1).view(torch.uint8).numpy().data if value.numel() else b"")
    return digest.hexdigest()


def cached_encodings(
    autoencoder: Autoencoder, path: Path, frames: Frames, data_sha256: str, folder: Path | None, device: torch.device
) -> tuple[Tensor, Path | None, bool]:
    """Encodings of a dataset, from the cache in ``folder`` or computed and put there.

    The key is made of the data and the weights, so a changed file or a retrained autoencoder never meets old numbers.

    Args:
        autoencoder: in evaluation mode, on the device.
        path: where it came from, for messages.
        frames: N frames.
        data_sha256: hash of the files that the frames come from.
        folder: the autoencoder's folder; None where nothing is kept.
        device: where to compute.

    Returns:
        Encodings float32 [N, M] on the device; the cache file (None if the folder takes no file); whether they were
        read from it.

    Raises:
        InputError: the autoencoder gives numbers that are not finite; they are not kept.
        ChangedDataError: the frames changed meanwhile; nor are these.
    """
    if folder is None:
        return _encoded(autoencoder, path, frames, device), None, False
    key = hashlib.sha256((data_sha256 + weights_sha256(autoencoder.state_dict())).encode()).hexdigest()
    cache = folder / f"encodings-{key[:16]}.safetensors"
    if cache.exists():
        try:
            cached = read_model(cache)
            encodings = cached.tensors.get("encodings")
            fits = encodings is not None and len(encodings) == len(frames) and bool(encodings.isfinite().all())
            if encodings is not None and fits and cached.config.get("key") == key:
                # A copy: a file that is mapped could change under the training.
                return encodings.to(device, copy=True), cache, True
        except CitrisError:
            pass  # a damaged cache is only a cache: computed again below
    encodings = _encoded(autoencoder, path, frames, device)
    try:
        write_model(cache, ModelFile(ENCODINGS_KIND, {"key": key}, None, {}, {"encodings": encodings.cpu()}))
    except CitrisError:
        return encodings, None, False
    return encodings, cache, False


def _encoded(autoencoder: Autoencoder, path: Path, frames: Frames, device: torch.device) -> Tensor:
    """Encodings of all frames, all of them finite."""
    encodings = encode_frames(autoencoder.encode, frames, device)
    bad = int((~encodings.isfinite()).any(1).sum())
    if bad:
        raise InputError(
            f"{path}: this autoencoder gives {bad:,} of {counted(len(frames), 'frame')} encodings that are not finite; "
            "train another one"
        )
    return encodings
