"""Where a command writes if nobody says where: never over something that was made of other data.

What is made of the same takes the place of the earlier, as one expects who runs a command again. Two datasets, or two
pictures, of one name must not: the later goes beside the earlier. Models have a rule of the same kind, in
:mod:`citris_cli.artifacts.runs`. A name that was given with ``-o`` is the user's, and is written to.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from citris_cli.data.npz import open_npz
from citris_cli.errors import CitrisError, InputError
from citris_cli.show.grids import SOURCES


def free_place(path: Path, made_of: Sequence[object]) -> Path:
    """``path``, or ``<stem>-<8 hex digits><suffix>`` beside it if what lies there was made of something else.

    Args:
        path: the default.
        made_of: what the file is going to be made of: inputs as the user gave them, for an evaluation also the model.
    """
    ours = [os.path.abspath(str(one)) for one in made_of]
    around = {os.path.dirname(place) for place in ours}
    # A folder of pictures is recorded picture by picture, and a dataset may have been named by its directory.
    if all(
        place in ours or os.path.dirname(place) in ours or place in around
        for place in map(os.path.abspath, _recorded(path))
    ):
        return path
    return path.with_stem(f"{path.stem}-{hashlib.sha256(os.fsencode(chr(10).join(ours))).hexdigest()[:8]}")


def check_beside(path: Path, suffix: str) -> None:
    """Refuse a name for a JSON file that is the name of what is written beside it.

    Args:
        path: given by the user.
        suffix: of the other file, such as ``.png``.

    Raises:
        InputError: it ends so.
    """
    if path.suffix.lower() == suffix:
        raise InputError(f"-o {path}: a {suffix} of this name goes beside the .json; give -o a name that ends in .json")


def _recorded(path: Path) -> list[str]:
    """What a file says that it was made of; nothing if there is none, or it says nothing of it."""
    if not path.is_file():
        return []
    try:
        if path.suffix == ".npz":
            with open_npz(path) as file:
                return sorted(set(map(str, file.array("sources").tolist()))) if "sources" in file else []
        if path.suffix == ".json":
            document: Any = json.loads(path.read_text("utf-8"))
            return [document["model"], document["data"]]
        with Image.open(path) as picture:
            told = picture.info.get(SOURCES, picture.info.get("comment", ""))
            return (told.decode() if isinstance(told, bytes) else told).splitlines()
    except (CitrisError, OSError, ValueError, KeyError, TypeError, Image.DecompressionBombError):
        return []
