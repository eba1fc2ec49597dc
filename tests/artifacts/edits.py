"""Safetensors files with another header, as someone would make them who knows the format."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from citris_cli.artifacts.models import HEADER_DIGEST, TENSORS_DIGEST, _header_digest


def edited(content: bytes, change: Callable[[dict[str, Any]], object], signed: bool = True) -> bytes:
    """The file with a changed header.

    Args:
        content: a file of ours.
        change: changes the header.
        signed: whether the header's digest is made anew; else the file has none, and says that it is of format 2.
    """
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    metadata = header.get("__metadata__")
    if isinstance(metadata, dict) and signed:
        rest = {name: entry for name, entry in header.items() if name != "__metadata__"}
        metadata[HEADER_DIGEST] = _header_digest(metadata, rest)
    elif isinstance(metadata, dict):
        del metadata[HEADER_DIGEST], metadata[TENSORS_DIGEST]
        metadata["format_version"] = "2"
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]
