"""Runs that would meet in one place: none replaces or mixes with what another one made."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from citris_cli.artifacts.locks import held
from citris_cli.artifacts.models import read_model_header
from tests.end_to_end.conftest import Citris, succeed
from tests.end_to_end.test_bad_input import check_refusal
from tests.forks import started
from tests.waiting import wait_until

AE = ["train-ae", "d.npz", "--steps", 2, "--latents", 4, "--channels", 4, "--batch-size", 8]
NF = ["train-nf", "d.npz", "--steps", 2, "--samples", 2, "--hidden", 4, "--flow-layers", 2, "--batch-size", 8]


def write_dataset(home: Path, path: Path, rows: slice) -> None:
    with np.load(home / "boxes/train.npz", allow_pickle=False) as boxes:
        np.savez(path, images=boxes["images"][rows], targets=boxes["targets"][rows][:-1], keys=boxes["keys"])


@pytest.fixture
def folder(home: Path, tmp_path: Path) -> Path:
    """A folder with a file of few frames."""
    write_dataset(home, tmp_path / "d.npz", slice(80))
    return tmp_path


def settings(path: Path) -> dict[str, int]:
    return read_model_header(path).provenance["settings"]["training"]


def test_a_model_of_other_settings_stays_and_the_new_one_goes_beside_it(folder: Path, inside: Citris) -> None:
    runs = folder / "runs/d"

    def goes(*options: object, to: str, says: str = "") -> None:
        done = inside(*AE, *options, cwd=folder)
        assert done.stdout.decode() == f"runs/d/{to}\n", done.stderr.decode()
        assert says in done.stderr.decode()
        assert ("runs/d/ae.safetensors" in done.stderr.decode()) == bool(says)

    goes(to="ae.safetensors")
    first = (runs / "ae.safetensors").read_bytes()
    log = (runs / "ae.metrics.jsonl").read_bytes()
    holds = "runs/d/ae.safetensors holds a finished autoencoder that differs in"
    beside = "this one goes to runs/d/ae-seed7.safetensors (--overwrite would replace that one)"
    goes("--seed", 7, to="ae-seed7.safetensors", says=f"{holds} seed (0, here 7): {beside}")
    done = inside(*AE, "--seed", 7, "--steps", 3, cwd=folder)
    assert f"{holds} seed (0, here 7) and steps (2, here 3): this one goes to " in done.stderr.decode()
    other = done.stdout.decode().strip()
    assert Path(other).name.startswith("ae-")
    assert len(Path(other).stem) == len("ae-") + 8
    # A model on standard output goes nowhere else; its log does.
    piped = inside(*AE, "--seed", 9, "-o", "-", cwd=folder)
    log_beside = "the log of this one goes to runs/d/ae-seed9.metrics.jsonl\n"
    assert f"{holds} seed (0, here 9): {log_beside}" in piped.stderr.decode()
    assert [path.name for path in runs.glob("ae-seed9*.safetensors")] == []
    # Each again in its own place, which is said.
    goes(to="ae.safetensors", says="ae.safetensors was trained with the same settings: training it again in its")
    assert succeed(*AE, "--seed", 7, cwd=folder) == "runs/d/ae-seed7.safetensors"
    assert succeed(*AE, "--seed", 7, "--steps", 3, cwd=folder) == other
    assert (runs / "ae.safetensors").read_bytes() == first
    assert [json.loads(line)["step"] for line in log.splitlines()] == [
        json.loads(line)["step"] for line in (runs / "ae.metrics.jsonl").read_bytes().splitlines()
    ]
    assert [settings(runs / name)["seed"] for name in ("ae.safetensors", "ae-seed7.safetensors")] == [0, 7]
    goes("--seed", 7, "--overwrite", to="ae.safetensors", says="seed (0, here 7): replaced (--overwrite)")
    assert settings(runs / "ae.safetensors")["seed"] == 7


def test_those_beside_are_found_like_any_other(folder: Path, inside: Citris) -> None:
    for seed in (0, 7):
        succeed(*AE, "--seed", seed, cwd=folder)
    succeed(*NF, "--ae", "runs/d/ae.safetensors", cwd=folder)
    for seed in (0, 5):
        done = inside(*NF, "--seed", seed, cwd=folder)
        if seed == 0:
            says = "runs/d/nf.safetensors holds a finished CITRIS-NF that differs in autoencoder: this one goes"
            assert says in done.stderr.decode()
        assert "autoencoder: runs/d/ae-seed7.safetensors (this dataset's, the newest there)" in done.stderr.decode()
    assert done.stdout == b"runs/d/nf-seed5.safetensors\n"
    done = inside("encode", "d.npz", cwd=folder)
    assert "model: runs/d/nf-seed5.safetensors (the newest under runs/)" in done.stderr.decode()
    # And they keep other data of the same name out of their folder.
    for name in ("ae", "nf"):
        (folder / f"runs/d/{name}.safetensors").unlink()
        (folder / f"runs/d/{name}.state.safetensors").unlink()
    with np.load(folder / "d.npz", allow_pickle=False) as data:
        arrays = dict(data)
    np.savez(folder / "d.npz", **{**arrays, "images": arrays["images"][::-1]})
    assert succeed(*AE, cwd=folder).startswith("runs/d-")


def test_a_name_that_was_given_is_not_replaced_without_being_told(folder: Path, inside: Citris, home: Path) -> None:
    succeed(*AE, "-o", "m.safetensors", cwd=folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_dataset(home, folder / "e.npz", slice(80, 160))
    refused = "m.safetensors holds a finished autoencoder that differs in {}; name another file with -o, or replace it "
    for arguments, differs in (
        ([*AE, "--seed", 7], r"seed \(0, here 7\)"),
        ([*AE, "--lr", 0.5, "--clip", 2], r"clip \(1.0, here 2.0\) and lr \(0.002, here 0.5\)"),
        (["train-ae", "e.npz", *AE[2:]], "data"),
    ):
        done = inside(*arguments, "-o", "m.safetensors", cwd=folder)
        check_refusal(done, f"^citris: {refused.format(differs)}with --overwrite$")
        assert b"step" not in done.stderr.split(b"citris: ")[0]  # no time was spent
    shutil.copy(folder / "m.safetensors", folder / "other.safetensors")
    done = inside(*NF, "--ae", "other.safetensors", "-o", "m.safetensors", cwd=folder)
    check_refusal(done, "m.safetensors holds a finished autoencoder; name")
    (folder / "notes").write_text("of mine")
    check_refusal(
        inside(*AE, "-o", "notes", cwd=folder), "^citris: notes holds something else than a model of citris; "
    )
    # What is read is not replaced whatever is said.
    for arguments, called, name in (
        ([*NF, "--ae", "m.safetensors"], "--ae", "m.safetensors"),
        (AE, "DATA", "d.npz"),
        ([*NF, "--val", "e.npz"], "--val", "e.npz"),
    ):
        done = inside(*arguments, "-o", name, "--overwrite", cwd=folder)
        check_refusal(done, rf"^citris: -o {name}: is also an input \({called} {name}\); name another file$")
    assert {name: (folder / name).read_bytes() for name in before} == before
    done = inside(*AE, "--seed", 7, "-o", "m.safetensors", "--overwrite", cwd=folder)
    assert done.stdout == b"m.safetensors\n"
    assert "differs in seed (0, here 7): replaced (--overwrite)" in done.stderr.decode()
    assert settings(folder / "m.safetensors")["seed"] == 7
    (folder / "reserved").touch()  # as mktemp does
    assert succeed(*AE, "-o", "reserved", cwd=folder) == "reserved"


def test_the_state_of_another_run_is_protected_too(folder: Path, inside: Citris) -> None:
    for options in ([], ["-o", "m.safetensors"]):
        path = succeed(*AE, *options, cwd=folder)
        (folder / path).unlink()
        state = folder / path.replace(".safetensors", ".state.safetensors")
        whole = state.read_bytes()
        done = inside(*AE, "--seed", 7, *options, cwd=folder)
        says = (
            f"{path.removesuffix('.safetensors')}.state.safetensors holds an unfinished training run that differs in "
            "seed"
        )
        assert says in done.stderr.decode()
        assert done.returncode == (2 if options else 0)
        assert state.read_bytes() == whole


def test_a_second_run_on_an_output_is_refused_while_the_first_goes_on(folder: Path, inside: Citris) -> None:
    arguments = [*NF, "--steps", 5000, "--batch-size", 32, "-o", "m.safetensors"]
    succeed(*AE, cwd=folder)
    first = started(*arguments, cwd=folder, stderr=subprocess.PIPE)
    log = folder / "m.metrics.jsonl"
    wait_until(lambda: log.exists() and log.stat().st_size, first)
    by = rf"(by process {first.pid})?"
    refused = (
        rf"^citris: m.safetensors: is being trained ?{by}; wait until that has ended, or name another file with -o$"
    )
    begun = log.read_bytes()
    for _ in range(2):
        done = inside(*arguments, cwd=folder)
        check_refusal(done, refused)
    assert log.read_bytes().startswith(begun)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    # What died holds nothing.
    done = inside(*arguments, "--steps", 3, cwd=folder)
    assert done.stdout == b"m.safetensors\n", done.stderr.decode()
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_the_autoencoder_that_is_trained_first_is_locked_too(folder: Path, inside: Citris) -> None:
    with held(folder / "runs/d/.ae.lock"):
        check_refusal(inside(*NF, cwd=folder), r"^citris: runs/d/ae.safetensors: is being trained by process \d+; wait")
    assert not list((folder / "runs/d").iterdir())


@pytest.mark.parametrize(
    ("arguments", "lock", "where"),
    [
        (NF, "nf", "runs/d/nf.safetensors"),
        ([*NF, "--steps", 4, "--resume"], "nf", "runs/d/nf.safetensors"),
        ([*NF, "--seed", 1, "--overwrite"], "nf", "runs/d/nf.safetensors"),
        ([*NF, "-o", "-"], "nf", "runs/d/nf.state.safetensors"),
        ([*NF, "-o", "runs/d/nf"], "nf", "runs/d/nf"),  # whose state would be the same file
        ([*AE, "-o", "-"], "ae", "runs/d/ae.state.safetensors"),
        ([*AE, "--steps", 4, "--resume"], "ae", "runs/d/ae.safetensors"),
        ([*AE, "--seed", 1, "--overwrite"], "ae", "runs/d/ae.safetensors"),
    ],
)
def test_whatever_a_second_run_asks_for_what_the_first_one_made_stays(
    folder: Path, inside: Citris, arguments: list[object], lock: str, where: str
) -> None:
    for command in (AE, NF):
        succeed(*command, cwd=folder)
    runs = folder / "runs/d"
    before = {path.name: path.read_bytes() for path in runs.iterdir()}
    with held(runs / f".{lock}.lock"):
        check_refusal(inside(*arguments, cwd=folder), rf"^citris: {where}: is being trained by process \d+; wait until")
    assert {path.name: path.read_bytes() for path in runs.iterdir()} == before
