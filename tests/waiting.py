"""Waiting for processes that a test has started, on machines that may have much else to do."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

#: Seconds after which nothing is waited for any longer. Starting a command takes one; beside ten others, a minute.
PATIENCE = 600.0


def wait_until(true: Callable[[], object], process: subprocess.Popen | None = None) -> None:
    """Wait until something is true that comes of a process, which must not have ended before.

    Args:
        true: is asked every few milliseconds.
        process: it is ended if nothing comes of it.
    """
    deadline = time.monotonic() + PATIENCE
    while not true():
        if process is not None:
            assert process.poll() is None, process.communicate()
            if time.monotonic() > deadline:
                process.kill()
        assert time.monotonic() < deadline, "nothing came of it"
        time.sleep(0.003)
