"""Names, paths and metadata that would act on a terminal or forge what it shows are shown as text."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from citris_cli.artifacts.models import read_model, safetensors_bytes, write_model
from tests.end_to_end.conftest import Citris
from tests.waiting import PATIENCE

posix = pytest.mark.skipif(
    os.name != "posix" or sys.platform == "darwin", reason="needs pseudo-terminals, and names with any byte"
)

#: Moves the cursor, names a link, turns the writing around, has no width, ends a line, and is markup of Rich.
HOSTILE = "x\x1b[2J\x1b]8;;http://a\x07\u202e\u200b\x9b31m\r[link=http://a]y[/link][red]\ncitris: done"
#: As it is shown.
SHOWN = r"x\x1b[2J\x1b]8;;http://a\x07\u202e\u200b\x9b31m\r[link=http://a]y[/link][red]\ncitris: done"
FRAMES = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3)).astype(np.uint8)
TARGETS = np.tile(np.array([[0, 1], [1, 0]], np.uint8), (6, 1))[:11]


def on_terminal(*arguments: object, cwd: Path) -> tuple[int, str]:
    """Status and all that a command writes where standard output and standard error are a terminal."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "citris_cli", *map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "TERM": "xterm"},
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            block = os.read(ours, 1 << 16)
        except OSError:  # how Linux says that the other end is closed
            break
        if not block:
            break
        said += block
    os.close(ours)
    return process.wait(timeout=PATIENCE), said.decode("utf-8", "surrogateescape")


def assert_harmless(said: str, colours: bool = False) -> None:
    """Nothing but text, line breaks and, where they are expected, what Rich itself writes: colours and the cursor."""
    plain = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", said) if colours else said
    assert all(character.isprintable() or character in "\r\n" for character in plain), plain
    assert "\x1b]" not in said
    assert "\x1b[2J" not in said
    assert not re.search(r"^citris: done", said, re.MULTILINE)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with a dataset that has a hostile key."""
    np.savez(tmp_path / "d.npz", images=FRAMES, targets=TARGETS, **{HOSTILE.replace("/", "|"): TARGETS})
    return tmp_path


def test_keys_of_a_dataset(hostile: Path, inside: Citris) -> None:
    shown = SHOWN.replace("/", "|")
    done = inside("info", "d.npz", cwd=hostile)
    assert done.returncode == 0, done.stderr
    assert_harmless(done.stdout.decode())
    assert shown in done.stdout.decode()
    done = inside("info", "d.npz", "--json", cwd=hostile)
    assert done.stdout.isascii()
    assert HOSTILE.replace("/", "|") in json.loads(done.stdout)["arrays"]
    done = inside("train-ae", "d.npz", "--steps", 1, "--latents", 4, "--channels", 8, "--batch-size", 8, cwd=hostile)
    assert done.returncode == 0, done.stderr
    assert_harmless(done.stderr.decode())
    assert f"not used, as citris does not read keys of these names: {shown[:70]}" in done.stderr.decode()


@posix
@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_names_of_files(tmp_path: Path, inside: Citris, debug: list[str]) -> None:
    name = HOSTILE.replace("/", "|") + os.fsdecode(b"\xff")
    shown = SHOWN.replace("/", "|") + r"\xff"
    (tmp_path / name).write_bytes(b"no dataset")
    done = inside("encode", name, "--model", "none.safetensors", cwd=tmp_path)
    assert done.returncode == 2
    done = inside("info", name, cwd=tmp_path)
    assert done.returncode == 2
    assert_harmless(done.stdout.decode())
    assert_harmless(done.stderr.decode())
    assert f"citris: {shown}: " in done.stderr.decode()
    assert shown in done.stdout.decode()
    status, said = on_terminal("info", name, *debug, cwd=tmp_path)
    assert status == (1 if debug else 2)
    assert_harmless(said.replace("\ncitris: done", ""))  # a traceback has the lines of its message
    assert shown in said


@posix
def test_a_result_keeps_the_bytes_of_its_name_for_programs_alone(hostile: Path, inside: Citris) -> None:
    name = HOSTILE.replace("/", "|") + ".safetensors"
    tiny = ["--steps", 1, "--latents", 4, "--channels", 8, "--batch-size", 8]
    done = inside("train-ae", "d.npz", *tiny, "-o", name, cwd=hostile)
    assert done.returncode == 0, done.stderr
    assert done.stdout == os.fsencode(name) + b"\n"
    assert_harmless(done.stderr.decode())
    status, said = on_terminal("train-ae", "d.npz", *tiny, "-o", name, "--overwrite", cwd=hostile)
    assert status == 0, said
    assert_harmless(said, colours=True)
    assert SHOWN.replace("/", "|") + ".safetensors" in said


def test_metadata_of_a_model(home: Path, tmp_path: Path, inside: Citris) -> None:
    file = read_model(home / "runs/boxes/nf.safetensors")
    file.provenance["command"] = ["citris", HOSTILE]
    file.provenance["versions"] = {HOSTILE: HOSTILE}
    write_model(tmp_path / "m.safetensors", file)
    done = inside("info", "m.safetensors", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_harmless(done.stdout.decode())
    assert done.stdout.decode().count(SHOWN) == 3
    content = safetensors_bytes(file.tensors, {"format": HOSTILE * 99, "kind": "x", "format_version": 1})
    (tmp_path / "m.safetensors").write_bytes(content)
    done = inside("info", "m.safetensors", cwd=tmp_path)
    assert done.returncode == 2
    assert_harmless(done.stderr.decode())
    assert len(done.stderr.decode()) < 600
    assert done.stderr.decode().endswith("or import a published one with 'citris import-checkpoint'\n")


def test_many_and_long_names_are_not_all_told(tmp_path: Path, inside: Citris) -> None:
    many = {f"{'k' * 300}{number}": np.zeros(1) for number in range(300)}
    np.savez(tmp_path / "d.npz", **many)
    done = inside("train-ae", "d.npz", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.decode()) < 500
    assert re.search(r"and 29\d more; save them under one of these keys\n$", done.stderr.decode())
    np.savez(tmp_path / "d.npz", images=FRAMES, targets=TARGETS, **many)
    done = inside("train-ae", "d.npz", "--steps", 1, "--latents", 4, "--channels", 8, "--batch-size", 8, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stderr.decode().splitlines())) < 500


@pytest.mark.parametrize("command", ["info", "train-ae", "encode", "animate-latents"])
def test_a_path_that_can_be_none(home: Path, tmp_path: Path, inside: Citris, command: str) -> None:
    model = ["-m", home / "runs/boxes/nf.safetensors"] if command in ("encode", "animate-latents") else []
    done = inside(command, "k" * 3000, *model, cwd=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"citris: k+ … k+: .*(no such file|cannot be read).*; check the path\n", done.stderr.decode())
    assert len(done.stderr.decode()) < 450
