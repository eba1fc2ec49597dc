import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from citris_cli.artifacts.models import ModelFile, model_bytes, read_model, read_model_header, write_model
from citris_cli.errors import InputError

FILE = ModelFile(
    "autoencoder",
    {"autoencoder": {"latents": 3}},
    [{"name": "x"}],
    {"seed": 1, "metrics": {"nan": float("nan"), "list": [float("inf"), 1.0]}},
    {"w": torch.randn(3, 4), "flag": torch.tensor(True), "n": torch.arange(5)},
)


def edited(content: bytes, change) -> bytes:
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def test_round_trip(tmp_path: Path):
    write_model(tmp_path / "m.safetensors", FILE)
    read = read_model(tmp_path / "m.safetensors")
    assert (read.kind, read.config, read.variables) == (FILE.kind, FILE.config, FILE.variables)
    assert read.provenance == {"seed": 1, "metrics": {"nan": None, "list": [None, 1.0]}}
    for name, tensor in FILE.tensors.items():
        assert torch.equal(read.tensors[name], tensor)
    assert read_model_header(tmp_path / "m.safetensors").tensors["w"] == ("F32", (3, 4))


def test_same_contents_same_bytes_in_every_process():
    # safetensors orders metadata by a hash table whose seed differs from process to process.
    script = (
        "import torch, sys; from citris_cli.artifacts.models import *;"
        "sys.stdout.buffer.write(model_bytes(ModelFile('k', {'a': 1}, None, {'b': 2}, {'w': torch.ones(3)})))"
    )
    theirs = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    assert theirs == model_bytes(ModelFile("k", {"a": 1}, None, {"b": 2}, {"w": torch.ones(3)}))


@pytest.mark.parametrize("cut", [0, 3, 8, 20, 200, -1, -9])
def test_truncated_files_are_refused(tmp_path: Path, cut: int):
    path = tmp_path / "m.safetensors"
    path.write_bytes(model_bytes(FILE)[:cut])
    for read in (read_model, read_model_header):
        with pytest.raises(InputError, match=r"m\.safetensors"):
            read(path)


def _offsets(value):
    return lambda header: header["w"].update(data_offsets=value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda h: h.pop("__metadata__"), "not one of citris"),
        (lambda h: h["__metadata__"].update(format='"other"'), "of other, not of citris"),
        (lambda h: h["__metadata__"].update(format_version="99"), "newer citris"),
        (lambda h: h["__metadata__"].update(config="{"), "metadata is damaged"),
        (lambda h: h["__metadata__"].update(config="3"), "metadata is damaged"),
        (lambda h: h["w"].update(dtype="F99"), "damaged or cut off"),
        (lambda h: h["w"].update(shape=[3, 5]), "damaged or cut off"),
        (lambda h: h["w"].update(shape=[-3, -4]), "damaged or cut off"),
        (_offsets([0, 10**15]), "damaged or cut off"),
        (_offsets([8, 56]), "overlap|damaged"),
        (_offsets("ab"), "damaged or cut off"),
    ],
)
def test_hostile_headers_are_refused(tmp_path: Path, change, says: str):
    path = tmp_path / "m.safetensors"
    path.write_bytes(edited(model_bytes(FILE), change))
    with pytest.raises(InputError, match=says):
        read_model(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + b"x" * 100, b"\x80\x02}q\x00.", b"\xff" * 64, b"[" * 100_000])
def test_foreign_bytes_are_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="safetensors"):
        read_model_header(path)


def test_deeply_nested_json_is_refused(tmp_path: Path):
    text = b'{"w":' + b"[" * 50_000
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(InputError, match="safetensors"):
        read_model_header(path)


def test_a_missing_file_is_said_plainly(tmp_path: Path):
    with pytest.raises(InputError, match="no such file"):
        read_model(tmp_path / "none.safetensors")


def test_a_header_longer_than_any_is_not_read(tmp_path: Path) -> None:
    text = b'{"__metadata__":{"a":"' + b"x" * (9 << 20) + b'"}}'
    (tmp_path / "m.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(InputError, match="damaged or cut off"):
        read_model_header(tmp_path / "m.safetensors")
