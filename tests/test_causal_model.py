"""A trained model in Python: what is no latents of its own is refused, by every method, with a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import citris_cli
from citris_cli.causal_model import CausalModel
from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.core.config import CitrisVAEConfig
from citris_cli.data.variables import Variable, Variables
from citris_cli.errors import InputError

Z = np.zeros((2, 3), np.float32)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def model() -> CausalModel:
    sizes: dict[str, Any] = {"flow_layers": 1, "flow_hidden": 3, "hidden": 5, "channels": 4, "width": 32}
    network = CitrisVAE(CitrisVAEConfig(3, 2, **sizes, networks="small"), seeded()).eval()
    network.assignment.fix(torch.tensor([0, 1, 2]))
    return CausalModel.of(network, Variables((Variable("x"), Variable("y"))))


METHODS: dict[str, Callable[[CausalModel, Any], Any]] = {
    "decode": lambda model, z: model.decode(z),
    "intervene": lambda model, z: model.intervene(z, "x", Z[:1]),
    "intervene, values": lambda model, z: model.intervene(Z[:1], "x", z),
    "combine": lambda model, z: model.combine(z, z, np.zeros((len(z), 2))),
    "moved": lambda model, z: model.moved(z, Z[:1]),
    "draw": lambda model, z: model.draw(z[:1], "x", 2, seeded()),
}


@pytest.mark.parametrize("method", METHODS)
def test_latents_of_other_shapes_are_refused(model: CausalModel, method: str) -> None:
    METHODS[method](model, Z)
    METHODS[method](model, Z.astype(np.float64))
    for wrong in (np.zeros((2, 1)), np.zeros((2, 2)), np.zeros((2, 40)), np.zeros((2, 1, 3))):
        with pytest.raises(InputError, match=r"has shape .* latents of this model are \[N, 3\] numbers"):
            METHODS[method](model, wrong)
    with pytest.raises(InputError, match="of <U3; latents of this model are"):
        METHODS[method](model, np.full((2, 3), "0.5"))
    with pytest.raises(InputError, match="has values that are not finite"):
        METHODS[method](model, np.full((2, 3), np.nan))


def test_rows_that_do_not_belong_together_are_refused(model: CausalModel) -> None:
    three = np.zeros((3, 3), np.float32)
    for call in (
        lambda: model.intervene(Z, "x", three),
        lambda: model.moved(Z, three),
        lambda: model.combine(Z, three, np.zeros((2, 2))),
    ):
        with pytest.raises(InputError, match=r"has 2 and .* has 3 rows; they need equally many, or one"):
            call()
    with pytest.raises(InputError, match="z has 2 rows; draw from one frame's latents at a time"):
        model.draw(Z, "x", 2, seeded())
    assert model.draw(Z[0], "x", 2, seeded()).shape == (2, 3)


def test_numbers_that_cannot_be_are_refused(model: CausalModel) -> None:
    for number in (0, -1):
        with pytest.raises(InputError, match=f"number is {number}; it must be at least 1"):
            model.draw(Z[:1], "x", number, seeded())
        with pytest.raises(InputError, match=f"number is {number}; it must be at least 1"):
            model.sweep("x", number)
    with pytest.raises(InputError, match="temperature is -1; it must be a number from 0 on"):
        model.draw(Z[:1], "x", 2, seeded(), temperature=-1)
    with pytest.raises(InputError, match="the mask has values other than 0 and 1"):
        model.combine(Z, Z, np.full((2, 2), 5))


def test_a_triplet_is_put_together_in_float32(model: CausalModel) -> None:
    one, other = np.zeros((2, 3)), np.ones((2, 3))
    found = model.combine(one, other, np.array([[1, 0], [0, 1]]))
    assert found.dtype == np.float32
    assert found.tolist() == [[1, 0, 0], [0, 1, 0]]


def test_a_device_is_named_as_for_the_trainings(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--device gpu is unknown"):
        citris_cli.load(tmp_path / "none.safetensors", "gpu")
    for device in ("auto", torch.device("cpu")):
        with pytest.raises(InputError, match=r"none\.safetensors"):
            citris_cli.load(tmp_path / "none.safetensors", device)
