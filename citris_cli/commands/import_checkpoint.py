"""``citris import-checkpoint``: a published model as one of ours."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from citris_cli.commands import options
from citris_cli.commands.export import PUBLISHED
from citris_cli.commands.outputs import Output, output_option
from citris_cli.errors import InputError
from citris_cli.wording import counted

if TYPE_CHECKING:
    from citris_cli.artifacts.checkpoints import Checkpoint
    from citris_cli.artifacts.models import ModelFile
    from citris_cli.core.autoencoder import Autoencoder


class PartName(str, Enum):
    """Models that a published one can keep inside; see :data:`citris_cli.conversion.PARTS`."""

    autoencoder = "autoencoder"
    causal_encoder = "causal-encoder"


def import_checkpoint(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A .ckpt of CITRIS-NF, CITRIS-VAE, an autoencoder or a causal encoder, or a file written by 'citris "
            "export'.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None, output_option("Where to write; - for standard output.  \\[default: runs/<file>/]")
    ] = None,
    ae: Annotated[
        Path | None,
        typer.Option(
            help="Autoencoder, of citris or published, for a CITRIS-NF checkpoint that does not include one.",
            show_default=False,
        ),
    ] = None,
    part: Annotated[
        PartName | None,
        typer.Option(help="Import only this part of the checkpoint.", show_default=False),
    ] = None,
    variables: Annotated[
        str | None,
        typer.Option(
            "--vars",
            metavar="LIST",
            help="Names of the intervened variables: name[:kind],… (continuous, angle, categorical).  "
            "\\[default: the file's, else Causal3DIdent's]",
            show_default=False,
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Convert a published checkpoint to a model of citris, without running any code in it."""
    from dataclasses import replace

    from citris_cli.artifacts.checkpoints import read_checkpoint
    from citris_cli.artifacts.models import model_bytes
    from citris_cli.conversion import described, model_file_of, part_of
    from citris_cli.show.console import Console

    console = Console()
    asked = Output(output, as_json, ending=".safetensors", what="models").reading("FILE", file).reading("--ae", ae)
    asked.check()
    checkpoint = read_checkpoint(file)
    if part is not None:
        checkpoint = part_of(checkpoint, part.value.replace("-", "_"), file)
    autoencoder, of_autoencoder = _autoencoder(ae)
    kind, _ = described(checkpoint, file)
    path = asked.place(_default_place(file, checkpoint, kind))
    contents = model_file_of(checkpoint, file, variables, autoencoder)
    asked.write_bytes(path, model_bytes(replace(contents, provenance={**_provenance(checkpoint), **of_autoencoder})))
    console.note(_summary(contents))
    if any(name.startswith("causal_encoder.") for name in checkpoint.weights):
        console.note("left out: the causal encoder inside the checkpoint; import it with --part causal-encoder")
    document = {"model": str(path), "kind": kind, "checkpoint_sha256": checkpoint.origin["sha256"]}
    if contents.variables is not None:
        document["variables"] = [variable["name"] for variable in contents.variables]
    asked.report(console, document, path)


def _default_place(path: Path, checkpoint: Checkpoint, kind: str) -> Path:
    """By the file's name; never in the folder of a dataset whose models lie there already."""
    from citris_cli.artifacts.runs import run_folder
    from citris_cli.data.layout import safe_name
    from citris_cli.kinds import KINDS

    name = path.name.removesuffix(PUBLISHED)
    folder = run_folder(safe_name(Path(name).stem if name == path.name else name), checkpoint.origin["sha256"])
    return folder / KINDS[kind].file_name


def _provenance(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the model's file says of where it came from."""
    import platform
    import sys

    import torch

    from citris_cli import __version__

    origin = {
        "command": ["citris", *sys.argv[1:]],
        "versions": {"citris": __version__, "python": platform.python_version(), "torch": torch.__version__},
        "imported_from": checkpoint.origin,
    }
    if "columns" in checkpoint.origin.get("exported_from", {}):  # of the data that our own training saw
        origin["columns"] = checkpoint.origin["exported_from"]["columns"]
    return origin


def _autoencoder(path: Path | None) -> tuple[Autoencoder | None, dict[str, Any]]:
    """The autoencoder that was named, and its place in the provenance.

    Raises:
        InputError: the file cannot be read or holds something else.
    """
    import torch

    from citris_cli.artifacts.checkpoints import is_published, read_checkpoint
    from citris_cli.conversion import model_file_of
    from citris_cli.core.autoencoder import Autoencoder
    from citris_cli.loading import load_model, model_from_file

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
        raise InputError(f"{path}: holds a model of kind {loaded.kind}, not an autoencoder; give --ae an autoencoder")
    return loaded.network, {"autoencoder_from": origin}


def _summary(file: ModelFile) -> str:
    """One line on what was imported."""
    from citris_cli.core.priors import find_prior
    from citris_cli.kinds import KINDS

    sizes = file.config[file.kind]
    width = file.config["autoencoder" if file.kind == "citris_nf" else file.kind]["width"]
    prior = sizes.get("prior", {})
    of_prior = find_prior(prior["name"]).title if prior else None
    title = KINDS[file.kind].title + (f" ({of_prior})" if of_prior else "")
    parts = [f"{title} for frames of {width}×{width}"]
    if "latents" in sizes:
        parts.append(counted(sizes["latents"], "latent"))
    if file.variables is not None:
        names = ", ".join(variable["name"] for variable in file.variables)
        parts.append(f"{'factors' if file.kind == 'causal_encoder' else 'variables'} {names}")
    return "; ".join(parts)
