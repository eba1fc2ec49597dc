"""Frames as one tensor of bytes: gathered by index, released from memory when mapped, converted on the device."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from citris_cli.core.config import MOST_CHANNELS, WIDTHS, WIDTHS_TOLD
from citris_cli.data.intensities import PIECE, as_bytes
from citris_cli.data.npz import mappings, release_pages, require_unchanged
from citris_cli.data.sources import Source
from citris_cli.errors import InputError
from citris_cli.wording import counted

# Mapped pages are given back once they may be so many bytes.
_RELEASE_EVERY = 128 << 20
# Touching one byte of a mapping can make this many around it resident (Linux maps a whole cached huge page at once).
_FAULT_AROUND = 2 << 20
_CHUNK = 32 << 20
# Looking at mapped files before they are read may take this part of the time, and is not put off for so many seconds.
_LOOKING, _LOOK_EVERY = 0.01, 0.25
#: Frames of up to so many pixels that go through a network at a time.
_AT_ONCE, _AT_ONCE_PIXELS = 256, 128 * 128


class Frames:
    """Frames uint8 [N, H, W, C] in one or several parts (shards), in memory or mapped from files.

    Parts keep an alpha channel where it lies; it is cut off after a gather, so that mapped files stay mapped.

    Args:
        parts: uint8 arrays [n, H, W, C or more], all of one height and width, at least one; their sum is N.
        channels: C, the channels from the first on that count; None for all that every part has.

    Raises:
        ValueError: no parts, or parts that are not uint8, differ in size or have fewer channels.
    """

    def __init__(self, parts: Sequence[np.ndarray[Any, Any]], channels: int | None = None) -> None:
        if not parts or len({part.shape[1:3] for part in parts}) != 1 or any(part.dtype != np.uint8 for part in parts):
            raise ValueError("frames need parts of uint8 that agree in height and width")
        found = min(part.shape[3] for part in parts)
        self.channels: int = found if channels is None else channels
        if self.channels > found:
            raise ValueError(f"frames of {self.channels} channels need parts that have them")
        self._arrays = list(parts)
        self._parts = [_as_tensor(part) for part in parts]
        self._mapped = [release_pages(part) for part in parts]
        self._ends = torch.tensor([len(part) for part in parts]).cumsum(0)
        self._touched = 0
        self._files = mappings(parts)
        self._look_at = 0.0
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
        """The frames at `index` (LongTensor [B], any device): uint8 [B, H, W, C] on `device`.

        A view without the alpha channel where there is one, so perhaps not contiguous.

        Raises:
            IndexError: an index outside 0…N−1 (on an accelerator: that device's own error).
            ChangedDataError: see :meth:`require_unchanged`, which it asks for now and then.
        """
        index = sent(index, self.storage)
        if len(self._parts) == 1:
            batch = self._select(0, index)
        else:
            batch = self._gather_parts(index)
        return sent(batch, self._target)[..., : self.channels]

    def require_unchanged(self) -> None:
        """Refuse frames in mapped files that were cut short or overwritten since they were checked.

        Raises:
            ChangedDataError: frames that were gathered since this was last asked for may be others.
        """
        began = time.monotonic()
        for file in self._files:
            require_unchanged(file)
        ended = time.monotonic()
        self._look_at = ended + min((ended - began) / _LOOKING, _LOOK_EVERY)

    def slice(self, start: int, stop: int) -> torch.Tensor:
        """Frames `start` to `stop` (exclusive, cut at N): uint8 [stop−start, H, W, C] on `device`."""
        return self.gather(torch.arange(start, min(stop, len(self)), device=self._parts[0].device))

    def chunks(self, size: int) -> Iterator[torch.Tensor]:
        """All frames in order: uint8 [up to `size`, H, W, C] at a time, on `device`."""
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
        size = len(self) * self.height * self.width * self.channels
        if target.type == "cpu" or size <= _free_memory(target) // 2:
            moved._parts = [self._moved(target, size // len(self))]
            moved._arrays, moved._mapped, moved._files = [], [False], []
            moved._ends = torch.tensor([len(self)], device=target)
            # The tensor knows its device in full (`mps:0` where `mps` was asked for).
            moved._target = moved._parts[0].device
        return moved

    def _moved(self, target: torch.device, frame_bytes: int) -> torch.Tensor:
        """All frames in one tensor on `target`, without alpha, taken over piece by piece."""
        shape = (len(self), self.height, self.width, self.channels)
        whole = torch.empty(shape, dtype=torch.uint8, device=target)
        rows, at = max(1, _CHUNK // frame_bytes), 0
        for number, part in enumerate(self._parts):
            for start in range(0, len(part), rows):
                piece = part[start : start + rows]
                whole[at : at + len(piece)] = piece.to(target)[..., : self.channels]
                at += len(piece)
                if self._mapped[number]:
                    release_pages(self._arrays[number])
        self.require_unchanged()
        return whole

    def _gather_parts(self, index: torch.Tensor) -> torch.Tensor:
        if len(index) and (int(index.min()) < 0 or int(index.max()) >= len(self)):
            raise IndexError(f"index out of range for {len(self)} frames")
        shape = (len(index), self.height, self.width, self.channels)
        batch = torch.empty(shape, dtype=torch.uint8, device=index.device)
        owner = torch.bucketize(index, self._ends, right=True)
        for number in owner.unique().tolist():
            rows = (owner == number).nonzero().squeeze(1)
            local = index[rows] - (self._ends[number] - len(self._parts[number]))
            batch.index_copy_(0, rows, self._select(number, local)[..., : self.channels])
        return batch

    def _select(self, number: int, index: torch.Tensor) -> torch.Tensor:
        """`index_select` on one part; of a mapped one piece by piece, so that few pages are resident at any time."""
        part = self._parts[number]
        if not self._mapped[number]:
            return part.index_select(0, index)
        if time.monotonic() > self._look_at:  # before a page is touched that is no longer there
            self.require_unchanged()
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
    """What the networks take: uint8 [B, H, W, C] to float32 [B, C, H, W] in [−1, 1], x/255·2−1, channels last."""
    planes = frames.permute(0, 3, 1, 2)
    scaled = planes.to(dtype=torch.float32, memory_format=torch.channels_last)
    return scaled.div_(255.0).mul_(2.0).sub_(1.0)


def frames_at_once(width: int) -> int:
    """How many frames go through a network at a time: fewer wide ones, so that they take no more memory.

    Args:
        width: of a frame in pixels.
    """
    return max(1, min(_AT_ONCE, _AT_ONCE * _AT_ONCE_PIXELS // width**2))


@torch.no_grad()
def encode_frames(
    encoder: Callable[[torch.Tensor], torch.Tensor],
    frames: Frames,
    device: torch.device,
    batch_size: int | None = None,
) -> torch.Tensor:
    """Latents of all frames, in order.

    Args:
        encoder: images [B, C, H, W] in [-1, 1] on the device -> latents [B, M].
        frames: N frames, on any device.
        device: where the encoder is.
        batch_size: frames at a time; as :func:`frames_at_once` says if None.

    Returns:
        float32 [N, M] on the device.

    Raises:
        ChangedDataError: the frames changed meanwhile.
    """
    chunks = frames.chunks(batch_size or frames_at_once(frames.width))
    encoded = torch.cat([encoder(as_model_input(sent(chunk, device))).float() for chunk in chunks])
    frames.require_unchanged()
    return encoded


def as_pixels(images: torch.Tensor) -> torch.Tensor:
    """The way back from `as_model_input`: float [B, C, H, W], clamped to [−1, 1], to uint8 [B, H, W, C], rounded."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


class Loaded(NamedTuple):
    """Frames of one source.

    Attributes:
        frames: uint8 [..., H, W, C], mapped if they can be.
        notes: sentences on how their values were read.
        scale: what the source's numbers stand for: "0…255" of integers, "0…1" or "−1…1" of floats, "0…65535"; "" of
            bytes and booleans, which stand for themselves.
    """

    frames: np.ndarray[Any, Any]
    notes: tuple[str, ...]
    scale: str


def load_frames(source: Source, key: str) -> Loaded:
    """Frames of a source, checked: uint8 [..., H, W, C], with the channel axis that a grey frame may lack.

    Args:
        source: what is open.
        key: of the frames.

    Raises:
        InputError: the shape is judged before the data is read, then the values; or as `Source.array`.
    """
    where = f"{source.label}: key {key!r}"
    shape, dtype = source.shape(key), source.dtype(key)
    check_frames_shape(shape, where)
    require_room(source, key)
    if dtype == np.uint8:
        return Loaded(_with_channels(source.array(key)), (), "")
    array, notes, scale = as_bytes(lambda: source.pieces(key, PIECE), shape, dtype, where)
    return Loaded(_with_channels(array), notes, scale)


def require_one_scale(scales: Sequence[str], labels: Sequence[str]) -> None:
    """Refuse parts of one dataset whose numbers stand for intensities in different ways.

    Args:
        scales: of each part, see :class:`Loaded`.
        labels: what messages call each part.

    Raises:
        InputError: two of them differ.
    """
    told = [(scale, label) for scale, label in zip(scales, labels, strict=True) if scale]
    for scale, label in told[1:]:
        if scale != told[0][0]:
            raise InputError(
                f"{told[0][1]} is read as {told[0][0]} and {label} as {scale}, by the values in each; give the "
                "frames of one dataset on one scale, preferably as bytes"
            )


def require_room(source: Source, key: str) -> None:
    """Refuse frames, before they are read, that would take more memory than there is or than their file is worth.

    Bytes that are mapped take none; of other numbers only the bytes are kept, of floats a quarter.

    Raises:
        InputError: as :meth:`~citris_cli.data.sources.Source.require_room`.
    """
    if source.dtype(key) != np.uint8 or not source.is_mapped(key):
        source.require_room(key)


def _with_channels(frames: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return frames[..., None] if is_grey(frames.shape) else frames


def is_grey(shape: tuple[int, ...]) -> bool:
    """Whether frames of this shape have no axis of channels: it ends in height and width, [..., H, W].

    No frame has as many channels as the smallest is wide.
    """
    return len(shape) > 2 and shape[-1] == shape[-2] > MOST_CHANNELS


def check_frames_shape(shape: tuple[int, ...], where: str) -> None:
    """Refuse what is no stack of frames [..., H, W, C] or [..., H, W], H = W a width of the networks, C 1 to 8.

    Args:
        shape: with one or two axes before those of a frame.
        where: file and key, for the message.

    Raises:
        InputError: another rank, size or number of channels, or no frames at all; it names what would be right.
    """
    grey = is_grey(shape) or (len(shape) == 3 and shape[-1] > MOST_CHANNELS)
    leading = len(shape) - (2 if grey else 3)
    if len(shape) > 3 and shape[-3] <= MOST_CHANNELS < shape[-1]:
        raise InputError(
            f"{where} has shape {list(shape)}, channels first; put them last with np.moveaxis(frames, -3, -1), or, if "
            "these are grey frames in groups, give them an axis of channels with frames[..., None]"
        )
    if leading not in (1, 2):
        more = "; give a single frame as frame[None]" if len(shape) in (2, 3) else ""
        raise InputError(
            f"{where} has shape {list(shape)}; frames need [frames, height, width, channels], or "
            f"[frames, height, width] if they are grey{more}"
        )
    height, width = shape[-2:] if grey else shape[-3:-1]
    if not grey and shape[-1] > MOST_CHANNELS:
        raise InputError(
            f"{where} has shape {list(shape)}, that is {shape[-1]} channels a frame; citris takes 1 to "
            f"{MOST_CHANNELS}, the last axis"
        )
    if height != width or height not in WIDTHS:
        near = nearest_widths(min(height, width))
        raise InputError(
            f"{where} has frames of {width}×{height}; citris needs square frames, {WIDTHS_TOLD} pixels wide, such as "
            f"{' or '.join(map(str, near))}: 'citris pack SOURCE -o DATA --size {near[0]}' makes them"
        )
    if 0 in shape:
        raise InputError(f"{where} has shape {list(shape)} and holds no frames; record some first")


def nearest_widths(side: int) -> tuple[int, ...]:
    """The widths that networks take nearest to a side in pixels: it, the two around it, or the first or the last."""
    below, above = (width for width in WIDTHS if width <= side), (width for width in WIDTHS if width >= side)
    near = (max(below, default=None), min(above, default=None))
    return tuple(sorted({width for width in near if width is not None}))


def joined(
    parts: Sequence[np.ndarray[Any, Any]], labels: Sequence[str], channels: int | None = None
) -> tuple[Frames, tuple[str, ...]]:
    """Frames of several parts, and what their channels were taken for.

    A fourth channel that is one constant in all frames is alpha, and dropped; otherwise it is data.

    Args:
        parts: uint8 [n, H, W, C], at least one.
        labels: what messages call each part.
        channels: how many those have whom these go to (a model, or the frames it is trained on); None if that is free.

    Returns:
        The frames, and sentences that the user should read.

    Raises:
        InputError: parts that differ in size or in channels, or have others than were asked for.
    """
    first = parts[0]
    for part, label in zip(parts, labels, strict=True):
        if part.shape[1:3] != first.shape[1:3]:
            sizes = [f"{one.shape[2]}×{one.shape[1]}" for one in (first, part)]
            raise InputError(
                f"{labels[0]} goes with frames of {sizes[0]} and {label} with {sizes[1]}; "
                "shards need frames of one size"
            )
    found = [part.shape[3] for part in parts]
    fourth = [part for part in parts if part.shape[3] == 4] if channels in (None, 3, 4) else []
    alpha = alpha_of(fourth) if fourth else None
    wanted = channels
    if wanted is None:
        wanted = 3 if set(found) <= {3, 4} and alpha is not None else found[0]
    for part, label in zip(parts, labels, strict=True):
        if channels is not None:
            require_channels(part.shape[3], channels, label)
        elif part.shape[3] != wanted and not (part.shape[3] == 4 and wanted == 3 and alpha is not None):
            theirs, ours = counted(part.shape[3], "channel"), counted(wanted, "channel")
            raise InputError(f"{label}: frames have {theirs} and those of {labels[0]} {ours}; make them the same")
    if channels == 4 and alpha is not None and sum(map(len, parts)) > 1:
        return Frames(parts, wanted), (
            f"the fourth channel is {alpha} in every frame, and read as data, as in the frames that the model knows",
        )
    if not fourth or wanted != 3:
        return Frames(parts, wanted), ()
    if alpha is not None:
        return Frames(parts, wanted), (f"the fourth channel is {alpha} in every frame: taken for alpha and dropped",)
    return Frames(parts, wanted), ("the fourth channel varies, and is dropped: the model was trained on 3",)


def require_channels(found: int, wanted: int, where: str) -> None:
    """Refuse frames of other channels than a model's; of 4 where it knows 3, the last is dropped.

    Args:
        found: channels of the frames.
        wanted: of the model's.
        where: what messages call the frames.

    Raises:
        InputError: others.
    """
    if found != wanted and (found, wanted) != (4, 3):
        raise InputError(
            f"{where}: frames have {counted(found, 'channel')}, and the model was trained on "
            f"{counted(wanted, 'channel')}; give such frames"
        )


def alpha_of(parts: Sequence[np.ndarray[Any, Any]]) -> int | None:
    """The value 0 … 255 that the last channel has in every pixel of all parts; None where it varies."""
    value = int(parts[0][0, 0, 0, -1])
    for part in parts:
        rows = max(1, _RELEASE_EVERY // max(1, part[0].nbytes))
        for start in range(0, len(part), rows):
            same = bool((part[start : start + rows, ..., -1] == value).all())
            release_pages(part)
            if not same:
                return None
    return value


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
