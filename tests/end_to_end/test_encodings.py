"""Output in encodings that lack what is said, and files whose names are no text: nothing fails for it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Citris, run_citris

#: Encodings of terminals and pipes; none but the last has all that the commands say.
ENCODINGS = ("cp1251", "cp437", "cp932", "gbk", "ascii", "latin-1", "utf-8")
#: A locale without an encoding, as batch systems and containers have it, and Python's own help for it switched off.
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
#: Bytes of a name that are no UTF-8.
RAW = os.fsdecode(b"d\xff\xc3\xa9")
posix = pytest.mark.skipif(os.name != "posix", reason="names are text on this system")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_help_and_messages_come_in_any_encoding(tmp_path: Path, inside: Citris, encoding: str) -> None:
    # In a process of its own is what follows, and here once, where the least can be said.
    run = partial(run_citris, PYTHONIOENCODING=encoding) if encoding == "ascii" else partial(inside, encoding=encoding)
    for arguments, said in ((["--help"], ("R² and", "R2 and")), (["train-nf", "--help"], ("kind],…", "kind],..."))):
        done = run(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, b"")
        assert any(words in done.stdout.decode(encoding) for words in said)
    done = run("info", "nö→", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode(encoding).endswith(": there is no such file or directory; check the path\n")


@posix
@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 on this system")
@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "cp932"}, C_LOCALE])
def test_a_path_is_printed_as_the_bytes_of_its_name(
    home: Path, model: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    name = "dé…д" if "PYTHONIOENCODING" in environment else RAW
    (tmp_path / name).mkdir()
    shutil.copy(home / "boxes/val_indep.npz", tmp_path / name / "d.npz")
    done = run_citris("encode", f"{name}/d.npz", "-m", model, "-o", f"{name}/z.npz", cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    path = done.stdout.removesuffix(b"\n")
    assert path == os.fsencode(f"{name}/z.npz")
    assert os.path.isfile(os.path.join(os.fsencode(tmp_path), path))
    # What another command makes of what this one said, as in model=$(citris …).
    done = run_citris("info", os.fsdecode(path), "--json", cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert os.fsencode(json.loads(done.stdout)["file"]) == path


@posix
@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 on this system")
@pytest.mark.parametrize(
    ("name", "environment"),
    [
        ("größe".encode(), {"LC_ALL": "C", "LANG": "C"}),
        ("größe".encode("latin-1"), {"LC_ALL": "C.UTF-8"}),
        ("größe".encode("latin-1"), C_LOCALE),
        ("数据 1".encode(), C_LOCALE),
    ],
)
def test_a_folder_under_runs_has_the_letters_of_its_data_in_every_locale(
    home: Path, model: Path, tmp_path: Path, name: bytes, environment: dict[str, str]
) -> None:
    shutil.copy(home / "boxes/val_indep.npz", tmp_path / f"{os.fsdecode(name)}.npz")
    shutil.copy(model, tmp_path / "m.safetensors")
    done = run_citris("encode", f"{os.fsdecode(name)}.npz", "-m", "m.safetensors", cwd=tmp_path, **environment)
    written = b"runs/%s/latents.npz" % name.replace(b" ", b"_")
    assert (done.returncode, done.stdout) == (0, written + b"\n"), done.stderr
    assert os.path.isfile(os.path.join(os.fsencode(tmp_path), written))


@posix
@pytest.mark.usefixtures("brief_estimate")
@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 on this system")
@pytest.mark.parametrize(
    "arguments",
    [
        ["encode", f"{RAW}.npz"],
        ["encode", f"{RAW}.npz", "-o", f"{RAW}/z.npz"],
        ["intervene", f"{RAW}.npz#1", "--var", "box", "-n", "1"],
        ["animate-latents", f"{RAW}.npz", "--frames", "2"],
        ["animate-latents", f"{RAW}.npz", "--frames", "2", "-o", f"{RAW}.html"],
        ["eval-correlation", f"{RAW}.npz"],
        ["graph", f"{RAW}.npz"],
    ],
)
def test_names_that_are_no_text_reach_every_artifact(
    home: Path, model: Path, tmp_path: Path, inside: Citris, arguments: list[str]
) -> None:
    shutil.copy(home / "boxes/val_indep.npz", tmp_path / f"{RAW}.npz")
    (tmp_path / RAW).mkdir()
    shutil.copy(model, tmp_path / f"{RAW}/m.safetensors")
    done = inside(*arguments, "-m", f"{RAW}/m.safetensors", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert os.path.isfile(os.path.join(os.fsencode(tmp_path), done.stdout.removesuffix(b"\n")))
