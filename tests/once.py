"""What takes long to make and many tests read: made once a run, however many workers of pytest-xdist there are."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(
    config: pytest.Config, temporary: pytest.TempPathFactory, name: str, make: Callable[[Path], object]
) -> Path:
    """A folder of this process's own with what ``make`` writes into an empty one.

    The first worker that needs it makes it, others wait for that; each takes a copy, as tests may write beside it.
    """
    if not hasattr(config, "workerinput"):
        folder = temporary.mktemp(name)
        make(folder)
        return folder
    run = temporary.getbasetemp().parent  # in which each worker has a folder
    made, unfinished = run / f"{name}-of-all", run / f"{name}-unfinished"
    with FileLock(run / f"{name}.lock"):
        if not made.exists():
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(made)
    return shutil.copytree(made, temporary.mktemp(name), dirs_exist_ok=True)
