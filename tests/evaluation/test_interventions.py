"""Interventions as they are measured: what is replaced, what is drawn, and what decoding alone moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from citris_cli.causal_model import CausalModel
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.config import AutoencoderConfig, CitrisNFConfig
from citris_cli.data.variables import Variables
from citris_cli.errors import InputError
from citris_cli.evaluation.interventions import Intervention, intervene_on, movement, outcome_arrays

FRAMES = np.random.default_rng(0).integers(0, 256, (2, 1, 32, 32, 3), dtype=np.uint8)
#: Variable of each of the four latents; psi(0) is 2.
ASSIGNMENT = [1, 0, 2, 1]


@pytest.fixture(scope="module")
def model() -> CausalModel:
    """An untrained model of the variables a and b."""
    generator = torch.Generator().manual_seed(0)
    autoencoder = Autoencoder(AutoencoderConfig(width=32, latents=4, channels=4), generator)
    network = CitrisNF(CitrisNFConfig(latents=4, variables=2), autoencoder, generator)
    with torch.no_grad():
        network.assignment.fix(torch.tensor(ASSIGNMENT))
    return CausalModel.of(network.eval(), Variables.from_json([{"name": "a"}, {"name": "b"}]))


def test_values_of_another_picture(model: CausalModel) -> None:
    values = model.encode(FRAMES[1])
    one = intervene_on(model, Intervention("b", values, FRAMES[1]), "x.png", FRAMES[0])
    np.testing.assert_array_equal(one.after[0, [1, 2]], one.before[0, [1, 2]])
    np.testing.assert_array_equal(one.after[0, [0, 3]], values[0, [0, 3]])
    assert one.labels == ["original", "reconstruction", "from", "b"]
    np.testing.assert_array_equal(one.images[[0, 2]], FRAMES[:, 0])
    np.testing.assert_array_equal(one.images[1:2], model.decode(one.before))
    np.testing.assert_array_equal(one.results, model.decode(one.after))
    np.testing.assert_allclose(one.reencoded, model.encode(one.results), atol=1e-6)
    np.testing.assert_allclose(one.baseline, model.encode(one.images[1:2]), atol=1e-6)


def test_draws_depend_on_their_seed_alone(model: CausalModel) -> None:
    def after(seed: int) -> np.ndarray:
        return intervene_on(model, Intervention("a", draws=3, seed=seed), "x.png", FRAMES[0]).after

    assert after(0).shape == (3, 4)
    np.testing.assert_array_equal(after(0), after(0))
    assert (after(0)[:, 1] != after(1)[:, 1]).all()


def test_what_decoding_alone_moves_is_the_floor(model: CausalModel) -> None:
    """An intervention that changes nothing moves as much as the reconstruction does."""
    outcomes = [intervene_on(model, Intervention("a", model.encode(frame)), "x.png", frame) for frame in FRAMES]
    moved, floor = movement(model, outcomes)
    assert list(moved) == list(floor) == ["a", "b", "psi(0)"]
    assert moved == pytest.approx(floor, rel=1e-4)
    expected = np.mean([model.moved(one.before, one.baseline)["b"] for one in outcomes])
    assert floor["b"] == pytest.approx(expected)


def test_arrays_of_several_pictures(model: CausalModel) -> None:
    what = Intervention("a,b", draws=2)
    outcomes = [intervene_on(model, what, name, frame) for name, frame in zip("xy", FRAMES, strict=True)]
    arrays = outcome_arrays(model, what, outcomes)
    assert {name: values.shape for name, values in arrays.items()} == {
        "images": (4, 32, 32, 3),
        "originals": (2, 32, 32, 3),
        "reconstructions": (2, 32, 32, 3),
        "z_before": (2, 4),
        "z_after": (4, 4),
        "z_reencoded": (4, 4),
        "sources": (2,),
        "assignment": (4,),
        "variables": (2,),
        "intervened": (2,),
    }
    np.testing.assert_array_equal(arrays["images"][2:], outcomes[1].results)
    np.testing.assert_array_equal(arrays["originals"], FRAMES[:, 0])
    assert arrays["sources"].tolist() == ["x", "y"]


def test_an_unknown_variable_is_refused(model: CausalModel) -> None:
    with pytest.raises(InputError, match="c"):
        intervene_on(model, Intervention("c"), "x.png", FRAMES[0])
