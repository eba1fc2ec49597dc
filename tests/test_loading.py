"""Model files whose parts do not fit together are refused with a sentence, and soon."""

import copy
import dataclasses
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from citris_cli.artifacts.models import ModelFile, read_model, write_model
from citris_cli.artifacts.packaged import HOME
from citris_cli.artifacts.packaged import MODEL as FILE
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.causal_encoder import CausalEncoder
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.core.config import (
    AutoencoderConfig,
    AutoregressivePriorConfig,
    CausalEncoderConfig,
    CitrisNFConfig,
    CitrisVAEConfig,
    MLPPriorConfig,
)
from citris_cli.data.variables import Variables
from citris_cli.errors import InputError
from citris_cli.kinds import config_to_json, flat, kind_of_model
from citris_cli.loading import DEPTHS, load_model, model_config, model_from_file, model_tensors

MODEL = HOME / "ball-in-boxes" / FILE
#: Squared norm of what the packaged model encoded when its file was written.
ENCODED = 1021612.25


def load(file: ModelFile) -> None:
    model_from_file(file, Path("m.safetensors"), torch.device("cpu"))


@pytest.mark.parametrize("name", DEPTHS)
def test_more_layers_than_weights_are_refused_at_once(name: str) -> None:
    file = read_model(MODEL)
    config = copy.deepcopy(file.config)
    config["autoencoder" if name == "decoder_blocks" else "citris_nf"][name] = 10**9
    before = time.process_time()
    with pytest.raises(InputError, match=f"{name} is 1000000000"):
        load(dataclasses.replace(file, config=config))
    assert time.process_time() - before < 5


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("training_state", "the state of a training run, not a model; name the model beside it, without .state"),
        ("encodings", "cached encodings of frames, not a model; name the model beside it"),
    ],
)
def test_what_a_training_writes_beside_its_model_is_called_by_its_name(kind: str, says: str) -> None:
    with pytest.raises(InputError, match=f"^m.safetensors: holds {says}"):
        load(dataclasses.replace(read_model(MODEL), kind=kind))


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


@pytest.mark.parametrize(
    ("part", "name", "value", "says"),
    [
        ("autoencoder", "channels", 0, "channels is 0; it must be at least 1"),
        ("autoencoder", "latents", -3, "latents is -3"),
        ("autoencoder", "latents", "16", "latents is '16'"),
        ("autoencoder", "width", 64.0, "width is 64"),
        ("autoencoder", "width", 72, "width is 72; it must be a multiple of 16"),
        ("autoencoder", "width", 2**60, f"width is {2**60}; it must be at most 256"),
        ("autoencoder", "width", 0, "width is 0; it must be at least 32"),
        ("autoencoder", "width", 48, "weight "),
        ("autoencoder", "patch", 3, "patch is 3; it can be 1 or 2 or 4"),
        ("autoencoder", "image_channels", 9, "image_channels is 9; it must be at most 8"),
        ("autoencoder", "noise", True, "noise is True"),
        ("citris_nf", "flow_layers", [1], "flow_layers is"),
        ("citris_nf", "flow_layers", 2**60, "flow_layers is"),
        ("citris_nf", "prior", {"name": "mlp", "regulariser": "x"}, "regulariser is 'x'"),
        ("citris_nf", "prior", {"name": "mlp", "regulariser": -1.0}, "regulariser is -1"),
        ("citris_nf", "variables", None, "variables is None"),
    ],
)
def test_configurations_that_no_model_can_have_are_refused(part: str, name: str, value: Any, says: str) -> None:
    file = read_model(MODEL)
    config = {key: dict(entry) for key, entry in file.config.items()}
    config[part][name] = value
    with pytest.raises(InputError, match=re.escape(says)):
        load(dataclasses.replace(file, config=config))


def test_as_many_variables_are_named_as_the_networks_are_for() -> None:
    file = read_model(MODEL)
    for variables in ([], [*(file.variables or []), {"name": "another"}]):
        with pytest.raises(InputError, match=r"it names \d variables?, and its networks are for \d"):
            load(dataclasses.replace(file, variables=variables))


