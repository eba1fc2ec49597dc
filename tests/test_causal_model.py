"""A trained model in Python: what is no latents of its own is refused, by every method, with a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

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
    "step": lambda model, z: model.step(z, np.zeros((len(z), 2)), seeded()),
    "rollout": lambda model, z: model.rollout(z, 2, seeded()),
    "rollout, values": lambda model, z: model.rollout(Z, 2, seeded(), {1: {"x": z}}),
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
    with pytest.raises(InputError, match="temperature is -1; it must be a number of at least 0"):
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


def test_tensors_and_lists_are_frames_and_latents(model: CausalModel) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    z = model.encode(frames)
    tensor = torch.from_numpy(frames)
    scaled = (tensor.float() / 255).requires_grad_()
    for given in (tensor, scaled, list(frames), tuple(tensor), list(scaled), [Image.fromarray(one) for one in frames]):
        np.testing.assert_allclose(model.encode(given), z, atol=1e-5)
    assert np.abs(model.encode(scaled.bfloat16()) - z).max() < 0.1
    latents = torch.from_numpy(z).requires_grad_()
    for one in (latents, list(latents), z.tolist(), latents.detach().double()):
        np.testing.assert_array_equal(model.decode(one), model.decode(z))
        np.testing.assert_array_equal(model.intervene(one, "x", latents[:1]), model.intervene(z, "x", z[:1]))
        np.testing.assert_array_equal(model.combine(one, one, torch.ones(3, 2)), z)
        assert model.moved(one, z)["x"].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(model.draw(latents[0], "x", 2, seeded()), model.draw(z[:1], "x", 2, seeded()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tensors_on_an_accelerator_are_taken(model: CausalModel) -> None:
    latents = torch.zeros(2, 3, device="cuda")
    np.testing.assert_array_equal(model.decode(latents), model.decode(Z))


@pytest.mark.parametrize("value", [None, "a.png", Path("a.png"), {"images": Z}, (row for row in Z), object()])
def test_what_is_no_array_is_named(model: CausalModel, value: Any) -> None:
    kind = "None" if value is None else f"a {type(value).__name__}"
    says = f"(frames|z) is {kind}\\b.*; give a numpy array, a torch tensor, or a list of arrays of one shape"
    for method in (model.encode, model.decode):
        with pytest.raises(InputError, match=says):
            method(value)


def test_what_numpy_cannot_take_is_said(model: CausalModel) -> None:
    wrong: list[Any] = [torch.zeros(2, 3, device="meta"), torch.zeros(2, 3).to_sparse(), [[1, 2, 3], [1]]]
    for value in wrong:
        with pytest.raises(InputError, match="z: numpy cannot make an array of it"):
            model.decode(value)
    wrong = [torch.zeros(3), np.zeros(2)]
    with pytest.raises(InputError, match=r"z lists arrays of the shapes \[3\] and \[2\]; they need one shape"):
        model.decode(wrong)  # type: ignore[arg-type]


def test_arguments_of_another_type_are_one_sentence(model: CausalModel) -> None:
    anything: Any = model
    wrong: list[tuple[Callable[[], Any], str]] = [
        (lambda: anything.intervene(Z, ["x"], Z), "names is a list; give names in one string, such as 'x'"),
        (lambda: anything.block(1), "names is a int"),
        (lambda: anything.sweep("x", 2.5), "number is 2.5; it must be a whole number"),
        (lambda: anything.draw(Z[:1], "x", "2", seeded()), "number is '2'; it must be a whole number"),
        (lambda: anything.draw(Z[:1], "x", 2, 0), "generator is a int; give one on the CPU"),
        (lambda: anything.draw(Z[:1], "x", 2, None), "generator is None; give one on the CPU"),
        (
            lambda: anything.draw(Z[:1], "x", 2, seeded(), "warm"),
            "temperature is 'warm'; it must be a number of at least 0",
        ),
        (lambda: citris_cli.load(None), "path is None; give the path of a model"),  # type: ignore[arg-type]
        (lambda: citris_cli.load("none.safetensors", 0), "--device 0 is unknown"),  # type: ignore[arg-type]
    ]
    for call, says in wrong:
        with pytest.raises(InputError, match=says):
            call()


def test_a_rollout_is_its_steps(model: CausalModel) -> None:
    z = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = model.rollout(z, 3, seeded(), {2: {"y": None, "x": z[:1] + 7}})
    assert found.shape == (2, 4, 3)
    np.testing.assert_array_equal(found[:, 0], z)
    np.testing.assert_array_equal(found[:, 2, 0], [7, 7])
    generator, nothing = seeded(), np.full((2, 3), np.nan)
    nothing[:, 0] = 7
    steps = [model.step(z, np.zeros((2, 2)), generator)]
    steps.append(model.step(steps[-1], np.ones((2, 2)), generator, nothing))
    np.testing.assert_array_equal(found[:, 1:3], np.stack(steps, axis=1))
    assert model.limits is None  # it brings no training frames
    mean = model.rollout(z, 3, seeded(), temperature=0)
    np.testing.assert_array_equal(mean, model.rollout(z, 3, torch.Generator().manual_seed(5), temperature=0))


def test_steps_that_cannot_be_are_refused(model: CausalModel) -> None:
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: model.rollout(Z, 0, seeded()), "steps is 0; it must be at least 1"),
        (lambda: model.rollout(Z, 2, seeded(), {3: {"x": None}}), "there is no step 3; the steps are 1 to 2"),
        (lambda: model.rollout(Z, 2, seeded(), {1: {"x": None, "y,x": None}}), "step 1: x is named twice"),
        (lambda: model.rollout(Z, 2, seeded(), {1: {"z": None}}), "there is no variable 'z'"),
        (
            lambda: model.step(Z, np.zeros((2, 3)), seeded()),
            "targets have shape .2, 3.; give 0 or 1",
        ),
        (lambda: model.step(Z, np.full((2, 2), 0.5), seeded()), "give 0 or 1"),
        (lambda: model.step(Z, np.zeros((2, 2)), seeded(), Z[:1]), "known has shape .1, 3.; it needs that of z"),
        (lambda: model.step(Z, np.zeros((2, 2)), 3), "give one on the CPU"),  # type: ignore[arg-type]
        (lambda: model.rollout(Z[:1], 2, seeded(), {1: {"x": Z}}), "step 1: values has 2 rows and z has 1; give one"),
        (lambda: model.affected("x"), "has learned no effects within a step"),
    ]
    for call, sentence in refused:
        with pytest.raises(InputError, match=sentence):
            call()
