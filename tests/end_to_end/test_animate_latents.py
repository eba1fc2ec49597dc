"""Animating latents as a user does it: a GIF, an MP4 or a page of any part of a sequence, interventions marked."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

import citris_cli
from citris_cli.causal_model import CausalModel
from citris_cli.show.latents_page import frames_that_fit
from tests.end_to_end.conftest import ASSIGNMENT, Citris
from tests.end_to_end.test_bad_input import check_refusal


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def durations(path: Path) -> list[int]:
    """Milliseconds that each picture of a GIF is shown."""
    with Image.open(path) as gif:
        return [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]


def page_data(path: Path) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script', path.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_a_gif_of_the_first_frames_is_made_without_asking(home: Path, model: Path, inside: Citris) -> None:
    done = inside("animate-latents", "boxes", "-m", model, cwd=home)
    assert (done.returncode, done.stdout) == (0, b"runs/boxes/latents.gif\n"), done.stderr
    assert done.stderr.decode() == "frames 0 to 99 of 300; choose others with --start and --frames\n"
    with Image.open(home / "runs/boxes/latents.gif") as gif:
        assert (gif.format, gif.n_frames, gif.info["duration"], gif.info["loop"]) == ("GIF", 100, 200, 0)
    done = inside("animate-latents", "boxes/train.npz", "-m", model, "--frames", 2, cwd=home)
    assert done.stdout == b"runs/boxes/latents-train.gif\n"


def test_the_page_has_the_models_latents_and_the_datas_interventions(
    home: Path, tmp_path: Path, model: Path, inside: Citris
) -> None:
    done = inside(
        "animate-latents", home / "boxes", "-m", model, "-o", "x.html", "--start", 30, "--frames", 50, "--fps", 12,
        "--json", cwd=tmp_path,
    )  # fmt: skip
    report = json.loads(done.stdout)
    train = arrays(home / "boxes/train.npz")
    data = page_data(tmp_path / "x.html")
    z = citris_cli.load(model).encode(train["images"][30:80])
    np.testing.assert_allclose(data["z"], z, atol=2e-4)
    assert (data["first"], data["rate"], data["width"]) == (30, 12, 32)
    owners = {latent: index for index, group in enumerate(data["groups"]) for latent in group["latents"]}
    assert [owners[latent] for latent in range(4)] == ASSIGNMENT
    assert [group["name"] for group in data["groups"]] == ["ball_y", "box", "psi(0)"]
    # Row i of the targets leads into frame i + 1; their columns are ball_x, ball_y, ball_b.
    expected = [np.flatnonzero(row[1:]).tolist() for row in train["targets"][29:79]]
    assert data["marked"] == expected
    assert 5 < sum(map(len, expected)) < 45
    assert report == {
        "files": ["x.html"],
        "frames": 50,
        "start": 30,
        "steps_with_intervention": {
            "ball_x": 0,
            "ball_y": sum(0 in step for step in expected),
            "box": sum(1 in step for step in expected),
        },
        "latents_per_variable": {"ball_y": 1, "box": 2, "psi(0)": 1},
        "model": str(model),
    }


def test_targets_are_matched_by_name_and_not_by_place(home: Path, tmp_path: Path, model: Path, inside: Citris) -> None:
    images = arrays(home / "boxes/train.npz")["images"][:4]
    targets = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.uint8)
    common = ["animate-latents", "d.npz", "-m", model, "-o", "x.html"]
    np.savez(tmp_path / "d.npz", images=images, targets=targets, keys=np.array(["wind", "ball_b", "ball_y"]))
    done = inside(*common, cwd=tmp_path)
    assert page_data(tmp_path / "x.html")["marked"] == [[], [], [1], [0]]
    assert page_data(tmp_path / "x.html")["captions"][:2] == ["start of a sequence", "intervened on: wind"]
    assert "wind: not a variable of the model, so named only below the frame" in done.stderr.decode()
    # Without names of their own the columns are those that the model was trained on: ball_x, ball_y, box.
    np.savez(tmp_path / "d.npz", images=images, targets=targets)
    inside(*common, cwd=tmp_path)
    assert page_data(tmp_path / "x.html")["marked"] == [[], [], [0], [1]]
    done = inside(*common, "--vars", "ball_y,a,b", cwd=tmp_path)
    assert page_data(tmp_path / "x.html")["marked"] == [[], [0], [], []]
    assert "box: not a column of the data (see --vars), so never marked" in done.stderr.decode()
    np.savez(tmp_path / "d.npz", images=images)
    done = inside(*common, cwd=tmp_path)
    assert set(page_data(tmp_path / "x.html")["captions"]) == {"interventions not known"}
    assert "the data has no steps with intervention targets: nothing is marked" in done.stderr.decode()


def test_pictures_are_shown_in_the_order_of_their_names_without_marks(
    home: Path, tmp_path: Path, model: Path, inside: Citris
) -> None:
    images = arrays(home / "boxes/train.npz")["images"][:5]
    (tmp_path / "walk").mkdir()
    for number, image in zip((2, 10, 9), images, strict=False):
        Image.fromarray(image).save(tmp_path / f"walk/step{number}.png")
    np.savez(tmp_path / "d.npz", images=images)
    inputs = ["walk", "d.npz#3", "-"]
    done = inside(
        "animate-latents", *inputs, "-m", model, "-o", "x.html", cwd=tmp_path,
        stdin=(tmp_path / "walk/step2.png").read_bytes(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    data = page_data(tmp_path / "x.html")
    np.testing.assert_allclose(data["z"], citris_cli.load(model).encode(images[[0, 2, 1, 3, 0]]), atol=2e-4)
    assert data["marked"] == [[]] * 5
    assert set(data["captions"]) == {"interventions not known"}
    assert "frames 0 to 4 of 5\ninterventions are marked where datasets are given whole, or frames of a single one" in (
        done.stderr.decode()
    )
    done = inside("animate-latents", "walk", "-m", model, "--start", 1, cwd=tmp_path)
    assert done.stdout == b"runs/walk/latents.gif\n"
    check_refusal(inside("animate-latents", "walk", "-m", model, "--vars", "a,b", cwd=tmp_path), "pictures have none")


def test_frames_of_a_dataset_keep_their_marks_and_an_animation_is_shown_whole(
    home: Path, tmp_path: Path, model: Path, inside: Citris
) -> None:
    train = arrays(home / "boxes/train.npz")
    common = ["animate-latents", "-m", model, "-o", "x.html"]
    done = inside(*common, f"{home}/boxes/train.npz#30:80", cwd=tmp_path)
    assert done.stderr.decode() == "frames 30 to 79 (all 50 chosen)\n"
    data = page_data(tmp_path / "x.html")
    assert data["first"] == 30
    assert data["marked"] == [np.flatnonzero(row[1:]).tolist() for row in train["targets"][29:79]]
    done = inside(*common, f"{home}/boxes/train.npz#30:80:10", "--start", 1, "--frames", 3, cwd=tmp_path)
    assert done.stderr.decode() == (
        "frames 40 to 60 (3 of the 5 chosen); choose others with --start and --frames\nthe chosen frames are counted "
        "from 0 in the pictures; marks show the step into each, not the steps into frames that are left out\n"
    )
    data = page_data(tmp_path / "x.html")
    assert data["marked"] == [np.flatnonzero(train["targets"][row, 1:]).tolist() for row in (39, 49, 59)]
    np.testing.assert_allclose(data["z"], citris_cli.load(model).encode(train["images"][[40, 50, 60]]), atol=2e-4)
    first, *others = (Image.fromarray(image) for image in train["images"][:9])
    first.save(tmp_path / "film.webp", save_all=True, append_images=others, lossless=True)
    done = inside("animate-latents", "film.webp", "-m", model, cwd=tmp_path)
    assert done.stdout == b"runs/film/latents.gif\n"
    with Image.open(tmp_path / "runs/film/latents.gif") as gif:
        assert gif.n_frames == 9
    done = inside(*common, "film.webp#4:", cwd=tmp_path)
    assert done.stderr.decode().startswith("frames 4 to 8 (all 5 chosen)\n")
    np.testing.assert_allclose(
        page_data(tmp_path / "x.html")["z"], citris_cli.load(model).encode(train["images"][4:9]), atol=2e-4
    )


def test_standard_output_takes_a_gif(home: Path, tmp_path: Path, model: Path, inside: Citris) -> None:
    done = inside("animate-latents", home / "boxes", "-m", model, "--frames", 3, "-o", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    with Image.open(io.BytesIO(done.stdout)) as gif:
        assert (gif.format, gif.n_frames) == ("GIF", 3)
    assert list(tmp_path.iterdir()) == []


def test_an_mp4_has_as_many_frames(home: Path, tmp_path: Path, model: Path, inside: Citris) -> None:
    ffmpeg = pytest.importorskip(
        "imageio_ffmpeg", reason="needs imageio's ffmpeg plugin: pip install 'imageio[ffmpeg]'"
    )
    done = inside(
        "animate-latents", home / "boxes", "-m", model, "--frames", 7, "--fps", 4, "-o", "x.mp4", cwd=tmp_path
    )
    assert done.stdout == b"x.mp4\n", done.stderr
    frames = ffmpeg.read_frames(str(tmp_path / "x.mp4"))
    about = next(frames)
    assert about["fps"] == pytest.approx(4)
    assert len(list(frames)) == 7


def test_a_gif_is_as_fast_as_was_asked_or_says_that_it_is_not(
    home: Path, tmp_path: Path, model: Path, inside: Citris
) -> None:
    common = ["animate-latents", home / "boxes", "-m", model, "--frames", 40]
    for rate, milliseconds, told in ((40, 1000, ""), (60, 800, "--fps 60: a GIF shows at most 50 frames per second")):
        done = inside(*common, "--fps", rate, "-o", "x.gif", cwd=tmp_path)
        assert ("--fps" in done.stderr.decode()) == bool(told)
        assert told in done.stderr.decode()
        assert sum(durations(tmp_path / "x.gif")) == milliseconds
    done = inside(*common, "--fps", 60, "-o", "x.html", cwd=tmp_path)
    assert "--fps" not in done.stderr.decode()
    assert page_data(tmp_path / "x.html")["rate"] == 60


def test_frames_that_are_equal_are_all_shown(tmp_path: Path, model: Path, inside: Citris) -> None:
    np.savez(tmp_path / "still.npz", images=np.full((8, 32, 32, 3), 90, np.uint8))
    common = ["animate-latents", "still.npz", "-m", model, "-o"]
    for name in ("x.gif", "x.html"):
        assert inside(*common, name, cwd=tmp_path).stdout.decode() == f"{name}\n"
    assert len(durations(tmp_path / "x.gif")) == len(page_data(tmp_path / "x.html")["z"]) == 8
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="needs imageio's ffmpeg plugin")
    inside(*common, "x.mp4", cwd=tmp_path)
    frames = ffmpeg.read_frames(str(tmp_path / "x.mp4"))
    next(frames)
    assert len(list(frames)) == 8


def test_without_the_ffmpeg_plugin_an_mp4_is_refused_before_any_work(
    home: Path, tmp_path: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    done = inside("animate-latents", "none.npz", "-o", "x.mp4", cwd=tmp_path)
    check_refusal(done, r"MP4 needs imageio's ffmpeg plugin, which is not installed; .* 'imageio\[ffmpeg\]'")


def test_too_many_frames_are_refused_with_the_number_that_fits(
    home: Path, tmp_path: Path, model: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("citris_cli.show.latent_animation.GIF_BYTES", 8 << 20)
    done = inside("animate-latents", home / "boxes", "-m", model, "--frames", 60, "-o", "x.gif", cwd=tmp_path)
    page = frames_that_fit(32, 32, 4)
    check_refusal(
        done, rf"--frames 60: 2\d frames of this size fit into a GIF; .* an \.html page, which holds {page:,}$"
    )
    done = inside("animate-latents", home / "boxes", "-m", model, "-o", "x.gif", cwd=tmp_path)
    with Image.open(tmp_path / "x.gif") as gif:
        assert 20 <= gif.n_frames < 30
    monkeypatch.setattr("citris_cli.show.latents_page.SHEET", 64)
    done = inside("animate-latents", home / "boxes", "-m", model, "--frames", 5, "-o", "x.html", cwd=tmp_path)
    check_refusal(done, r"--frames 5: 4 frames of this size fit into a page; choose fewer, and others with --start$")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["boxes", "-o", "x.webm"], r"x\.webm: the extension decides the format; use \.gif, \.mp4, \.html"),
        (["boxes", "--start", 300], "--start 300: the data has 300 frames, counted from 0"),
        (["boxes", "--frames", 0], "--frames"),
        (["boxes", "--fps", 0], "--fps"),
        (["boxes", "--fps", "nan"], "--fps"),
        (["boxes", "--json", "-o", "-"], "--json and -o - both want standard output"),
        (["none.npz"], r"none\.npz: there is no such file"),
        (["boxes/test_triplets.npz"], "triplets, not a sequence"),
        (["LARGE"], "64×64 and .* was trained for 32×32"),
        (["boxes", "--vars", "a,b"], "--vars names 2 variables for 3 columns"),
    ],
    ids=[
        "ending",
        "start",
        "no frames",
        "no speed",
        "no number",
        "two results",
        "missing",
        "triplets",
        "size",
        "names",
    ],
)
def test_refusals(home: Path, tmp_path: Path, model: Path, inside: Citris, arguments: list[object], says: str) -> None:
    np.savez(tmp_path / "large.npz", images=np.zeros((3, 64, 64, 3), np.uint8))
    arguments = [tmp_path / "large.npz" if argument == "LARGE" else argument for argument in arguments]
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()}
    check_refusal(inside("animate-latents", *arguments, "-m", model, cwd=home), says)
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()} == before


def test_the_published_slider_is_animated_whole(
    home: Path, tmp_path: Path, real_data: Path, model: Path, inside: Citris
) -> None:
    slider = arrays(real_data / "tutorial/data_slider.npz")
    small = slider["imgs"][:, ::2, ::2]
    np.savez(tmp_path / "slider.npz", imgs=small, interventions=slider["interventions"])
    names = "pos_x,pos_y,pos_z,rot_alpha,rot_beta,rot_gamma,rot_s,hue_o,hue_s,hue_b,obj_s,obj_m"
    done = inside("animate-latents", "slider.npz", "-m", model, "--vars", names, "-o", "x.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    captions = page_data(tmp_path / "x.html")["captions"]
    assert len(captions) == 30
    parts = ["pos_x, pos_y, pos_z", "rot_s", "hue_b"]
    assert captions[1:] == [f"intervened on: {parts[min(i // 10, 2)]}" for i in range(29)]


def test_latents_that_are_not_finite_are_refused(
    home: Path, tmp_path: Path, model: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: CausalModel, step: object, frames: torch.Tensor) -> np.ndarray:
        z = np.zeros((len(frames), 4), np.float32)
        z[2, 1] = np.nan
        return z

    monkeypatch.setattr(CausalModel, "_through", broken)
    done = inside("animate-latents", home / "boxes", "-m", model, "--start", 7, "-o", "x.gif", cwd=tmp_path)
    check_refusal(
        done, r"assigned\.safetensors: gives 1 of \d+ frames latents that are not finite; train another model", status=1
    )
    assert list(tmp_path.iterdir()) == []


def test_long_drawing_shows_its_progress(
    home: Path, tmp_path: Path, model: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("citris_cli.show.latent_animation.LONG", 5)
    common = ["animate-latents", home / "boxes", "-m", model, "-o", "x.gif"]
    assert "drawing" not in inside(*common, "--frames", 4, cwd=tmp_path).stderr.decode()
    lines = inside(*common, "--frames", 5, cwd=tmp_path).stderr.decode().splitlines()
    assert "drawing: 5 steps" in lines
    assert lines[-1].startswith("drawing: step 5/5")
    with Image.open(tmp_path / "x.gif") as gif:
        assert gif.n_frames == 5
