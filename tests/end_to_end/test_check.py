"""``citris check`` as a user meets it, and what of it a training says before it begins."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.conftest import TINY_AE, TINY_NF, Citris, succeed
from tests.end_to_end.test_bad_input import check_refusal
from tests.evaluation.data_check.lamps import lamps, moved

LATE = "the targets look one step late: they fit the frames when read one row earlier"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound data, the same with late rows, and shards."""
    folder = tmp_path_factory.mktemp("check")
    sound = lamps(500, 2)
    np.savez(folder / "sound.npz", **sound)
    np.savez(folder / "late.npz", **moved(sound, 1))
    (folder / "two").mkdir()
    np.savez(folder / "two/train-0.npz", **sound)
    np.savez(folder / "two/train-1.npz", **lamps(300, 2, seed=1))
    return folder


def test_tables_json_and_page(folder: Path, inside: Citris) -> None:
    done = inside("check", "late.npz", cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == "runs/late/check.json\n"
    said = done.stderr.decode()
    assert "late.npz: 500 frames of 32×32, 3 channels, 499 steps in 1 episode, " in said
    assert "variable  interventions  alone  change  shows  depends on past" in said
    assert "Steps with interventions on both" in said
    assert f"problem: {LATE}" in said
    assert "page: runs/late/check.html" in said
    found = json.loads((folder / "runs/late/check.json").read_text())
    assert (found["fit"], found["alignment"]["lag"], found["data"]) == (False, 1, "late.npz")
    assert "late.npz" in (folder / "runs/late/check.html").read_text("utf-8")
    assert "<html" in (folder / "runs/late/check.html").read_text("utf-8")
    # The same document in every way; standard output has nothing else.
    piped = inside("check", "late.npz", "-o", "-", cwd=folder)
    assert json.loads(piped.stdout) == found
    told = inside("check", "late.npz", "--json", cwd=folder)
    assert told.stdout.count(b"\n") == 1
    assert json.loads(told.stdout) == found


def test_sound_data_are_fit_and_a_page_can_be_named(folder: Path, inside: Citris) -> None:
    done = inside("check", "sound.npz", "-o", "page.html", cwd=folder)
    assert (done.returncode, done.stdout) == (0, b"page.html\n")
    assert json.loads((folder / "page.json").read_text())["fit"] is True
    said = done.stderr.decode()
    assert "problem:" not in said
    assert "rows and frames are aligned (confidence 0." in said
    assert "no problem was found: these data are fit to learn from" in said
    assert "numbers: page.json" in said


def test_shards_names_groups_and_lead(folder: Path, inside: Citris) -> None:
    found = json.loads(succeed("check", "two", "--json", cwd=folder))
    assert (found["frames"], found["steps"], found["episodes"]) == (800, 798, 2)
    found = json.loads(succeed("check", "two/train-0.npz", "two/train-1.npz", "--json", cwd=folder))
    assert (found["data"], found["frames"]) == ("two/train-0.npz, two/train-1.npz", 800)
    found = json.loads(succeed("check", "sound.npz", "--vars", "x,y", "--group", "xy=x+y", "--json", cwd=folder))
    assert found["variables"] == ["xy"]
    rows = lamps(500, 2)
    rows["targets"] = np.concatenate([rows["targets"][:1] * 0, rows["targets"]])
    np.savez(folder / "rows.npz", **rows)
    found = json.loads(succeed("check", "rows.npz", "--json", cwd=folder))
    assert found["problems"][0].endswith("give --targets-lead in")
    found = json.loads(succeed("check", "rows.npz", "--targets-lead", "in", "--json", cwd=folder))
    assert (found["problems"], found["alignment"]["lag"]) == ([], 0)


def test_a_check_takes_the_place_of_one_of_the_same_data_only(folder: Path, tmp_path: Path, inside: Citris) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "x.npz", **lamps(100, 2))
    assert succeed("check", "a/x.npz", cwd=tmp_path) == "runs/x/check.json"
    assert succeed("check", "a/x.npz", cwd=tmp_path) == "runs/x/check.json"
    other = succeed("check", "b/x.npz", cwd=tmp_path)
    assert other.startswith("runs/x/check-")
    assert (tmp_path / other).with_suffix(".html").is_file()


