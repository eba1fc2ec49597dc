"""What comes with the package: trained models, each with sample frames that it was not trained on.

``citris_cli/packaged`` has a folder for each, ``causal3d`` say, with ``model.safetensors`` and ``1.png``, ``2.png``, ….
Users write ``causal3d`` (or ``@causal3d``) where a model is asked for, and ``@causal3d/1`` where a picture is; a file
or folder that is really called so comes first. ``examples/models/package.py`` makes such a folder.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from citris_cli.data.paths import is_there
from citris_cli.errors import InputError

#: Where the folders lie.
HOME = Path(__file__).parents[1] / "packaged"
#: Name of the model's file in each.
MODEL = "model.safetensors"
#: What the names of samples begin with, and those of models may.
MARK = "@"


def packaged_names() -> list[str]:
    """Names of the models, in alphabetical order."""
    return sorted(path.parent.name for path in HOME.glob(f"*/{MODEL}"))


def packaged_model(given: Path) -> Path | None:
    """The file of the model that a name stands for here; None if it stands for none, or for what is called so here.

    Args:
        given: what the user wrote: ``causal3d``, ``@causal3d``.

    Raises:
        InputError: it begins with ``@``, nothing is called so, and no model is either.
    """
    text = given.as_posix()
    name = text.removeprefix(MARK)
    if os.path.lexists(given):
        return None
    if name in packaged_names():
        return HOME / name / MODEL
    if text.startswith(MARK):
        if sample_pictures(given):
            raise InputError(f"{given}: is a sample frame, not a model; its model is {name.partition('/')[0]}")
        raise _unknown(given, name)
    return None


def packaged_name(path: Path) -> str | None:
    """The name of a model that comes with the package, by its file; None for any other file."""
    return path.parent.name if path.parent.parent == HOME else None


def packaged_files(given: Path) -> list[Path]:
    """What a name stands for here that comes with the package: a model, or a sample frame; none if it stands for none.

    Args:
        given: what the user wrote: ``causal3d``, ``@causal3d``, ``@causal3d/1``.

    Raises:
        InputError: see :func:`packaged_model` and :func:`sample_pictures`.
    """
    samples = sample_pictures(given) if "/" in given.as_posix() else {}
    packaged = None if samples else packaged_model(given)
    return list(samples.values()) or ([] if packaged is None else [packaged])


def hidden_model(given: Path) -> str:
    """What to say of a packaged model whose name stands for a file or folder here; "" where it does not."""
    if given.as_posix() not in packaged_names() or not os.path.lexists(given):
        return ""
    return f"the model of that name that comes with citris is {MARK}{given}"


def samples_of(name: str) -> dict[str, Path]:
    """Sample frames of a packaged model, in order: their pictures by ``@causal3d/1`` and so on."""
    pictures = sorted((HOME / name).glob("*.png"), key=lambda path: int(path.stem))
    return {f"{MARK}{name}/{path.stem}": path for path in pictures}


def sample_pictures(given: Path) -> dict[str, Path]:
    """The sample frames that an input stands for: their pictures by name; none if it is an input of another kind.

    Args:
        given: what the user wrote: ``@causal3d/3`` for one, ``@causal3d`` for all of a model.

    Raises:
        InputError: it begins with ``@``, nothing is called so, and no sample is either.
    """
    text = given.as_posix()
    if not text.startswith(MARK) or is_there(given):
        return {}
    name, slash, _ = text.removeprefix(MARK).partition("/")
    if name not in packaged_names():
        raise _unknown(given, name)
    samples = samples_of(name)
    if not slash:
        return samples
    if text not in samples:
        raise InputError(f"{given}: no such file and no sample frame; there are {', '.join(samples)}")
    return {text: samples[text]}


def model_of_samples(inputs: list[Path]) -> Path | None:
    """The packaged model that the first sample frame among some inputs belongs to, or None if none is a sample.

    Args:
        inputs: what the user wrote, with chosen frames perhaps.

    Raises:
        InputError: see :func:`sample_pictures`.
    """
    for given in inputs:
        if pictures := sample_pictures(given):
            return next(iter(pictures.values())).parent / MODEL
    return None


def _unknown(given: Path, name: str) -> InputError:
    names = packaged_names()
    close = difflib.get_close_matches(re.split("[/#]", name)[0], names, n=1)
    guess = f"; did you mean {MARK}{close[0]}?" if close else ""
    return InputError(
        f"{given}: no such file, and no model of this name comes with citris (there are {', '.join(names)}){guess}"
    )
