"""CITRIS-VAE as a user trains it, and its model in every command that takes one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import citris_cli
from citris_cli.artifacts.models import read_model, read_model_header, write_model
from citris_cli.core.config import CitrisVAEConfig, MLPPriorConfig
from citris_cli.core.gaussians import matched_gaussians
from citris_cli.errors import InputError
from citris_cli.kinds import flat
from tests.end_to_end.conftest import ASSIGNMENT, Citris, succeed
from tests.end_to_end.test_bad_input import check_refusal
from tests.end_to_end.test_import_checkpoint import succeeded

TINY_VAE = [
    "--steps", 20, "--batch-size", 8, "--latents", 4, "--channels", 4, "--hidden", 4, "--flow-layers", 1
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which train-vae was the only training."""
    folder = tmp_path_factory.mktemp("vae")
    (folder / "boxes").symlink_to(home / "boxes")
    assert succeed("train-vae", "boxes", *TINY_VAE, cwd=folder) == "runs/boxes/vae.safetensors"
    return folder


@pytest.fixture(scope="module")
def vae(trained: Path) -> Path:
    """The folder's model, with latents that are known to belong to every variable."""
    path = trained / "runs/boxes/vae.safetensors"
    file = read_model(path)
    file.tensors["assignment.logits"] = torch.eye(3)[ASSIGNMENT]
    write_model(path, file)
    return path


