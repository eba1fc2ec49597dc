"""Futures as a user asks for them: interventions drawn or taken, side by side, every kind of file, beside the truth."""

from __future__ import annotations

import io
import itertools
import json
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import citris_cli
from citris_cli.artifacts.models import read_model, write_model
from citris_cli.errors import InputError
from citris_cli.evaluation import future_errors
from citris_cli.show import console
from tests.end_to_end.conftest import ASSIGNMENT, Citris, first_rows
from tests.end_to_end.test_animate_latents import page_data
from tests.end_to_end.test_bad_input import check_refusal
from tests.end_to_end.test_json import faults

BOX = [i for i, variable in enumerate(ASSIGNMENT) if variable == 1]
Y = [i for i, variable in enumerate(ASSIGNMENT) if variable == 0]


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def rolled(inside: Citris, folder: Path, *arguments: object) -> dict[str, np.ndarray]:
    done = inside("rollout", *arguments, "-o", "x.npz", cwd=folder)
    assert (done.returncode, done.stdout) == (0, b"x.npz\n"), done.stderr.decode()
    return arrays(folder / "x.npz")


def test_futures_are_the_priors_and_are_set_where_they_were_told(
    home: Path, model: Path, tmp_path: Path, inside: Citris
) -> None:
    start, other = f"{home}/boxes/test.npz#5", f"{home}/boxes/test.npz#40"
    do = ["--do", "2:ball_b", "--do", f"4:Ball-Y,box={other}"]
    found = rolled(inside, tmp_path, start, "--steps", 6, "-n", 3, *do, "-m", model)
    z = found["z"].reshape(3, 7, 4)
    ours = citris_cli.load(model)
    with np.load(home / "boxes/test.npz", allow_pickle=False) as data:
        frames = data["images"][[5, 40]]
    encoded = ours.encode(frames)
    np.testing.assert_allclose(z[:, 0], np.repeat(encoded[:1], 3, axis=0), atol=1e-5)
    np.testing.assert_allclose(z[:, 4, BOX + Y], np.repeat(encoded[1:, BOX + Y], 3, axis=0), atol=1e-5)
    np.testing.assert_array_equal(found["images"], ours.decode(found["z"]))
    # The same as step by step from Python, by the same generator.
    generator = torch.Generator().manual_seed(0)
    plan = {2: {"box": None}, 4: {"ball_y,box": encoded[1:]}}
    np.testing.assert_allclose(z, ours.rollout(np.repeat(encoded[:1], 3, axis=0), 6, generator, plan), atol=1e-5)
    assert len(np.unique(z[:, 1, Y])) == 3
    targets = found["targets"].reshape(3, 7, 2)
    assert targets.sum() == 3 * 3
    assert targets[:, 1].tolist() == [[0, 1]] * 3  # the step out of frame 1 leads into frame 2
    assert targets[:, 3].tolist() == [[1, 1]] * 3
    # What is written is read as sequences, one a future, with the marks where they belong.
    done = inside("animate-latents", "x.npz", "-m", model, "-o", "y.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert page_data(tmp_path / "y.html")["marked"] == [[], [], [1], [], [0, 1], [], []] * 3


def test_the_seed_decides_and_the_mean_has_no_chance_in_it(
    home: Path, model: Path, tmp_path: Path, inside: Citris
) -> None:
    common = [f"{home}/boxes/test.npz#5", "--steps", 4, "--do", "2:box", "-m", model]
    first = rolled(inside, tmp_path, *common)
    for name, one in rolled(inside, tmp_path, *common, "--seed", 0).items():
        np.testing.assert_array_equal(one, first[name])
    assert (rolled(inside, tmp_path, *common, "--seed", 1)["z"] != first["z"])[1:5].all()
    mean = rolled(inside, tmp_path, *common, "--mean")["z"]
    assert mean.shape == (5, 4)
    np.testing.assert_array_equal(mean, rolled(inside, tmp_path, *common, "--mean", "--seed", 9)["z"])
    check_refusal(
        inside("rollout", *common, "--mean", "-n", 3, cwd=tmp_path), "--mean is a single future, and -n 3 would show it"
    )


def test_every_kind_of_file(home: Path, model: Path, tmp_path: Path, inside: Citris) -> None:
    picture = tmp_path / "p.png"
    with np.load(home / "boxes/test.npz", allow_pickle=False) as data:
        Image.fromarray(data["images"][0]).save(picture)
    common = ["rollout", picture, "--steps", 5, "--do", "2:box", "-m", model]
    done = inside(*common, "-o", "-", cwd=tmp_path)
    with Image.open(io.BytesIO(done.stdout)) as gif:
        assert (gif.format, gif.n_frames, gif.info["duration"]) == ("GIF", 6, 500)
    assert inside(*common, cwd=tmp_path).stdout == b"runs/p/rollout.gif\n"
    assert inside(*common, "-o", "x.html", cwd=tmp_path).returncode == 0
    page = page_data(tmp_path / "x.html")
    assert (page["width"], page["height"], page["tiles"], page["legend"]) == (3 * 33 + 1, 34, 3, "3 futures")
    assert page["marked"] == [[], [], [1], [], [], []]
    assert page["captions"][:3] == ["start of a sequence", "no intervention", "intervened on: box"]
    found = rolled(inside, tmp_path, *common[1:])["z"].reshape(3, 6, 4)
    np.testing.assert_allclose(page["z"], found.mean(0), atol=2e-4)
    np.testing.assert_allclose(page["spread"], [found.min(0), found.max(0)], atol=2e-4)
    assert inside(*common, "-n", 1, "-o", "one.html", cwd=tmp_path).returncode == 0
    page = page_data(tmp_path / "one.html")
    assert (page["width"], page["spread"]) == (32, None)
    done = inside(*common, "-n", 2, "--fps", 5, "-o", "x.png", cwd=tmp_path)
    assert "--fps 5: ignored, as a .png does not move" in done.stderr.decode()
    with Image.open(tmp_path / "x.png") as strip:
        assert strip.width > 6 * 96
        assert 2 * 96 < strip.height < 3 * 96
    pytest.importorskip("imageio_ffmpeg")
    assert inside(*common, "-n", 5, "-o", "x.mp4", cwd=tmp_path).returncode == 0
    assert (tmp_path / "x.mp4").stat().st_size > 500


def test_the_document(home: Path, model: Path, tmp_path: Path, inside: Citris) -> None:
    source = f"{home}/boxes/test.npz#3"
    do = ["--do", "2:box,ball_y", "--do", f"1:box={source}"]
    done = inside("rollout", source, *do, "-m", model, "-o", "x.gif", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert not faults(document, "rollout", "rollout")
    assert document["interventions"] == [
        {"step": 2, "variables": ["box", "ball_y"], "from": None},
        {"step": 1, "variables": ["box"], "from": source},
    ]
    assert (document["steps"], document["futures"], document["mean"]) == (10, 3, False)
    assert set(document["moved"]) == set(document["spread"]) == {"ball_y", "box", "psi(0)"}
    done = inside("rollout", source, "--mean", "-m", model, "-o", "x.gif", "--json", cwd=tmp_path)
    assert not faults(json.loads(done.stdout), "rollout", "rollout")
    assert json.loads(done.stdout)["spread"] is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--do", "box"], "--do box: write STEP:VARIABLE, such as 5:hue_b, or STEP:VARIABLE=PICTURE"),
        (["--do", "3:box="], "--do 3:box=: write STEP:VARIABLE"),
        (["--do", "3:"], "--do 3:: write STEP:VARIABLE"),
        (["--do", "11:box"], "--do 11:box: the steps are 1 to 10; step 1 leads out of the given frame"),
        (["--do", "0:box"], "--do 0:box: the steps are 1 to 10"),
        (["--do", "3:boxx"], r"--do 3:boxx: there is no variable 'boxx' \(did you mean 'box'\?\)"),
        (["--do", "3:box", "--do", "3:ball_y,box"], "--do 3:ball_y,box: box is set twice in step 3; set it once"),
        (["--do", "3:box=none.png"], "none.png: there is no such file"),
        (["--do", "3:box={data}"], "holds 100 frames; choose one, such as .*test.npz#0"),
        (["-n", "13"], "-n 13: a picture shows at most 12 futures; write an .npz for more"),
        (["-n", "12", "--truth"], "-n 12: a picture shows at most 11 futures"),
        (["-o", "x.tiff"], "-o x.tiff: the extension decides the format; use .gif, .mp4, .html, .png, .npz"),
        (["--steps", "101", "-o", "x.png"], "--steps 101: a strip shows at most 100"),
    ],
)
def test_what_cannot_be_done_is_said(
    options: list[str], sentence: str, home: Path, model: Path, tmp_path: Path, inside: Citris
) -> None:
    data = f"{home}/boxes/test.npz"
    options = [option.format(data=data) for option in options]
    check_refusal(inside("rollout", f"{data}#0", *options, "-m", model, cwd=tmp_path), sentence)
    assert not list(tmp_path.iterdir())


