"""Safe reading of `.npz` files: nothing is unpickled, and no memory is taken on a header's word alone.

Uncompressed members are memory-mapped where they lie in the file; compressed ones are decompressed piece by piece
into the one array that is returned. What that takes is known from the headers, and limited: see :data:`MOST_INFLATED`.
"""

from __future__ import annotations

import io
import math
import mmap
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet

import numpy as np

from citris_cli.data import signatures
from citris_cli.data.identity import FileIdentity
from citris_cli.data.paths import is_hidden
from citris_cli.errors import ChangedDataError, InputError
from citris_cli.system import about_open, available_memory, release_mapping
from citris_cli.wording import enumerated, legible, reason, size_in_words

#: What is kept of a compressed member is at most so many times its bytes in the file, beyond what is never refused.
#: Deflate reaches 1030. Published frames, which are drawn on one colour, have up to 60; true frames have 3.
MOST_INFLATED, ALWAYS_INFLATED = 200, 16 << 20

# Bytes that are read at once: what glibc reuses. It got a megabyte from the system each time, page by page.
_CHUNK = 1 << 18
# Pages of a mapping are given back after this many bytes of a sequential pass.
_RELEASE_EVERY = 64 << 20
# numpy itself refuses longer headers; ours is checked before the header is read.
_MAX_HEADER = 10_000
_MAGIC = b"\x93NUMPY"
_ENCRYPTED = 0x1
_LOCAL_HEADER = 30


