"""Names of weights both ways: nothing is lost on the way there and back, for every kind of model and prior."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from citris_cli.artifacts.checkpoints import Checkpoint, read_checkpoint
from citris_cli.artifacts.published.models import optional_entries
from citris_cli.artifacts.published.parts import backwards, rename
from citris_cli.conversion import described, model_file_of, published_of
from citris_cli.kinds import KINDS
from citris_cli.loading import model_config, model_from_file
from tests.published_models import CONFIGS, small_model

HERE = Path("m.ckpt")


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=0, msg=name)


def test_templates_name_numbers_and_last_parts() -> None:
    weights = {name: torch.tensor(0) for name in ("net.3.1.weight", "net.12.bias", "net.x.bias", "net.1.2.weight.more")}
    pairs = [("net.#.1.*", "first.#.*"), ("net.#.*", "second.#.of.*")]
    assert set(rename(weights, pairs)) == {"first.3.weight", "second.12.of.bias"}
    assert set(rename(rename(weights, pairs), backwards(pairs))) == {"net.3.1.weight", "net.12.bias"}


@pytest.mark.parametrize("name", CONFIGS)
def test_there_and_back(name: str) -> None:
    loaded = small_model(name)
    weights, hyper_parameters = published_of(loaded)
    variables = None if loaded.variables is None else loaded.variables.to_json()
    file = model_file_of(Checkpoint(weights, hyper_parameters, {}, variables), HERE)
    assert file.kind == loaded.kind
    assert file.config == model_config(loaded.network)
    assert file.variables == variables
    assert_same(file.tensors, loaded.network.state_dict())


@pytest.mark.parametrize("name", CONFIGS)
def test_without_what_mirrors_constants_or_is_never_read(name: str) -> None:
    loaded = small_model(name)
    weights, hyper_parameters = published_of(loaded)
    optional = optional_entries(weights, KINDS[loaded.kind].published.reads_scale)
    kept = {key: value for key, value in weights.items() if key not in optional}
    assert_same(
        model_file_of(Checkpoint(kept, hyper_parameters), HERE).tensors,
        model_file_of(Checkpoint(weights, hyper_parameters), HERE).tensors,
    )


@pytest.mark.parametrize("name", ["ae", "citris_nf", "citris_nf_autoregressive", "citris_vae", "citris_vae_flow_prior"])
def test_exported_again_a_published_checkpoint_is_what_it_was(parity: Path, name: str) -> None:
    checkpoint = read_checkpoint(parity / f"{name}.ckpt")
    loaded = model_from_file(model_file_of(checkpoint, HERE), HERE, torch.device("cpu"))
    weights, hyper_parameters = published_of(loaded)
    original = {key: value for key, value in checkpoint.weights.items() if not key.startswith("causal_encoder.")}
    assert weights.keys() == original.keys()
    # Stored and never read: the scale of an encoder without a posterior, Gaussians beside an autoregressive prior.
    optional = optional_entries(weights, KINDS[loaded.kind].published.reads_scale)
    unread = {key for key in optional if key.endswith(("scale_factor", "intv_prior"))}
    assert_same(
        {key: value for key, value in weights.items() if key not in unread},
        {key: value for key, value in original.items() if key not in unread},
    )
    for key, value in hyper_parameters.items():
        assert checkpoint.hyper_parameters.get(key, value) == value, key


def test_sizes_and_settings_of_a_published_checkpoint(parity: Path) -> None:
    kind, config = described(read_checkpoint(parity / "citris_nf_autoregressive.ckpt"), HERE)
    assert kind == "citris_nf"
    own, prior = config["citris_nf"], config["citris_nf"]["prior"]
    assert (own["latents"], own["variables"], own["hidden"], own["flow_layers"], own["flow_hidden"]) == (
        12,
        4,
        16,
        4,
        16,
    )
    assert (own["classifier_momentum"], own["classifier_weight"]) == (0.9, 2.0)
    assert (prior["name"], prior["imperfect_interventions"]) == ("autoregressive", False)
    assert (prior["autoregressive_hidden"], prior["regulariser"]) == (16, 0.01)
    sizes = config["autoencoder"]
    assert (sizes["width"], sizes["channels"], sizes["decoder_blocks"], sizes["patch"]) == (64, 16, 2, 1)
