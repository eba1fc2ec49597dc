"""What ``citris import-checkpoint`` and ``citris export`` do: a published model becomes one of ours, and back."""

from __future__ import annotations

import dataclasses
import json
import platform
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from citris_cli import __version__
from citris_cli.artifacts.checkpoints import Checkpoint, checkpoint_bytes, is_published, read_checkpoint
from citris_cli.artifacts.files import atomic_write, check_writable, write_stdout
from citris_cli.artifacts.models import ModelFile, write_model
from citris_cli.artifacts.published.settings import TITLES
from citris_cli.artifacts.runs import FILE_NAMES, run_folder
from citris_cli.commands.inputs import STDOUT
from citris_cli.conversion import model_file_of, part_of, published_of
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.errors import InputError
from citris_cli.loading import load_model, model_from_file
from citris_cli.show.console import Console
from citris_cli.wording import counted

#: Ending of what is exported.
PUBLISHED = ".published.safetensors"


def import_file(
    path: Path, output: Path | None, ae: Path | None, part: str | None, named: str | None, as_json: bool
) -> None:
    """Import a checkpoint; see :func:`citris_cli.commands.import_checkpoint.import_checkpoint`."""
    console = Console()
    _check_output(output, as_json)
    checkpoint = read_checkpoint(path)
    if part is not None:
        checkpoint = part_of(checkpoint, part, path)
    autoencoder, of_autoencoder = _autoencoder(ae)
    file = model_file_of(checkpoint, path, named, autoencoder)
    origin = {
        "command": ["citris", *sys.argv[1:]],
        "versions": {"citris": __version__, "python": platform.python_version(), "torch": torch.__version__},
        "imported_from": checkpoint.origin,
        **of_autoencoder,
    }
    if "columns" in checkpoint.origin.get("exported_from", {}):  # of the data that our own training saw
        origin["columns"] = checkpoint.origin["exported_from"]["columns"]
    target = output if output is not None else _place(path, checkpoint) / FILE_NAMES[file.kind]
    write_model(None if target == STDOUT else target, dataclasses.replace(file, provenance=origin))
    console.note(_summary(file))
    if any(name.startswith("causal_encoder.") for name in checkpoint.weights):
        console.note("left out: the causal encoder that it keeps inside; import that with --part causal-encoder")
    document = {"model": str(target), "kind": file.kind, "sha256": checkpoint.origin["sha256"]}
    if file.variables is not None:
        document["variables"] = [variable["name"] for variable in file.variables]
    _report(console, document, "model", as_json)


def export_file(path: Path, output: Path | None, as_json: bool) -> None:
    """Export a model; see :func:`citris_cli.commands.export.export`."""
    console = Console()
    _check_output(output, as_json)
    loaded = load_model(path)
    target = output if output is not None else path.with_name(path.name.removesuffix(".safetensors") + PUBLISHED)
    weights, hyper_parameters = published_of(loaded)
    variables = None if loaded.variables is None else loaded.variables.to_json()
    content = checkpoint_bytes(loaded.kind, weights, hyper_parameters, loaded.provenance, variables)
    if target == STDOUT:
        write_stdout(content)
    else:
        atomic_write(target, lambda stream: stream.write(content))
    if loaded.reference is not None:
        console.note("left out: the latents of training frames that the model keeps, which published ones do not have")
    for difference in _differences(loaded.network):
        console.note(f"the published code has no such networks: {difference}")
    _report(console, {"checkpoint": str(target), "kind": loaded.kind}, "checkpoint", as_json)


def _check_output(output: Path | None, as_json: bool) -> None:
    if as_json and output == STDOUT:
        raise InputError("--json and -o - both want standard output; give -o a file")
    if output not in (None, STDOUT):
        check_writable(output)


def _report(console: Console, document: dict[str, Any], name: str, as_json: bool) -> None:
    if as_json:
        console.result(json.dumps(document))
    elif document[name] != str(STDOUT):  # else the artifact itself went there
        console.result(document[name])


def _place(path: Path, checkpoint: Checkpoint) -> Path:
    """Folder for what is imported, by the file's name; never that of a dataset whose models lie there already."""
    name = path.name.removesuffix(PUBLISHED)
    return run_folder(Path(name).stem if name == path.name else name, checkpoint.origin["sha256"])


def _autoencoder(path: Path | None) -> tuple[Autoencoder | None, dict[str, Any]]:
    """The autoencoder that was named, and its place in the provenance.

    Raises:
        InputError: the file cannot be read or holds something else.
    """
    if path is None:
        return None, {}
    if is_published(path):
        checkpoint = read_checkpoint(path)
        origin: dict[str, Any] = checkpoint.origin
        loaded = model_from_file(model_file_of(checkpoint, path), path, torch.device("cpu"))
    else:
        loaded = load_model(path)
        origin = {"file": path.name, **loaded.provenance}
    if not isinstance(loaded.network, Autoencoder):
        raise InputError(f"{path}: holds a model of kind {loaded.kind}, no autoencoder; give --ae one")
    return loaded.network, {"autoencoder_from": origin}


def _summary(file: ModelFile) -> str:
    """One line on what was imported."""
    sizes = file.config[file.kind]
    width = file.config["autoencoder" if file.kind == "citris_nf" else file.kind]["width"]
    parts = [f"{TITLES[file.kind]} for frames of {width}×{width}"]
    if "latents" in sizes:
        parts.append(counted(sizes["latents"], "latent"))
    if file.variables is not None:
        names = ", ".join(variable["name"] for variable in file.variables)
        parts.append(f"{'factors' if file.kind == 'causal_encoder' else 'variables'} {names}")
    return "; ".join(parts)


def _differences(network: nn.Module) -> list[str]:
    """What of a model the published code cannot build."""
    found = []
    images = network.autoencoder if isinstance(network, CitrisNF) else network
    config: Any = images.config
    if config.patch != 1:
        found.append(f"--patch {config.patch}")
    if isinstance(images, Autoencoder) and images.config.growth != 1:
        found.append(f"--growth {images.config.growth}")
    if isinstance(network, CitrisVAE) and config.hidden != config.channels:
        found.append(f"--hidden {config.hidden} beside --channels {config.channels}")
    return found
