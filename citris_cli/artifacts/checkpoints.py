"""Files of published checkpoints: PyTorch's ``.ckpt``, from which nothing but weights is read, and our safe form of it.

A ``.ckpt`` is a zip archive with a pickle in it, and a pickle is a program. It is read by
``torch.load(weights_only=True)`` alone, which makes tensors and plain values and calls nothing else; before that the
archive and the names that the pickle asks for are checked without running it, so that neither a small file that claims
to be large nor one that wants more than weights gets that far. The safe form is a ``.safetensors`` with the published
names of the weights, and the hyperparameters as JSON in its metadata.
"""

from __future__ import annotations

import hashlib
import json
import pickletools
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from citris_cli.artifacts.models import TENSORS_DIGEST, read_safetensors, read_safetensors_header, safetensors_bytes
from citris_cli.data import signatures
from citris_cli.errors import InputError
from citris_cli.wording import legible, reason

if TYPE_CHECKING:
    from torch import Tensor

#: ``format`` in the metadata of the safe form.
FORMAT = "citris-published"
FORMAT_VERSION = 1
#: Largest checkpoint that is read, and largest pickle within one. Weights are stored beside it, so published ones have
#: some hundred kB; what a byte of it can make takes up to 120 bytes of memory.
MAX_FILE = 4 << 30
MAX_PICKLE = 2 << 20
_ZIP_START = b"PK\x03\x04"
#: Bytes that tell the forms apart: a zip archive's mark, or the length of a safetensors header and its first brace.
_START = 9
_ENCRYPTED = 0x1
#: All that a checkpoint of weights and plain values has reason to ask for: less than ``weights_only`` would grant.
_PLAIN = {
    "collections OrderedDict",
    "torch Size",
    "torch device",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor_v2",
    *(f"torch {kind}Storage" for kind in ("BFloat16", "Bool", "Byte", "Double", "Float", "Half", "Int", "Long")),
}
_AGAIN = "save its state_dict and hyper_parameters alone with torch.save, where it was trained, and import that"


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint as it is, nothing of it believed yet.

    Attributes:
        weights: the published state dict, on the CPU.
        hyper_parameters: as published; the values can be anything plain.
        origin: what is known of where it comes from: name and SHA-256 of the file, steps trained.
        variables: ours as JSON objects, which a file that ``citris export`` wrote brings, or None.
        checked: whether the file had digests, and agreed with them: only what ``citris export`` wrote has.
    """

    weights: dict[str, Tensor]
    hyper_parameters: dict[str, Any]
    origin: dict[str, Any] = field(default_factory=dict)
    variables: Any = None
    checked: bool = False


def is_published(path: Path) -> bool:
    """Whether a file is a checkpoint to import, rather than a model of ours or anything else.

    Only its beginning is looked at: a zip archive that is no ``.npz``, a bare pickle, or a safetensors file with our
    note that its names are the published ones.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(_START)
    except OSError:
        return False
    if start.startswith(_ZIP_START):
        return path.suffix != ".npz"
    if _is_bare_pickle(start):
        return True
    try:
        metadata = read_safetensors_header(path).get("__metadata__")
    except InputError:
        return False
    return isinstance(metadata, dict) and metadata.get("format") == json.dumps(FORMAT)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a published checkpoint, of either form.

    Raises:
        InputError: no such file, none of either form, a damaged or too large one, or a pickle that asks for anything
            but weights and plain values. Nothing in the file is run.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(f"{path}: no file; give the checkpoint itself")
        if size > MAX_FILE:
            raise InputError(
                f"{path}: {size:,} bytes, more than the {MAX_FILE:,} of the largest that is read; {_AGAIN}"
            )
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            start = stream.read(signatures.LOOKED_AT)
            if why_not := signatures.refusal(start, "checkpoint"):
                raise InputError(f"{path}: {why_not}")
            stream.seek(0)
            while block := stream.read(4 << 20):
                digest.update(block)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the spelling") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from error
    origin = {"file": path.name, "sha256": digest.hexdigest()}
    if start.startswith(_ZIP_START):
        return _read_pickled(path, origin)
    if _is_bare_pickle(start):
        raise InputError(
            f"{path}: a bare pickle, which is not read; published checkpoints are PyTorch's zip archives, so load it "
            "where it was saved and save it again with torch.save"
        )
    if start[8:9] != b"{":
        raise InputError(
            f"{path}: neither a checkpoint of PyTorch nor a safetensors file, nor any other kind that is known; give a "
            "published checkpoint"
        )
    return _read_safe(path, origin)


def checkpoint_bytes(
    kind: str,
    weights: Mapping[str, Tensor],
    hyper_parameters: Mapping[str, Any],
    origin: Mapping[str, Any],
    variables: Any = None,
) -> bytes:
    """The bytes of a checkpoint's safe form; the same for the same contents.

    Args:
        kind: of the model, for whoever looks into the file; reading it, the weights tell.
        weights, hyper_parameters, origin, variables: see :class:`Checkpoint`.
    """
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "hyper_parameters": hyper_parameters,
        "variables": variables,
        "origin": origin,
    }
    return safetensors_bytes({name: value.contiguous() for name, value in weights.items()}, metadata)


