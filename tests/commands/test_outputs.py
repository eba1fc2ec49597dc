"""The contract of a command's output: where it goes, that it can, that it is whole, and what is said of it."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from citris_cli.commands.outputs import STDOUT, Output
from citris_cli.errors import CitrisError, InputError
from citris_cli.show.console import Console

FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device that is always full")


Captured = pytest.CaptureFixture[bytes]


def test_two_results_cannot_share_standard_output() -> None:
    with pytest.raises(InputError, match=r"^--json and -o - both want standard output; give -o a file$"):
        Output(STDOUT, as_json=True)


@pytest.mark.parametrize("name", ["x.png", "x.PNG", "x.json", "x"])
def test_of_two_files_either_can_be_named(name: str, tmp_path: Path, capsysbinary: Captured) -> None:
    named = tmp_path / name
    asked = Output(named, as_json=False, beside=".png")
    path = asked.place(tmp_path / "default.json")
    assert path == (named if name in ("x.json", "x") else tmp_path / "x.json")
    assert asked.path_beside(path) == (tmp_path / "x.png" if name in ("x.json", "x") else named)
    asked.write_report(Console(), {"score": 1}, path)
    assert capsysbinary.readouterr().out.decode() == f"{named}\n"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_name_that_ends_like_neither_is_refused() -> None:
    with pytest.raises(InputError, match=r"^-o x\.pdf: the extension decides the format; use \.json, or \.png for the"):
        Output(Path("x.pdf"), as_json=False, beside=".png")
    assert Output(Path("x.pdf"), as_json=False).given == Path("x.pdf")


@pytest.mark.parametrize("name", ["x", "x.v2", "x.npz", "x.NPZ"])
def test_a_name_may_say_nothing_of_the_kind_of_file(name: str, tmp_path: Path) -> None:
    asked = Output(tmp_path / name, as_json=False, ending=".npz", what="latents")
    assert asked.place(tmp_path / "default.npz") == tmp_path / name
    assert Output(STDOUT, as_json=False, ending=".npz", what="latents").place(tmp_path / "default.npz") is None


def test_where_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    default = Path("runs/x/z.npz")
    assert Output(None, as_json=True).place(default) == default
    assert Output(Path("a.npz"), as_json=False).place(default) == Path("a.npz")
    assert Output(STDOUT, as_json=False).place(default) is None
    assert [Output(path, as_json=False).to_stdout for path in (None, Path("a"), STDOUT)] == [False, False, True]
    assert list(tmp_path.iterdir()) == []  # finding out leaves nothing behind


def test_only_the_default_place_gives_way_to_what_was_made_of_other_data(tmp_path: Path) -> None:
    there = tmp_path / "z.npz"
    Output(there, as_json=False).write_arrays(there, {"sources": np.array(["a.png"])})
    other = Output(None, as_json=False).place(there, ["b.png"])
    assert other is not None
    assert other.parent == tmp_path
    assert other.name.startswith("z-")
    assert Output(None, as_json=False).place(there, ["a.png"]) == there
    assert Output(None, as_json=False).place(there) == there
    assert Output(there, as_json=False).place(tmp_path / "default.npz", ["b.png"]) == there


def test_a_place_that_cannot_be_written_is_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no folder")
    (tmp_path / "folder.png").mkdir()
    inside, folder = tmp_path / "text/x.json", tmp_path / "folder.png"
    for path in (inside, folder):
        for output, default in ((Output(path, as_json=False), tmp_path / "d"), (Output(None, as_json=False), path)):
            with pytest.raises(InputError, match="cannot be written"):
                output.place(default)
        with pytest.raises(InputError, match="cannot be written"):
            Output(path, as_json=True).check()
    for output in (Output(None, as_json=False), Output(STDOUT, as_json=False)):
        output.check()  # the default is not known yet, and standard output is open
    with pytest.raises(InputError, match=r"folder\.png: cannot be written \(is a directory\)"):
        Output(None, as_json=False, beside=".png").place(tmp_path / "folder.json")


def test_what_is_read_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("d.npz", "m.safetensors", "x.png", "shards/train-1.npz", "shards/val_indep.npz", "photos/1.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"content")
    Path("shards/latents.npz").write_bytes(b"made by encode")
    Path("link.npz").symlink_to("d.npz")
    os.link("d.npz", "hard.npz")
    given = [("DATA", "d.npz"), ("DATA", "d.npz#3"), ("DATA", "*.npz"), ("IMAGE", "link.npz"), ("--ae", "hard.npz")]
    for called, path in given:
        for out in ("d.npz", "link.npz", "hard.npz", str(tmp_path / "shards/../d.npz")):
            with pytest.raises(
                InputError, match=rf"^-o {out}: is also an input \({called} .*\.npz\); name another file$"
            ):
                Output(Path(out), as_json=False).reading(called, Path(path))
    for out, path in [("shards/train-1.npz", "shards"), ("shards/val_indep.npz", "shards"), ("photos/1.png", "photos")]:
        with pytest.raises(InputError, match=rf"^-o {out}: is also an input \(DATA {out}\); name another file$"):
            Output(Path(out), as_json=False).reading("DATA", Path(path))
    # What lies beside it, and a default place.
    with pytest.raises(InputError, match=r"^x\.png: is also an input \(IMAGE x\.png\); name another file with -o$"):
        Output(Path("x.json"), as_json=False, beside=".png").reading("IMAGE", Path("x.png"))
    asked = Output(None, as_json=False).reading("DATA", Path("d.npz")).reading("--ae", Path("m.safetensors"), None)
    with pytest.raises(InputError, match=r"^hard\.npz: is also an input \(DATA d\.npz\); name another file with -o$"):
        asked.place(Path("hard.npz"))
    with pytest.raises(InputError, match=r"^m\.safetensors: is also an input \(--ae m\.safetensors\)"):
        asked.place(Path("m.safetensors"))
    # What a folder has besides its data is no input, nor is what is not there.
    for out, path in [("shards/latents.npz", "shards"), ("new.npz", "new.npz"), ("-", "-"), ("/dev/null", "/dev/null")]:
        Output(Path(out), as_json=False).reading("DATA", Path(path)).place(Path("default"))
    assert Path("d.npz").read_bytes() == b"content"


def test_only_what_was_named_is_written_through_a_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    for name in ("x.json", "x.png"):
        elsewhere.write_bytes(b"mine")
        (tmp_path / name).symlink_to(elsewhere)
        says = (
            f"{name}: is a link to .*elsewhere, and only what -o names is written through a link; remove it, or choose"
        )
        with pytest.raises(InputError, match=says):
            Output(None, as_json=False, beside=".png").place(tmp_path / "x.json")
        (tmp_path / name).unlink()
    link = tmp_path / "x.json"
    link.symlink_to(elsewhere)
    asked = Output(link, as_json=False, beside=".png")
    assert asked.place(tmp_path / "default.json") == link
    asked.write_report(Console(), {"score": 1}, link, b"picture", "first rows")
    assert link.is_symlink()
    assert json.loads(elsewhere.read_text()) == {"score": 1}
    assert (tmp_path / "x.png").read_bytes() == b"picture"
    # A file in a folder that was named has a name of ours.
    with pytest.raises(InputError, match="only what -o names"):
        Output(tmp_path, as_json=False).place_inside("x.json")


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "-"])
def test_standard_output_has_several_names(name: str) -> None:
    assert Output(Path(name), as_json=False).to_stdout
    with pytest.raises(InputError, match="both want standard output"):
        Output(Path(name), as_json=True)


def test_beside_a_device_lies_nothing(tmp_path: Path, capsysbinary: Captured) -> None:
    null = Path(os.devnull)
    asked = Output(null, as_json=False, beside=".png")
    assert asked.place(tmp_path / "default.json") == null
    before = sorted(os.listdir(null.parent))
    asked.write_report(Console(), {"score": 1}, null, b"picture", "first rows")
    told = capsysbinary.readouterr()
    assert told.out.decode() == f"{null}\n"
    assert told.err.decode() == f"first rows: not written, as {null} is not a file that it could be placed beside\n"
    assert sorted(os.listdir(null.parent)) == before


def test_an_artifact_is_the_same_in_a_file_and_on_standard_output(tmp_path: Path, capsysbinary: Captured) -> None:
    asked = Output(None, as_json=False)
    asked.write_bytes(tmp_path / "new/a", b"artifact")
    asked.write_bytes(None, b"artifact")
    assert (tmp_path / "new/a").read_bytes() == capsysbinary.readouterr().out == b"artifact"
    arrays = {"z": np.arange(6, dtype=np.float32).reshape(2, 3)}
    asked.write_arrays(tmp_path / "a.npz", arrays)
    asked.write_arrays(None, arrays)
    content = capsysbinary.readouterr().out
    assert (tmp_path / "a.npz").read_bytes() == content
    with np.load(io.BytesIO(content), allow_pickle=False) as read:
        np.testing.assert_array_equal(read["z"], arrays["z"])


@FULL
def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.npz"
    path.symlink_to("/dev/full")
    full = io.TextIOWrapper(open("/dev/full", "wb", buffering=0))  # noqa: SIM115
    monkeypatch.setattr(sys, "stdout", full)
    for place, says in ((path, r"x\.npz: the disk is full"), (None, r"^standard output: the disk is full")):
        asked = Output(place, as_json=False)
        with pytest.raises(CitrisError, match=says) as caught:
            asked.write_bytes(place, b"artifact")
        assert caught.value.exit_status == 1
        with pytest.raises(CitrisError, match=says):
            asked.write_arrays(place, {"z": np.zeros(3)})


def test_an_unfinished_file_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(CitrisError, match="the disk is full"):
        Output(path, as_json=False).write_bytes(path, b"new")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("x", b"old")]


@pytest.mark.parametrize(
    ("as_json", "paths", "said"),
    [
        (False, [Path("a")], "a\n"),
        (False, [Path("a"), Path("b"), Path("a")], "a\nb\n"),
        (False, [None], ""),
        (True, [Path("a"), Path("b")], '{"files": ["a", "b"], "made": 3}\n'),
    ],
)
def test_what_is_said_at_the_end(capsysbinary: Captured, as_json: bool, paths: list[Path | None], said: str) -> None:
    Output(None, as_json).report(Console(), {"made": 3}, *paths)
    assert capsysbinary.readouterr().out.decode() == said


@pytest.mark.parametrize(("as_json", "to_file", "lines"), [(False, True, None), (True, True, 1), (False, False, 3)])
def test_a_report_is_written_and_said(
    tmp_path: Path, capsysbinary: Captured, as_json: bool, to_file: bool, lines: int | None
) -> None:
    path = tmp_path / "r.json" if to_file else None
    Output(path or STDOUT, as_json).write_report(Console(), {"score": 0.5}, path)
    said = capsysbinary.readouterr().out.decode()
    if path is not None:
        assert json.loads(path.read_text()) == {"score": 0.5}
        assert path.read_text().endswith("}\n")
    if lines is None:
        assert said == f"{path}\n"
    else:
        assert json.loads(said) == {"score": 0.5}
        assert said.count("\n") == lines
