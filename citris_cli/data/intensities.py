"""Intensities of frames as bytes, whatever numbers they are saved as."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from citris_cli.errors import InputError

#: Arrays of no bytes are converted so many of their own bytes at a time: what a processor's cache holds.
PIECE = 2 << 20


def to_uint8_frames(array: np.ndarray[Any, Any], where: str) -> tuple[np.ndarray[Any, Any], tuple[str, ...]]:
    """Frames as bytes, 0 … 255.

    Bytes stay as they are; integers 0…255 and floats 0…1, times 255 and rounded, are the same in other types; booleans
    are 0 and 255. Floats −1…1 are scaled, and so is uint16 with values beyond 255, as 0…65535.

    Args:
        array: frames [N, …], of any number type.
        where: file and key, for messages.

    Returns:
        uint8 of the same shape, `array` itself if it was uint8; and sentences on how the values were read.

    Raises:
        InputError: a value outside its range, NaN or infinite, naming the first frame that has one; or no numbers.
    """
    if array.dtype == np.uint8:
        return array, ()
    rows = max(1, PIECE // max(1, array[:1].nbytes))
    frames, notes, _ = as_bytes(
        lambda: (array[start : start + rows] for start in range(0, len(array), rows)), array.shape, array.dtype, where
    )
    return frames, notes


def _require_numbers(dtype: np.dtype[Any], where: str) -> None:
    if dtype.kind not in "buif":
        raise InputError(f"{where} holds {dtype}, which cannot be pixels; save uint8 0…255 or floats 0…1")


@dataclass(frozen=True)
class Scale:
    """How numbers stand for intensities.

    Attributes:
        low: black.
        high: white.
        name: such as "0…1".
        allowed: what a refusal says of other values.
    """

    low: float
    high: float
    name: str
    allowed: str


_UNIT = Scale(0, 1, "0…1", "floats need 0…1 or −1…1, and must be finite")
_SIGNED = Scale(-1, 1, "−1…1", "floats need −1…1 where some lie below 0, and must be finite")
_BYTES = Scale(0, 255, "0…255", "integers need 0…255, and uint16 0…65535; save them as bytes")
_WORDS = Scale(0, 65535, "0…65535", "")
#: Gives consecutive frames, from the first one on, whenever it is called.
Pieces: TypeAlias = Callable[[], Iterable[np.ndarray[Any, Any]]]
#: A pixel this dark, where black is −1, is what tells frames of −1…1 from ones of 0…1 that a filter made ring.
_DARK = -0.25


def as_bytes(
    pieces: Pieces, shape: tuple[int, ...], dtype: np.dtype[Any], where: str
) -> tuple[np.ndarray[Any, Any], tuple[str, ...], str]:
    """Frames of any number type as bytes, see :func:`to_uint8_frames`.

    Args:
        pieces: gives consecutive frames from the first one on, whenever it is called.
        shape: of all of them.
        dtype: of all of them, not uint8.
        where: file and key, for messages.

    Returns:
        uint8 of that shape, sentences on how the values were read, and the scale's name; "" of booleans.

    Raises:
        InputError: as :func:`to_uint8_frames`.
    """
    _require_numbers(dtype, where)
    frames = np.empty(shape, dtype=np.uint8)
    finder = _Finder(dtype)
    start, pending = 0, iter(pieces())
    while (piece := next(pending, None)) is not None:
        if finder.widens(piece, start):  # from the first frame again
            start, pending = 0, iter(pieces())
            continue
        if finder.ringing is None:
            frames[start : start + len(piece)] = to_bytes(piece, finder.scale, start, where)
        start += len(piece)
    return frames, *finder.told(where)


def find_scale(pieces: Pieces, dtype: np.dtype[Any], where: str) -> tuple[Scale, tuple[str, ...]]:
    """How the numbers of frames stand for intensities, for :func:`to_bytes`; all values are looked at.

    Args:
        pieces: as in :func:`as_bytes`.
        dtype: of the frames.
        where: file and key, for messages.

    Returns:
        The scale, and sentences on how the values are read.

    Raises:
        InputError: no numbers, or some below 0 that are neither black nor a filter's ringing.
    """
    _require_numbers(dtype, where)
    finder = _Finder(dtype)
    if finder.may_widen:
        start = 0
        for piece in pieces():
            finder.widens(piece, start)
            start += len(piece)
    return finder.scale, finder.told(where)[0]


class _Finder:
    """Finds the scale of frames that are looked at piece by piece.

    Args:
        dtype: of the frames.

    Attributes:
        scale: by what was seen until now.
        ringing: the first piece with values a little below 0, and its first frame's number; what a filter's ringing
            puts there is refused, unless other frames show that 0 is no black.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.scale = _UNIT if dtype.kind == "f" else _BYTES
        self.ringing: tuple[int, np.ndarray[Any, Any]] | None = None
        self._bits = dtype.kind == "b"
        self._wide = dtype.kind == "u" and dtype.itemsize == 2
        self._largest = 0

    @property
    def may_widen(self) -> bool:
        """Whether values can change the scale."""
        return self._wide or self.scale is _UNIT

    def widens(self, piece: np.ndarray[Any, Any], start: int) -> bool:
        """Whether these frames, of which the first is number `start`, show that the scale is wider than was thought."""
        wider = self.scale
        if self.scale is _UNIT and bool((piece < 0).any()):
            wider = _SIGNED if bool((piece < _DARK).any()) else self.scale
            self.ringing = (start, piece) if self.ringing is None else self.ringing
        elif self._wide:
            self._largest = max(self._largest, int(piece.max()))
            wider = _WORDS if self._largest > 255 else self.scale
        if wider is self.scale:
            return False
        self.scale, self.ringing = wider, None
        return True

    def told(self, where: str) -> tuple[tuple[str, ...], str]:
        """Sentences on how the values were read, and the scale's name; InputError of ringing."""
        if self.ringing is not None:
            to_bytes(self.ringing[1], self.scale, self.ringing[0], where)
        if self.scale is _SIGNED:
            return (f"{where}: values from −1 to 1, read as −1 for black and 1 for white",), self.scale.name
        if self.scale is _WORDS:
            shifted = "; of 12 bits each, they need to be multiplied by 16 first" if self._largest < 4096 else ""
            note = f"{where}: 16 bits a value, read as 0…65535 (the largest is {self._largest:,}{shifted})"
            return (note,), self.scale.name
        return (), "" if self._bits else self.scale.name


