"""Every part of citris_cli against numbers that a plain implementation computed for weights of our own drawing.

The plain implementation, in the files beside this one, is written from the formulas in docs/model.md with loops and
explicit masks, in NumPy and float64. ``python -m tests.parity.make`` writes the numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tests.parity import make, ours
from tests.parity.make import PARTS, Part
from tests.parity.plain_networks import Array

STORED = make.read()
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks as small as these take longer with threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def disagreements(found: dict[str, Array], expected: dict[str, Array], tolerance: float) -> dict[str, float]:
    """Of every output that is further off than the tolerance, ``max |a - b| / (1 + |b|)``."""
    assert found.keys() == expected.keys()
    off = {}
    for name, value in expected.items():
        assert found[name].shape == value.shape, name
        # A number that is none is infinitely far off.
        error = np.nan_to_num(np.abs(found[name] - value) / (1 + np.abs(value)), nan=np.inf).max()
        if not error <= tolerance:
            off[name] = float(error)
    return off


def compute(part: Part, dtype: torch.dtype) -> dict[str, Array]:
    return ours.compute(part.settings, part.weights, part.inputs, dtype)


@pytest.mark.parametrize("name", PARTS)
def test_the_numbers_are_what_the_plain_implementation_gives_today(name: str) -> None:
    stored, today = STORED[name], make.make(name)
    assert stored.settings == today.settings
    for kept, drawn in ((stored.weights, today.weights), (stored.inputs, today.inputs)):
        assert kept.keys() == drawn.keys()
        for key, array in drawn.items():
            assert kept[key].dtype == array.dtype
            np.testing.assert_array_equal(kept[key], array)
    assert not disagreements(today.outputs, stored.outputs, 1e-9)


def test_nothing_else_is_stored() -> None:
    assert list(STORED) == list(PARTS)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
@pytest.mark.parametrize("name", PARTS)
def test_agreement(name: str, dtype: torch.dtype) -> None:
    part = STORED[name]
    assert not disagreements(compute(part, dtype), part.outputs, TOLERANCE[dtype])


def module_of(name: str, part: Part) -> str:
    """The module, at most three deep, to which a weight belongs; all of an image network in a model that has more."""
    *modules, leaf = name.split(".")
    if part.settings["kind"].startswith("citris") and modules[0] in ("encoder", "decoder", "autoencoder"):
        return modules[0]
    return ".".join(modules[:3]) or leaf


def changed(part: Part) -> Iterator[tuple[str, Part]]:
    """The part with other weights in one module, or where it has none another input, one after the other."""
    field = "weights" if part.weights else "inputs"
    arrays = getattr(part, field)
    for module in sorted({module_of(name, part) for name in arrays}):
        others = {name: other(array) for name, array in arrays.items() if module_of(name, part) == module}
        yield module, dataclasses.replace(part, **{field: arrays | others})


def other(array: Array) -> Array:
    """Every number changed differently: a layer normalisation would not see that all were moved alike."""
    return (array + 0.3 * np.cos(np.arange(array.size)).reshape(array.shape)).astype(array.dtype)


@pytest.mark.parametrize("name", PARTS)
def test_other_weights_give_other_numbers(name: str) -> None:
    part = STORED[name]
    unseen = set()
    for module, of_others in changed(part):
        if not disagreements(compute(of_others, torch.float32), part.outputs, TOLERANCE[torch.float32]):
            unseen.add(module)
    # SlowVAE's prior knows nothing of interventions.
    assert unseen == ({"targets", "logits", "psi"} if name == "prior_slow" else set())
