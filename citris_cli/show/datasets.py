"""What is in a file of arrays or in a folder: the facts that ``citris info`` shows, ready for JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from citris_cli.artifacts.files import listed
from citris_cli.data.layout import FRAME_KEYS, TARGET_KEYS, TRUTH_KEYS, array_files, optional_key
from citris_cli.data.npz import NpzFile, open_npz
from citris_cli.data.paths import is_hidden
from citris_cli.data.variables import REST
from citris_cli.errors import InputError


def file_size(path: Path) -> str:
    """Size of a file in words, such as ``12.3 kB``; 1 kB is 1000 bytes."""
    size = path.stat().st_size
    if size < 1000:
        return f"{size} bytes"
    if size < 1000**2:
        return f"{size / 1000:.1f} kB"
    return f"{size / 1000**2:.1f} MB" if size < 1000**3 else f"{size / 1000**3:.1f} GB"


def describe_arrays(path: Path) -> dict[str, Any]:
    """What an ``.npz`` holds; of data also what training, measuring or evaluating would see of it.

    Raises:
        InputError: it cannot be read.
    """
    with open_npz(path) as file:
        kind = _kind_of(file)
        description: dict[str, Any] = {"file": str(path), "kind": kind, "size": file_size(path)}
        if kind == "causal latents":
            return description | {"frames": file.shape("z")[0], **_blocks(file)}
        if kind == "interventions":
            return description | {
                "pictures": file.shape("z_before")[0],
                "results": file.shape("z_after")[0],
                "frame size": "{}×{}".format(*file.shape("images")[2:0:-1]),
                "intervened on": ", ".join(str(name) for name in file.array("intervened")),
                **_blocks(file),
            }
        description["arrays"] = {
            name: f"{file.dtype(name)} {list(file.shape(name))}" + (" (memory-mapped)" if file.is_mapped(name) else "")
            for name in file.names
        }
    use = {"triplets": _triplets, "independent frames": _independent}.get(kind, _sequence)
    return description | use(path)


def describe_directory(path: Path) -> dict[str, Any]:
    """The files in a folder, and of a dataset what training would see of it.

    Raises:
        InputError: it holds neither arrays nor models.
    """
    files = array_files(path)
    models = [file for file in listed(path) if file.suffix == ".safetensors" and not is_hidden(file.name)]
    if not files and not models:
        raise InputError(f"{path}: holds neither .npz files nor models; give a dataset or a file of citris")
    data = any(_holds_data(file) for file in files)
    description: dict[str, Any] = {"directory": str(path), "kind": "dataset" if data else "artifacts"}
    description["files"] = {file.name: file_size(file) for file in (*files, *models)}
    return description | (_sequence(path) if data else {})


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
    """How many latents each variable has."""
    assignment = file.array("assignment")
    names = [str(name) for name in file.array("variables")]
    return {
        "latents": len(assignment),
        "latents of": {name: int((assignment == index).sum()) for index, name in enumerate((*names, REST))},
    }


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
