"""Published checkpoints as a user meets them: imported, described, used; and refused where there is a reason to."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from citris_cli.artifacts.models import read_model, read_model_header
from citris_cli.core.factors import distances, normalised
from citris_cli.loading import load_model
from tests.core.test_parity import agree
from tests.end_to_end.conftest import Citris
from tests.end_to_end.test_bad_input import Planted, check_refusal
from tests.published_models import checkpoint_of, small_model

WHOLE = {
    "citris_nf": "nf.safetensors",
    "citris_nf_autoregressive": "nf.safetensors",
    "citris_vae": "vae.safetensors",
    "citris_vae_flow_prior": "vae.safetensors",
}


def numbers_of(path: Path) -> dict[str, Tensor]:
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping


def pixels(images: Tensor) -> np.ndarray:
    """Images [..., 3, W, W] in [-1, 1] as floats 0 … 1, channels last, as a user has them."""
    return ((images + 1) / 2).movedim(-3, -1).numpy()


def succeeded(done: Any) -> str:
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().rstrip("\n")


@pytest.mark.parametrize("name", WHOLE)
def test_a_published_model_gives_the_published_numbers(parity: Path, tmp_path: Path, inside: Citris, name: str) -> None:
    numbers = numbers_of(parity / f"{name}_expected.safetensors")
    done = inside("import-checkpoint", parity / f"{name}.ckpt", cwd=tmp_path)
    path = succeeded(done)
    assert path == f"runs/{name}/{WHOLE[name]}"
    notes = done.stderr.decode().splitlines()
    assert notes[0].endswith("for frames of 64×64; 12 latents; variables v0, v1, v2, v3")
    assert notes[1].startswith("left out: the causal encoder")

    # The model that was written, in full precision.
    network = load_model(tmp_path / path).network
    images = numbers["in/images"]
    with torch.no_grad():
        z = network.encode(images.flatten(0, 1))
        agree(z, numbers["out/z"])
        z_1, z_2 = z.unflatten(0, (-1, 2)).unbind(1)
        agree(network.decode(network.combine(z_1, z_2, numbers["in/mask"])), numbers["out/triplet_prediction"])

    # The commands, which see frames as bytes: what that changes is within the same bounds.
    np.savez(tmp_path / "frames.npz", images=pixels(images.flatten(0, 1)))
    succeeded(inside("encode", "frames.npz", "-m", path, "-o", "z.npz", cwd=tmp_path))
    with np.load(tmp_path / "z.npz", allow_pickle=False) as latents:
        agree(torch.from_numpy(latents["z"]), numbers["out/z"])
        assert latents["assignment"].tolist() == numbers["out/assignment"].tolist()
        assert latents["variables"].tolist() == ["v0", "v1", "v2", "v3"]
    difference = (torch.from_numpy(np.load(tmp_path / "z.npz")["z"]) - numbers["out/z"]).abs()
    assert (difference < 0.03 * numbers["out/z"].std(0)).all()

    triplets = torch.cat([images, numbers["out/triplet_prediction"].unsqueeze(1)], dim=1)
    mask = numbers["in/mask"].numpy().astype(np.uint8)
    np.savez(tmp_path / "triplets.npz", images=pixels(triplets), mask=mask, keys=np.array(["v0", "v1", "v2", "v3"]))
    report = json.loads(succeeded(inside("eval-triplets", "triplets.npz", "-m", path, "--json", cwd=tmp_path)))
    # Both pictures are rounded to bytes: half a step of 1/255 each, at most.
    assert report["measures"]["prediction"]["mse"] < (1 / 255) ** 2


def test_a_published_autoencoder(parity: Path, tmp_path: Path, inside: Citris) -> None:
    numbers = numbers_of(parity / "citris_nf_expected.safetensors")  # it is the autoencoder of that model
    path = succeeded(inside("import-checkpoint", parity / "ae.ckpt", cwd=tmp_path))
    assert path == "runs/ae/ae.safetensors"
    within = ["import-checkpoint", parity / "citris_nf.ckpt", "--part", "autoencoder"]
    assert succeeded(inside(*within, cwd=tmp_path)) == "runs/citris_nf/ae.safetensors"
    for file in (path, "runs/citris_nf/ae.safetensors"):
        loaded = load_model(tmp_path / file)
        with torch.no_grad():
            agree(loaded.network.encode(numbers["in/images"].flatten(0, 1)), numbers["out/encoding"])
        assert (loaded.network.config.noise, loaded.width) == (0.05, 64)
    assert load_model(tmp_path / path).network.config.latent_penalty == 1e-4


def test_a_causal_encoder_that_is_kept_inside_measures_triplets(parity: Path, tmp_path: Path, inside: Citris) -> None:
    numbers = numbers_of(parity / "causal_encoder_expected.safetensors")
    names = ["pos-x", "rot-alpha", "hue-back", "obj-shape"]
    file = parity / "citris_vae_flow_prior.ckpt"
    model = succeeded(inside("import-checkpoint", file, "--vars", ",".join(names), cwd=tmp_path))
    done = inside("import-checkpoint", file, "--part", "causal-encoder", "--json", cwd=tmp_path)
    document = json.loads(succeeded(done))
    assert document["model"] == "runs/citris_vae_flow_prior/causal_encoder.safetensors"
    assert document["variables"] == ["pos_x", "rot_alpha", "hue_b", "obj_s"]

    loaded = load_model(tmp_path / document["model"])
    assert loaded.variables is not None
    with torch.no_grad():
        predicted = loaded.network.predict(numbers["in/images"])
    agree(predicted, numbers["out/predicted"])
    distance = distances(predicted, numbers["in/labels"], loaded.variables)
    agree(distance, torch.stack([numbers[f"out/distance.{name}"] for name in names], dim=-1))
    scaled = torch.stack([numbers[f"out/normalised_distance.{name}"] for name in names], dim=-1)
    agree(normalised(distance, loaded.variables), scaled)

    # Beside the model, eval-triplets finds it, and reads the third frames with it.
    pictures = pixels(numbers["in/images"])
    labels = numbers["in/labels"].numpy()
    np.savez(
        tmp_path / "triplets.npz",
        images=np.stack([pictures] * 3, axis=1),
        mask=np.ones((5, 4), np.uint8),
        latents=np.stack([labels] * 3, axis=1),
        keys=np.array(names),
    )
    report = json.loads(succeeded(inside("eval-triplets", "triplets.npz", "-m", model, "--json", cwd=tmp_path)))
    found = report["distances"]["own_error"]["factors"]
    assert list(found) == document["variables"]
    for name, theirs in zip(found, names, strict=True):
        mean = float(numbers[f"out/distance.{theirs}"].mean())
        assert found[name]["distance"] == pytest.approx(mean, rel=1e-2, abs=1e-3)  # frames are bytes here


def test_a_published_causal_encoder(parity: Path, tmp_path: Path, inside: Citris) -> None:
    path = succeeded(inside("import-checkpoint", parity / "causal_encoder.ckpt", cwd=tmp_path))
    file = read_model(tmp_path / path)
    assert file.config["causal_encoder"]["norm_penalty"] == 0.1
    described = [(f["name"], f["kind"], f["high"], f["categories"]) for f in file.variables or ()]
    assert (described[0], described[3]) == (("pos_x", "continuous", 2.0, None), ("obj_s", "categorical", None, 7))
    published = torch.load(parity / "causal_encoder.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(file.tensors["heads.0.weight"], published["pred_layers.pos-x.0.weight"])
    assert torch.equal(file.tensors["encoder.head.3.bias"], published["encoder.net.8.bias"])


@pytest.fixture
def checkpoint(tmp_path: Path) -> dict[str, Any]:
    """A small CITRIS-NF as the published framework saves it, in m.ckpt; and the contents, for changing."""
    contents = checkpoint_of(small_model("nf"))
    torch.save(contents, tmp_path / "m.ckpt")
    return contents


def test_results_on_standard_output(checkpoint: dict[str, Any], tmp_path: Path, inside: Citris) -> None:
    document = json.loads(
        succeeded(inside("import-checkpoint", "m.ckpt", "-o", "new/m.safetensors", "--json", cwd=tmp_path))
    )
    assert document["model"] == "new/m.safetensors"
    assert (document["kind"], document["variables"]) == ("citris_nf", ["x", "theta"])
    header = read_model_header(tmp_path / "new/m.safetensors")
    source = header.provenance["imported_from"]
    assert (source["file"], source["sha256"], source["global_step"]) == ("m.ckpt", document["checkpoint_sha256"], 77)
    assert header.provenance["command"][:3] == ["citris", "import-checkpoint", "m.ckpt"]
    done = inside("import-checkpoint", "m.ckpt", "-o", "-", cwd=tmp_path)
    assert done.returncode == 0
    (tmp_path / "piped.safetensors").write_bytes(done.stdout)
    network = load_model(tmp_path / "piped.safetensors").network
    for name, value in small_model("nf").network.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name
    assert not (tmp_path / "runs").exists()
    check_refusal(inside("import-checkpoint", "m.ckpt", "-o", "-", "--json", cwd=tmp_path), "both want standard output")


def test_an_imported_model_is_a_model_like_any_other(
    checkpoint: dict[str, Any], tmp_path: Path, inside: Citris
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    np.savez(tmp_path / "frames.npz", images=frames)
    path = succeeded(inside("import-checkpoint", "m.ckpt", "--vars", "a,b:angle", cwd=tmp_path))
    assert path == "runs/m/nf.safetensors"
    done = inside("encode", "frames.npz", "-o", "-", cwd=tmp_path)  # the newest under runs/
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as latents:
        assert latents["variables"].tolist() == ["a", "b"]
        assert latents["z"].shape == (3, 4)
    check_refusal(inside("import-checkpoint", "m.ckpt", "--vars", "a", cwd=tmp_path), "--vars names 1 variable for 2")


def test_a_datasets_own_models_are_not_replaced(home: Path, tmp_path: Path, inside: Citris) -> None:
    torch.save(checkpoint_of(small_model("nf")), tmp_path / "boxes.ckpt")
    before = (home / "runs/boxes/nf.safetensors").read_bytes()
    document = json.loads(succeeded(inside("import-checkpoint", tmp_path / "boxes.ckpt", "--json", cwd=home)))
    assert document["model"] == f"runs/boxes-{document['checkpoint_sha256'][:8]}/nf.safetensors"
    assert (home / "runs/boxes/nf.safetensors").read_bytes() == before
    (home / document["model"]).unlink()  # else it would be the newest


def test_checkpoints_of_one_name_do_not_replace_each_other(tmp_path: Path, inside: Citris) -> None:
    for seed, folder in enumerate("ab"):
        (tmp_path / folder).mkdir()
        torch.save(checkpoint_of(small_model("autoencoder", seed)), tmp_path / folder / "last.ckpt")
    paths = [succeeded(inside("import-checkpoint", f"{folder}/last.ckpt", cwd=tmp_path)) for folder in "aba"]
    assert paths[0] == paths[2] == "runs/last/ae.safetensors"
    assert paths[1].startswith("runs/last-")


def test_an_autoencoder_of_its_own(checkpoint: dict[str, Any], tmp_path: Path, inside: Citris) -> None:
    whole = succeeded(inside("import-checkpoint", "m.ckpt", "-o", "whole.safetensors", cwd=tmp_path))
    weights = checkpoint["state_dict"]
    inner = {name.partition(".")[2]: value for name, value in weights.items() if name.startswith("autoencoder.")}
    rest = {name: value for name, value in weights.items() if not name.startswith("autoencoder.")}
    torch.save({"state_dict": inner, "hyper_parameters": {"noise_level": 0.25}}, tmp_path / "ae.ckpt")
    hyper_parameters = {**checkpoint["hyper_parameters"], "autoencoder_checkpoint": "models/ae.ckpt"}
    torch.save({"state_dict": rest, "hyper_parameters": hyper_parameters}, tmp_path / "nf.ckpt")

    done = inside("import-checkpoint", "nf.ckpt", cwd=tmp_path)
    check_refusal(
        done, r"nf.ckpt: does not include an autoencoder \(it was trained on models/ae.ckpt\); name it with --ae FILE"
    )
    found = json.loads(succeeded(inside("info", "nf.ckpt", "--json", cwd=tmp_path)))
    assert (found["usable"], found["needs"]) == (True, ["autoencoder (--ae)"])
    ours = succeeded(inside("import-checkpoint", "ae.ckpt", cwd=tmp_path))
    expected = read_model(tmp_path / whole).tensors
    for autoencoder in ("ae.ckpt", ours):
        done = inside("import-checkpoint", "nf.ckpt", "--ae", autoencoder, "-o", "both.safetensors", cwd=tmp_path)
        found = read_model(tmp_path / succeeded(done))
        assert all(torch.equal(value, found.tensors[name]) for name, value in expected.items())
        assert len(found.provenance["autoencoder_from"]) > 1
    check_refusal(
        inside("import-checkpoint", "nf.ckpt", "--ae", whole, cwd=tmp_path),
        "not an autoencoder; give --ae an autoencoder",
    )
    check_refusal(inside("import-checkpoint", "nf.ckpt", "--ae", "none", cwd=tmp_path), "none: no such file")
    check_refusal(inside("import-checkpoint", "m.ckpt", "--ae", "ae.ckpt", cwd=tmp_path), "leave --ae out")


def _planted(contents: dict[str, Any], folder: Path) -> None:
    contents["callbacks"] = Planted(str(folder / "planted"))


def _with_weight(name: str, change: Any) -> Any:
    def edit(contents: dict[str, Any], folder: Path) -> None:
        contents["state_dict"][name] = change(contents["state_dict"][name])

    return edit


def _without(name: str) -> Any:
    return lambda contents, folder: contents["state_dict"].pop(name)


def _another_prior(contents: dict[str, Any], folder: Path) -> None:
    weights = contents["state_dict"]
    contents["state_dict"] = {name.replace("inp_layer", "graph_layer"): value for name, value in weights.items()}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_planted, "its pickle asks for (io|_io).open, which is more than weights"),
        (_with_weight("flow.flows.0.bias", lambda w: torch.zeros(1).expand(10**12)), "claims to be larger"),
        (_with_weight("flow.flows.0.bias", lambda w: w * float("nan")), "flow.flows.0.bias holds NaN"),
        (_with_weight("flow.flows.0.bias", lambda w: w[:2]), r"flow.flows.0.bias has the shape \[2\], .* has \[4\]"),
        (_without("flow.flows.0.bias"), "the weight flow.flows.0.bias is missing"),
        (_another_prior, "its transition prior .prior_t1. is of no form that citris knows"),
        (lambda contents, folder: contents["hyper_parameters"].update(num_latents=7), "num_latents is 7"),
        (lambda contents, folder: contents.pop("hyper_parameters"), "holds no hyper_parameters"),
    ],
)
def test_hostile_and_broken_checkpoints(
    checkpoint: dict[str, Any], tmp_path: Path, inside: Citris, change: Any, says: str
) -> None:
    change(checkpoint, tmp_path)
    torch.save(checkpoint, tmp_path / "bad.ckpt")
    check_refusal(inside("import-checkpoint", "bad.ckpt", cwd=tmp_path), f"bad.ckpt: .*{says}")
    described = inside("info", "bad.ckpt", "--json", cwd=tmp_path)
    found = json.loads(described.stdout)
    assert (described.returncode, found["usable"]) == (2, False)
    if found["kind"] == "published checkpoint":
        assert found["reason"].startswith("bad.ckpt: cannot be imported")
    else:
        assert found["kind"] == "PyTorch checkpoint"
        assert re.search(says, found["reason"])
    assert {path.name for path in tmp_path.iterdir()} == {"m.ckpt", "bad.ckpt"}


def test_files_that_are_no_checkpoints(checkpoint: dict[str, Any], tmp_path: Path, inside: Citris) -> None:
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    (tmp_path / "cut.ckpt").write_bytes((tmp_path / "m.ckpt").read_bytes()[:-100])
    ours = succeeded(inside("import-checkpoint", "m.ckpt", cwd=tmp_path))
    check_refusal(inside("import-checkpoint", "text.ckpt", cwd=tmp_path), "text.ckpt: this is text, not a checkpoint")
    check_refusal(inside("import-checkpoint", "cut.ckpt", cwd=tmp_path), "cut.ckpt: truncated or damaged")
    described = inside("info", "cut.ckpt", cwd=tmp_path)
    assert described.returncode == 2
    assert described.stderr.startswith(b"citris: cut.ckpt: truncated or damaged")
    check_refusal(inside("import-checkpoint", "none.ckpt", cwd=tmp_path), "none.ckpt: no such file")
    check_refusal(inside("import-checkpoint", ours, cwd=tmp_path), "none with published names")
    check_refusal(inside("encode", "text.ckpt", "-m", "m.ckpt", cwd=tmp_path), "with 'citris import-checkpoint'")
    check_refusal(inside("import-checkpoint", "m.ckpt", "--part", "causal-encoder", cwd=tmp_path), "leave --part out")


def test_info_describes_without_importing(checkpoint: dict[str, Any], tmp_path: Path, inside: Citris) -> None:
    found = json.loads(succeeded(inside("info", "m.ckpt", "--json", cwd=tmp_path)))
    assert (found["kind"], found["model_kind"]) == ("published checkpoint", "citris_nf")
    assert found["variables"] == ["x", "theta"]
    assert found["keeps_inside"] == ["autoencoder"]
    assert found["configuration"]["citris_nf"]["latents"] == 4
    assert found["configuration"]["autoencoder"]["width"] == 32
    assert found["provenance"]["global_step"] == 77
    assert not (tmp_path / "runs").exists()