def test_several_frames_and_no_state_are_refused(home: Path, model: Path, tmp_path: Path, inside: Citris) -> None:
    done = inside("rollout", f"{home}/boxes/test.npz", "-m", model, cwd=tmp_path)
    check_refusal(done, "boxes/test.npz: holds 100 frames; choose the one to start from, such as .*test.npz#0")
    done = inside("rollout", "@ball-in-boxes", cwd=tmp_path)
    check_refusal(done, "@ball-in-boxes: holds 3 frames; choose the one to start from, such as @ball-in-boxes/1")
    plain = {key: value for key, value in first_rows(home / "boxes/test.npz", 5).items() if key != "provenance"}
    np.savez(tmp_path / "d.npz", **plain)
    done = inside("rollout", "d.npz#1", "--truth", "-m", model, cwd=tmp_path)
    check_refusal(done, "d.npz#1: --truth needs a frame of a dataset written by 'citris simulate'")
    told = json.loads(str(arrays(home / "boxes/test.npz")["provenance"]))
    told["settings"]["radius"] = "big"
    np.savez(tmp_path / "e.npz", **plain, provenance=np.array(json.dumps(told)))
    done = inside("rollout", "e.npz#1", "--truth", "-m", model, cwd=tmp_path)
    check_refusal(done, "e.npz: was simulated in another world 'ball-in-boxes' than this version of citris has")