def test_what_a_training_leaves(trained: Path) -> None:
    folder = trained / "runs/boxes"
    assert {path.name for path in folder.iterdir()} >= {
        "vae.safetensors", "vae.metrics.jsonl", "vae.reconstructions.png", "vae.state.safetensors",
    }  # fmt: skip
    header = read_model_header(folder / "vae.safetensors")
    assert header.kind == "citris_vae"
    assert header.variables is not None
    assert [variable["name"] for variable in header.variables] == ["ball_y", "box"]
    config = header.config["citris_vae"]
    assert (config["width"], config["variables"], config["latents"], config["flow_layers"]) == (32, 2, 4, 1)
    assert header.provenance["settings"]["model"] == config
    measures = header.provenance["metrics"]
    assert set(measures) == {"train_kl", "train_reconstruction", "val_mse", "identification"}
    assert np.shape(measures["identification"]["r2"]) == (3, 3)
    lines = [json.loads(line) for line in (folder / "vae.metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 21))
    assert {"kl", "reconstruction", "classifier", "latents", "gradient_norm", "lr", "per_second"} < set(steps[0])
    assert steps[-1]["reconstruction"] < steps[0]["reconstruction"]
    with Image.open(folder / "vae.reconstructions.png") as picture:
        picture.load()
        assert picture.width > 8 * 96


def test_latents_of_training_frames_are_kept(trained: Path) -> None:
    tensors = read_model(trained / "runs/boxes/vae.safetensors").tensors
    with np.load(trained / "boxes/train.npz", allow_pickle=False) as file:
        images, targets = file["images"], file["targets"]
    z = citris_cli.load(trained / "runs/boxes/vae.safetensors").encode(images)
    np.testing.assert_allclose(tensors["reference.z"].numpy(), z[1:], atol=1e-4)
    assert np.array_equal(tensors["reference.targets"].numpy(), targets[:, 1:])  # ball_x is never intervened on


def test_info_tells_its_kind(vae: Path, trained: Path, inside: Citris) -> None:
    found = json.loads(inside("info", vae, "--json", cwd=trained).stdout)
    assert (found["kind"], found["variables"]) == ("citris_vae", ["ball_y", "box"])
    assert found["configuration"]["citris_vae"]["kl_weight"] > 0


def test_it_encodes_as_the_newest_model(vae: Path, trained: Path, inside: Citris) -> None:
    done = inside("encode", "boxes/test_indep.npz", "-o", "z.npz", cwd=trained)
    assert done.stdout == b"z.npz\n", done.stderr
    assert "model: runs/boxes/vae.safetensors (the newest under runs/)" in done.stderr.decode()
    with np.load(trained / "z.npz", allow_pickle=False) as found, np.load(trained / "boxes/test_indep.npz") as data:
        assert found["assignment"].tolist() == ASSIGNMENT
        np.testing.assert_allclose(found["z"], citris_cli.load(vae).encode(data["images"]), atol=1e-4)
        assert found["z_box"].shape == (len(data["images"]), 2)


def test_it_intervenes(vae: Path, trained: Path, inside: Citris) -> None:
    frame = "boxes/test_indep.npz#3"
    for options in (["--from", "boxes/test_indep.npz#5"], ["-n", 2], ["--sweep", 3]):
        done = inside("intervene", frame, "--var", "box", *options, "-m", vae, "-o", "x.npz", cwd=trained)
        assert done.returncode == 0, done.stderr
        with np.load(trained / "x.npz", allow_pickle=False) as found:
            moved = (found["z_after"] != found["z_before"]).any(0)
        assert moved.tolist() == [variable == 1 for variable in ASSIGNMENT]


def test_it_is_evaluated_on_triplets(vae: Path, trained: Path, inside: Citris) -> None:
    done = inside("eval-triplets", "boxes", "-m", vae, "-o", "t.json", "--json", cwd=trained)
    assert done.returncode == 0, done.stderr
    measures = json.loads(done.stdout)["measures"]
    assert {"prediction", "copy_of_image_1"} < set(measures)
    assert all(row["mse"] > 0 for row in measures.values())
    assert (trained / "t.png").exists()


def test_it_is_compared_with_ground_truth(vae: Path, trained: Path, inside: Citris) -> None:
    done = inside("eval-correlation", "boxes", "-m", vae, "-o", "c.json", "--json", cwd=trained)
    assert done.returncode == 0, done.stderr
    assert np.shape(json.loads(done.stdout)["r2"]) == (3, 3)


def test_its_latents_are_animated(vae: Path, trained: Path, inside: Citris) -> None:
    done = inside("animate-latents", "boxes", "-m", vae, "--frames", 2, "-o", "l.gif", cwd=trained)
    assert done.stdout == b"l.gif\n", done.stderr
    with Image.open(trained / "l.gif") as gif:
        assert gif.n_frames == 2


def test_the_best_model_is_kept(trained: Path, tmp_path: Path, inside: Citris) -> None:
    data = trained / "boxes"
    options = ["--val", data, "--steps", 2, "-o", "vae.safetensors", "--json"]
    done = inside("train-vae", data, *TINY_VAE, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    measures = json.loads(done.stdout)["metrics"]
    logged = [json.loads(line) for line in (tmp_path / "vae.metrics.jsonl").read_text().splitlines()]
    scores = {line["step"]: line["val_score"] for line in logged if "val_score" in line}
    assert measures["val_score"] == max(scores.values()) == scores[measures["best_step"]]
    assert measures["identification"]["r2_diag"] == np.round(measures["val_r2_diag"], 6)
    assert read_model_header(tmp_path / "vae.best.safetensors").config["step"] == measures["best_step"]


def test_every_option_is_recorded(trained: Path, tmp_path: Path, inside: Citris) -> None:
    given = {
        "latents": 3, "networks": "pyramid", "channels": 3, "decoder_blocks": 2, "patch": 2, "kl_weight": 2.5,
        "flow_layers": 0, "flow_hidden": 3, "hidden": 5, "prior": "autoregressive", "autoregressive_hidden": 4,
        "classifier_layers": 2, "classifier_momentum": 0.5, "classifier_weight": 1.5, "regulariser": 0.02,
        "temperature": 0.9, "seq_len": 3, "steps": 3, "batch_size": 7, "lr": 0.002, "classifier_lr": 0.003,
        "kl_start": 0.1, "kl_peak": 1.5, "kl_warmup": 2, "kl_hold": 0.5, "noise_start": 2.5, "noise_decay": 0.6,
        "regulariser_warmup": 0.7, "clip": 0.7, "warmup": 2, "seed": 5, "precision": "bf16",
    }  # fmt: skip
    options = [text for name, value in given.items() for text in (f"--{name.replace('_', '-')}", value)]
    flags = ["--independent-targets", "--imperfect-interventions"]
    done = inside("train-vae", trained / "boxes", *options, *flags, "-o", "all.safetensors", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    settings = read_model_header(tmp_path / "all.safetensors").provenance["settings"]
    recorded = {**flat(settings["model"]), **settings["training"]}
    assert {name: recorded[name] for name in given} == given
    assert (recorded["conditional_targets"], recorded["imperfect_interventions"]) == (False, True)
    assert citris_cli.load(tmp_path / "all.safetensors").latents == 3


def test_interventions_on_some_variables_are_imperfect_by_name(trained: Path, tmp_path: Path, inside: Citris) -> None:
    data, few = trained / "boxes", ["--steps", 2, "--batch-size", 8, "--latents", 3, "--channels", 3]
    for prior in ("mlp", "autoregressive"):
        model = f"{prior}.safetensors"
        options = ["--prior", prior, "--imperfect-variables", "Box"]
        done = inside("train-vae", data, *few, *options, "-o", model, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found = json.loads(inside("info", model, "--json", cwd=tmp_path).stdout)
        assert (found["variables"], found["imperfect_variables"]) == (["ball_y", "box"], ["box"])
        assert citris_cli.load(tmp_path / model).latents == 3
    check_refusal(inside("export", "mlp.safetensors", cwd=tmp_path), "--imperfect-variables., which has no published")
    longer = ["-o", "mlp.safetensors", "--resume", "--steps", 3]
    done = inside("train-vae", data, "--imperfect-variables", "ball_y", *longer, cwd=tmp_path)
    check_refusal(done, "--imperfect-variables: the finished training run in .* has box; leave the option out")
    assert inside("train-vae", data, "--imperfect-variables", "box", *longer, cwd=tmp_path).returncode == 0

    done = inside("train-vae", data, *few, "--imperfect-variables", "box,ball_y", "-o", "all.safetensors", cwd=tmp_path)
    assert b"--imperfect-variables names all variables, which is --imperfect-interventions" in done.stderr
    prior = read_model_header(tmp_path / "all.safetensors").config["citris_vae"]["prior"]
    assert (prior["imperfect_interventions"], prior["imperfect_variables"]) == (True, [])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["boxx"], r"--imperfect-variables: there is no variable 'boxx' \(did you mean 'box'\?\)"),
        (["box,"], "--imperfect-variables: .* holds an empty name; the variables are ball_y, box"),
        (
            ["box", "--imperfect-interventions"],
            "names some variables and --imperfect-interventions means all; give one",
        ),
        (["box", "--prior", "slow"], "--imperfect-variables: a training run with the prior slow has no such setting"),
    ],
)
def test_names_of_imperfect_variables_that_cannot_be_are_refused(
    options: list[str], says: str, trained: Path, tmp_path: Path, inside: Citris
) -> None:
    check_refusal(inside("train-vae", trained / "boxes", "--imperfect-variables", *options, cwd=tmp_path), says)


def test_mixtures_under_interventions_are_used_and_kept(trained: Path, tmp_path: Path, inside: Citris) -> None:
    data, mixed = trained / "boxes", ["--interventional-components", 2]
    few = ["--latents", 3, "--channels", 3, "--steps", 2, "--batch-size", 8, "-o", "m.safetensors"]
    succeeded(inside("train-vae", data, *mixed, *few, cwd=tmp_path))
    prior = read_model_header(tmp_path / "m.safetensors").config["citris_vae"]["prior"]
    assert prior["interventional_components"] == 2
    file = read_model(tmp_path / "m.safetensors")
    file.tensors["assignment.logits"] = torch.eye(3)  # so that box has a latent
    write_model(tmp_path / "m.safetensors", file)
    model = citris_cli.load(tmp_path / "m.safetensors")
    assert model.network.prior.intervened.shape == (3, 2, 2, 3)
    sampled = inside("rollout", f"{data}/test_indep.npz#0", "--steps", 2, "--do", "1:box", "-m", "m.safetensors",
                     "-o", "f.npz", cwd=tmp_path)  # fmt: skip
    assert succeeded(sampled) == "f.npz"
    done = inside("export", "m.safetensors", cwd=tmp_path)
    assert "each mixture of 2 Gaussians became the one Gaussian of its mean and variance" in done.stderr.decode()
    imported = read_model(tmp_path / succeeded(inside("import-checkpoint", succeeded(done), cwd=tmp_path)))
    assert imported.config["citris_vae"]["prior"]["interventional_components"] == 1
    matched = matched_gaussians(model.network.prior.intervened.detach())
    torch.testing.assert_close(imported.tensors["prior.intervened"], matched)

    check_refusal(
        inside("train-vae", data, *mixed, "--imperfect-interventions", cwd=tmp_path),
        "--interventional-components is for perfect interventions, and with --imperfect-interventions there are none",
    )
    whole = MLPPriorConfig(imperfect_interventions=True, interventional_components=2)
    network = CitrisVAEConfig(latents=4, variables=2, hidden=4, channels=4, flow_layers=1, prior=whole)
    with pytest.raises(InputError, match="--interventional-components is for perfect interventions"):
        citris_cli.train_vae(data, model=network, check=False, output=tmp_path / "w.safetensors")
    done = inside("train-vae", data, *mixed, "--prior", "autoregressive", cwd=tmp_path)
    check_refusal(done, "--interventional-components: .* prior autoregressive has no such setting")


def test_sizes_that_make_no_model_are_refused(trained: Path, tmp_path: Path, inside: Citris) -> None:
    data = trained / "boxes"
    done = inside("train-vae", data, "--networks", "small", "--patch", 2, "-o", "m.safetensors", cwd=tmp_path)
    check_refusal(done, "these sizes do not make a VAE .* with patch 2.; choose other --networks or another --patch")
    done = inside("train-vae", data, "--seq-len", 301, "-o", "m.safetensors", cwd=tmp_path)
    check_refusal(done, "--seq-len 301: no file of boxes has so many frames in a row; give 300 at most")
    assert done.stderr.count(b"\n") == 1  # before anything else is said
    check_refusal(inside("train-vae", data, "--seq-len", 1, cwd=tmp_path), "--seq-len")
    check_refusal(inside("train-vae", data, "--networks", "large", cwd=tmp_path), "--networks.*'pyramid', 'small'")
    assert not list(tmp_path.iterdir())


def test_a_prior_that_there_is_not_is_refused_with_those_that_there_are(
    trained: Path, tmp_path: Path, inside: Citris
) -> None:
    done = inside("train-vae", trained / "boxes", "--prior", "laplace", cwd=tmp_path)
    check_refusal(
        done, "--prior laplace: there is no prior 'laplace'; it can be autoregressive, icitris, ivae, mlp, slow"
    )
    done = inside("train-nf", trained / "boxes", "--prior", "ivae", cwd=tmp_path)
    check_refusal(
        done,
        "--prior ivae: the prior 'ivae' is for citris_vae, not for citris_nf; it can be autoregressive, icitris, mlp$",
    )


def test_a_setting_of_another_prior_is_refused(trained: Path, tmp_path: Path, inside: Citris) -> None:
    options = ["--autoregressive-hidden", 3, "-o", "m.safetensors"]
    done = inside("train-vae", trained / "boxes", *options, cwd=tmp_path)
    check_refusal(done, "--autoregressive-hidden: a training run with the prior mlp has no such setting")
    assert not list(tmp_path.iterdir())
