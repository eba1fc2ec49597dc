"""Files of published checkpoints: nothing in them is run, nothing that they claim is believed, all is said plainly."""

from __future__ import annotations

import copy
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from citris_cli.artifacts import checkpoints
from citris_cli.artifacts.checkpoints import checkpoint_bytes, is_published, read_checkpoint
from citris_cli.artifacts.models import read_model_header
from citris_cli.errors import InputError
from tests.artifacts.test_models import FILE, edited, model_bytes
from tests.end_to_end.test_bad_input import Planted

PLAIN = {"state_dict": {"w": torch.arange(16.0)}, "hyper_parameters": {"c_hid": 3}, "epoch": 4, "global_step": 9}


def check_refused(path: Path, says: str) -> str:
    with pytest.raises(InputError, match=says) as caught:
        read_checkpoint(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    assert len(sentence) < 500
    return sentence


def rewritten(path: Path, change: Callable[[bytes], bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """A checkpoint with another pickle in its archive."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, change(content) if name.endswith("data.pkl") else content)


def test_weights_hyperparameters_and_origin(tmp_path: Path) -> None:
    torch.save(PLAIN, tmp_path / "m.ckpt")
    assert is_published(tmp_path / "m.ckpt")
    found = read_checkpoint(tmp_path / "m.ckpt")
    assert torch.equal(found.weights["w"], torch.arange(16.0))
    assert found.hyper_parameters == {"c_hid": 3}
    assert {"file": "m.ckpt", "epoch": 4, "global_step": 9}.items() <= found.origin.items()
    assert len(found.origin["sha256"]) == 64


def test_the_safe_form(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    content = checkpoint_bytes(
        "autoencoder", PLAIN["state_dict"], {"c_hid": 3}, {"command": ["citris"]}, [{"name": "x"}]
    )
    path.write_bytes(content)
    assert is_published(path)
    found = read_checkpoint(path)
    assert torch.equal(found.weights["w"], torch.arange(16.0))
    assert (found.hyper_parameters, found.variables) == ({"c_hid": 3}, [{"name": "x"}])
    assert found.origin["exported_from"] == {"command": ["citris"]}
    with pytest.raises(InputError, match=r"of citris-published, not of citris; .* 'citris import-checkpoint'"):
        read_model_header(path)


def test_a_safetensors_file_whose_length_looks_like_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    for padding in range(300):
        content = checkpoint_bytes("autoencoder", PLAIN["state_dict"], {"padding": "x" * 8 * padding}, {})
        if content[0] == 0x80 and content[1] <= 5:
            break
    assert content[0] == 0x80
    path.write_bytes(content)
    assert is_published(path)
    assert read_checkpoint(path).hyper_parameters["padding"]


def test_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "ours.safetensors").write_bytes(model_bytes(FILE))
    (tmp_path / "text.ckpt").write_text("no checkpoint at all")
    (tmp_path / "empty.ckpt").write_bytes(b"")
    for name in ("ours.safetensors", "text.ckpt", "empty.ckpt", "none.ckpt"):
        assert not is_published(tmp_path / name)
    check_refused(tmp_path / "ours.safetensors", "none with published names")
    (tmp_path / "noise.ckpt").write_bytes(b"\x01\x02\xff" * 20)
    check_refused(tmp_path / "text.ckpt", "this is text, not a checkpoint; give a published checkpoint")
    check_refused(tmp_path / "noise.ckpt", "neither a checkpoint of PyTorch nor a safetensors file, nor any other kind")
    check_refused(tmp_path / "empty.ckpt", "the file is empty; get it again")
    check_refused(tmp_path / "none.ckpt", "no such file")
    check_refused(tmp_path, "no file")


def _in_state_dict(planted: Any, path: Path) -> None:
    torch.save({**PLAIN, "state_dict": {"w": planted}}, path)


def _in_hyper_parameters(planted: Any, path: Path) -> None:
    torch.save({**PLAIN, "hyper_parameters": {"c_hid": planted}}, path)


def _in_a_newer_protocol(planted: Any, path: Path) -> None:
    torch.save({**PLAIN, "callbacks": planted}, path, pickle_protocol=4)


def _bare(planted: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(planted, protocol=2))


def _before_zip(planted: Any, path: Path) -> None:
    torch.save({**PLAIN, "callbacks": planted}, path, _use_new_zipfile_serialization=False)


def _in_an_old_protocol(planted: Any, path: Path) -> None:
    torch.save(PLAIN, path)
    rewritten(path, lambda _: f"(S'{planted.path}'\nS'w'\niio\nopen\n.".encode())


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (_in_state_dict, r"asks for (io|_io)\.open, which is more than weights"),
        (_in_hyper_parameters, r"asks for (io|_io)\.open"),
        (_in_an_old_protocol, r"asks for io\.open"),
        (_in_a_newer_protocol, "not those of a checkpoint"),
        (_bare, "a bare pickle"),
        (_before_zip, "a bare pickle"),
    ],
)
def test_a_pickle_that_would_write_a_file_does_not(
    tmp_path: Path, plant: Callable[[Any, Path], None], says: str
) -> None:
    path = tmp_path / "m.ckpt"
    plant(Planted(str(tmp_path / "planted")), path)
    assert is_published(path)
    sentence = check_refused(path, says)
    assert "save" in sentence  # what to do
    assert not (tmp_path / "planted").exists()
    with suppress(RuntimeError):  # what torch says of the rest
        torch.load(path, weights_only=False)  # it was a live one
    assert (tmp_path / "planted").exists()


class Asking:
    """Pickled as a call, without doing any harm but taking memory."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "asking",
    [
        Asking(bytearray, 10**13),  # these two torch.load(weights_only=True) would make
        Asking(torch.Tensor, 10**12),
        Asking(os.getcwd),
    ],
)
def test_no_more_than_weights_is_asked_for(tmp_path: Path, asking: Asking) -> None:
    torch.save({**PLAIN, "callbacks": asking}, tmp_path / "m.ckpt")
    check_refused(tmp_path / "m.ckpt", "asks for (__builtin__.bytearray|torch._?.*Tensor|posix.getcwd)")


def _number(number: int) -> bytes:
    return b"J" + number.to_bytes(4, "little")


@pytest.mark.parametrize("larger", ["storage", "tensor", "both"])
def test_a_tensor_that_claims_to_be_huge(tmp_path: Path, larger: str) -> None:
    path = tmp_path / "m.ckpt"
    torch.save(PLAIN, path)

    def change(content: bytes) -> bytes:
        if larger != "tensor":
            assert content.count(b"K\x10t") == 1
            content = content.replace(b"K\x10t", _number(2**31 - 1) + b"t")
        if larger != "storage":
            assert content.count(b"K\x10\x85") == 1
            content = content.replace(b"K\x10\x85", _number(2**31 - 1) + b"\x85")
        return content

    rewritten(path, change)
    if larger == "storage":  # nobody needs what the storage claims beside the tensor
        assert torch.equal(read_checkpoint(path).weights["w"], torch.arange(16.0))
    else:
        check_refused(path, "not those of a checkpoint")


def test_a_tensor_that_repeats_what_little_is_stored(tmp_path: Path) -> None:
    torch.save({**PLAIN, "state_dict": {"w": torch.zeros(1).expand(10**12)}}, tmp_path / "m.ckpt")
    assert (tmp_path / "m.ckpt").stat().st_size < 5000
    check_refused(tmp_path / "m.ckpt", "the weight w claims to be larger than what is stored of it")


def test_a_sparse_tensor(tmp_path: Path) -> None:
    tensor = torch.sparse_coo_tensor(
        torch.tensor([[1]]), torch.tensor([1.0]), (10**12,), check_invariants=True, is_coalesced=True
    )
    torch.save({**PLAIN, "state_dict": {"w": tensor}}, tmp_path / "m.ckpt")
    check_refused(tmp_path / "m.ckpt", "asks for torch._utils._rebuild_sparse_tensor")


def test_archives_that_unpack_to_more_than_they_are(tmp_path: Path) -> None:
    path = tmp_path / "m.ckpt"
    torch.save({**PLAIN, "state_dict": {"w": torch.zeros(10**6)}}, path)
    rewritten(path, lambda content: content, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    check_refused(path, "compressed, which PyTorch checkpoints never are")
    torch.save(PLAIN, path)
    with zipfile.ZipFile(path, "a") as archive:  # many names for the same bytes
        archive.filelist += [copy.copy(archive.filelist[-1]) for _ in range(3000)]
        for index, info in enumerate(archive.filelist[-3000:]):
            info.filename = f"m/data/{index + 1000}"
            info.file_size = 1000
        archive._didModify = True  # type: ignore[attr-defined]
    check_refused(path, "compressed|truncated or damaged")


def test_a_file_larger_than_any_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.ckpt"
    with path.open("wb") as file:  # takes no room on the disk
        file.write(b"PK\x03\x04")
        file.truncate(checkpoints.MAX_FILE + 1)
    check_refused(path, "more than the 4,294,967,296 of the largest")
    torch.save(PLAIN, path)
    monkeypatch.setattr(checkpoints, "MAX_PICKLE", 100)
    check_refused(path, "its pickle is larger than 100 bytes")


def test_what_would_take_more_memory_than_weights_need(tmp_path: Path) -> None:
    path = tmp_path / "m.ckpt"
    torch.save(PLAIN | {"hyper_parameters": {"many": [{} for _ in range(10**6)]}}, path)
    check_refused(path, "its pickle is larger than 2,097,152 bytes")
    one = torch.zeros(10_000)
    torch.save(PLAIN | {"state_dict": {f"w{number}": one for number in range(100)}}, path)
    check_refused(path, "its weights claim together to be larger than the file")


def test_truncated_and_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "m.ckpt"
    torch.save(PLAIN, path)
    content = path.read_bytes()
    for cut in (3, 10, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        check_refused(path, "truncated")
    place = content.index(torch.arange(16.0).numpy().tobytes())
    path.write_bytes(content[: place + 9] + b"\xff" + content[place + 10 :])
    check_refused(path, "damaged .the checksum of 'm/data/0' does not match")
    path.write_bytes(content)
    rewritten(path, lambda pickled: pickled[: len(pickled) // 2])
    check_refused(path, "its pickle is damaged|not those of a checkpoint")
    rewritten(path, lambda _: b"\xff\xff\xff")
    check_refused(path, "its pickle is damaged")
    path.write_bytes(checkpoint_bytes("autoencoder", PLAIN["state_dict"], {}, {})[:-5])
    check_refused(path, "truncated")


def test_other_archives(tmp_path: Path) -> None:
    path = tmp_path / "m.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "no checkpoint")
    check_refused(path, "a zip archive, but not a checkpoint of PyTorch")
    torch.save(PLAIN, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("m/constants.pkl", b"as a compiled model has")
    check_refused(path, "a zip archive, but not a checkpoint of PyTorch")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([1, 2], "holds no state_dict"),
        ({"hyper_parameters": {}}, "holds no state_dict"),
        ({"state_dict": PLAIN["state_dict"]}, "holds no hyper_parameters"),
        ({"state_dict": PLAIN["state_dict"], "hyper_parameters": {3: 4}}, "holds no hyper_parameters"),
        ({"state_dict": {"w": 3}, "hyper_parameters": {}}, "something other than weights by name"),
        ({"state_dict": {3: torch.ones(1)}, "hyper_parameters": {}}, "something other than weights by name"),
    ],
)
def test_contents_that_are_none_of_a_checkpoint(tmp_path: Path, content: Any, says: str) -> None:
    torch.save(content, tmp_path / "m.ckpt")
    check_refused(tmp_path / "m.ckpt", says)


def _metadata(**fields: str) -> Callable[[dict], None]:
    return lambda header: header["__metadata__"].update(fields)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda header: header.pop("__metadata__"), "none with published names"),
        (_metadata(format='"other"'), "none with published names"),
        (_metadata(format_version="99"), "newer citris"),
        (_metadata(format_version='"x"'), "metadata is damaged"),
        (_metadata(hyper_parameters="[]"), "metadata is damaged"),
        (_metadata(hyper_parameters="{"), "metadata is damaged"),
        (_metadata(origin="3"), "metadata is damaged"),
        (lambda header: header["__metadata__"].pop("origin"), "metadata is damaged"),
        (lambda header: header["w"].update(shape=[10**15]), "damaged or cut off"),
    ],
)
def test_hostile_headers_of_the_safe_form(tmp_path: Path, change: Callable[[dict], Any], says: str) -> None:
    path = tmp_path / "m.safetensors"
    content = checkpoint_bytes("autoencoder", PLAIN["state_dict"], {"c_hid": 3}, {})
    assert json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["w"]["shape"] == [16]
    path.write_bytes(edited(content, change))
    check_refused(path, says)


def test_hyperparameters_that_refer_to_themselves_over_and_over(tmp_path: Path) -> None:
    nested: list[Any] = []
    for _ in range(60):  # written out, 2^60 lists
        nested = [nested, nested]
    torch.save({**PLAIN, "hyper_parameters": {"var_names": nested}}, tmp_path / "m.ckpt")
    assert len(read_checkpoint(tmp_path / "m.ckpt").hyper_parameters["var_names"]) == 2
