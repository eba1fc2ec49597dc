"""Which file an input was: writing to it shows, also where its time of writing is put back."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from citris_cli.data.identity import FileIdentity


@pytest.mark.skipif(sys.platform == "win32", reason="there, the second time is that of the file's making")
def test_a_time_of_writing_that_is_put_back_hides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "d"
    path.write_bytes(b"one")
    about = path.stat()
    identity = FileIdentity.of(path, about)
    assert identity.change() == ""
    path.write_bytes(b"two")
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert path.stat().st_mtime_ns == about.st_mtime_ns
    assert identity.change() == "was written to"
    path.unlink()
    assert identity.change() == "was removed"