def _is_bare_pickle(start: bytes) -> bool:
    # The length that a safetensors file begins with can look like a pickle's start; its JSON then begins here.
    return start[:1] == b"\x80" and start[1:2] <= b"\x05" and start[8:9] != b"{"


def _read_pickled(path: Path, origin: dict[str, Any]) -> Checkpoint:
    import torch

    _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Mapped, not read: however large a tensor claims to be, it gets no more than the file has.
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever a damaged pickle leads torch into, the file is at fault
        raise InputError(f"{path}: its contents are not those of a checkpoint ({_brief(error)}); {_AGAIN}") from error
    if not isinstance(found, dict) or not isinstance(found.get("state_dict"), dict):
        raise InputError(f"{path}: holds no state_dict, as published checkpoints do; {_AGAIN}")
    hyper_parameters = found.get("hyper_parameters")
    if not isinstance(hyper_parameters, dict) or not all(isinstance(name, str) for name in hyper_parameters):
        raise InputError(f"{path}: holds no hyper_parameters, as published checkpoints do; {_AGAIN}")
    for name, value in found["state_dict"].items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise InputError(f"{path}: its state_dict holds something other than weights by name; {_AGAIN}")
        if value.layout != torch.strided or value.numel() > value.untyped_storage().nbytes() // value.element_size():
            raise InputError(
                f"{path}: the weight {legible(name)} claims to be larger than what is stored of it; {_AGAIN}"
            )
    if sum(value.numel() * value.element_size() for value in found["state_dict"].values()) > 2 * path.stat().st_size:
        raise InputError(f"{path}: its weights claim together to be larger than the file; {_AGAIN}")
    for name in ("epoch", "global_step"):
        if type(found.get(name)) is int and 0 <= found[name] < 2**63:
            origin[name] = found[name]
    weights = {name: value.detach() for name, value in found["state_dict"].items()}
    return Checkpoint(weights, dict(hyper_parameters), origin)


def _check_archive(path: Path) -> None:
    """Refuse an archive that is damaged, packs more than it is large, or whose pickle asks for more than weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            packed = any(m.compress_type != zipfile.ZIP_STORED or m.flag_bits & _ENCRYPTED for m in members)
            if packed or sum(m.file_size for m in members) > path.stat().st_size:
                raise InputError(f"{path}: compressed, which PyTorch checkpoints never are; unpack it or save it again")
            names = [m.filename.rpartition("/")[2] for m in members]
            pickles = [m for m, name in zip(members, names, strict=True) if name == "data.pkl"]
            if len(pickles) != 1 or "constants.pkl" in names:
                raise InputError(f"{path}: a zip archive, but not a checkpoint of PyTorch; give the checkpoint itself")
            if pickles[0].file_size > MAX_PICKLE:
                raise InputError(f"{path}: its pickle is larger than {MAX_PICKLE:,} bytes; {_AGAIN}")
            damaged = archive.testzip()
            content = archive.read(pickles[0])
    except InputError:
        raise
    except Exception as error:  # damaged archives end the reading in many ways
        raise InputError(f"{path}: truncated or damaged ({_brief(error)}); get the file again") from error
    if damaged is not None:
        raise InputError(f"{path}: damaged (the checksum of '{legible(damaged)}' does not match); get the file again")
    try:
        asked = {str(argument) for code, argument, _ in pickletools.genops(content) if code.name in ("GLOBAL", "INST")}
    except Exception as error:  # bytes that are no pickle end the scan in many ways
        raise InputError(f"{path}: its pickle is damaged ({_brief(error)}); get the file again") from error
    if asked - _PLAIN:
        wanted = ", ".join(sorted(legible(name.replace(" ", ".")) for name in asked - _PLAIN)[:3])
        raise InputError(
            f"{path}: its pickle asks for {wanted}, which is more than weights, so it is not read; {_AGAIN}"
        )


def _read_safe(path: Path, origin: dict[str, Any]) -> Checkpoint:
    header, weights = read_safetensors(path, "export")
    metadata = header.get("__metadata__") or {}
    if not isinstance(metadata, dict) or metadata.get("format") != json.dumps(FORMAT):
        raise InputError(
            f"{path}: a safetensors file, but none with published names; give a published checkpoint or what "
            "'citris export' wrote"
        )
    try:
        fields = {name: json.loads(value) for name, value in metadata.items()}
        if type(fields["format_version"]) is not int:
            raise TypeError("its format has no number")
        if fields["format_version"] > FORMAT_VERSION:
            raise InputError(f"{path}: written by a newer citris (format {fields['format_version']}); upgrade citris")
        hyper_parameters, source = fields["hyper_parameters"], fields["origin"]
        if not isinstance(hyper_parameters, dict) or not isinstance(source, dict):
            raise TypeError("wrong kinds of entries")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{path}: its metadata is damaged ({error}); get the file again or export anew") from error
    told = {**origin, "exported_from": source}
    return Checkpoint(weights, hyper_parameters, told, fields.get("variables"), TENSORS_DIGEST in metadata)


def _brief(error: Exception) -> str:
    """The first sentence of an error's message."""
    return legible(reason(error, 1000).partition(". ")[0], 120)
