"""Named arrays, wherever they come from: an ``.npz`` file that is opened, or arrays that a program has in memory.

Everything that reads a dataset reads it through :class:`Source`. To read another kind of file, write a source for it,
and let :func:`open_source` know it by its first bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeAlias

import numpy as np

from citris_cli.data.identity import FileIdentity
from citris_cli.data.npz import is_mapping, open_npz, release_pages, require_memory, require_plain
from citris_cli.errors import InputError
from citris_cli.wording import enumerated, reason, type_of

#: What messages call arrays that came in no file.
GIVEN_ARRAYS = "the given arrays"
#: What a program can give for an array.
GIVEN_FOR_ARRAYS = "a numpy array, a torch tensor, or a list of arrays of one shape"
# Bytes that are taken at a time where an array is only passed through.
_PIECE = 4 << 20


class Source(Protocol):
    """An input that is open and has named arrays; their shapes and types are known before any data is read."""

    @property
    def label(self) -> str:
        """What messages call it: a file's path, or "the given arrays"."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its arrays, in its own order; at least one."""

    @property
    def identity(self) -> FileIdentity | None:
        """Of the file that is open; None of what came in no file."""

    def __contains__(self, name: object) -> bool:
        """Whether it has an array of this name."""

    def shape(self, name: str) -> tuple[int, ...]:
        """The array's shape; InputError if there is none of this name, or its description is malformed."""

    def dtype(self, name: str) -> np.dtype[Any]:
        """The array's type as it is stored, perhaps in foreign byte order; InputError as `shape`."""

    def is_mapped(self, name: str) -> bool:
        """Whether `array` gives it in place, in a file that is mapped, so that it may be larger than the memory."""

    def array(self, name: str) -> np.ndarray[Any, Any]:
        """The whole array in C order and native byte order; nobody writes to it.

        Raises:
            InputError: there is none of this name, it is malformed or damaged, holds neither numbers nor text, or is
                larger than the memory that is available.
        """

    def pieces(self, name: str, size: int) -> Iterator[np.ndarray[Any, Any]]:
        """Consecutive rows of the array, about `size` bytes and at least one row at a time; none of a scalar.

        Raises:
            InputError: as `array`; damage may be found only after the last piece.
        """

    def require_room(self, name: str, kept: int = 1) -> None:
        """Refuse an array, before it is read, of which `kept` bytes a value are more than can be kept (InputError)."""

    def close(self) -> None:
        """Close what is open; arrays that were given out stay valid."""

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class ArraySource:
    """Arrays in memory, as a source; they are neither copied nor written to where they already lie in C order.

    Args:
        arrays: by name, what :func:`as_array` takes.
        label: what messages call them.

    Attributes:
        label: the same.
        identity: None, of no file.
        names: the names, in the order of the mapping.

    Raises:
        InputError: no arrays, names that are no text, or values that are neither numbers nor text.
    """

    def __init__(self, arrays: Mapping[str, Any], label: str = GIVEN_ARRAYS) -> None:
        self.label = label
        self.identity: FileIdentity | None = None
        self._arrays = {name: as_array(value, f"{label}: key {name!r}") for name, value in arrays.items()}
        if not self._arrays:
            raise InputError(f"{label}: no arrays are given; give at least images and interventions")
        if strange := [name for name in self._arrays if not isinstance(name, str)]:
            raise InputError(f"{label}: the key {strange[0]!r} is not text; name every array, such as 'images'")
        self.names: tuple[str, ...] = tuple(self._arrays)

    def __enter__(self) -> ArraySource:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def close(self) -> None:
        """Nothing is open; for the protocol."""

    def shape(self, name: str) -> tuple[int, ...]:
        """The array's shape; InputError if there is none of this name."""
        return self._array(name).shape

    def dtype(self, name: str) -> np.dtype[Any]:
        """The array's type, perhaps in foreign byte order; InputError if there is none of this name."""
        return self._array(name).dtype

    def is_mapped(self, name: str) -> bool:
        """Whether the array lies in a file that is mapped to be read only (``np.load(path, mmap_mode="r")``)."""
        array = self._array(name)
        return is_mapping(array) and array.flags.c_contiguous and array.dtype.isnative

    def array(self, name: str) -> np.ndarray[Any, Any]:
        """The array itself, or a copy in C order and native byte order if it is not in these.

        Raises:
            InputError: there is none of this name, or no memory for the copy.
        """
        array = self._array(name)
        if not (array.flags.c_contiguous and array.dtype.isnative):
            require_memory(array.nbytes, f"{self.label}: key {name!r}")
        return _plain(array)

    def pieces(self, name: str, size: int) -> Iterator[np.ndarray[Any, Any]]:
        """Consecutive rows of the array; see :meth:`Source.pieces`."""
        array = self._array(name)
        length = array.shape[0] if array.shape else 0
        rows = max(1, size * length // max(1, array.nbytes))
        for start in range(0, length, rows):
            yield _plain(array[start : start + rows])
            release_pages(array)

    def require_room(self, name: str, kept: int = 1) -> None:
        """Refuse an array that would take more memory than there is; see :meth:`Source.require_room`."""
        require_memory(kept * self._array(name).size, f"{self.label}: key {name!r}", "give fewer frames")

    def update(self, digest: hashlib._Hash) -> None:
        """Feed a hash with names, types, shapes and contents of all arrays, in the order of their names.

        The same for the same values, whatever the order of the mapping and however an array lies in memory.
        """
        for name in sorted(self.names):
            array = self._array(name)
            native = array.dtype.newbyteorder("=")
            digest.update(repr((name, native.str, array.shape)).encode())
            for piece in self.pieces(name, _PIECE) if array.shape else [_plain(array)]:
                if piece.size:
                    digest.update(piece.reshape(-1).view(np.uint8).data)

    def _array(self, name: str) -> np.ndarray[Any, Any]:
        if name not in self._arrays:
            raise InputError(f"{self.label}: there is no key {name!r}; there are {enumerated(self.names)}")
        return self._arrays[name]


#: What a loader can be given: a path (a file, a directory, a quoted pattern), or arrays by the names of their keys.
Data: TypeAlias = Path | Mapping[str, Any] | ArraySource


def open_source(where: Data) -> Source:
    """Open whatever holds named arrays; a file is recognised by its content, not by the ending of its name.

    Args:
        where: the path of a file, or arrays by name.

    Raises:
        InputError: a file that is missing, unreadable, empty, damaged or no ``.npz``, in one sentence that says what it
            is and what to do; arrays that are neither numbers nor text.
    """
    if isinstance(where, Path):
        return open_npz(where)
    return where if isinstance(where, ArraySource) else ArraySource(where)


def as_array(value: Any, where: str) -> np.ndarray[Any, Any]:
    """What a program gives for an array, as NumPy's.

    Args:
        value: a NumPy array; a torch tensor on any device, with gradients or without; numbers or text in (nested)
            lists; a list of arrays, tensors or pictures of one shape.
        where: what messages call it.

    Returns:
        The array; in place where numpy finds it in memory as one.

    Raises:
        InputError: it is nothing of the kind.
    """
    if isinstance(value, list | tuple):
        shapes = list(dict.fromkeys(tuple(item.shape) for item in value if hasattr(item, "shape")))
        if len(shapes) > 1:
            one, other = map(list, shapes[:2])
            raise InputError(f"{where} lists arrays of the shapes {one} and {other}; they need one shape")
    try:
        array = np.asarray(_on_host(value))
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        # Lists of uneven length, tensors without values or in a layout that numpy does not know.
        raise InputError(
            f"{where}: numpy cannot make an array of it ({reason(error)}); give {GIVEN_FOR_ARRAYS}"
        ) from None
    if array.dtype.hasobject and not isinstance(value, np.ndarray):
        raise InputError(f"{where} is {type_of(value)}, which numpy cannot convert to numbers; give {GIVEN_FOR_ARRAYS}")
    require_plain(array.dtype, where)
    return array


def _on_host(value: Any) -> Any:
    """Tensors as arrays, those in a list too; anything else as it is."""
    import torch  # here, for a command that opens a file needs none

    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        # Of NumPy's own numbers none is as short as this.
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, list | tuple) and any(isinstance(one, torch.Tensor) for one in value):
        return [_on_host(one) for one in value]
    return value


def _plain(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array in C order and native byte order: itself if it is so already."""
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")
