"""Films: mp4, mov, avi, webm, mkv and whatever else FFmpeg reads, by imageio with its PyAV plugin.

PyAV gives the frames as they are stored. FFmpeg's own program, imageio's other way to films, makes a steady rate of
them by repeating and leaving out frames, after which no row of a table belongs to its frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from citris_cli.errors import InputError
from citris_cli.recordings.recording import Array, Recording
from citris_cli.wording import counted, reason

#: Wider or higher films have frames of more pixels than a picture may have.
_MAX_PIXELS = 64_000_000
#: Seconds for which any frame may be shown.
_TOLERATED = 0.1


class _Packets(NamedTuple):
    """What the packets of a film tell, none of which was decoded.

    Attributes:
        times: seconds of every frame that is shown, from the first on.
        missing: why some that the header tells of are not there, as a clause; "" where all are.
    """

    times: Array
    missing: str


def open_film(path: Path) -> Recording:
    """A film as a recording; its packets are counted, the first frame is decoded.

    Args:
        path: of a file that is a film by its first bytes.

    Raises:
        InputError: PyAV is not installed; the film is damaged, has no pictures, or too large ones.
    """
    av = _av(path)
    with _Problems(path), av.open(str(path), metadata_errors="ignore") as container:
        if not container.streams.video:
            raise InputError(f"{path}: there are no pictures in this film, only sound or text; name another one")
        stream = container.streams.video[0]
        if stream.codec_context is None or stream.codec_context.format is None:
            raise InputError(
                f"{path}: its frames are stored in a way that is unknown here, or the film is damaged; convert it with "
                "FFmpeg"
            )
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > _MAX_PIXELS:
            raise InputError(
                f"{path}: frames of {width}×{height} are more than {_MAX_PIXELS:,} pixels; make it smaller"
            )
        found = _packets(container, stream)
        ratio = stream.sample_aspect_ratio
        notes = _of_stream(path, container, stream)
    with _Problems(path), av.open(str(path), metadata_errors="ignore") as container:
        first = next(container.decode(video=0), None)
    if first is None or not len(found.times):
        raise InputError(f"{path}: no frame of this film can be decoded; it is damaged, get it again")
    turns = round(getattr(first, "rotation", 0) / 90) % 4
    mirrored = _mirrored(first)
    width, height = first.width, first.height
    if mirrored:
        notes += (f"{path}: {'turned and ' if turns % 2 else ''}mirrored, as its header says",)
    elif turns:
        notes += (f"{path}: turned by {turns * 90}° against the clock, as its header says",)
    if ratio not in (None, 0, 1):
        notes += (
            f"{path}: its pixels are not square ({ratio.numerator}:{ratio.denominator}) and are taken as if they were; "
            "'--fit stretch' fills the frame with all of the picture",
        )
    return Recording(
        label=str(path),
        files=(path,),
        lengths=(len(found.times),),
        size=(height, width) if turns % 2 else (width, height),
        channels=3,
        read=lambda wanted: _frames(path, wanted, turns, mirrored),
        name=path.stem,
        times=found.times,
        notes=notes,
        missing=found.missing,
    )


def _of_stream(path: Path, container: Any, stream: Any) -> tuple[str, ...]:
    """What is left out of a film, in sentences."""
    import av

    notes: tuple[str, ...] = ()
    covers = av.stream.Disposition.attached_pic
    if others := [one for one in container.streams.video if one is not stream and not one.disposition & covers]:
        notes += (f"{path}: the first of {len(others) + 1} streams of pictures is read",)
    if any(component.is_alpha for component in stream.codec_context.format.components):
        notes += (f"{path}: transparency (alpha) is dropped",)
    return notes


def _mirrored(frame: Any) -> bool:
    """Whether what turns a frame upright, a matrix in its header, mirrors it too."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
            return bool(a * d - b * c < 0)
    return False


def _av(path: Path) -> Any:
    try:
        import av
    except ImportError:
        raise InputError(
            f"{path}: this is a film, and reading films needs PyAV; install it with pip install 'citris-cli[video]'"
        ) from None
    # What FFmpeg would print of a damaged film is told in a sentence. None leaves its messages out before they reach
    # Python; at any level, a thread of the decoder that has one waits for the interpreter, which waits for the thread.
    av.logging.set_level(None)
    return av


class _Problems:
    """A block in which whatever PyAV raises of a film becomes one sentence."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        import av

        if isinstance(error, av.error.MemoryError):
            raise MemoryError from None
        if isinstance(error, av.error.FFmpegError | OSError | ValueError | IndexError):
            why = reason(error).split(": '")[0].partition("] ")[2] or reason(error)
            raise InputError(
                f"{self._path}: this film cannot be read ({why.lower()}): it is damaged, was cut short, or its codec "
                "is unknown here; get it again, or convert it with FFmpeg"
            ) from None


def _packets(container: Any, stream: Any) -> _Packets:
    """When each frame is shown, by the packets that hold them."""
    times, packets, damaged = [], 0, False
    for packet in container.demux(stream):
        if not packet.size:
            continue
        packets += 1
        damaged |= packet.is_corrupt
        stamp = packet.pts if packet.pts is not None else packet.dts
        if not packet.is_discard:  # which only others need, as an edit list has it
            times.append(packets if stamp is None else stamp)
    unit = stream.time_base or Fraction(1, 30)
    seconds = np.sort(np.array(times, dtype=np.float64)) * float(unit)
    begins = float(seconds[0]) if len(seconds) else 0.0
    seconds -= begins
    missing = ""
    if packets < stream.frames:
        missing = f"its header says {counted(stream.frames, 'frame')} and {packets:,} can be read"
    elif damaged:
        missing = f"it ends in the middle of frame {packets - 1:,}"
    elif len(seconds) and (told := _seconds(stream.metadata.get("DURATION", "")) - begins) > _ends_at(seconds):
        missing = f"its header says {told:.1f} seconds and {seconds[-1]:.1f} can be read"
    return _Packets(seconds, missing)


def _ends_at(seconds: Array) -> float:
    """When the last frame ends at the latest, if it is shown no longer than some other, twice as long to be sure."""
    return float(seconds[-1] + max(2 * np.max(np.diff(seconds), initial=0.0), _TOLERATED))


def _seconds(text: str) -> float:
    """``00:01:02.5`` as seconds; 0 of what is none."""
    try:
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return 0.0


def _frames(path: Path, wanted: Array, turns: int, mirrored: bool) -> Iterator[Array]:
    """The wanted frames of a film, decoded in order; those between are decoded too, as later ones are made of them."""
    import imageio.v3 as iio

    last, number = int(np.flatnonzero(wanted)[-1]), -1
    with _Problems(path), iio.imopen(path, "r", plugin="pyav") as file:
        frames = file.iter(thread_type="FRAME")
        for number, frame in enumerate(frames):
            if number < len(wanted) and wanted[number]:
                yield np.rot90(frame[::-1] if mirrored else frame, turns)
            # To the end where all are wanted: only there it is known whether some were left out on the way.
            if number >= last and last < len(wanted) - 1:
                return
    if number + 1 != len(wanted):
        raise InputError(
            f"{path}: it should have {counted(len(wanted), 'frame')}, and {number + 1:,} can be decoded; the film is "
            "damaged or was cut short, so that rows would belong to other frames; get it again, or convert it with "
            "FFmpeg"
        )
