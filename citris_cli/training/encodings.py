"""Encodings of a whole dataset by a frozen autoencoder: computed once, kept beside the autoencoder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from citris_cli.artifacts.models import ModelFile, read_model, write_model
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.data.frames import Frames, encode_frames
from citris_cli.errors import CitrisError

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
    autoencoder: Autoencoder, frames: Frames, data_sha256: str, folder: Path | None, device: torch.device
) -> tuple[Tensor, Path | None, bool]:
    """Encodings of a dataset, from the cache in ``folder`` or computed and put there.

    The key is made of the data and the weights, so a changed file or a retrained autoencoder never meets old numbers.

    Args:
        autoencoder: in evaluation mode, on the device.
        frames: N frames.
        data_sha256: hash of the files that the frames come from.
        folder: the autoencoder's folder; None where nothing is kept.
        device: where to compute.

    Returns:
        Encodings float32 [N, M] on the device; the cache file (None if the folder takes no file); whether they were
        read from it.
    """
    if folder is None:
        return encode_frames(autoencoder.encode, frames, device), None, False
    key = hashlib.sha256((data_sha256 + weights_sha256(autoencoder.state_dict())).encode()).hexdigest()
    path = folder / f"encodings-{key[:16]}.safetensors"
    if path.exists():
        try:
            cached = read_model(path)
            encodings = cached.tensors.get("encodings")
            if cached.config.get("key") == key and encodings is not None and len(encodings) == len(frames):
                # A copy: a file that is mapped could change under the training.
                return encodings.to(device, copy=True), path, True
        except CitrisError:
            pass  # a damaged cache is only a cache: computed again below
    encodings = encode_frames(autoencoder.encode, frames, device)
    try:
        write_model(path, ModelFile(ENCODINGS_KIND, {"key": key}, None, {}, {"encodings": encodings.cpu()}))
    except CitrisError:
        return encodings, None, False
    return encodings, path, False
