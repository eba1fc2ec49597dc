"""Model files: ``.safetensors`` with our metadata, checked before anything in them is believed.

The file's metadata holds ``format``, ``format_version``, ``kind``, ``config``, ``variables`` and ``provenance``, each a
JSON string, and two digests: of the header, and of the tensors' bytes. No pickle is ever read. A reader opens a file
once, and what it takes from it is of that one file, whatever becomes of the path.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from citris_cli import __version__
from citris_cli.artifacts.files import atomic_write, write_stdout
from citris_cli.core.ops.library import in_use
from citris_cli.data import signatures
from citris_cli.errors import InputError
from citris_cli.wording import legible

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "citris"
#: 2: the settings of a transition prior lie together, with its name. 3: digests.
FORMAT_VERSION = 3
#: The first version whose files have digests.
_WITH_DIGESTS = 3
#: Names of the metadata's digests, SHA-256 in hexadecimal.
HEADER_DIGEST, TENSORS_DIGEST = "header_sha256", "tensors_sha256"
#: Deepest nesting and largest whole number in what a header describes.
_DEEPEST, _LARGEST = 32, 2**63
#: Longest header that is read, of which JSON can take some twenty times the memory; ours have some ten kB.
_MAX_HEADER = 8 << 20
_ITEM_SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4,
    "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip


#: What the entries of a header are.
_FORMS: Mapping[str, Any] = {
    "kind": str,
    "config": dict,
    "variables": (list, type(None)),
    "provenance": dict,
}
#: What the configurations of files hold that are no models.
_CONFIG_FORMS: Mapping[str, Mapping[str, type]] = {
    "training_state": {"step": int, "settings": dict},
    "encodings": {"key": str},
}


@dataclass(frozen=True)
class ModelFile:
    """Contents of a model file.

    Attributes:
        kind: ``autoencoder``, ``citris_nf``, ``citris_vae``, ``causal_encoder``, ``encodings`` or ``training_state``.
        config: what is needed to build the model again.
        variables: as JSON objects the K intervened variables, or the F factors of a causal encoder, or None.
        provenance: command, seed, versions, SHA-256 of the data, measures.
        tensors: weights by name, on the CPU.
        sha256: of the whole file that it was read from, in hexadecimal; "" if that was not asked for.
        checked: whether the file had digests, and agreed with them; those of formats 1 and 2 have none.
    """

    kind: str
    config: dict[str, Any]
    variables: list[dict[str, Any]] | None
    provenance: dict[str, Any]
    tensors: dict[str, Tensor]
    sha256: str = ""
    checked: bool = True


@dataclass(frozen=True)
class ModelHeader:
    """A model file without its weights.

    Attributes:
        kind, config, variables, provenance: as in :class:`ModelFile`.
        tensors: dtype (as safetensors spells it) and shape of every weight.
        checked: whether the file has digests, and its header agrees with its own.
    """

    kind: str
    config: dict[str, Any]
    variables: list[dict[str, Any]] | None
    provenance: dict[str, Any]
    tensors: dict[str, tuple[str, tuple[int, ...]]]
    checked: bool = True


def provenance(command: Sequence[str], seed: int, data_sha256: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Where a model comes from; nothing of the machine but versions and which compiled functions it used.

    Args:
        command: the command line.
        seed: its seed.
        data_sha256: hash of the training data, hex.
        metrics: measures at the end of the training.
    """
    import numpy
    import torch

    versions = {
        "citris": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }
    return {
        "command": list(command),
        "seed": seed,
        "data_sha256": data_sha256,
        "versions": versions,
        "kernels": in_use(),
        "metrics": dict(metrics),
    }


