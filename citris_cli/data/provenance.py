"""Where a dataset comes from, as whoever wrote it says in its file."""

from __future__ import annotations

import json
from typing import Any

from citris_cli.data.layout import PROVENANCE_KEY
from citris_cli.data.npz import NpzFile

#: Bytes of a provenance that is read: it names each source.
_LONGEST = 4 << 20


def provenance_of(file: NpzFile) -> dict[str, Any]:
    """What ``citris pack`` or ``citris simulate`` says of a file; nothing of what they did not make."""
    if PROVENANCE_KEY not in file or file.shape(PROVENANCE_KEY) != () or file.dtype(PROVENANCE_KEY).kind != "U":
        return {}
    if file.dtype(PROVENANCE_KEY).itemsize > _LONGEST:
        return {}
    try:
        told = json.loads(str(file.array(PROVENANCE_KEY)))
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
