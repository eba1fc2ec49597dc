"""Model files: ``.safetensors`` with our metadata, checked before anything in them is believed.

The file's metadata holds ``format``, ``format_version``, ``kind``, ``config``, ``variables`` and ``provenance``, each a
JSON string. No pickle is ever read.
"""

from __future__ import annotations

import json
import math
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

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "citris"
#: 2: the settings of a transition prior lie together, with its name.
FORMAT_VERSION = 2
#: Longest header that is read, of which JSON can take some twenty times the memory; ours have some ten kB.
_MAX_HEADER = 8 << 20
_ITEM_SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4,
    "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip


@dataclass(frozen=True)
class ModelFile:
    """Contents of a model file.

    Attributes:
        kind: ``autoencoder``, ``citris_nf``, ``citris_vae``, ``causal_encoder``, ``encodings`` or ``training_state``.
        config: what is needed to build the model again.
        variables: as JSON objects the K intervened variables, or the F factors of a causal encoder, or None.
        provenance: command, seed, versions, SHA-256 of the data, measures.
        tensors: weights by name, on the CPU.
    """

    kind: str
    config: dict[str, Any]
    variables: list[dict[str, Any]] | None
    provenance: dict[str, Any]
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class ModelHeader:
    """A model file without its weights.

    Attributes:
        kind, config, variables, provenance: as in :class:`ModelFile`.
        tensors: dtype (as safetensors spells it) and shape of every weight.
    """

    kind: str
    config: dict[str, Any]
    variables: list[dict[str, Any]] | None
    provenance: dict[str, Any]
    tensors: dict[str, tuple[str, tuple[int, ...]]]


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
    ordered = {"__metadata__": dict(sorted(header.pop("__metadata__").items())), **header}
    text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def write_model(path: Path | None, file: ModelFile) -> None:
    """Write a model file atomically, or to standard output if the path is None.

    Raises:
        InputError, CitrisError: see :func:`citris_cli.artifacts.files.atomic_write`.
    """
    content = model_bytes(file)
    if path is None:
        write_stdout(content)
    else:
        atomic_write(path, lambda stream: stream.write(content))


def read_model_header(path: Path) -> ModelHeader:
    """Read and check all of a model file but its weights, without torch.

    Raises:
        InputError: no such file, not a safetensors file, truncated, not ours, or of a newer version.
    """
    header = read_safetensors_header(path)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or "format" not in metadata or "kind" not in metadata:
        raise InputError(f"{path}: a safetensors file, but not one of citris; give a file that a citris command wrote")
    try:
        fields = {name: json.loads(value) for name, value in metadata.items()}
        if fields["format"] != FORMAT:
            raise InputError(
                f"{path}: a safetensors file of {fields['format']}, not of citris; give one of citris, or import a "
                "published one with 'citris import-checkpoint'"
            )
        if int(fields["format_version"]) > FORMAT_VERSION:
            raise InputError(f"{path}: written by a newer citris (format {fields['format_version']}); upgrade citris")
        kind, config, variables = fields["kind"], fields["config"], fields["variables"]
        if not isinstance(kind, str) or not isinstance(config, dict) or not isinstance(variables, (list, type(None))):
            raise TypeError("wrong kinds of entries")
        tensors = {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}
        return ModelHeader(kind, config, variables, dict(fields["provenance"]), tensors)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{path}: its metadata is damaged ({error}); get the file again or train anew") from error


def read_model(path: Path) -> ModelFile:
    """Read a model file with its weights.

    Raises:
        InputError: see :func:`read_model_header`.
    """
    header = read_model_header(path)
    tensors = read_tensors(path, "train")
    return ModelFile(header.kind, header.config, header.variables, header.provenance, tensors)


def read_tensors(path: Path, again: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, on the CPU.

    Args:
        path: the file, whose header has been checked.
        again: how the file is made anew, for the message: "train" or "export".

    Raises:
        InputError: they cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load, load_file

    try:
        try:
            str(path).encode()
        except UnicodeEncodeError:  # safetensors opens no file whose name is no text
            return load(path.read_bytes())
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{path}: its weights cannot be read ({error}); get the file again or {again} anew") from error


def read_safetensors_header(path: Path) -> dict[str, Any]:
    """The header of any safetensors file: ``dtype``, ``shape`` and ``data_offsets`` by name, and ``__metadata__``.

    Raises:
        InputError: no such file, not a safetensors file, or one whose offsets are not consistent with its size.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(signatures.LOOKED_AT)
            length = int.from_bytes(start[:8], "little")
            if len(start) < 8 or length > min(_MAX_HEADER, size - 8):
                raise InputError(_not_safetensors(path, start))
            file.seek(8)
            text = file.read(length)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the spelling") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{path}: cannot be read ({reason}); check the path") from error
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
            f"{path}: truncated or damaged ({size:,} bytes, its header tells of {8 + length + end:,}); "
            "get the file again or train anew"
        )
    return header


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