@dataclass(frozen=True)
class _Member:
    """One array of the file as its headers describe it; `data_at` counts from the start of the member's contents."""

    info: zipfile.ZipInfo
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    data_at: int

    @property
    def size(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class _Mapping(mmap.mmap):
    """A member of a file, mapped to be read, that knows what it held when it was checked.

    Attributes:
        file: what is mapped.
        info: the member.
        start: where its contents begin in the mapping.
        end: where they end in the file.
    """

    file: FileIdentity
    info: zipfile.ZipInfo
    start: int
    end: int

    def is_cut_short(self) -> bool:
        """Whether the file, whatever its name leads to now, no longer has all of the member: to touch it would fail."""
        return self.size() < self.end

    def require_unchanged(self) -> None:
        """Refuse contents that are not those that were checked; see :func:`require_unchanged`."""
        if not self.is_cut_short():
            # Of a file that was replaced or removed, what is mapped stays as it was.
            if self.file.change() != "was written to":
                return
            with suppress(zipfile.BadZipFile, FileNotFoundError):
                now = FileIdentity.of(self.file.path, self.file.path.stat())
                _check_sum(self, self.start, self.info)
                self.file = now  # written to elsewhere, or the very same once more
                return
        how = "was cut short" if self.is_cut_short() else "was overwritten"
        raise ChangedDataError(f"{self.file.path}: {how} while it was read")


#: All that are mapped, for whoever has to tell which of them was lost.
_mapped: WeakSet[_Mapping] = WeakSet()


class NpzFile:
    """An open `.npz`: headers are read when asked for, data only by `array`.

    Use as a context manager, or call `close`; arrays already given out stay valid.

    Attributes:
        label: the file's path, or what the bytes are called that it was opened from; for messages.
        identity: of the file, as it was opened.
        names: the arrays' names, in the file's order. Other members (a README, what a Mac adds) are none of them; to
            ask for such a member by its name is answered with why it is no array.
    """

    def __init__(self, stream: IO[bytes], label: str) -> None:
        self.label = label
        self.identity = FileIdentity.of(Path(label), about_open(stream.fileno(), Path(label)))
        self._stream = stream
        self._bytes = stream.seek(0, os.SEEK_END)
        self._members: dict[str, _Member] = {}
        with _malformed(label, "the file"):
            self._zip = zipfile.ZipFile(stream)
        self._infos: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            if info.is_dir() or is_hidden(info.filename):
                continue
            name = info.filename.removesuffix(".npy")
            if name in self._infos:
                raise InputError(f"{label}: {_key(name)} is in the file twice; save it again with np.savez")
            self._infos[name] = info
        if any(name.endswith("data.pkl") for name in self._infos):
            raise InputError(f"{label}: this is a PyTorch checkpoint, not data; 'citris import-checkpoint' reads it")
        self.names: tuple[str, ...] = tuple(name for name, info in self._infos.items() if self._is_array(info))
        if not self.names:
            found = f", only {enumerated(self._infos)}" if self._infos else ""
            raise InputError(f"{label}: the file holds no arrays{found}; save frames and interventions with np.savez")

    def __enter__(self) -> NpzFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __contains__(self, name: object) -> bool:
        return name in self._infos

    def close(self) -> None:
        """Close the file; mapped arrays that were given out keep their mapping."""
        self._zip.close()
        self._stream.close()

    def shape(self, name: str) -> tuple[int, ...]:
        """The array's shape, from its header; InputError if the member is missing or malformed."""
        return self._member(name).shape

    def dtype(self, name: str) -> np.dtype[Any]:
        """The array's type as stored (perhaps big-endian); InputError if the member is missing or malformed."""
        return self._member(name).dtype

    def is_mapped(self, name: str) -> bool:
        """Whether `array` maps this member in place: stored uncompressed in a file, C order, native byte order."""
        member = self._member(name)
        stored = member.info.compress_type == zipfile.ZIP_STORED
        return stored and not member.fortran and member.dtype.isnative and member.size > 0

    def array(self, name: str) -> np.ndarray[Any, Any]:
        """The array, in C order and native byte order; read-only where it is mapped (and then perhaps unaligned).

        Raises:
            InputError: the member is missing, malformed, damaged (its checksum differs), not plain numbers or text,
                larger than the memory that is available, or compressed beyond :data:`MOST_INFLATED`.
        """
        member = self._member(name)
        if not self.is_mapped(name):
            copies = 2 if member.fortran or not member.dtype.isnative else 1
            self._require_room(name, member, copies * member.size)
        with _malformed(self.label, _key(name)):
            if self.is_mapped(name):
                return self._map(member)
            return self._read(member)

    def pieces(self, name: str, size: int) -> Iterator[np.ndarray[Any, Any]]:
        """The array piece by piece along its first axis, for what need not be in memory as a whole.

        Args:
            name: the array's.
            size: bytes a piece, about; a piece holds at least one row.

        Yields:
            Consecutive rows, in C order and native byte order.

        Raises:
            InputError: as `array`; a damaged member is found only once its last piece is taken.
        """
        member = self._member(name)
        length = member.shape[0] if member.shape else 0
        rows = max(1, size * length // max(1, member.size))
        if self.is_mapped(name) or member.fortran or not length:
            # In place, or with its rows spread over all of its data.
            array = self.array(name)
            for start in range(0, length, rows):
                yield array[start : start + rows]
                release_pages(array)
            return
        with _malformed(self.label, _key(name)), self._zip.open(member.info) as stream:
            stream.read(member.data_at)
            for start in range(0, length, rows):
                piece = np.empty((min(rows, length - start), *member.shape[1:]), member.dtype)
                _fill(piece, stream)
                yield _native(piece)
            _check_end(stream)

    def require_room(self, name: str, kept: int = 1) -> None:
        """Refuse what would take more memory than there is, or than its bytes in the file can be worth, by its header.

        Args:
            name: the array's.
            kept: bytes that are going to be kept of each value.

        Raises:
            InputError: it would; or as `shape`.
        """
        member = self._member(name)
        self._require_room(name, member, kept * math.prod(member.shape))

    def _require_room(self, name: str, member: _Member, size: int) -> None:
        where, packed = f"{self.label}: {_key(name)}", min(member.info.compress_size, self._bytes)
        if member.info.compress_type != zipfile.ZIP_STORED and size > max(MOST_INFLATED * packed, ALWAYS_INFLATED):
            raise InputError(
                f"{where} is {size_in_words(packed)} that would take {size_in_words(size)} of memory, more than "
                f"{MOST_INFLATED} times as much; save it uncompressed with np.savez"
            )
        require_memory(size, where)

    def _is_array(self, info: zipfile.ZipInfo) -> bool:
        """Whether a member claims to be an array, by the ending of its name or else by its first bytes."""
        if info.filename.endswith(".npy"):
            return True
        try:
            with self._zip.open(info) as stream:
                return stream.read(len(_MAGIC)) == _MAGIC
        except Exception:
            # Encrypted, packed in a way that zipfile does not know, or damaged: nobody has asked for it yet.
            return False

    def _member(self, name: str) -> _Member:
        if name not in self._infos:
            raise InputError(f"{self.label}: there is no key {name!r}; the file has {enumerated(self.names)}")
        if name not in self._members:
            with _malformed(self.label, _key(name)):
                self._members[name] = self._parse(name, self._infos[name])
        return self._members[name]

    def _parse(self, name: str, info: zipfile.ZipInfo) -> _Member:
        where = f"{self.label}: {_key(name)}"
        if info.flag_bits & _ENCRYPTED:
            raise InputError(f"{where} is encrypted; save the file again without a password")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"{where} is compressed in a way np.savez never uses; save the file again with np.savez")
        with self._zip.open(info) as stream:
            shape, fortran, dtype = _read_header(stream, where)
            data_at = stream.tell()
        require_plain(dtype, where)
        member = _Member(info, shape, fortran, dtype, data_at)
        stored = info.compress_type == zipfile.ZIP_STORED
        held = (min(info.file_size, self._bytes) if stored else info.file_size) - data_at
        if any(length < 0 for length in shape) or member.size != held:
            raise InputError(
                f"{where} claims shape {list(shape)} of {dtype} but holds {max(held, 0)} bytes; "
                "the file is damaged, save it again"
            )
        return member

    def _read(self, member: _Member) -> np.ndarray[Any, Any]:
        # Memory comes from the system as it is touched; without asking for zeros, NumPy gets it in huge pages.
        flat = np.empty(math.prod(member.shape), dtype=member.dtype)
        with self._zip.open(member.info) as stream:
            stream.read(member.data_at)
            _fill(flat, stream)
            _check_end(stream)
        array = flat.reshape(member.shape)
        if member.fortran:
            array = np.ascontiguousarray(flat.reshape(member.shape, order="F")).reshape(member.shape)
        return _native(array)

    def _map(self, member: _Member) -> np.ndarray[Any, Any]:
        info = member.info
        file_number = self._stream.fileno()
        self._stream.seek(info.header_offset)
        local = self._stream.read(_LOCAL_HEADER)
        name_length, extra_length = int.from_bytes(local[26:28], "little"), int.from_bytes(local[28:30], "little")
        contents_at = info.header_offset + _LOCAL_HEADER + name_length + extra_length
        end = contents_at + info.file_size
        if info.compress_size != info.file_size or end > os.fstat(file_number).st_size:
            raise EOFError("the data ends early")
        # A mapping starts on a page; what lies before the contents in that page is skipped.
        base = contents_at - contents_at % mmap.ALLOCATIONGRANULARITY
        mapping = _Mapping(file_number, end - base, access=mmap.ACCESS_READ, offset=base)
        mapping.file, mapping.info, mapping.start, mapping.end = self.identity, info, contents_at - base, end
        _mapped.add(mapping)
        _check_sum(mapping, contents_at - base, info)
        flat = np.frombuffer(
            mapping,
            dtype=member.dtype,
            count=math.prod(member.shape),
            offset=contents_at - base + member.data_at,
        )
        return flat.reshape(member.shape)


def open_npz(path: Path) -> NpzFile:
    """Open an `.npz` file without reading its data.

    Raises:
        InputError: missing, unreadable, a directory, empty, truncated, or something else by its content (a single
            `.npy`, HDF5, a picture, a film, a model, text), whatever its name ends in.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path}: this is a directory where an .npz file was expected; name a file in it")
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: this is not a regular file; save the arrays as an .npz file and name that")
        stream = path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; check the path") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{path}: the file cannot be read ({why}); check the path and its permissions") from None
    return _open(stream, str(path))


def is_mapping(array: np.ndarray[Any, Any]) -> bool:
    """Whether an array (or what it is a view of) lies in a file that is mapped to be read only."""
    return _mapping(array) is not None


def release_pages(array: np.ndarray[Any, Any]) -> bool:
    """Give the resident pages of a mapped array back to the system; they are read again when next touched.

    Returns:
        Whether there were any to give back: see :func:`is_mapping`.
    """
    mapping = _mapping(array)
    if mapping is not None:
        release_mapping(mapping)
    return mapping is not None


def mappings(arrays: Iterable[np.ndarray[Any, Any]]) -> list[mmap.mmap]:
    """What arrays lie in, each mapping once; see :func:`is_mapping`."""
    found = (_mapping(array) for array in arrays)
    return list({id(mapping): mapping for mapping in found if mapping is not None}.values())


def require_unchanged(mapping: mmap.mmap) -> None:
    """Refuse a mapping whose file no longer holds what it held; cheap where nobody has written to that.

    Of one that was made elsewhere, such as with ``np.load(path, mmap_mode="r")``, only the size is looked at.

    Raises:
        ChangedDataError: its file was cut short, or overwritten in place.
    """
    if isinstance(mapping, _Mapping):
        mapping.require_unchanged()
        return
    with suppress(OSError, ValueError):  # of no file
        if mapping.size() < len(mapping):
            raise ChangedDataError("the mapped file of the given arrays was cut short while it was read")


def cut_short() -> list[str]:
    """Files that are mapped and have lost something of what is; to touch that ends the process."""
    with suppress(OSError, ValueError):
        return sorted({str(mapping.file.path) for mapping in _mapped if mapping.is_cut_short()})
    return []


def require_plain(dtype: np.dtype[Any], where: str) -> None:
    """Refuse arrays that are no plain numbers, booleans or text; `where` names them in the message (InputError)."""
    if dtype.kind not in "biufUS":
        kind = "pickled Python objects" if dtype.hasobject else f"values of type {dtype}"
        raise InputError(f"{where} holds {kind}, which are never read; save plain numbers or text arrays instead")


def require_memory(
    size: int,
    where: str,
    instead: str = "save it uncompressed with np.savez (then it is read in place), or in smaller shards",
) -> None:
    """Refuse data of more bytes than `available_memory`; `where` names them in the message (InputError)."""
    available = available_memory()
    if size > available:
        needed, there = size_in_words(size), size_in_words(available)
        raise InputError(f"{where} needs {needed} of memory and {there} is available; {instead}")


def _open(stream: IO[bytes], label: str) -> NpzFile:
    try:
        start = stream.read(signatures.LOOKED_AT)
        if why_not := signatures.refusal(start):
            raise InputError(f"{label}: {why_not}")
        if signatures.identify(start) is None and not zipfile.is_zipfile(stream):
            raise InputError(
                f"{label}: this is neither an .npz file nor any other kind of file that citris recognises; save "
                "frames and interventions with np.savez"
            )
        stream.seek(0)
        return NpzFile(stream, label)
    except OSError as error:
        stream.close()
        raise InputError(f"{label}: the file cannot be read ({error.strerror or error}); check the disk") from None
    except BaseException:
        stream.close()
        raise


def _read_header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and type of the `.npy` that `stream` is at; the length is checked before it is read."""
    magic = stream.read(8)
    if magic[:6] != _MAGIC or len(magic) < 8:
        raise InputError(f"{where} is not a numpy array; save the file again with np.savez")
    width = 2 if magic[6] == 1 else 4
    prefix = stream.read(width)
    length = int.from_bytes(prefix, "little")
    if magic[6] not in (1, 2, 3) or length > _MAX_HEADER:
        raise InputError(f"{where} has a header of {length} bytes that np.savez would not write; save the file again")
    header = io.BytesIO(prefix + stream.read(length))
    # Version 3 is version 2 with names of fields in UTF-8, and types with fields are refused in any case.
    read = np.lib.format.read_array_header_1_0 if magic[6] == 1 else np.lib.format.read_array_header_2_0
    return read(header)


def _fill(array: np.ndarray[Any, Any], stream: IO[bytes]) -> None:
    """Decompress the next bytes of a member into an array."""
    target = array.reshape(-1).view(np.uint8)
    done = 0
    while done < len(target):
        block = stream.read(min(_CHUNK, len(target) - done))
        if not block:
            raise EOFError("the data ends early")
        target[done : done + len(block)] = np.frombuffer(block, np.uint8)
        done += len(block)


def _check_end(stream: IO[bytes]) -> None:
    """Let zipfile compare the checksum, as it does when it meets the end of the data."""
    stream.read(1)


def _native(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _check_sum(mapping: mmap.mmap, start: int, info: zipfile.ZipInfo) -> None:
    """Compare the mapped contents with the archive's checksum, keeping few pages resident."""
    view = memoryview(mapping)
    total = 0
    for at in range(start, start + info.file_size, _CHUNK):
        total = zlib.crc32(view[at : min(at + _CHUNK, start + info.file_size)], total)
        if (at - start) % _RELEASE_EVERY == 0:
            release_mapping(mapping)
    release_mapping(mapping)
    if total != info.CRC:
        raise zipfile.BadZipFile("the checksum differs")


def _mapping(array: np.ndarray[Any, Any]) -> mmap.mmap | None:
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
    if base is None:
        return None
    # Pages of a mapping that may be written to can hold what its file does not, and would lose it.
    with memoryview(base) as view:
        return base if view.readonly else None


@contextmanager
def _malformed(path: str, what: str) -> Iterator[None]:
    """Turn whatever zipfile, zlib and numpy raise on malformed input into one sentence."""
    try:
        yield
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path}: {what} is too large for this machine's memory; save smaller shards") from None
    except Exception as error:
        # A hostile archive can make these parsers raise nearly anything; none of it is our own fault.
        raise InputError(
            f"{path}: {what} cannot be read as .npz data, it is damaged or cut off ({reason(error)}); "
            "copy or save it again"
        ) from None


def _key(name: str) -> str:
    """What messages call an array."""
    return f"key '{legible(name)}'"
