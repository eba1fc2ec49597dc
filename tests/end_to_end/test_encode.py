"""Encoding as a user does it: pictures, folders, datasets and pipes in; arrays that numpy reads without pickles out."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shlex
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import citris_cli
from citris_cli.artifacts.models import read_model, write_model
from citris_cli.commands.inputs import in_batches
from citris_cli.data.frames import Frames, as_model_input
from citris_cli.loading import load_model
from tests.end_to_end.conftest import ASSIGNMENT, Citris
from tests.end_to_end.test_bad_input import check_refusal


@pytest.fixture
def frames(home: Path, tmp_path: Path) -> np.ndarray:
    """Six frames of the world: one a picture with alpha, one of odd size, two in a folder, two in a file."""
    with np.load(home / "boxes/test_indep.npz", allow_pickle=False) as data:
        images = data["images"][:6]
    alpha = np.full((32, 32, 1), 77, np.uint8)
    Image.fromarray(np.concatenate([images[0], alpha], axis=2)).save(tmp_path / "alpha.png")
    Image.fromarray(images[1].repeat(2, 0).repeat(2, 1)).save(tmp_path / "large.png")
    (tmp_path / "pictures").mkdir()
    Image.fromarray(images[2]).save(tmp_path / "pictures/frame2.png")
    Image.fromarray(images[3]).save(tmp_path / "pictures/frame10.png")
    (tmp_path / "pictures/notes.txt").write_text("no picture")
    np.savez(tmp_path / "two.npz", images=images[4:])
    return images


def latents(model: Path, images: np.ndarray) -> np.ndarray:
    """What the model says of frames uint8 [N, 32, 32, 3]."""
    with torch.no_grad():
        return load_model(model).network.encode(as_model_input(torch.from_numpy(images))).numpy()


def check_arrays(content: Path | io.BytesIO, model: Path, images: np.ndarray) -> list[str]:
    """A file of latents against the model; the sources that it names."""
    with np.load(content, allow_pickle=False) as read:
        arrays = dict(read)
    assert set(arrays) == {"z", "assignment", "variables", "sources", "z_ball_y", "z_box", "z_psi(0)"}
    assert arrays["z"].dtype == np.float32
    np.testing.assert_allclose(arrays["z"], latents(model, images), atol=1e-4)
    assert arrays["assignment"].tolist() == ASSIGNMENT
    assert arrays["variables"].tolist() == ["ball_y", "box"]
    np.testing.assert_array_equal(arrays["z_ball_y"], arrays["z"][:, [1]])
    np.testing.assert_array_equal(arrays["z_box"], arrays["z"][:, [0, 3]])
    np.testing.assert_array_equal(arrays["z_psi(0)"], arrays["z"][:, [2]])
    return arrays["sources"].tolist()


@pytest.mark.parametrize("names", [("psi0", "z"), ("after", "before"), ("assignment", "variables"), ("z_psi(0)", "é")])
def test_whatever_a_variable_is_called_its_block_is_there(
    tmp_path: Path, frames: np.ndarray, model: Path, inside: Citris, names: tuple[str, str]
) -> None:
    file = read_model(model)
    assert file.variables is not None
    file.variables[:] = [{**item, "name": name} for item, name in zip(file.variables, names, strict=True)]
    write_model(tmp_path / "named.safetensors", file)
    done = inside("encode", "two.npz", "-m", "named.safetensors", "-o", "z.npz", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["latents_per_variable"] == {names[0]: 1, names[1]: 2, "psi(0)": 1}
    with np.load(tmp_path / "z.npz", allow_pickle=False) as found:
        assert len(found.files) == 4 + 3
        for name, columns in zip((*names, "psi(0)"), ([1], [0, 3], [2]), strict=True):
            np.testing.assert_array_equal(found[f"z_{name}"], found["z"][:, columns])
    for spelled in (names[1], unicodedata.normalize("NFD", names[1])):
        done = inside("intervene", "two.npz#0", "--var", spelled, "-m", "named.safetensors", "--json", cwd=tmp_path)
        assert set(json.loads(done.stdout)["moved"]) == {*names, "psi(0)"}
        assert json.loads(done.stdout)["intervened"] == [names[1]]


def test_a_mixture_of_inputs_in_the_order_given(
    tmp_path: Path, frames: np.ndarray, model: Path, inside: Citris
) -> None:
    stdin = (tmp_path / "pictures/frame2.png").read_bytes()
    inputs = ["two.npz", "-", "pictures", "alpha.png", "pictures/frame10.png"]
    done = inside("encode", *inputs, "-m", model, "-o", "new/z.npz", "--batch-size", 1, cwd=tmp_path, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b"new/z.npz\n"
    assert done.stderr.decode().startswith("7 frames, 4 latents, ")
    assert len(done.stderr.decode().splitlines()) == 1
    sources = check_arrays(tmp_path / "new/z.npz", model, frames[[4, 5, 2, 2, 3, 0, 3]])
    assert sources == [
        "two.npz", "two.npz", "-", "pictures/frame2.png", "pictures/frame10.png", "alpha.png", "pictures/frame10.png"
    ]  # fmt: skip


def test_pictures_go_through_the_network_many_at_a_time() -> None:
    one, two = (np.full((n, 32, 32, 3), n, np.uint8) for n in (1, 2))
    gathered = [("a", Frames([one])), ("b", Frames([one])), ("c", Frames([one])), ("d", Frames([two]))]
    batches = [(names, len(frames)) for names, frames in in_batches([*gathered, *gathered[:1]], 2)]
    assert batches == [(["a", "b"], 2), (["c"], 1), (["d", "d"], 2), (["a"], 1)]


def test_pictures_of_another_size_are_brought_to_the_models_with_a_note(
    tmp_path: Path, frames: np.ndarray, model: Path, inside: Citris
) -> None:
    wide = np.concatenate([frames[1], frames[1]], axis=1)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    done = inside("encode", "large.png", "wide.png", "--model", model, "-o", "z.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    notes = done.stderr.decode().splitlines()
    assert notes[0] == "large.png: resized from 64×64 to 32×32 pixels"
    assert notes[1] == "wide.png: cropped from 64×32 to its middle 32×32 pixels"
    shrunk = np.asarray(Image.open(tmp_path / "large.png").resize((32, 32), Image.Resampling.LANCZOS))
    check_arrays(tmp_path / "z.npz", model, np.stack([shrunk, wide[:, 16:48]]))


def test_many_pictures_of_one_kind_get_one_note_and_refusals_come_before_notes(
    tmp_path: Path, frames: np.ndarray, model: Path, inside: Citris
) -> None:
    (tmp_path / "wide").mkdir()
    for number in range(20):
        Image.new("RGB", (48, 40), (number, 0, 0)).save(tmp_path / f"wide/{number}.png")
    done = inside("encode", "wide", "alpha.png", "-m", model, "-o", "z.npz", cwd=tmp_path)
    notes = done.stderr.decode().splitlines()
    assert notes[0] == "20 pictures cropped from 48×40 to their middle 40×40 and resized to 32×32 pixels"
    assert notes[1].startswith("20 of 21 frames (such as wide/0.png): unlike the frames that the model was trained on")
    assert notes[2].startswith("21 frames, 4 latents, ")
    wide = (tmp_path / "wide/0.png").read_bytes()
    done = inside("encode", "-", "-m", model, "-o", "z.npz", cwd=tmp_path, stdin=wide)
    assert done.stderr.decode().startswith("standard input: cropped from 48×40 to its middle 40×40 and resized to 32×")
    # Pictures of many sizes: the most frequent ones by themselves, the others together.
    for number in range(6):
        Image.new("RGB", (50 + number, 40)).save(tmp_path / f"wide/other{number}.png")
    notes = inside("encode", "wide", "-m", model, "-o", "z.npz", cwd=tmp_path).stderr.decode().splitlines()
    assert notes[:-2] == [
        "20 pictures cropped from 48×40 to their middle 40×40 and resized to 32×32 pixels",
        "wide/other0.png: cropped from 50×40 to its middle 40×40 and resized to 32×32 pixels",
        "wide/other1.png: cropped from 51×40 to its middle 40×40 and resized to 32×32 pixels",
        "4 pictures of 4 other sizes cropped to their middle squares where they are not square, and resized to 32×32 "
        "pixels",
    ]
    np.savez(tmp_path / "large.npz", images=np.zeros((2, 64, 64, 3), np.uint8))
    (tmp_path / "empty.png").touch()
    for last, says in (
        ("gone.png", "gone.png: there is no such file; check the path"),
        ("empty.png", "empty.png: the file is empty; give a PNG or JPEG file"),
        ("large.npz", "large.npz: frames are 64×64 and the model was trained for 32×32; use a model trained on such"),
        ("two.npz#2", "two.npz#2: the dataset has 2 frames, counted from 0; choose one of these"),
        ("none*.png", "none*.png: no file matches this pattern; check the path"),
    ):
        # Not even standard input is waited for.
        done = inside("encode", "-", "wide", last, "-m", model, "-o", "y.npz", cwd=tmp_path, stdin=b"not looked at")
        assert done.returncode == 2
        assert done.stderr.decode().startswith(f"citris: {says}")
        assert done.stderr.count(b"\n") == 1
    assert not (tmp_path / "y.npz").exists()
    # Not even which model is used is said before.
    for given in ("gone.png", "none*.png", "two.npz#one"):
        done = inside("encode", "alpha.png", given, cwd=tmp_path, CITRIS_MODEL=str(model))
        assert done.stderr.decode().startswith(f"citris: {given}: ")


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "tif"])
def test_every_frame_of_an_animation_is_encoded(
    home: Path, tmp_path: Path, model: Path, inside: Citris, kind: str
) -> None:
    with np.load(home / "boxes/train.npz", allow_pickle=False) as data:
        images = data["images"][:7]
    first, *others = (Image.fromarray(image) for image in images)
    first.save(tmp_path / f"film.{kind}", save_all=True, append_images=others, lossless=True)
    done = inside("encode", f"film.{kind}", "-m", model, "-o", "z.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    names = [f"film.{kind}#{number}" for number in range(7)]
    assert check_arrays(tmp_path / "z.npz", model, images) == names
    stdin = (tmp_path / f"film.{kind}").read_bytes()
    done = inside("encode", "-", f"film.{kind}#-2", f"film.{kind}#1:6:2", "-m", model, cwd=tmp_path, stdin=stdin)
    assert done.stdout == b"runs/stdin/latents.npz\n"
    sources = check_arrays(tmp_path / "runs/stdin/latents.npz", model, images[[*range(7), 5, 1, 3, 5]])
    assert sources == [*(f"-#{number}" for number in range(7)), *(names[number] for number in (5, 1, 3, 5))]


def test_frames_are_chosen_of_folders_patterns_and_datasets(
    tmp_path: Path, frames: np.ndarray, model: Path, inside: Citris
) -> None:
    hidden = ("._frame2.png", ".DS_Store", "._two.npz")
    for name in hidden:
        (tmp_path / "pictures" / name).write_bytes(b"\0\5\x16\7")
    (tmp_path / "odd#1").write_bytes((tmp_path / "alpha.png").read_bytes())
    inputs = ["pictures#1", "pictures/*.png", "pictures/*#-1", "two.npz#::-1", "odd#1", "tw?.npz"]
    done = inside("encode", *inputs, "-m", model, "-o", "z.npz", cwd=tmp_path)
    assert done.returncode != 0  # notes.txt matches as well, as it would in a shell
    inputs[2] = "pictures/f*#-1"
    done = inside("encode", *inputs, "-m", model, "-o", "z.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    sources = check_arrays(tmp_path / "z.npz", model, frames[[3, 2, 3, 3, 5, 4, 0, 4, 5]])
    assert sources == [
        "pictures/frame10.png", "pictures/frame2.png", "pictures/frame10.png", "pictures/frame10.png",
        "two.npz#1", "two.npz#0", "odd#1", "two.npz", "two.npz",
    ]  # fmt: skip
    done = inside("encode", "two.npz#1:9", "-m", model, cwd=tmp_path)
    assert done.stdout == b"runs/two/latents-1_9.npz\n"
    assert done.stderr.decode().startswith("two.npz#1:9: the dataset has 2 frames, counted from 0; 1 frame chosen\n")
    done = inside("encode", "two.npz#one", "-m", model, cwd=tmp_path)
    check_refusal(done, "two.npz#one: '#one' chooses no frames; write a number or a slice, such as #3, #1:5 or #::2")


def test_a_default_place_is_used_again_for_the_same_pictures_alone(
    tmp_path: Path, frames: np.ndarray, model: Path, inside: Citris
) -> None:
    first, *others = map(Image.fromarray, frames)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        first.save(tmp_path / folder / "film.gif", save_all=True, append_images=others)
    for given in ("a/film.gif", "a/film.gif#1:3", "pictures/f*.png"):
        places = [inside("encode", given, "-m", model, cwd=tmp_path).stdout.decode() for _ in range(2)]
        assert places[0] == places[1]
        assert "-" not in Path(places[0]).stem or "1_3" in places[0]
    done = inside("encode", "b/film.gif", "-m", model, cwd=tmp_path)
    assert done.stdout.decode().startswith("runs/film/latents-")


def test_what_a_folder_has_besides_is_named(home: Path, tmp_path: Path, model: Path, inside: Citris) -> None:
    done = inside("encode", home / "boxes", "-m", model, "-o", "z.npz", cwd=tmp_path)
    assert done.stderr.decode().splitlines()[0] == (
        f"{home}/boxes: train.npz taken, not test.npz, test_indep.npz, test_triplets.npz, val.npz, "
        "val_indep.npz, val_triplets.npz"
    )
    (tmp_path / "d").mkdir()
    (tmp_path / "d/data.npz").write_bytes((home / "boxes/val_indep.npz").read_bytes())
    done = inside("encode", "d", "-m", model, "-o", "z.npz", cwd=tmp_path)
    assert done.stderr.decode().startswith("200 frames")
    Image.new("RGB", (32, 32)).save(tmp_path / "d/extra.png")
    done = inside("encode", "d", "-m", model, "-o", "z.npz", cwd=tmp_path)
    assert done.stderr.decode().startswith("d: data.npz taken, not 1 picture\n")


def test_files_that_one_may_take_for_pictures_are_said_to_be_left_out(
    tmp_path: Path, frames: np.ndarray, model: Path, inside: Citris
) -> None:
    for name in ("a.heic", "b.HEIC", "._c.heic"):
        (tmp_path / "pictures" / name).touch()
    done = inside("encode", "pictures", "-m", model, cwd=tmp_path)
    assert done.stderr.decode().startswith("pictures: 2 files such as a.heic left out; give PNG or JPEG\n2 frames, ")
    (tmp_path / "runs/kept").mkdir()
    check_refusal(
        inside("encode", "runs", "-m", model, cwd=tmp_path),
        r"runs: there is no picture in this folder; .* name folders in it, or the pattern 'runs/\*'$",
    )


def test_a_dataset_by_its_directory_and_json(home: Path, model: Path, inside: Citris) -> None:
    done = inside("encode", "boxes", "--model", model, "--json", "-o", "directory.npz", cwd=home)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.count(b"\n") == 1
    assert json.loads(done.stdout) == {
        "files": ["directory.npz"],
        "frames": 300,
        "latents": 4,
        "latents_per_variable": {"ball_y": 1, "box": 2, "psi(0)": 1},
        "model": str(model),
    }
    with np.load(home / "boxes/train.npz", allow_pickle=False) as train:
        sources = check_arrays(home / "directory.npz", model, train["images"])
    assert set(sources) == {"boxes"}


def test_without_an_output_it_lies_under_runs(tmp_path: Path, frames: np.ndarray, model: Path, inside: Citris) -> None:
    for dataset in ("A", "B"):
        (tmp_path / dataset).mkdir()
        for stem in ("val_indep", "test_indep", "train-0", "train-1"):
            np.savez(tmp_path / dataset / f"{stem}.npz", images=frames[:2])
    for given, path in (
        ("two.npz", "runs/two/latents.npz"),
        ("two.npz#1", "runs/two/latents-1.npz"),
        ("pictures", "runs/pictures/latents.npz"),
        ("large.png", "runs/large/latents.npz"),
        ("A/test_indep.npz", "runs/A/latents-test_indep.npz"),
        ("A/test_indep.npz#1", "runs/A/latents-test_indep-1.npz"),
        ("A/val_indep.npz", "runs/A/latents-val_indep.npz"),
        ("B/test_indep.npz", "runs/B/latents-test_indep.npz"),
        ("B", "runs/B/latents.npz"),
        ("B/train-*.npz", "runs/B/latents-train.npz"),
        ("B/train-0.npz B/train-1.npz", "runs/B/latents.npz"),
    ):
        done = inside("encode", *given.split(), "-m", model, cwd=tmp_path)
        assert done.stdout.decode() == f"{path}\n"
        assert (tmp_path / path).is_file()
    done = inside("encode", "-", "-m", model, cwd=tmp_path, stdin=(tmp_path / "alpha.png").read_bytes())
    assert done.stdout == b"runs/stdin/latents.npz\n"
    check_arrays(tmp_path / "runs/stdin/latents.npz", model, frames[:1])


def test_which_model_is_used_is_said(tmp_path: Path, frames: np.ndarray, model: Path, inside: Citris) -> None:
    check_refusal(inside("encode", "two.npz", cwd=tmp_path), r"no model given .* 'citris train-nf DATA'")
    contents = read_model(model)
    for age, name in ((20, "old"), (10, "new"), (0, "ae only")):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        if name == "ae only":  # the newest file of all, and not a model with causal latents
            write_model(folder / "nf.safetensors", dataclasses.replace(contents, kind="autoencoder"))
            continue
        write_model(folder / "nf.safetensors", contents)
        moment = (folder / "nf.safetensors").stat().st_mtime - age
        os.utime(folder / "nf.safetensors", (moment, moment))
    done = inside("encode", "two.npz", "-o", "z.npz", cwd=tmp_path)
    assert "model: runs/new/nf.safetensors (the newest under runs/)" in done.stderr.decode()
    done = inside("encode", "two.npz", "-o", "z.npz", cwd=tmp_path, CITRIS_MODEL="runs/old/nf.safetensors")
    assert "model: runs/old/nf.safetensors (from $CITRIS_MODEL)" in done.stderr.decode()
    done = inside("encode", "two.npz", "-o", "z.npz", "-m", model, cwd=tmp_path, CITRIS_MODEL="runs/none.safetensors")
    assert done.returncode == 0
    assert "model:" not in done.stderr.decode()


def test_a_folder_with_one_model_and_the_home_folder_are_models(
    tmp_path: Path, frames: np.ndarray, model: Path, home: Path, inside: Citris
) -> None:
    folder = tmp_path / "home/my"
    folder.mkdir(parents=True)
    contents = read_model(model)
    write_model(folder / "a.safetensors", contents)
    write_model(folder / "a.best.safetensors", contents)
    write_model(folder / "ae.safetensors", read_model(home / "runs/boxes/ae.safetensors"))
    (folder / "notes.safetensors").write_text("no model")
    common = ["encode", "two.npz", "-o", "z.npz"]
    for place in ("home/my", "~/my", "~/my/a.safetensors"):
        done = inside(*common, "-m", place, cwd=tmp_path, HOME=str(tmp_path / "home"))
        assert done.returncode == 0, done.stderr
        assert (f"(the only one in {place})" in done.stderr.decode()) == place.endswith("my")
        done = inside(*common, cwd=tmp_path, CITRIS_MODEL=place, HOME=str(tmp_path / "home"))
        assert "my/a.safetensors (from $CITRIS_MODEL)" in done.stderr.decode()
    assert citris_cli.load(folder).path == folder / "a.safetensors"
    write_model(folder / "b.safetensors", contents)
    done = inside(*common, "-m", "home/my", cwd=tmp_path)
    check_refusal(
        done, r"my: the folder holds 2 models with causal latents \(a\.safetensors, b\.safetensors\); name one"
    )
    done = inside(*common, cwd=tmp_path, CITRIS_MODEL="home")
    check_refusal(done, r"home: the folder holds no model with causal latents; name a file that train-nf or train-vae")


def test_what_it_cannot_do_it_says(home: Path, tmp_path: Path, frames: np.ndarray, model: Path, inside: Citris) -> None:
    autoencoder = home / "runs/boxes/ae.safetensors"
    done = inside("encode", "two.npz", "-m", autoencoder, "-o", "z.npz", cwd=tmp_path)
    check_refusal(
        done, "holds a model of kind autoencoder, which has no causal latents; train one with 'citris train-nf'"
    )
    done = inside("encode", "two.npz", "-m", model, "--json", "-o", "-", cwd=tmp_path)
    check_refusal(done, "--json and -o - both want standard output")
    done = inside("encode", "-", "two.npz", "-", "-m", model, "-o", "z.npz", cwd=tmp_path)
    check_refusal(done, "standard input holds one picture; name it once")
    done = inside("encode", "two.npz#2", "-m", model, "-o", "z.npz", cwd=tmp_path)
    check_refusal(done, "two.npz#2: the dataset has 2 frames, counted from 0")
    assert not (tmp_path / "z.npz").exists()


def test_one_frame_is_counted_as_one(tmp_path: Path, frames: np.ndarray, model: Path, inside: Citris) -> None:
    done = inside("encode", "alpha.png", "-m", model, cwd=tmp_path)
    assert done.stderr.decode().startswith("1 frame, 4 latents, ")


def test_in_half_precision_the_latents_are_nearly_the_same(
    tmp_path: Path, frames: np.ndarray, model: Path, inside: Citris
) -> None:
    done = inside("encode", "two.npz", "-m", model, "--precision", "bf16", "-o", "z.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    with np.load(tmp_path / "z.npz", allow_pickle=False) as read:
        found, expected = read["z"], latents(model, frames[4:])
    assert found.dtype == np.float32
    assert not np.array_equal(found, expected)
    assert np.linalg.norm(found - expected) < 0.3 * np.linalg.norm(expected)


def shell(line: str, folder: Path) -> subprocess.CompletedProcess:
    """A pipeline of the shell in which ``citris`` is this one."""
    script = f'set -o pipefail; citris() {{ {shlex.quote(sys.executable)} -m citris_cli "$@"; }}; {line}'
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, env=environment, check=False)


def test_through_a_pipe(home: Path, tmp_path: Path, frames: np.ndarray, model: Path) -> None:
    done = shell(f"cat alpha.png | citris encode - two.npz -m {model} -o - | cat", tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert check_arrays(io.BytesIO(done.stdout), model, frames[[0, 4, 5]]) == ["-", "two.npz", "two.npz"]
    assert not (tmp_path / "runs").exists()
    # More than a pipe holds, and a reader that leaves: quiet, with the status of a process that SIGPIPE ended.
    done = shell(f"citris encode {'boxes/test_indep.npz ' * 4} -m {model} -o - | head -c 10", home)
    assert done.stdout[:2] == b"PK"
    assert done.stderr == b""
    assert done.returncode == 141


def test_latents_that_are_not_finite_are_not_written(home: Path, model: Path, tmp_path: Path, inside: Citris) -> None:
    file = read_model(model)
    name = "flow.transforms.0.bias"
    assert name in file.tensors, sorted(file.tensors)[:40]
    file.tensors[name] = torch.full_like(file.tensors[name], 3e38)
    write_model(tmp_path / "m.safetensors", file)
    for command in (["encode"], ["eval-correlation"], ["eval-triplets"], ["animate-latents"]):
        done = inside(*command, home / "boxes", "-m", "m.safetensors", cwd=tmp_path)
        check_refusal(done, r"m\.safetensors: gives .* latents that are not finite; train another model", status=1)
    assert not list(tmp_path.rglob("*.npz"))


def test_latents_take_the_place_of_no_other_kind_of_file(
    home: Path, model: Path, tmp_path: Path, inside: Citris
) -> None:
    done = inside("encode", home / "boxes", "-m", model, "-o", "x.safetensors", cwd=tmp_path)
    check_refusal(done, "-o x.safetensors: citris writes latents as .npz; use a name that ends in .npz")
