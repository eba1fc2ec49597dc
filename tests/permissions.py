"""Folders that cannot be read, for tests that may be run by root, whom no permission stops."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

#: Of the capabilities of Linux, those to read and write whatever the permissions say (CAP_DAC_OVERRIDE, _READ_SEARCH).
_OVERRIDE = 1 << 1 | 1 << 2
_VERSION = 0x20080522


@contextmanager
def permissions_count() -> Iterator[None]:
    """A block in which permissions hold for root, too; the test is skipped where that cannot be brought about."""
    if os.name != "posix":
        pytest.skip("permissions are not those of POSIX")
    if os.geteuid() != 0:
        yield
        return
    if sys.platform != "linux":
        pytest.skip("root reads every folder")
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    before, less = ((ctypes.c_uint32 * 6)() for _ in range(2))  # effective, permitted, inheritable, twice
    if libc.capget(header, before) != 0:
        pytest.skip("the capabilities of this process cannot be determined")
    less[:] = [before[0] & ~_OVERRIDE, *before[1:]]
    if libc.capset(header, less) != 0:
        pytest.skip("the capabilities of this process cannot be changed")
    try:
        yield
    finally:
        libc.capset(header, before)