def test_the_simulators_future_stands_beside_them(home: Path, model: Path, tmp_path: Path, inside: Citris) -> None:
    start, other = f"{home}/boxes/test.npz#5", f"{home}/boxes/test.npz#40"
    do = ["--do", f"2:ball_y={other}", "--do", "3:box"]
    found = rolled(inside, tmp_path, start, "--truth", "--steps", 4, *do, "-m", model)
    truth = arrays(home / "boxes/test.npz")
    states = found["simulated_latents"]
    np.testing.assert_array_equal(states[0], truth["latents"][5])
    np.testing.assert_array_equal(found["simulated_images"][0], truth["images"][5])
    assert states[2, 1] == truth["latents"][40, 1]  # the same value as the futures', by its true value
    assert states[3, 2] == 1 - states[2, 2] == 1 - states[0, 2]
    assert found["simulated_images"].shape == (5, 32, 32, 3)
    done = inside("rollout", start, "--truth", *do, "-m", model, "-o", "x.html", cwd=tmp_path)
    assert page_data(tmp_path / "x.html")["legend"] == "3 futures, then the simulator's"
    assert "where the model samples a value, or takes it from a picture whose true values" in done.stderr.decode()
    # True values of another world are none of this one.
    done = inside("simulate", "voronoi", "--splits", "none", "--independent", 2, "-o", "other", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    foreign = ["--do", "2:ball_y=other/independent.npz#1", "--steps", 2, "-n", 1, "-m", model, "-o", "x.npz"]
    done = inside("rollout", start, "--truth", *foreign, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert "a picture whose true values are unknown" in done.stderr.decode()


def test_futures_of_the_packaged_models_stay_within_their_reach(tmp_path: Path, inside: Citris) -> None:
    """Latents that hold nothing hardly differ between frames; in a future they have the noise of the training."""
    for name in ("ball-in-boxes", "causal3d"):
        done = inside("rollout", f"@{name}/1", "-n", 20, "--steps", 5, "-o", f"{name}.npz", cwd=tmp_path)
        assert done.returncode == 0, done.stderr.decode()
        assert "left the range" not in done.stderr.decode()


def test_a_future_that_strays_is_held_and_told_of(home: Path, model: Path, tmp_path: Path, inside: Citris) -> None:
    file = read_model(model)
    file.tensors["prior.out.bias"][..., 0] = 1e6  # every mean
    write_model(tmp_path / "m.safetensors", file)
    done = inside("rollout", f"{home}/boxes/test.npz#5", "-m", "m.safetensors", "-o", "x.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert "3 of 3 futures left the range of the training frames and were held at its edge in " in (
        done.stderr.decode()
    )
    loaded = citris_cli.load(tmp_path / "m.safetensors")
    assert loaded.reach is not None
    assert loaded.limits is not None
    np.testing.assert_allclose(arrays(tmp_path / "x.npz")["z"][1], loaded.reach[1], rtol=1e-4)
    assert (loaded.reach[1] >= loaded.limits[1]).all()
    assert (loaded.reach[0] <= loaded.limits[0]).all()


def test_a_model_that_foretells_nothing_is_refused(few: Path, inside: Citris) -> None:
    line = ["train-vae", "few", "--prior", "slow", "--steps", "2", "--latents", "4", "--channels", "4", "--hidden", "4"]
    done = inside(*line, "--batch-size", "8", "-o", "m.safetensors", cwd=few)
    assert done.returncode == 0, done.stderr.decode()
    done = inside("rollout", "few/train.npz#1", "-m", "m.safetensors", cwd=few)
    check_refusal(done, "m.safetensors: the prior of SlowVAE says how fast frames change, but not what follows")
    with pytest.raises(InputError, match="but not what follows them or an intervention"):
        citris_cli.load(few / "m.safetensors").draw(np.zeros(4, np.float32), "box", 1, torch.Generator())


def test_errors_of_futures_beside_those_of_a_copy_and_the_world(
    home: Path, model: Path, tmp_path: Path, inside: Citris
) -> None:
    common = ["eval-rollout", home / "boxes", "--steps", 4, "--starts", 10, "-n", 2, "-m", model]
    done = inside(*common, "-o", "x.json", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    document = json.loads(done.stdout)
    assert not faults(document, "eval-rollout", "eval-rollout")
    assert document == json.loads((tmp_path / "x.json").read_text())
    assert (document["world"], document["starts"], document["causal_encoder"]) == ("ball-in-boxes", 10, None)
    errors = document["errors"]
    assert set(errors) == {"futures", "mean path", "simulator", "copy", "copy and set", "reading"}
    assert all(len(one["mean"]) == 4 for one in errors.values())
    # The box changes by interventions alone, whose values all are given: the world never errs in it, a copy does not
    # either once it is told what was set, and a copy of the first frame does.
    assert errors["simulator"]["factors"]["box"] == errors["copy and set"]["factors"]["box"] == [0.0] * 4
    assert errors["copy"]["factors"]["box"][-1] > 0
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.width > 900
    again = inside(*common, "-o", "-", cwd=tmp_path)
    assert json.loads(again.stdout) == document  # the same seed
    done = inside(*common, cwd=tmp_path)
    assert done.stdout == b"runs/boxes/futures.json\n"
    assert b"instead of" not in done.stderr
    # Less than was asked for, and frames that are no sequence, are told of.
    done = inside("eval-rollout", home / "boxes", "--steps", 90, "--starts", 50, "-n", 1, "-m", model, cwd=tmp_path)
    assert "boxes/test.npz: futures start from 10 frames instead of 50; no more held-out frames have 90 steps" in (
        done.stderr.decode()
    )
    independent = ["eval-rollout", home / "boxes/val_indep.npz", "--steps", 1, "--starts", 5, "-n", 1, "-m", model]
    done = inside(*independent, "-o", "y.json", cwd=tmp_path)
    assert "every step sets all variables, as in independent frames" in done.stderr.decode()


def test_many_futures_show_progress_and_are_the_same_in_parts(
    home: Path, model: Path, tmp_path: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ["eval-rollout", home / "boxes", "--steps", 3, "--starts", 10, "-n", 12, "-m", model, "--json", "-o"]
    whole = json.loads(inside(*common, "x.json", cwd=tmp_path).stdout)["errors"]
    clock = itertools.count()  # of which a second is gone whenever someone looks
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: 3 * next(clock)))
    monkeypatch.setattr(future_errors, "AT_ONCE", 50)
    done = inside(*common, "y.json", cwd=tmp_path)
    assert "sampling futures: step 390/390" in done.stderr.decode()
    parts = json.loads(done.stdout)["errors"]
    for curve in ("mean path", "copy", "copy and set", "reading"):
        np.testing.assert_allclose(parts[curve]["mean"], whole[curve]["mean"], atol=1e-6)
    for curve in ("futures", "simulator"):  # other draws
        np.testing.assert_allclose(parts[curve]["mean"], whole[curve]["mean"], atol=0.1)


@pytest.mark.parametrize("where", ["citris_cli.causal_model.CausalModel.step", "torch.optim.Adam.step"])
def test_an_interrupted_comparison_writes_nothing(
    where: str, home: Path, model: Path, tmp_path: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, lambda *_, **__: signal.raise_signal(signal.SIGINT))
    done = inside("eval-rollout", home / "boxes", "--steps", 2, "--starts", 5, "-m", model, cwd=tmp_path)
    check_refusal(done, "interrupted, and nothing was written; run the command again", status=130)
    assert not list(tmp_path.iterdir())


def test_errors_without_a_simulator_and_without_truth(home: Path, model: Path, tmp_path: Path, inside: Citris) -> None:
    whole = arrays(home / "boxes/train.npz")
    whole["images"] = np.concatenate([whole["images"]] * 2)[:500]
    whole["latents"] = np.concatenate([whole["latents"]] * 2)[:500]
    whole["targets"] = np.concatenate([whole["targets"], whole["targets"][:1], whole["targets"]])[:499]
    plain = {key: value for key, value in whole.items() if key != "provenance"}
    np.savez(tmp_path / "d.npz", **plain)
    done = inside("eval-rollout", "d.npz", "--starts", 5, "-n", 1, "-m", model, "-o", "x.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    document = json.loads((tmp_path / "x.json").read_text())
    assert (document["world"], document["score"]) == (None, None)
    assert "simulator" not in document["errors"]
    assert "d.npz: was not written by 'citris simulate'" in done.stderr.decode()
    np.savez(tmp_path / "other.npz", **{**whole, "keys": whole["keys"][[1, 0, 2]]})
    done = inside("eval-rollout", "other.npz", "--starts", 5, "-n", 1, "-m", model, cwd=tmp_path)
    check_refusal(done, "its columns are not those of the world 'ball-in-boxes'; simulate it again")
    np.savez(tmp_path / "still.npz", **{**plain, "latents": np.ones_like(plain["latents"])})
    done = inside("eval-rollout", "still.npz", "--starts", 5, "-n", 1, "-m", model, cwd=tmp_path)
    check_refusal(done, r"none of its true factors \(.*\) varies in the 2\d\d frames to learn from; give more data")
    done = inside("eval-rollout", "d.npz", "--steps", 400, "-m", model, cwd=tmp_path)
    check_refusal(done, "d.npz: no 401 consecutive frames to compare a future of 400 steps with; take fewer --steps")
    np.savez(tmp_path / "d.npz", **{key: value for key, value in plain.items() if key != "latents"})
    done = inside("eval-rollout", "d.npz", "-m", model, cwd=tmp_path)
    check_refusal(done, "d.npz: has no ground truth")
