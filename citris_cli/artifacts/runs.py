"""Where artifacts lie when nobody says where: ``runs/<dataset>/<kind>.safetensors`` under the current folder."""

from __future__ import annotations

import os
from pathlib import Path

from citris_cli.artifacts.files import listed
from citris_cli.artifacts.models import ModelHeader, read_model_header
from citris_cli.errors import CitrisError, InputError
from citris_cli.kinds import KINDS

RUNS = Path("runs")
MODEL_VARIABLE = "CITRIS_MODEL"
#: How the best weights so far of a training that goes on end: a file of the same kind as its model.
BEST_SO_FAR = ".best.safetensors"


def header_or_none(path: Path) -> ModelHeader | None:
    """Header of a model file of ours, or None if the path holds none."""
    try:
        return read_model_header(path)
    except CitrisError:
        return None


def run_folder(name: str, data_sha256: str) -> Path:
    """Folder for a dataset's models: ``runs/<name>``, or ``runs/<name>-<hash>`` if another dataset has that name.

    Args:
        name: the name of the dataset, or of the checkpoint that is imported.
        data_sha256: its SHA-256, hex.
    """
    folder = RUNS / name
    theirs = set()
    for file_name in (kind.file_name for kind in KINDS.values()):
        stem = file_name.removesuffix(".safetensors")
        for path in (folder / file_name, folder / f"{stem}.state.safetensors"):
            header = header_or_none(path)
            if header is not None:
                settings = header.config.get("settings", header.provenance)
                theirs.add(settings.get("data_sha256", settings.get("imported_from", {}).get("sha256")))
    if theirs - {None, data_sha256} and data_sha256 not in theirs:
        return RUNS / f"{name}-{data_sha256[:8]}"
    return folder


def newest_causal_model() -> Path | None:
    """The model with causal latents under ``runs/`` that was written last."""
    kinds = {kind.file_name: kind.name for kind in KINDS.values() if kind.causal}
    found = [path for path in RUNS.glob("*/*.safetensors") if path.name in kinds]
    for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True):
        header = header_or_none(path)
        if header is not None and header.kind in kinds.values():
            return path
    return None


def model_at(place: Path) -> Path:
    """The model file that a path means: itself, or the one model with causal latents of the folder that it is.

    Args:
        place: a file or a folder; ``~`` at its beginning is the home folder, unless something is called so.

    Raises:
        InputError: a folder that cannot be read, or has no such model or several.
    """
    path = place if os.path.lexists(place) else Path(os.path.expanduser(place))
    if not os.path.isdir(path):
        return path
    files = [
        file
        for file in listed(path)
        if file.name.endswith(".safetensors") and not file.name.endswith(BEST_SO_FAR) and not file.name.startswith(".")
    ]
    causal = {kind.name for kind in KINDS.values() if kind.causal}
    found = [file for file in files if (header := header_or_none(file)) is not None and header.kind in causal]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(file.name for file in found)
        raise InputError(
            f"{place}: the folder holds {len(found)} models with causal latents ({names}); name one of them"
        )
    raise InputError(
        f"{place}: the folder holds no model with causal latents; name a file that train-nf or train-vae wrote"
    )


def find_causal_model(given: Path | None) -> tuple[Path, str]:
    """The model that a command uses: the one given, else ``$CITRIS_MODEL``, else the newest under ``runs/``.

    Returns:
        Its path, and how it was found, for a note ("" if it was given).

    Raises:
        InputError: there is none, or see :func:`model_at`.
    """
    if given is not None:
        path = model_at(given)
        return path, "" if path.name == given.name else f"the only one in {given}"
    if os.environ.get(MODEL_VARIABLE):
        return model_at(Path(os.environ[MODEL_VARIABLE])), f"from ${MODEL_VARIABLE}"
    if RUNS.is_dir():
        listed(RUNS)  # a folder that cannot be read is not one without models
    newest = newest_causal_model()
    if newest is None:
        raise InputError(
            f"no model given with --model, none in ${MODEL_VARIABLE} and none under {RUNS}/: "
            "train one with 'citris train-nf DATA' or 'citris train-vae DATA'"
        )
    return newest, f"the newest under {RUNS}/"
