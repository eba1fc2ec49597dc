"""In which precision a device computes, and what a long training wants of the machine."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch

from citris_cli.errors import InputError
from citris_cli.training.config import PRECISIONS

#: glibc's names for what :func:`keep_freed_memory` sets, and the values: bytes; the largest that it takes.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -2, -3, -4
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = 2**31 - 1, 2**26, 2**25


def keep_freed_memory() -> None:
    """Let the process keep what it frees (up to 2 GB) rather than give it back and fetch it again at every step.

    A training step frees all its activations, and glibc returns them to the system; the next step then spends up to a
    third of its time on fresh pages. Blocks above the threshold (32 MB, the most that glibc takes) would still come and
    go as mappings of their own: there are to be none. Without glibc nothing happens.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)
        mallopt(_M_TOP_PAD, _TOP_PAD)
        mallopt(_M_MMAP_MAX, 0)


def resolve_precision(precision: str, device: torch.device) -> str:
    """``auto`` becomes tf32 on CUDA and float32 elsewhere; tf32 is what it says only on CUDA.

    Raises:
        InputError: the precision is unknown, or the device does not have it.
    """
    if precision not in PRECISIONS:
        raise InputError(f"--precision {precision} is unknown; use {', '.join(PRECISIONS)}")
    if precision == "auto":
        return "tf32" if device.type == "cuda" else "float32"
    if precision == "tf32" and device.type != "cuda":
        raise InputError(f"--precision tf32 needs a CUDA device, and this runs on {device.type}; use float32 or bf16")
    return precision


@contextlib.contextmanager
def apart_from_other_work(device: torch.device) -> Iterator[None]:
    """Inside the ``with`` block a GPU computes on a stream of its own, on which what it does can be recorded."""
    if device.type != "cuda":
        yield
        return
    before = torch.cuda.current_stream(device)
    own = torch.cuda.Stream(device)
    own.wait_stream(before)
    with torch.cuda.stream(own):
        yield
    before.wait_stream(own)


def compute_in(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Context in which a forward pass runs at a precision of :func:`resolve_precision`; weights stay float32.

    On CUDA devices, cuDNN is held to algorithms that give the same bytes every time.
    """
    if device.type == "cuda":
        _allow_tf32(precision in ("tf32", "bf16"))
        torch.backends.cudnn.deterministic = True
    if precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def _allow_tf32(allow: bool) -> None:
    """Whether products of float32 matrices and convolutions may round their factors to TF32 on a CUDA device."""
    products, convolutions = torch.backends.cuda.matmul, getattr(torch.backends.cudnn, "conv", None)
    if convolutions is None:  # before PyTorch 2.9; from then on these settings warn
        products.allow_tf32 = torch.backends.cudnn.allow_tf32 = allow
    else:
        products.fp32_precision = convolutions.fp32_precision = "tf32" if allow else "ieee"
