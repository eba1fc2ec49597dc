"""A signal that ends a command: one that writes as it goes removes what it has begun and says so in one sentence."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from citris_cli.errors import InterruptedRunError
from citris_cli.system import closed_terminal_signal


@contextmanager
def ends_clean(instead: str) -> Iterator[None]:
    """A block that SIGINT, SIGTERM and SIGHUP end as an error does, so that nothing half-written is left.

    Args:
        instead: what to do then, as the end of a sentence.

    Raises:
        InterruptedRunError: one of them came.
    """

    came: list[InterruptedRunError] = []

    def end(number: int, frame: FrameType | None) -> None:
        came.append(InterruptedRunError(f"interrupted, and nothing was written; {instead}", number))
        raise came[0]

    try:
        with _on_signals(end):
            yield
    except InterruptedRunError:
        raise
    except Exception as error:
        # A library that was closing something when the signal came may raise an error of its own in its place.
        if came:
            raise came[0] from error
        raise


@contextmanager
def until_ended() -> Iterator[None]:
    """A block that goes on until SIGINT, SIGTERM or SIGHUP: its end is no failure, so that nothing is said.

    Raises:
        SystemExit: one of them came; the status is 128 and its number.
    """

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with _on_signals(end):
        yield


@contextmanager
def _on_signals(end: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """A block in which the signals that end a command call a function, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = [one for one in (signal.SIGINT, signal.SIGTERM, closed_terminal_signal()) if one is not None]
    # A process in the background ignores SIGINT, and one that outlives its terminal SIGHUP.
    before = {one: signal.getsignal(one) for one in signals if signal.getsignal(one) != signal.SIG_IGN}
    for one in before:
        signal.signal(one, end)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
