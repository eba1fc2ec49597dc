import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from citris_cli.artifacts.models import ModelFile, model_bytes, read_model, read_model_header, write_model
from citris_cli.errors import InputError
from tests.artifacts.edits import edited

FILE = ModelFile(
    "autoencoder",
    {"autoencoder": {"latents": 3}},
    [{"name": "x"}],
    {"seed": 1, "metrics": {"nan": float("nan"), "list": [float("inf"), 1.0]}},
    {"w": torch.randn(3, 4), "flag": torch.tensor(True), "n": torch.arange(5)},
)


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
        (lambda h: h["__metadata__"].update(config="3"), "config is int"),
        (lambda h: h["__metadata__"].update(format_version="1e999"), "metadata is damaged"),
        (lambda h: h["__metadata__"].update(format_version="0"), "its format has no number"),
        (lambda h: h["__metadata__"].update(format_version='"2"'), "its format has no number"),
        (lambda h: h["__metadata__"].update(kind="3"), "kind is int"),
        (lambda h: h["__metadata__"].update(variables="{}"), "variables is dict"),
        (lambda h: h["__metadata__"].update(provenance="[[1], [2]]"), "provenance is list"),
        (lambda h: h["__metadata__"].update(provenance='{"seed": 1e999}'), "not finite"),
        (lambda h: h["__metadata__"].update(config='{"a": 1' + "0" * 400 + "}"), "without bounds"),
        (lambda h: h["__metadata__"].update(config="[" * 40 + "]" * 40), "nested too deep"),
        (lambda h: h["__metadata__"].update(kind='"training_state"'), "step is missing"),
        (
            lambda h: h["__metadata__"].update(kind='"training_state"', config='{"step": -1, "settings": {}}'),
            "step is -1",
        ),
        (
            lambda h: h["__metadata__"].update(kind='"training_state"', config='{"step": true, "settings": {}}'),
            "step is True",
        ),
        (lambda h: h["__metadata__"].update(kind='"encodings"', config='{"key": 3}'), "key is 3"),
        (lambda h: h["__metadata__"].update(tensors_sha256='"0"'), "weights do not agree with their digest"),
        (lambda h: h["__metadata__"].update(x=3), "damaged"),
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


def test_no_bit_of_a_file_can_be_another(tmp_path: Path):
    path = tmp_path / "m.safetensors"
    content = model_bytes(FILE)
    for at in range(0, len(content)):
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        path.write_bytes(bytes(changed))
        with pytest.raises(InputError, match=r"damaged|safetensors|citris"):
            read_model(path)


def test_the_header_alone_is_checked_as_well(tmp_path: Path):
    path = tmp_path / "m.safetensors"
    content = model_bytes(FILE)
    at = content.index(b"latents")
    path.write_bytes(content[:at] + b"x" + content[at + 1 :])
    with pytest.raises(InputError, match="header does not agree with its digest"):
        read_model_header(path)


def test_files_of_earlier_formats_have_no_digests(tmp_path: Path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(edited(model_bytes(FILE), lambda header: None, signed=False))
    assert not read_model(path).checked
    assert not read_model_header(path).checked
    write_model(path, FILE)
    assert read_model(path).checked
    assert read_model(path, hashed=True).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()

    def newer(header):
        del header["__metadata__"]["header_sha256"]

    content = edited(model_bytes(FILE), newer)
    cut = content.replace(b"header_sha256", b"header_sha255")
    path.write_bytes(cut)
    with pytest.raises(InputError, match="its digest is missing"):
        read_model(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_numbers_that_are_not_finite_are_named(tmp_path: Path, value: float, dtype: torch.dtype):
    bad = torch.ones(3, 4, dtype=dtype)
    bad[2, 1] = value
    write_model(tmp_path / "m.safetensors", dataclasses.replace(FILE, tensors={**FILE.tensors, "reference.z": bad}))
    with pytest.raises(InputError, match=r"reference\.z holds NaN or infinite numbers"):
        read_model(tmp_path / "m.safetensors")


def test_what_is_read_is_one_file_whatever_becomes_of_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "m.safetensors"
    write_model(path, FILE)
    opened = []
    original = Path.open

    def replacing(self: Path, *arguments, **keywords):
        stream = original(self, *arguments, **keywords)
        if self == path:
            opened.append(self)
            other = dataclasses.replace(FILE, config={"other": 1}, tensors={"w": torch.zeros(2)})
            with monkeypatch.context() as patch:
                patch.setattr(Path, "open", original)
                write_model(path, other)
        return stream

    monkeypatch.setattr(Path, "open", replacing)
    read = read_model(path)
    assert len(opened) == 1
    assert read.config == FILE.config
    assert torch.equal(read.tensors["w"], FILE.tensors["w"])


def test_a_header_longer_than_any_is_not_read(tmp_path: Path) -> None:
    text = b'{"__metadata__":{"a":"' + b"x" * (9 << 20) + b'"}}'
    (tmp_path / "m.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(InputError, match="damaged or cut off"):
        read_model_header(tmp_path / "m.safetensors")
