"""How a frame of any size becomes a square one: cut out, made grey, cropped or padded, resized; on several cores."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from citris_cli.data.images import resized
from citris_cli.errors import InputError
from citris_cli.recordings.recording import Array
from citris_cli.system import available_cores

FITS = ("crop", "pad", "stretch")
#: Bytes of whole frames that wait to be resized, about.
_WAITING = 64 << 20
_LONGEST_CROP = 1 << 24


@dataclass(frozen=True)
class Fitting:
    """What is done to every frame.

    Attributes:
        size: height and width of the result in pixels.
        fit: of :data:`FITS`: the middle square, all of it with black around, or all of it out of proportion.
        crop: left, top, width and height in pixels of what is cut out first; None for the whole frame.
        grey: whether the first three channels become one.
    """

    size: int
    fit: str = "crop"
    crop: tuple[int, int, int, int] | None = None
    grey: bool = False

    def channels(self, found: int) -> int:
        """Channels of the result for frames of so many."""
        return found - 2 if self.grey and found >= 3 else found

    def check(self, size: tuple[int, int], label: str | None = None) -> None:
        """Refuse a crop that reaches beyond frames of a width and height, of a recording of this name (InputError)."""
        if self.crop is not None:
            left, top, width, height = self.crop
            if left + width > size[0] or top + height > size[1]:
                whose = "there are" if label is None else f"{label} has"
                raise InputError(
                    f"--crop {','.join(map(str, self.crop))}: {whose} frames of {size[0]}×{size[1]}, which end "
                    f"before {left + width}×{top + height}; choose X,Y,W,H inside of them"
                )

    def in_words(self, size: tuple[int, int]) -> str:
        """What becomes of frames of a width and height, such as "cropped to …, resized to 64×64"; "" for nothing."""
        said = []
        if self.crop is not None:
            left, top, *size_ = self.crop
            size = (size_[0], size_[1])
            said.append(f"cut to {size[0]}×{size[1]} from {left},{top} on")
        side = min(size)
        if size[0] != size[1]:
            if self.fit == "crop":
                said.append(f"cropped to their middle {side}×{side}")
            elif self.fit == "pad":
                side = max(size)
                said.append(f"padded with black to {side}×{side}")
            else:
                said.append(f"stretched to {self.size}×{self.size}")
                side = self.size
        if side != self.size:
            said.append(f"{'enlarged' if side < self.size else 'resized'} to {self.size}×{self.size}")
        if self.grey:
            said.append("made grey")
        return ", ".join(said)

    def apply(self, frame: Array) -> Array:
        """A frame uint8 [H, W, C] as uint8 [size, size, C'].

        Raises:
            InputError: the crop reaches beyond it.
        """
        self.check((frame.shape[1], frame.shape[0]))
        if self.crop is not None:
            left, top, width, height = self.crop
            frame = frame[top : top + height, left : left + width]
        if self.fit == "crop":
            height, width = frame.shape[:2]
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            frame = frame[top : top + side, left : left + side]
        if self.grey and frame.shape[2] >= 3:
            grey = np.asarray(Image.fromarray(np.ascontiguousarray(frame[..., :3])).convert("L"))[..., None]
            frame = np.concatenate([grey, frame[..., 3:]], axis=2) if frame.shape[2] > 3 else grey
        if frame.shape[:2] == (self.size, self.size):
            return np.ascontiguousarray(frame)
        return self._padded(frame) if self.fit == "pad" else _resized(frame, self.size, self.size)

    def _padded(self, frame: Array) -> Array:
        height, width = frame.shape[:2]
        scale = self.size / max(height, width)
        inner = _resized(frame, max(1, round(height * scale)), max(1, round(width * scale)))
        whole = np.zeros((self.size, self.size, frame.shape[2]), np.uint8)
        top, left = (self.size - inner.shape[0]) // 2, (self.size - inner.shape[1]) // 2
        whole[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
        return whole


def _resized(frame: Array, height: int, width: int) -> Array:
    """Resized as `encode` resizes pictures; the fourth channel is one like the others and no alpha."""
    channels = frame.shape[2]
    if channels == 3:
        return np.asarray(resized(Image.fromarray(np.ascontiguousarray(frame)), width, height))
    if channels > 3:
        parts = [_resized(frame[..., :3], height, width), _resized(frame[..., 3:], height, width)]
        return np.concatenate(parts, axis=2)
    planes = [Image.fromarray(np.ascontiguousarray(frame[..., channel])) for channel in range(channels)]
    return np.stack([np.asarray(resized(plane, width, height)) for plane in planes], axis=2)


def fitted(frames: Iterable[Array], fitting: Fitting) -> Iterator[Array]:
    """Frames fitted, in order; some are resized, on several cores, while the next are decoded.

    Args:
        frames: uint8 [H, W, C] each.
        fitting: what is done to them.

    Yields:
        uint8 [size, size, C'].

    Raises:
        InputError: as :meth:`Fitting.apply`.
    """
    with ThreadPoolExecutor(available_cores()) as pool:
        waiting: deque[Future[Array]] = deque()
        try:
            for frame in frames:
                waiting.append(pool.submit(fitting.apply, frame))
                if len(waiting) > max(2, min(64, _WAITING // max(1, frame.nbytes))):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()


def parse_crop(text: str) -> tuple[int, int, int, int]:
    """What ``--crop X,Y,W,H`` says.

    Raises:
        InputError: other than four whole numbers, or no pixels.
    """
    parts = text.split(",")
    try:
        left, top, width, height = (int(part) for part in parts)
    except ValueError:
        left = top = width = height = -1
    if min(left, top) < 0 or min(width, height) < 1 or max(left, top, width, height) > _LONGEST_CROP:
        raise InputError(
            f"--crop {text}: write X,Y,W,H in pixels, the left upper corner and the size, such as 32,0,192,192"
        )
    return left, top, width, height
