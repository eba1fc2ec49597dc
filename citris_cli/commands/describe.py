"""What ``citris info`` says of a file: kind, sizes, variables, where it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from citris_cli.artifacts.checkpoints import is_published, read_checkpoint
from citris_cli.artifacts.models import read_model_header
from citris_cli.data.layout import FRAME_KEYS, TARGET_KEYS, TRUTH_KEYS, optional_key
from citris_cli.data.npz import NpzFile, open_npz
from citris_cli.data.variables import Variable, Variables
from citris_cli.errors import InputError


def describe(path: Path) -> dict[str, Any]:
    """Description of a model, a file of arrays or a folder, ready for JSON.

    Raises:
        InputError: no such path, or nothing that citris knows.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or directory; check the spelling")
    if path.is_dir():
        return _directory(path)
    if path.suffix == ".npz":
        return _arrays(path)
    if is_published(path):
        return _checkpoint(path)
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
    provenance = dict(header.provenance)
    if header.variables and header.kind == "causal_encoder":
        description["factors"] = _described(path, header.variables)
    elif header.variables:
        variables = _variables(path, header.variables)
        description["variables"] = ", ".join(
            f"{variable.name} ({_kind(variable)})" if variable.members else variable.name for variable in variables
        )
    if "columns" in provenance:
        description["columns of the data"] = _described(path, provenance.pop("columns"))
    if header.config:
        description["configuration"] = header.config
    if provenance:
        description["provenance"] = provenance
    return description


def _checkpoint(path: Path) -> dict[str, Any]:
    """What ``citris import-checkpoint`` would see of a published checkpoint, or why it would refuse it."""
    from citris_cli.conversion import PARTS, described, model_file_of

    checkpoint = read_checkpoint(path)
    description: dict[str, Any] = {"file": str(path), "kind": "published checkpoint", "size": _size(path)}
    description["weights"] = f"{sum(value.numel() for value in checkpoint.weights.values()):,}"
    try:
        description["model"], configuration = described(checkpoint, path)
        if description["model"] == "citris_nf" and "autoencoder" not in configuration:
            description["import"] = "needs its autoencoder, with --ae"
        else:
            variables = model_file_of(checkpoint, path).variables
            if variables is not None:
                description["variables"] = ", ".join(variable["name"] for variable in variables)
    except InputError as error:
        return description | {"import": f"not as it is: {error}"}
    inside = [part for part in PARTS if any(name.startswith(f"{part}.") for name in checkpoint.weights)]
    if inside:
        description["keeps inside"] = ", ".join(inside)
    origin = {name: value for name, value in checkpoint.origin.items() if name != "file"}
    return description | {"configuration": configuration, "provenance": origin}


def _described(path: Path, variables: Any) -> dict[str, str]:
    """Kind and range of each variable in a model's metadata, by name."""
    return {variable.name: _kind(variable) for variable in _variables(path, variables)}


def _variables(path: Path, variables: Any) -> Variables:
    try:
        return Variables.from_json(variables)
    except InputError as error:
        raise InputError(f"{path}: its metadata is damaged ({error}); get the file again or train anew") from error


def _kind(variable: Variable) -> str:
    if variable.members:
        return " + ".join(variable.members)
    if variable.kind == "categorical" and variable.categories is not None:
        return f"categorical, {variable.categories} categories"
    if variable.kind == "continuous" and variable.low is not None and variable.high is not None:
        return f"continuous, {variable.low:g} … {variable.high:g}"
    return variable.kind


def _arrays(path: Path) -> dict[str, Any]:
    with open_npz(path) as file:
        kind = _kind_of(file)
        description: dict[str, Any] = {"file": str(path), "kind": kind, "size": _size(path)}
        if kind == "causal latents":
            return description | {"frames": file.shape("z")[0], **_blocks(file)}
        if kind == "interventions":
            return description | {
                "pictures": file.shape("z_before")[0],
                "results": file.shape("z_after")[0],
                "frame size": "{}×{}".format(*file.shape("images")[1:3]),
                "intervened on": ", ".join(str(name) for name in file.array("intervened")),
                **_blocks(file),
            }
        description["arrays"] = {
            name: f"{file.dtype(name)} {list(file.shape(name))}" + (" (memory-mapped)" if file.is_mapped(name) else "")
            for name in file.names
        }
    use = {"triplets": _triplets, "independent frames": _independent}.get(kind, _sequence)
    return description | use(path)


