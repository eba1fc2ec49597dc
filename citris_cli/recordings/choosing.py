"""Which frames of an episode are used: from one place to another, told as a number or as a time."""

from __future__ import annotations

import re

import numpy as np

from citris_cli.errors import InputError
from citris_cli.recordings.recording import Recording
from citris_cli.wording import counted

_TIME = re.compile(r"(?:(\d+):)?(?:(\d+):)?(\d+(?:\.\d*)?)s?")
#: Frames before the place where a film was cut short that may not be decoded for want of what follows.
_LOST = 8


def used_frames(span: range, recording: Recording, start: str | None, stop: str | None) -> range:
    """The frames of an episode that are used.

    Args:
        span: its frames.
        recording: that it is of.
        start, stop: what ``--from`` and ``--to`` say, or None: a frame, counted in the episode, or a time.

    Raises:
        InputError: these are no places, there is no frame between them, or frames that are asked for are missing.
    """
    first = span.start if start is None else _place(start, "--from", span, recording)
    last = span.stop if stop is None else min(_place(stop, "--to", span, recording), span.stop)
    if recording.missing and (stop is None or last == span.stop):
        raise InputError(
            f"{recording.label}: {recording.missing}: it is damaged or was cut short; get it again, or use what is "
            "there "
            f"with --to {max(len(span) - _LOST, 1)}"
        )
    if first >= last:
        lasts = "" if recording.times is None else f" and lasts {recording.times[span.stop - 1]:.2f} seconds"
        raise InputError(
            f"--from {start or 0} --to {stop or len(span)}: {recording.label} has no frame there; it has "
            f"{counted(len(span), 'frame')}{lasts}"
        )
    return range(first, last)


def _place(text: str, option: str, span: range, recording: Recording) -> int:
    """The frame that a number or a time stands for, within its recording."""
    if text.isdecimal() and len(text) < 19:
        return span.start + int(text)
    if _TIME.fullmatch(text) is None or (":" not in text and not text.endswith("s")):
        raise InputError(f"{option} {text}: write the number of a frame, or a time such as 12.5s or 1:02.5")
    if recording.times is None:
        raise InputError(
            f"{option} {text}: it is not known when the frames of {recording.label} were taken; write the number of a "
            "frame"
        )
    seconds = sum(float(part) * 60**power for power, part in enumerate(text.removesuffix("s").split(":")[::-1]))
    times = recording.times[span.start : span.stop] - recording.times[span.start]
    return span.start + int(np.searchsorted(times, seconds - 1e-9))