def to_bytes(piece: np.ndarray[Any, Any], scale: Scale, start: int, where: str) -> np.ndarray[Any, Any]:
    """Some frames of any number type as bytes.

    Args:
        piece: consecutive frames.
        scale: as :func:`find_scale` found it.
        start: the number of the first of them, for messages.
        where: file and key, for messages.

    Returns:
        uint8 of the same shape.

    Raises:
        InputError: a value outside the scale, NaN or infinite.
    """
    if piece.dtype == np.uint8:
        return piece
    if piece.dtype.kind == "b":
        return piece.astype(np.uint8) * np.uint8(255)
    # Written so that NaN, which compares false, is outside too.
    inside = (piece >= scale.low) & (piece <= scale.high)
    if not inside.all():
        bad = int(np.argmin(inside.reshape(len(piece), -1).all(axis=1)))
        value = piece[bad][~inside[bad]].flat[0]
        allowed = scale.allowed
        if scale is _UNIT and 1 < value <= 255:
            allowed = "floats need 0…1, so divide by 255 if the values are 0…255"
        raise InputError(f"{where}, frame {start + bad} holds the value {value:g}; {allowed}")
    if scale is _BYTES:
        return piece.astype(np.uint8)
    unit = (piece.astype(np.float32) - np.float32(scale.low)) / np.float32(scale.high - scale.low)
    return np.rint(unit * np.float32(255)).astype(np.uint8)
