"""Loading what kernels.c was compiled to, and what all that calls it needs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

#: What kernels.c and this module have in common; a file compiled of another kernels.c is not used.
INTERFACE = 19

#: Rows that are worth a thread of their own.
LEAST_ROWS = 64

#: A function of the number of a part.
PART = ctypes.CFUNCTYPE(None, ctypes.c_int)


def usable(*tensors: Tensor) -> bool:
    """Whether there are functions for rows and one of the weights they meet, whose module's others are of its kind.

    All have to be in float32, on a CPU that has what it takes.
    """
    return (
        all(one.device.type == "cpu" and one.dtype == torch.float32 and one.numel() > 0 for one in tensors)
        and not torch.is_autocast_enabled("cpu")
        and level() > 0
    )


@lru_cache
def level() -> int:
    """2 with AVX-512, 1 with AVX2, 0 where nothing was compiled or the processor has neither."""
    return 0 if functions() is None else functions().level()


def call(name: str, *arguments: Any) -> Any:
    """Call a function of kernels.c in the form for this processor; its first argument, the level, comes from here."""
    return getattr(functions(), name)(level(), *arguments)


def panel_width() -> int:
    """Columns of a product that are computed together."""
    return call("panel_width")


def group_rows() -> int:
    """Rows that pass through a network together, at most."""
    return call("group_rows")


def side_by_side(parts: int, work: Callable[[int], None]) -> None:
    """Call ``work(0)`` to ``work(parts - 1)``, which raise nothing, at the same time, in threads of PyTorch's.

    What PyTorch computes in them it computes without further threads.
    """
    functions().side_by_side(parts, PART(work))


def parts_of(samples: int) -> int:
    """In how many parts rows are computed, one a thread: none has fewer than some dozens."""
    return max(1, min(torch.get_num_threads(), samples // LEAST_ROWS))


def like(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Memory for the gradients of some tensors."""
    return [tensor.new_empty(tensor.shape) for tensor in tensors]


def address(tensor: Tensor | None) -> int | None:
    """Where a tensor lies, or for None nowhere."""
    return None if tensor is None else tensor.data_ptr()


@lru_cache
def functions() -> Any:
    """The compiled functions, or None."""
    here = Path(__file__).parent
    path = next((path for suffix in EXTENSION_SUFFIXES if (path := here / f"_kernels{suffix}").exists()), None)
    if path is None:
        return None
    try:
        library: Any = ctypes.CDLL(str(path))
    except OSError:  # of another machine
        return None
    if getattr(library, f"interface_{INTERFACE}", None) is None:
        return None
    if library.level() == 0:
        return library
    whole, size, address = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
    images = [whole, size, size, size, size, address, size, size]
    for function, arguments in (
        (library.side_by_side, [whole, PART]),
        (library.networks_forward, [whole] * 3 + [address, size, size, address, address, size, address, size]),
        (
            library.networks_backward,
            [whole] * 3 + [address] * 2 + [size] * 2 + [address] * 2 + [size] + [address] * 2 + [size],
        ),
        (library.flow_forward, [whole] * 2 + [address, size, size, address, address, size]),
        (library.flow_backward, [whole] * 2 + [address] * 2 + [size] * 2 + [address] * 4 + [size]),
        (library.affine_inverse, [whole] * 2 + [address] * 2 + [size] + [address] * 3 + [size]),
        (
            library.classifier,
            [whole] * 2 + [address] * 2 + [size] * 2 + [address, whole, ctypes.c_float] + [address] * 2 + [size],
        ),
        (library.target_means, [size, size, *[address] * 5]),
        (library.gumbel, [whole, size, size, size, address, address, ctypes.c_float, address, address]),
        (library.gumbel_backward, [whole, size, size, size, address, address, ctypes.c_float, address]),
        (library.prior_forward, [whole, address, address]),
        (library.prior_backward, [whole, address, address, whole, *[address] * 4]),
        (library.winograd_windows, [*images, address]),
        (library.winograd_gather, [*images, address, address]),
        (library.winograd_spread, [*images, address]),
    ):
        function.restype, function.argtypes = None, arguments
    library.adamw.restype = ctypes.c_double
    library.adamw.argtypes = [whole, whole, address, size, address, address, ctypes.c_double, address]
    for function in (library.panel_width, library.group_rows):
        function.restype, function.argtypes = size, [whole]
    return library
