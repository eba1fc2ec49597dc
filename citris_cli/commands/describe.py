"""What ``citris info`` says of a file: kind, sizes, variables, where it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from citris_cli.artifacts.models import read_model_header
from citris_cli.data.npz import open_npz
from citris_cli.errors import InputError


def describe(path: Path) -> dict[str, Any]:
    """Description of a model, a file of latents or a dataset, ready for JSON.

    Raises:
        InputError: no such path, or nothing that citris knows.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or directory; check the spelling")
    if path.is_dir():
        return _directory(path)
    if path.suffix == ".npz":
        return _latents(path) if _holds_latents(path) else _dataset(path)
    return _model(path)


def _size(path: Path) -> str:
    size = float(path.stat().st_size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def _model(path: Path) -> dict[str, Any]:
    header = read_model_header(path)
    description: dict[str, Any] = {"file": str(path), "kind": header.kind, "size": _size(path)}
    weights = sum(int(np.prod(shape)) for _, shape in header.tensors.values())
    description["weights"] = f"{weights:,}"
    if header.variables:
        description["variables"] = ", ".join(variable["name"] for variable in header.variables)
    if header.config:
        description["configuration"] = header.config
    if header.provenance:
        description["provenance"] = header.provenance
    return description


def _holds_latents(path: Path) -> bool:
    """Whether a file has the arrays that ``citris encode`` writes, in shapes that fit together."""
    file = open_npz(path)
    if not {"z", "assignment", "variables"} <= set(file.names):
        return False
    z = file.shape("z")
    return len(z) == 2 and file.shape("assignment") == z[1:] and len(file.shape("variables")) == 1


def _latents(path: Path) -> dict[str, Any]:
    file = open_npz(path)
    frames, latents = file.shape("z")
    assignment = file.array("assignment")
    names = [str(name) for name in file.array("variables")]
    return {
        "file": str(path),
        "kind": "causal latents",
        "size": _size(path),
        "frames": frames,
        "latents": latents,
        "latents of": {name: int((assignment == index).sum()) for index, name in enumerate((*names, "psi(0)"))},
    }


def _dataset(path: Path) -> dict[str, Any]:
    file = open_npz(path)
    return {
        "file": str(path),
        "kind": "dataset",
        "size": _size(path),
        "arrays": {
            name: f"{file.dtype(name)} {list(file.shape(name))}" + (" (memory-mapped)" if file.is_mapped(name) else "")
            for name in file.names
        },
        **_sequence(path),
    }


def _directory(path: Path) -> dict[str, Any]:
    files = sorted(path.glob("*.npz"))
    models = sorted(path.glob("*.safetensors"))
    if not files and not models:
        raise InputError(f"{path}: holds neither .npz files nor models; give a dataset or a file of citris")
    description: dict[str, Any] = {"directory": str(path), "kind": "dataset" if files else "artifacts"}
    description["files"] = {file.name: _size(file) for file in (*files, *models)}
    return description | (_sequence(path) if files else {})


def _sequence(path: Path) -> dict[str, Any]:
    """What training would see of a dataset, or why it would refuse it."""
    from citris_cli.data.datasets import load_sequences

    try:
        data = load_sequences([path])
    except InputError as error:
        return {"training": f"not as it is: {error}"}
    counts = data.targets[data.starts].sum(0)
    share = {name: f"{count / len(data.starts):.1%}" for name, count in zip(data.variables.names, counts, strict=True)}
    training: dict[str, Any] = {
        "frames": len(data.frames),
        "frame size": f"{data.frames.height}×{data.frames.width}",
        "steps": len(data.starts),
        "intervened on": share,
    }
    if data.dropped:
        training["never intervened on"] = ", ".join(data.dropped.names)
    if data.factors is not None:
        training["ground truth"] = ", ".join(data.factors.names)
    return {"training": training}
