"""Intervening as a user does it: three ways, pictures from anywhere, a strip, a GIF or arrays, and an honest report."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import citris_cli
from tests.end_to_end.conftest import ASSIGNMENT, Citris
from tests.end_to_end.test_bad_input import check_refusal

BOX = [i for i, variable in enumerate(ASSIGNMENT) if variable == 1]
REST = [i for i, variable in enumerate(ASSIGNMENT) if variable != 1]


@pytest.fixture
def pictures(home: Path, tmp_path: Path) -> list[Path]:
    with np.load(home / "boxes/test_indep.npz", allow_pickle=False) as data:
        images = data["images"][:3]
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    return paths


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def test_only_the_variables_own_latents_change(
    inside: Citris, model: Path, pictures: list[Path], tmp_path: Path
) -> None:
    done = inside(
        "intervene", pictures[0], "--var", "box", "--from", pictures[1], "-m", model, "-o", "x.npz", cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (0, b"x.npz\n")
    found = arrays(tmp_path / "x.npz")
    both = citris_cli.load(model).encode(np.stack([np.array(Image.open(path)) for path in pictures[:2]]))
    np.testing.assert_allclose(found["z_before"], both[:1], atol=1e-5)
    np.testing.assert_array_equal(found["z_after"][0, REST], found["z_before"][0, REST])
    np.testing.assert_allclose(found["z_after"][0, BOX], both[1, BOX], atol=1e-5)
    assert found["images"].shape == (1, 32, 32, 3)
    assert found["intervened"].tolist() == ["box"]


def test_each_picture_takes_its_values_from_one_of_as_many(
    inside: Citris, model: Path, pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "others").mkdir()
    for number, path in enumerate(reversed(pictures)):
        (tmp_path / f"others/{number}.png").write_bytes(path.read_bytes())
    common = ["--var", "box", "--from", "others", "-m", model, "-o", "x.npz"]
    done = inside("intervene", *pictures, *common, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "takes its values from the one at the same place in others, in order" in done.stderr.decode()
    found = arrays(tmp_path / "x.npz")
    z = citris_cli.load(model).encode(np.stack([np.array(Image.open(path)) for path in pictures]))
    np.testing.assert_allclose(found["z_after"][:, BOX], z[::-1, BOX], atol=1e-5)
    np.testing.assert_allclose(found["z_after"][:, REST], z[:, REST], atol=1e-5)
    done = inside("intervene", *pictures[:2], *common, cwd=tmp_path)
    check_refusal(
        done, "--from others: holds 3 frames for 2 pictures; name one, such as others#0, or give one for each"
    )


def test_draws_are_the_generators(inside: Citris, model: Path, pictures: list[Path], tmp_path: Path) -> None:
    def draw(name: str, *options: object) -> np.ndarray:
        done = inside(
            "intervene", pictures[0], "--var", "ball_y", "-n", 3, "-m", model, "-o", name, *options, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        return arrays(tmp_path / name)["z_after"]

    first = draw("a.npz")
    assert len(np.unique(first[:, 1])) == 3
    np.testing.assert_array_equal(first, draw("b.npz", "--seed", 0))
    assert (first[:, 1] != draw("c.npz", "--seed", 1)[:, 1]).all()
    assert len(np.unique(draw("d.npz", "--temperature", 0)[:, 1])) == 1
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_strip_gif_and_standard_output(inside: Citris, model: Path, pictures: list[Path], tmp_path: Path) -> None:
    common = ["intervene", pictures[0], "--var", "box,ball_y", "-m", model]
    done = inside(*common, "--sweep", 5, "--seed", 2, "-o", "walk.gif", cwd=tmp_path)
    assert "--seed: --sweep samples nothing, so ignored" in done.stderr.decode()
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "walk.gif") as gif:
        assert (gif.format, gif.n_frames) == ("GIF", 5)
    done = inside(*common, "-o", "-", cwd=tmp_path)
    strip = Image.open(io.BytesIO(done.stdout))
    assert strip.format == "PNG"
    assert strip.width > 6 * 96  # original, reconstruction and four draws
    done = inside("intervene", "-", "--var", "box", "-m", model, cwd=tmp_path, stdin=pictures[0].read_bytes())
    assert done.stdout == b"runs/stdin/stdin-box.png\n"
    roles = {line.split()[0]: " ".join(line.split()[3:]) for line in done.stderr.decode().splitlines()[-3:]}
    assert roles == {"ball_y": "", "box": "intervened on", "psi(0)": "of no variable"}


def test_places_of_a_walk_that_look_the_same_are_all_shown(
    inside: Citris, model: Path, pictures: list[Path], tmp_path: Path
) -> None:
    common = ["intervene", pictures[0], "--var", "box", "--sweep", 200, "-m", model, "-o"]
    for name in ("walk.gif", "walk.npz"):
        assert inside(*common, name, cwd=tmp_path).returncode == 0
    images = arrays(tmp_path / "walk.npz")["images"]
    assert (images[1:] == images[:-1]).all(axis=(1, 2, 3)).any()
    with Image.open(tmp_path / "walk.gif") as gif:
        assert gif.n_frames == len(images) == 200


def test_the_case_of_an_ending_does_not_matter(
    inside: Citris, model: Path, pictures: list[Path], tmp_path: Path
) -> None:
    for name in ("x.NPZ", "x.GIF", "x.PNG"):
        done = inside("intervene", pictures[0], "--var", "box", "-m", model, "-o", name, cwd=tmp_path)
        assert done.stdout.decode() == f"{name}\n"
    assert (tmp_path / "x.NPZ").read_bytes()[:2] == b"PK"
    assert (tmp_path / "x.GIF").read_bytes()[:3] == b"GIF"
    assert (tmp_path / "x.PNG").read_bytes()[1:4] == b"PNG"


def test_pictures_get_files_of_their_own(
    inside: Citris, model: Path, home: Path, pictures: list[Path], tmp_path: Path
) -> None:
    done = inside("intervene", *pictures[:2], "--var", "box", "-m", model, "-o", "out", cwd=tmp_path)
    assert done.stdout.decode().split() == ["out/0-box.png", "out/1-box.png"]
    for name in ("x.png", "x.html"):
        refused = inside("intervene", *pictures[:2], "--var", "box", "-m", model, "-o", name, cwd=tmp_path)
        check_refusal(refused, f"-o {name}: 2 pictures were given; give -o a folder or an .npz$")
    done = inside("intervene", pictures[0], "--var", "ball_y", "-m", model, "-o", "one", cwd=tmp_path)
    assert done.stdout == b"one/0-ball_y.png\n"
    data = home / "boxes/test_indep.npz"
    done = inside("intervene", f"{data}#0", f"{data}#17", "--var", "box", "-m", model, cwd=tmp_path)
    assert done.stdout.decode().split() == [
        "runs/boxes/test_indep-0-box.png",
        "runs/boxes/test_indep-17-box.png",
    ]
    assert all((tmp_path / line).exists() for line in done.stdout.decode().split())


def test_every_frame_of_an_animation_is_a_picture(
    inside: Citris, model: Path, pictures: list[Path], tmp_path: Path
) -> None:
    first, *others = (Image.open(path) for path in pictures)
    for kind in ("gif", "tif"):
        first.save(tmp_path / f"film.{kind}", save_all=True, append_images=others)
    done = inside("intervene", "film.gif", pictures[0], "--var", "box", "-m", model, cwd=tmp_path)
    assert done.stdout.decode().split() == [*(f"runs/film/film-{i}-box.png" for i in range(3)), "runs/0/0-box.png"]
    # One of them gives the variables; which of several has to be said.
    done = inside("intervene", "?.png#1:", "--var", "box", "--from", "film.tif", "-m", model, cwd=tmp_path)
    check_refusal(done, r"--from film\.tif: holds 3 frames for 2 pictures; name one, such as film\.tif#0,")
    done = inside(
        "intervene", "?.png#1:", "--var", "box", "--from", "film.tif#2", "-m", model, "-o", "x.npz", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = arrays(tmp_path / "x.npz")
    z = citris_cli.load(model).encode(np.stack([np.array(Image.open(path)) for path in pictures]))
    assert found["sources"].tolist() == ["1.png", "2.png"]
    np.testing.assert_allclose(found["z_before"], z[1:], atol=1e-5)
    np.testing.assert_allclose(found["z_after"][:, BOX], z[[2, 2]][:, BOX], atol=1e-5)


def test_more_pictures_than_the_memory_holds_are_refused(
    inside: Citris, model: Path, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Room for the model, and for what is made of two pictures.
    monkeypatch.setattr("citris_cli.data.npz.available_memory", lambda: 260_000)
    many = ["-n", 32]
    done = inside("intervene", tmp_path, "--var", "box", *many, "-m", model, "-o", "x.npz", cwd=tmp_path)
    check_refusal(done, rf"intervening on 3 pictures needs .* choose some of them, such as {tmp_path}#:100$")
    done = inside("intervene", f"{tmp_path}#:2", "--var", "box", *many, "-m", model, "-o", "x.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_all_pictures_are_looked_at_before_one_is_read(
    inside: Citris, model: Path, pictures: list[Path], tmp_path: Path
) -> None:
    Image.new("RGB", (90, 60)).save(tmp_path / "wide.png")
    for images, other in ((["wide.png", "gone.png"], "wide.png"), (["wide.png"], "gone.png")):
        done = inside("intervene", *images, "--var", "box", "--from", other, "-m", model, "-o", "out", cwd=tmp_path)
        check_refusal(done, r"gone\.png: there is no such file; check the path")
        assert done.stderr.count(b"\n") == 1


def test_report_measures_every_block_beside_decoding_alone(
    inside: Citris, model: Path, pictures: list[Path], tmp_path: Path
) -> None:
    done = inside("intervene", pictures[0], "--var", "box", "-m", model, "--json", cwd=tmp_path)
    report = json.loads(done.stdout)
    assert report["intervened"] == ["box"]
    assert set(report["moved"]) == set(report["moved_by_reconstruction"]) == {"ball_y", "box", "psi(0)"}
    assert all(value >= 0 for value in report["moved"].values())
    assert report["files"] == ["runs/0/0-box.png"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--var", "bx"], "bx.*did you mean.*box"),
        (["--var", "box", "-n", 2, "--sweep", 3], "-n and --sweep: choose one"),
        (["--var", "box", "--from", "none.png"], r"none\.png"),
        (["--var", "box", "-o", "x.jpg"], r"x\.jpg: .*\.png"),
        (["--var", "box", "--json", "-o", "-"], "--json and -o - both"),
        (["--var", "box", "--from=-#1", "-"], "standard input holds one picture; name it once"),
    ],
    ids=[
        "unknown variable",
        "two ways",
        "missing other picture",
        "unknown ending",
        "two results on one output",
        "one input twice",
    ],
)
def test_refusals(
    inside: Citris, model: Path, pictures: list[Path], tmp_path: Path, options: list[object], says: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    check_refusal(inside("intervene", pictures[0], "-m", model, *options, cwd=tmp_path), says)
    assert sorted(tmp_path.rglob("*")) == before
