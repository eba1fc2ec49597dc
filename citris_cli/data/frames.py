"""Frames as one tensor of bytes: gathered by index, released from memory when mapped, converted on the device."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from citris_cli.data.npz import release_pages, require_memory
from citris_cli.data.sources import Source
from citris_cli.errors import InputError

SIZES = (32, 64, 128)

# Mapped pages are given back once they may be so many bytes.
_RELEASE_EVERY = 128 << 20
# Touching one byte of a mapping can make this many around it resident (Linux maps a whole cached huge page at once).
_FAULT_AROUND = 2 << 20
_CHUNK = 32 << 20
#: Frames that go through an encoder at a time.
ENCODED_AT_ONCE = 256
# Frames that are no bytes are converted so many of their own bytes at a time: what a processor's cache holds.
_PIECE = 2 << 20


class Frames:
    """Frames uint8 [N, H, W, 3] in one or several parts (shards), in memory or mapped from files.

    Parts keep their alpha channel where they lie; it is cut off after a gather, so that mapped files stay mapped.

    Args:
        parts: uint8 arrays [n, H, W, 3 or 4], all of one height and width, at least one; their sum is N.

    Raises:
        ValueError: no parts, or parts that are not uint8 or differ in size.
    """

    def __init__(self, parts: Sequence[np.ndarray[Any, Any]]) -> None:
        if not parts or len({part.shape[1:3] for part in parts}) != 1 or any(part.dtype != np.uint8 for part in parts):
            raise ValueError("frames need parts of uint8 that agree in height and width")
        self._arrays = list(parts)
        self._parts = [_as_tensor(part) for part in parts]
        self._mapped = [release_pages(part) for part in parts]
        self._ends = torch.tensor([len(part) for part in parts]).cumsum(0)
        self._touched = 0
        self._target = torch.device("cpu")
        self.height, self.width = int(parts[0].shape[1]), int(parts[0].shape[2])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def device(self) -> torch.device:
        """Where `gather` puts its batches."""
        return self._target

    @property
    def storage(self) -> torch.device:
        """Where the frames themselves lie, so that an index is best there too: `device`, or the CPU."""
        return self._parts[0].device

    def gather(self, index: torch.Tensor) -> torch.Tensor:
        """The frames at `index` (LongTensor [B], any device): uint8 [B, H, W, 3] on `device`.

        A view without the alpha channel where there is one, so perhaps not contiguous.

        Raises:
            IndexError: an index outside 0…N−1 (on an accelerator: that device's own error).
        """
        index = sent(index, self.storage)
        if len(self._parts) == 1:
            batch = self._select(0, index)
        else:
            batch = self._gather_parts(index)
        return sent(batch, self._target)[..., :3]

    def slice(self, start: int, stop: int) -> torch.Tensor:
        """Frames `start` to `stop` (exclusive, cut at N): uint8 [stop−start, H, W, 3] on `device`."""
        return self.gather(torch.arange(start, min(stop, len(self)), device=self._parts[0].device))

    def chunks(self, size: int) -> Iterator[torch.Tensor]:
        """All frames in order: uint8 [up to `size`, H, W, 3] at a time, on `device`."""
        for start in range(0, len(self), size):
            yield self.slice(start, start + size)

    def to(self, device: torch.device | str) -> Frames:
        """The same frames with batches on `device`.

        They move there for good if they fit in half of its free memory; else they stay on the host and every batch
        moves by itself.
        """
        target = torch.device(device)
        if target.type == "cuda" and target.index is None:
            target = torch.device("cuda", torch.cuda.current_device())
        moved = object.__new__(Frames)
        moved.__dict__.update(self.__dict__)
        moved._target = target
        if self._parts[0].device == target:
            return moved
        size = len(self) * self.height * self.width * 3
        if target.type == "cpu" or size <= _free_memory(target) // 2:
            moved._parts = [self._moved(target, size // len(self))]
            moved._arrays, moved._mapped = [], [False]
            moved._ends = torch.tensor([len(self)], device=target)
            # The tensor knows its device in full (`mps:0` where `mps` was asked for).
            moved._target = moved._parts[0].device
        return moved

    def _moved(self, target: torch.device, frame_bytes: int) -> torch.Tensor:
        """All frames in one tensor on `target`, without alpha, taken over piece by piece."""
        whole = torch.empty((len(self), self.height, self.width, 3), dtype=torch.uint8, device=target)
        rows, at = max(1, _CHUNK // frame_bytes), 0
        for number, part in enumerate(self._parts):
            for start in range(0, len(part), rows):
                piece = part[start : start + rows]
                whole[at : at + len(piece)] = piece.to(target)[..., :3]
                at += len(piece)
                if self._mapped[number]:
                    release_pages(self._arrays[number])
        return whole

    def _gather_parts(self, index: torch.Tensor) -> torch.Tensor:
        if len(index) and (int(index.min()) < 0 or int(index.max()) >= len(self)):
            raise IndexError(f"index out of range for {len(self)} frames")
        batch = torch.empty((len(index), self.height, self.width, 3), dtype=torch.uint8, device=index.device)
        owner = torch.bucketize(index, self._ends, right=True)
        for number in owner.unique().tolist():
            rows = (owner == number).nonzero().squeeze(1)
            local = index[rows] - (self._ends[number] - len(self._parts[number]))
            batch.index_copy_(0, rows, self._select(number, local)[..., :3])
        return batch

    def _select(self, number: int, index: torch.Tensor) -> torch.Tensor:
        """`index_select` on one part; of a mapped one piece by piece, so that few pages are resident at any time."""
        part = self._parts[number]
        if not self._mapped[number]:
            return part.index_select(0, index)
        rows = max(1, _RELEASE_EVERY // (part[0].numel() + _FAULT_AROUND))
        batch = torch.empty((len(index), *part.shape[1:]), dtype=torch.uint8)
        for start in range(0, len(index), rows):
            piece = index[start : start + rows]
            torch.index_select(part, 0, piece, out=batch[start : start + rows])
            self._touched += len(piece)
            if self._touched >= rows:
                self._touched = 0
                for array in self._arrays:
                    release_pages(array)
        return batch


def sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The same values on `device`; on their way to a GPU nothing waits for what that computes."""
    if device.type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def as_model_input(frames: torch.Tensor) -> torch.Tensor:
    """What the networks take: uint8 [B, H, W, 3] to float32 [B, 3, H, W] in [−1, 1], x/255·2−1, channels last."""
    planes = frames.permute(0, 3, 1, 2)
    scaled = planes.to(dtype=torch.float32, memory_format=torch.channels_last)
    return scaled.div_(255.0).mul_(2.0).sub_(1.0)


@torch.no_grad()
def encode_frames(
    encoder: Callable[[torch.Tensor], torch.Tensor],
    frames: Frames,
    device: torch.device,
    batch_size: int = ENCODED_AT_ONCE,
) -> torch.Tensor:
    """Latents of all frames, in order.

    Args:
        encoder: images [B, 3, H, W] in [-1, 1] on the device -> latents [B, M].
        frames: N frames, on any device.
        device: where the encoder is.
        batch_size: frames at a time.

    Returns:
        float32 [N, M] on the device.
    """
    return torch.cat([encoder(as_model_input(sent(chunk, device))).float() for chunk in frames.chunks(batch_size)])


def as_pixels(images: torch.Tensor) -> torch.Tensor:
    """The way back from `as_model_input`: float [B, 3, H, W], clamped to [−1, 1], to uint8 [B, H, W, 3], rounded."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def load_frames(source: Source, key: str) -> np.ndarray[Any, Any]:
    """Frames of a source, checked: uint8 [N, H, W, 3 or 4], of triplets [N, 3, H, W, 3 or 4]; mapped if they can be.

    Raises:
        InputError: the shape is judged before the data is read, then the values; or as `Source.array`.
    """
    where = f"{source.label}: key {key!r}"
    shape, dtype = source.shape(key), source.dtype(key)
    check_frames_shape(shape, where)
    if dtype == np.uint8:
        return source.array(key)
    _check_number_type(dtype, where)
    # Only the bytes are kept: of floats a quarter of what the source holds.
    require_memory(math.prod(shape), where)
    return _converted(source.pieces(key, _PIECE), shape, where)


def check_frames_shape(shape: tuple[int, ...], where: str) -> None:
    """Refuse what is no stack of square frames [N, H, W, 3 or 4] or triplets [N, 3, H, W, 3 or 4] of 32, 64 or 128.

    Raises:
        InputError: another rank, size or number of channels, or no frames at all.
    """
    if len(shape) not in (4, 5):
        raise InputError(f"{where} has shape {list(shape)}; frames need [frames, height, width, 3 or 4 channels]")
    if len(shape) == 5 and shape[1] != 3:
        raise InputError(f"{where} has shape {list(shape)}; triplets need 3 images each, [triplets, 3, H, W, channels]")
    height, width, channels = shape[-3:]
    if channels not in (3, 4):
        if height in (3, 4):
            raise InputError(
                f"{where} has shape {list(shape)}, channels first; put them last with np.moveaxis(frames, -3, -1)"
            )
        hint = "repeat the grey channel with np.repeat(frames, 3, -1)" if channels == 1 else "save RGB frames"
        raise InputError(f"{where} has {channels} channels a frame; citris needs 3 or 4, {hint}")
    if height != width or height not in SIZES:
        raise InputError(
            f"{where} has frames of {width}×{height}; citris needs square frames of 32, 64 or 128 pixels, "
            "resize them first"
        )
    if shape[0] == 0:
        raise InputError(f"{where} holds no frames; record some first")


def to_uint8_frames(array: np.ndarray[Any, Any], where: str) -> np.ndarray[Any, Any]:
    """Frames as bytes: uint8 as it is, integers 0…255 as bytes, floats 0…1 times 255 rounded, booleans 0 and 255.

    Args:
        array: frames [N, …], of any number type.
        where: file and key, for messages.

    Returns:
        uint8 of the same shape; `array` itself if it was uint8.

    Raises:
        InputError: a value outside its range, NaN or infinite, naming the first frame that has one; or no numbers.
    """
    if array.dtype == np.uint8:
        return array
    _check_number_type(array.dtype, where)
    rows = max(1, _PIECE // max(1, array[:1].nbytes))
    pieces = (array[start : start + rows] for start in range(0, len(array), rows))
    return _converted(pieces, array.shape, where)


def _check_number_type(dtype: np.dtype[Any], where: str) -> None:
    if dtype.kind not in "buif":
        raise InputError(f"{where} holds {dtype}, which are no pixels; save uint8 0…255 or floats 0…1")


def _converted(pieces: Iterable[np.ndarray[Any, Any]], shape: tuple[int, ...], where: str) -> np.ndarray[Any, Any]:
    """Consecutive frames of any number type, that make up `shape`, as bytes."""
    frames = np.empty(shape, dtype=np.uint8)
    start = 0
    for piece in pieces:
        frames[start : start + len(piece)] = _chunk_to_uint8(piece, start, where)
        start += len(piece)
    return frames


def _chunk_to_uint8(chunk: np.ndarray[Any, Any], start: int, where: str) -> np.ndarray[Any, Any]:
    if chunk.dtype.kind == "b":
        return chunk.astype(np.uint8) * np.uint8(255)
    top = 1 if chunk.dtype.kind == "f" else 255
    # Written so that NaN, which compares false, is outside too.
    inside = (chunk >= 0) & (chunk <= top)
    if not inside.all():
        bad = int(np.argmin(inside.reshape(len(chunk), -1).all(axis=1)))
        value = chunk[bad][~inside[bad]].flat[0]
        if top == 255:
            allowed = "integers need 0…255"
        elif 1 < value <= 255:
            allowed = "floats need 0…1, so divide by 255 if the values are 0…255"
        else:
            allowed = "floats need 0…1 and must be finite"
        raise InputError(f"{where}, frame {start + bad} holds the value {value:g}; {allowed}")
    if top == 255:
        return chunk.astype(np.uint8)
    return np.rint(chunk.astype(np.float32) * np.float32(255)).astype(np.uint8)


def _as_tensor(array: np.ndarray[Any, Any]) -> torch.Tensor:
    with warnings.catch_warnings():
        # A mapped file is read-only, and nothing here writes to frames.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return 0