#: Loads the models that it is told of, then names what was imported beyond PyTorch itself and that no model needs; then
#: what no training needs before it measures.
LOAD = """
import sys
from pathlib import Path
import torch

before = set(sys.modules)
from citris_cli.loading import load_model

for path in sys.argv[1:]:
    load_model(Path(path))
print(*{"sympy", "torch._dynamo", "torch.onnx", "scipy", "rich", "imageio"} & (sys.modules.keys() - before))
import citris_cli.commands.training
print(*{"sympy", "torch._dynamo", "torch.onnx", "scipy", "imageio"} & (sys.modules.keys() - before))
"""


def _networks() -> dict[str, nn.Module]:
    sizes: dict[str, Any] = {"latents": 8, "variables": 3}
    autoencoder = Autoencoder(AutoencoderConfig(width=32, latents=8, channels=4))
    factors = Variables.from_json([{"name": "x", "low": 0, "high": 1}, {"name": "a", "kind": "angle"}])
    return {
        "autoencoder": autoencoder,
        "nf": CitrisNF(CitrisNFConfig(**sizes), autoencoder),
        "imperfect": CitrisNF(CitrisNFConfig(**sizes, prior=MLPPriorConfig(imperfect_interventions=True)), autoencoder),
        "autoregressive": CitrisNF(CitrisNFConfig(**sizes, prior=AutoregressivePriorConfig()), autoencoder),
        "vae": CitrisVAE(CitrisVAEConfig(**sizes, width=32, channels=4)),
        "causal_encoder": CausalEncoder(CausalEncoderConfig(width=32, channels=4), factors),
    }


def test_loading_a_model_imports_no_compiler(tmp_path: Path) -> None:
    """PyTorch's compiler takes longer to import than all else that a command on one picture does."""
    alone = "import sys, torch; torch.nn.Linear(2, 2, device='meta'); print('sympy' in sys.modules)"
    if subprocess.run([sys.executable, "-c", alone], capture_output=True, text=True).stdout.strip() == "True":
        pytest.skip("this PyTorch imports its compiler for any module without memory")
    paths = []
    for name, network in _networks().items():
        columns = [{"name": column} for column in "abc"]
        if isinstance(network, CausalEncoder):
            columns = Variables(network.factors).to_json()
        file = ModelFile(kind_of_model(network).name, model_config(network), columns, {}, model_tensors(network))
        paths.append(tmp_path / f"{name}.safetensors")
        write_model(paths[-1], file)
    done = subprocess.run([sys.executable, "-c", LOAD, *map(str, paths)], check=True, capture_output=True, text=True)
    assert done.stdout.split() == [], done.stdout


def test_a_file_of_the_first_format_is_the_model_that_it_was() -> None:
    """Its configuration is flat: the prior's settings lie among the model's."""
    path = MODEL
    file = read_model(path)
    stored = file.config["citris_nf"]
    assert isinstance(stored.get("prior", "mlp"), str)
    loaded = load_model(path)
    assert isinstance(loaded.network, CitrisNF)
    own = flat(config_to_json(loaded.network.config))
    assert {key: own[key] for key in stored if key != "autoregressive_hidden"} | {"autoregressive_hidden": 16} == stored
    images = torch.rand(3, 3, loaded.width, loaded.width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        z = loaded.network.encode(images)
    torch.testing.assert_close(z.double().square().sum(), torch.tensor(ENCODED).double(), rtol=1e-4, atol=0)
    torch.testing.assert_close(z, loaded.network.double().encode(images.double()).float(), rtol=1e-3, atol=1e-3)
    # Written again, it is of the present format, and the same model.
    again = model_from_file(dataclasses.replace(file, config=model_config(loaded.network)), path, torch.device("cpu"))
    assert again.network.config == loaded.network.config
    assert torch.equal(again.network.encode(images), z)
