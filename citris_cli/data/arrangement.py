"""What the axes before a frame's own mean: a sequence, episodes of one length, pairs before and after, triplets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from citris_cli.data.frames import check_frames_shape, is_grey, require_room
from citris_cli.data.layout import MASK_KEYS, TARGET_KEYS, TRUTH_KEYS, optional_key
from citris_cli.data.sources import Source
from citris_cli.errors import InputError


class Form(Enum):
    """How frames are arranged, with the shape of their array and of their targets.

    Attributes:
        FRAMES: one after the other, [N, H, W, C]; targets [N-1, K] or [N, K].
        EPISODES: E recordings of T frames each, [E, T, H, W, C]; targets [E, T-1, K] or [E, T, K].
        PAIRS: a frame before and one after a step, [N, 2, H, W, C]; targets [N, K].
        TRIPLETS: two frames and the one that combines them, [N, 3, H, W, C]; mask [N, K].
    """

    FRAMES = "frames"
    EPISODES = "episodes"
    PAIRS = "pairs"
    TRIPLETS = "triplets"


@dataclass(frozen=True)
class Arrangement:
    """How one array of frames is read.

    Attributes:
        form: what the leading axes mean.
        lead: their lengths, [N], [E, T], [N, 2] or [N, 3].
    """

    form: Form
    lead: tuple[int, ...]


def arrangement(source: Source, frame_key: str) -> Arrangement:
    """How a source's frames are arranged, by their shape and by that of what lies beside them.

    Raises:
        InputError: no frames that citris takes, more than there is memory for, or leading axes that could mean
            anything.
    """
    shape, where = source.shape(frame_key), f"{source.label}: key {frame_key!r}"
    check_frames_shape(shape, where)
    require_room(source, frame_key)  # before anything that has a row for each of them
    lead = shape[: len(shape) - (2 if is_grey(shape) else 3)]
    if len(lead) == 1:
        return Arrangement(Form.FRAMES, lead)
    # Whatever has one row a frame, a step or an episode tells of episodes by having both axes.
    keys = (optional_key(source, TARGET_KEYS), optional_key(source, TRUTH_KEYS))
    ranks = [len(source.shape(key)) for key in keys if key is not None]
    if optional_key(source, MASK_KEYS[:1]) is None and ranks and ranks[0] == 3 and (keys[0] is not None or lead[1] > 3):
        return Arrangement(Form.EPISODES, lead)
    if lead[1] in (2, 3):
        return Arrangement(Form.PAIRS if lead[1] == 2 else Form.TRIPLETS, lead)
    if not ranks:
        return Arrangement(Form.EPISODES, lead)
    raise InputError(
        f"{where} has shape {list(shape)}; frames with two axes before their own are episodes with targets "
        f"[{lead[0]}, {lead[1] - 1} or {lead[1]}, variables], pairs [N, 2, …] or triplets [N, 3, …] with one row each"
    )