def finite(value: Any) -> Any:
    """A value for JSON: NaN and infinities, which JSON does not have, as None; tuples as lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    return value


def model_bytes(file: ModelFile) -> bytes:
    """The bytes of a model file; the same for the same contents."""
    fields: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "kind": file.kind,
        "config": file.config,
        "variables": file.variables,
        "provenance": file.provenance,
    }
    return safetensors_bytes(file.tensors, fields)


def safetensors_bytes(tensors: dict[str, Tensor], fields: Mapping[str, Any]) -> bytes:
    """The bytes of a safetensors file; the same for the same contents.

    Args:
        tensors: by name, on the CPU, contiguous.
        fields: what its metadata holds, each as a JSON string.
    """
    from safetensors.torch import save

    metadata = {name: json.dumps(finite(value), allow_nan=False) for name, value in fields.items()}
    content = save(tensors, metadata)
    # safetensors writes the metadata in the order of a hash table, which differs from run to run.
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    del header["__metadata__"]
    metadata[TENSORS_DIGEST] = _tensors_digest(content, length)
    metadata[HEADER_DIGEST] = _header_digest(metadata, header)
    ordered = {"__metadata__": dict(sorted(metadata.items())), **header}
    text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def write_model(path: Path | None, file: ModelFile, named: bool = False) -> None:
    """Write a model file atomically, or to standard output if the path is None.

    Args:
        path: of the file.
        file: its contents.
        named: whether the user named this very path, which may then be a link.

    Raises:
        InputError, CitrisError: see :func:`citris_cli.artifacts.files.atomic_write`.
    """
    content = model_bytes(file)
    if path is None:
        write_stdout(content)
    else:
        atomic_write(path, lambda stream: stream.write(content), named)


def check_model(path: Path) -> ModelHeader:
    """The header of a model file of which all is compared with its digests, without torch.

    Raises:
        InputError: see :func:`read_model_header`; the weights do not agree with their digest.
    """
    content = _content(path)
    _check_tensors(content, path, "train")
    return _model_header(path, _safetensors_header(path, content, len(content)))


def read_model_header(path: Path) -> ModelHeader:
    """Read and check all of a model file but its weights, without torch.

    Raises:
        InputError: no such file, not a safetensors file, truncated, not ours, of a newer version, or damaged.
    """
    return _model_header(path, read_safetensors_header(path))


def _model_header(path: Path, header: Mapping[str, Any]) -> ModelHeader:
    """What the header of a safetensors file tells of a model, every entry of the kind that it must be."""
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or "format" not in metadata or "kind" not in metadata:
        raise InputError(f"{path}: a safetensors file, but not one of citris; give a file that a citris command wrote")
    try:
        fields = {name: _plain(json.loads(value)) for name, value in metadata.items()}
        if fields["format"] != FORMAT:
            raise InputError(
                f"{path}: a safetensors file of {legible(str(fields['format']))}, not of citris; give one of citris, "
                "or import a published one with 'citris import-checkpoint'"
            )
        version = fields["format_version"]
        if type(version) is not int or version < 1:
            raise ValueError("its format has no number")
        if version > FORMAT_VERSION:
            raise InputError(f"{path}: written by a newer citris (format {version}); upgrade citris")
        for name, form in _FORMS.items():
            if not isinstance(fields[name], form):
                raise ValueError(f"{name} is {type(fields[name]).__name__}")
        kind, config = fields["kind"], fields["config"]
        if kind in _CONFIG_FORMS:
            for name, form in _CONFIG_FORMS[kind].items():
                if type(config.get(name)) is not form or (form is int and config[name] < 0):
                    raise ValueError(f"{name} is {legible(str(config.get(name, 'missing')), 40)}")
        tensors = {
            name: (entry["dtype"], tuple(entry["shape"])) for name, entry in header.items() if name != "__metadata__"
        }
        if version >= _WITH_DIGESTS and HEADER_DIGEST not in metadata:
            raise ValueError("its digest is missing")
        return ModelHeader(kind, config, fields["variables"], fields["provenance"], tensors, HEADER_DIGEST in metadata)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        reason = legible(str(error), 120)
        raise InputError(f"{path}: its metadata is damaged ({reason}); get the file again or train anew") from error


def _plain(value: Any, depth: int = 0) -> Any:
    """What JSON may tell here: whole numbers of 64 bits, finite ones, no nesting without end.

    Raises:
        ValueError: others.
    """
    if depth > _DEEPEST:
        raise ValueError("it is nested too deep")
    if type(value) is int and not -_LARGEST <= value < _LARGEST:
        raise ValueError("it holds a number without bounds")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("it holds a number that is not finite")
    if isinstance(value, dict):
        return {name: _plain(one, depth + 1) for name, one in value.items()}
    return [_plain(one, depth + 1) for one in value] if isinstance(value, list) else value


def read_model(path: Path, hashed: bool = False) -> ModelFile:
    """Read a model file with its weights.

    Args:
        path: the file.
        hashed: whether the hash of the whole file is wanted.

    Raises:
        InputError: see :func:`read_model_header`; its contents do not agree with its digests, or it holds a number that
            is not finite.
    """
    content = _content(path)
    header = _model_header(path, _safetensors_header(path, content, len(content)))
    tensors = tensors_of(content, path, "train")
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise InputError(f"{path}: {legible(name)} holds NaN or infinite numbers; get the file again or train anew")
    return ModelFile(
        header.kind,
        header.config,
        header.variables,
        header.provenance,
        tensors,
        hashlib.sha256(content).hexdigest() if hashed else "",
        header.checked,
    )


def read_safetensors(path: Path, again: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of any safetensors file, both of the same file.

    Args:
        path: the file.
        again: how the file is made anew, for the message: "train" or "export".

    Raises:
        InputError: see :func:`read_safetensors_header`; they cannot be read, or do not agree with the file's digests.
    """
    content = _content(path)
    return _safetensors_header(path, content, len(content)), tensors_of(content, path, again)


