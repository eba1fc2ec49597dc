"""HDF5 files as sources of arrays, read with h5py: a group, or each of several groups that are alike."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from citris_cli.data.identity import FileIdentity
from citris_cli.data.npz import require_memory, require_plain
from citris_cli.errors import InputError
from citris_cli.wording import enumerated, reason

#: A chunk is read whole: larger ones than this could take all memory for one frame.
_MAX_CHUNK = 1 << 30
#: More datasets than this in a group are not looked through.
_MOST = 100_000


def open_file(path: Path) -> Any:
    """An HDF5 file that is open to be read.

    Raises:
        InputError: h5py is not installed, or the file is damaged.
    """
    try:
        import h5py
    except ImportError:
        raise InputError(
            f"{path}: this is an HDF5 file, and reading it needs h5py; install it with pip install 'citris-cli[hdf5]'"
        ) from None
    try:
        return h5py.File(path, "r", locking=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{path}: this HDF5 file cannot be read ({reason(error)}); it is damaged or was cut short, get it again"
        ) from None


def datasets_in(group: Any, label: str) -> list[str]:
    """Paths of the datasets in and below a group, relative to it; links to other files are not followed.

    Raises:
        InputError: damaged, or more than can be looked through.
    """
    import h5py

    found: list[str] = []

    def visit(name: str | bytes, item: Any) -> bool | None:
        if isinstance(name, bytes):
            raise ValueError("a name in it is not UTF-8")
        if isinstance(item, h5py.Dataset):
            found.append(name)
        return True if len(found) > _MOST else None

    try:
        if group.visititems(visit):
            raise InputError(
                f"{label}: there are more than {_MOST:,} datasets here; name a group in it (file.h5:/group)"
            )
    except (RuntimeError, KeyError, OSError, ValueError) as error:
        raise InputError(f"{label}: this HDF5 file is damaged ({reason(error)}); get it again") from None
    return found


class Hdf5Source:
    """The datasets of a group, as a :class:`citris_cli.data.sources.Source`.

    Args:
        file: the open file, which several sources may share; `close` leaves it open.
        group: of the file.
        label: what messages call the group.
        path: of the file.

    Attributes:
        label: the same.
        identity: of the file.
        names: of the datasets in and below the group, relative to it.
    """

    def __init__(self, file: Any, group: Any, label: str, path: Path) -> None:
        self.label = label
        self.identity: FileIdentity | None = FileIdentity.of(path, os.stat(path))
        self._file, self._group = file, group
        self.names: tuple[str, ...] = tuple(datasets_in(group, label))

    def __enter__(self) -> Hdf5Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def close(self) -> None:
        """Nothing: the file is closed by whoever opened it."""

    def shape(self, name: str) -> tuple[int, ...]:
        """The dataset's shape; InputError if there is none of this name, or nothing in it."""
        shape = self._dataset(name).shape
        if shape is None:
            raise InputError(f"{self.label}: {name!r} is empty; name another dataset")
        return tuple(int(length) for length in shape)

    def dtype(self, name: str) -> np.dtype[Any]:
        """The dataset's type; InputError if there is none of this name."""
        return self._dataset(name).dtype

    def is_mapped(self, name: str) -> bool:
        """False: what is read is a copy."""
        return False

    def array(self, name: str) -> np.ndarray[Any, Any]:
        """The whole dataset in native byte order; text as such.

        Raises:
            InputError: there is none of this name, it is damaged, holds neither numbers nor text, or is larger than
                the memory.
        """
        dataset, where = self._dataset(name), f"{self.label}: {name!r}"
        if self._is_text(dataset):
            require_memory(int(dataset.size) * 100, where, "name another dataset")
            return np.array(self._read(dataset.asstr(errors="replace"), (), where), dtype=str)
        require_plain(dataset.dtype, where)
        self.require_room(name, dataset.dtype.itemsize)
        read = np.asarray(self._read(dataset, (), where))
        return read.astype(read.dtype.newbyteorder("="), copy=False)

    def pieces(self, name: str, size: int) -> Iterator[np.ndarray[Any, Any]]:
        """Consecutive rows; see :meth:`citris_cli.data.sources.Source.pieces`."""
        dataset, where = self._dataset(name), f"{self.label}: {name!r}"
        require_plain(dataset.dtype, where)
        length = dataset.shape[0] if dataset.shape else 0
        rows = max(1, size * length // max(1, dataset.size * dataset.dtype.itemsize))
        if dataset.chunks:  # what is compressed together is read once
            rows = max(rows // dataset.chunks[0], 1) * dataset.chunks[0]
        for start in range(0, length, rows):
            read = np.asarray(self._read(dataset, slice(start, start + rows), where))
            yield read.astype(read.dtype.newbyteorder("="), copy=False)

    def require_room(self, name: str, kept: int = 1) -> None:
        """Refuse a dataset that would take more memory than there is (InputError)."""
        require_memory(kept * int(self._dataset(name).size), f"{self.label}: {name!r}", "name a smaller one")

    def described(self) -> tuple[str, ...]:
        """Names of columns, in an attribute ``variables``, ``keys``, ``columns`` or ``names`` of group or file."""
        for holder in (self._group, self._file):
            for name in ("variables", "keys", "columns", "names"):
                if name in holder.attrs:
                    try:
                        value = holder.attrs[name]
                    except (OSError, TypeError, ValueError, RuntimeError):
                        continue
                    if isinstance(value, bytes):
                        value = value.decode(errors="replace")
                    parts = value.split(",") if isinstance(value, str) else np.atleast_1d(value).tolist()
                    texts = [part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in parts]
                    return tuple(text.strip() for text in texts)
        return ()

    def _dataset(self, name: str) -> Any:
        import h5py

        if name not in self.names:
            raise InputError(f"{self.label}: there is no dataset {name!r}; there are {enumerated(self.names)}")
        try:
            dataset = self._group[name]
            chunk = int(np.prod(dataset.chunks, dtype=np.int64)) * dataset.dtype.itemsize if dataset.chunks else 0
        except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"{self.label}: {name!r} cannot be read ({reason(error)}); get the file again") from None
        if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
            raise InputError(
                f"{self.label}: {name!r} lies in other files, which are not read; save it into one file (h5repack)"
            )
        if chunk > _MAX_CHUNK:
            raise InputError(
                f"{self.label}: {name!r} is stored in chunks of {chunk >> 20:,} MiB, too large to read one at a time; "
                "store it in smaller ones (h5repack -l CHUNK=…)"
            )
        return dataset

    @staticmethod
    def _is_text(dataset: Any) -> bool:
        import h5py

        return h5py.check_string_dtype(dataset.dtype) is not None

    @staticmethod
    def _read(dataset: Any, what: Any, where: str) -> Any:
        try:
            return dataset[what]
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise InputError(
                f"{where} cannot be read ({reason(error)}): the file is damaged, or its compression is unknown here; "
                "get it again, or store it with gzip (h5repack -f GZIP=4)"
            ) from None
