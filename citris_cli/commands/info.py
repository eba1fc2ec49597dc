"""``citris info``: what is in any file of ours, or in a dataset."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from citris_cli.commands import options
from citris_cli.errors import InputError

if TYPE_CHECKING:
    from citris_cli.data.variables import Variable, Variables


def info(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Model, latents, dataset file or directory.")],
    as_json: options.Json = False,
) -> None:
    """Say what is in a model, a file of latents or a dataset."""
    import json

    from citris_cli.show.console import Console

    description = describe(path)
    console = Console()
    for line in [json.dumps(description)] if as_json else _lines(description):
        console.result(line)


def describe(path: Path) -> dict[str, Any]:
    """Description of a model, a file of arrays or a folder, ready for JSON.

    Raises:
        InputError: no such path, or nothing that citris knows.
    """
    from citris_cli.artifacts.checkpoints import is_published
    from citris_cli.show.datasets import describe_arrays, describe_directory

    if not path.exists():
        raise InputError(f"{path}: no such file or directory; check the spelling")
    if path.is_dir():
        return describe_directory(path)
    if path.suffix == ".npz":
        return describe_arrays(path)
    return _checkpoint(path) if is_published(path) else _model(path)


def _lines(description: dict[str, Any], indent: str = "") -> list[str]:
    """``key: value`` lines, aligned, nested entries indented below their key."""
    lines = []
    width = max((len(key) for key in description), default=0)
    for key, value in description.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key.ljust(width)}  {value}")
    return lines


def _model(path: Path) -> dict[str, Any]:
    """What the header of a model file tells."""
    from citris_cli.artifacts.models import read_model_header
    from citris_cli.show.datasets import file_size

    header = read_model_header(path)
    description: dict[str, Any] = {"file": str(path), "kind": header.kind, "size": file_size(path)}
    weights = sum(math.prod(shape) for _, shape in header.tensors.values())
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
    from citris_cli.artifacts.checkpoints import read_checkpoint
    from citris_cli.conversion import PARTS, described, model_file_of
    from citris_cli.show.datasets import file_size

    checkpoint = read_checkpoint(path)
    description: dict[str, Any] = {"file": str(path), "kind": "published checkpoint", "size": file_size(path)}
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
    """The variables in a model's metadata.

    Raises:
        InputError: they are malformed.
    """
    from citris_cli.data.variables import Variables

    try:
        return Variables.from_json(variables)
    except InputError as error:
        raise InputError(f"{path}: its metadata is damaged ({error}); get the file again or train anew") from error


def _kind(variable: Variable) -> str:
    """What a variable is: its kind and range, or the columns that were merged into it."""
    if variable.members:
        return " + ".join(variable.members)
    if variable.kind == "categorical" and variable.categories is not None:
        return f"categorical, {variable.categories} categories"
    if variable.kind == "continuous" and variable.low is not None and variable.high is not None:
        return f"continuous, {variable.low:g} … {variable.high:g}"
    return variable.kind
