"""The C sources of the compiled functions, and the hash by which a compiled file and they know each other.

``setup.py`` runs this file by itself, before anything is installed: it imports nothing but Python's own.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

FOLDER = Path(__file__).parent / "c"
#: Name of the compiled file, which lies beside this one, whatever Python it was compiled with.
LIBRARY = "_kernels.dll" if os.name == "nt" else "_kernels.so"


def files() -> list[Path]:
    """The C files, in the order of their names."""
    return sorted(FOLDER.glob("*.[ch]"))


def digest() -> str:
    """Hash over their names and contents: 32 hexadecimal digits."""
    found = hashlib.sha256()
    for path in files():
        # Line ends may be a checkout's own.
        content = path.read_bytes().replace(b"\r\n", b"\n")
        found.update(f"{path.name} {len(content)}\n".encode() + content)
    return found.hexdigest()[:32]
