"""Which file an input was when it was opened, so that a change of it is found."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileIdentity:
    """What tells a file from any other, and from itself before or after it was written to.

    Attributes:
        path: where it was found.
        inode, device: of the file system; another file of the same name has others.
        size: in bytes.
        changed_at: nanoseconds, when its contents and when anything about it last changed. A program can put the first
            back (``rsync --times``), not the second.
    """

    path: Path
    inode: int
    device: int
    size: int
    changed_at: tuple[int, int]

    @classmethod
    def of(cls, path: Path, about: os.stat_result) -> FileIdentity:
        """Of a file.

        Args:
            path: where it was found.
            about: what the system tells of it.
        """
        return cls(path, about.st_ino, about.st_dev, about.st_size, _times(about))

    def change(self) -> str:
        """What became of the file since, as the end of a clause; "" if nothing did, or nobody can tell."""
        try:
            about = self.path.stat()
        except FileNotFoundError:
            return "was removed"
        except OSError:
            return ""
        if (about.st_ino, about.st_dev) != (self.inode, self.device):
            return "was replaced"
        return "" if (about.st_size, _times(about)) == (self.size, self.changed_at) else "was written to"


def _times(about: os.stat_result) -> tuple[int, int]:
    return about.st_mtime_ns, about.st_ctime_ns
