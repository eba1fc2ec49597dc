"""Which device computes."""

from __future__ import annotations

import torch

from citris_cli.errors import InputError


def select_device(name: str) -> torch.device:
    """The device for ``auto``, ``cpu``, ``cuda``, ``cuda:i`` or ``mps``; auto takes CUDA, then MPS, then the CPU.

    Raises:
        InputError: the name is unknown, or this machine has no such device.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    kind, colon, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (colon and not (kind == "cuda" and index.isdecimal())):
        raise InputError(f"--device {name} is unknown; use auto, cpu, cuda, cuda:0 or mps")
    if (kind == "cuda" and not cuda) or (kind == "mps" and not mps):
        raise InputError(f"--device {name}: PyTorch finds no such device on this machine; use --device cpu or auto")
    if index and int(index) >= torch.cuda.device_count():
        raise InputError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices, counted from 0")
    return torch.device(name)
