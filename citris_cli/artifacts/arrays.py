"""Arrays in ``.npz`` files: uncompressed, so that they can be memory-mapped, and the same bytes for the same arrays."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np

#: The same for every member: the time of writing is no part of the content.
_DATE = (1980, 1, 1, 0, 0, 0)
#: numpy aligns the data within a member; the member itself is aligned to this in the file.
_ALIGNMENT = 64
#: Size of a local file header without its name and extra field.
_LOCAL_HEADER = 30


class NpzWriter:
    """Writes the members of an ``.npz`` one by one; the data of each start at a multiple of 64 bytes in the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True)
        self._file = file

    def add(self, name: str, array: np.ndarray) -> None:
        """Add a whole array.

        Raises:
            ValueError: the array holds Python objects, which only a pickle could store.
        """
        array = np.asanyarray(array)
        # tobytes-free: the rows go out as they lie, in chunks of the array's own memory.
        self.add_chunks(name, array.shape, array.dtype, [np.ascontiguousarray(array)])

    def add_chunks(self, name: str, shape: tuple[int, ...], dtype: np.dtype, chunks: Iterable[np.ndarray]) -> None:
        """Add an array of known shape from consecutive chunks of its rows, without holding all of it.

        Raises:
            ValueError: Python objects, or chunks that do not add up to the shape.
        """
        dtype = np.dtype(dtype)
        if dtype.hasobject:
            raise ValueError(f"{name}: arrays of Python objects are not stored")
        header = io.BytesIO()
        description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(header, description)
        info = zipfile.ZipInfo(f"{name}.npy", _DATE)
        info.external_attr = 0o644 << 16
        # Room for zip64 sizes is always taken, so that the header's length does not depend on the data's.
        start = self._file.tell() + _LOCAL_HEADER + len(info.filename.encode()) + 20
        padding = -start % _ALIGNMENT
        if 0 < padding < 4:  # an extra field needs four bytes for its own header
            padding += _ALIGNMENT
        if padding:
            info.extra = (0xFFFF).to_bytes(2, "little") + (padding - 4).to_bytes(2, "little") + bytes(padding - 4)
        expected = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        written = 0
        with self._zip.open(info, "w", force_zip64=True) as member:
            member.write(header.getvalue())
            for chunk in chunks:
                data = np.ascontiguousarray(chunk, dtype=dtype).reshape(-1).view(np.uint8)
                written += data.nbytes
                member.write(data.data)
        if written != expected:
            raise ValueError(f"{name}: chunks hold {written} bytes, the shape {shape} needs {expected}")

    def abandon(self) -> None:
        """Forget a file whose writing failed, so that nothing tries to complete it later."""
        self._zip.fp = None

    def close(self) -> None:
        """Write the directory of members; the file itself stays open."""
        self._zip.close()


@contextmanager
def npz_writer(file: BinaryIO) -> Iterator[NpzWriter]:
    """An :class:`NpzWriter` that is closed at the end of the block."""
    writer = NpzWriter(file)
    try:
        yield writer
    except BaseException:
        writer.abandon()
        raise
    writer.close()


def write_arrays(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the content of an ``.npz``."""
    with npz_writer(file) as writer:
        for name, array in arrays.items():
            writer.add(name, array)


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An ``.npz`` of these arrays, in memory."""
    buffer = io.BytesIO()
    write_arrays(buffer, arrays)
    return buffer.getvalue()
