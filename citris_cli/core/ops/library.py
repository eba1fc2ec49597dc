"""The one decision between PyTorch's form of an operation and the compiled one, and all that calls the latter needs.

The functions of ``c/kernels.c`` are compiled when the package is installed, where there is a C compiler, for x86-64
processors with AVX2 or AVX-512, and compute in the threads of PyTorch's OpenMP library. Elsewhere, and with
``CITRIS_KERNELS=0`` in the environment, :func:`usable` says no, and the same things are PyTorch's to compute.
PyTorch itself is imported only where a tensor is asked about: ``citris --version`` asks which form is in use.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from citris_cli.core.ops.c_types import STRUCTURES
from citris_cli.core.ops.sources import LIBRARY, digest

if TYPE_CHECKING:
    from torch import Tensor

#: 0 switches every compiled form off, those for GPUs among them.
SWITCH = "CITRIS_KERNELS"
#: Instruction sets by what ``level()`` of kernels.c says.
NAMES = ("none", "avx2", "avx512")
#: Rows that are worth a thread of their own.
LEAST_ROWS = 64
#: A function of the number of a part.
PART = ctypes.CFUNCTYPE(None, ctypes.c_int)


def usable(*tensors: Tensor) -> bool:
    """Whether there are compiled functions for these: all in float32 and not empty, on a CPU that has what it takes.

    They are given addresses, not shapes: an operation asks for its shapes too and leaves any others to PyTorch, which
    knows how to repeat or refuse them.
    """
    import torch

    return (
        all(one.device.type == "cpu" and one.dtype == torch.float32 and one.numel() > 0 for one in tensors)
        and not torch.is_autocast_enabled("cpu")
        and level() > 0
    )


def in_use() -> str:
    """``avx512``, ``avx2`` or, where PyTorch computes everything, ``none``."""
    return NAMES[level()]


def why_none() -> str:
    """Why no compiled form is in use, in a few words; "" where one is."""
    if switched_off():
        return f"{SWITCH}=0"
    if functions() is None:
        path = _compiled_file()
        if path is None:
            return "not compiled"
        try:
            _load(path)
        except OSError as error:
            return f"cannot be loaded: {error}"
        return "compiled of other sources; install citris again"
    return "" if level() > 0 else "this processor has neither AVX2 nor AVX-512"


def switched_off() -> bool:
    """Whether ``CITRIS_KERNELS=0`` asks for PyTorch's forms."""
    return os.environ.get(SWITCH) == "0"


@lru_cache
def level() -> int:
    """2 with AVX-512, 1 with AVX2, 0 where nothing is compiled, the processor has neither, or it is switched off."""
    return 0 if switched_off() or functions() is None else functions().level()


def call(name: str, *arguments: Any) -> Any:
    """Call a function of kernels.c in the form for this processor; its first argument, the level, comes from here."""
    return getattr(functions(), name)(level(), *arguments)


def panel_width() -> int:
    """Columns of a product that are computed together."""
    return call("panel_width")


def group_rows() -> int:
    """Rows that pass through a network together, at most."""
    return call("group_rows")


def number_of_parts(rows: int, least: int = LEAST_ROWS) -> int:
    """In how many parts rows are computed, one a thread: none has fewer than ``least``."""
    import torch

    return max(1, min(torch.get_num_threads(), rows // least))


def like(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Memory for the gradients of some tensors."""
    return [tensor.new_empty(tensor.shape) for tensor in tensors]


def addresses(tensors: Iterable[Tensor | None]) -> list[int | None]:
    """Where tensors lie; for None nowhere."""
    return [None if tensor is None else tensor.data_ptr() for tensor in tensors]


def require_unchanged(context: Any) -> None:
    """Refuse to compute gradients from tensors that were changed in place since the forward pass.

    The compiled functions read them at their addresses, where nothing would tell.

    Args:
        context: of an autograd function that saved them with ``save_for_backward``.

    Raises:
        RuntimeError: one of them was changed.
    """
    _ = context.saved_tensors  # PyTorch compares their versions when they are asked for


@lru_cache
def functions() -> Any:
    """The compiled functions, or None where there are none that are made of these sources for this machine."""
    path = _compiled_file()
    if path is None:
        return None
    try:
        library = _load(path)
    except OSError:  # of another machine, or there is no OpenMP
        return None
    if not fits(library):
        return None
    return library if library.level() == 0 else _typed(library)


def _compiled_file() -> Path | None:
    """The file that the functions were compiled to, or None."""
    path = Path(__file__).with_name(LIBRARY)
    return path if path.exists() else None


def _load(path: Path) -> Any:
    """Open a compiled file.

    On Linux it is linked to no OpenMP library and takes the functions of one that is loaded: PyTorch's own, which lies
    beside PyTorch unless that was built with the system's. Importing PyTorch, before or after, takes the same one.

    Raises:
        OSError: it is of another machine, or there is no OpenMP library.
    """
    if sys.platform == "linux":
        torch = find_spec("torch")
        places = [Path(place) for place in (torch and torch.submodule_search_locations) or ()]
        own = [file for place in places for file in sorted(place.glob("lib/libgomp*.so*"))]
        own += [file for place in places for file in sorted(place.parent.glob("torch.libs/libgomp*.so*"))]
        for name in (*map(str, own), "libgomp.so.1"):
            with suppress(OSError):
                ctypes.CDLL(name, ctypes.RTLD_GLOBAL)
                break
    return ctypes.CDLL(str(path))


def fits(library: Any) -> bool:
    """Whether a compiled file is made of the sources beside this module, with structures as large as ctypes' are."""
    if getattr(library, "sources", None) is None or getattr(library, "structure_sizes", None) is None:
        return False  # of an earlier version
    library.sources.restype = ctypes.c_char_p
    if library.sources() != digest().encode():
        return False
    sizes = (ctypes.c_int64 * len(STRUCTURES))()
    library.structure_sizes(sizes)
    return list(sizes) == [ctypes.sizeof(one) for one in STRUCTURES]


def _typed(library: Any) -> Any:
    """The functions with the types of their arguments."""
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
        (library.owners_pass, [whole] * 2 + [address] * 2 + [size] + [address] * 3 + [size]),
        (library.winograd_windows, [*images, address]),
        (library.winograd_gather, [*images, address, address]),
        (library.winograd_spread, [*images, address]),
    ):
        function.restype, function.argtypes = None, arguments
    library.adamw.restype = ctypes.c_double
    library.adamw.argtypes = [whole, whole, address, size, address, address, ctypes.c_double, address]
    for function in (library.panel_width, library.group_rows):
        function.restype, function.argtypes = size, [whole]
    library.owner_room.restype, library.owner_room.argtypes = size, [whole, address]
    return library
