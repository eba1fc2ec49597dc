"""``citris info``: what is in any file of ours, in a dataset, or in what is neither."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from citris_cli.commands import options
from citris_cli.errors import InputError

if TYPE_CHECKING:
    from citris_cli.data.variables import Variables
    from citris_cli.show.datasets import Described


def info(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="Models, files of latents, datasets, pictures, folders of these, quoted patterns; several datasets "
            "are taken as shards of one.",
            show_default=False,
        ),
    ],
    as_json: options.Json = False,
) -> None:
    """Describe a model, latents, a dataset or any other file; the exit status is 2 if citris cannot use it."""
    from citris_cli.commands.outputs import document_text
    from citris_cli.show.console import Console
    from citris_cli.show.description import description_lines

    description = describe(paths)
    console = Console()
    for line in [document_text(description)] if as_json else description_lines(description):
        console.result(line)
    if not description["usable"]:
        raise InputError(description["reason"])


def describe(paths: Sequence[Path]) -> dict[str, Any]:
    """Description of files and folders, ready for JSON: docs/json.md lists its keys.

    Args:
        paths: files, folders and quoted patterns; several datasets are described as the shards of one.

    Raises:
        InputError: no such path.
    """
    from citris_cli.artifacts.packaged import packaged_files
    from citris_cli.data.layout import find_files
    from citris_cli.data.paths import is_there
    from citris_cli.show.datasets import describe_several, describe_together

    found: list[Path] = []
    for path in paths:
        # Where nothing is, it may be the name of what comes with citris or a pattern, or is refused as in a training.
        found += [path] if is_there(path) else packaged_files(path) or find_files(path, ("train",))
    described = [_describe(path) for path in found]
    if len(found) > 1 and all(one.kind == "dataset" and one.use is not None for one in described):
        return describe_together(found, [one.facts for one in described])
    complete = [
        one.facts if one.use is None else one.facts | one.use([path])
        for path, one in zip(found, described, strict=True)
    ]
    return complete[0] if len(found) == 1 else describe_several(found, complete)


def _describe(path: Path) -> Described:
    """What one file or folder holds, or that it is nothing that citris reads.

    Raises:
        InputError: it is no regular file, or cannot be read.
    """
    from citris_cli.data import signatures
    from citris_cli.show.datasets import Described

    if path.is_dir():
        known: dict[str, Any] = {"directory": str(path), "kind": "directory", "bytes": 0}
        found = None
    else:
        if not path.is_file():
            raise InputError(f"{path}: this is not a regular file; name a file")
        try:
            start = signatures.beginning(path)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InputError(f"{path}: the file cannot be read ({reason}); check its permissions") from None
        found = signatures.identify(start)
        kind = "unknown" if found is None else found.kind
        known = {"file": str(path), "kind": kind, "bytes": path.stat().st_size}
    try:
        return _read(path, "directory" if path.is_dir() else "" if found is None else found.family)
    except InputError as error:
        return Described(known | {"usable": False, "reason": str(error)})


def _read(path: Path, family: str) -> Described:
    """What a reader finds.

    Args:
        path: the file or folder.
        family: what it is by its first bytes, see :mod:`citris_cli.data.signatures`.

    Raises:
        InputError: nothing reads it, or it is damaged.
    """
    from citris_cli.artifacts.checkpoints import is_published
    from citris_cli.show.datasets import Described, describe_arrays, describe_directory, describe_picture

    suffix = path.suffix.lower()
    if family == "directory":
        return describe_directory(path)
    if family == "npz" or (family in ("zip", "") and suffix == ".npz"):
        return describe_arrays(path)
    if family == "picture" or (family == "" and suffix == ".tga"):  # which no first bytes tell
        return Described(describe_picture(path))
    if family in ("checkpoint", "zip", "pickle") or is_published(path):
        return Described(_checkpoint(path))
    if family == "model":
        return Described(_model(path))
    raise InputError(_no_use(path))


def _no_use(path: Path) -> str:
    """Why a file is nothing that citris reads, by what its name promises."""
    from citris_cli.data import signatures

    promised: dict[str, signatures.Wanted] = {
        ".safetensors": "model", ".ckpt": "checkpoint", ".pt": "checkpoint", ".pth": "checkpoint", ".png": "picture",
        ".jpg": "picture", ".jpeg": "picture",
    }  # fmt: skip
    why_not = signatures.refusal(signatures.beginning(path), promised.get(path.suffix.lower(), "data"))
    return f"{path}: {why_not or 'citris does not know this kind of file; check how it was made'}"


def _model(path: Path) -> dict[str, Any]:
    """What the header of a model file tells, and whether the whole file agrees with its digests."""
    from citris_cli.artifacts.models import check_model

    header = check_model(path)
    weights = sum(math.prod(shape) for _, shape in header.tensors.values())
    digest = "agrees" if header.checked else "none"
    description = _of_file(path, header.kind) | {"digest": digest, "weights": weights}
    description |= _frame_size(header.kind, header.config)
    provenance = dict(header.provenance)
    columns = provenance.pop("columns", None)
    if header.variables:
        variables = _variables(path, header.variables)
        reads_factors = header.kind == "causal_encoder"
        description["factors" if reads_factors else "variables"] = list(variables.names)
        if groups := {one.name: list(one.members) for one in variables if one.members}:
            description["groups"] = groups
        if imperfect := _imperfect(header.config.get(header.kind), variables):
            description["imperfect_variables"] = imperfect
        columns = header.variables if reads_factors else columns
    if columns:
        description["columns"] = _variables(path, columns).to_json()
    if _has_graph(header.kind, header.config):
        from citris_cli.causal_model import CausalModel
        from citris_cli.loading import load_model

        description["graph"] = CausalModel(load_model(path)).graph()
    return description | {"configuration": header.config, "provenance": provenance}


def _imperfect(config: Any, variables: Variables) -> list[str]:
    """Names of the variables of which alone interventions are imperfect, by a configuration that may be anything."""
    prior = config.get("prior") if isinstance(config, Mapping) else None
    numbers = prior.get("imperfect_variables") if isinstance(prior, Mapping) else None
    known = range(len(variables))
    return [variables.names[k] for k in numbers if k in known] if isinstance(numbers, list) else []


def _has_graph(kind: str, config: Mapping[str, Any]) -> bool:
    """Whether a model learned a graph: its weights tell it."""
    from citris_cli.core.config import ICitrisPriorConfig

    prior = config.get(kind, {}).get("prior")
    return isinstance(prior, Mapping) and prior.get("name") == ICitrisPriorConfig.name


def _checkpoint(path: Path) -> dict[str, Any]:
    """What ``citris import-checkpoint`` would see of a published checkpoint, or why it would refuse it."""
    from citris_cli.artifacts.checkpoints import read_checkpoint
    from citris_cli.conversion import PARTS, described, model_file_of

    checkpoint = read_checkpoint(path)
    weights = sum(value.numel() for value in checkpoint.weights.values())
    digest = "agrees" if checkpoint.checked else "none"
    description = _of_file(path, "published checkpoint") | {"digest": digest, "weights": weights}
    try:
        description["model_kind"], configuration = described(checkpoint, path)
        description |= _frame_size(description["model_kind"], configuration)
        if description["model_kind"] == "citris_nf" and "autoencoder" not in configuration:
            description["needs"] = ["autoencoder (--ae)"]
        else:
            variables = model_file_of(checkpoint, path).variables
            if variables is not None:
                description["variables"] = [variable["name"] for variable in variables]
    except InputError as error:
        return description | {"usable": False, "reason": str(error)}
    inside = [part for part in PARTS if any(name.startswith(f"{part}.") for name in checkpoint.weights)]
    if inside:
        description["keeps_inside"] = inside
    origin = {name: value for name, value in checkpoint.origin.items() if name != "file"}
    return description | {"configuration": configuration, "provenance": origin}


def _frame_size(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Width and height of a model's frames, where its configuration, of which nothing is believed yet, tells them."""
    from citris_cli.core.config import WIDTHS
    from citris_cli.kinds import KINDS

    try:
        width = KINDS[kind].width(config)
    except (KeyError, TypeError, AttributeError):  # of no kind that is known, or the autoencoder lies elsewhere
        return {}
    return {"frame_size": [width, width]} if type(width) is int and width in WIDTHS else {}


def _of_file(path: Path, kind: str) -> dict[str, Any]:
    return {"file": str(path), "kind": kind, "bytes": path.stat().st_size, "usable": True}


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
