"""Model files whose parts do not fit together are refused with a sentence, and soon."""

import copy
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from citris_cli.artifacts.models import ModelFile, read_model
from citris_cli.errors import InputError
from citris_cli.loading import DEPTHS, model_from_file

MODEL = Path(__file__).parents[1] / "examples/models/ball_in_boxes.safetensors"


def load(file: ModelFile) -> None:
    model_from_file(file, Path("m.safetensors"), torch.device("cpu"))


@pytest.mark.parametrize("name", DEPTHS)
def test_more_layers_than_weights_are_refused_at_once(name: str) -> None:
    file = read_model(MODEL)
    config = copy.deepcopy(file.config)
    config["autoencoder" if name == "decoder_blocks" else "citris_nf"][name] = 10**9
    before = time.monotonic()
    with pytest.raises(InputError, match=f"{name} is 1000000000"):
        load(dataclasses.replace(file, config=config))
    assert time.monotonic() - before < 5


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another width": (lambda c: c["citris_nf"].update(hidden=65), "weight .* is"),
    "unknown field": (lambda c: c["citris_nf"].update(colour=1), "colour"),
    "missing part": (lambda c: c.pop("autoencoder"), "autoencoder"),
    "no part at all": (lambda c: c.update(autoencoder=3), "not a model"),
    "text for a number": (lambda c: c["citris_nf"].update(flow_layers="many"), "not a model"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_configuration_that_does_not_fit_is_refused(change: str) -> None:
    file = read_model(MODEL)
    config = copy.deepcopy(file.config)
    make, says = CHANGES[change]
    make(config)
    with pytest.raises(InputError, match=says):
        load(dataclasses.replace(file, config=config))


def test_a_missing_weight_is_named() -> None:
    file = read_model(MODEL)
    tensors = {name: value for name, value in file.tensors.items() if name != "assignment.logits"}
    with pytest.raises(InputError, match=r"assignment\.logits is missing"):
        load(dataclasses.replace(file, tensors=tensors))
