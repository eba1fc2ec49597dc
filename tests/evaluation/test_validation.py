"""Measuring a model in the middle of its training leaves no trace on it."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from citris_cli.causal_model import CausalModel
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.config import AutoencoderConfig, CitrisNFConfig
from citris_cli.data.datasets import load_sequences
from citris_cli.data.variables import Variables
from citris_cli.evaluation.validation import CRITERION, Validation
from citris_cli.training.citris_nf import CitrisNFTask
from citris_cli.training.config import CausalTrainingConfig
from citris_cli.worlds.ball_in_boxes import BallInBoxes
from citris_cli.worlds.dataset import write_dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("boxes")
    write_dataset(BallInBoxes(), path, frames=40, seed=0)
    for name in ("val_indep", "val_triplets"):
        with np.load(path / f"{name}.npz", allow_pickle=False) as file:
            rows = {key: file[key][:30] for key in ("images", "latents", "targets")} | {"keys": file["keys"]}
        np.savez(path / f"{name}.npz", **rows)
    return path


def model(variables: Variables) -> CitrisNF:
    seeded = torch.Generator().manual_seed(0)
    autoencoder = Autoencoder(AutoencoderConfig(width=32, latents=4, channels=4, decoder_blocks=1, patch=2), seeded)
    sizes = CitrisNFConfig(latents=4, variables=len(variables), flow_layers=2, flow_hidden=3, samples=2, hidden=4)
    network = CitrisNF(sizes, autoencoder, seeded)
    network.initialise_flow(torch.randn(50, 4, generator=seeded), seeded)
    return network


def test_no_model_wins_by_having_no_triplet_score(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_sequences([folder])
    shown = CausalModel.of(model(data.variables).eval(), data.variables)
    given = Validation.load(folder, data.variables, 32)
    known = given.measure(shown)
    assert known[CRITERION] == pytest.approx(
        (known["val_r2_diag"] - known["val_r2_sep"] + known.get("val_triplet_score", 0.0)) / 2
    )
    monkeypatch.setattr(
        "citris_cli.evaluation.validation.evaluate_triplets", lambda *_: SimpleNamespace(score=float("nan"))
    )
    blurred = given.measure(shown)
    assert "val_triplet_score" not in blurred
    assert blurred[CRITERION] == pytest.approx((known["val_r2_diag"] - known["val_r2_sep"]) / 2)


@pytest.mark.parametrize("training", [True, False])
def test_neither_mode_nor_weights_nor_random_state_change(folder: Path, training: bool) -> None:
    data = load_sequences([folder])
    network = model(data.variables).train(training)
    validation = Validation.load(folder, data.variables, 32)
    task = CitrisNFTask(
        network,
        torch.randn(40, 4, generator=torch.Generator().manual_seed(1)),
        data.starts,
        data.targets,
        CausalTrainingConfig(steps=1, batch_size=8, lr=1e-3, clip=1.0),
        lambda: validation.measure(CausalModel.of(network, data.variables)),
    )
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - it must be left alone
    measures = task.validate()
    assert {"val_r2_diag", "val_r2_sep", CRITERION} <= measures.keys()
    assert network.training is training
    assert not network.autoencoder.training
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert task.validate() == measures
    assert torch.is_grad_enabled()
