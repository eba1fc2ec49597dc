"""Where artifacts lie when nobody says where: ``runs/<dataset>/<kind>.safetensors`` under the current folder.

Several models of one kind lie beside each other there: ``nf.safetensors``, ``nf-seed7.safetensors``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from citris_cli.artifacts.files import listed
from citris_cli.artifacts.models import ModelHeader, read_model_header
from citris_cli.artifacts.packaged import hidden_model, model_of_samples, packaged_model, packaged_names
from citris_cli.data.paths import parse_choice
from citris_cli.errors import CitrisError, InputError
from citris_cli.kinds import KINDS, Kind

RUNS = Path("runs")
MODEL_VARIABLE = "CITRIS_MODEL"
#: How the names of files with the best weights so far of a training run end.
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
    for kind in KINDS.values():
        for path in (*models_in(folder, kind), *models_in(folder, kind, ".state")):
            header = header_or_none(path)
            if header is not None:
                settings = header.config.get("settings", header.provenance)
                theirs.add(settings.get("data_sha256", settings.get("imported_from", {}).get("sha256")))
    if theirs - {None, data_sha256} and data_sha256 not in theirs:
        return RUNS / f"{name}-{data_sha256[:8]}"
    return folder


def models_in(folder: Path, kind: Kind, ending: str = "") -> list[Path]:
    """Files in a folder that are called like models of a kind, what was written last first.

    Args:
        folder: it need not be there.
        kind: of the models: ``nf.safetensors`` and ``nf-….safetensors`` for CITRIS-NF.
        ending: ``.state`` for the states of their trainings instead.
    """
    return _newest_first(path for path in folder.glob("*.safetensors") if _is_called(path, kind, ending))


def _is_called(path: Path, kind: Kind, ending: str = "") -> bool:
    stem = re.escape(kind.file_name.removesuffix(".safetensors"))
    return re.fullmatch(rf"{stem}(-[^.]+)?{re.escape(ending)}\.safetensors", path.name) is not None


def _newest_first(paths: Iterable[Path]) -> list[Path]:
    times = {}
    for path in paths:
        with suppress(FileNotFoundError):  # a link that leads nowhere, or a file that has just been removed
            times[path] = path.stat().st_mtime_ns
    return sorted(times, key=lambda path: times[path], reverse=True)


def newest_causal_model() -> Path | None:
    """The model with causal latents under ``runs/`` that was written last."""
    kinds = [kind for kind in KINDS.values() if kind.causal]
    found = [path for path in RUNS.glob("*/*.safetensors") if any(_is_called(path, kind) for kind in kinds)]
    for path in _newest_first(found):
        header = header_or_none(path)
        if header is not None and header.kind in {kind.name for kind in kinds}:
            return path
    return None


def newest_model(folder: Path, kind: Kind, data_sha256: str | None = None) -> Path | None:
    """The model of a kind that was written last into a folder.

    Args:
        folder: it need not be there.
        kind: of the model.
        data_sha256: of the data that it was trained on; None for any.
    """
    for path in models_in(folder, kind):
        header = header_or_none(path)
        if header is None or header.kind != kind.name:
            continue
        if data_sha256 in (None, header.provenance.get("data_sha256")):
            return path
    return None


def model_at(place: Path) -> Path:
    """The model file that a path means: itself, the one model with causal latents of the folder that it is, or a model
    that comes with the package.

    Args:
        place: a file, a folder, or the name of a packaged model if nothing here is called so; ``~`` at its beginning is
            the home folder, unless something is called so.

    Raises:
        InputError: a folder that cannot be read, or has no such model or several; a name with ``@`` of no model.
    """
    if packaged := packaged_model(place):
        return packaged
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
    theirs = f"; {hidden}" if (hidden := hidden_model(place)) else ""
    if found:
        names = ", ".join(file.name for file in found)
        raise InputError(
            f"{place}: the folder holds {len(found)} models with causal latents ({names}); name one of them{theirs}"
        )
    raise InputError(
        f"{place}: the folder holds no model with causal latents; name a file that train-nf or train-vae wrote{theirs}"
    )


def find_causal_model(given: Path | None, inputs: Sequence[Path] = ()) -> tuple[Path, str]:
    """The model that a command uses.

    The one given, else ``$CITRIS_MODEL``, else that of the first sample frame among the inputs, else the newest under
    ``runs/``.

    Args:
        given: a file, a folder, or the name of a packaged model.
        inputs: pictures or data that the command reads.

    Returns:
        Its path, and how it was found, for a note ("" if it was given).

    Raises:
        InputError: there is none, or see :func:`model_at`.
    """
    if given is not None:
        path = model_at(given)
        found = "" if path.name == given.name or packaged_model(given) else f"the only one in {given}"
        return path, _joined(found, hidden_model(given))
    if os.environ.get(MODEL_VARIABLE):
        place = Path(os.environ[MODEL_VARIABLE])
        return model_at(place), _joined(f"from ${MODEL_VARIABLE}", hidden_model(place))
    own = model_of_samples([parse_choice(one).path for one in inputs])
    if own is not None:
        return own, f"{own.parent.name}, to which the sample frame belongs"
    if RUNS.is_dir():
        listed(RUNS)  # a folder that cannot be read is not one without models
    newest = newest_causal_model()
    if newest is None:
        raise InputError(
            f"no model given with --model, none in ${MODEL_VARIABLE} and none under {RUNS}/: "
            "train one with 'citris train-nf DATA' or 'citris train-vae DATA', or take one that comes with citris "
            f"(--model {' or '.join(packaged_names())})"
        )
    return newest, f"the newest under {RUNS}/"


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))
