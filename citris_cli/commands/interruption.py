"""A signal that ends a command which writes as it goes: what it has begun is removed, and one sentence says so."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
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
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise InterruptedRunError(f"interrupted, and nothing was written; {instead}", number)

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
