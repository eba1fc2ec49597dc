"""What is in files of arrays, pictures and folders: what ``citris info`` shows, under the keys of docs/json.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from citris_cli.artifacts.files import listed
from citris_cli.data.layout import (
    FRAME_KEYS,
    KNOWN_KEYS,
    TARGET_KEYS,
    TRUTH_KEYS,
    array_files,
    optional_key,
    texts,
)
from citris_cli.data.npz import NpzFile, open_npz
from citris_cli.data.paths import is_hidden
from citris_cli.data.provenance import provenance_of
from citris_cli.data.signatures import beginning, identify
from citris_cli.data.variables import REST
from citris_cli.errors import InputError

if TYPE_CHECKING:
    from citris_cli.data.datasets import IndependentData, SequenceData, TripletData

#: What is in a file or a folder, ready for JSON.
Facts = dict[str, Any]


@dataclass(frozen=True)
class Described:
    """What is in a file or a folder.

    Attributes:
        facts: what it holds.
        use: for data, what training, measuring or evaluating would see of files like this one, alone or together, or
            why it would refuse them; None for all else.
    """

    facts: Facts
    use: Callable[[Sequence[Path]], Facts] | None = None

    @property
    def kind(self) -> str:
        """What it is."""
        return str(self.facts["kind"])


def describe_arrays(path: Path) -> Described:
    """What an ``.npz`` holds.

    Raises:
        InputError: it cannot be read.
    """
    with open_npz(path) as file:
        kind = _kind_of(file)
        facts: Facts = {"file": str(path), "kind": kind, "bytes": path.stat().st_size, "usable": True}
        if kind == "causal latents":
            return Described(facts | {"frames": file.shape("z")[0], **_blocks(file)})
        if kind == "interventions":
            made = {
                "pictures": file.shape("z_before")[0],
                "results": file.shape("z_after")[0],
                "frame_size": list(file.shape("images")[2:0:-1]),
                "intervened": texts(file, "intervened"),
            }
            return Described(facts | made | _blocks(file))
        facts["arrays"] = {
            name: {
                "dtype": str(file.dtype(name)),
                "shape": list(file.shape(name)),
                "memory_mapped": file.is_mapped(name),
            }
            for name in _arrays(file)
        }
        told = provenance_of(file)
        facts |= {"provenance": told} if told else {}
    return Described(facts, {"triplets": _triplets, "independent frames": _independent}.get(kind, _sequence))


def describe_together(paths: Sequence[Path], descriptions: Sequence[Facts]) -> Facts:
    """What training would see of several files as one dataset.

    Args:
        paths: the files, each a sequence with interventions.
        descriptions: of each by itself.
    """
    files = {"files": [str(path) for path in paths], "kind": "dataset", "bytes": _sum_of_bytes(descriptions)}
    return files | {"usable": True, "contents": list(descriptions)} | _sequence(paths)


def describe_several(paths: Sequence[Path], descriptions: Sequence[Facts]) -> Facts:
    """Several files and folders that are no one dataset.

    Args:
        paths: as they were given.
        descriptions: of each by itself.
    """
    facts: Facts = {
        "files": [str(path) for path in paths],
        "kind": "files",
        "bytes": _sum_of_bytes(descriptions),
        "usable": all(one["usable"] for one in descriptions),
        "contents": list(descriptions),
    }
    reasons = [one["reason"] for one in descriptions if "reason" in one]
    return facts | ({"reason": reasons[0]} if reasons else {})


def describe_directory(path: Path) -> Described:
    """The files in a folder.

    Raises:
        InputError: it cannot be read, or holds neither arrays, models nor pictures.
    """
    arrays = array_files(path)
    models = [file for file in listed(path) if file.suffix == ".safetensors" and not is_hidden(file.name)]
    if not arrays and not models:
        return Described(_pictures(path))
    data = any(_holds_data(file) for file in arrays)
    entries = [{"file": str(file), "bytes": file.stat().st_size} for file in (*arrays, *models)]
    facts = {
        "directory": str(path),
        "kind": "dataset" if data else "artifacts",
        "bytes": _sum_of_bytes(entries),
        "usable": True,
        "entries": entries,
    }
    return Described(facts, _sequence if data else None)


def describe_picture(path: Path) -> Facts:
    """What a picture, or an animation, tells in its header.

    Raises:
        InputError: it cannot be read.
    """
    from citris_cli.data.images import look_at

    found, picture = identify(beginning(path)), look_at(path, str(path))
    facts: Facts = {"file": str(path), "kind": "picture", "bytes": path.stat().st_size, "usable": True}
    image_format = "TGA" if found is None else found.kind.partition(" ")[0].upper()
    return facts | {"format": image_format, "pictures": len(picture.sizes), "frame_size": list(picture.sizes[0])}


def _pictures(path: Path) -> Facts:
    """What is in a folder of pictures.

    Raises:
        InputError: there is none in it, or one cannot be read.
    """
    from citris_cli.data.images import list_images, look_at

    try:
        files = list_images(path)
    except InputError:
        folders = sorted(one.name for one in path.iterdir() if one.is_dir() and not is_hidden(one.name))
        instead = f"name one of its folders ({', '.join(folders[:8])})" if folders else "give a dataset or a picture"
        raise InputError(f"{path}: holds neither .npz files nor models nor pictures; {instead}") from None
    looked_at = [look_at(file, str(file)) for file in files]
    sizes = {size for file in looked_at for size in file.sizes}
    return {
        "directory": str(path),
        "kind": "pictures",
        "bytes": sum(file.stat().st_size for file in files),
        "usable": True,
        "pictures": sum(len(file.sizes) for file in looked_at),
        "frame_sizes": [list(size) for size in sorted(sizes)],
    }


def _arrays(file: NpzFile) -> list[str]:
    """Names of the members that are arrays; one that is none and that nobody asks for does no harm."""
    found = []
    for name in file.names:
        try:
            file.shape(name)
        except InputError:
            if name in KNOWN_KEYS:
                raise
        else:
            found.append(name)
    return found


def _kind_of(file: NpzFile) -> str:
    """What an .npz holds, by the names and shapes of its arrays: what ``encode`` or ``intervene`` wrote, or data."""
    shapes = {name: file.shape(name) for name in _arrays(file)}
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
    if frames is not None and len(shapes[frames]) == 5 and _are_triplets(file, frames):
        return "triplets"
    if frames is not None and truth is not None and (targets is None or _are_independent(file, frames, targets)):
        return "independent frames"
    return "dataset"


def _are_triplets(file: NpzFile, frames: str) -> bool:
    """Whether frames of five axes are triplets, and no pairs or episodes."""
    from citris_cli.data.arrangement import Form, arrangement

    try:
        return arrangement(file, frames).form is Form.TRIPLETS
    except InputError:
        return False  # whoever loads the data says what is wrong


def _are_independent(file: NpzFile, frames: str, targets: str) -> bool:
    """Whether targets are those of published independent frames: the same row for every frame, with interventions."""
    shape = file.shape(targets)
    if len(shape) != 2 or shape[0] != file.shape(frames)[0] or shape[0] < 2 or file.dtype(targets).kind not in "buif":
        return False
    from citris_cli.data.intensities import PIECE

    first = None
    for rows in file.pieces(targets, PIECE):
        first = rows[:1].copy() if first is None else first
        if not (rows == first).all():
            return False
    return first is not None and bool(first.any())


def _blocks(file: NpzFile) -> Facts:
    """How many latents each variable has."""
    assignment = file.array("assignment")
    names = texts(file, "variables") or []
    counts = {name: int((assignment == index).sum()) for index, name in enumerate((*names, REST))}
    return {"latents": len(assignment), "latents_per_variable": counts}


def _holds_data(path: Path) -> bool:
    """Whether a file is (part of) a dataset, and nothing that a command made from one."""
    try:
        with open_npz(path) as file:
            return _kind_of(file) not in ("causal latents", "interventions")
    except InputError:
        return True  # whoever loads the dataset says what is wrong with it


def _sum_of_bytes(descriptions: Sequence[Facts]) -> int:
    return sum(one["bytes"] for one in descriptions)


def _refused(error: InputError) -> Facts:
    return {"usable": False, "reason": str(error)}


def _sequence(paths: Sequence[Path]) -> Facts:
    """What training would see of a dataset, or why it would refuse it."""
    from citris_cli.data.datasets import load_held_out, load_sequences
    from citris_cli.data.identifiability import few_samples, findings
    from citris_cli.data.truth import check_true_values
    from citris_cli.evaluation.data_check.within_step import effect_conditions

    try:
        data = load_sequences(paths)
        held_out = load_held_out(paths, data)
        of_held_out = () if held_out is None else (*held_out.notes, *check_true_values(held_out))
    except InputError as error:
        return _refused(error)
    counts = data.targets[data.starts].sum(0).tolist()
    training: Facts = {
        "frames": len(data.frames),
        **_seen(data),
        "steps": len(data.starts),
        "steps_with_intervention": dict(zip(data.variables.names, counts, strict=True)),
        "never_intervened": list(data.dropped.names),
        "identifiability": [
            {"variables": list(finding.variables), "finding": finding.kind, "sentence": finding.sentence}
            for finding in findings(data)
        ],
        "effects_within_step": [one.to_json() for one in effect_conditions(data)],
    }
    few = few_samples(len(data.starts), "pair")
    notes = (*data.notes, *of_held_out, *_units(data), *([few] if few else ()))
    return {"training": training | {"notes": list(dict.fromkeys(notes))}}


def _units(data: SequenceData | TripletData) -> tuple[str, ...]:
    """What there is to say of true values that are not looked at, or only where there is a causal encoder."""
    from citris_cli.data.truth import check_true_values

    try:
        return check_true_values(data)
    except InputError as error:
        return (str(error),)


def _independent(paths: Sequence[Path]) -> Facts:
    """What measuring against ground truth would see of a file, or why it would refuse it."""
    from citris_cli.data.datasets import load_independent
    from citris_cli.data.truth import check_true_values

    try:
        data = load_independent(paths[0])
        notes = (*data.notes, *check_true_values(data))
    except InputError as error:
        return _refused(error)
    return {"measuring": {"frames": len(data.frames), **_seen(data), "notes": list(notes)}}


def _triplets(paths: Sequence[Path]) -> Facts:
    """What ``citris eval-triplets`` would see of a file, or why it would refuse it."""
    from citris_cli.data.datasets import load_triplets

    try:
        data = load_triplets(paths[0])
    except InputError as error:
        return _refused(error)
    counts = data.mask.sum(0).tolist()
    evaluation: Facts = {
        "triplets": len(data.mask),
        **_seen(data),
        "triplets_from_image_2": dict(zip(data.variables.names, counts, strict=True)),
    }
    return {"evaluation": evaluation | {"notes": [*data.notes, *_units(data)]}}


def _seen(data: SequenceData | IndependentData | TripletData) -> Facts:
    """What frames, columns and true values are taken for, and what of the files is not read."""
    factors = data.factors or ()
    facts: Facts = {
        "frame_size": [data.frames.width, data.frames.height],
        "channels": data.frames.channels,
        "kinds": {item.name: item.kind for item in (*data.columns, *factors)},
        "unused": list(data.unused),
    }
    if groups := data.columns.groups or (data.factors.groups if data.factors is not None else {}):
        facts["groups"] = groups
    return facts | ({"factors": [factor.name for factor in factors]} if factors else {})