def tensors_of(content: bytes, path: Path, again: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, on the CPU.

    Args:
        content: the whole file, whose header has been checked.
        path: where it came from, for messages.
        again: how the file is made anew, for the message: "train" or "export".

    Raises:
        InputError: they cannot be read, or do not agree with the file's digest.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    _check_tensors(content, path, again)
    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{path}: its weights cannot be read ({error}); get the file again or {again} anew") from error


def _check_tensors(content: bytes, path: Path, again: str) -> None:
    """Compare the weights of a file with their digest, if it has one."""
    metadata = _safetensors_header(path, content, len(content)).get("__metadata__") or {}
    told = metadata.get(TENSORS_DIGEST) if isinstance(metadata, dict) else None
    if told is not None and told != _tensors_digest(content, int.from_bytes(content[:8], "little")):
        raise InputError(
            f"{path}: damaged (its weights do not agree with their digest); get the file again or {again} anew"
        )


def _content(path: Path) -> bytes:
    """All of a file, read at once."""
    from citris_cli.data.npz import require_memory  # NumPy, without which headers are read

    try:
        with path.open("rb") as file:
            require_memory(os.fstat(file.fileno()).st_size, str(path), "free some memory first")
            return file.read()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path}: no such file; check the spelling")
    reason = (error.strerror or str(error)).lower()
    return InputError(f"{path}: cannot be read ({reason}); check the path")


def read_safetensors_header(path: Path) -> dict[str, Any]:
    """The header of any safetensors file: ``dtype``, ``shape`` and ``data_offsets`` by name, and ``__metadata__``.

    Raises:
        InputError: no such file, not a safetensors file, one whose offsets are not consistent with its size, or whose
            header does not agree with its digest.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(signatures.LOOKED_AT)
            length = int.from_bytes(start[:8], "little")
            if length <= min(_MAX_HEADER, size - 8):
                start += file.read(max(0, 8 + length - len(start)))
    except OSError as error:
        raise _unreadable(path, error) from error
    return _safetensors_header(path, start, size)


def _safetensors_header(path: Path, start: bytes, size: int) -> dict[str, Any]:
    """The header of a safetensors file of so many bytes that begins with `start`."""
    length = int.from_bytes(start[:8], "little")
    if len(start) < 8 or length > min(_MAX_HEADER, size - 8):
        raise InputError(_not_safetensors(path, start))
    text = start[8 : 8 + length]
    try:
        header = json.loads(text)
        spans = sorted(_span(entry) for name, entry in header.items() if name != "__metadata__")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(_not_safetensors(path, start)) from error
    end = 0
    for first, last in spans:
        if first != end:
            raise InputError(f"{path}: damaged (its weights overlap or have gaps); get the file again or train anew")
        end = last
    if 8 + length + end != size:
        raise InputError(
            f"{path}: truncated or damaged ({size:,} bytes, and its header says {8 + length + end:,}); get the file "
            "again or train anew"
        )
    metadata = header.get("__metadata__")
    if isinstance(metadata, dict) and HEADER_DIGEST in metadata:
        rest = {name: entry for name, entry in header.items() if name != "__metadata__"}
        if metadata[HEADER_DIGEST] != _header_digest(metadata, rest):
            raise InputError(
                f"{path}: damaged (its header does not agree with its digest); get the file again or train anew"
            )
    return header


def _tensors_digest(content: bytes, length: int) -> str:
    """SHA-256 over what follows a header of some length, as the metadata has it: a JSON string."""
    return json.dumps(hashlib.sha256(memoryview(content)[8 + length :]).hexdigest())


def _header_digest(metadata: Mapping[str, Any], tensors: Mapping[str, Any]) -> str:
    """The same over all that a header tells, the digest of the tensors too, however its JSON is written."""
    told = {name: value for name, value in metadata.items() if name != HEADER_DIGEST}
    text = json.dumps([told, tensors], sort_keys=True, separators=(",", ":"))
    return json.dumps(hashlib.sha256(text.encode()).hexdigest())


def _span(entry: Mapping[str, Any]) -> tuple[int, int]:
    first, last = entry["data_offsets"]
    shape = entry["shape"]
    if any(not isinstance(side, int) or side < 0 for side in (*shape, first, last)):
        raise ValueError("negative or fractional sizes")
    if last - first != math.prod(shape) * _ITEM_SIZES[entry["dtype"]]:
        raise ValueError("sizes do not fit the shape")
    return first, last


def _not_safetensors(path: Path, start: bytes) -> str:
    if why_not := signatures.refusal(start, "model"):
        return f"{path}: {why_not}"
    if signatures.identify(start) is not None:
        return f"{path}: a safetensors file that is damaged or cut off; get the file again or train anew"
    return f"{path}: not a safetensors file, nor any other kind that is known; give a model that a citris command wrote"
