"""What comes with the package: models by name, sample frames, and how the shell completes them and their variables."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import citris_cli
from citris_cli.artifacts.models import read_model, read_model_header
from citris_cli.artifacts.packaged import HOME, MODEL, packaged_names, samples_of
from citris_cli.errors import InputError
from citris_cli.loading import load_model
from tests.end_to_end.conftest import Citris, complete, succeed
from tests.end_to_end.test_bad_input import check_refusal

ROOT = Path(__file__).parents[2]
BOXES = HOME / "ball-in-boxes" / MODEL
DRAW = ["intervene", "@ball-in-boxes/3", "--var", "box", "-n", "2"]


def test_every_model_has_three_samples_of_its_own_size_and_the_package_is_small() -> None:
    assert packaged_names() == ["ball-in-boxes", "causal3d"]
    for name in packaged_names():
        model = citris_cli.load(name)
        assert list(samples_of(name)) == [f"@{name}/{number}" for number in (1, 2, 3)]
        for path in samples_of(name).values():
            with Image.open(path) as picture:
                assert (picture.size, picture.mode) == ((model.width, model.width), "RGB")
    assert sum(path.stat().st_size for path in HOME.rglob("*")) < 19e6


@pytest.mark.parametrize("name", packaged_names())
def test_half_of_the_weights_precision_is_left_out_where_no_latent_depends_on_it(name: str) -> None:
    """Of the decoder alone, as examples/models/README.md says; they are float32 again once the model is loaded."""
    header = read_model_header(HOME / name / MODEL)
    halved = {tensor for tensor, (dtype, _) in header.tensors.items() if dtype == "F16"}
    assert halved
    assert {".".join(tensor.split(".")[:2]) for tensor in halved} == {"autoencoder.decoder"}
    told = header.provenance["half_precision"]
    assert told["parts"] == ["autoencoder.decoder"]
    assert told["latents"] <= 1e-3
    weights = load_model(HOME / name / MODEL).network.state_dict()
    assert {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float32}


def test_samples_are_read_from_python() -> None:
    frames = citris_cli.samples("causal3d")
    assert (frames.shape, frames.dtype) == ((3, 64, 64, 3), np.uint8)
    with pytest.raises(InputError, match=r"^x: no model of this name comes with citris; there are ball-in-boxes"):
        citris_cli.samples("x")


def test_frames_that_cannot_be_written_are_encoded_without_a_warning() -> None:
    """As those of a picture that was opened."""
    frames = citris_cli.samples("ball-in-boxes")
    frames.flags.writeable = False
    model = citris_cli.load("ball-in-boxes")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(model.encode(frames)).all()


def test_a_sample_is_named_as_one_where_several_were_given(inside: Citris, tmp_path: Path) -> None:
    for command in (
        ["intervene", "@ball-in-boxes/1", "--var", "box", "--from", "@ball-in-boxes"],
        ["rollout", "@ball-in-boxes", "--steps", "2"],
        ["rollout", "@ball-in-boxes/1", "--steps", "2", "--do", "1:box=@ball-in-boxes"],
    ):
        check_refusal(inside(*command, cwd=tmp_path), r"such as @ball-in-boxes/1(,|$)")


def test_pictures_unlike_the_training_frames_are_said_to_be(inside: Citris, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), (240, 130, 20)).save(tmp_path / "sun.png")
    draw = ["--var", "box", "-n", "1", "-o", "i.png"]
    for arguments, said in (
        (
            ["intervene", "sun.png", "-m", "ball-in-boxes", *draw],
            "sun.png: unlike the frames that the model was trained",
        ),
        (
            ["intervene", "@ball-in-boxes/1", "--from", "sun.png", "--var", "box", "-o", "i.png"],
            "--from sun.png: unlike",
        ),
        (
            ["encode", "sun.png", "@ball-in-boxes/1", "-m", "ball-in-boxes", "-o", "z.npz"],
            "1 of 2 frames (such as sun.png",
        ),
        (["rollout", "sun.png", "-m", "ball-in-boxes", "--steps", "1", "-o", "r.png"], "sun.png: unlike the frames"),
    ):
        done = inside(*arguments, cwd=tmp_path)
        assert done.returncode == 0
        assert said in done.stderr.decode(), arguments
    for arguments in (["intervene", "@ball-in-boxes/2", *draw], ["encode", "@ball-in-boxes", "-o", "z.npz"]):
        assert "unlike" not in inside(*arguments, cwd=tmp_path).stderr.decode()


def test_models_tells_what_they_find(tmp_path: Path) -> None:
    text = succeed("models", cwd=tmp_path)
    for said in ("ball-in-boxes:", "causal3d:", "ball_y 1.00, box 1.00", "64×64", "@causal3d/1, @causal3d/2"):
        assert said in text
    measured = read_model_header(BOXES).provenance["metrics"]["identification"]
    found = json.loads(succeed("models", "--json", cwd=tmp_path))["models"][0]
    assert (found["r2_diag"], found["r2_own"]["box"]) == (measured["r2_diag"], 1.0)


def test_a_sample_needs_neither_model_nor_data(inside: Citris, tmp_path: Path) -> None:
    done = inside(*DRAW, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "(ball-in-boxes, to which the sample frame belongs)" in done.stderr.decode()
    path = tmp_path / done.stdout.decode().strip()
    assert path == tmp_path / "runs/ball-in-boxes-3/ball-in-boxes-3-box.png"
    with Image.open(path) as strip:
        assert strip.width > 3 * strip.height  # the original, its reconstruction and two draws
    # The frame of another model's sample is no frame of this one's size, and is made one with a note.
    done = inside("encode", "@causal3d/1", "-m", "ball-in-boxes", "-o", "z.npz", cwd=tmp_path)
    assert "@causal3d/1: resized from 64×64 to 32×32" in done.stderr.decode()


def test_samples_are_pictures_like_others(inside: Citris, tmp_path: Path) -> None:
    shutil.copy(samples_of("ball-in-boxes")["@ball-in-boxes/2"], tmp_path / "own.png")
    succeed("encode", "@ball-in-boxes", "own.png", "-m", "ball-in-boxes", "-o", "z.npz", cwd=tmp_path)
    with np.load(tmp_path / "z.npz", allow_pickle=False) as file:
        assert list(file["sources"]) == [*samples_of("ball-in-boxes"), "own.png"]
        np.testing.assert_allclose(file["z"][1], file["z"][3], atol=0.01)
        assert not np.array_equal(file["z"][1], file["z"][0])
    succeed(*DRAW[:-2], "--from", "@ball-in-boxes/2", "-o", "x.npz", cwd=tmp_path)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as file:
        assert len(file["images"]) == 1
    assert json.loads(succeed("info", "@ball-in-boxes/1", "--json", cwd=tmp_path))["kind"] == "picture"
    succeed("animate-latents", "@ball-in-boxes", "-o", "x.gif", cwd=tmp_path)
    # A file of that very name is the user's own.
    (tmp_path / "@ball-in-boxes").mkdir()
    shutil.copy(tmp_path / "own.png", tmp_path / "@ball-in-boxes/3")
    succeed("encode", "@ball-in-boxes/3", "-m", "ball-in-boxes", "-o", "own.npz", cwd=tmp_path)
    with np.load(tmp_path / "own.npz", allow_pickle=False) as own, np.load(tmp_path / "z.npz") as file:
        np.testing.assert_allclose(own["z"][0], file["z"][1], atol=0.01)  # alone, not in a batch
        assert abs(own["z"][0] - file["z"][2]).max() > 0.1


def test_the_order_of_models(inside: Citris, home: Path, model: Path, tmp_path: Path) -> None:
    """--model, then $CITRIS_MODEL, then the sample's own, then the newest under runs/."""

    def used(*arguments: object, **variables: str) -> str:
        return json.loads(succeed(*arguments, "--json", "-o", tmp_path / "x.png", cwd=home, **variables))["model"]

    shutil.copy(samples_of("ball-in-boxes")["@ball-in-boxes/1"], tmp_path / "photo.png")
    assert used(*DRAW, "-m", model, CITRIS_MODEL="@causal3d") == str(model)
    assert used(*DRAW, CITRIS_MODEL=str(model)) == str(model)
    assert used(*DRAW) == str(BOXES)
    assert used("intervene", tmp_path / "photo.png", "--var", "box", "--from", "@ball-in-boxes/2") == str(BOXES)
    assert used("intervene", tmp_path / "photo.png", "--var", "box", CITRIS_MODEL="ball-in-boxes") == str(BOXES)
    done = inside("encode", tmp_path / "photo.png", "-o", tmp_path / "z.npz", cwd=home)
    assert b"model: runs/boxes/nf.safetensors (the newest under runs/)" in done.stderr