def _kind_of(file: NpzFile) -> str:
    """What an .npz holds, by the names and shapes of its arrays: what ``encode`` or ``intervene`` wrote, or data."""
    shapes = {name: file.shape(name) for name in file.names}
    frames, truth, targets = (optional_key(file, keys) for keys in (FRAME_KEYS, TRUTH_KEYS, TARGET_KEYS))
    if {"assignment", "variables"} <= shapes.keys() and len(shapes["variables"]) == 1:
        latents = shapes["assignment"]
        if "z" in shapes and len(shapes["z"]) == 2 and shapes["z"][1:] == latents:
            return "causal latents"
        after, pictures = shapes.get("z_after", ()), shapes.get("images", ())
        if (
            len(after) == 2
            and len(pictures) == 4
            and len(shapes.get("intervened", ())) == 1
            and shapes.get("z_before", ())[1:] == after[1:] == latents
        ):
            return "interventions"
    if frames is not None and len(shapes[frames]) == 5:
        return "triplets"
    if frames is not None and truth is not None and targets is None:
        return "independent frames"
    return "dataset"


def _blocks(file: NpzFile) -> dict[str, Any]:
    assignment = file.array("assignment")
    names = [str(name) for name in file.array("variables")]
    return {
        "latents": len(assignment),
        "latents of": {name: int((assignment == index).sum()) for index, name in enumerate((*names, "psi(0)"))},
    }


def _directory(path: Path) -> dict[str, Any]:
    files = sorted(path.glob("*.npz"))
    models = sorted(path.glob("*.safetensors"))
    if not files and not models:
        raise InputError(f"{path}: holds neither .npz files nor models; give a dataset or a file of citris")
    data = any(_holds_data(file) for file in files)
    description: dict[str, Any] = {"directory": str(path), "kind": "dataset" if data else "artifacts"}
    description["files"] = {file.name: _size(file) for file in (*files, *models)}
    return description | (_sequence(path) if data else {})


def _holds_data(path: Path) -> bool:
    """Whether a file is (part of) a dataset, and nothing that a command made from one."""
    try:
        with open_npz(path) as file:
            return _kind_of(file) not in ("causal latents", "interventions")
    except InputError:
        return True  # whoever loads the dataset says what is wrong with it


def _sequence(path: Path) -> dict[str, Any]:
    """What training would see of a dataset, or why it would refuse it."""
    from citris_cli.data.datasets import load_sequences
    from citris_cli.data.identifiability import findings

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
    found = {", ".join(finding.variables): finding.sentence for finding in findings(data)}
    training["identifiability"] = found or "every variable's target tells it from all others"
    if data.factors is not None:
        training["ground truth"] = ", ".join(data.factors.names)
    return {"training": training}


def _independent(path: Path) -> dict[str, Any]:
    """What measuring against ground truth would see of a file, or why it would refuse it."""
    from citris_cli.data.datasets import load_independent

    try:
        data = load_independent(path)
    except InputError as error:
        return {"measuring": f"not as it is: {error}"}
    measuring: dict[str, Any] = {"frames": len(data.frames), "frame size": f"{data.frames.height}×{data.frames.width}"}
    if data.factors is not None:
        measuring["ground truth"] = ", ".join(data.factors.names)
    return {"measuring": measuring}


def _triplets(path: Path) -> dict[str, Any]:
    """What ``citris eval-triplets`` would see of a file, or why it would refuse it."""
    from citris_cli.data.datasets import load_triplets

    try:
        data = load_triplets(path)
    except InputError as error:
        return {"evaluation": f"not as it is: {error}"}
    share = data.mask.float().mean(0).tolist()
    evaluation: dict[str, Any] = {
        "triplets": len(data.mask),
        "frame size": f"{data.frames.height}×{data.frames.width}",
        "taken from image 2": {name: f"{part:.1%}" for name, part in zip(data.variables.names, share, strict=True)},
    }
    if data.factors is not None:
        evaluation["ground truth"] = ", ".join(data.factors.names)
    return {"evaluation": evaluation}
