"""What a recording is, wherever it comes from: frames in order, in episodes, and what is known of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
#: Gives the frames, uint8 [H, W, C], that a bool [N] selects, in order.
ReadFrames: TypeAlias = Callable[[Array], Iterator[Array]]


@dataclass(frozen=True, eq=False)
class Recording:
    """Frames of one SOURCE, of which nothing but headers was read yet; N frames in E episodes.

    Attributes:
        label: what messages call it.
        files: that are read for it, in order.
        lengths: frames of each episode; their sum is N.
        size: width and height of a frame in pixels; of pictures of several sizes, of the first.
        channels: of a frame.
        read: the frames.
        name: that a table may call it by, such as the film's stem.
        times: seconds from the first frame on, [N], rising; None where nobody knows.
        names: the file of each frame, N of them; none where a file holds several.
        keys: arrays that lie beside the frames, by name, [N or N-1, …] each (in episodes of one length [E, T or T-1,
            …]); of them a table can be made.
        described: names of columns that the file has, by the number of columns.
        notes: sentences that the user should read.
        missing: why frames that the header tells of cannot be read, as a clause; "" where none are missing.
        close: lets go of what is open.
    """

    label: str
    files: tuple[Path, ...]
    lengths: tuple[int, ...]
    size: tuple[int, int]
    channels: int
    read: ReadFrames
    name: str
    times: Array | None = None
    names: tuple[str, ...] = ()
    keys: Mapping[str, Callable[[], Array]] = field(default_factory=dict)
    described: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    missing: str = ""
    close: Callable[[], None] = lambda: None

    @property
    def frames(self) -> int:
        """N."""
        return sum(self.lengths)

    def spans(self) -> list[range]:
        """The numbers of each episode's frames."""
        ends = np.cumsum((0, *self.lengths)).tolist()
        return [range(start, stop) for start, stop in pairwise(ends)]