def test_what_is_called_like_a_packaged_model_here_comes_first_and_that_is_said(
    inside: Citris, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "ball-in-boxes"
    folder.mkdir()
    theirs = "the model of that name that comes with citris is @ball-in-boxes"
    check_refusal(inside(*DRAW, "-m", "ball-in-boxes", cwd=tmp_path), f"holds no model .*; {theirs}$")
    shutil.copy(model, folder / "nf.safetensors")
    done = inside(*DRAW, "-m", "ball-in-boxes", cwd=tmp_path)
    note = f"model: ball-in-boxes/nf.safetensors (the only one in ball-in-boxes; {theirs})"
    assert note in done.stderr.decode().splitlines()
    assert note not in inside(*DRAW, "-m", "@ball-in-boxes", cwd=tmp_path).stderr.decode()
    assert theirs in inside(*DRAW, cwd=tmp_path, CITRIS_MODEL="ball-in-boxes").stderr.decode()


def test_names_that_stand_for_nothing_are_refused(inside: Citris, tmp_path: Path) -> None:
    for arguments, says in (
        (["encode", "@ball-in-boxes/4"], r"@ball-in-boxes/4: no such file and no sample frame; there are @ball-in-box"),
        (["encode", "@bal-in-boxes/1"], r"\(there are ball-in-boxes, causal3d\); did you mean @ball-in-boxes\?"),
        (["encode", "@causal3d/1", "-m", "@x"], "@x: no such file, and no model of this name comes with citris"),
        (["encode", "@causal3d/1", "-m", "@causal3d/2"], "is a sample frame, not a model; its model is causal3d"),
        (["encode", "photo.png"], "photo.png: there is no such file"),
    ):
        check_refusal(inside(*arguments, cwd=tmp_path), says)
    Image.new("RGB", (32, 32)).save(tmp_path / "photo.png")
    check_refusal(inside("encode", "photo.png", cwd=tmp_path), r"\(--model ball-in-boxes or causal3d\)$")


def test_a_packaged_model_is_known_where_a_model_is_described_or_exported(inside: Citris, tmp_path: Path) -> None:
    told = json.loads(succeed("info", "ball-in-boxes", "--json", cwd=tmp_path))
    assert (told["file"], told["digest"]) == (str(BOXES), "agrees")
    written = succeed("export", "ball-in-boxes", cwd=tmp_path)
    assert written == "runs/ball-in-boxes/ball-in-boxes.published.safetensors"  # not among what is installed


def test_a_trained_model_is_packaged_with_one_command(model: Path, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    script = [sys.executable, ROOT / "examples/models/package.py", "mine", model, "red.png", "@ball-in-boxes/1"]
    done = subprocess.run([*script, "--into", "made"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = tmp_path / "made/mine"
    assert sorted(path.name for path in made.iterdir()) == ["1.png", "2.png", MODEL]
    before, after = read_model(model, hashed=True), read_model(made / MODEL)
    assert after.provenance["packaged_from"] == before.sha256
    halved = {name for name, value in after.tensors.items() if value.dtype == torch.float16}
    assert any(name.startswith("autoencoder.decoder") for name in halved)
    with Image.open(made / "1.png") as red:
        frame = np.asarray(red)[None]
    one, other = citris_cli.load(model), citris_cli.load(made / MODEL)
    spread = before.tensors["reference.z"].std(0).numpy()
    assert (abs(one.encode(frame) - other.encode(frame)) <= 1e-3 * spread).all()


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("intervene x.png --model ca", ["causal3d"]),
        ("intervene x.png --model @b", ["@ball-in-boxes"]),
        ("intervene x.png --model causal3d --var pos_x,h", ["pos_x,hue_o", "pos_x,hue_s", "pos_x,hue_b"]),
        ("intervene @causal3d/3 --var rot_", ["rot_alpha", "rot_beta", "rot_s", "rot_o"]),
        ("intervene @causal3d/3 --from @causal3d/1 -m ball-in-boxes --var ", ["ball_y", "box"]),
        ("encode @ca", ["@causal3d/1", "@causal3d/2", "@causal3d/3"]),
        ("encode @ ca", ["causal3d/1", "causal3d/2", "causal3d/3"]),  # Bash takes words apart at an @
        ("intervene @ causal3d/3 --var rot_a", ["rot_alpha"]),
        ("encode x", []),
        ("intervene x.png --var b", []),
    ],
)
def test_the_shell_completes_names_of_models_samples_and_variables(
    tmp_path: Path, words: str, completed: list[str]
) -> None:
    assert complete(words, tmp_path) == completed


def test_variables_of_a_trained_model_are_completed(home: Path) -> None:
    assert complete("intervene x --var ", home) == ["ball_y", "box"]  # of the newest
    assert complete("intervene x --model runs/boxes/nf.safetensors --var b", home) == ["ball_y", "box"]
    assert complete("encode x --model runs/b", home) == ["runs/boxes/nf.safetensors"]
