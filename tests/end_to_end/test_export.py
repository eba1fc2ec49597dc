"""Models under published names: out, in again, and the same model."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from citris_cli.artifacts.models import ModelFile, read_model, write_model
from citris_cli.loading import model_config, model_tensors
from tests.end_to_end.conftest import Citris
from tests.end_to_end.test_bad_input import check_refusal
from tests.end_to_end.test_import_checkpoint import succeeded
from tests.published_models import CONFIGS, small_model


def test_a_trained_model_comes_back_the_same(home: Path, model: Path, tmp_path: Path, inside: Citris) -> None:
    done = inside("export", model, "-o", "nf.published.safetensors", cwd=tmp_path)
    assert succeeded(done) == "nf.published.safetensors"
    assert "left out: the latents of training frames" in done.stderr.decode()
    assert "--patch 2" in done.stderr.decode()  # of the small preset
    left_out = "left out: --regulariser-form price and --regulariser-warmup 0.6, which the published training does not"
    assert left_out in done.stderr.decode()
    imported = succeeded(inside("import-checkpoint", "nf.published.safetensors", cwd=tmp_path))
    assert imported == "runs/nf/nf.safetensors"
    for one, name in ((model, "before.npz"), (imported, "after.npz")):
        succeeded(inside("encode", home / "boxes/test_indep.npz", "-m", one, "-o", name, cwd=tmp_path))
    with np.load(tmp_path / "before.npz") as before, np.load(tmp_path / "after.npz") as after:
        np.testing.assert_allclose(after["z"], before["z"], rtol=0, atol=1e-6)
        assert after["assignment"].tolist() == before["assignment"].tolist()
        assert after["variables"].tolist() == before["variables"].tolist()
    old, new = read_model(model), read_model(tmp_path / imported)
    published = copy.deepcopy(old.config)
    published["citris_nf"]["prior"] |= {"regulariser_form": "share", "regulariser_warmup": 0.0}
    assert "left out: the autoencoder's --latent-penalty 0.0001, for which" in done.stderr.decode()
    published["autoencoder"]["latent_penalty"] = 1e-5
    assert (new.variables, new.config) == (old.variables, published)
    assert new.provenance["imported_from"]["exported_from"] == old.provenance
    assert new.provenance["columns"] == old.provenance["columns"]
    picture = f"{home / 'boxes/test_indep.npz'}#3"
    assert succeeded(
        inside("intervene", picture, "--var", "box", "-n", "2", "-m", imported, "-o", "x.png", cwd=tmp_path)
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_every_kind_there_and_back(name: str, tmp_path: Path, inside: Citris) -> None:
    loaded = small_model(name)
    variables = None if loaded.variables is None else loaded.variables.to_json()
    contents = ModelFile(loaded.kind, model_config(loaded.network), variables, {}, model_tensors(loaded.network))
    write_model(tmp_path / "m.safetensors", contents)
    document = json.loads(succeeded(inside("export", "m.safetensors", "--json", cwd=tmp_path)))
    assert document == {"files": ["m.published.safetensors"], "model": "m.safetensors", "kind": loaded.kind}
    found = json.loads(succeeded(inside("info", "m.published.safetensors", "--json", cwd=tmp_path)))
    assert (found["kind"], found["model_kind"]) == ("published checkpoint", loaded.kind)
    assert "import" not in found
    back = succeeded(inside("import-checkpoint", "m.published.safetensors", cwd=tmp_path))
    assert back.startswith("runs/m/")
    file = read_model(tmp_path / back)
    assert (file.kind, file.variables) == (contents.kind, contents.variables)
    assert file.tensors.keys() == contents.tensors.keys()
    assert all(torch.equal(value, file.tensors[key]) for key, value in contents.tensors.items())


def test_what_the_published_code_cannot_build_is_said(tmp_path: Path, inside: Citris) -> None:
    loaded = small_model("autoencoder that grows from patches")
    contents = ModelFile(loaded.kind, model_config(loaded.network), None, {}, model_tensors(loaded.network))
    write_model(tmp_path / "m.safetensors", contents)
    done = inside("export", "m.safetensors", cwd=tmp_path)
    assert succeeded(done)
    said = done.stderr.decode()
    assert "--patch 4" in said
    assert "--growth 2" in said


def test_what_is_written(home: Path, tmp_path: Path, inside: Citris) -> None:
    done = inside("export", home / "runs/boxes/ae.safetensors", "-o", "-", cwd=tmp_path)
    assert done.returncode == 0
    (tmp_path / "piped.safetensors").write_bytes(done.stdout)
    with safe_open(tmp_path / "piped.safetensors", "pt") as file:
        metadata = {name: json.loads(value) for name, value in file.metadata().items()}
        assert {"encoder.net.0.0.weight", "decoder.linear.0.bias", "encoder.scale_factor"} <= set(file.keys())
    assert (metadata["format"], metadata["kind"]) == ("citris-published", "autoencoder")
    assert metadata["hyper_parameters"]["num_latents"] == 4
    assert not list(tmp_path.glob("runs*"))


def test_what_cannot_be_exported(home: Path, tmp_path: Path, inside: Citris) -> None:
    (tmp_path / "text.safetensors").write_text("no model")
    check_refusal(inside("export", "none.safetensors", cwd=tmp_path), "none.safetensors: no such file")
    check_refusal(inside("export", "text.safetensors", cwd=tmp_path), "this is text, not a model; give a model")
    model = home / "runs/boxes/ae.safetensors"
    check_refusal(inside("export", model, "-o", "-", "--json", cwd=tmp_path), "both want standard output")
    check_refusal(inside("export", model, "-o", "text.safetensors/x", cwd=tmp_path), "cannot be written")
    published = succeeded(inside("export", model, "-o", "p.safetensors", cwd=tmp_path))
    check_refusal(inside("export", published, cwd=tmp_path), "of citris-published, not of citris")