def test_what_is_refused(folder: Path, tmp_path: Path, inside: Citris) -> None:
    check_refusal(inside("check", "none.npz", cwd=tmp_path), "none.npz: there is no such file")
    check_refusal(inside("check", "x.npz", "--json", "-o", "-", cwd=tmp_path), "--json and -o - both want standard")
    check_refusal(inside("check", "x.npz", "-o", "x.png", cwd=tmp_path), "-o x.png: the extension decides the format")
    check_refusal(
        inside("check", folder / "sound.npz", "--targets-lead", "in", cwd=tmp_path), "leaves nothing to choose"
    )
    check_refusal(inside("check", folder / "sound.npz", "--group", "z", cwd=tmp_path), "z")
    sizes = lamps(40, 2, size=64)
    np.savez(tmp_path / "large.npz", **sizes)
    check_refusal(inside("check", folder / "sound.npz", "large.npz", cwd=tmp_path), "64")
    never = lamps(40, 2)
    never["targets"][:] = 0
    np.savez(tmp_path / "never.npz", **never)
    check_refusal(inside("check", "never.npz", cwd=tmp_path), "no variable is ever intervened on")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["train-ae", "train-nf", "train-vae"])
def test_a_training_says_what_is_wrong_and_learns_the_same(
    folder: Path, tmp_path: Path, inside: Citris, command: str
) -> None:
    late = folder / "late.npz"
    options = {
        "train-ae": [*TINY_AE, "--steps", "3"],
        "train-nf": [*TINY_NF, "--steps", "3", "--ae", "ae.safetensors"],
        "train-vae": ["--steps", "3", "--latents", "4", "--channels", "8", "--hidden", "8", "--batch-size", "8"],
    }[command]
    if command == "train-nf":
        succeed("train-ae", late, *TINY_AE, "--steps", "2", "-o", "ae.safetensors", cwd=tmp_path)
    logs = {}
    for name, more in (("checked", []), ("unchecked", ["--no-check"])):
        done = inside(command, late, *options, *more, "-o", f"{name}.safetensors", cwd=tmp_path)
        assert done.returncode == 0, done.stderr.decode()
        said = done.stderr.decode().count(LATE)
        assert said == (1 if name == "checked" and command != "train-ae" else 0)
        lines = map(json.loads, (tmp_path / f"{name}.metrics.jsonl").read_text().splitlines())
        logs[name] = [{key: value for key, value in line.items() if "second" not in key} for line in lines]
    assert logs["checked"] == logs["unchecked"]


def test_an_autoencoder_is_told_of_faults_of_the_frames(tmp_path: Path, inside: Citris) -> None:
    arrays = lamps(300, 2)
    arrays["images"][100:110] = arrays["images"][100]
    np.savez(tmp_path / "hung.npz", **arrays)
    done = inside("train-ae", "hung.npz", *TINY_AE, "--steps", "2", cwd=tmp_path)
    assert "9 frames (101, 102, 103, 104, 105, …) equal the frame before" in done.stderr.decode()


def test_python_says_it_too_unless_it_is_left_out(folder: Path) -> None:
    import citris_cli
    from citris_cli.errors import InputError

    arrays = moved(lamps(300, 2), 1)
    said: list[str] = []
    small = {"steps": 1, "latents": 4, "channels": 8, "hidden": 8, "batch_size": 8}
    citris_cli.train_vae(arrays, **small, note=said.append)
    assert [one for one in said if one.startswith(LATE)]
    said.clear()
    citris_cli.train_vae(arrays, **small, note=said.append, check=False)
    assert not [one for one in said if one.startswith(LATE)]
    with pytest.raises(InputError, match="check is a str; give True or False"):
        citris_cli.train_vae(arrays, **small, check="no")
