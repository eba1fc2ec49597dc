"""``citris export``: a model of ours under published names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from citris_cli.commands import options
from citris_cli.commands.outputs import Output, output_option

if TYPE_CHECKING:
    from torch import nn

#: Ending of what is exported.
PUBLISHED = ".published.safetensors"


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A trained model of citris.", show_default=False)],
    output: Annotated[
        Path | None,
        output_option(
            "Where to write; - for standard output.  \\[default: <model>.published.safetensors beside it]",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Export a model's weights under the names of the published code, as a plain .safetensors file."""
    from citris_cli.artifacts.checkpoints import checkpoint_bytes
    from citris_cli.artifacts.packaged import packaged_model
    from citris_cli.artifacts.runs import RUNS
    from citris_cli.conversion import published_of
    from citris_cli.loading import load_model
    from citris_cli.show.console import Console

    console = Console()
    asked = Output(output, as_json, ending=".safetensors", what="exported models").reading("FILE", file)
    asked.check()
    packaged = packaged_model(file)
    loaded = load_model(packaged or file)
    # Of a packaged model, not among what is installed.
    place = file if packaged is None else RUNS / packaged.parent.name / packaged.parent.name
    path = asked.place(place.with_name(place.name.removesuffix(".safetensors") + PUBLISHED))
    weights, hyper_parameters = published_of(loaded)
    variables = None if loaded.variables is None else loaded.variables.to_json()
    asked.write_bytes(path, checkpoint_bytes(loaded.kind, weights, hyper_parameters, loaded.provenance, variables))
    if loaded.reference is not None:
        console.note(
            "left out: the latents of training frames that the model keeps, for which the published form has no place"
        )
    if penalty := _penalty(loaded.network):
        console.note(f"left out: the autoencoder's {penalty}, for which the published form of a flow has no place")
    if training := _training_settings(loaded.network):
        console.note(f"left out: {' and '.join(training)}, which the published training does not have")
    if components := _components(loaded.network):
        console.note(
            f"each mixture of {components} Gaussians became the one Gaussian of its mean and variance, since the "
            "published prior has no mixtures (--interventional-components)"
        )
    for difference in _differences(loaded.network):
        console.note(f"the published code has no such networks: {difference}")
    asked.report(console, {"model": str(loaded.path), "kind": loaded.kind}, path)


def _penalty(network: nn.Module) -> str:
    """What a flow's autoencoder was trained with, unless an import takes it to be so."""
    from citris_cli.core.citris_nf import CitrisNF
    from citris_cli.core.config import AutoencoderConfig

    penalty = network.autoencoder.config.latent_penalty if isinstance(network, CitrisNF) else None
    return "" if penalty in (None, AutoencoderConfig().latent_penalty) else f"--latent-penalty {penalty:g}"


def _components(network: nn.Module) -> int:
    """Gaussians in the mixtures of its prior, if there are several; otherwise 0."""
    from citris_cli.core.causal_latents import CausalLatentsModel
    from citris_cli.core.config import MLPPriorConfig

    prior = network.config.prior if isinstance(network, CausalLatentsModel) else None
    components = prior.interventional_components if isinstance(prior, MLPPriorConfig) else 1
    return components if components > 1 else 0


def _training_settings(network: nn.Module) -> list[str]:
    """What a model was trained with, and the published hyperparameters have no place for."""
    from citris_cli.core.causal_latents import CausalLatentsModel
    from citris_cli.core.config import CitrisPriorConfig

    prior = network.config.prior if isinstance(network, CausalLatentsModel) else None
    if not isinstance(prior, CitrisPriorConfig):
        return []
    found = [] if prior.regulariser_form == "share" else [f"--regulariser-form {prior.regulariser_form}"]
    return found + ([f"--regulariser-warmup {prior.regulariser_warmup:g}"] if prior.regulariser_warmup else [])


def _differences(network: nn.Module) -> list[str]:
    """What of a model the published code cannot build."""
    from citris_cli.core.autoencoder import Autoencoder
    from citris_cli.core.citris_nf import CitrisNF
    from citris_cli.core.citris_vae import CitrisVAE

    found = []
    images = network.autoencoder if isinstance(network, CitrisNF) else network
    config: Any = images.config
    if config.width & (config.width - 1):  # theirs halve the grid to one of 4x4
        found.append(f"for frames of {config.width} pixels")
    if config.patch != 1:
        found.append(f"--patch {config.patch}")
    if isinstance(images, Autoencoder) and images.config.growth != 1:
        found.append(f"--growth {images.config.growth}")
    if isinstance(network, CitrisVAE) and config.hidden != config.channels:
        found.append(f"--hidden {config.hidden} beside --channels {config.channels}")
    return found
